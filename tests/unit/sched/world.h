/*
 * A plant in which years pass in seconds: an agenda, what it wrote down (which survives), the runs
 * it began (which go on when it dies), a clock that is set by hand, and bad luck.
 */
#ifndef TEST_WORLD_H
#define TEST_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/vec.h"
#include "base/zone.h"
#include "sched/agenda.h"
#include "sched/calendar.h"

enum { WORLD_JOBS_MAX = 32 };

struct world_record {
	size_t job;
	bool is_run;            /* else a note */
	struct wall_time first; /* of a run: its due time */
	struct wall_time last;
	uint64_t count;
	unsigned attempt;
	enum agenda_outcome outcome;
	enum agenda_fate fate;
	const char *reason;
};

struct world_run {
	size_t job;
	struct wall_time due;
	unsigned attempt;
	struct wall_time ends;
	enum agenda_outcome outcome;
};

/* How often of a thousand. */
struct world_luck {
	unsigned save_fails;
	unsigned dies_after_save;
	unsigned killed_before_record;
	unsigned transient;
	unsigned bad;
	int64_t run_max_us;
};

struct world {
	struct zone *zone;
	struct agenda *agenda; /* NULL: it is dead */
	struct agenda_host host;
	struct agenda_blackout blackouts[4];
	size_t blackouts_count;
	unsigned running_max;
	struct agenda_job jobs[WORLD_JOBS_MAX];
	struct calendar *calendars[WORLD_JOBS_MAX];
	bool is_every[WORLD_JOBS_MAX];
	size_t jobs_count;

	struct agenda_state states[WORLD_JOBS_MAX]; /* what was saved */
	bool is_saved[WORLD_JOBS_MAX];
	VEC(struct world_record) records;
	VEC(size_t) of_job[WORLD_JOBS_MAX]; /* indexes of records */
	VEC(struct world_run) runs; /* those of now and those that nobody has heard of yet */
	unsigned twice_count;       /* begun although there is a record: never */

	struct wall_time now;
	struct wall_time began;
	struct world_luck luck;
	bool is_dying; /* nothing of it lasts any more */
	uint64_t random;
};

void world_init(struct world *world, const char *zone, const char *now, uint64_t seed);
void world_done(struct world *world);

/* "at: 02:00", "cron: ...", "every: SECONDS", "after: NAME". */
void world_add(struct world *world, const char *name, const char *source, const char *schedule,
    int64_t deadline_us);

uint64_t world_random(struct world *world, uint64_t below);

/* A new process: it finds what the last one left. */
void world_start(struct world *world);
void world_kill(struct world *world);

/* Let time pass until `until`, doing all that is due on the way. */
void world_run_until(struct world *world, struct wall_time until);

/* Forget the records so far, as a test that looks at what comes does. */
void world_forget(struct world *world);

/* When the next thing happens by itself. */
struct wall_time world_next(const struct world *world);

#endif
