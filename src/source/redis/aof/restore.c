/*
 * An AOF back into the folder of a stopped server.  A dump.rdb that lies there is moved aside with
 * the old AOF: a server with `appendonly yes` does not look at it, one without would load it in
 * place of what was restored.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "os/file.h"
#include "repo/manifest.h"
#include "source/redis/aof/aof.h"
#include "source/redis/aof/prove.h"
#include "source/redis/aof/reader.h"
#include "source/redis/landing.h"
#include "source/redis/redis_internal.h"
#include "stream/links.h"
#include "stream/sink.h"

static int
init(struct landing *landing, const struct backup_view *view, const struct restore_request *request,
    struct err *err)
{
	const json_t *aof = json_object_get(view->manifest->content, "aof");

	if (request->target.kind != TARGET_BACKUP || request->database != NULL ||
	    request->new_name != NULL || request->wants_start || request->wants_globals)
		return err_set(err, ERR_USAGE,
		    "an AOF is restored as it is, into a folder: other options are not for it");
	if (landing_init(landing, view->manifest, request, err) < 0)
		return -1;
	landing->is_aof_only = true;
	landing->has_parts = json_is_true(json_object_get(aof, "has_parts"));

	return 0;
}

static uint64_t
bytes_of(const struct manifest *manifest)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < manifest->files.count; i++)
		bytes += manifest->files.items[i].bytes;

	return bytes;
}

int
redis_aof_plan(const struct backup_view *view, const struct restore_request *request,
    struct restore_plan *plan, struct err *err)
{
	SCOPED(landing_done) struct landing landing = { .folder = NULL };
	struct err obstacle = ERR_INIT;
	bool is_blind;

	if (init(&landing, view, request, err) < 0)
		return -1;
	plan->what = xasprintf("the AOF of a Redis server, %zu files", view->manifest->files.count);
	plan->target = xstrdup(landing.folder);
	plan->read_bytes = plan->write_bytes = bytes_of(view->manifest);
	vec_push(&plan->steps, xstrdup("write the files of the AOF, read to their last byte"));
	vec_push(&plan->steps,
	    xasprintf("move the AOF and '%s' that are in '%s' into a folder 'replaced-TIME' there",
		landing.dump_name, landing.folder));
	vec_push(&plan->steps, xstrdup("move the new files in"));
	if (landing_check(&landing, &is_blind, &obstacle) < 0) {
		vec_push(&plan->obstacles, xstrdup(obstacle.msg));
		if (obstacle.hint[0] != '\0')
			plan->hint = xstrdup(obstacle.hint);
	}

	return 0;
}

/* Where the copy goes; its name is one that landing knows, not one that the manifest says. */
static struct sink *
open_copy(void *context, const struct manifest_file *file, struct err *err)
{
	const struct landing *landing = context;
	const char *slash = strrchr(file->name, '/');
	SCOPED(freep) char *folder = landing_aof_folder(landing);
	const struct file_sink_options options = {
		.folder = folder,
		.name = slash != NULL ? slash + 1 : landing->aof_name,
		.run_id = "restore",
		.mode = 0640,
		.gid = -1,
	};

	return file_sink_new(&options, err);
}

int
redis_aof_restore(const struct backup_view *view, const struct restore_request *request,
    struct restore_report *report, struct err *err)
{
	SCOPED(aof_reader_freep) struct aof_reader *reader = aof_reader_new();
	SCOPED(landing_done) struct landing landing = { .folder = NULL };
	unsigned moved = 0;
	bool is_blind;

	if (init(&landing, view, request, err) < 0 || landing_check(&landing, &is_blind, err) < 0 ||
	    landing_begin(&landing, err) < 0)
		return -1;
	progress_phase(request->progress, "writing", bytes_of(view->manifest));
	if (aof_prove(view, reader, open_copy, &landing, err) < 0) {
		if (err->kind == ERR_DATA)
			err->kind = ERR_MISMATCH;
		return err_wrap(err, "nothing was changed in '%s'", landing.folder);
	}
	if (landing_commit(&landing, &moved, err) < 0)
		return -1;
	report->target = xstrdup(landing.folder);
	report->details = json_object();
	vec_push(&report->notes,
	    xasprintf("%zu files of an AOF, %" PRIu64 " commands", view->manifest->files.count,
		aof_reader_summary(reader)->commands));
	if (moved > 0)
		vec_push(&report->notes, xasprintf("the old files are in '%s'", landing.aside));
	vec_push(&report->warnings,
	    xstrdup("the server loads it with 'appendonly yes' only: see its redis.conf"));
	report->next = xstrdup("stop or detach its replicas, start the server with appendonly yes, "
			       "and ask it 'redis-cli INFO keyspace'");

	return 0;
}
