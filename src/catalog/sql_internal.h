/*
 * How the files of the catalog speak to SQLite: statements that go back by themselves, values bound
 * by position, columns read in order, result codes turned into errors.
 */
#ifndef CATALOG_SQL_INTERNAL_H
#define CATALOG_SQL_INTERNAL_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"

struct err;

/*
 * Prepared, and kept for the next use by the same text: a page of 20 jobs asks 150 times, and to
 * prepare a statement takes longer than to run it.
 */
struct sql_statement {
	sqlite3_stmt *handle;
	char *sql;
	bool is_used;
	bool is_kept; /* in the catalog's list; else it goes with its use */
};
enum { SQL_KEPT_MAX = 64 };

struct catalog {
	sqlite3 *db;
	char *path;
	struct sql_statement *kept[SQL_KEPT_MAX];
	size_t kept_count;
};

/* Reset, and its values forgotten.  NULL is ok. */
void sql_release(struct sql_statement *statement);

static inline void
sql_releasep(struct sql_statement **statement)
{
	sql_release(*statement);
}

/* Before the database is closed: none is in use any more. */
void sql_forget_all(struct catalog *catalog);

/* Fill err from the database's last failure; `doing` is a verb phrase: "read runs". Returns -1. */
int sql_error(struct catalog *catalog, const char *doing, struct err *err);

/* Run statements without parameters or rows. */
int sql_execute(struct catalog *catalog, const char *sql, const char *doing, struct err *err)
    MUST_CHECK;

/* A prepared statement for sql_release, or NULL. */
struct sql_statement *sql_prepare(struct catalog *catalog, const char *sql, struct err *err)
    MUST_CHECK;

/* 1: there is a row, 0: no more, -1: failed. */
int sql_step(struct catalog *catalog, struct sql_statement *statement, const char *doing,
    struct err *err) MUST_CHECK;

/* Step a statement that gives no rows. */
int sql_run(struct catalog *catalog, struct sql_statement *statement, const char *doing,
    struct err *err) MUST_CHECK;

/* Values for the parameters, one after the other; they must live until the statement is done. */
struct sql_binder {
	struct sql_statement *statement;
	int at; /* the last one bound */
};
void sql_bind_text(struct sql_binder *binder, const char *text); /* NULL gives NULL */
void sql_bind_int(struct sql_binder *binder, int64_t value);
void sql_bind_bytes(struct sql_binder *binder, uint64_t bytes);
void sql_bind_time(struct sql_binder *binder, struct wall_time time);

/* Columns of the present row, one after the other. */
struct sql_reader {
	struct sql_statement *statement;
	int at; /* the next one */
};
char *sql_read_text(struct sql_reader *reader); /* yours, NULL for NULL */
int64_t sql_read_int(struct sql_reader *reader);
uint64_t sql_read_bytes(struct sql_reader *reader);
struct wall_time sql_read_time(struct sql_reader *reader);

#endif
