#include "catalog/catalog_schedule.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "catalog/sql_internal.h"
#include "os/random.h"
#include "repo/names.h"

static void
row_done(struct schedule_row *row)
{
	free(row->job);
	free(row->times);
}

void
schedule_rows_done(struct schedule_rows *rows)
{
	for (size_t i = 0; i < rows->rows.count; i++)
		row_done(&rows->rows.items[i]);
	vec_done(&rows->rows);
}

int
catalog_schedule_list(struct catalog *catalog, struct schedule_rows *ret_rows, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "SELECT job, times, begun, considered, due, is_begun, attempt, not_before, settled_due,"
	    " is_settled_good, recorded FROM schedule ORDER BY job",
	    err);
	SCOPED(schedule_rows_done) struct schedule_rows rows = { .rows = { .count = 0 } };
	int got;

	if (statement == NULL)
		return -1;
	while ((got = sql_step(catalog, statement, "read the schedule", err)) > 0) {
		struct sql_reader from = { .statement = statement };
		struct schedule_row *row = vec_add(&rows.rows);

		row->job = sql_read_text(&from);
		row->times = sql_read_text(&from);
		row->begun = sql_read_time(&from);
		row->considered = sql_read_time(&from);
		row->due = sql_read_time(&from);
		row->is_begun = sql_read_int(&from) != 0;
		row->attempt = (unsigned)sql_read_int(&from);
		row->not_before = sql_read_time(&from);
		row->settled_due = sql_read_time(&from);
		row->is_settled_good = sql_read_int(&from) != 0;
		row->recorded = sql_read_time(&from);
	}
	if (got < 0)
		return -1;
	*ret_rows = rows;
	rows = (struct schedule_rows){ .rows = { .count = 0 } };

	return 0;
}

int
catalog_schedule_put(struct catalog *catalog, const struct schedule_row *row, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "INSERT OR REPLACE INTO schedule (job, times, begun, considered, due, is_begun, attempt,"
	    " not_before, settled_due, is_settled_good, recorded)"
	    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	    err);
	struct sql_binder to = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, row->job);
	sql_bind_text(&to, row->times);
	sql_bind_time(&to, row->begun);
	sql_bind_time(&to, row->considered);
	sql_bind_time(&to, row->due);
	sql_bind_int(&to, row->is_begun);
	sql_bind_int(&to, row->attempt);
	sql_bind_time(&to, row->not_before);
	sql_bind_time(&to, row->settled_due);
	sql_bind_int(&to, row->is_settled_good);
	sql_bind_time(&to, row->recorded);

	return sql_run(catalog, statement, "record the schedule", err);
}

int
catalog_schedule_remove(struct catalog *catalog, const char *job, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog, "DELETE FROM schedule WHERE job = ?",
	    err);
	struct sql_binder to = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, job);

	return sql_run(catalog, statement, "record the schedule", err);
}

/* ---- due times and runs -------------------------------------------------------------------- */

/* Into the job's newest run, if it is a note of the same. */
static int
extend_note(struct catalog *catalog, const struct run_note *note, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "UPDATE run SET due_count = due_count + ?, due_last = ?, started = ?, finished = ?"
	    " WHERE seq = (SELECT max(seq) FROM run WHERE job = ?)"
	    " AND attempt = 0 AND due <> 0 AND due_last < ? AND state = ? AND message = ?",
	    err);
	struct sql_binder to = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_int(&to, (int64_t)note->count);
	sql_bind_time(&to, note->last);
	sql_bind_time(&to, note->last);
	sql_bind_time(&to, note->last);
	sql_bind_text(&to, note->job);
	sql_bind_time(&to, note->first);
	sql_bind_text(&to, run_state_name(note->state));
	sql_bind_text(&to, note->message);

	return sql_run(catalog, statement, "record what did not run", err);
}

