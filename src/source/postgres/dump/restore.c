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
#include "source/postgres/dump/target_internal.h"
#include "source/postgres/traits_internal.h"
#include "stream/links.h"
#include "stream/sink.h"

enum { GLOBALS_MAX_BYTES = 64 * 1024 * 1024 };

/* One restore, of one database or of all. */
struct restoring {
	const struct postgres *server;
	const struct backup_view *view;
	const struct restore_request *request;
	struct restore_report *report;
	PGconn *admin;
	struct pg_program pg_restore;
	bool is_superuser;
	VEC(char *) made; /* databases that exist because of us */
};

static void
restoring_done(struct restoring *work)
{
	pg_close(work->admin);
	pg_program_done(&work->pg_restore);
	for (size_t i = 0; i < work->made.count; i++)
		free(work->made.items[i]);
	vec_done(&work->made);
}

static void
note(struct restoring *work, char *text)
{
	vec_push(&work->report->notes, text);
}

static void
warn(struct restoring *work, char *text)
{
	vec_push(&work->report->warnings, text);
}

/* ---- before the data ------------------------------------------------------------------------------ */

static int
make_roles(struct restoring *work, struct err *err)
{
	SCOPED(str_done) struct str sql = STR_INIT_MAX(GLOBALS_MAX_BYTES);
	SCOPED(dump_roles_done) struct dump_roles roles = { .created = 0 };
	bool has_globals = false;

	if (!work->request->wants_globals)
		return 0;
	if (dump_globals_read(work->view, &sql, &has_globals, err) < 0)
		return -1;
	if (!has_globals) {
		warn(work, xstrdup("the backup has no roles to make"));
		return 0;
	}
	if (dump_roles_missing(work->admin, str_text(&sql), &roles, err) < 0 ||
	    dump_roles_create(work->admin, str_text(&sql), &roles, err) < 0)
		return -1;
	note(work,
	    xasprintf("%u missing roles made, those that existed were left as they are",
		roles.created));
	if (roles.failed > 0)
		warn(work,
		    xasprintf("%u settings of roles were not accepted, the first: %s", roles.failed,
			roles.first_failure));

	return 0;
}

static int
make_database(struct restoring *work, const struct dump_database *database, const char *name,
    struct err *err)
{
	SCOPED(freep) char *locale_note = NULL;
	bool exists = false;

	if (target_exists(work->admin, name, &exists, err) < 0)
		return -1;
	if (exists) {
		(void)err_set(err, ERR_EXISTS, "the database '%s' exists already", name);
		return err_hint(err, "Choose another name for it with --as NAME.");
	}
	if (dump_create_database(work->admin, database, name, true, &locale_note, err) < 0)
		return -1;
	vec_push(&work->made, xstrdup(name));
	if (locale_note != NULL)
		warn(work, xasprintf("database '%s': %s", name, locale_note));

	/* Killed before it has its mark, the database is one that nobody can enter. */
	if (target_mark_write(work->admin, name, TARGET_INCOMPLETE, database->name,
		work->view->manifest->id, err) < 0)
		return -1;

	return target_open_up(work->admin, name, err);
}

/* ---- the data ------------------------------------------------------------------------------------- */

static int
load(struct restoring *work, const struct dump_database *database, const char *name,
    struct err *err)
{
	struct dump_load options = {
		.server = work->server,
		.database = name,
		.pg_restore = &work->pg_restore,
		.server_version = pg_server_version(work->admin),
		.parallel = work->request->parallel,
		.has_owners = work->is_superuser,
	};
	SCOPED(dump_archive_done) struct dump_archive archive = DUMP_ARCHIVE_INIT;

	progress_phase(work->request->progress, "restoring",
	    dump_database_stored_bytes(work->view->manifest, database));
	if (dump_has_tablespaces(work->admin, database, &options.has_tablespaces, err) < 0 ||
	    dump_archive_open(&archive, work->view, database, NULL, err) < 0)
		return -1;
	if (!options.has_tablespaces)
		warn(work,
		    xasprintf("database '%s': not all of its tablespaces exist here, so all of it "
			      "is in the default one",
			name));

	return dump_load(&archive, &options, err);
}

static int
give_traits(struct restoring *work, const struct dump_database *database, const char *name,
    struct err *err)
{
	SCOPED(traits_remarks_done) struct traits_remarks remarks = { .texts = { .count = 0 } };

	if (traits_apply(work->admin, name, database->entry, &remarks, err) < 0)
		return -1;
	for (size_t i = 0; i < remarks.texts.count; i++)
		warn(work, xasprintf("database '%s': %s", name, remarks.texts.items[i]));

	return 0;
}

/* ---- after the data ------------------------------------------------------------------------------- */

