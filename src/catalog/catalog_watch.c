#include "catalog/catalog_watch.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/str.h"
#include "catalog/sql_internal.h"

enum { FAILURES_COUNTED_MAX = 100 };

/* ---- outcomes ------------------------------------------------------------------------------ */

void
run_outcome_done(struct run_outcome *outcome)
{
	run_row_done(&outcome->last_failure);
}

/*
 * By the order in which they were begun (seq), whatever the clock said.  Backups are looked for in
 * the partial indexes, which go back along one job's runs; runs of other verbs are few.  All
 * attempts at one due time are one failure, and none while another attempt is to come.
 */
#define FAILURES_SQL(good_from, ended_from, of_verb)                                               \
	"SELECT count(DISTINCT iif(due = 0, -seq, due)), max(seq) FROM ("                          \
	"SELECT seq, due FROM " ended_from " WHERE " of_verb                                       \
	" AND state <> 'running' AND job = ?1 AND state IN ('failed', 'lost')"                     \
	" AND (due = 0 OR due <> coalesce((SELECT due FROM schedule WHERE job = ?1), 0))"          \
	" AND seq > coalesce((SELECT seq FROM " good_from " WHERE " of_verb                        \
	"  AND state IN ('ok', 'warning') AND job = ?1 ORDER BY seq DESC LIMIT 1), 0)"             \
	" ORDER BY seq DESC LIMIT ?2)"

static const char backup_failures_sql[] = FAILURES_SQL("run INDEXED BY run_backup_good",
    "run INDEXED BY run_backup_finished", "verb = 'backup'");
static const char other_failures_sql[] = FAILURES_SQL("run", "run", "verb = ?3");

static int
count_failures(struct catalog *catalog, const char *job, const char *verb, unsigned *ret_count,
    int64_t *ret_seq, struct err *err)
{
	bool is_backup = str_equals(verb, "backup");
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    is_backup ? backup_failures_sql : other_failures_sql, err);
	struct sql_binder to = { .statement = statement };
	struct sql_reader from = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, job);
	sql_bind_int(&to, FAILURES_COUNTED_MAX);
	if (!is_backup)
		sql_bind_text(&to, verb);
	if (sql_step(catalog, statement, "read the runs", err) < 0)
		return -1;
	*ret_count = (unsigned)sql_read_int(&from);
	*ret_seq = sql_read_int(&from);

	return 0;
}

static int
read_run_of_seq(struct catalog *catalog, int64_t seq, struct run_row *ret_run, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog, "SELECT id FROM run WHERE seq = ?",
	    err);
	struct sql_binder to = { .statement = statement };
	struct sql_reader from = { .statement = statement };
	SCOPED(freep) char *id = NULL;
	int got;

	if (statement == NULL)
		return -1;
	sql_bind_int(&to, seq);
	got = sql_step(catalog, statement, "read the runs", err);
	if (got <= 0)
		return got;
	id = sql_read_text(&from);

	return catalog_run_get(catalog, id, ret_run, err);
}

/* Only the newest run tells: one that was begun since, however it ended, has caught up. */
static const char newest_sql[] =
    "SELECT state, started FROM run WHERE job = ? AND verb = ? AND state <> 'skipped'"
    " ORDER BY started DESC, seq DESC LIMIT 1";

static int
find_missed(struct catalog *catalog, const char *job, const char *verb,
    struct wall_time *ret_missed_at, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog, newest_sql, err);
	struct sql_binder to = { .statement = statement };
	struct sql_reader from = { .statement = statement };
	SCOPED(freep) char *state = NULL;
	int got;

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, job);
	sql_bind_text(&to, verb);
	got = sql_step(catalog, statement, "read the runs", err);
	if (got <= 0)
		return got;
	state = sql_read_text(&from);
	if (str_equals(state, run_state_name(RUN_MISSED)))
		*ret_missed_at = sql_read_time(&from);

	return 0;
}

int
catalog_run_outcome(struct catalog *catalog, const char *job, const char *verb,
    struct run_outcome *ret_outcome, struct err *err)
{
	SCOPED(run_outcome_done) struct run_outcome outcome = { .failures_in_a_row = 0 };
	int64_t seq = 0;

	if (count_failures(catalog, job, verb, &outcome.failures_in_a_row, &seq, err) < 0 ||
	    (seq > 0 && read_run_of_seq(catalog, seq, &outcome.last_failure, err) < 0) ||
	    find_missed(catalog, job, verb, &outcome.missed_at, err) < 0)
		return -1;
	*ret_outcome = outcome;
	outcome = (struct run_outcome){ .failures_in_a_row = 0 };

