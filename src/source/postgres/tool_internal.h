/*
 * Running the vendor's client programs (pg_dump, pg_restore, pg_dumpall): arguments, a connection
 * that nothing in the environment can redirect, the password by an inherited descriptor, and what
 * the program said on its stderr.
 */
#ifndef SOURCE_POSTGRES_TOOL_INTERNAL_H
#define SOURCE_POSTGRES_TOOL_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/scope.h"
#include "base/vec.h"

struct err;
struct manifest;
struct postgres;
struct process;
struct process_flow;
struct sink;

/* A command line being made. */
struct tool {
	VEC(char *) argv;
	VEC(char *) env;
	int passfile_fd; /* -1: none */
};

/* Begin the command line of the program at `path`. */
void tool_init(struct tool *tool, const char *path);
void tool_done(struct tool *tool);

void tool_arg(struct tool *tool, const char *format, ...) PRINTF_LIKE(2, 3);
void tool_env(struct tool *tool, const char *assignment); /* "TZ=UTC" */

/* "OPTION=host=... dbname=..." for `server`, and what it needs to log in. */
int tool_connect(struct tool *tool, const struct postgres *server, const char *option,
    const char *database, struct err *err) MUST_CHECK;

struct tool_pipes {
	bool wants_stdin;
	bool wants_stdout;
};
struct process *tool_start(struct tool *tool, const struct tool_pipes *pipes, struct err *err)
    MUST_CHECK;

/* Pump and wait; other than process_run, an error quotes what the program calls its error. */
int tool_run(struct process *process, const char *name, const struct process_flow *flow,
    struct err *err) MUST_CHECK;

/* ERR_PEER (or a kind the text tells of) for a program that ended badly; quotes its error. */
int tool_failed(const struct process *process, const char *name, struct err *err);

/* What a program that ended well wrote to stderr, line by line into warnings (bounded). */
void tool_warnings(const struct process *process, struct manifest *draft);

/* How many connections a parallel program may use: `wanted`, or by the cores when that is 0. */
unsigned tool_jobs(unsigned wanted) MUST_CHECK;

/*
 * A sink into the stdin of a program (a loan).  What it says meanwhile is kept from blocking it;
 * after it has closed its stdin or ended, bytes are thrown away: its exit tells whether that was
 * right.  Its stdin is closed by the tool_run that must follow.
 */
struct sink *tool_sink_new(struct process *process) MUST_CHECK;

#endif
