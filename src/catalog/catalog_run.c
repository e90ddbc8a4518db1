#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "catalog/sql_internal.h"

/* In the order of read_run. */
#define RUN_COLUMNS(table)                                                                         \
	table ".id, " table ".job, " table ".source, " table ".verb, " table ".state, " table      \
	      ".started, " table ".finished, " table ".backup_id, " table ".source_bytes, " table  \
	      ".stored_bytes, " table ".message, " table ".hint, " table ".log_path, " table       \
	      ".lock_path, " table ".due, " table ".due_last, " table ".due_count, " table         \
	      ".attempt, " table ".may_pass"

static const char *const state_names[] = {
	[RUN_RUNNING] = "running",
	[RUN_OK] = "ok",
	[RUN_WARNING] = "warning",
	[RUN_FAILED] = "failed",
	[RUN_MISSED] = "missed",
	[RUN_SKIPPED] = "skipped",
	[RUN_CANCELLED] = "cancelled",
	[RUN_LOST] = "lost",
};

const char *
run_state_name(enum run_state state)
{
	return state_names[state];
}

enum run_state
run_state_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(state_names); i++) {
		if (str_equals(state_names[i], name))
			return (enum run_state)i;
	}

	return RUN_LOST;
}

void
run_row_done(struct run_row *run)
{
	free(run->id);
	free(run->job);
	free(run->source);
	free(run->verb);
	free(run->backup_id);
	free(run->message);
	free(run->hint);
	free(run->log_path);
	free(run->lock_path);
	*run = (struct run_row){ .id = NULL };
}

void
run_rows_done(struct run_rows *rows)
{
	for (size_t i = 0; i < rows->rows.count; i++)
		run_row_done(&rows->rows.items[i]);
	vec_done(&rows->rows);
}

void
job_summaries_done(struct job_summaries *summaries)
{
	for (size_t i = 0; i < summaries->rows.count; i++) {
		struct job_summary *summary = &summaries->rows.items[i];

		free(summary->job);
		free(summary->source);
		run_row_done(&summary->last);
		run_row_done(&summary->last_good);
		run_row_done(&summary->running);
	}
	vec_done(&summaries->rows);
}

static void
read_run(struct sql_reader *reader, struct run_row *run)
{
	SCOPED(freep) char *state = NULL;

	run->id = sql_read_text(reader);
	run->job = sql_read_text(reader);
	run->source = sql_read_text(reader);
	run->verb = sql_read_text(reader);
	state = sql_read_text(reader);
	run->state = run_state_of(state);
	run->started = sql_read_time(reader);
	run->finished = sql_read_time(reader);
	run->backup_id = sql_read_text(reader);
	run->source_bytes = sql_read_bytes(reader);
	run->stored_bytes = sql_read_bytes(reader);
	run->message = sql_read_text(reader);
	run->hint = sql_read_text(reader);
	run->log_path = sql_read_text(reader);
	run->lock_path = sql_read_text(reader);
	run->due = sql_read_time(reader);
	run->due_last = sql_read_time(reader);
	run->due_count = sql_read_bytes(reader);
	run->attempt = (unsigned)sql_read_int(reader);
	run->may_pass = sql_read_int(reader) != 0;
}

int
catalog_run_insert(struct catalog *catalog, const struct run_row *run, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "INSERT INTO run (id, job, source, verb, state, started, finished, backup_id,"
	    " source_bytes, stored_bytes, message, hint, log_path, lock_path, due,"
	    " due_last, due_count, attempt, may_pass)"
	    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	    err);
	struct sql_binder to = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, run->id);
	sql_bind_text(&to, run->job);
	sql_bind_text(&to, run->source);
	sql_bind_text(&to, run->verb);
	sql_bind_text(&to, run_state_name(run->state));
	sql_bind_time(&to, run->started);
	sql_bind_time(&to, run->finished);
	sql_bind_text(&to, run->backup_id);
	sql_bind_bytes(&to, run->source_bytes);
	sql_bind_bytes(&to, run->stored_bytes);
	sql_bind_text(&to, run->message);
	sql_bind_text(&to, run->hint);
	sql_bind_text(&to, run->log_path);
	sql_bind_text(&to, run->lock_path);
	sql_bind_time(&to, run->due);
	sql_bind_time(&to, run->due_last);
	sql_bind_bytes(&to, run->due_count);
	sql_bind_int(&to, run->attempt);
	sql_bind_int(&to, run->may_pass ? 1 : 0);

	return sql_run(catalog, statement, "record a run", err);
}

int
catalog_run_update(struct catalog *catalog, const struct run_row *run, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "UPDATE run SET state = ?, finished = ?, backup_id = ?, source_bytes = ?,"
	    " stored_bytes = ?, message = ?, hint = ?, may_pass = ? WHERE id = ?",
	    err);
	struct sql_binder to = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, run_state_name(run->state));
	sql_bind_time(&to, run->finished);
	sql_bind_text(&to, run->backup_id);
	sql_bind_bytes(&to, run->source_bytes);
	sql_bind_bytes(&to, run->stored_bytes);
	sql_bind_text(&to, run->message);
	sql_bind_text(&to, run->hint);
	sql_bind_int(&to, run->may_pass ? 1 : 0);
	sql_bind_text(&to, run->id);
	if (sql_run(catalog, statement, "record a run", err) < 0)
		return -1;
	if (sqlite3_changes(catalog->db) == 0)
		return err_set(err, ERR_NOT_FOUND, "run '%s' is not in the catalog", run->id);

	return 0;
}

