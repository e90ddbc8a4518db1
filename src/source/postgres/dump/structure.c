#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "source/postgres/dump/dump_internal.h"

enum { VERSION_HEAP_CHECK = 140000 };

static int
has_amcheck(PGconn *conn, bool *ret_has, struct err *err)
{
	SCOPED(pg_result_freep)
	PGresult *result = pg_query(conn,
	    "SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'", err);

	if (result == NULL)
		return -1;
	*ret_has = libpq.PQntuples(result) > 0;

	return 0;
}

/* Damage here is of the scratch server, made a moment ago: it says nothing about the backup. */
static int
not_the_backup(struct err *err)
{
	if (err->kind == ERR_DATA)
		err->kind = ERR_IO;

	return err_wrap(err, "amcheck of the scratch server");
}

/* What pg_amcheck asks, without its program: the functions raise an error at the first damage. */
static int
check_indexes(PGconn *conn, struct verify_report *report, struct err *err)
{
	SCOPED(freep)
	char *count = pg_query_value(conn,
	    "SELECT count(x.name) FROM (SELECT c.oid::text AS name, bt_index_check(c.oid) "
	    " FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid "
	    " JOIN pg_am a ON a.oid = c.relam JOIN pg_namespace n ON n.oid = c.relnamespace "
	    " WHERE a.amname = 'btree' AND c.relkind = 'i' AND i.indisready AND i.indisvalid "
	    " AND c.relpersistence <> 't' AND n.nspname NOT LIKE 'pg\\_%' OFFSET 0) x",
	    err);

	if (count == NULL)
		return not_the_backup(err);
	vec_push(&report->notes, xasprintf("amcheck: %s indexes sound", count));

	return 0;
}

static int
check_heap(PGconn *conn, struct verify_report *report, struct err *err)
{
	if (pg_server_version(conn) < VERSION_HEAP_CHECK)
		return 0;
	SCOPED(pg_result_freep)
	PGresult *result = pg_query(conn,
	    "SELECT c.oid::regclass::text, v.blkno, v.msg FROM pg_class c "
	    "JOIN pg_namespace n ON n.oid = c.relnamespace, LATERAL verify_heapam(c.oid) v "
	    "WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' "
	    " AND n.nspname NOT LIKE 'pg\\_%' LIMIT 5",
	    err);
	if (result == NULL)
		return not_the_backup(err);
	if (libpq.PQntuples(result) > 0)
		return err_set(err, ERR_IO,
		    "amcheck: table %s is damaged on the scratch server: %s",
		    libpq.PQgetvalue(result, 0, 0), libpq.PQgetvalue(result, 0, 2));
	vec_push(&report->notes, xstrdup("amcheck: tables sound"));

	return 0;
}

/* In a schema of its own, unless the restored database has the extension already. */
static int
prepare(PGconn *conn, struct err *err)
{
	SCOPED(freep) char *path = NULL;
	SCOPED(str_done) struct str sql = STR_INIT;

	if (pg_execute(conn,
		"CREATE SCHEMA IF NOT EXISTS blackstart_check; "
		"CREATE EXTENSION IF NOT EXISTS amcheck SCHEMA blackstart_check",
		err) < 0)
		return -1;
	path = pg_query_value(conn,
	    "SELECT quote_ident(n.nspname) FROM pg_extension e "
	    "JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'amcheck'",
	    err);
	if (path == NULL)
		return -1;
	str_addf(&sql, "SET search_path = pg_catalog, %s", path);

	return pg_execute(conn, str_text(&sql), err);
}

int
dump_check_structure(PGconn *conn, struct verify_report *report, struct err *err)
{
	bool has = false;

	if (has_amcheck(conn, &has, err) < 0)
		return -1;
	if (!has) {
		vec_push(&report->notes,
		    xstrdup("amcheck is not installed, structures not checked"));
		return 0;
	}
	if (prepare(conn, err) < 0)
		return err_wrap(err, "amcheck");
	if (check_indexes(conn, report, err) < 0)
		return -1;

	return check_heap(conn, report, err);
}
