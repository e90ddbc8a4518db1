#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/str.h"
#include "repo/manifest.h"
#include "source/postgres/dump/dump_internal.h"
#include "source/postgres/dump/verify_internal.h"
#include "source/postgres/traits_internal.h"

enum { GLOBALS_MAX_BYTES = 64 * 1024 * 1024 };

/* Where scratch databases are made from: every other one may be the name of a dumped one. */
static const char admin_database[] = "template1";

/* A scratch server with the dump in it. */
struct stage {
	struct dump_climb *climb;
	const struct postgres *server;
	int server_version;
	bool has_roles;
};

static void
note(struct dump_climb *climb, char *text)
{
	vec_push(&climb->report->notes, text);
}

static void
warn(struct dump_climb *climb, char *text)
{
	vec_push(&climb->report->warnings, text);
}

/* ---- level 2 ---------------------------------------------------------------------------------- */

/* Nothing here must survive a crash, so it need not wait for the disk. */
static const char *const scratch_settings[] = {
	"fsync=off",
	"full_page_writes=off",
	"synchronous_commit=off",
	"autovacuum=off",
	"max_wal_size=4GB",
	"maintenance_work_mem=256MB",
	"max_locks_per_transaction=1024",
	NULL,
};

static struct scratch *
start(struct dump_climb *climb, struct err *err)
{
	const struct manifest *manifest = climb->view->manifest;
	int version = dump_server_version(manifest);
	struct scratch_options options = {
		.work_dir = climb->request->scratch_dir,
		.major = (version != 0 ? version : climb->pg_restore.version) / 10000,
		.settings = scratch_settings,
	};

	progress_phase(climb->request->progress, "starting a scratch server", 0);

	return scratch_start(climb->pg, &options, err);
}

static int
make_roles(struct stage *stage, PGconn *conn, struct err *err)
{
	struct dump_climb *climb = stage->climb;
	SCOPED(str_done) struct str sql = STR_INIT_MAX(GLOBALS_MAX_BYTES);
	SCOPED(dump_roles_done) struct dump_roles roles = { .created = 0 };

	if (dump_globals_read(climb->view, &sql, &stage->has_roles, err) < 0)
		return -1;
	if (!stage->has_roles) {
		warn(climb, xstrdup("the backup has no roles, so owners and rights were left out"));
		return 0;
	}
	if (dump_roles_missing(conn, str_text(&sql), &roles, err) < 0 ||
	    dump_roles_create(conn, str_text(&sql), &roles, err) < 0)
		return -1;
	note(climb, xasprintf("%u roles made from globals.sql", roles.created));
	if (roles.failed > 0)
		warn(climb,
		    xasprintf("%u settings of roles were not accepted, the first: %s", roles.failed,
			roles.first_failure));

	return 0;
}

/* The scratch server comes with a database 'postgres', which may be one of the dumped. */
static int
make_database(struct stage *stage, PGconn *conn, const struct dump_database *database,
    struct err *err)
{
	SCOPED(str_done) struct str sql = STR_INIT;
	SCOPED(freep) char *locale_note = NULL;

	str_add(&sql, "DROP DATABASE IF EXISTS ");
	pg_add_identifier(&sql, database->name);
	if (pg_execute(conn, str_text(&sql), err) < 0 ||
	    dump_check_extensions(conn, database, err) < 0 ||
	    dump_create_database(conn, database, database->name, false, &locale_note, err) < 0)
		return -1;
	if (locale_note != NULL)
		warn(stage->climb, xasprintf("database '%s': %s", database->name, locale_note));

	return 0;
}

/* Smoke queries rely on what the database itself sets, such as search_path. */
static int
give_traits(struct stage *stage, PGconn *conn, const struct dump_database *database,
    struct err *err)
{
	SCOPED(traits_remarks_done) struct traits_remarks remarks = { .texts = { .count = 0 } };

	if (!stage->has_roles)
		return 0;
	if (traits_apply(conn, database->name, database->entry, &remarks, err) < 0)
		return -1;
	for (size_t i = 0; i < remarks.texts.count; i++)
		warn(stage->climb,
		    xasprintf("database '%s': %s", database->name, remarks.texts.items[i]));

	return 0;
}

/* Is it the dump that failed to restore, and not something of this machine. */
static int
judge_load(struct err *err)
{
	if (err->kind == ERR_PEER) {
		err->kind = ERR_DATA;
		return err_wrap(err, "the dump does not restore");
	}

	return -1;
}

static int
load(struct stage *stage, const struct dump_database *database, struct err *err)
{
	struct dump_climb *climb = stage->climb;
	const struct dump_load options = {
		.server = stage->server,
		.database = database->name,
		.pg_restore = &climb->pg_restore,
		.server_version = stage->server_version,
		.has_owners = stage->has_roles,
	};
	SCOPED(dump_archive_done) struct dump_archive archive = DUMP_ARCHIVE_INIT;
	struct mono_time began = clock_mono();
	char duration[CLOCK_TEXT_SIZE];

	progress_phase(climb->request->progress, "restoring into a scratch server", 0);
	if (dump_archive_open(&archive, climb->view, database, climb->request->scratch_dir, err) <
	    0)
		return -1;
	if (dump_load(&archive, &options, err) < 0)
		return judge_load(err);
	note(climb,
	    xasprintf("database '%s' restored in %s", database->name,
		clock_format_duration(clock_elapsed_us(began), duration)));

	return 0;
}

