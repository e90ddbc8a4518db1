/*
 * Restoring into the data folder of a stopped server.  With `appendonly yes` a server looks at its
 * AOF alone and starts empty when there is none, whatever dump.rdb holds, so both are written.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "os/file.h"
#include "repo/manifest.h"
#include "source/redis/landing.h"
#include "source/redis/master/master.h"
#include "source/redis/rdb_reader.h"
#include "source/redis/rdb_summary.h"
#include "source/redis/redis_internal.h"
#include "source/redis/replay/point.h"
#include "stream/links.h"
#include "stream/sink.h"

static bool
goes_over_network(const struct restore_request *request)
{
	return request->to != NULL && strstr(request->to, "://") != NULL;
}

static int
refuse_foreign_options(const struct restore_request *request, struct err *err)
{
	const char *option = request->database != NULL             ? "--database"
	    : request->new_name != NULL                            ? "--as"
	    : request->wants_start                                 ? "--start"
	    : request->wants_globals                               ? "--globals"
	    : request->owner != NULL && goes_over_network(request) ? "--owner"
								   : NULL;

	if (option != NULL)
		return err_set(err, ERR_USAGE, "%s is not for %s", option,
		    goes_over_network(request) ? "a Redis server that runs" : "a Redis backup");

	return 0;
}

/* ---- plan ------------------------------------------------------------------------------------------ */

static void
add_obstacle(struct restore_plan *plan, const struct err *err)
{
	vec_push(&plan->obstacles, xstrdup(err->msg));
	if (plan->hint == NULL && err->hint[0] != '\0')
		plan->hint = xstrdup(err->hint);
}

static void
add_steps(const struct landing *landing, struct restore_plan *plan)
{
	vec_push(&plan->steps,
	    xasprintf("write the RDB file twice, read to its last byte on the way: as '%s' and "
		      "as the base of the AOF in '%s'",
		landing->dump_name, landing->has_parts ? landing->aof_folder : landing->aof_name));
	vec_push(&plan->steps,
	    xasprintf("move the files of these names that are in '%s' into a folder "
		      "'replaced-TIME' there",
		landing->folder));
	vec_push(&plan->steps, xstrdup("move the new files in"));
}

static void
look_at_target(const struct landing *landing, struct restore_plan *plan)
{
	struct disk_space space;
	struct err obstacle = ERR_INIT;
	bool is_blind = false;

	if (landing_check(landing, &is_blind, &obstacle) < 0)
		add_obstacle(plan, &obstacle);
	if (is_blind)
		vec_push(&plan->warnings,
		    xstrdup("a Redis server of another user runs here, and it cannot be seen in "
			    "which folder: be sure that it is not this one"));
	if (disk_space_of(landing->folder, &space, &obstacle) < 0)
		return;
	plan->free_bytes = space.available_bytes;
	if (plan->free_bytes < plan->write_bytes) {
		(void)err_set(&obstacle, ERR_SPACE, "there is not enough space in '%s'",
		    landing->folder);
		(void)err_hint(&obstacle, "Make room there; old files are kept beside the new.");
		add_obstacle(plan, &obstacle);
	}
}

int
redis_plan(struct redis *redis, const struct backup_view *view,
    const struct restore_request *request, struct restore_plan *plan, struct err *err)
{
	const struct manifest *manifest = view->manifest;
	const struct manifest_file *file = redis_content_file(manifest, err);
	SCOPED(landing_done) struct landing landing = { .folder = NULL };

	if (file == NULL || refuse_foreign_options(request, err) < 0)
		return -1;
	if (goes_over_network(request))
		return master_plan(redis, view, request, plan, err);
	if (landing_init(&landing, manifest, request, err) < 0)
		return -1;
	plan->what = redis_content_title(manifest);
	plan->target = xstrdup(landing.folder);
	plan->read_bytes = file->bytes;
	plan->write_bytes = 2 * file->content_bytes;
	if (request->target.kind == TARGET_BACKUP)
		add_steps(&landing, plan);
	else if (point_plan(&landing, view, request, plan, err) < 0)
		return -1;
	look_at_target(&landing, plan);

	return 0;
}

/* ---- restore --------------------------------------------------------------------------------------- */

