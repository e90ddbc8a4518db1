/*
 * Child processes: a program with its arguments, no shell, ever.  A child gets its own process
 * group (and session, so no terminal), closed descriptors but those named here, and gets SIGTERM
 * when the thread that started it ends: start it from the main thread.  Its stderr is captured
 * (bounded) so that an error can quote it.
 */
#ifndef OS_PROCESS_H
#define OS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/scope.h"

struct err;
struct process;

struct process_options {
	const char *const *argv; /* argv[0] is the absolute path of the program */
	const char *const *env;  /* "NAME=value" to add or replace; NULL: none */
	const char *cwd;         /* NULL: as ours */
	const int *inherit_fds;  /* kept open in the child under the same number */
	size_t inherit_fds_count;
	uid_t run_as_uid;        /* 0: as we are; else drop to this user ... */
	gid_t run_as_gid;        /* ... and group, with no other groups */
	bool wants_stdin;        /* a pipe to it; otherwise /dev/null */
	bool wants_stdout;       /* a pipe from it; otherwise /dev/null */
	int stdout_fd;           /* > 0 instead of wants_stdout: a loan */
	int stderr_fd;           /* > 0: its stderr, a loan; nothing of it is captured */
	bool outlives_us;        /* no SIGTERM when we end */
	size_t stderr_max_bytes; /* how much of it to keep, its begin and its end; 0: 64 KiB */
};

/* Returns when the program runs; one that cannot be executed is an error here. */
struct process *process_start(const struct process_options *options, struct err *err) MUST_CHECK;

/* What flows while a child runs.  Both callbacks may be NULL; a failing one ends the pump. */
struct process_flow {
	/* Bytes from its stdout. */
	int (*on_stdout)(void *context, const void *data, size_t size, struct err *err);
	/* Fill `data` with bytes for its stdin; *ret_size 0 is the end. */
	int (*on_stdin)(void *context, void *data, size_t size, size_t *ret_size, struct err *err);
	void *context;
};

/*
 * Move bytes until stdout and stderr are at their end.  Looks at the stop flag: a stop ends the
 * pump with ERR_CANCELLED.  A child that closes stdin early is no error here: its exit tells.
 */
int process_pump(struct process *process, const struct process_flow *flow, struct err *err)
    MUST_CHECK;

struct process_exit {
	bool was_signalled;
	int code; /* the exit code, or the signal's number */
};

/*
 * Wait for the end, at most `timeout_ms` (ERR_TIMEOUT then, child still running) or, with -1, for
 * ever, which a stop ends with ERR_CANCELLED.  stderr is emptied meanwhile, stdout is not.
 */
int process_wait(struct process *process, int timeout_ms, struct process_exit *ret_exit,
    struct err *err) MUST_CHECK;

/* pump + wait + exit code 0, or an error that quotes the last line of stderr (ERR_PEER). */
int process_run(struct process *process, const struct process_flow *flow, struct err *err)
    MUST_CHECK;

int process_stdin_fd(const struct process *process);
int process_stdout_fd(const struct process *process);
pid_t process_pid(const struct process *process);
const char *process_stderr(const struct process *process);       /* a loan, "" when silent */
void process_signal(struct process *process, int signal_number); /* to its whole group */

/* A descriptor that becomes readable when the child has ended; -1 where the kernel has none. */
int process_exit_fd(const struct process *process);

/* Let it run: it is forgotten, not ended.  NULL is ok. */
void process_leave(struct process *process);

/* TERM, then KILL after 2 s when it still runs; reaped in any case.  NULL is ok. */
void process_free(struct process *process);
SCOPED_FREE(struct process, process_free)

#endif