static int
compare(struct restoring *work, PGconn *conn, const struct dump_database *database,
    const char *name, struct err *err)
{
	SCOPED(dump_comparison_done) struct dump_comparison comparison = { .tables = 0 };

	if (!database->is_counted) {
		warn(work,
		    xasprintf("database '%s': the manifest has no row counts, so nothing was "
			      "compared",
			name));
		return 0;
	}
	progress_phase(work->request->progress, "comparing rows", 0);
	if (dump_compare(conn, database, &comparison, err) < 0)
		return -1;
	for (size_t i = 0; i < comparison.remarks.count; i++)
		warn(work, xstrdup(comparison.remarks.items[i]));
	if (dump_comparison_verdict(&comparison, name, err) < 0)
		return -1;
	note(work,
	    xasprintf("database '%s': %zu tables, %llu rows, equal to the manifest", name,
		comparison.tables, (unsigned long long)comparison.rows));
	if (comparison.not_compared > 0)
		warn(work,
		    xasprintf("database '%s': %zu tables have no certain count in the manifest "
			      "and were not compared",
			name, comparison.not_compared));

	return 0;
}

static int
settle(struct restoring *work, const struct dump_database *database, const char *name,
    struct err *err)
{
	SCOPED(pg_conn_freep) PGconn *conn = pg_connect(work->server, name, PG_SQL, err);

	if (conn == NULL)
		return -1;
	progress_phase(work->request->progress, "analyzing", 0);
	/* Dumps before 18 have no statistics, and plans without them are what brings a plant down. */
	if (pg_execute(conn, "ANALYZE", err) < 0 || compare(work, conn, database, name, err) < 0)
		return -1;

	return target_mark_write(work->admin, name, TARGET_COMPLETE, database->name,
	    work->view->manifest->id, err);
}

/* ---- one database after the other ------------------------------------------------------------------- */

static void
report_database(struct restoring *work, const struct dump_database *database, const char *name,
    struct mono_time began)
{
	struct restore_report *report = work->report;
	char duration[CLOCK_TEXT_SIZE];
	char *target = xasprintf("%s%sdatabase '%s' on %s:%u",
	    report->target != NULL ? report->target : "", report->target != NULL ? ", " : "", name,
	    work->server->host, work->server->port);

	note(work,
	    xasprintf("database '%s' restored in %s", name,
		clock_format_duration(clock_elapsed_us(began), duration)));
	free(report->target);
	report->target = target;
	if (report->next == NULL)
		report->next = xasprintf("blackstart promote %s --confirm=%s", name,
		    database->name);
}

static int
restore_one(struct restoring *work, const struct dump_database *database, struct err *err)
{
	SCOPED(freep) char *name = target_name(database->name, work->request->new_name);
	struct mono_time began = clock_mono();

	if (dump_check_extensions(work->admin, database, err) < 0 ||
	    make_database(work, database, name, err) < 0 || load(work, database, name, err) < 0 ||
	    give_traits(work, database, name, err) < 0 || settle(work, database, name, err) < 0)
		return err_wrap(err, "database '%s'", name);
	report_database(work, database, name, began);

	return 0;
}

static int
restore_wanted(struct restoring *work, struct err *err)
{
	const struct manifest *manifest = work->view->manifest;
	struct dump_database database;

	if (make_roles(work, err) < 0)
		return -1;
	if (work->request->database != NULL)
		return dump_database_find(manifest, work->request->database, &database, err) < 0
		    ? -1
		    : restore_one(work, &database, err);
	for (size_t i = 0; i < dump_databases_count(manifest); i++) {
		if (dump_database_get(manifest, i, &database, err) < 0 ||
		    restore_one(work, &database, err) < 0)
			return -1;
	}

	return 0;
}

/*
 * pg_restore reads the stored files itself and knows no hash: what it would make of damaged ones
 * may look whole.  So all of them are read once before anything is made.
 */
static int
check_files(const struct restoring *work, struct err *err)
{
	const struct manifest *manifest = work->view->manifest;

	progress_phase(work->request->progress, "checking hashes", manifest_stored_bytes(manifest));
	for (size_t i = 0; i < manifest->files.count; i++) {
		SCOPED(sink_freep) struct sink *to = null_sink_new();

		if (work->view->read(work->view, &manifest->files.items[i], to, err) < 0)
			return -1;
	}

	return 0;
}

int
pg_dump_restore(struct postgres *pg, const struct backup_view *view,
    const struct restore_request *request, struct restore_report *report, struct err *err)
{
	SCOPED(restoring_done)
	struct restoring work = {
		.server = pg,
		.view = view,
		.request = request,
		.report = report,
	};
	SCOPED(freep) char *is_superuser = NULL;

	if (dump_find_pg_restore(pg, view->manifest, &work.pg_restore, err) < 0)
		return -1;
	work.admin = target_admin(pg, NULL, NULL, err);
	if (work.admin == NULL)
		return -1;
	is_superuser = pg_query_value(work.admin,
	    "SELECT rolsuper FROM pg_roles WHERE rolname = current_user", err);
	if (is_superuser == NULL)
		return -1;
	work.is_superuser = is_superuser[0] == 't';
	if (check_files(&work, err) < 0)
		return -1;
	if (restore_wanted(&work, err) == 0) {
		if (!work.is_superuser)
			warn(&work,
			    xasprintf(
				"the role '%s' is no superuser: everything belongs to it, and "
				"rights were not restored",
				pg->user));
		return 0;
	}
	for (size_t i = 0; i < work.made.count; i++)
		(void)target_drop(work.admin, work.made.items[i], err);

	return -1;
}
