#include "source/postgres/count_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "source/postgres/postgres_internal.h"

enum {
	BATCH_TABLES = 64,
	BATCH_PAGES = 2048, /* 16 MiB: a statement that ends within a fraction of a second */
	FETCH_ROWS = 2000,
	NAMES_MAX_BYTES = 512 * 1024 * 1024,
	TROUBLE_MAX = 300,
};

/* ---- the list of tables ---------------------------------------------------------------------- */

/*
 * Leaf partitions are tables of their own here, partitioned parents hold no rows.  Schemas that
 * begin with "pg_" are the system's.  A table of an extension is dumped only when it is declared
 * as its configuration.
 */
static const char list_sql[] =
    "DECLARE blackstart_tables NO SCROLL CURSOR FOR "
    "SELECT c.oid, c.relpages, n.nspname, c.relname, c.relkind, c.relpersistence, "
    " c.relispopulated, c.relrowsecurity, d.objid IS NOT NULL "
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid "
    " AND d.deptype = 'e' AND d.objsubid = 0 "
    "LEFT JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid "
    "WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' "
    " AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' "
    " AND (d.objid IS NULL OR c.oid = ANY (e.extconfig)) "
    "ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\"";

enum list_column {
	LIST_OID,
	LIST_PAGES,
	LIST_SCHEMA,
	LIST_NAME,
	LIST_KIND,
	LIST_PERSISTENCE,
	LIST_POPULATED,
	LIST_RLS,
	LIST_EXTENSION,
};

static bool
is_true(const PGresult *result, int row, int column)
{
	return libpq.PQgetvalue(result, row, column)[0] == 't';
}

static uint32_t
number_of(const PGresult *result, int row, int column)
{
	uint64_t value = 0;
	struct err ignored = ERR_INIT;

	/* relpages is -1 for some; anything odd counts as nothing known. */
	if (parse_u64(libpq.PQgetvalue(result, row, column), 0, UINT32_MAX, &value, &ignored) < 0)
		value = 0;

	return (uint32_t)value;
}

static void
add_name(struct count *count, const char *text)
{
	str_add(&count->names, text);
	str_add_char(&count->names, '\0');
}

static void
add_table(struct count *count, const PGresult *result, int row)
{
	struct count_table *table = vec_add(&count->tables);

	table->oid = number_of(result, row, LIST_OID);
	table->pages = number_of(result, row, LIST_PAGES);
	table->text_at = count->names.size;
	add_name(count, libpq.PQgetvalue(result, row, LIST_SCHEMA));
	add_name(count, libpq.PQgetvalue(result, row, LIST_NAME));
	table->is_unlogged = libpq.PQgetvalue(result, row, LIST_PERSISTENCE)[0] == 'u';
	table->has_rls = is_true(result, row, LIST_RLS);
	table->rows = -1;
	if (libpq.PQgetvalue(result, row, LIST_KIND)[0] == 'm') {
		table->kind = COUNT_MATVIEW;
		table->rows = is_true(result, row, LIST_POPULATED) ? 1 : 0;
	} else if (is_true(result, row, LIST_EXTENSION)) {
		table->kind = COUNT_EXTENSION_TABLE;
	}
}

static int
read_list(struct count *count, struct err *err)
{
	int rows;

	if (pg_execute(count->conn, list_sql, err) < 0)
		return -1;
	do {
		SCOPED(pg_result_freep)
		PGresult *result = pg_query(count->conn, "FETCH 2000 FROM blackstart_tables", err);

		if (result == NULL)
			return -1;
		rows = libpq.PQntuples(result);
		for (int row = 0; row < rows; row++)
			add_table(count, result, row);
	} while (rows == FETCH_ROWS);
	if (str_is_full(&count->names))
		return err_set(err, ERR_LIMIT, "the names of all tables are larger than %d bytes",
		    NAMES_MAX_BYTES);

	return pg_execute(count->conn, "CLOSE blackstart_tables", err);
}

int
count_use_plain_bytes(PGconn *conn, struct err *err)
{
	const char *encoding = libpq.PQparameterStatus(conn, "server_encoding");

	if (!str_equals(encoding, "SQL_ASCII"))
		return 0;

	return pg_execute(conn, "SET client_encoding = 'SQL_ASCII'", err);
}

