#include "catalog/catalog_alarm.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/str.h"
#include "catalog/sql_internal.h"

/* In the order of read_alarm. */
#define ALARM_COLUMNS                                                                              \
	"rule, subject, severity, peak, since, raised_at, changed_at, cleared_at, told_at,"        \
	" is_acknowledged, shelved_until, text, cause, next_command"

void
alarm_row_done(struct alarm_row *row)
{
	free(row->rule);
	free(row->subject);
	free(row->text);
	free(row->cause);
	free(row->next_command);
	*row = (struct alarm_row){ .rule = NULL };
}

void
alarm_rows_done(struct alarm_rows *rows)
{
	for (size_t i = 0; i < rows->rows.count; i++)
		alarm_row_done(&rows->rows.items[i]);
	vec_done(&rows->rows);
}

void
alarm_change_rows_done(struct alarm_change_rows *rows)
{
	for (size_t i = 0; i < rows->rows.count; i++) {
		struct alarm_change_row *row = &rows->rows.items[i];

		free(row->rule);
		free(row->subject);
		free(row->event);
		free(row->who);
		free(row->why);
	}
	vec_done(&rows->rows);
}

static void
read_alarm(struct sql_reader *reader, struct alarm_row *row)
{
	row->rule = sql_read_text(reader);
	row->subject = sql_read_text(reader);
	row->severity = (int)sql_read_int(reader);
	row->peak = (int)sql_read_int(reader);
	row->since = sql_read_time(reader);
	row->raised_at = sql_read_time(reader);
	row->changed_at = sql_read_time(reader);
	row->cleared_at = sql_read_time(reader);
	row->told_at = sql_read_time(reader);
	row->is_acknowledged = sql_read_int(reader) != 0;
	row->shelved_until = sql_read_time(reader);
	row->text = sql_read_text(reader);
	row->cause = sql_read_text(reader);
	row->next_command = sql_read_text(reader);
}

int
catalog_alarm_list(struct catalog *catalog, struct alarm_rows *ret_rows, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "SELECT " ALARM_COLUMNS
	    " FROM alarm ORDER BY severity DESC, raised_at DESC, rule, subject",
	    err);
	SCOPED(alarm_rows_done) struct alarm_rows rows = { .rows = { .count = 0 } };
	int got;

	if (statement == NULL)
		return -1;
	while ((got = sql_step(catalog, statement, "read the alarms", err)) > 0) {
		struct sql_reader from = { .statement = statement };

		read_alarm(&from, vec_add(&rows.rows));
	}
	if (got < 0)
		return -1;
	*ret_rows = rows;
	rows = (struct alarm_rows){ .rows = { .count = 0 } };

	return 0;
}

int
catalog_alarm_put(struct catalog *catalog, const struct alarm_row *row, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "INSERT OR REPLACE INTO alarm (" ALARM_COLUMNS ")"
	    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	    err);
	struct sql_binder to = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, row->rule);
	sql_bind_text(&to, row->subject);
	sql_bind_int(&to, row->severity);
	sql_bind_int(&to, row->peak);
	sql_bind_time(&to, row->since);
	sql_bind_time(&to, row->raised_at);
	sql_bind_time(&to, row->changed_at);
	sql_bind_time(&to, row->cleared_at);
	sql_bind_time(&to, row->told_at);
	sql_bind_int(&to, row->is_acknowledged);
	sql_bind_time(&to, row->shelved_until);
	sql_bind_text(&to, row->text);
	sql_bind_text(&to, row->cause);
	sql_bind_text(&to, row->next_command);

	return sql_run(catalog, statement, "record an alarm", err);
}

int
catalog_alarm_change_add(struct catalog *catalog, const struct alarm_change_row *row,
    struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "INSERT INTO alarm_change (rule, subject, at, event, severity, who, why)"
	    " VALUES (?, ?, ?, ?, ?, ?, ?)",
	    err);
	struct sql_binder to = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, row->rule);
	sql_bind_text(&to, row->subject);
	sql_bind_time(&to, row->at);
	sql_bind_text(&to, row->event);
	sql_bind_int(&to, row->severity);
	sql_bind_text(&to, row->who);
	sql_bind_text(&to, row->why);

	return sql_run(catalog, statement, "record a change of an alarm", err);
}

int
catalog_alarm_change_list(struct catalog *catalog, const char *rule, const char *subject,
    unsigned limit, struct alarm_change_rows *ret_rows, struct err *err)
{
	static const char
	    of_all[] = "SELECT rule, subject, at, event, severity, who, why FROM alarm_change"
		       " ORDER BY seq DESC LIMIT ?";
	static const char
	    of_one[] = "SELECT rule, subject, at, event, severity, who, why FROM alarm_change"
		       " WHERE rule = ? AND subject = ? ORDER BY seq DESC LIMIT ?";
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog, rule == NULL ? of_all : of_one, err);
	SCOPED(alarm_change_rows_done) struct alarm_change_rows rows = { .rows = { .count = 0 } };
	struct sql_binder to = { .statement = statement };
	int got;

	if (statement == NULL)
		return -1;
	if (rule != NULL) {
		sql_bind_text(&to, rule);
		sql_bind_text(&to, subject);
	}
	sql_bind_int(&to, limit > 0 ? (int64_t)limit : -1);
	while ((got = sql_step(catalog, statement, "read the changes of alarms", err)) > 0) {
		struct sql_reader from = { .statement = statement };
		struct alarm_change_row *row = vec_add(&rows.rows);

		row->rule = sql_read_text(&from);
		row->subject = sql_read_text(&from);
		row->at = sql_read_time(&from);
		row->event = sql_read_text(&from);
		row->severity = (int)sql_read_int(&from);
		row->who = sql_read_text(&from);
		row->why = sql_read_text(&from);
	}
	if (got < 0)
		return -1;
	*ret_rows = rows;
	rows = (struct alarm_change_rows){ .rows = { .count = 0 } };

	return 0;
}

static int
trim(struct catalog *catalog, const char *sql, struct wall_time before, struct err *err)
{
	SCOPED(sql_releasep) struct sql_statement *statement = sql_prepare(catalog, sql, err);
	struct sql_binder to = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_time(&to, before);

	return sql_run(catalog, statement, "forget old alarms", err);
}

int
catalog_alarm_trim(struct catalog *catalog, struct wall_time before, struct err *err)
{
	if (trim(catalog, "DELETE FROM alarm_change WHERE at < ?", before, err) < 0)
		return -1;

	return trim(catalog,
	    "DELETE FROM alarm WHERE severity = 0 AND cleared_at < ?1 AND shelved_until < ?1",
	    before, err);
}
