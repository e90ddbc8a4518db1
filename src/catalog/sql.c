#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "catalog/sql_internal.h"

static int
damaged(const struct catalog *catalog, const char *doing, struct err *err)
{
	(void)err_set(err, ERR_DATA, "cannot %s: catalog '%s' is damaged: %s", doing, catalog->path,
	    sqlite3_errmsg(catalog->db));

	return err_hint(err,
	    "Run 'blackstart catalog rebuild': it sets the file aside and makes a new one from the store.");
}

static int
busy(const struct catalog *catalog, const char *doing, struct err *err)
{
	(void)err_set(err, ERR_BUSY, "cannot %s: catalog '%s' is locked by another process", doing,
	    catalog->path);

	return err_hint(err, "Wait for the running job, then try again.");
}

/* An operating system's refusal, with its own words where SQLite kept them. */
static int
refused(const struct catalog *catalog, enum err_kind kind, const char *doing, struct err *err)
{
	int sys = sqlite3_system_errno(catalog->db);

	(void)err_set(err, sys != 0 ? err_kind_of_errno(sys) : kind,
	    "cannot %s: catalog '%s': %s%s%s", doing, catalog->path, sqlite3_errmsg(catalog->db),
	    sys != 0 ? ": " : "", sys != 0 ? strerror(sys) : "");
	err->sys = sys;

	return -1;
}

static int
full(const struct catalog *catalog, const char *doing, struct err *err)
{
	(void)err_set(err, ERR_SPACE, "cannot %s: no space left for catalog '%s'", doing,
	    catalog->path);

	return err_hint(err,
	    "Free space in the folder 'state_dir' of the configuration, then run again.");
}

/* Of the constraints only these can be broken by a name; the others are slips of ours. */
static bool
is_taken(const struct catalog *catalog)
{
	int code = sqlite3_extended_errcode(catalog->db);

	return code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY;
}

int
sql_error(struct catalog *catalog, const char *doing, struct err *err)
{
	switch (sqlite3_errcode(catalog->db) & 0xff) { /* the low byte is the primary code */
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return damaged(catalog, doing, err);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_PROTOCOL: /* lost the race for the log's locks again and again */
		return busy(catalog, doing, err);
	case SQLITE_FULL:
		return full(catalog, doing, err);
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return refused(catalog, ERR_PERMISSION, doing, err);
	case SQLITE_CANTOPEN:
	case SQLITE_IOERR:
		return refused(catalog, ERR_IO, doing, err);
	case SQLITE_CONSTRAINT:
		return err_set(err, is_taken(catalog) ? ERR_EXISTS : ERR_BUG,
		    "cannot %s: catalog '%s': %s", doing, catalog->path,
		    sqlite3_errmsg(catalog->db));
	case SQLITE_TOOBIG:
		return refused(catalog, ERR_LIMIT, doing, err);
	default:
		return err_set(err, ERR_BUG, "cannot %s: catalog '%s': %s", doing, catalog->path,
		    sqlite3_errmsg(catalog->db));
	}
}

int
sql_execute(struct catalog *catalog, const char *sql, const char *doing, struct err *err)
{
	if (sqlite3_exec(catalog->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return sql_error(catalog, doing, err);

	return 0;
}

/* ---- statements ----------------------------------------------------------------------------- */

static void
statement_free(struct sql_statement *statement)
{
	(void)sqlite3_finalize(statement->handle);
	free(statement->sql);
	free(statement);
}

/* One that is not in use, or NULL. */
static struct sql_statement *
find_kept(const struct catalog *catalog, const char *sql)
{
	for (size_t i = 0; i < catalog->kept_count; i++) {
		if (!catalog->kept[i]->is_used && strcmp(catalog->kept[i]->sql, sql) == 0)
			return catalog->kept[i];
	}

	return NULL;
}

struct sql_statement *
sql_prepare(struct catalog *catalog, const char *sql, struct err *err)
{
	struct sql_statement *statement = find_kept(catalog, sql);
	bool is_kept = catalog->kept_count < SQL_KEPT_MAX;
	sqlite3_stmt *handle = NULL;

	if (statement == NULL) {
		if (sqlite3_prepare_v3(catalog->db, sql, -1,
			is_kept ? SQLITE_PREPARE_PERSISTENT : 0, &handle, NULL) != SQLITE_OK) {
			(void)sql_error(catalog, "prepare a statement", err);
			return NULL;
		}
		statement = xcalloc(1, sizeof(*statement));
		statement->handle = handle;
		statement->sql = xstrdup(sql);
		statement->is_kept = is_kept;
		if (is_kept)
			catalog->kept[catalog->kept_count++] = statement;
	}
	statement->is_used = true;

	return statement;
}

void
sql_release(struct sql_statement *statement)
{
	if (statement == NULL)
		return;
	if (!statement->is_kept) {
		statement_free(statement);
		return;
	}
	(void)sqlite3_reset(statement->handle);
	(void)sqlite3_clear_bindings(statement->handle);
	statement->is_used = false;
}

void
sql_forget_all(struct catalog *catalog)
{
	for (size_t i = 0; i < catalog->kept_count; i++) {
		assert(!catalog->kept[i]->is_used);
		statement_free(catalog->kept[i]);
	}
	catalog->kept_count = 0;
}

int
sql_step(struct catalog *catalog, struct sql_statement *statement, const char *doing,
    struct err *err)
{
	switch (sqlite3_step(statement->handle)) {
	case SQLITE_ROW:
		return 1;
	case SQLITE_DONE:
		return 0;
	default:
		return sql_error(catalog, doing, err);
	}
}

int
sql_run(struct catalog *catalog, struct sql_statement *statement, const char *doing,
    struct err *err)
{
	int got = sql_step(catalog, statement, doing, err);

	assert(got <= 0);

	return got;
}

/* A parameter that is not there is a slip of ours, and memory that is not ends us anyway. */
static void
check_bound(int result)
{
	assert(result == SQLITE_OK);
	(void)result;
}

void
sql_bind_text(struct sql_binder *binder, const char *text)
{
	check_bound(sqlite3_bind_text(binder->statement->handle, ++binder->at, text, -1,
	    SQLITE_STATIC));
}

void
sql_bind_int(struct sql_binder *binder, int64_t value)
{
	check_bound(sqlite3_bind_int64(binder->statement->handle, ++binder->at, value));
}

void
sql_bind_bytes(struct sql_binder *binder, uint64_t bytes)
{
	sql_bind_int(binder, bytes <= INT64_MAX ? (int64_t)bytes : INT64_MAX);
}

void
sql_bind_time(struct sql_binder *binder, struct wall_time time)
{
	sql_bind_int(binder, time.us);
}

char *
sql_read_text(struct sql_reader *reader)
{
	const unsigned char *text = sqlite3_column_text(reader->statement->handle, reader->at++);

	return xstrdup((const char *)text);
}

int64_t
sql_read_int(struct sql_reader *reader)
{
	return sqlite3_column_int64(reader->statement->handle, reader->at++);
}

uint64_t
sql_read_bytes(struct sql_reader *reader)
{
	int64_t value = sql_read_int(reader);

	return value > 0 ? (uint64_t)value : 0;
}

struct wall_time
sql_read_time(struct sql_reader *reader)
{
	return (struct wall_time){ .us = sql_read_int(reader) };
}
