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
#include "os/file.h"
#include "repo/manifest.h"
#include "source/postgres/base/config.h"
#include "source/postgres/base/content.h"
#include "source/postgres/base/covered.h"
#include "source/postgres/base/extract.h"
#include "source/postgres/base/reader.h"
#include "source/postgres/base/recover.h"
#include "source/postgres/base/started.h"
#include "source/postgres/base/target.h"
#include "source/postgres/control.h"
#include "source/postgres/lsn.h"
#include "source/postgres/postgres_internal.h"
#include "source/postgres/scratch_internal.h"
#include "source/postgres/wal/recovery.h"
#include "stream/links.h"
#include "stream/sink.h"

#define LENT_PROGRAM ".blackstart-program"

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
	struct base_settings recovery; /* empty: it needs nothing but what it has */
	struct wal_need need;
	char *lent;       /* a copy of the fetcher's program for the server's user, or NULL */
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
	base_settings_done(&restoring->recovery);
	free(restoring->lent);
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

/* Can the server's user come to where this program lies. */
static bool
can_run(const struct restoring *restoring, const char *program)
{
	const char *slash = strrchr(program, '/');
	SCOPED(freep)
	char *folder = slash != NULL ? xstrndup(program, (size_t)(slash - program) + 1)
				     : xstrdup("/");
	struct err ignored = ERR_INIT;

	return scratch_user_can_enter(folder, restoring->target.uid, restoring->target.gid,
		   &ignored) == 0;
}

/* What the server is told, when its own files are not enough. */
static int
choose_recovery(struct restoring *restoring, struct err *err)
{
	const struct restore_request *request = restoring->request;
	SCOPED(freep) char *socket = path_join(restoring->target.data_dir, STARTED_SOCKET);
	struct base_recovery_options options = {
		.content = &restoring->content,
		.target = &request->target,
		.fetcher = request->fetcher,
		.socket_path = request->wants_start ? socket : NULL,
	};

	if (request->target.kind == TARGET_BACKUP)
		return 0;
	if (pg_wal_need(request->archive, restoring->view->manifest, &request->target,
		restoring->pg->known, &restoring->need, err) < 0)
		return -1;
	options.is_before_gap = restoring->need.is_before_gap;
	if (request->wants_start && !can_run(restoring, request->fetcher[0]))
		restoring->lent = path_join(restoring->target.data_dir, LENT_PROGRAM);
	options.program = restoring->lent;
	base_recovery_settings(&options, &restoring->recovery);

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

/* A backup without WAL gets it from the archive now: later it needs nobody any more. */
static int
add_log(struct restoring *restoring, struct err *err)
{
	if (restoring->content.has_wal || restoring->request->target.kind != TARGET_BACKUP)
		return 0;

	return covered_extract(restoring->request->archive, &restoring->content, restoring->extract,
	    err);
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
		.recovery = restoring->recovery.items.count > 0 ? &restoring->recovery : NULL,
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

/* Started, or ready to be. */
static int
leave(struct restoring *restoring, struct err *err)
{
	const struct started_options options = {
		.pg = restoring->pg,
		.content = &restoring->content,
		.target = &restoring->target,
		.request = restoring->request,
		.need = restoring->recovery.items.count > 0 ? &restoring->need : NULL,
		.lent = restoring->lent,
	};

	if (restoring->request->wants_start)
		return started_run(&options, restoring->report, err);
	if (options.need != NULL)
		note(restoring,
		    xstrdup("when it is started it recovers: its user must be able to read the "
			    "store then, and 'last completed transaction' in its log says how far "
			    "it came"));
	restoring->report->next = started_command(&options, "start");

	return 0;
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
		.target = { .port_fd = -1 },
	};

	if (refuse_obstacles(&restoring, err) < 0 ||
	    base_content_read(view->manifest, &restoring.content, err) < 0 ||
	    base_target_init(&restoring.target, pg, request, err) < 0 ||
	    base_content_settings(view, &restoring.settings, err) < 0 ||
	    choose_recovery(&restoring, err) < 0 || open_extract(&restoring, err) < 0 ||
	    write_files(&restoring, err) < 0 || add_log(&restoring, err) < 0 ||
	    base_extract_write_map(restoring.extract, err) < 0 ||
	    write_config(&restoring, err) < 0 || make_durable(&restoring, err) < 0)
		return -1;
	describe_files(&restoring);

	return leave(&restoring, err);
}
