/*
 * One execution of a verb: an id, a lock that dies with the process, a log file and a row in the
 * catalog.  A run whose process died without a word is found by its free lock and becomes "lost".
 */
#ifndef ENGINE_RUN_H
#define ENGINE_RUN_H

#include <stdbool.h>

#include "base/clock.h"
#include "base/scope.h"
#include "catalog/catalog.h"

struct engine;
struct err;

struct run_options {
	const char *verb; /* "backup", "verify", "restore", "prune" */
	const char *job;
	const char *source;    /* NULL: none */
	const char *backup_id; /* what is read, NULL: none yet */
	bool is_exclusive;     /* one at a time for this job: ERR_BUSY otherwise */
};

struct run {
	struct engine *engine;
	struct run_row row;
	int lock_fd;
	int job_lock_fd;
	int log_fd;
	struct mono_time began;
};

/* Begin and record it; the log of the process goes to the run's file as well from here on. */
int run_begin(struct engine *engine, const struct run_options *options, struct run *ret_run,
    struct err *err) MUST_CHECK;

/*
 * End it: `failure` NULL is success (or a warning when warnings_count > 0), ERR_CANCELLED is
 * "cancelled", all else "failed".  A catalog that cannot be written is a log line here: the
 * outcome of the work itself stands.
 */
void run_end(struct run *run, const struct err *failure, unsigned warnings_count,
    const char *first_warning);

/* Does a process hold the lock of this job now: it runs. */
bool run_is_held(const struct engine *engine, const char *job);

/* Mark running rows whose lock is free as lost; *ret_count tells how many. */
int run_sweep(struct engine *engine, unsigned *ret_count, struct err *err) MUST_CHECK;

#endif
