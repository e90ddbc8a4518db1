#include "catalog/catalog_history.h"

#include "base/err.h"
#include "catalog/sql_internal.h"

#define POINT_COLUMNS "state, started, finished, source_bytes, stored_bytes"

void
run_points_done(struct run_points *points)
{
	vec_done(&points->items);
}

static void
read_point(struct sql_statement *statement, struct run_point *point)
{
	struct sql_reader from = { .statement = statement };
	SCOPED(freep) char *state = sql_read_text(&from);

	point->state = run_state_of(state);
	point->started = sql_read_time(&from);
	point->finished = sql_read_time(&from);
	point->source_bytes = sql_read_bytes(&from);
	point->stored_bytes = sql_read_bytes(&from);
}

int
catalog_run_points(struct catalog *catalog, const char *job, const char *verb, unsigned limit,
    struct run_points *ret_points, struct err *err)
{
	SCOPED(run_points_done) struct run_points points = { .items = { .count = 0 } };
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "SELECT " POINT_COLUMNS " FROM run INDEXED BY run_by_verb_job"
	    " WHERE verb = ? AND job = ? ORDER BY started DESC LIMIT ?",
	    err);
	struct sql_binder to = { .statement = statement };
	int got;

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, verb);
	sql_bind_text(&to, job);
	sql_bind_int(&to, limit);
	while ((got = sql_step(catalog, statement, "read the runs", err)) > 0)
		read_point(statement, vec_add(&points.items));
	if (got < 0)
		return -1;
	*ret_points = points;
	points = (struct run_points){ .items = { .count = 0 } };

	return 0;
}

int
catalog_run_span_points(struct catalog *catalog, const struct run_spans *spans,
    struct run_point *points, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "SELECT " POINT_COLUMNS " FROM run INDEXED BY run_by_verb_job"
	    " WHERE verb = ? AND job = ? AND started >= ? AND started < ?"
	    " AND state IN ('ok', 'warning') ORDER BY started DESC LIMIT 1",
	    err);

	if (statement == NULL)
		return -1;
	for (size_t i = 0; i + 1 < spans->count; i++) {
		struct sql_binder to = { .statement = statement };
		int got;

		sql_bind_text(&to, spans->verb);
		sql_bind_text(&to, spans->job);
		sql_bind_time(&to, spans->bounds[i]);
		sql_bind_time(&to, spans->bounds[i + 1]);
		got = sql_step(catalog, statement, "read the runs", err);
		if (got < 0)
			return -1;
		points[i] = (struct run_point){ .state = RUN_RUNNING };
		if (got > 0)
			read_point(statement, &points[i]);
		(void)sqlite3_reset(statement->handle);
	}

	return 0;
}

/* A column's text as SQLite has it: good until the next step. */
static const char *
lend_text(struct sql_reader *reader)
{
	return (const char *)sqlite3_column_text(reader->statement->handle, reader->at++);
}

int
catalog_backup_each(struct catalog *catalog, struct backup_viewer *viewer, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "SELECT id, job, source, kind, started, consistent_at, stored_bytes, level, level_at,"
	    " is_damaged, is_unproven FROM backup ORDER BY consistent_at DESC, rowid DESC",
	    err);
	int got;

	if (statement == NULL)
		return -1;
	while ((got = sql_step(catalog, statement, "read the backups", err)) > 0) {
		struct sql_reader from = { .statement = statement };
		struct backup_point point;

		point.id = lend_text(&from);
		point.job = lend_text(&from);
		point.source = lend_text(&from);
		point.kind = lend_text(&from);
		point.started = sql_read_time(&from);
		point.consistent_at = sql_read_time(&from);
		point.stored_bytes = sql_read_bytes(&from);
		point.level = (int)sql_read_int(&from);
		point.level_at = sql_read_time(&from);
		point.is_damaged = sql_read_int(&from) != 0;
		point.is_unproven = sql_read_int(&from) != 0;
		viewer->see(viewer, &point);
	}

	return got;
}
