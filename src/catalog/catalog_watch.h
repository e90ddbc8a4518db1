/*
 * What the watch asks of the catalog besides alarms and messages: how a job's runs ended lately,
 * how the store filled, and a few marks of its own.  Errors are those of catalog/catalog.h.
 */
#ifndef CATALOG_CATALOG_WATCH_H
#define CATALOG_CATALOG_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/link.h"
#include "base/scope.h"
#include "base/vec.h"
#include "catalog/catalog.h"

struct err;

/* The runs of one job and verb that say something: ok, warning, failed or lost. */
struct run_outcome {
	unsigned failures_in_a_row;  /* since the last good one, counted up to a hundred */
	struct run_row last_failure; /* the newest of them; id NULL: none */
	struct wall_time missed_at; /* the newest due run that was missed, none begun since; or 0 */
};

int catalog_run_outcome(struct catalog *catalog, const char *job, const char *verb,
    struct run_outcome *ret_outcome, struct err *err) MUST_CHECK;
void run_outcome_done(struct run_outcome *outcome);

/* How far the backups of a job are proved; damaged ones do not count. */
enum { BACKUP_LEVELS_COUNT = 6 };
struct backup_proofs {
	unsigned backups_count;
	uint64_t stored_bytes;
	struct wall_time oldest_finished;
	struct wall_time
	    at[BACKUP_LEVELS_COUNT]; /* when this level or a higher one was last proved */
};
int catalog_backup_proofs(struct catalog *catalog, const char *job,
    struct backup_proofs *ret_proofs, struct err *err) MUST_CHECK;

/* When a run of this verb for this source last ended well; 0: never. */
int catalog_run_good_at(struct catalog *catalog, const char *source, const char *verb,
    struct wall_time *ret_at, struct err *err) MUST_CHECK;

/* How many backups and streams of each job ended in each state, for counters. */
struct run_count {
	char *job;
	enum run_state state;
	uint64_t count;
};
struct run_counts {
	VEC(struct run_count) rows;
};
int catalog_run_counts(struct catalog *catalog, struct run_counts *ret_counts, struct err *err)
    MUST_CHECK;
void run_counts_done(struct run_counts *counts);

struct space_row {
	struct wall_time at;
	uint64_t used_bytes;
	uint64_t capacity_bytes;
};
struct space_rows {
	VEC(struct space_row) rows; /* the oldest first */
};
int catalog_space_add(struct catalog *catalog, const struct space_row *row, struct err *err)
    MUST_CHECK;
int catalog_space_list(struct catalog *catalog, struct wall_time since, struct space_rows *ret_rows,
    struct err *err) MUST_CHECK;
int catalog_space_trim(struct catalog *catalog, struct wall_time before, struct err *err)
    MUST_CHECK;
void space_rows_done(struct space_rows *rows);

/* A mark: when something was done last, and a text.  Without one: time 0, value NULL (yours). */
int catalog_mark_get(struct catalog *catalog, const char *name, struct wall_time *ret_at,
    char **ret_value, struct err *err) MUST_CHECK;
int catalog_mark_put(struct catalog *catalog, const char *name, struct wall_time at,
    const char *value, struct err *err) MUST_CHECK;

/* How a job's stream is connected, and when that was told; told 0: nothing is known. */
struct link_row {
	struct wall_time told;
	struct link_state state;
	char *why; /* owned, and state.why */
};
int catalog_link_get(struct catalog *catalog, const char *job, struct link_row *ret_row,
    struct err *err) MUST_CHECK;
int catalog_link_put(struct catalog *catalog, const char *job, const struct link_state *state,
    struct wall_time told, struct err *err) MUST_CHECK;
void link_row_done(struct link_row *row);

/*
 * A number that is another one when anything in the catalog was changed, by this process or any
 * other.  Costs next to nothing.
 */
int catalog_stamp(struct catalog *catalog, uint64_t *ret_stamp, struct err *err) MUST_CHECK;

#endif
