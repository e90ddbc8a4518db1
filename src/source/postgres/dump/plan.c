#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "os/file.h"
#include "repo/manifest.h"
#include "source/postgres/dump/dump_internal.h"
#include "source/postgres/dump/target_internal.h"

enum {
	GLOBALS_MAX_BYTES = 64 * 1024 * 1024,
	ASSUMED_BYTES_PER_S = 30 * 1000 *
	    1000,      /* rows loaded and indexes built, of database size */
	EXPANSION = 6, /* of a compressed dump to a database, where its size is not known */
	ROLES_SHOWN = 5,
};

struct planning {
	const struct postgres *server;
	const struct backup_view *view;
	const struct restore_request *request;
	struct restore_plan *plan;
	PGconn *conn;
};

/* An obstacle; the first one's way out becomes the plan's hint. */
static void
obstacle(struct planning *work, char *text, char *hint)
{
	if (work->plan->hint == NULL && work->plan->obstacles.count == 0)
		work->plan->hint = hint;
	else
		free(hint);
	vec_push(&work->plan->obstacles, text);
}

static void
obstacle_of_err(struct planning *work, const struct err *failure)
{
	obstacle(work, xstrdup(failure->msg),
	    failure->hint[0] != '\0' ? xstrdup(failure->hint) : NULL);
}

static void
step(struct planning *work, char *text)
{
	vec_push(&work->plan->steps, text);
}

static void
warn(struct planning *work, char *text)
{
	vec_push(&work->plan->warnings, text);
}

/* ---- versions and rights ---------------------------------------------------------------------------- */

static void
plan_versions(struct planning *work)
{
	struct pg_program program = { .path = NULL };
	struct err failure = ERR_INIT;
	int dumped = dump_server_version(work->view->manifest) / 10000;
	int here = pg_server_version(work->conn) / 10000;

	if (dumped > here)
		obstacle(work,
		    xasprintf("the dump is of PostgreSQL %d, the server is %d; a dump cannot be "
			      "loaded into an older server",
			dumped, here),
		    xasprintf("Restore to a server of PostgreSQL %d or newer with --to URL.",
			dumped));
	if (dump_find_pg_restore(work->server, work->view->manifest, &program, &failure) < 0)
		obstacle_of_err(work, &failure);
	else
		step(work,
		    xasprintf("use pg_restore %d.%d (%s)", program.version / 10000,
			program.version % 10000, program.path));
	pg_program_done(&program);
}

static int
plan_rights(struct planning *work, struct err *err)
{
	const char *user = work->server->user;

	SCOPED(pg_result_freep)
	PGresult *result = pg_query(work->conn,
	    "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user",
	    err);
	if (result == NULL)
		return -1;
	if (libpq.PQntuples(result) == 0 || libpq.PQgetvalue(result, 0, 0)[0] == 't')
		return 0;
	warn(work,
	    xasprintf("the role '%s' is no superuser: everything will belong to it, and rights "
		      "will not be restored",
		user));
	if (libpq.PQgetvalue(result, 0, 1)[0] != 't')
		obstacle(work, xasprintf("the role '%s' may not create databases", user),
		    xasprintf("Give it the right: ALTER ROLE \"%s\" CREATEDB.", user));
	if (work->request->wants_globals && libpq.PQgetvalue(result, 0, 2)[0] != 't')
		obstacle(work, xasprintf("the role '%s' may not create roles", user),
		    xasprintf("Give it the right: ALTER ROLE \"%s\" CREATEROLE.", user));

	return 0;
}

static void
name_roles(const struct dump_roles *roles, struct str *to)
{
	for (size_t i = 0; i < roles->missing.count && i < ROLES_SHOWN; i++)
		str_addf(to, "%s'%s'", i > 0 ? ", " : "", roles->missing.items[i]);
	if (roles->missing.count > ROLES_SHOWN)
		str_addf(to, " and %zu more", roles->missing.count - ROLES_SHOWN);
}

static int
plan_roles(struct planning *work, struct err *err)
{
	SCOPED(str_done) struct str sql = STR_INIT_MAX(GLOBALS_MAX_BYTES);
	SCOPED(dump_roles_done) struct dump_roles roles = { .created = 0 };
	SCOPED(str_done) struct str names = STR_INIT;
	bool has_globals = false;

	if (dump_globals_read(work->view, &sql, &has_globals, err) < 0)
		return -1;
	if (!has_globals) {
		warn(work,
		    xstrdup("the backup has no roles; those that own something must exist on the "
			    "server"));
		return 0;
	}
	if (dump_roles_missing(work->conn, str_text(&sql), &roles, err) < 0)
		return -1;
	if (roles.missing.count == 0)
		return 0;
	name_roles(&roles, &names);
	if (work->request->wants_globals)
		step(work, xasprintf("make the missing roles %s", str_text(&names)));
	else
		obstacle(work, xasprintf("the server has no role %s", str_text(&names)),
		    xstrdup("Make the missing roles as well: add --globals."));

	return 0;
}

/* ---- space and time ---------------------------------------------------------------------------------- */

static bool
is_local(const struct postgres *server)
{
	return server->host != NULL &&
	    (server->host[0] == '/' || strcmp(server->host, "localhost") == 0 ||
		strcmp(server->host, "127.0.0.1") == 0 || strcmp(server->host, "::1") == 0);
}

