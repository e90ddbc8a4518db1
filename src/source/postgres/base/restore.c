#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/progress.h"
#include "base/str.h"
#include "repo/manifest.h"
#include "source/postgres/base/config.h"
#include "source/postgres/base/content.h"
#include "source/postgres/base/extract.h"
#include "source/postgres/base/reader.h"
#include "source/postgres/base/target.h"
#include "source/postgres/control.h"
#include "source/postgres/lsn.h"
#include "source/postgres/postgres_internal.h"
#include "stream/links.h"
#include "stream/sink.h"

struct restoring {
	struct postgres *pg;
	const struct backup_view *view;
	const struct restore_request *request;
	struct restore_report *report;
	struct base_content content;
	struct base_target target;
	struct base_extract *extract;
	struct base_reader *reader;
	struct control control;
	json_t *settings;
	struct base_config_result config;
	bool is_begun;    /* files were made */
	bool is_complete; /* and are whole: a failure from here on leaves them */
};

/* A restore that fails leaves nothing that looks like one. */
static void
restoring_done(struct restoring *restoring)
{
	base_extract_free(restoring->extract);
	base_reader_free(restoring->reader);
	json_decref(restoring->settings);
	if (restoring->is_begun && !restoring->is_complete)
		base_target_undo(&restoring->target);
	base_content_done(&restoring->content);
	base_target_done(&restoring->target);
}

static void
note(struct restoring *restoring, char *text)
{
	vec_push(&restoring->report->notes, text);
}

/* ---- before --------------------------------------------------------------------------------------- */

/* The same questions as the plan's; the first obstacle refuses. */
static int
refuse_obstacles(struct restoring *restoring, struct err *err)
{
	SCOPED(restore_plan_done) struct restore_plan plan = { .what = NULL };

	if (pg_base_plan(restoring->pg, restoring->view, restoring->request, &plan, err) < 0)
		return -1;
	if (plan.obstacles.count > 0) {
		(void)err_set(err, ERR_REFUSED, "%s", plan.obstacles.items[0]);
		if (plan.hint != NULL)
			return err_hint(err, "%s", plan.hint);
		return -1;
	}
	for (size_t i = 0; i < plan.warnings.count; i++)
		vec_push(&restoring->report->warnings, xstrdup(plan.warnings.items[i]));

	return 0;
}

/* ---- files ---------------------------------------------------------------------------------------- */

static int
open_extract(struct restoring *restoring, struct err *err)
{
	const struct base_target *target = &restoring->target;
	const struct base_extract_options options = {
		.data_dir = target->data_dir,
		.has_owner = target->has_owner,
		.uid = target->uid,
		.gid = target->gid,
		.progress = restoring->request->progress,
	};
	struct base_observer observer;

	restoring->is_begun = true;
	if (base_target_make(target, &restoring->content, err) < 0)
		return -1;
	restoring->extract = base_extract_new(&options, err);
	if (restoring->extract == NULL)
		return -1;
	for (size_t i = 0; i < restoring->content.spaces.count; i++) {
		const char *oid = restoring->content.spaces.items[i].oid;
		SCOPED(freep) char *folder = base_target_space(target, oid);

		if (base_extract_add_space(restoring->extract, oid, folder, err) < 0)
			return -1;
	}
	observer = base_extract_observer(restoring->extract);
	restoring->reader = base_reader_new(&observer, restoring->content.wal_segment_bytes);

	return 0;
}

static int
write_files(struct restoring *restoring, struct err *err)
{
	SCOPED(closep) int fd = -1;
	const void *control;
	size_t control_size;

	progress_phase(restoring->request->progress, "writing",
	    base_content_bytes(&restoring->content));
	if (base_extract_create(restoring->extract, "backup_manifest", &fd, err) < 0 ||
	    base_content_read_all(&restoring->content, restoring->view, restoring->reader,
		fd_sink_new(fd, "backup_manifest"), err) < 0)
		return -1;
	control = base_extract_control(restoring->extract, &control_size);
	if (control == NULL)
		return err_set(err, ERR_DATA, "the backup has no pg_control");

	return control_parse(control, control_size, &restoring->control, err);
}

static int
write_config(struct restoring *restoring, struct err *err)
{
	const struct base_config_options options = {
		.view = restoring->view,
		.content = &restoring->content,
		.settings = restoring->settings,
		.control = &restoring->control,
		.data_dir = restoring->target.data_dir,
		.socket_dir = restoring->target.socket_dir,
		.port = restoring->target.port,
	};

	return base_config_write(&options, restoring->extract, &restoring->config, err);
}

static int
make_durable(struct restoring *restoring, struct err *err)
{
	SCOPED(freep)
	char *marker = xasprintf("%s/" BASE_TARGET_MARKER, restoring->target.data_dir);

	progress_phase(restoring->request->progress, "waiting for the disk", 0);
	if (unlink(marker) < 0)
		return err_sys(err, "cannot remove '%s'", marker);
	if (base_extract_finish(restoring->extract, true, err) < 0)
		return -1;
	restoring->is_complete = true;

	return 0;
}

/* ---- after ---------------------------------------------------------------------------------------- */

