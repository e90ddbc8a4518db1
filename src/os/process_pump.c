#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/process_internal.h"
#include "os/stop.h"

enum {
	PUMP_BYTES = 256 * 1024,
	STEP_MS = 50, /* how often to look where the kernel has no descriptor for a child */
};

/* What is on its way while the pump runs. */
struct pump {
	struct process *process;
	const struct process_flow *flow;
	char *from_child;
	char *to_child; /* [sent, filled) waits for the child to take it */
	size_t sent;
	size_t filled;
};

enum pump_slot { SLOT_STDIN, SLOT_STDOUT, SLOT_STDERR, SLOT_EXIT, SLOT_STOP, SLOT_COUNT };

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(TAKE_FD(*fd));
}

static int
pump_stdout(struct pump *pump, struct err *err)
{
	const struct process_flow *flow = pump->flow;
	ssize_t got = read(pump->process->stdout_fd, pump->from_child, PUMP_BYTES);

	if (got < 0)
		return errno == EINTR || errno == EAGAIN
		    ? 0
		    : err_sys(err, "cannot read from '%s'", pump->process->name);
	if (got == 0) {
		close_fd(&pump->process->stdout_fd);
		return 0;
	}
	if (flow == NULL || flow->on_stdout == NULL)
		return 0;

	return flow->on_stdout(flow->context, pump->from_child, (size_t)got, err);
}

/* Get more for the child when it has taken all; the end closes its stdin. */
static int
pump_fill(struct pump *pump, struct err *err)
{
	const struct process_flow *flow = pump->flow;

	if (pump->sent < pump->filled)
		return 0;
	pump->sent = 0;
	pump->filled = 0;
	if (flow != NULL && flow->on_stdin != NULL &&
	    flow->on_stdin(flow->context, pump->to_child, PUMP_BYTES, &pump->filled, err) < 0)
		return -1;
	if (pump->filled == 0)
		close_fd(&pump->process->stdin_fd);

	return 0;
}

static int
pump_stdin(struct pump *pump, struct err *err)
{
	struct process *process = pump->process;
	ssize_t written;

	if (pump_fill(pump, err) < 0)
		return -1;
	if (process->stdin_fd < 0)
		return 0;
	written = write(process->stdin_fd, pump->to_child + pump->sent, pump->filled - pump->sent);
	if (written >= 0) {
		pump->sent += (size_t)written;
		return 0;
	}
	if (errno == EPIPE) {
		/* It wants no more.  Whether that was right, its exit tells. */
		close_fd(&process->stdin_fd);
		return 0;
	}

	return errno == EINTR || errno == EAGAIN
	    ? 0
	    : err_sys(err, "cannot write to '%s'", process->name);
}

/* One turn: wait until something can move, and move it. */
static int
pump_turn(struct pump *pump, struct err *err)
{
	struct process *process = pump->process;
	struct pollfd fds[SLOT_COUNT] = {
		[SLOT_STDIN] = { .fd = process->stdin_fd, .events = POLLOUT },
		[SLOT_STDOUT] = { .fd = process->stdout_fd, .events = POLLIN },
		[SLOT_STDERR] = { .fd = process->stderr_fd, .events = POLLIN },
		[SLOT_EXIT] = { .fd = process->is_reaped ? -1 : process->pid_fd, .events = POLLIN },
		[SLOT_STOP] = { .fd = stop_fd(), .events = POLLIN },
	};
	bool must_look = process->pid_fd < 0 && !process->is_reaped;

	if (stop_check(err) < 0)
		return -1;
	if (poll(fds, SLOT_COUNT, must_look ? STEP_MS : -1) < 0)
		return errno == EINTR ? 0 : err_sys(err, "cannot wait for '%s'", process->name);

	if (fds[SLOT_STDERR].revents != 0)
		process_read_stderr(process);
	if (fds[SLOT_STDOUT].revents != 0 && pump_stdout(pump, err) < 0)
		return -1;
	if (fds[SLOT_STDIN].revents != 0 && pump_stdin(pump, err) < 0)
		return -1;
	if (must_look || fds[SLOT_EXIT].revents != 0)
		(void)process_reap(process);

	return 0;
}

/*
 * Is there still something to move.  A child may leave somebody behind who keeps its stderr open
 * for ever (a server it has started), so its own end counts as the end of stderr.
 */
static bool
pump_goes_on(const struct process *process)
{
	if (process->stdout_fd >= 0)
		return true;

	return !process->is_reaped && (process->stderr_fd >= 0 || process->stdin_fd >= 0);
}

int
process_pump(struct process *process, const struct process_flow *flow, struct err *err)
{
	SCOPED(freep) char *from_child = xmalloc(PUMP_BYTES);
	SCOPED(freep) char *to_child = xmalloc(PUMP_BYTES);
	struct pump pump = {
		.process = process,
		.flow = flow,
		.from_child = from_child,
		.to_child = to_child,
	};

	/* Or a child that reads slowly would stop us from emptying its stderr. */
	if (process->stdin_fd >= 0 && fcntl(process->stdin_fd, F_SETFL, O_NONBLOCK) < 0)
		return err_sys(err, "cannot prepare the pipe to '%s'", process->name);

	while (pump_goes_on(process)) {
		if (pump_turn(&pump, err) < 0)
			return -1;
	}

	return 0;
}
