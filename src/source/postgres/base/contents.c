#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "source/postgres/base/trial_internal.h"
#include "source/postgres/count_internal.h"
#include "source/postgres/postgres_internal.h"

enum { VERSION_HEAP_CHECK = 140000 };

/* Damage that the server or amcheck speaks of is damage of the backup: nobody else wrote here. */
static int
of_database(const char *database, struct err *err)
{
	return err_wrap(err, "restored database '%s'", database);
}

static void
add_count(struct verify_report *report, const char *database, size_t tables, uint64_t rows)
{
	json_t *databases = json_object_get(report->details, "databases");

	if (databases == NULL) {
		databases = json_array();
		(void)json_object_set_new(report->details, "databases", databases);
	}
	(void)json_array_append_new(databases,
	    json_pack("{s:s, s:I, s:I}", "name", database, "tables", (json_int_t)tables, "rows",
		(json_int_t)rows));
	vec_push(&report->notes,
	    xasprintf("database '%s': %zu tables, %llu rows read", database, tables,
		(unsigned long long)rows));
}

/* Indexes could answer a count without a look at the table, so they are not used. */
static int
read_tables(PGconn *conn, const char *database, struct verify_report *report, struct err *err)
{
	SCOPED(count_done) struct count count = { .conn = NULL };

	if (pg_execute(conn,
		"SET enable_indexscan = off; SET enable_indexonlyscan = off; "
		"SET enable_bitmapscan = off; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
		err) < 0 ||
	    count_begin(&count, conn, false, err) < 0 || count_finish(&count, err) < 0)
		return -1;
	if (count_uncounted(&count) > 0)
		return err_set(err, ERR_DATA, "%zu tables cannot be read: %s",
		    count_uncounted(&count), str_text(&count.trouble));
	add_count(report, database, count.tables.count, count_rows_total(&count));

	return pg_execute(conn, "COMMIT", err);
}

/* In a schema of its own, unless the database has the extension already; then its functions. */
static int
prepare_amcheck(PGconn *conn, bool *ret_has, struct err *err)
{
	SCOPED(freep)
	char *available = pg_query_value(conn,
	    "SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck'", err);
	SCOPED(freep) char *schema = NULL;
	SCOPED(str_done) struct str sql = STR_INIT;

	if (available == NULL)
		return -1;
	*ret_has = strcmp(available, "0") != 0;
	if (!*ret_has)
		return 0;
	if (pg_execute(conn,
		"CREATE SCHEMA IF NOT EXISTS blackstart_check; "
		"CREATE EXTENSION IF NOT EXISTS amcheck SCHEMA blackstart_check",
		err) < 0)
		return -1;
	schema = pg_query_value(conn,
	    "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n "
	    "ON n.oid = e.extnamespace WHERE e.extname = 'amcheck'",
	    err);
	if (schema == NULL)
		return -1;
	str_add(&sql, "SET search_path = pg_catalog, ");
	pg_add_identifier(&sql, schema);

	return pg_execute(conn, str_text(&sql), err);
}

/* The questions of pg_amcheck, system catalogs included: these are the copied files themselves. */
static int
check_indexes(PGconn *conn, char **ret_count, struct err *err)
{
	*ret_count = pg_query_value(conn,
	    "SELECT count(x.checked::text) FROM (SELECT "
	    "bt_index_check(c.oid) AS checked FROM pg_class c "
	    "JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_am a ON a.oid = c.relam "
	    "WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence = 'p' "
	    "AND i.indisready AND i.indisvalid OFFSET 0) x",
	    err);

	return *ret_count != NULL ? 0 : -1;
}

static int
check_tables(PGconn *conn, struct err *err)
{
	if (pg_server_version(conn) < VERSION_HEAP_CHECK)
		return 0;

	SCOPED(pg_result_freep)
	PGresult *result = pg_query(conn,
	    "SELECT c.oid::regclass::text, v.blkno, v.msg FROM pg_class c, "
	    "LATERAL verify_heapam(c.oid) v WHERE c.relkind IN ('r', 'm', 't') "
	    "AND c.relpersistence = 'p' AND c.relam <> 0 LIMIT 5",
	    err);
	if (result == NULL)
		return -1;
	if (libpq.PQntuples(result) > 0)
		return err_set(err, ERR_DATA, "amcheck: table %s, block %s: %s",
		    libpq.PQgetvalue(result, 0, 0), libpq.PQgetvalue(result, 0, 1),
		    libpq.PQgetvalue(result, 0, 2));

	return 0;
}

static int
check_structure(PGconn *conn, const char *database, struct verify_report *report, struct err *err)
{
	SCOPED(freep) char *indexes = NULL;
	bool has_amcheck = false;

	if (prepare_amcheck(conn, &has_amcheck, err) < 0)
		return err_wrap(err, "amcheck");
	if (!has_amcheck) {
		vec_push(&report->notes,
		    xasprintf("database '%s': amcheck is not installed here, "
			      "structures were not checked",
			database));
		return 0;
	}
	if (check_indexes(conn, &indexes, err) < 0 || check_tables(conn, err) < 0)
		return -1;
	vec_push(&report->notes,
	    xasprintf("database '%s': amcheck finds its %s%s indexes sound", database,
		pg_server_version(conn) >= VERSION_HEAP_CHECK ? "tables and " : "", indexes));

	return 0;
}

int
base_read_database(const struct postgres *server, const char *database,
    struct verify_report *report, struct err *err)
{
	SCOPED(pg_conn_freep) PGconn *conn = pg_connect(server, database, PG_SQL, err);

	if (conn == NULL)
		return -1;
	if (read_tables(conn, database, report, err) < 0 ||
	    check_structure(conn, database, report, err) < 0)
		return of_database(database, err);

	return 0;
}