/* Where the server keeps its data, when it is on this machine and may be seen. */
static void
plan_space(struct planning *work)
{
	struct err ignored = ERR_INIT;
	struct disk_space space;
	char needed[32];
	char free_text[32];

	if (!is_local(work->server))
		return;
	SCOPED(freep) char *path = pg_query_value(work->conn, "SHOW data_directory", &ignored);
	if (path == NULL || disk_space_of(path, &space, &ignored) < 0)
		return;
	work->plan->free_bytes = space.available_bytes;
	if (space.available_bytes >= work->plan->write_bytes)
		return;
	obstacle(work,
	    xasprintf("about %s are needed in '%s', %s are free",
		format_bytes(work->plan->write_bytes, needed), path,
		format_bytes(space.available_bytes, free_text)),
	    xstrdup("Free space there, or restore to another server with --to URL."));
}

/* ---- databases ---------------------------------------------------------------------------------------- */

static int
plan_database(struct planning *work, const struct dump_database *database, struct str *what,
    struct str *target, struct err *err)
{
	SCOPED(freep) char *name = target_name(database->name, work->request->new_name);
	uint64_t stored = dump_database_stored_bytes(work->view->manifest, database);
	struct err failure = ERR_INIT;
	bool exists = false;

	str_addf(what, "%s'%s'", what->size > 0 ? ", " : "", database->name);
	str_addf(target, "%s'%s'", target->size > 0 ? ", " : "", name);
	work->plan->read_bytes += stored;
	work->plan->write_bytes += database->bytes > 0 ? database->bytes : stored * EXPANSION;
	if (target_exists(work->conn, name, &exists, err) < 0)
		return -1;
	if (exists)
		obstacle(work, xasprintf("the database '%s' exists already", name),
		    xstrdup("Choose another name for it with --as NAME."));
	if (dump_check_extensions(work->conn, database, &failure) < 0)
		obstacle_of_err(work, &failure);
	step(work,
	    xasprintf("create the database '%s' and restore '%s' into it; '%s' itself is not "
		      "touched",
		name, database->name, database->name));
	step(work,
	    database->is_counted
		? xasprintf("analyze it and compare every table's rows with the manifest")
		: xasprintf("analyze it (the manifest has no row counts to compare)"));

	return 0;
}

static int
plan_databases(struct planning *work, struct err *err)
{
	const struct manifest *manifest = work->view->manifest;
	SCOPED(str_done) struct str what = STR_INIT;
	SCOPED(str_done) struct str target = STR_INIT;
	struct dump_database database;
	size_t count = dump_databases_count(manifest);

	work->plan->read_bytes = 0;
	if (work->request->database != NULL) {
		if (dump_database_find(manifest, work->request->database, &database, err) < 0 ||
		    plan_database(work, &database, &what, &target, err) < 0)
			return -1;
	} else if (work->request->new_name != NULL && count > 1) {
		(void)err_set(err, ERR_USAGE,
		    "the backup has %zu databases, which cannot all get the "
		    "name '%s'",
		    count, work->request->new_name);
		return err_hint(err, "Choose one of them with --database NAME.");
	}
	for (size_t i = 0; work->request->database == NULL && i < count; i++) {
		if (dump_database_get(manifest, i, &database, err) < 0 ||
		    plan_database(work, &database, &what, &target, err) < 0)
			return -1;
	}
	work->plan->what = xasprintf("database %s", str_text(&what));
	work->plan->target = xasprintf("new database %s on %s:%u", str_text(&target),
	    work->server->host, work->server->port);

	return 0;
}

/* What a killed restore has left behind takes space and is no use. */
static int
plan_leftovers(struct planning *work, struct err *err)
{
	SCOPED(pg_result_freep)
	PGresult *result = pg_query(work->conn, "SELECT datname FROM pg_database", err);

	if (result == NULL)
		return -1;
	for (int row = 0; row < libpq.PQntuples(result); row++) {
		const char *name = libpq.PQgetvalue(result, row, 0);
		SCOPED(target_mark_done) struct target_mark mark = { .origin = NULL };

		if (target_mark_read(work->conn, name, &mark, err) < 0)
			return -1;
		if (mark.state == TARGET_INCOMPLETE)
			warn(work,
			    xasprintf(
				"the database '%s' is what an interrupted restore left (or one that "
				"is going on); to remove it: DROP DATABASE \"%s\"",
				name, name));
	}

	return 0;
}

int
pg_dump_plan(struct postgres *pg, const struct backup_view *view,
    const struct restore_request *request, struct restore_plan *plan, struct err *err)
{
	struct planning work = { .server = pg, .view = view, .request = request, .plan = plan };

	SCOPED(pg_conn_freep) PGconn *conn = target_admin(pg, NULL, NULL, err);
	if (conn == NULL)
		return -1;
	work.conn = conn;
	plan_versions(&work);
	if (plan_rights(&work, err) < 0 || plan_roles(&work, err) < 0 ||
	    plan_databases(&work, err) < 0 || plan_leftovers(&work, err) < 0)
		return -1;
	plan_space(&work);
	plan->expected_us = (int64_t)(plan->write_bytes /
				(ASSUMED_BYTES_PER_S / (uint64_t)US_PER_S)) +
	    US_PER_S;
	step(&work,
	    xasprintf("(the expected time assumes %d MB/s of database size)",
		ASSUMED_BYTES_PER_S / 1000000));

	return 0;
}