static int
climb_2(struct stage *stage, struct err *err)
{
	const struct manifest *manifest = stage->climb->view->manifest;

	SCOPED(pg_conn_freep) PGconn *conn = pg_connect(stage->server, admin_database, PG_SQL, err);
	if (conn == NULL)
		return -1;
	stage->server_version = pg_server_version(conn);
	if (make_roles(stage, conn, err) < 0)
		return -1;
	for (size_t i = 0; i < dump_databases_count(manifest); i++) {
		struct dump_database database;

		if (dump_database_get(manifest, i, &database, err) < 0 ||
		    make_database(stage, conn, &database, err) < 0 ||
		    load(stage, &database, err) < 0 || give_traits(stage, conn, &database, err) < 0)
			return -1;
	}
	stage->climb->report->level = 2;

	return 0;
}

/* ---- level 3 -------------------------------------------------------------------------------------- */

static void
tell_comparison(struct dump_climb *climb, const struct dump_database *database,
    const struct dump_comparison *comparison)
{
	json_t *details = json_object();
	json_t *differences = json_array();
	json_t *all = json_object_get(climb->report->details, "databases");

	if (all == NULL) {
		all = json_array();
		(void)json_object_set_new(climb->report->details, "databases", all);
	}
	(void)json_object_set_new(details, "name", json_string(database->name));
	(void)json_object_set_new(details, "tables", json_integer((json_int_t)comparison->tables));
	(void)json_object_set_new(details, "rows", json_integer((json_int_t)comparison->rows));
	(void)json_object_set_new(details, "not_compared",
	    json_integer((json_int_t)comparison->not_compared));
	for (size_t i = 0; i < comparison->texts.count; i++)
		(void)json_array_append_new(differences, json_text(comparison->texts.items[i]));
	(void)json_object_set_new(details, "differences", differences);
	(void)json_array_append_new(all, details);

	for (size_t i = 0; i < comparison->remarks.count; i++)
		warn(climb, xstrdup(comparison->remarks.items[i]));
	if (comparison->not_compared > 0)
		warn(climb,
		    xasprintf("database '%s': %zu tables have no certain count and were not "
			      "compared",
			database->name, comparison->not_compared));
	if (comparison->differences == 0)
		note(climb,
		    xasprintf("database '%s': %zu tables, %llu rows equal to the manifest",
			database->name, comparison->tables, (unsigned long long)comparison->rows));
}

static int
compare(struct stage *stage, const struct dump_database *database, struct err *err)
{
	SCOPED(dump_comparison_done) struct dump_comparison comparison = { .tables = 0 };

	SCOPED(pg_conn_freep) PGconn *conn = pg_connect(stage->server, database->name, PG_SQL, err);
	if (conn == NULL || dump_compare(conn, database, &comparison, err) < 0)
		return -1;
	tell_comparison(stage->climb, database, &comparison);
	if (dump_comparison_verdict(&comparison, database->name, err) < 0)
		return -1;

	return dump_check_structure(conn, stage->climb->report, err);
}

static int
climb_3(struct stage *stage, struct err *err)
{
	const struct manifest *manifest = stage->climb->view->manifest;
	bool is_complete = true;

	progress_phase(stage->climb->request->progress, "comparing rows", 0);
	for (size_t i = 0; i < dump_databases_count(manifest); i++) {
		struct dump_database database;

		if (dump_database_get(manifest, i, &database, err) < 0)
			return -1;
		if (!database.is_counted) {
			is_complete = false;
			warn(stage->climb,
			    xasprintf("database '%s': the manifest has no row counts, so "
				      "level 3 cannot be reached",
				database.name));
		} else if (compare(stage, &database, err) < 0) {
			return -1;
		}
	}
	if (is_complete)
		stage->climb->report->level = 3;

	return 0;
}

/* ---- level 4 -------------------------------------------------------------------------------------- */

static int
climb_4(struct stage *stage, struct err *err)
{
	struct dump_climb *climb = stage->climb;
	struct dump_database first;

	if (climb->request->smoke_count == 0) {
		warn(climb,
		    xstrdup("no smoke queries are configured, so level 4 cannot be reached"));
		return 0;
	}
	if (dump_database_get(climb->view->manifest, 0, &first, err) < 0 ||
	    pg_smoke_run(stage->server, climb->request, first.name, climb->report, err) < 0)
		return -1;
	if (climb->report->level == 3)
		climb->report->level = 4;

	return 0;
}

int
dump_climb_scratch(struct dump_climb *climb, struct err *err)
{
	struct stage stage = { .climb = climb };

	SCOPED(scratch_freep) struct scratch *scratch = start(climb, err);
	if (scratch == NULL)
		return -1;
	stage.server = scratch_postgres(scratch);
	if (climb_2(&stage, err) < 0)
		return -1;
	if (climb->request->level >= 3 && climb_3(&stage, err) < 0)
		return -1;
	if (climb->request->level >= 4 && climb_4(&stage, err) < 0)
		return -1;
	progress_phase(climb->request->progress, "stopping the scratch server", 0);

	return scratch_stop(scratch, err);
}
