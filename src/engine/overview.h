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
#include "catalog/catalog_watch.h"
#include "store/store.h"

struct calendar;
struct engine;
struct err;
struct lane;

/* What is expected of a job; from the configuration, or nothing but a name without one. */
struct overview_expectation {
	const char *job;
	const char *source;
	const char *kind;
	int64_t max_age_us;        /* 0: no limit */
	struct wall_time next_run; /* 0: not known */
	bool is_continuous;        /* runs all the time */
	bool is_manual;            /* only when somebody runs it */
	const struct lane
	    *stream; /* of a job that keeps a continuous stream; NULL: it makes backups */
	const struct calendar *calendar; /* when it is due; NULL: at no fixed times */
};

/* One backup, as a point in time. */
struct overview_point {
	size_t job; /* index into jobs */
	struct wall_time started;
	struct wall_time consistent_at;
	uint64_t stored_bytes;
	int level;
	bool is_good;
};

/* When a source's data was last really restored, into a scratch server or for good. */
struct overview_restore {
	char *source;
	struct wall_time at;
	int64_t took_us; /* 0: not known */
	char *backup_id; /* of which backup */
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
	int64_t max_age_us; /* 0: no limit */
	struct wall_time next_run;
	bool is_continuous;
	bool is_manual;
	bool is_expected;          /* the configuration names it */
	const struct lane *stream; /* as in the expectation */
	const struct calendar *calendar;
	struct wall_time window_from; /* of a stream: any second from here ... */
	struct wall_time window_to;   /* ... to here can be brought back; 0: none */
	struct link_row link;         /* how it is connected; told 0: not known */
	char *abnormal;               /* why it needs a look, NULL: well */
	char *next_command;           /* what to type then */
};

struct overview {
	VEC(struct overview_job) jobs;
	VEC(struct overview_point) points; /* every backup of a job, newest first */
	VEC(struct overview_restore) restores;
	struct store_space space;
	unsigned unproven_count;
	unsigned damaged_count;
	unsigned abnormal_count;
};

/*
 * `now` is the clock, a parameter for tests.  Lanes and calendars of the expectations stay loans
 * in the overview.
 */
int overview_make(struct engine *engine, const struct overview_expectation *expected,
    size_t expected_count, struct wall_time now, struct overview *ret_overview, struct err *err)
    MUST_CHECK;

/* The restore of this source that is known, or NULL; a loan. */
const struct overview_restore *overview_restore_of(const struct overview *overview,
    const char *source);
void overview_done(struct overview *overview);

#endif
