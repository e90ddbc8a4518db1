#include "catalog/catalog_outbox.h"

#include <stdlib.h>

#include "base/err.h"
#include "catalog/sql_internal.h"

/* In the order of read_message. */
#define OUTBOX_COLUMNS                                                                             \
	"id, channel, event, rule, subject, severity, since, raised_at, at, text, cause,"          \
	" next_command, criticals_count, warnings_count, attempts, due_at, expires_at, done_at,"   \
	" is_given_up, failure"

/* Nothing waits for longer than an hour: what seems to was written before the clock was set back. */
#define IS_DUE "(due_at <= ?1 OR due_at > ?1 + 7200 * 1000000)"

void
outbox_row_done(struct outbox_row *row)
{
	free(row->channel);
	free(row->event);
	free(row->rule);
	free(row->subject);
	free(row->text);
	free(row->cause);
	free(row->next_command);
	free(row->failure);
	*row = (struct outbox_row){ .id = 0 };
}

void
outbox_rows_done(struct outbox_rows *rows)
{
	for (size_t i = 0; i < rows->rows.count; i++)
		outbox_row_done(&rows->rows.items[i]);
	vec_done(&rows->rows);
}

void
channel_rows_done(struct channel_rows *rows)
{
	for (size_t i = 0; i < rows->rows.count; i++) {
		free(rows->rows.items[i].name);
		free(rows->rows.items[i].failure);
	}
	vec_done(&rows->rows);
}

static void
read_message(struct sql_reader *reader, struct outbox_row *row)
{
	row->id = sql_read_int(reader);
	row->channel = sql_read_text(reader);
	row->event = sql_read_text(reader);
	row->rule = sql_read_text(reader);
	row->subject = sql_read_text(reader);
	row->severity = (int)sql_read_int(reader);
	row->since = sql_read_time(reader);
	row->raised_at = sql_read_time(reader);
	row->at = sql_read_time(reader);
	row->text = sql_read_text(reader);
	row->cause = sql_read_text(reader);
	row->next_command = sql_read_text(reader);
	row->criticals_count = (unsigned)sql_read_int(reader);
	row->warnings_count = (unsigned)sql_read_int(reader);
	row->attempts = (unsigned)sql_read_int(reader);
	row->due_at = sql_read_time(reader);
	row->expires_at = sql_read_time(reader);
	row->done_at = sql_read_time(reader);
	row->is_given_up = sql_read_int(reader) != 0;
	row->failure = sql_read_text(reader);
}

int
catalog_outbox_add(struct catalog *catalog, const struct outbox_row *row, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "INSERT INTO outbox (channel, event, rule, subject, severity, since, raised_at, at,"
	    " text, cause, next_command, criticals_count, warnings_count, due_at, expires_at,"
	    " attempts, done_at, is_given_up)"
	    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0)",
	    err);
	struct sql_binder to = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, row->channel);
	sql_bind_text(&to, row->event);
	sql_bind_text(&to, row->rule);
	sql_bind_text(&to, row->subject);
	sql_bind_int(&to, row->severity);
	sql_bind_time(&to, row->since);
	sql_bind_time(&to, row->raised_at);
	sql_bind_time(&to, row->at);
	sql_bind_text(&to, row->text);
	sql_bind_text(&to, row->cause);
	sql_bind_text(&to, row->next_command);
	sql_bind_int(&to, (int64_t)row->criticals_count);
	sql_bind_int(&to, (int64_t)row->warnings_count);
	sql_bind_time(&to, row->due_at);
	sql_bind_time(&to, row->expires_at);

	return sql_run(catalog, statement, "write a message", err);
}

int
catalog_outbox_withdraw(struct catalog *catalog, const char *channel, const char *event,
    struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "DELETE FROM outbox WHERE done_at = 0 AND channel = ? AND event = ?", err);
	struct sql_binder to = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, channel);
	sql_bind_text(&to, event);

	return sql_run(catalog, statement, "withdraw a message", err);
}

static int
read_messages(struct catalog *catalog, const char *sql, int64_t value, struct outbox_rows *ret_rows,
    struct err *err)
{
	SCOPED(sql_releasep) struct sql_statement *statement = sql_prepare(catalog, sql, err);
	SCOPED(outbox_rows_done) struct outbox_rows rows = { .rows = { .count = 0 } };
	struct sql_binder to = { .statement = statement };
	int got;

	if (statement == NULL)
		return -1;
	sql_bind_int(&to, value);
	while ((got = sql_step(catalog, statement, "read the messages", err)) > 0) {
		struct sql_reader from = { .statement = statement };

		read_message(&from, vec_add(&rows.rows));
	}
	if (got < 0)
		return -1;
	*ret_rows = rows;
	rows = (struct outbox_rows){ .rows = { .count = 0 } };

	return 0;
}

int
catalog_outbox_due(struct catalog *catalog, struct wall_time now, struct outbox_rows *ret_rows,
    struct err *err)
{
	return read_messages(catalog,
	    "SELECT " OUTBOX_COLUMNS " FROM outbox INDEXED BY outbox_waiting"
	    " WHERE done_at = 0 AND " IS_DUE " ORDER BY attempts > 4, id",
	    now.us, ret_rows, err);
}

