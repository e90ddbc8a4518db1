#include "work/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "os/loop.h"
#include "os/process.h"

enum { READ_BYTES = 4096 };
#define KILL_AFTER_US (30 * US_PER_S)

struct worker {
	struct loop *loop;
	struct process *process;
	int pipe_fd;
	struct loop_watch *pipe_watch; /* NULL: the pipe is at its end */
	struct loop_watch *exit_watch;
	struct loop_timer *limit; /* TERM, then KILL */
	struct loop_timer *silence;
	struct frame_reader reader;
	struct worker_events events;
	int64_t timeout_us;
	int64_t silence_us;
	bool is_told_to_end; /* by us */
	struct worker_end end;
};

static void
drop(struct worker *worker)
{
	loop_unwatch(worker->pipe_watch);
	loop_unwatch(worker->exit_watch);
	loop_timer_free(worker->limit);
	loop_timer_free(worker->silence);
	closep(&worker->pipe_fd);
	process_free(worker->process);
	free(worker);
}

void
worker_leave(struct worker *worker)
{
	if (worker == NULL)
		return;
	process_leave(TAKE(worker->process));
	drop(worker);
}

void
worker_stop(struct worker *worker)
{
	if (!worker->is_told_to_end)
		process_signal(worker->process, SIGTERM);
	worker->is_told_to_end = true;
	loop_timer_start(worker->limit, KILL_AFTER_US);
}

static void
on_limit(void *context)
{
	struct worker *worker = context;
	char text[CLOCK_TEXT_SIZE];

	if (worker->is_told_to_end) {
		process_signal(worker->process, SIGKILL);
		return;
	}
	(void)err_set(&worker->end.failure, ERR_TIMEOUT, "it took longer than its timeout of %s",
	    clock_format_duration(worker->timeout_us, text));
	worker_stop(worker);
}

static void
on_silence(void *context)
{
	struct worker *worker = context;

	loop_timer_start(worker->silence, worker->silence_us);
	if (worker->events.stalled != NULL)
		worker->events.stalled(worker->events.context);
}

static void
on_frame(const struct frame *frame, void *context)
{
	struct worker *worker = context;

	worker->end.was_silent = false;
	if (worker->silence_us > 0)
		loop_timer_start(worker->silence, worker->silence_us);
	if (frame->kind != FRAME_RESULT) {
		if (worker->events.frame != NULL)
			worker->events.frame(frame, worker->events.context);
		return;
	}
	worker->end.has_result = true;
	worker->end.warnings_count = frame->warnings_count;
	/* What we ended ourselves ended for our reason. */
	if (worker->end.failure.kind != ERR_NONE || frame->failure == ERR_NONE)
		return;
	(void)err_set(&worker->end.failure, frame->failure, "%s", frame->text);
	if (frame->hint[0] != '\0')
		(void)err_hint(&worker->end.failure, "%s", frame->hint);
}

static void
close_pipe(struct worker *worker)
{
	loop_unwatch(TAKE(worker->pipe_watch));
	closep(&worker->pipe_fd);
	worker->pipe_fd = -1;
}

/*
 * Read what is there, and tell whether it was something.  The pipe is closed at its end, and when
 * it holds what no worker says.
 */
static bool
read_pipe(struct worker *worker)
{
	char data[READ_BYTES];
	ssize_t got = read(worker->pipe_fd, data, sizeof(data));
	struct err err = ERR_INIT;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (got <= 0) {
		close_pipe(worker);
		return false;
	}
	if (frame_read(&worker->reader, data, (size_t)got, on_frame, worker, &err) == 0)
		return true;
	worker->end.failure = err;
	close_pipe(worker);
	worker_stop(worker);

	return false;
}

static void
on_pipe(int fd, unsigned events, void *context)
{
	(void)fd;
	(void)events;
	(void)read_pipe(context);
}

/* How it ended, where it did not say so itself. */
static void
judge(struct worker *worker, const struct process_exit *exit)
{
	struct err *failure = &worker->end.failure;

	if (worker->end.has_result || failure->kind != ERR_NONE)
		return;
	if (exit->was_signalled)
		(void)err_set(failure, ERR_PEER, "its process was ended by signal %d (%s)",
		    exit->code, strsignal(exit->code));
	else
		(void)err_set(failure, ERR_PEER, "its process ended with code %d without a word",
		    exit->code);
}

static void
on_exit_of(int fd, unsigned events, void *context)
{
	struct worker *worker = context;
	struct worker_events tell = worker->events;
	struct process_exit exit;
	struct worker_end end;
	struct err err = ERR_INIT;

	(void)fd;
	(void)events;
	if (process_wait(worker->process, 0, &exit, &err) < 0)
		return;
	/* The rest of what it said; a child of its own may hold the pipe open, so only what is there. */
	while (worker->pipe_watch != NULL && read_pipe(worker))
		continue;
	judge(worker, &exit);
	end = worker->end;
	drop(worker);
	tell.ended(&end, tell.context);
}

static struct process *
start_child(const struct worker_options *options, int fd, struct err *err)
{
	struct order order = options->order;
	SCOPED(freep) char *text = NULL;
	const char *env[] = { NULL, NULL };
	const struct process_options child = {
		.argv = options->argv,
		.env = env,
		.inherit_fds = &fd,
		.inherit_fds_count = 1,
		.stderr_fd = STDERR_FILENO,
		.outlives_us = !options->ends_with_us,
	};

	order.fd = fd;
	env[0] = text = order_format(&order);

	return process_start(&child, err);
}

struct worker *
worker_start(struct loop *loop, const struct worker_options *options, struct err *err)
{
	struct worker *worker;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0) {
		(void)err_sys(err, "cannot make a pipe");
		return NULL;
	}
	SCOPED(closep) int write_fd = ends[1];
	worker = xcalloc(1, sizeof(*worker));
	worker->loop = loop;
	worker->pipe_fd = ends[0];
	worker->events = options->events;
	worker->timeout_us = options->timeout_us;
	worker->silence_us = options->silence_us;
	worker->end.was_silent = true;
	worker->limit = loop_timer_new(loop, on_limit, worker);
	worker->silence = loop_timer_new(loop, on_silence, worker);
	(void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
	worker->process = start_child(options, write_fd, err);
	if (worker->process != NULL) {
		worker->pipe_watch = loop_watch(loop, worker->pipe_fd, LOOP_READ, on_pipe, worker,
		    err);
		worker->exit_watch = loop_watch(loop, process_exit_fd(worker->process), LOOP_READ,
		    on_exit_of, worker, err);
	}
	if (worker->pipe_watch == NULL || worker->exit_watch == NULL) {
		drop(worker);
		return NULL;
	}
	if (worker->timeout_us > 0)
		loop_timer_start(worker->limit, worker->timeout_us);
	if (worker->silence_us > 0)
		loop_timer_start(worker->silence, worker->silence_us);

	return worker;
}

pid_t
worker_pid(const struct worker *worker)
{
	return process_pid(worker->process);
}
