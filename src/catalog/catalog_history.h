/*
 * How runs went and backups came over time, in as few columns as a chart needs.  Failures as in
 * catalog.h.
 */
#ifndef CATALOG_CATALOG_HISTORY_H
#define CATALOG_CATALOG_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"
#include "catalog/catalog.h"

/* One run without its texts; started 0: there is none. */
struct run_point {
	enum run_state state;
	struct wall_time started;
	struct wall_time finished; /* 0 while running */
	uint64_t source_bytes;
	uint64_t stored_bytes;
};
struct run_points {
	VEC(struct run_point) items;
};
void run_points_done(struct run_points *points);

/* The last runs of one job and verb, at most `limit` of them, newest first. */
int catalog_run_points(struct catalog *catalog, const char *job, const char *verb, unsigned limit,
    struct run_points *ret_points, struct err *err) MUST_CHECK;

/*
 * For each span from bounds[i] to just before bounds[i + 1] the last run in it that ended ok or
 * with warnings, into points[i], of which there are count - 1.  A step into an index for each, so
 * that a hundred thousand runs cost no more than a hundred.
 */
struct run_spans {
	const char *job;
	const char *verb;
	const struct wall_time *bounds;
	size_t count;
};
int catalog_run_span_points(struct catalog *catalog, const struct run_spans *spans,
    struct run_point *points, struct err *err) MUST_CHECK;

/* A backup in brief; its texts live until `see` returns, job and source may be NULL. */
struct backup_point {
	const char *id;
	const char *job;
	const char *source;
	const char *kind;
	struct wall_time started;
	struct wall_time consistent_at;
	uint64_t stored_bytes;
	int level; /* -1: none */
	struct wall_time level_at;
	bool is_damaged;
	bool is_unproven;
};
struct backup_viewer {
	void (*see)(struct backup_viewer *viewer, const struct backup_point *point);
};

/* All, newest (by consistent_at) first; nothing is copied. */
int catalog_backup_each(struct catalog *catalog, struct backup_viewer *viewer, struct err *err)
    MUST_CHECK;

#endif
