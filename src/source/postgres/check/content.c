#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "source/postgres/check/check_internal.h"

enum { NAMES_SHOWN = 5 };

/* A finding in a database: names in the first column. */
struct finding {
	const char *name;
	const char *sql;
	enum check_result result;
	const char *text; /* "%s" is the database, then what was found */
	const char *fix;
};

#define USER_SCHEMAS "n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' "

static const struct finding findings[] = {
	{ "unlogged_tables",
	    "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c "
	    "JOIN pg_namespace n ON n.oid = c.relnamespace "
	    "WHERE c.relpersistence = 'u' AND c.relkind = 'r' ORDER BY 1",
	    CHECK_NOTE, "unlogged tables are empty after a restore of a base backup", NULL },
	{ "row_security",
	    "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c "
	    "JOIN pg_namespace n ON n.oid = c.relnamespace "
	    "WHERE c.relrowsecurity AND row_security_active(c.oid) ORDER BY 1",
	    CHECK_FAILED, "row security hides rows of these from the role, so a dump will refuse",
	    "Give the role BYPASSRLS ('blackstart check --sql' prints it), or dump as superuser." },
	{ "unreadable_tables",
	    "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c "
	    "JOIN pg_namespace n ON n.oid = c.relnamespace "
	    "WHERE c.relkind IN ('r', 'p', 'm', 'S') AND c.relpersistence <> 't' AND " USER_SCHEMAS
	    " AND NOT (has_schema_privilege(n.oid, 'USAGE') AND CASE WHEN c.relkind = 'S' "
	    "  THEN has_sequence_privilege(c.oid, 'SELECT') "
	    "  ELSE has_table_privilege(c.oid, 'SELECT') END) ORDER BY 1",
	    CHECK_FAILED, "the role may not read these, so a dump fails",
	    "GRANT pg_read_all_data TO the role (14 and newer), or USAGE on the schema and SELECT." },
	{ "subscriptions",
	    "SELECT subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid "
	    "WHERE d.datname = current_database() ORDER BY 1",
	    CHECK_NOTE, "subscriptions are restored switched off", NULL },
	{ "foreign_tables",
	    "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c "
	    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'f' ORDER BY 1",
	    CHECK_NOTE, "the rows of foreign tables are on other servers and not in a dump", NULL },
};

static void
report_finding(struct checking *checking, const char *database, const struct finding *finding,
    const PGresult *result)
{
	struct str names = STR_INIT_MAX(300);
	int count = libpq.PQntuples(result);

	for (int row = 0; row < count && row < NAMES_SHOWN; row++)
		str_addf(&names, "%s%s", row > 0 ? ", " : "", libpq.PQgetvalue(result, row, 0));
	check_report_add(checking->report, finding->result, finding->name, finding->fix,
	    "database '%s': %s (%d): %s%s", database, finding->text, count, str_text(&names),
	    count > NAMES_SHOWN ? ", ..." : "");
	str_done(&names);
}

/* pg_read_all_data does not cover large objects: their owner does, or a grant for each. */
static const char large_objects_sql[] =
    "SELECT count(*), count(*) FILTER (WHERE NOT is_readable), "
    " string_agg(DISTINCT owner, ', ') FILTER (WHERE NOT is_readable) "
    "FROM (SELECT quote_ident(pg_get_userbyid(lomowner)) AS owner, "
    " pg_has_role(lomowner, 'USAGE') OR EXISTS (SELECT FROM aclexplode(lomacl) a "
    "  WHERE a.privilege_type = 'SELECT' AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE'))) "
    " AS is_readable FROM pg_largeobject_metadata) lo";

static int
check_large_objects(struct checking *checking, const char *database, struct err *err)
{
	bool is_cancelled;

	SCOPED(pg_result_freep)
	PGresult *result = check_ask(checking, "large_objects", large_objects_sql, &is_cancelled,
	    err);
	if (result == NULL)
		return is_cancelled ? -1 : 0;
	if (strcmp(libpq.PQgetvalue(result, 0, 0), "0") == 0)
		return 0;
	if (checking->is_superuser || strcmp(libpq.PQgetvalue(result, 0, 1), "0") == 0)
		check_report_add(checking->report, CHECK_OK, "large_objects", NULL,
		    "database '%s': %s, all readable", database, libpq.PQgetvalue(result, 0, 0));
	else
		check_report_add(checking->report, CHECK_FAILED, "large_objects",
		    "GRANT their owner TO the role, or SELECT on each ('blackstart check --sql' prints both).",
		    "database '%s': %s large objects of %s cannot be read, so a dump fails; "
		    "pg_read_all_data does not cover them",
		    database, libpq.PQgetvalue(result, 0, 1), libpq.PQgetvalue(result, 0, 2));

	return 0;
}

static int
check_database(struct checking *checking, const char *database, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(findings); i++) {
		bool is_cancelled;

		SCOPED(pg_result_freep)
		PGresult *result = check_ask(checking, findings[i].name, findings[i].sql,
		    &is_cancelled, err);
		if (result == NULL && is_cancelled)
			return -1;
		if (result != NULL && libpq.PQntuples(result) > 0)
			report_finding(checking, database, &findings[i], result);
	}

	return check_large_objects(checking, database, err);
}

/* The same tests on a connection to another database. */
static int
visit(struct checking *checking, const char *database, struct err *err)
{
	struct checking there = *checking;
	struct err failure = ERR_INIT;

	SCOPED(pg_conn_freep) PGconn *conn = pg_connect(checking->pg, database, PG_SQL, &failure);
	if (conn == NULL) {
		*err = failure;
		if (failure.kind == ERR_CANCELLED)
			return -1;
		check_report_add(checking->report, CHECK_FAILED, "database",
		    failure.hint[0] != '\0' ? failure.hint : NULL, "database '%s': %s", database,
		    failure.msg);
		return 0;
	}
	there.conn = conn;

	return check_database(&there, database, err);
}

static int
check_tablespaces(struct checking *checking, struct err *err)
{
	bool is_cancelled;

	SCOPED(pg_result_freep)
	PGresult *result = check_ask(checking, "tablespaces",
	    "SELECT count(*), string_agg(format('%s at %s', spcname, pg_tablespace_location(oid)), "
	    " ', ' ORDER BY spcname) FROM pg_tablespace WHERE spcname NOT IN ('pg_default', "
	    "'pg_global')",
	    &is_cancelled, err);
	if (result == NULL)
		return is_cancelled ? -1 : 0;
	if (strcmp(libpq.PQgetvalue(result, 0, 0), "0") != 0)
		check_report_add(checking->report, CHECK_NOTE, "tablespaces", NULL,
		    "%s: a base backup has them, a restore needs room for them",
		    libpq.PQgetvalue(result, 0, 1));

	return 0;
}

int
check_content(struct checking *checking, struct err *err)
{
	const struct postgres *pg = checking->pg;
	bool is_cancelled;

	if (check_tablespaces(checking, err) < 0)
		return -1;
	for (size_t i = 0; pg->databases != NULL && pg->databases[i] != NULL; i++) {
		if (visit(checking, pg->databases[i], err) < 0)
			return -1;
	}
	if (pg->databases != NULL && pg->databases[0] != NULL)
		return 0;

	SCOPED(pg_result_freep)
	PGresult *result = check_ask(checking, "database",
	    "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1",
	    &is_cancelled, err);
	if (result == NULL)
		return is_cancelled ? -1 : 0;
	for (int row = 0; row < libpq.PQntuples(result); row++) {
		if (visit(checking, libpq.PQgetvalue(result, row, 0), err) < 0)
			return -1;
	}

	return 0;
}