	return 0;
}

int
catalog_run_good_at(struct catalog *catalog, const char *source, const char *verb,
    struct wall_time *ret_at, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "SELECT max(finished) FROM run WHERE source = ? AND verb = ?"
	    " AND state IN ('ok', 'warning')",
	    err);
	struct sql_binder to = { .statement = statement };
	struct sql_reader from = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, source);
	sql_bind_text(&to, verb);
	if (sql_step(catalog, statement, "read the runs", err) < 0)
		return -1;
	*ret_at = sql_read_time(&from);

	return 0;
}

/* ---- proofs -------------------------------------------------------------------------------- */

/* A level holds for those below it. */
static void
note_level(struct backup_proofs *proofs, int64_t level, struct wall_time at)
{
	for (int64_t i = 0; i <= level && i < BACKUP_LEVELS_COUNT; i++) {
		if (at.us > proofs->at[i].us)
			proofs->at[i] = at;
	}
}

int
catalog_backup_proofs(struct catalog *catalog, const char *job, struct backup_proofs *ret_proofs,
    struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "SELECT level, max(level_at), min(finished), count(*), sum(stored_bytes) FROM backup"
	    " WHERE job = ? AND is_damaged = 0 AND is_unproven = 0 GROUP BY level",
	    err);
	struct sql_binder to = { .statement = statement };
	struct backup_proofs proofs = { .backups_count = 0 };
	int got;

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, job);
	while ((got = sql_step(catalog, statement, "read the proofs", err)) > 0) {
		struct sql_reader from = { .statement = statement };
		int64_t level = sql_read_int(&from);
		struct wall_time finished;

		note_level(&proofs, level, sql_read_time(&from));
		finished = sql_read_time(&from);
		if (proofs.oldest_finished.us == 0 || finished.us < proofs.oldest_finished.us)
			proofs.oldest_finished = finished;
		proofs.backups_count += (unsigned)sql_read_int(&from);
		proofs.stored_bytes += sql_read_bytes(&from);
	}
	if (got < 0)
		return -1;
	*ret_proofs = proofs;

	return 0;
}

/* ---- counters ------------------------------------------------------------------------------ */

void
run_counts_done(struct run_counts *counts)
{
	for (size_t i = 0; i < counts->rows.count; i++)
		free(counts->rows.items[i].job);
	vec_done(&counts->rows);
}

int
catalog_run_counts(struct catalog *catalog, struct run_counts *ret_counts, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "SELECT job, state, count(*) FROM run INDEXED BY run_by_job_verb_state"
	    " WHERE verb IN ('backup', 'wal') GROUP BY job, verb, state",
	    err);
	SCOPED(run_counts_done) struct run_counts counts = { .rows = { .count = 0 } };
	int got;

	if (statement == NULL)
		return -1;
	while ((got = sql_step(catalog, statement, "count the runs", err)) > 0) {
		struct sql_reader from = { .statement = statement };
		struct run_count *count = vec_add(&counts.rows);
		SCOPED(freep) char *state = NULL;

		count->job = sql_read_text(&from);
		state = sql_read_text(&from);
		count->state = RUN_LOST;
		for (int i = RUN_RUNNING; i <= RUN_LOST; i++) {
			if (str_equals(run_state_name((enum run_state)i), state))
				count->state = (enum run_state)i;
		}
		count->count = sql_read_bytes(&from);
	}
	if (got < 0)
		return -1;
	*ret_counts = counts;
	counts = (struct run_counts){ .rows = { .count = 0 } };

	return 0;
}

/* ---- space --------------------------------------------------------------------------------- */

void
space_rows_done(struct space_rows *rows)
{
	vec_done(&rows->rows);
}

int
catalog_space_add(struct catalog *catalog, const struct space_row *row, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "INSERT OR REPLACE INTO space_sample (at, used_bytes, capacity_bytes) VALUES (?, ?, ?)",
	    err);
	struct sql_binder to = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_time(&to, row->at);
	sql_bind_bytes(&to, row->used_bytes);
	sql_bind_bytes(&to, row->capacity_bytes);

	return sql_run(catalog, statement, "record the space that is used", err);
}

