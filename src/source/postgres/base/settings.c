#include "source/postgres/base/settings_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/stop.h"
#include "repo/manifest.h"
#include "source/postgres/postgres_internal.h"
#include "stream/sink.h"

enum { EXTENSION_DATABASES_MAX = 100 };

static inline void
json_freep(json_t **json)
{
	json_decref(*json);
}

/* ---- questions ---------------------------------------------------------------------------------- */

/*
 * Who the server is and where its files lie.  Settings that the role may not see are missing
 * from pg_settings, so they come out as null rather than as an error.
 */
static const char server_sql[] =
    "SELECT json_build_object('format', 1,"
    " 'server_version', current_setting('server_version'),"
    " 'server_version_num', current_setting('server_version_num')::int,"
    " 'data_directory', (SELECT setting FROM pg_settings WHERE name = 'data_directory'),"
    " 'config_file', (SELECT setting FROM pg_settings WHERE name = 'config_file'),"
    " 'hba_file', (SELECT setting FROM pg_settings WHERE name = 'hba_file'),"
    " 'ident_file', (SELECT setting FROM pg_settings WHERE name = 'ident_file'),"
    " 'shared_preload_libraries',"
    " (SELECT setting FROM pg_settings WHERE name = 'shared_preload_libraries'),"
    " 'superuser', (SELECT rolname FROM pg_roles WHERE rolsuper AND rolcanlogin"
    " ORDER BY oid LIMIT 1),"
    " 'is_standby', pg_is_in_recovery())";

static const char settings_sql[] =
    "SELECT coalesce(json_agg(json_build_object('name', name, 'value', setting, 'unit', unit,"
    " 'source', source) ORDER BY name), '[]') FROM pg_settings"
    " WHERE source NOT IN ('default', 'session', 'client') AND name <> 'primary_conninfo'";

static const char tablespaces_sql[] =
    "SELECT coalesce(json_agg(json_build_object('oid', oid::text, 'name', spcname,"
    " 'location', pg_tablespace_location(oid)) ORDER BY oid), '[]') FROM pg_tablespace"
    " WHERE spcname NOT IN ('pg_default', 'pg_global')";

static const char databases_sql[] =
    "SELECT coalesce(json_agg(json_build_object('oid', oid::text, 'name', datname,"
    " 'encoding', pg_encoding_to_char(encoding), 'collate', datcollate, 'ctype', datctype,"
    " 'allow_connections', datallowconn, 'template', datistemplate) ORDER BY oid), '[]')"
    " FROM pg_database";

/* Since 15 each database remembers the version of the C library its order came from. */
static const char databases_15_sql[] =
    "SELECT coalesce(json_agg(json_build_object('oid', oid::text, 'name', datname,"
    " 'encoding', pg_encoding_to_char(encoding), 'collate', datcollate, 'ctype', datctype,"
    " 'allow_connections', datallowconn, 'template', datistemplate,"
    " 'collation_version', datcollversion,"
    " 'collation_version_actual', pg_database_collation_actual_version(oid)) ORDER BY oid), '[]')"
    " FROM pg_database";

static const char extensions_sql[] =
    "SELECT coalesce(json_agg(json_build_object('name', extname, 'version', extversion)"
    " ORDER BY extname), '[]') FROM pg_extension";

static json_t *
ask_json(PGconn *conn, const char *sql, struct err *err)
{
	SCOPED(freep) char *text = pg_query_value(conn, sql, err);
	json_error_t error;
	json_t *json;

	if (text == NULL)
		return NULL;
	json = json_loads(text, 0, &error);
	if (json == NULL)
		(void)err_set(err, ERR_DATA, "the server's settings are not valid JSON: %s",
		    error.text);

	return json;
}

static int
ask_into(PGconn *conn, json_t *object, const char *key, const char *sql, struct err *err)
{
	json_t *json = ask_json(conn, sql, err);

	if (json == NULL)
		return -1;

	return json_object_set_new(object, key, json) == 0
	    ? 0
	    : err_set(err, ERR_BUG, "cannot build settings.json");
}