int
count_begin(struct count *count, PGconn *conn, bool is_standby, struct err *err)
{
	*count = (struct count){ .conn = conn, .is_standby = is_standby };
	count->names.max = NAMES_MAX_BYTES;
	count->trouble.max = TROUBLE_MAX;

	/*
	 * A lock that is not free within a second means that somebody waits for pg_dump to end:
	 * that table comes again later.  Counting shall not take more than one core of the plant.
	 */
	if (pg_execute(conn,
		"SET row_security = off; SET lock_timeout = '1s'; SET jit = off; "
		"SET max_parallel_workers_per_gather = 0; SET synchronize_seqscans = off",
		err) < 0)
		return -1;
	if (count_use_plain_bytes(conn, err) < 0)
		return -1;

	return read_list(count, err);
}

void
count_done(struct count *count)
{
	vec_done(&count->tables);
	str_done(&count->names);
	str_done(&count->trouble);
}

const char *
count_schema(const struct count *count, const struct count_table *table)
{
	return count->names.data + table->text_at;
}

const char *
count_name(const struct count *count, const struct count_table *table)
{
	const char *schema = count_schema(count, table);

	return schema + strlen(schema) + 1;
}

/* ---- asking ----------------------------------------------------------------------------------- */

static bool
is_wanted(const struct count *count, const struct count_table *table)
{
	if (table->kind == COUNT_MATVIEW || table->rows >= 0)
		return false;

	return !(table->is_unlogged && count->is_standby);
}

/*
 * "SELECT 17, count(*), oid FROM ONLY schema.name".  The oid of the name as the statement sees it
 * tells a table that took the place of the one in the list.
 */
static void
add_question(struct str *sql, const struct count *count, size_t at)
{
	const struct count_table *table = &count->tables.items[at];
	struct str name = STR_INIT;

	pg_add_identifier(&name, count_schema(count, table));
	str_add_char(&name, '.');
	pg_add_identifier(&name, count_name(count, table));
	str_addf(sql, "SELECT %zu::bigint, count(*), ", at);
	pg_add_literal(sql, str_text(&name));
	str_addf(sql, "::regclass::oid::bigint FROM ONLY %s", str_text(&name));
	str_done(&name);
}

/* Choose the next tables and ask.  When none is left, nothing is on its way afterwards. */
static int
send_batch(struct count *count, struct err *err)
{
	SCOPED(str_done) struct str sql = STR_INIT;
	size_t limit = count->is_second_pass ? 1 : BATCH_TABLES;
	size_t asked = 0;
	uint64_t pages = 0;
	size_t at;

	str_add(&sql, "SAVEPOINT blackstart; ");
	for (at = count->next; at < count->tables.count && asked < limit; at++) {
		const struct count_table *table = &count->tables.items[at];

		if (!is_wanted(count, table))
			continue;
		if (asked > 0 && pages + table->pages > BATCH_PAGES)
			break;
		str_add(&sql, asked > 0 ? " UNION ALL " : "");
		add_question(&sql, count, at);
		pages += table->pages;
		asked++;
	}
	/* Rolled back so that locks are held for one batch only. */
	str_add(&sql, "; ROLLBACK TO blackstart; RELEASE blackstart");
	count->next = at;
	count->is_waiting = asked > 0;
	if (asked > 0 && libpq.PQsendQuery(count->conn, str_text(&sql)) == 0)
		return pg_error(count->conn, NULL, err, "cannot count rows");

	return 0;
}

/* ---- taking the answers -------------------------------------------------------------------------- */

static void
take_rows(struct count *count, const PGresult *result)
{
	for (int row = 0; row < libpq.PQntuples(result); row++) {
		uint32_t at = number_of(result, row, 0);
		int64_t rows = -1;
		struct err ignored = ERR_INIT;

		assert(at < count->tables.count);
		if (number_of(result, row, 2) != count->tables.items[at].oid ||
		    parse_i64(libpq.PQgetvalue(result, row, 1), 0, INT64_MAX, &rows, &ignored) < 0)
			continue;
		count->tables.items[at].rows = rows;
	}
}

/* A batch fails as a whole; its tables come again, one by one. */
static int
take_failure(struct count *count, const PGresult *result, struct err *err)
{
	const char *text = libpq.PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	if (libpq.PQstatus(count->conn) == CONNECTION_BAD)
		return pg_error(count->conn, result, err, "cannot count rows");
	if (count->is_second_pass && count->trouble.size == 0)
		str_add(&count->trouble, text != NULL ? text : "unknown error");
	count->has_failed = true;

	return 0;
}

