#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "source/postgres/postgres_internal.h"

/*
 * Text for people to read before they run it, for every version: what only newer servers have
 * stands behind a condition that psql evaluates.  Running it again does no harm, and gives what
 * was added since.
 *
 * One role and not one for each kind of backup: whoever may copy the cluster's files has all its
 * rows, and whoever may dump every row has them too, so two roles would protect nothing.
 */
static const char role_sql[] =
    "-- A role for blackstart, with what dumps, base backups and streaming WAL need. It is no\n"
    "-- superuser: it cannot change a row, a table or a setting. But it reads everything, like\n"
    "-- whoever can read the backups, so keep its password as you keep the data.\n"
    "-- Run this with psql as a superuser; it may be run again.\n"
    "\n"
    "SELECT NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'blackstart') AS is_missing,\n"
    "    current_setting('server_version_num')::int >= 140000 AS has_read_all_data,\n"
    "    EXISTS (SELECT FROM pg_settings WHERE name IN ('config_file', 'hba_file', 'ident_file')\n"
    "        AND NOT starts_with(setting, current_setting('data_directory') || '/'))\n"
    "        AS has_config_outside \\gset\n"
    "\\if :is_missing\n"
    "CREATE ROLE blackstart;\n"
    "\\endif\n"
    "-- REPLICATION: base backups, streaming WAL, its replication slot.\n"
    "-- BYPASSRLS: a dump has the rows that row security would hide, too.\n"
    "ALTER ROLE blackstart LOGIN REPLICATION BYPASSRLS;\n"
    "-- Sees the settings, and what is running.\n"
    "GRANT pg_monitor TO blackstart;\n"
    "-- Reads every table. Before PostgreSQL 14 each table is named further down, and roles are\n"
    "-- saved without their passwords.\n"
    "\\if :has_read_all_data\n"
    "GRANT pg_read_all_data TO blackstart;\n"
    "\\endif\n"
    "-- Where the configuration is outside the data directory (Debian), it is read through the\n"
    "-- server. The role can then read every file that the server can.\n"
    "\\if :has_config_outside\n"
    "GRANT pg_read_server_files TO blackstart;\n"
    "\\endif\n"
    "-- For databases that not everybody may connect to.\n"
    "SELECT format('GRANT CONNECT ON DATABASE %I TO blackstart', datname) FROM pg_database\n"
    "    WHERE datallowconn AND NOT has_database_privilege('blackstart', oid, 'CONNECT') \\gexec\n"
    "\\password blackstart\n"
    "\n";

/* Rights on functions belong to a database: these are used in the one connected to first. */
static const char
    functions_sql[] = "\\if :has_config_outside\n"
		      "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO blackstart;\n"
		      "\\endif\n"
		      "-- Ends a WAL file early, and names a moment to come back to.\n"
		      "GRANT EXECUTE ON FUNCTION pg_switch_wal() TO blackstart;\n"
		      "GRANT EXECUTE ON FUNCTION pg_create_restore_point(text) TO blackstart;\n"
		      "\n";

static const char tables_sql[] =
    "\\if :has_read_all_data\n"
    "\\else\n"
    "SELECT format('GRANT USAGE ON SCHEMA %1$I TO blackstart; '\n"
    "    'GRANT SELECT ON ALL TABLES IN SCHEMA %1$I TO blackstart; '\n"
    "    'GRANT SELECT ON ALL SEQUENCES IN SCHEMA %1$I TO blackstart', nspname)\n"
    "    FROM pg_namespace\n"
    "    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' \\gexec\n"
    "SELECT DISTINCT format('ALTER DEFAULT PRIVILEGES FOR ROLE %1$I GRANT USAGE ON SCHEMAS TO '\n"
    "    'blackstart; ALTER DEFAULT PRIVILEGES FOR ROLE %1$I GRANT SELECT ON TABLES TO '\n"
    "    'blackstart; ALTER DEFAULT PRIVILEGES FOR ROLE %1$I GRANT SELECT ON SEQUENCES TO '\n"
    "    'blackstart', pg_get_userbyid(relowner)) FROM pg_class WHERE oid >= 16384 \\gexec\n"
    "\\endif\n"
    "-- Large objects are covered by nothing above. When 'blackstart check' finds some that the\n"
    "-- role cannot read, make it a member of the role that owns them. It may then also do what\n"
    "-- that role may do:\n"
    "--   GRANT owner TO blackstart;\n"
    "-- or name each, again whenever there are new ones:\n"
    "--   SELECT format('GRANT SELECT ON LARGE OBJECT %s TO blackstart', oid)\n"
    "--       FROM pg_largeobject_metadata \\gexec\n"
    "\n";

