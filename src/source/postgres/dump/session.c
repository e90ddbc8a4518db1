#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "source/postgres/dump/dump_internal.h"
#include "source/postgres/traits_internal.h"

enum {
	SEQUENCES_MAX = 20000, /* values of more sequences than this would fill the manifest */
};

/* The first statement of the transaction: what it sees is what the snapshot holds. */
static const char begin_sql[] =
    "SELECT pg_export_snapshot(), "
    " to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), "
    " pg_is_in_recovery()";

enum { BEGIN_SNAPSHOT, BEGIN_CLOCK, BEGIN_STANDBY };

static int
session_begin(struct dump_session *session, struct err *err)
{
	if (pg_execute(session->conn,
		"SET row_security = off; "
		"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
		err) < 0)
		return -1;

	SCOPED(pg_result_freep) PGresult *result = pg_query(session->conn, begin_sql, err);
	if (result == NULL)
		return -1;
	session->snapshot = xstrdup(libpq.PQgetvalue(result, 0, BEGIN_SNAPSHOT));
	session->is_standby = libpq.PQgetvalue(result, 0, BEGIN_STANDBY)[0] == 't';

	return clock_parse(libpq.PQgetvalue(result, 0, BEGIN_CLOCK), &session->at, err);
}

/* ---- facts ------------------------------------------------------------------------------------ */

/* The columns of the answer become fields of the same names; 'number' and 'bool' by their type. */
static void
set_field(json_t *to, const PGresult *result, int column)
{
	enum { OID_BOOL = 16, OID_INT8 = 20 };
	const char *text = libpq.PQgetvalue(result, 0, column);
	json_t *value;
	int64_t number = 0;
	struct err ignored = ERR_INIT;

	if (libpq.PQgetisnull(result, 0, column))
		return;
	if (libpq.PQftype(result, column) == OID_BOOL)
		value = json_boolean(text[0] == 't');
	else if (libpq.PQftype(result, column) == OID_INT8 &&
	    parse_i64(text, INT64_MIN, INT64_MAX, &number, &ignored) == 0)
		value = json_integer(number);
	else
		value = json_text(text);
	(void)json_object_set_new(to, libpq.PQfname(result, column), value);
}

static void
add_facts_sql(struct str *sql, int version)
{
	str_add(sql,
	    "SELECT pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS collate, "
	    "d.datctype AS ctype, "
	    "pg_database_size(d.oid) AS bytes, ");
	if (version >= 150000)
		str_add(sql,
		    "CASE d.datlocprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' "
		    "ELSE 'libc' END AS provider, ");
	else
		str_add(sql, "'libc' AS provider, ");
	if (version >= 170000)
		str_add(sql, "d.datlocale AS locale, ");
	else if (version >= 150000)
		str_add(sql, "d.daticulocale AS locale, ");
	if (version >= 160000)
		str_add(sql, "d.daticurules AS icu_rules, ");
	str_add(sql,
	    "(SELECT count(*) FROM pg_largeobject_metadata) AS large_objects, "
	    "(SELECT count(*) FROM pg_class WHERE relkind = 'S' AND relpersistence <> 't') "
	    " AS sequences, "
	    "(SELECT count(s.subname) FROM pg_subscription s WHERE s.subdbid = d.oid) "
	    " AS subscriptions, "
	    "(SELECT t.spcname FROM pg_tablespace t WHERE t.oid = d.dattablespace "
	    " AND t.spcname <> 'pg_default') AS tablespace "
	    "FROM pg_database d WHERE d.datname = current_database()");
}

/*
 * One that cycles or counts down is left out, because the rule does not hold for it, and one of
 * an extension, because its value is not dumped.
 */
const char dump_sequences_sql[] =
    "SELECT n.nspname, c.relname, v.value::text "
    "FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid "
    "JOIN pg_namespace n ON n.oid = c.relnamespace, "
    "LATERAL (SELECT CASE WHEN has_sequence_privilege(c.oid, 'SELECT,USAGE') "
    " THEN pg_sequence_last_value(c.oid) END AS value) v "
    "WHERE c.relpersistence = 'p' AND s.seqincrement > 0 AND NOT s.seqcycle "
    " AND v.value IS NOT NULL AND n.nspname NOT LIKE 'pg\\_%' "
    " AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass "
    "  AND d.objid = c.oid AND d.deptype = 'e') "
    "ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\"";

static int
set_lists(struct dump_session *session, const char *database, struct err *err)
{
	json_t *sequences = json_object_get(session->facts, "sequences");

	if (traits_set_rows(session->conn, session->facts, "extensions",
		"SELECT extname, extversion FROM pg_extension ORDER BY extname COLLATE \"C\"",
		err) < 0 ||
	    traits_set_rows(session->conn, session->facts, "tablespaces",
		"SELECT DISTINCT t.spcname FROM pg_class c "
		"JOIN pg_tablespace t ON t.oid = c.reltablespace WHERE t.spcname <> 'pg_global' "
		"ORDER BY t.spcname",
		err) < 0 ||
	    traits_read(session->conn, database, session->facts, err) < 0)
		return -1;
	if (json_integer_value(sequences) > SEQUENCES_MAX)
		return 0;

	return traits_set_rows(session->conn, session->facts, "sequence_values", dump_sequences_sql,
	    err);
}

static int
session_facts(struct dump_session *session, const char *database, struct err *err)
{
	SCOPED(str_done) struct str sql = STR_INIT;
	char at[CLOCK_TEXT_SIZE];

	add_facts_sql(&sql, pg_server_version(session->conn));
	SCOPED(pg_result_freep) PGresult *result = pg_query(session->conn, str_text(&sql), err);
	if (result == NULL)
		return -1;
	if (libpq.PQntuples(result) != 1)
		return err_set(err, ERR_DATA, "the server does not describe its database");

	session->facts = json_object();
	(void)json_object_set_new(session->facts, "name", json_text(database));
	(void)json_object_set_new(session->facts, "snapshot_at",
	    json_string(clock_format(session->at, at)));
	for (int column = 0; column < libpq.PQnfields(result); column++)
		set_field(session->facts, result, column);

	return set_lists(session, database, err);
}

int
dump_session_open(struct dump_session *session, const struct postgres *pg, const char *database,
    struct err *err)
{
	*session = (struct dump_session){ .conn = pg_connect(pg, database, PG_SQL, err) };
	if (session->conn == NULL)
		return -1;
	if (session_begin(session, err) < 0 || session_facts(session, database, err) < 0)
		return err_wrap(err, "database '%s'", database);

	return 0;
}

void
dump_session_done(struct dump_session *session)
{
	pg_close(session->conn);
	session->conn = NULL;
	free(session->snapshot);
	json_decref(session->facts);
}