int
catalog_run_get(struct catalog *catalog, const char *id, struct run_row *ret_run, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "SELECT " RUN_COLUMNS("run") " FROM run WHERE id = ?", err);
	struct sql_binder to = { .statement = statement };
	struct sql_reader from = { .statement = statement };
	struct run_row run = { .id = NULL };
	int got;

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, id);
	got = sql_step(catalog, statement, "read a run", err);
	if (got < 0)
		return -1;
	if (got == 0) {
		(void)err_set(err, ERR_NOT_FOUND, "run '%s' is not in the catalog", id);
		return err_hint(err, "'blackstart list --runs' shows which there are.");
	}
	read_run(&from, &run);
	*ret_run = run;

	return 0;
}

/* Each condition is written only when it is asked for, so that an index can serve the rest. */
static void
add_condition(struct str *sql, const char *condition, bool is_wanted)
{
	if (is_wanted)
		str_addf(sql, " AND %s ?", condition);
}

static void
bind_filter(struct sql_binder *to, const struct run_filter *filter)
{
	if (filter->job != NULL)
		sql_bind_text(to, filter->job);
	if (filter->source != NULL)
		sql_bind_text(to, filter->source);
	if (filter->verb != NULL)
		sql_bind_text(to, filter->verb);
	if (filter->state != NULL)
		sql_bind_text(to, run_state_name(*filter->state));
	if (filter->before.us != 0)
		sql_bind_time(to, filter->before);
	sql_bind_int(to, filter->limit > 0 ? (int64_t)filter->limit : -1);
}

int
catalog_run_list(struct catalog *catalog, const struct run_filter *filter,
    struct run_rows *ret_rows, struct err *err)
{
	SCOPED(run_rows_done) struct run_rows rows = { .rows = { .count = 0 } };
	SCOPED(sql_releasep) struct sql_statement *statement = NULL;
	SCOPED(str_done) struct str sql = STR_INIT;
	struct sql_binder to = { .statement = NULL };
	int got;

	str_add(&sql, "SELECT " RUN_COLUMNS("run") " FROM run WHERE true");
	add_condition(&sql, "job =", filter->job != NULL);
	add_condition(&sql, "source =", filter->source != NULL);
	add_condition(&sql, "verb =", filter->verb != NULL);
	add_condition(&sql, "state =", filter->state != NULL);
	add_condition(&sql, "started <", filter->before.us != 0);
	str_add(&sql, " ORDER BY started DESC, seq DESC LIMIT ?");
	statement = to.statement = sql_prepare(catalog, str_text(&sql), err);
	if (statement == NULL)
		return -1;
	bind_filter(&to, filter);
	while ((got = sql_step(catalog, statement, "read the runs", err)) > 0) {
		struct sql_reader from = { .statement = statement };

		read_run(&from, vec_add(&rows.rows));
	}
	if (got < 0)
		return -1;
	*ret_rows = rows;
	rows = (struct run_rows){ .rows = { .count = 0 } };

	return 0;
}

#define SUMMARY_RUNS RUN_COLUMNS("last") ", " RUN_COLUMNS("good") ", " RUN_COLUMNS("busy")

/*
 * The names of the jobs are found by jumping through the index from one to the next greater, the
 * three runs of each by one step into an index that holds nothing else.  Those are named, because
 * to the planner a longer match looks better: it would go through thousands of failures to find
 * the last good run.  The last is the one that was begun last, whatever the clock said then: after
 * it was set back, a run of tomorrow would hide today's failure.
 */
static const char
    summaries_sql[] = "WITH RECURSIVE job(name) AS ("
		      " SELECT min(job) FROM run WHERE verb = 'backup'"
		      " UNION ALL"
		      " SELECT (SELECT min(job) FROM run WHERE verb = 'backup' AND job > name)"
		      " FROM job WHERE name IS NOT NULL)"
		      "SELECT name, " SUMMARY_RUNS " FROM job"
		      " LEFT JOIN run AS last ON last.seq ="
		      "  (SELECT seq FROM run INDEXED BY run_backup_finished WHERE verb = 'backup'"
		      "  AND state <> 'running' AND job = name ORDER BY seq DESC LIMIT 1)"
		      " LEFT JOIN run AS good ON good.seq ="
		      "  (SELECT seq FROM run INDEXED BY run_backup_good WHERE verb = 'backup'"
		      "  AND state IN ('ok', 'warning') AND job = name ORDER BY seq DESC LIMIT 1)"
		      " LEFT JOIN run AS busy ON busy.seq ="
		      "  (SELECT seq FROM run INDEXED BY run_backup_running WHERE verb = 'backup'"
		      "  AND state = 'running' AND job = name ORDER BY seq DESC LIMIT 1)"
		      " WHERE name IS NOT NULL";

static void
read_summary(struct sql_reader *from, struct job_summary *summary)
{
	const struct run_row *newest;

	summary->job = sql_read_text(from);
	read_run(from, &summary->last);
	read_run(from, &summary->last_good);
	read_run(from, &summary->running);
	newest = summary->running.id != NULL ? &summary->running : &summary->last;
	summary->source = xstrdup(newest->source);
}

int
catalog_job_summaries(struct catalog *catalog, struct job_summaries *ret_rows, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog, summaries_sql, err);
	SCOPED(job_summaries_done) struct job_summaries rows = { .rows = { .count = 0 } };
	int got;

	if (statement == NULL)
		return -1;
	while ((got = sql_step(catalog, statement, "read the runs", err)) > 0) {
		struct sql_reader from = { .statement = statement };

		read_summary(&from, vec_add(&rows.rows));
	}
	if (got < 0)
		return -1;
	*ret_rows = rows;
	rows = (struct job_summaries){ .rows = { .count = 0 } };

	return 0;
}
