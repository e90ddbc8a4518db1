/*
 * How the files of the catalog speak to SQLite: statements that finalize themselves, values bound
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

struct catalog {
	sqlite3 *db;
	char *path;
};

static inline void
sql_finalizep(sqlite3_stmt **statement)
{
	(void)sqlite3_finalize(*statement);
}

/* Fill err from the database's last failure; `doing` is a verb phrase: "read runs". Returns -1. */
int sql_error(struct catalog *catalog, const char *doing, struct err *err);

/* Run statements without parameters or rows. */
int sql_execute(struct catalog *catalog, const char *sql, const char *doing, struct err *err)
    MUST_CHECK;

/* A prepared statement, yours, or NULL. */
sqlite3_stmt *sql_prepare(struct catalog *catalog, const char *sql, struct err *err) MUST_CHECK;

/* 1: there is a row, 0: no more, -1: failed. */
int sql_step(struct catalog *catalog, sqlite3_stmt *statement, const char *doing, struct err *err)
    MUST_CHECK;

/* Step a statement that gives no rows. */
int sql_run(struct catalog *catalog, sqlite3_stmt *statement, const char *doing, struct err *err)
    MUST_CHECK;

/* Values for the parameters, one after the other; they must live until the statement is done. */
struct sql_binder {
	sqlite3_stmt *statement;
	int at; /* the last one bound */
};
void sql_bind_text(struct sql_binder *binder, const char *text); /* NULL gives NULL */
void sql_bind_int(struct sql_binder *binder, int64_t value);
void sql_bind_bytes(struct sql_binder *binder, uint64_t bytes);
void sql_bind_time(struct sql_binder *binder, struct wall_time time);

/* Columns of the present row, one after the other. */
struct sql_reader {
	sqlite3_stmt *statement;
	int at; /* the next one */
};
char *sql_read_text(struct sql_reader *reader); /* yours, NULL for NULL */
int64_t sql_read_int(struct sql_reader *reader);
uint64_t sql_read_bytes(struct sql_reader *reader);
struct wall_time sql_read_time(struct sql_reader *reader);

#endif