int
catalog_run_note(struct catalog *catalog, const struct run_note *note, struct err *err)
{
	SCOPED(run_row_done) struct run_row row = { .id = NULL };
	char hex[5];

	if (extend_note(catalog, note, err) < 0)
		return -1;
	if (sqlite3_changes(catalog->db) > 0)
		return 0;
	random_hex(hex, 4);
	row.id = backup_id_make(note->job, note->last, hex);
	row.job = xstrdup(note->job);
	row.source = xstrdup(note->source);
	row.verb = xstrdup(note->verb);
	row.message = xstrdup(note->message);
	row.state = note->state;
	row.started = note->last;
	row.finished = note->last;
	row.due = note->first;
	row.due_last = note->last;
	row.due_count = note->count;

	return catalog_run_insert(catalog, &row, err);
}

int
catalog_run_of_due(struct catalog *catalog, const char *job, struct wall_time due, unsigned attempt,
    struct run_row *ret_run, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "SELECT id FROM run WHERE job = ? AND due = ? AND due <> 0 AND attempt >= ?"
	    " AND attempt <= ? ORDER BY attempt DESC LIMIT 1",
	    err);
	struct sql_binder to = { .statement = statement };
	struct sql_reader from = { .statement = statement };
	SCOPED(freep) char *id = NULL;
	int got;

	*ret_run = (struct run_row){ .id = NULL };
	if (statement == NULL)
		return -1;
	sql_bind_text(&to, job);
	sql_bind_time(&to, due);
	sql_bind_int(&to, attempt > 0 ? attempt : 1);
	sql_bind_int(&to, attempt > 0 ? attempt : INT64_MAX);
	got = sql_step(catalog, statement, "read a run", err);
	if (got <= 0)
		return got;
	id = sql_read_text(&from);

	return catalog_run_get(catalog, id, ret_run, err);
}

int
catalog_run_has_due(struct catalog *catalog, const char *job, struct wall_time due, bool *ret_has,
    struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "SELECT 1 FROM run WHERE job = ? AND due <> 0 AND due <= ? AND due_last >= ? LIMIT 1",
	    err);
	struct sql_binder to = { .statement = statement };
	int got;

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, job);
	sql_bind_time(&to, due);
	sql_bind_time(&to, due);
	got = sql_step(catalog, statement, "read the runs", err);
	if (got < 0)
		return -1;
	*ret_has = got > 0;

	return 0;
}

/* ---- maintenance --------------------------------------------------------------------------- */

void
maintenance_row_done(struct maintenance_row *row)
{
	free(row->who);
	free(row->why);
}

int
catalog_maintenance_end(struct catalog *catalog, struct wall_time now, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "UPDATE maintenance SET until = ? WHERE until > ?", err);
	struct sql_binder to = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_time(&to, now);
	sql_bind_time(&to, now);

	return sql_run(catalog, statement, "record the maintenance", err);
}

int
catalog_maintenance_begin(struct catalog *catalog, const struct maintenance_row *row,
    struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "INSERT INTO maintenance (begins, until, who, why) VALUES (?, ?, ?, ?)", err);
	struct sql_binder to = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_time(&to, row->from);
	sql_bind_time(&to, row->until);
	sql_bind_text(&to, row->who);
	sql_bind_text(&to, row->why);

	return sql_run(catalog, statement, "record the maintenance", err);
}

int
catalog_maintenance_get(struct catalog *catalog, struct maintenance_row *ret_row, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "SELECT begins, until, who, why FROM maintenance ORDER BY seq DESC LIMIT 1", err);
	struct sql_reader from = { .statement = statement };
	int got;

	*ret_row = (struct maintenance_row){ .who = NULL };
	if (statement == NULL)
		return -1;
	got = sql_step(catalog, statement, "read the maintenance", err);
	if (got <= 0)
		return got;
	ret_row->from = sql_read_time(&from);
	ret_row->until = sql_read_time(&from);
	ret_row->who = sql_read_text(&from);
	ret_row->why = sql_read_text(&from);

	return 0;
}