/* Extensions are known only inside each database.  One that we may not enter is left out. */
static int
add_extensions(const struct postgres *pg, json_t *databases, struct err *err)
{
	size_t index;
	json_t *database;

	json_array_foreach(databases, index, database)
	{
		const char *name = json_string_value(json_object_get(database, "name"));
		struct err ignored = ERR_INIT;

		if (index >= EXTENSION_DATABASES_MAX)
			break;
		if (stop_check(err) < 0)
			return -1;
		if (name == NULL || !json_is_true(json_object_get(database, "allow_connections")))
			continue;

		SCOPED(pg_conn_freep) PGconn *conn = pg_connect(pg, name, PG_SQL, &ignored);
		if (conn == NULL ||
		    ask_into(conn, database, "extensions", extensions_sql, &ignored) < 0)
			log_debug("cannot list the extensions of '%s': %s, continuing", name,
			    ignored.msg);
	}

	return 0;
}

json_t *
base_settings_collect(const struct postgres *pg, PGconn *conn, struct err *err)
{
	bool is_15 = pg_server_version(conn) >= 150000;

	SCOPED(json_freep) json_t *settings = ask_json(conn, server_sql, err);
	if (settings == NULL)
		return NULL;
	if (ask_into(conn, settings, "settings", settings_sql, err) < 0 ||
	    ask_into(conn, settings, "tablespaces", tablespaces_sql, err) < 0 ||
	    ask_into(conn, settings, "databases", is_15 ? databases_15_sql : databases_sql, err) <
		0 ||
	    add_extensions(pg, json_object_get(settings, "databases"), err) < 0)
		return NULL;

	return TAKE(settings);
}

/* ---- parts -------------------------------------------------------------------------------------- */

static int
push_text(struct intake *intake, const char *name, const char *text, size_t size, struct err *err)
{
	const struct part part = {
		.name = name,
		.compression = PART_STORED,
		.size_hint_bytes = size,
	};

	SCOPED(sink_freep) struct sink *sink = intake->open(intake, &part, err);
	if (sink == NULL || sink_write(sink, text, size, err) < 0 || sink_finish(sink, err) < 0)
		return err_wrap(err, "part '%s'", name);

	return 0;
}

int
base_settings_save(const json_t *settings, struct intake *intake, struct err *err)
{
	SCOPED(freep) char *text = json_dumps(settings, JSON_INDENT(1));

	if (text == NULL)
		return err_set(err, ERR_BUG, "cannot format settings.json");

	return push_text(intake, "settings.json", text, strlen(text), err);
}

static bool
is_below(const char *path, const char *folder)
{
	return str_starts_with(path, folder) && path[strlen(folder)] == '/';
}

static const char *
text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static int
save_file(const struct postgres *pg, PGconn *conn, const char *path, const char *part_name,
    struct intake *intake, struct manifest *draft, struct err *err)
{
	struct err denied = ERR_INIT;

	SCOPED(pg_result_freep)
	PGresult *result = pg_query_params(conn, "SELECT pg_read_file($1)", &path, 1, &denied);
	if (stop_check(err) < 0)
		return -1;
	if (result == NULL || libpq.PQntuples(result) != 1) {
		manifest_add_warning(draft, "config_not_saved",
		    "'%s' is not in the backup: it lies outside the data directory and cannot be read "
		    "(%s); to change that: GRANT pg_read_server_files TO \"%s\"; GRANT EXECUTE ON "
		    "FUNCTION pg_read_file(text) TO \"%s\"",
		    path, denied.msg, pg->user, pg->user);
		return 0;
	}

	return push_text(intake, part_name, libpq.PQgetvalue(result, 0, 0),
	    (size_t)libpq.PQgetlength(result, 0, 0), err);
}

int
base_settings_save_files(const struct postgres *pg, PGconn *conn, const json_t *settings,
    struct intake *intake, struct manifest *draft, struct err *err)
{
	static const struct {
		const char *key;
		const char *part;
	} files[] = {
		{ "config_file", "postgresql.conf" },
		{ "hba_file", "pg_hba.conf" },
		{ "ident_file", "pg_ident.conf" },
	};
	const char *data_directory = text_of(settings, "data_directory");

	if (data_directory == NULL) {
		manifest_add_warning(draft, "config_not_saved",
		    "cannot see whether the configuration files lie outside the data directory; to "
		    "change that: GRANT pg_monitor TO \"%s\"",
		    pg->user);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		const char *path = text_of(settings, files[i].key);

		if (path == NULL || path[0] == '\0' || is_below(path, data_directory))
			continue;
		if (save_file(pg, conn, path, files[i].part, intake, draft, err) < 0)
			return -1;
	}

	return 0;
}