int
catalog_outbox_list(struct catalog *catalog, unsigned limit, struct outbox_rows *ret_rows,
    struct err *err)
{
	return read_messages(catalog,
	    "SELECT " OUTBOX_COLUMNS " FROM outbox ORDER BY id DESC LIMIT ?",
	    limit > 0 ? (int64_t)limit : -1, ret_rows, err);
}

int
catalog_outbox_has_due(struct catalog *catalog, struct wall_time now, bool *ret_has_due,
    struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "SELECT 1 FROM outbox INDEXED BY outbox_waiting WHERE done_at = 0 AND " IS_DUE
	    " LIMIT 1",
	    err);
	struct sql_binder to = { .statement = statement };
	int got;

	if (statement == NULL)
		return -1;
	sql_bind_time(&to, now);
	got = sql_step(catalog, statement, "read the messages", err);
	if (got < 0)
		return -1;
	*ret_has_due = got > 0;

	return 0;
}

int
catalog_outbox_begin(struct catalog *catalog, int64_t id, struct wall_time next_due,
    struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "UPDATE outbox SET attempts = attempts + 1, due_at = ? WHERE id = ? AND done_at = 0",
	    err);
	struct sql_binder to = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_time(&to, next_due);
	sql_bind_int(&to, id);
	if (sql_run(catalog, statement, "begin to deliver a message", err) < 0)
		return -1;
	if (sqlite3_changes(catalog->db) == 0)
		return err_set(err, ERR_NOT_FOUND, "message %lld does not wait any more",
		    (long long)id);

	return 0;
}

int
catalog_outbox_done(struct catalog *catalog, int64_t id, struct wall_time now, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "UPDATE outbox SET done_at = ?, failure = NULL WHERE id = ?", err);
	struct sql_binder to = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_time(&to, now);
	sql_bind_int(&to, id);

	return sql_run(catalog, statement, "note that a message was delivered", err);
}

int
catalog_outbox_failed(struct catalog *catalog, int64_t id, const char *failure, bool is_given_up,
    struct wall_time now, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "UPDATE outbox SET failure = ?, is_given_up = ?, done_at = ? WHERE id = ?", err);
	struct sql_binder to = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, failure);
	sql_bind_int(&to, is_given_up);
	sql_bind_int(&to, is_given_up ? now.us : 0);
	sql_bind_int(&to, id);

	return sql_run(catalog, statement, "note that a message was not delivered", err);
}

int
catalog_outbox_postpone(struct catalog *catalog, const char *channel, struct wall_time until,
    struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "UPDATE outbox SET due_at = ?1 WHERE done_at = 0 AND channel = ?2 AND due_at < ?1",
	    err);
	struct sql_binder to = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_time(&to, until);
	sql_bind_text(&to, channel);

	return sql_run(catalog, statement, "postpone messages", err);
}

int
catalog_outbox_trim(struct catalog *catalog, struct wall_time before, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "DELETE FROM outbox WHERE done_at > 0 AND done_at < ?", err);
	struct sql_binder to = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_time(&to, before);

	return sql_run(catalog, statement, "forget old messages", err);
}

/* ---- channels ------------------------------------------------------------------------------ */

int
catalog_channel_list(struct catalog *catalog, struct channel_rows *ret_rows, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "SELECT name, failures_in_a_row, failing_since, failures_total, sent_total, sent_at,"
	    " failure FROM channel ORDER BY name",
	    err);
	SCOPED(channel_rows_done) struct channel_rows rows = { .rows = { .count = 0 } };
	int got;

	if (statement == NULL)
		return -1;
	while ((got = sql_step(catalog, statement, "read the channels", err)) > 0) {
		struct sql_reader from = { .statement = statement };
		struct channel_row *row = vec_add(&rows.rows);

		row->name = sql_read_text(&from);
		row->failures_in_a_row = (unsigned)sql_read_int(&from);
		row->failing_since = sql_read_time(&from);
		row->failures_total = sql_read_bytes(&from);
		row->sent_total = sql_read_bytes(&from);
		row->sent_at = sql_read_time(&from);
		row->failure = sql_read_text(&from);
	}
	if (got < 0)
		return -1;
	*ret_rows = rows;
	rows = (struct channel_rows){ .rows = { .count = 0 } };

	return 0;
}

static const char count_sent_sql[] =
    "INSERT INTO channel (name, failures_in_a_row, failing_since, failures_total, sent_total,"
    " sent_at) VALUES (?1, 0, 0, 0, 1, ?2)"
    " ON CONFLICT (name) DO UPDATE SET failures_in_a_row = 0, failing_since = 0,"
    " sent_total = sent_total + 1, sent_at = ?2";

static const char count_failed_sql[] =
    "INSERT INTO channel (name, failures_in_a_row, failing_since, failures_total, sent_total,"
    " sent_at, failure) VALUES (?1, 1, ?2, 1, 0, 0, ?3)"
    " ON CONFLICT (name) DO UPDATE SET failures_in_a_row = failures_in_a_row + 1,"
    " failing_since = iif(failures_in_a_row = 0, ?2, failing_since),"
    " failures_total = failures_total + 1, failure = ?3";

int
catalog_channel_count(struct catalog *catalog, const char *name, const char *failure,
    struct wall_time now, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    failure == NULL ? count_sent_sql : count_failed_sql, err);
	struct sql_binder to = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, name);
	sql_bind_time(&to, now);
	if (failure != NULL)
		sql_bind_text(&to, failure);

	return sql_run(catalog, statement, "count a delivery", err);
}