/* All answers to a batch, or to the rollback of one, were taken. */
static int
end_batch(struct count *count, struct err *err)
{
	count->is_waiting = count->has_failed;
	if (!count->has_failed)
		return 0;
	count->has_failed = false;
	if (libpq.PQsendQuery(count->conn, "ROLLBACK TO blackstart; RELEASE blackstart") == 0)
		return pg_error(count->conn, NULL, err, "cannot count rows");

	return 0;
}

/* Take what has arrived; returns at the end of a batch, or when the rest is still to come. */
static int
take_answers(struct count *count, struct err *err)
{
	if (libpq.PQconsumeInput(count->conn) == 0)
		return pg_error(count->conn, NULL, err, "cannot count rows");
	while (!libpq.PQisBusy(count->conn)) {
		SCOPED(pg_result_freep) PGresult *result = libpq.PQgetResult(count->conn);

		if (result == NULL)
			return end_batch(count, err);
		if (libpq.PQresultStatus(result) == PGRES_TUPLES_OK)
			take_rows(count, result);
		else if (libpq.PQresultStatus(result) == PGRES_FATAL_ERROR &&
		    take_failure(count, result, err) < 0)
			return -1;
	}

	return 0;
}

int
count_step(struct count *count, struct err *err)
{
	while (!count->is_done) {
		if (count->is_waiting && take_answers(count, err) < 0)
			return -1;
		if (count->is_waiting && libpq.PQisBusy(count->conn))
			return 0;
		if (count->is_waiting)
			continue;
		if (send_batch(count, err) < 0)
			return -1;
		count->is_done = !count->is_waiting;
	}

	return 0;
}

/* ---- the end --------------------------------------------------------------------------------------- */

static int
run_pass(struct count *count, struct err *err)
{
	while (count_step(count, err) == 0) {
		if (count->is_done)
			return 0;
		if (pg_wait_readable(count->conn, err) < 0)
			return -1;
	}

	return -1;
}

/*
 * A table that was truncated, rewritten or dropped by somebody after our snapshot shows other
 * rows than the dump has: its file is no longer the one the snapshot knows.
 */
static int
drop_uncertain(struct count *count, struct err *err)
{
	size_t at = 0;

	SCOPED(pg_result_freep)
	PGresult *result = pg_query(count->conn,
	    "SELECT c.oid::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
	    "WHERE c.relkind = 'r' AND c.relpersistence <> 't' "
	    " AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' "
	    " AND pg_relation_filenode(c.oid) IS DISTINCT FROM c.relfilenode "
	    "ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\"",
	    err);
	if (result == NULL)
		return -1;

	/* The same order as the list, so one walk is enough. */
	for (int row = 0; row < libpq.PQntuples(result); row++) {
		uint32_t oid = number_of(result, row, 0);
		size_t found = at;

		while (found < count->tables.count && count->tables.items[found].oid != oid)
			found++;
		if (found == count->tables.count)
			continue;
		count->tables.items[found].rows = -1;
		at = found + 1;
		if (count->trouble.size == 0)
			str_add(&count->trouble,
			    "it was truncated, rewritten or dropped meanwhile");
	}

	return 0;
}

int
count_finish(struct count *count, struct err *err)
{
	if (run_pass(count, err) < 0)
		return -1;
	/* By now pg_dump has let go of its locks, and whoever waited for them has had a turn. */
	count->is_second_pass = true;
	count->is_done = false;
	count->next = 0;
	if (run_pass(count, err) < 0)
		return -1;

	return drop_uncertain(count, err);
}

size_t
count_uncounted(const struct count *count)
{
	size_t uncounted = 0;

	for (size_t i = 0; i < count->tables.count; i++) {
		const struct count_table *table = &count->tables.items[i];

		if (table->rows < 0 && !(table->is_unlogged && count->is_standby))
			uncounted++;
	}

	return uncounted;
}

uint64_t
count_rows_total(const struct count *count)
{
	uint64_t total = 0;

	for (size_t i = 0; i < count->tables.count; i++) {
		if (count->tables.items[i].kind == COUNT_TABLE && count->tables.items[i].rows > 0)
			total += (uint64_t)count->tables.items[i].rows;
	}

	return total;
}

size_t
count_of_kind(const struct count *count, enum count_kind kind)
{
	size_t found = 0;

	for (size_t i = 0; i < count->tables.count; i++)
		found += count->tables.items[i].kind == kind ? 1 : 0;

	return found;
}
