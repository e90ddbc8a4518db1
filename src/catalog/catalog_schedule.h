/*
 * What lasts of the schedule: per job how far it is, the notes about due times that became no run,
 * and the maintenance of the plant.  Errors are those of catalog/catalog.h.
 */
#ifndef CATALOG_CATALOG_SCHEDULE_H
#define CATALOG_CATALOG_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"
#include "catalog/catalog.h"

struct err;

/* See struct agenda_state, which this is with what it belongs to. */
struct schedule_row {
	char *job;
	char *times;            /* the schedule as it was written: another one counts anew */
	struct wall_time begun; /* since when it counts: of `every`, its first due time */
	struct wall_time considered;
	struct wall_time due;
	bool is_begun;
	unsigned attempt;
	struct wall_time not_before;
	struct wall_time settled_due;
	bool is_settled_good;
	struct wall_time recorded;
};
struct schedule_rows {
	VEC(struct schedule_row) rows;
};

int catalog_schedule_list(struct catalog *catalog, struct schedule_rows *ret_rows, struct err *err)
    MUST_CHECK;
int catalog_schedule_put(struct catalog *catalog, const struct schedule_row *row, struct err *err)
    MUST_CHECK;
int catalog_schedule_remove(struct catalog *catalog, const char *job, struct err *err) MUST_CHECK;
void schedule_rows_done(struct schedule_rows *rows);

/* `count` due times from `first` to `last` became no run; state is RUN_MISSED or RUN_SKIPPED. */
struct run_note {
	const char *job;
	const char *source;
	const char *verb;
	enum run_state state;
	struct wall_time first;
	struct wall_time last;
	uint64_t count;
	const char *message;
};

/* Adds to the job's newest run when that is a note of the same kind, else makes a row of its own. */
int catalog_run_note(struct catalog *catalog, const struct run_note *note, struct err *err)
    MUST_CHECK;

/* The run that was begun for a due time at this attempt; id NULL: none.  Attempt 0: any. */
int catalog_run_of_due(struct catalog *catalog, const char *job, struct wall_time due,
    unsigned attempt, struct run_row *ret_run, struct err *err) MUST_CHECK;

/* Is there a run or a note of this due time. */
int catalog_run_has_due(struct catalog *catalog, const char *job, struct wall_time due,
    bool *ret_has, struct err *err) MUST_CHECK;

struct maintenance_row {
	struct wall_time from;
	struct wall_time until; /* when it ends, or ended; 0: there never was any */
	char *who;
	char *why;
};

/* Begin, or change the end of the one that goes on. */
int catalog_maintenance_begin(struct catalog *catalog, const struct maintenance_row *row,
    struct err *err) MUST_CHECK;
/* End it now; one that is over is ok. */
int catalog_maintenance_end(struct catalog *catalog, struct wall_time now, struct err *err)
    MUST_CHECK;
/* The newest. */
int catalog_maintenance_get(struct catalog *catalog, struct maintenance_row *ret_row,
    struct err *err) MUST_CHECK;
void maintenance_row_done(struct maintenance_row *row);

#endif
