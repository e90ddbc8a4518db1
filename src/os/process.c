#include "os/process.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "os/process_internal.h"
#include "os/stop.h"

enum {
	STDERR_DEFAULT_BYTES = 64 * 1024,
	STDERR_MIN_BYTES = 1024,
	STDERR_READ_BYTES = 4096,
	STEP_MS = 20, /* how often to look where the kernel has no descriptor for a child */
	TERM_WAIT_MS = 2000,
};

static const char gap_line[] = "\n[...]\n";

/* ---- stderr ---- */

static void
tail_init(struct stderr_tail *tail, size_t max_bytes)
{
	tail->max_bytes = max_bytes > 0 ? max_bytes : STDERR_DEFAULT_BYTES;
	if (tail->max_bytes < STDERR_MIN_BYTES)
		tail->max_bytes = STDERR_MIN_BYTES;
	tail->text = xmalloc(tail->max_bytes + 1);
	tail->text[0] = '\0';
}

/* Drop the older part of the second half, so that `size` more bytes fit. */
static void
tail_make_room(struct stderr_tail *tail, size_t size)
{
	size_t gap_size = sizeof(gap_line) - 1;
	size_t kept_from = tail->max_bytes / 2 + gap_size;
	size_t keep = (tail->max_bytes - kept_from) / 2;

	if (tail->max_bytes - tail->size >= size)
		return;
	if (keep > tail->max_bytes - kept_from - size)
		keep = tail->max_bytes - kept_from - size;
	memmove(tail->text + kept_from, tail->text + tail->size - keep, keep);
	memcpy(tail->text + tail->max_bytes / 2, gap_line, gap_size);
	tail->size = kept_from + keep;
}

static void
tail_add(struct stderr_tail *tail, const char *data, size_t size)
{
	size_t piece_max = STDERR_MIN_BYTES / 4;

	while (size > 0) {
		size_t piece = size < piece_max ? size : piece_max;

		tail_make_room(tail, piece);
		for (size_t i = 0; i < piece; i++)
			tail->text[tail->size++] = data[i] != '\0' ? data[i] : '?';
		data += piece;
		size -= piece;
	}
	tail->text[tail->size] = '\0';
}

void
process_read_stderr(struct process *process)
{
	char data[STDERR_READ_BYTES];
	ssize_t got = read(process->stderr_fd, data, sizeof(data));

	if (got > 0)
		tail_add(&process->tail, data, (size_t)got);
	else if (got == 0 || (errno != EINTR && errno != EAGAIN))
		(void)close(TAKE_FD(process->stderr_fd));
}

/* What is in the pipe when the child is gone; somebody else may hold it open, so never wait. */
static void
drain_stderr(struct process *process)
{
	struct pollfd fd = { .fd = process->stderr_fd, .events = POLLIN };

	while (process->stderr_fd >= 0 && poll(&fd, 1, 0) > 0)
		process_read_stderr(process);
}

const char *
process_stderr(const struct process *process)
{
	return process->tail.text;
}

/* The last line of stderr that is not empty, on the heap. */
static char *
last_line(const struct process *process)
{
	const char *text = process->tail.text;
	size_t end = process->tail.size;
	size_t begin;

	while (end > 0 && (text[end - 1] == '\n' || text[end - 1] == '\r' || text[end - 1] == ' '))
		end--;
	for (begin = end; begin > 0 && text[begin - 1] != '\n'; begin--)
		continue;

	return xstrndup(text + begin, end - begin);
}

/* ---- start, wait, end ---- */

struct process *
process_start(const struct process_options *options, struct err *err)
{
	const char *slash = strrchr(options->argv[0], '/');
	SCOPED(process_freep) struct process *process = xcalloc(1, sizeof(*process));

	process->name = xstrdup(slash != NULL ? slash + 1 : options->argv[0]);
	process->stdin_fd = -1;
	process->stdout_fd = -1;
	process->stderr_fd = -1;
	process->pid_fd = -1;
	process->is_reaped = true; /* until there is a child */
	tail_init(&process->tail, options->stderr_max_bytes);
	if (process_spawn(options, process, err) < 0)
		return NULL;

	return TAKE(process);
}

