/*
 * Exact row counts of all tables of one database, on a connection that goes on while something
 * else (pg_dump) runs: count_step sends and takes what it can without waiting.
 *
 * Made for 100,000 tables: many small ones are counted by one statement, and a table costs about
 * 60 bytes here.  What could not be counted for certain is not counted at all: a table that
 * somebody dropped, truncated or rewrote meanwhile has rows -1.
 */
#ifndef SOURCE_POSTGRES_COUNT_INTERNAL_H
#define SOURCE_POSTGRES_COUNT_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"
#include "base/str.h"
#include "base/vec.h"
#include "source/postgres/libpq_internal.h"

struct err;
struct json_t;

enum count_kind {
	COUNT_TABLE,
	COUNT_EXTENSION_TABLE, /* its rows are configuration, partly made by CREATE EXTENSION */
	COUNT_MATVIEW,         /* rows is 1 when populated, else 0: a restore refreshes it */
};

struct count_table {
	uint32_t oid;
	uint32_t pages;
	size_t text_at; /* in names: "schema\0name\0" */
	enum count_kind kind;
	bool is_unlogged;
	bool has_rls;
	int64_t rows; /* -1: not counted */
};

struct count {
	PGconn *conn;                   /* a loan, in a transaction */
	bool is_standby;                /* unlogged tables cannot be read there */
	VEC(struct count_table) tables; /* sorted by schema and name, bytewise */
	struct str names;
	size_t next;         /* the first table of the next batch */
	bool is_waiting;     /* an answer is on its way */
	bool has_failed;     /* the batch that is being answered */
	bool is_second_pass; /* what failed, one by one */
	bool is_done;
	struct str trouble; /* the first reason why a table was not counted */
};

/* In a database without an encoding, names may be bytes that no conversion accepts. */
int count_use_plain_bytes(PGconn *conn, struct err *err) MUST_CHECK;

/* Read the list of tables.  `conn` is in a repeatable read transaction and stays a loan. */
int count_begin(struct count *count, PGconn *conn, bool is_standby, struct err *err) MUST_CHECK;

/* Go on as far as is possible without waiting. */
int count_step(struct count *count, struct err *err) MUST_CHECK;

/* Count the rest, then take back what is no longer certain. */
int count_finish(struct count *count, struct err *err) MUST_CHECK;

void count_done(struct count *count);

const char *count_schema(const struct count *count, const struct count_table *table);
const char *count_name(const struct count *count, const struct count_table *table);
size_t count_uncounted(const struct count *count);
uint64_t count_rows_total(const struct count *count);
size_t count_of_kind(const struct count *count, enum count_kind kind);

/* [[schema, name, rows or null], ...] of one kind. */
struct json_t *count_json(const struct count *count, enum count_kind kind) MUST_CHECK;

/* [[schema, name], ...] of the unlogged tables, or of those with row level security. */
struct json_t *count_json_unlogged(const struct count *count) MUST_CHECK;
struct json_t *count_json_rls(const struct count *count) MUST_CHECK;

/* A JSON text; bytes that are no UTF-8 (database in SQL_ASCII) are taken as Latin-1. */
struct json_t *json_text(const char *text) MUST_CHECK;

#endif