static const char settings_sql[] =
    "-- Settings that base backups and WAL need; they take effect after a restart.\n"
    "--   ALTER SYSTEM SET wal_level = 'replica';\n"
    "--   ALTER SYSTEM SET max_wal_senders = 10;\n"
    "--   ALTER SYSTEM SET max_replication_slots = 10;\n"
    "\n"
    "-- Lines for pg_hba.conf, above more general ones; put in the address of this machine,\n"
    "-- then: SELECT pg_reload_conf();\n";

/* As pg_dumpall connects: a name with '=' in it would be taken for a connection string. */
static void
add_connect(struct str *to, const char *database)
{
	SCOPED(str_done) struct str escaped = STR_INIT;
	SCOPED(str_done) struct str info = STR_INIT;

	for (const char *c = database; *c != '\0'; c++) {
		if (*c == '\'' || *c == '\\')
			str_add_char(&escaped, '\\');
		str_add_char(&escaped, *c);
	}
	str_addf(&info, "dbname='%s'", str_text(&escaped));
	str_add(to, "\\connect -reuse-previous=on ");
	pg_add_identifier(to, str_text(&info));
	str_add_char(to, '\n');
}

static bool
is_among(char *const *names, const char *name)
{
	for (size_t i = 0; names != NULL && names[i] != NULL; i++)
		if (strcmp(names[i], name) == 0)
			return true;

	return false;
}

static void
add_hba_line(struct str *to, const char *database)
{
	str_add(to, "--   hostssl  ");
	if (database != NULL)
		pg_add_identifier(to, database);
	else
		str_add(to, "all");
	str_add(to, "  blackstart  ADDRESS/32  scram-sha-256\n");
}

static void
add_hba_lines(struct str *to, const struct postgres *pg, bool has_databases)
{
	if (!has_databases)
		add_hba_line(to, NULL);
	if (has_databases && !is_among(pg->databases, pg->maintenance_database))
		add_hba_line(to, pg->maintenance_database);
	for (size_t i = 0; has_databases && pg->databases[i] != NULL; i++)
		add_hba_line(to, pg->databases[i]);
	str_add(to, "--   hostssl  replication  blackstart  ADDRESS/32  scram-sha-256\n\n");
}

char *
pg_setup_sql(const struct postgres *pg)
{
	struct str text = STR_INIT;
	bool has_databases = pg->databases != NULL && pg->databases[0] != NULL;

	str_add(&text, role_sql);
	add_connect(&text, pg->maintenance_database);
	str_add(&text, functions_sql);
	for (size_t i = 0; has_databases && pg->databases[i] != NULL; i++) {
		add_connect(&text, pg->databases[i]);
		str_add(&text, tables_sql);
	}
	if (!has_databases) {
		str_add(&text, "-- From here on, in each database:\n");
		str_add(&text, tables_sql);
	}
	str_add(&text, settings_sql);
	add_hba_lines(&text, pg, has_databases);
	str_add(&text,
	    "-- Then, in the configuration: user: blackstart, and its password in password_file.\n"
	    "-- A restore makes databases and roles and gives them their owners: use a superuser for\n"
	    "-- it, by naming it in --to postgres://postgres@HOST.\n");

	return str_take(&text);
}