bool
process_reap(struct process *process)
{
	siginfo_t info = { .si_pid = 0 };

	if (process->is_reaped)
		return true;
	if (waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOHANG) < 0 && errno == ECHILD)
		info = (siginfo_t){ .si_pid = process->pid, .si_code = CLD_EXITED };
	if (info.si_pid == 0)
		return false;
	process->is_reaped = true;
	process->exit = (struct process_exit){
		.was_signalled = info.si_code != CLD_EXITED,
		.code = info.si_status,
	};
	drain_stderr(process);

	return true;
}

/* Until the child may have ended, stderr has something, or `timeout_ms` have passed. */
static void
wait_a_little(struct process *process, int timeout_ms, bool heeds_stop)
{
	struct pollfd fds[] = {
		{ .fd = process->stderr_fd, .events = POLLIN },
		{ .fd = process->pid_fd, .events = POLLIN },
		{ .fd = heeds_stop ? stop_fd() : -1, .events = POLLIN },
	};

	if (process->pid_fd < 0 && (timeout_ms < 0 || timeout_ms > STEP_MS))
		timeout_ms = STEP_MS;
	if (poll(fds, ARRAY_SIZE(fds), timeout_ms) > 0 && fds[0].revents != 0)
		process_read_stderr(process);
}

int
process_wait(struct process *process, int timeout_ms, struct process_exit *ret_exit,
    struct err *err)
{
	struct mono_time began = clock_mono();

	while (!process_reap(process)) {
		int64_t left_ms = timeout_ms - clock_elapsed_us(began) / US_PER_MS;

		if (timeout_ms >= 0 && left_ms <= 0)
			return err_set(err, ERR_TIMEOUT, "'%s' has not ended within %d ms",
			    process->name, timeout_ms);
		if (timeout_ms < 0 && stop_check(err) < 0)
			return -1;
		wait_a_little(process, timeout_ms < 0 ? -1 : (int)left_ms, timeout_ms < 0);
	}
	*ret_exit = process->exit;

	return 0;
}

int
process_run(struct process *process, const struct process_flow *flow, struct err *err)
{
	struct process_exit end;
	SCOPED(freep) char *said = NULL;

	if (process_pump(process, flow, err) < 0 || process_wait(process, -1, &end, err) < 0)
		return -1;
	if (!end.was_signalled && end.code == 0)
		return 0;

	said = last_line(process);
	if (end.was_signalled)
		return err_set(err, ERR_PEER, "'%s' was ended by signal %d (%s)%s%s", process->name,
		    end.code, strsignal(end.code), said[0] != '\0' ? ": " : "", said);

	return err_set(err, ERR_PEER, "'%s' ended with code %d%s%s", process->name, end.code,
	    said[0] != '\0' ? ": " : "", said);
}

int
process_stdin_fd(const struct process *process)
{
	return process->stdin_fd;
}

int
process_stdout_fd(const struct process *process)
{
	return process->stdout_fd;
}

pid_t
process_pid(const struct process *process)
{
	return process->pid;
}

void
process_signal(struct process *process, int signal_number)
{
	/* Once reaped, the number may belong to somebody else. */
	if (!process->is_reaped)
		(void)kill(-process->pid, signal_number);
}

/* TERM, and KILL when that is not enough; nothing survives KILL, so the last wait ends. */
static void
end_child(struct process *process)
{
	struct err ignored = ERR_INIT;
	struct process_exit end;

	process_signal(process, SIGTERM);
	if (process_wait(process, TERM_WAIT_MS, &end, &ignored) == 0)
		return;
	process_signal(process, SIGKILL);
	while (!process_reap(process))
		wait_a_little(process, STEP_MS, false);
}

int
process_exit_fd(const struct process *process)
{
	return process->pid_fd;
}

void
process_leave(struct process *process)
{
	if (process != NULL)
		process->is_reaped = true; /* as far as we are concerned */
	process_free(process);
}

void
process_free(struct process *process)
{
	if (process == NULL)
		return;
	closep(&process->stdin_fd);
	closep(&process->stdout_fd);
	end_child(process);
	closep(&process->stderr_fd);
	closep(&process->pid_fd);
	free(process->tail.text);
	free(process->name);
	free(process);
}
