/* What the three files of a child process share: how it is started, fed, and ended. */
#ifndef OS_PROCESS_INTERNAL_H
#define OS_PROCESS_INTERNAL_H

#include "os/process.h"

/*
 * The stderr kept: its first half stays, of the rest the newest bytes.  When the second half is
 * full, its older part is dropped and a line at the joint says so.
 */
struct stderr_tail {
	char *text; /* max_bytes + 1, always NUL-terminated */
	size_t size;
	size_t max_bytes;
};

struct process {
	char *name; /* the program without its folder, for messages */
	pid_t pid;
	int pid_fd; /* readable when it has ended; -1 where the kernel has none */
	int stdin_fd;
	int stdout_fd;
	int stderr_fd;
	bool is_reaped;
	struct process_exit exit;
	struct stderr_tail tail;
};

/* Everything fork needs, made ready before it: between fork and exec nothing may allocate. */
struct spawn {
	const struct process_options *options;
	char **argv;
	char **env;
	int stdin_fd; /* the child's ends, -1: /dev/null */
	int stdout_fd;
	int stderr_fd;
	int report_fd; /* where a failure is told; exec closes it */
	pid_t parent;
};

/* Start the child; returns when the program runs, or with the reason why it cannot. */
int process_spawn(const struct process_options *options, struct process *process, struct err *err)
    MUST_CHECK;

/* Read what stderr has now and keep it; closes it at its end. */
void process_read_stderr(struct process *process);

/* Look whether the child has ended, and reap it. */
bool process_reap(struct process *process);

#endif
