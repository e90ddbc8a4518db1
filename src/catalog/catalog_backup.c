#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "catalog/sql_internal.h"

/* In the order of bind_backup and read_backup. */
#define BACKUP_COLUMNS                                                                             \
	"id, job, source, source_type, kind, manifest_name, manifest_bytes, manifest_modified,"    \
	" identity, version, started, finished, consistent_at, content_bytes, stored_bytes,"       \
	" warnings_count, is_unproven, is_damaged, is_pinned, pin_reason, level, level_at,"        \
	" checked_at, check_message"

void
backup_row_done(struct backup_row *backup)
{
	free(backup->id);
	free(backup->job);
	free(backup->source);
	free(backup->source_type);
	free(backup->kind);
	free(backup->manifest_name);
	free(backup->identity);
	free(backup->version);
	free(backup->pin_reason);
	free(backup->check_message);
	*backup = (struct backup_row){ .id = NULL };
}

void
backup_rows_done(struct backup_rows *rows)
{
	for (size_t i = 0; i < rows->rows.count; i++)
		backup_row_done(&rows->rows.items[i]);
	vec_done(&rows->rows);
}

static void
read_backup(struct sql_statement *statement, struct backup_row *backup)
{
	struct sql_reader from = { .statement = statement };

	backup->id = sql_read_text(&from);
	backup->job = sql_read_text(&from);
	backup->source = sql_read_text(&from);
	backup->source_type = sql_read_text(&from);
	backup->kind = sql_read_text(&from);
	backup->manifest_name = sql_read_text(&from);
	backup->manifest_bytes = sql_read_bytes(&from);
	backup->manifest_modified = sql_read_time(&from);
	backup->identity = sql_read_text(&from);
	backup->version = sql_read_text(&from);
	backup->started = sql_read_time(&from);
	backup->finished = sql_read_time(&from);
	backup->consistent_at = sql_read_time(&from);
	backup->content_bytes = sql_read_bytes(&from);
	backup->stored_bytes = sql_read_bytes(&from);
	backup->warnings_count = (unsigned)sql_read_int(&from);
	backup->is_unproven = sql_read_int(&from) != 0;
	backup->is_damaged = sql_read_int(&from) != 0;
	backup->is_pinned = sql_read_int(&from) != 0;
	backup->pin_reason = sql_read_text(&from);
	backup->level = (int)sql_read_int(&from);
	backup->level_at = sql_read_time(&from);
	backup->checked_at = sql_read_time(&from);
	backup->check_message = sql_read_text(&from);
}

static void
bind_backup(struct sql_statement *statement, const struct backup_row *backup)
{
	struct sql_binder to = { .statement = statement };

	sql_bind_text(&to, backup->id);
	sql_bind_text(&to, backup->job);
	sql_bind_text(&to, backup->source);
	sql_bind_text(&to, backup->source_type);
	sql_bind_text(&to, backup->kind);
	sql_bind_text(&to, backup->manifest_name);
	sql_bind_bytes(&to, backup->manifest_bytes);
	sql_bind_time(&to, backup->manifest_modified);
	sql_bind_text(&to, backup->identity);
	sql_bind_text(&to, backup->version);
	sql_bind_time(&to, backup->started);
	sql_bind_time(&to, backup->finished);
	sql_bind_time(&to, backup->consistent_at);
	sql_bind_bytes(&to, backup->content_bytes);
	sql_bind_bytes(&to, backup->stored_bytes);
	sql_bind_int(&to, backup->warnings_count);
	sql_bind_int(&to, backup->is_unproven ? 1 : 0);
	sql_bind_int(&to, backup->is_damaged ? 1 : 0);
	sql_bind_int(&to, backup->is_pinned ? 1 : 0);
	sql_bind_text(&to, backup->pin_reason);
	sql_bind_int(&to, backup->level);
	sql_bind_time(&to, backup->level_at);
	sql_bind_time(&to, backup->checked_at);
	sql_bind_text(&to, backup->check_message);
}