/* dump.rdb and the base of the AOF, in one pass. */
static int
write_files(const struct landing *landing, const struct backup_view *view,
    const struct manifest_file *file, struct rdb_reader *reader, const struct expiry_policy *policy,
    struct expiry_report *ret_report, struct progress *progress, struct err *err)
{
	SCOPED(freep) char *aof_folder = landing_aof_folder(landing);
	SCOPED(freep) char *aof_base = landing_aof_base(landing);
	const struct file_sink_options dump = {
		.folder = landing->staging,
		.name = landing->dump_name,
		.run_id = "restore",
		.mode = 0640,
		.gid = -1,
	};
	const struct file_sink_options aof = {
		.folder = aof_folder,
		.name = aof_base,
		.run_id = "restore",
		.mode = 0640,
		.gid = -1,
	};
	const struct meter_options meter = { .progress = progress };
	SCOPED(sink_freep) struct sink *first = file_sink_new(&dump, err);
	SCOPED(sink_freep) struct sink *second = first != NULL ? file_sink_new(&aof, err) : NULL;

	if (second == NULL)
		return -1;
	first = tee_sink_new(TAKE(first), TAKE(second));
	if (policy->ttl != RESTORE_TTL_KEEP)
		first = expiry_sink_new(TAKE(first), policy, ret_report);
	first = tee_sink_new(rdb_sink_new(reader), TAKE(first));
	first = meter_sink_new(TAKE(first), &meter);
	progress_phase(progress, "writing", file->bytes);
	if (view->read(view, file, first, err) < 0)
		return -1;

	return sink_finish(first, err);
}

static void
tell(const struct landing *landing, const struct rdb_summary *summary, unsigned moved,
    struct restore_report *report)
{
	report->target = xstrdup(landing->folder);
	if (report->details == NULL)
		report->details = json_object();
	redis_content_add(report->details, summary);
	if (landing->aside != NULL)
		(void)json_object_set_new(report->details, "replaced", json_string(landing->aside));
	vec_push(&report->notes,
	    xasprintf("%" PRIu64 " keys in %zu databases%s, as %s%s%san AOF ('%s')", summary->keys,
		summary->databases.count, landing->has_increment ? " in the base" : "",
		landing->lacks_dump ? "" : "'", landing->lacks_dump ? "" : landing->dump_name,
		landing->lacks_dump ? "" : "' and as ",
		landing->has_parts ? landing->aof_folder : landing->aof_name));
	if (moved > 0)
		vec_push(&report->notes, xasprintf("the old files are in '%s'", landing->aside));
	vec_push(&report->notes,
	    xasprintf("users and settings are not part of it: see the backup's settings.json"));
	if (geteuid() != 0 && !landing->gives_files)
		vec_push(&report->notes,
		    xstrdup("the files belong to you: see that the server may write them"));
	report->next = landing->lacks_dump
	    ? xstrdup("stop or detach its replicas, start the server with 'appendonly yes' (or "
		      "'redis-server CONF --appendonly yes'), and ask it 'redis-cli INFO keyspace'")
	    : xstrdup("stop or detach its replicas, start the server, and ask it "
		      "'redis-cli INFO keyspace'");
}

static int
write_all(const struct redis *redis, struct landing *landing, const struct backup_view *view,
    const struct manifest_file *file, const struct restore_request *request,
    struct rdb_reader *reader, struct restore_report *report, struct err *err)
{
	struct expiry_report changed = { .changed = 0 };
	struct expiry_policy policy;

	if (landing->has_increment)
		return point_write(redis, landing, view, file, request, reader, report, err);
	point_policy(view, request, &policy);
	if (write_files(landing, view, file, reader, &policy, &changed, request->progress, err) < 0)
		return -1;
	point_tell_times(&policy, &changed, report);

	return 0;
}

int
redis_restore(struct redis *redis, const struct backup_view *view,
    const struct restore_request *request, struct restore_report *report, struct err *err)
{
	const struct rdb_options options = { .is_deep = true };
	const struct manifest_file *file = redis_content_file(view->manifest, err);
	SCOPED(rdb_reader_freep) struct rdb_reader *reader = rdb_reader_new(&options);
	SCOPED(landing_done) struct landing landing = { .folder = NULL };
	unsigned moved = 0;
	bool is_blind;

	if (file == NULL || refuse_foreign_options(request, err) < 0)
		return -1;
	if (goes_over_network(request))
		return master_restore(redis, view, request, report, err);
	if (landing_init(&landing, view->manifest, request, err) < 0 ||
	    landing_check(&landing, &is_blind, err) < 0 || landing_begin(&landing, err) < 0)
		return -1;
	landing.has_increment = request->target.kind != TARGET_BACKUP;
	if (write_all(redis, &landing, view, file, request, reader, report, err) < 0) {
		if (err->kind == ERR_DATA)
			err->kind = ERR_MISMATCH;
		return err_wrap(err, "nothing was changed in '%s'", landing.folder);
	}
	if (redis_content_compare(view->manifest->content, rdb_reader_summary(reader), err) < 0 ||
	    landing_commit(&landing, &moved, err) < 0)
		return -1;
	tell(&landing, rdb_reader_summary(reader), moved, report);

	return 0;
}
