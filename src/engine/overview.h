/*
 * The state of everything, for `status` and the page: per job the last run, the last good
 * backup, how old it is against its limit, how far it is proved, and what is abnormal.
 */
#ifndef ENGINE_OVERVIEW_H
#define ENGINE_OVERVIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"
#include "catalog/catalog.h"
#include "store/store.h"

struct engine;
struct err;
struct source;

/* What is expected of a job; from the configuration, or nothing but a name without one. */
struct overview_expectation {
	const char *job;
	const char *source;
	const char *kind;
	int64_t max_age_us;        /* 0: no limit */
	struct wall_time next_run; /* 0: not known */
	bool is_continuous;        /* runs all the time */
	struct source *stream; /* of a job that keeps a continuous stream; NULL: it makes backups */
};

struct overview_job {
	char *job;
	char *source;
	char *kind;
	struct run_row last; /* id NULL: it never ran */
	bool is_running;
	struct backup_row newest; /* the newest good backup; id NULL: none */
	unsigned backups_count;
	uint64_t stored_bytes; /* of all its backups */
	int proved_level;      /* the highest of its backups, -1: none */
	struct wall_time proved_at;
	int64_t max_age_us;
	struct wall_time next_run;
	bool is_continuous;
	bool is_stream;
	struct wall_time window_from; /* of a stream: any second from here ... */
	struct wall_time window_to;   /* ... to here can be brought back; 0: none */
	char *abnormal;               /* why it needs a look, NULL: well */
	char *next_command;           /* what to type then */
};

struct overview {
	VEC(struct overview_job) jobs;
	struct store_space space;
	unsigned unproven_count;
	unsigned damaged_count;
	unsigned abnormal_count;
};

/* `now` is the clock, a parameter for tests. */
int overview_make(struct engine *engine, const struct overview_expectation *expected,
    size_t expected_count, struct wall_time now, struct overview *ret_overview, struct err *err)
    MUST_CHECK;
void overview_done(struct overview *overview);

#endif
