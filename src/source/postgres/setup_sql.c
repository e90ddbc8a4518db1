#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "source/postgres/postgres_internal.h"

/*
 * Text for people to read before they run it, for every version: what only newer servers have
 * stands behind a condition that psql evaluates.
 */
static const char roles_sql[] =
    "-- Roles for blackstart with no more rights than it needs. Run with psql as a superuser.\n"
    "-- Choose passwords with \\password afterwards; whoever has one of these can read all data.\n"
    "\n"
    "-- For dumps: reads everything, also rows that row security hides.\n"
    "CREATE ROLE blackstart_dump LOGIN BYPASSRLS;\n"
    "GRANT pg_monitor TO blackstart_dump;\n"
    "-- PostgreSQL 14 and newer:\n"
    "SELECT current_setting('server_version_num')::int >= 140000 AS has_read_all_data \\gset\n"
    "\\if :has_read_all_data\n"
    "GRANT pg_read_all_data TO blackstart_dump;\n"
    "\\endif\n"
    "-- PostgreSQL 13, in each database and for each schema, instead:\n"
    "--   GRANT USAGE ON SCHEMA public TO blackstart_dump;\n"
    "--   GRANT SELECT ON ALL TABLES IN SCHEMA public TO blackstart_dump;\n"
    "--   GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO blackstart_dump;\n"
    "--   ALTER DEFAULT PRIVILEGES FOR ROLE <owner> IN SCHEMA public\n"
    "--     GRANT SELECT ON TABLES TO blackstart_dump;\n"
    "-- Large objects are covered by neither: with large objects, dump as a superuser.\n"
    "-- Before PostgreSQL 14, roles are saved without passwords unless dumped as a superuser.\n"
    "\n"
    "-- For base backups and WAL: replicates, reads no table by SQL.\n"
    "CREATE ROLE blackstart_base LOGIN REPLICATION;\n"
    "GRANT pg_monitor TO blackstart_base;\n"
    "-- So that configuration outside the data directory is saved too:\n"
    "GRANT pg_read_server_files TO blackstart_base;\n"
    "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO blackstart_base;\n"
    "GRANT EXECUTE ON FUNCTION pg_switch_wal() TO blackstart_base;\n"
    "GRANT EXECUTE ON FUNCTION pg_create_restore_point(text) TO blackstart_base;\n"
    "\n"
    "\\password blackstart_dump\n"
    "\\password blackstart_base\n"
    "\n";

static const char settings_sql[] =
    "-- Settings that base backups need; the first two take effect after a restart.\n"
    "--   ALTER SYSTEM SET wal_level = 'replica';\n"
    "--   ALTER SYSTEM SET max_wal_senders = 10;\n"
    "\n"
    "-- Lines for pg_hba.conf, above more general ones; put in the address of this machine,\n"
    "-- then: SELECT pg_reload_conf();\n";

char *
pg_setup_sql(const struct postgres *pg)
{
	struct str text = STR_INIT;
	bool has_databases = pg->databases != NULL && pg->databases[0] != NULL;

	str_add(&text, roles_sql);
	str_add(&text, settings_sql);
	for (size_t i = 0; has_databases && pg->databases[i] != NULL; i++) {
		str_add(&text, "--   hostssl  ");
		pg_add_identifier(&text, pg->databases[i]);
		str_add(&text, "  blackstart_dump,blackstart_base  ADDRESS/32  scram-sha-256\n");
	}
	if (!has_databases)
		str_add(&text,
		    "--   hostssl  all  blackstart_dump,blackstart_base  ADDRESS/32  scram-sha-256\n");
	str_add(&text,
	    "--   hostssl  replication  blackstart_base  ADDRESS/32  scram-sha-256\n"
	    "\n"
	    "-- A restore makes databases and roles and gives them their owners: use a superuser for\n"
	    "-- it, by naming it in --to postgres://postgres@HOST.\n");

	return str_take(&text);
}