int
catalog_space_list(struct catalog *catalog, struct wall_time since, struct space_rows *ret_rows,
    struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "SELECT at, used_bytes, capacity_bytes FROM space_sample WHERE at >= ? ORDER BY at",
	    err);
	SCOPED(space_rows_done) struct space_rows rows = { .rows = { .count = 0 } };
	struct sql_binder to = { .statement = statement };
	int got;

	if (statement == NULL)
		return -1;
	sql_bind_time(&to, since);
	while ((got = sql_step(catalog, statement, "read the space that was used", err)) > 0) {
		struct sql_reader from = { .statement = statement };
		struct space_row *row = vec_add(&rows.rows);

		row->at = sql_read_time(&from);
		row->used_bytes = sql_read_bytes(&from);
		row->capacity_bytes = sql_read_bytes(&from);
	}
	if (got < 0)
		return -1;
	*ret_rows = rows;
	rows = (struct space_rows){ .rows = { .count = 0 } };

	return 0;
}

int
catalog_space_trim(struct catalog *catalog, struct wall_time before, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "DELETE FROM space_sample WHERE at < ?", err);
	struct sql_binder to = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_time(&to, before);

	return sql_run(catalog, statement, "forget what space was used", err);
}

/* ---- marks --------------------------------------------------------------------------------- */

int
catalog_mark_get(struct catalog *catalog, const char *name, struct wall_time *ret_at,
    char **ret_value, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "SELECT at, value FROM watch_mark WHERE name = ?", err);
	struct sql_binder to = { .statement = statement };
	struct sql_reader from = { .statement = statement };
	int got;

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, name);
	got = sql_step(catalog, statement, "read a mark", err);
	if (got < 0)
		return -1;
	ret_at->us = got > 0 ? sql_read_int(&from) : 0;
	*ret_value = got > 0 ? sql_read_text(&from) : NULL;

	return 0;
}

int
catalog_mark_put(struct catalog *catalog, const char *name, struct wall_time at, const char *value,
    struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "INSERT OR REPLACE INTO watch_mark (name, at, value) VALUES (?, ?, ?)", err);
	struct sql_binder to = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, name);
	sql_bind_time(&to, at);
	sql_bind_text(&to, value);

	return sql_run(catalog, statement, "write a mark", err);
}

/* ---- links --------------------------------------------------------------------------------- */

void
link_row_done(struct link_row *row)
{
	free(row->why);
	*row = (struct link_row){ .why = NULL };
}

int
catalog_link_get(struct catalog *catalog, const char *job, struct link_row *ret_row,
    struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "SELECT told, phase, since, next_try, behind_bytes, behind_us, why FROM link"
	    " WHERE job = ?",
	    err);
	struct sql_binder to = { .statement = statement };
	struct sql_reader from = { .statement = statement };
	int64_t phase;
	int got;

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, job);
	got = sql_step(catalog, statement, "read the state of a stream", err);
	if (got < 0)
		return -1;
	*ret_row = (struct link_row){ .why = NULL };
	if (got == 0)
		return 0;
	ret_row->told = sql_read_time(&from);
	phase = sql_read_int(&from);
	ret_row->state.phase = phase >= LINK_UNKNOWN && phase <= LINK_WAITING
	    ? (enum link_phase)phase
	    : LINK_UNKNOWN;
	ret_row->state.since = sql_read_time(&from);
	ret_row->state.next_try = sql_read_time(&from);
	ret_row->state.behind_bytes = sql_read_bytes(&from);
	ret_row->state.behind_us = sql_read_int(&from);
	ret_row->state.why = ret_row->why = sql_read_text(&from);

	return 0;
}

int
catalog_link_put(struct catalog *catalog, const char *job, const struct link_state *state,
    struct wall_time told, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "INSERT OR REPLACE INTO link (job, told, phase, since, next_try, behind_bytes,"
	    " behind_us, why) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
	    err);
	struct sql_binder to = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, job);
	sql_bind_time(&to, told);
	sql_bind_int(&to, state->phase);
	sql_bind_time(&to, state->since);
	sql_bind_time(&to, state->next_try);
	sql_bind_bytes(&to, state->behind_bytes);
	sql_bind_int(&to, state->behind_us);
	sql_bind_text(&to, state->why != NULL ? state->why : "");

	return sql_run(catalog, statement, "record the state of a stream", err);
}

/* ---- changes ------------------------------------------------------------------------------- */

/* data_version moves with the commits of others, total_changes with our own. */
int
catalog_stamp(struct catalog *catalog, uint64_t *ret_stamp, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog, "PRAGMA data_version", err);
	struct sql_reader from = { .statement = statement };

	if (statement == NULL || sql_step(catalog, statement, "read the catalog", err) < 0)
		return -1;
	*ret_stamp = ((uint64_t)sql_read_int(&from) << 32) +
	    (uint64_t)sqlite3_total_changes64(catalog->db);

	return 0;
}