static char *
start_command(const struct restoring *restoring, const char *verb)
{
	SCOPED(pg_program_done) struct pg_program program = { .path = NULL };
	int major = restoring->content.server_version / 10000;
	const char *dir = restoring->target.data_dir;
	const char *user = restoring->request->owner != NULL ? restoring->request->owner
							     : restoring->pg->scratch_user;
	SCOPED(freep)
	char *as_user = geteuid() == 0 ? xasprintf("runuser -u %s -- ", user) : xstrdup("");
	struct err ignored = ERR_INIT;

	if (pg_program_find(restoring->pg, "pg_ctl", major, true, &program, &ignored) < 0)
		program.path = xstrdup("pg_ctl");
	if (str_equals(verb, "stop"))
		return xasprintf("%s%s -D '%s' stop", as_user, program.path, dir);

	return xasprintf("%s%s -D '%s' -l '%s/server.log' start", as_user, program.path, dir, dir);
}

static int
describe_running(struct restoring *restoring, const struct postgres *server, struct err *err)
{
	SCOPED(pg_conn_freep) PGconn *conn = pg_connect(server, NULL, PG_SQL, err);
	SCOPED(freep) char *version = NULL;
	SCOPED(freep) char *lsn = NULL;
	SCOPED(freep) char *stop = start_command(restoring, "stop");
	json_t *details = restoring->report->details;

	if (conn == NULL)
		return -1;
	version = pg_query_value(conn, "SHOW server_version", err);
	if (version == NULL)
		return -1;
	lsn = pg_query_value(conn, "SELECT pg_current_wal_insert_lsn()", err);
	if (lsn == NULL)
		return -1;
	note(restoring,
	    xasprintf("PostgreSQL %s runs on port %u of this machine, WAL position %s", version,
		restoring->target.port, lsn));
	note(restoring, xasprintf("to stop it: %s", stop));
	(void)json_object_set_new(details, "port", json_integer(restoring->target.port));
	(void)json_object_set_new(details, "socket_dir", json_string(restoring->target.socket_dir));
	(void)json_object_set_new(details, "running_version", json_string(version));
	(void)json_object_set_new(details, "lsn", json_string(lsn));
	restoring->report->next = xasprintf("psql -h '%s' -p %u -U '%s' -l",
	    restoring->target.socket_dir, restoring->target.port, server->user);

	return 0;
}

static int
start_server(struct restoring *restoring, struct err *err)
{
	const struct scratch_options options = {
		.data_dir = restoring->target.data_dir,
		.work_dir = restoring->target.data_dir,
		.major = restoring->content.server_version / 10000,
		.is_exact = true,
		.port = restoring->target.port,
		.is_kept = true,
		.superuser = restoring->content.superuser,
		.owner = restoring->request->owner,
		.socket_dir = restoring->target.socket_dir,
	};

	progress_phase(restoring->request->progress, "starting the restored server", 0);

	SCOPED(scratch_freep) struct scratch *scratch = scratch_start(restoring->pg, &options, err);
	if (scratch == NULL) {
		(void)err_wrap(err, "the files are restored in '%s', but the server does not run",
		    restoring->target.data_dir);
		return err_hint(err, "Its log: %s/server.log.", restoring->target.data_dir);
	}

	return describe_running(restoring, scratch_postgres(scratch), err);
}

static void
describe_files(struct restoring *restoring)
{
	struct base_reader_totals totals = base_reader_totals(restoring->reader);
	char bytes[32], lsn[LSN_TEXT_SIZE];
	json_t *details = json_object();

	restoring->report->target = xstrdup(restoring->target.data_dir);
	restoring->report->details = details;
	(void)json_object_set_new(details, "files", json_integer((json_int_t)totals.files));
	(void)json_object_set_new(details, "bytes", json_integer((json_int_t)totals.bytes));
	(void)json_object_set_new(details, "end_lsn",
	    json_string(lsn_format(restoring->content.end_lsn, lsn)));
	note(restoring,
	    xasprintf("%llu files, %s, each as in the server's manifest",
		(unsigned long long)totals.files, format_bytes(totals.bytes, bytes)));
	note(restoring,
	    xasprintf("what sets the copy apart from the live server stands at the end of "
		      "'%s/postgresql.auto.conf'",
		restoring->target.data_dir));
	if (restoring->config.is_conf_made)
		note(restoring,
		    xasprintf("postgresql.conf was made anew%s",
			restoring->config.has_conf_original
			    ? ", the server's own is postgresql.conf.from-backup"
			    : ""));
	for (size_t i = 0; i < restoring->content.spaces.count; i++) {
		const struct base_space *space = &restoring->content.spaces.items[i];
		SCOPED(freep) char *folder = base_target_space(&restoring->target, space->oid);

		note(restoring,
		    xasprintf("tablespace '%s' is in '%s'",
			space->name != NULL ? space->name : space->oid, folder));
	}
}

int
pg_base_restore(struct postgres *pg, const struct backup_view *view,
    const struct restore_request *request, struct restore_report *report, struct err *err)
{
	SCOPED(restoring_done)
	struct restoring restoring = {
		.pg = pg,
		.view = view,
		.request = request,
		.report = report,
	};

	if (refuse_obstacles(&restoring, err) < 0 ||
	    base_content_read(view->manifest, &restoring.content, err) < 0 ||
	    base_target_init(&restoring.target, pg, request, err) < 0 ||
	    base_content_settings(view, &restoring.settings, err) < 0 ||
	    open_extract(&restoring, err) < 0 || write_files(&restoring, err) < 0 ||
	    base_extract_write_map(restoring.extract, err) < 0 ||
	    write_config(&restoring, err) < 0 || make_durable(&restoring, err) < 0)
		return -1;
	describe_files(&restoring);
	if (request->wants_start)
		return start_server(&restoring, err);
	report->next = start_command(&restoring, "start");

	return 0;
}