int
catalog_backup_put(struct catalog *catalog, const struct backup_row *backup, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "INSERT OR REPLACE INTO backup (" BACKUP_COLUMNS ") VALUES"
	    " (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	    err);

	if (statement == NULL)
		return -1;
	bind_backup(statement, backup);

	return sql_run(catalog, statement, "record a backup", err);
}

int
catalog_backup_remove(struct catalog *catalog, const char *id, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog, "DELETE FROM backup WHERE id = ?",
	    err);
	struct sql_binder to = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, id);

	return sql_run(catalog, statement, "forget a backup", err);
}

int
catalog_backup_clear(struct catalog *catalog, struct err *err)
{
	return sql_execute(catalog, "DELETE FROM backup", "forget the backups", err);
}

static int
not_found(const char *id, struct err *err)
{
	(void)err_set(err, ERR_NOT_FOUND, "there is no backup '%.200s'", id);

	return err_hint(err, "'blackstart list' shows which there are.");
}

static int
ambiguous(const char *id, const struct backup_row *candidates, struct err *err)
{
	(void)err_set(err, ERR_USAGE,
	    "'%.100s' stands for several backups: '%.100s', '%.100s', ...", id, candidates[0].id,
	    candidates[1].id);

	return err_hint(err, "Type more of the id.");
}

/*
 * The id itself comes first, as nothing that begins with it sorts before it.  No text sorts after
 * the greatest character there is, so the range holds exactly what begins with the prefix.
 */
int
catalog_backup_get(struct catalog *catalog, const char *id, struct backup_row *ret_backup,
    struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "SELECT " BACKUP_COLUMNS " FROM backup"
	    " WHERE id >= ?1 AND id < ?1 || char(0x10ffff) ORDER BY id LIMIT 2",
	    err);
	SCOPED(backup_rows_done) struct backup_rows found = { .rows = { .count = 0 } };
	struct sql_binder to = { .statement = statement };
	int got;

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, id);
	while ((got = sql_step(catalog, statement, "read a backup", err)) > 0)
		read_backup(statement, vec_add(&found.rows));
	if (got < 0)
		return -1;
	if (found.rows.count == 0 || id[0] == '\0')
		return not_found(id, err);
	if (found.rows.count > 1 && !str_equals(found.rows.items[0].id, id))
		return ambiguous(id, found.rows.items, err);
	*ret_backup = found.rows.items[0];
	found.rows.items[0] = (struct backup_row){ .id = NULL };

	return 0;
}

int
catalog_backup_list(struct catalog *catalog, const struct backup_filter *filter,
    struct backup_rows *ret_rows, struct err *err)
{
	SCOPED(backup_rows_done) struct backup_rows rows = { .rows = { .count = 0 } };
	SCOPED(sql_releasep) struct sql_statement *statement = NULL;
	SCOPED(str_done) struct str sql = STR_INIT;
	struct sql_binder to = { .statement = NULL };
	int got;

	str_add(&sql, "SELECT " BACKUP_COLUMNS " FROM backup WHERE true");
	str_add(&sql, filter->job != NULL ? " AND job = ?" : "");
	str_add(&sql, filter->source != NULL ? " AND source = ?" : "");
	str_add(&sql, filter->kind != NULL ? " AND kind = ?" : "");
	str_add(&sql, filter->is_good ? " AND NOT is_damaged AND NOT is_unproven" : "");
	str_add(&sql, " ORDER BY consistent_at DESC, rowid DESC LIMIT ?");
	statement = to.statement = sql_prepare(catalog, str_text(&sql), err);
	if (statement == NULL)
		return -1;
	if (filter->job != NULL)
		sql_bind_text(&to, filter->job);
	if (filter->source != NULL)
		sql_bind_text(&to, filter->source);
	if (filter->kind != NULL)
		sql_bind_text(&to, filter->kind);
	sql_bind_int(&to, filter->limit > 0 ? (int64_t)filter->limit : -1);
	while ((got = sql_step(catalog, statement, "read the backups", err)) > 0)
		read_backup(statement, vec_add(&rows.rows));
	if (got < 0)
		return -1;
	*ret_rows = rows;
	rows = (struct backup_rows){ .rows = { .count = 0 } };

	return 0;
}
