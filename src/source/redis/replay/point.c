#include "source/redis/replay/point.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/progress.h"
#include "base/str.h"
#include "base/zone.h"
#include "os/file.h"
#include "repo/manifest.h"
#include "source/redis/landing.h"
#include "source/redis/rdb_reader.h"
#include "source/redis/rdb_summary.h"
#include "source/redis/redis_internal.h"
#include "source/redis/replay/tail_writer.h"
#include "source/redis/stream/replay.h"
#include "source/source.h"
#include "stream/links.h"
#include "stream/sink.h"

/* ---- a link that leaves the next one open -------------------------------------------------------- */

struct open_sink {
	struct sink base;
	struct sink *to; /* a loan */
};

static int
open_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	return sink_write(((struct open_sink *)sink)->to, data, size, err);
}

static int
open_finish(struct sink *sink, struct err *err)
{
	(void)sink;
	(void)err;

	return 0;
}

static void
open_free(struct sink *sink)
{
	free(sink);
}

static struct sink *
open_sink_new(struct sink *to)
{
	static const struct sink_ops ops = {
		.name = "open",
		.write = open_write,
		.finish = open_finish,
		.free = open_free,
	};
	struct open_sink *sink = xcalloc(1, sizeof(*sink));

	sink->base.ops = &ops;
	sink->to = to;

	return &sink->base;
}

/* ---- what is asked ------------------------------------------------------------------------------ */

void
point_policy(const struct backup_view *view, const struct restore_request *request,
    struct expiry_policy *ret_policy)
{
	bool is_point = request->target.kind != TARGET_BACKUP;
	struct wall_time then = request->target.kind == TARGET_TIME ? request->target.time
								    : view->manifest->consistent_at;

	ret_policy->ttl = request->ttl;
	if (request->ttl == RESTORE_TTL_AUTO)
		ret_policy->ttl = is_point && request->target.kind != TARGET_LATEST
		    ? RESTORE_TTL_SHIFT
		    : RESTORE_TTL_KEEP;
	ret_policy->shift_us = clock_wall().us - then.us;
}

int
point_replay(const struct backup_view *view, const struct restore_request *request,
    struct replay *ret_replay, struct err *err)
{
	if (request->archive == NULL)
		return err_set(err, ERR_REFUSED, "the store has no stream of this source");

	return replay_plan(request->archive, view->manifest, &request->target, ret_replay, err);
}

static const char *
policy_text(const struct expiry_policy *policy)
{
	switch (policy->ttl) {
	case RESTORE_TTL_SHIFT:
		return "keys live as long from now on as they had to live then (--ttl shift)";
	case RESTORE_TTL_PERSIST:
		return "no key expires (--ttl persist)";
	case RESTORE_TTL_AUTO:
	case RESTORE_TTL_KEEP:
		break;
	}

	return "keys expire when they were to: what is over now goes when the server starts (--ttl keep)";
}

/* What is read, and how it ends; the steps around it are the caller's. */
static void
plan_tail(const struct replay *replay, const struct restore_request *request, const char *doing,
    const char *behind, struct restore_plan *plan)
{
	char reached[CLOCK_TEXT_SIZE], bytes[32];

	plan->read_bytes += replay->stored_bytes;
	vec_push(&plan->steps,
	    xasprintf("%s %zu pieces of the stream (%s stored) behind %s, up to %s, offset %" PRIu64
		      " of timeline %" PRIu32,
		doing, replay->stretches.count, format_bytes(replay->stored_bytes, bytes), behind,
		zone_format_us(request->target.zone, replay->reached, reached), replay->end.offset,
		replay->end.branch));
}

int
point_plan_tail(const struct backup_view *view, const struct restore_request *request,
    struct restore_plan *plan, struct err *err)
{
	SCOPED(replay_done) struct replay replay = { .db = 0 };
	struct expiry_policy policy;

	if (point_replay(view, request, &replay, err) < 0)
		return -1;
	point_policy(view, request, &policy);
	plan_tail(&replay, request, "send", "the file", plan);
	vec_push(&plan->steps, xstrdup(policy_text(&policy)));

	return 0;
}

int
point_plan(const struct landing *landing, const struct backup_view *view,
    const struct restore_request *request, struct restore_plan *plan, struct err *err)
{
	SCOPED(replay_done) struct replay replay = { .db = 0 };
	struct expiry_policy policy;
	const char *aof = landing->has_parts ? landing->aof_folder : landing->aof_name;

	if (point_replay(view, request, &replay, err) < 0)
		return -1;
	point_policy(view, request, &policy);
	vec_push(&plan->steps,
	    xasprintf(
		"write the base, read to its last byte on the way, as the begin of the AOF '%s'",
		aof));
	plan_tail(&replay, request, "write", "it", plan);
	vec_push(&plan->steps, xstrdup(policy_text(&policy)));
	vec_push(&plan->steps,
	    xasprintf("let a scratch server load that and write '%s' of it, for a server with "
		      "'appendonly no'; without redis-server on this machine there is none",
		landing->dump_name));
	vec_push(&plan->steps,
	    xasprintf(
		"move the old files that are in '%s' into a folder 'replaced-TIME' there, and "
		"the new ones in",
		landing->folder));

	return 0;
}

/* ---- writing ------------------------------------------------------------------------------------ */

static struct sink *
open_file(const char *folder, const char *name, struct err *err)
{
	const struct file_sink_options options = {
		.folder = folder,
		.name = name,
		.run_id = "restore",
		.mode = 0640,
		.gid = -1,
	};

	return file_sink_new(&options, err);
}

/* The base passes the reader as it is stored, and is written as the policy wants it. */
static int
write_base(struct sink *to, const struct backup_view *view, const struct manifest_file *file,
    const struct expiry_policy *policy, struct rdb_reader *reader, struct progress *progress,
    struct expiry_report *report, struct err *err)
{
	const struct meter_options meter = { .progress = progress };
	struct sink *chain = open_sink_new(to);

	if (policy->ttl != RESTORE_TTL_KEEP)
		chain = expiry_sink_new(chain, policy, report);
	chain = tee_sink_new(rdb_sink_new(reader), chain);
	SCOPED(sink_freep) struct sink *front = meter_sink_new(chain, &meter);
	progress_phase(progress, "writing the base", file->bytes);
	if (view->read(view, file, front, err) < 0)
		return -1;

	return sink_finish(front, err);
}

static int
write_tail(struct sink *to, const struct landing *landing, const struct replay *replay,
    struct archive *archive, const struct expiry_policy *policy, struct tail_writer *writer,
    struct err *err)
{
	if (tail_writer_init(writer, to, replay->db, policy, landing->has_parts, err) < 0)
		return -1;

	return replay_run(replay, archive, &writer->base, err);
}

void
point_tell_times(const struct expiry_policy *policy, const struct expiry_report *base,
    struct restore_report *report)
{
	if (base->changed > 0)
		vec_push(&report->notes,
		    xasprintf("the times of expiry of %" PRIu64 " keys were changed",
			base->changed));
	if (base->has_field_times && policy->ttl != RESTORE_TTL_KEEP)
		vec_push(&report->warnings,
		    xstrdup("there are hashes whose fields expire: in the base their times stay "
			    "as they were"));
}

void
point_tell(const struct replay *replay, const struct restore_request *request,
    const struct expiry_policy *policy, const struct expiry_report *base,
    const struct tail_writer *writer, struct restore_report *report)
{
	char reached[CLOCK_TEXT_SIZE], asked[CLOCK_TEXT_SIZE];
	json_t *point = json_object();

	(void)zone_format_us(request->target.zone, replay->reached, reached);
	if (request->target.kind == TARGET_TIME)
		vec_push(&report->notes,
		    xasprintf("the last command is of %s, asked was %s%s", reached,
			zone_format_us(request->target.zone, request->target.time, asked),
			replay->is_cut ? "" : "; nothing came later"));
	else
		vec_push(&report->notes, xasprintf("the last command is of %s", reached));
	vec_push(&report->notes,
	    xasprintf("%" PRIu64 " commands behind the base, up to offset %" PRIu64
		      " of timeline %" PRIu32,
		writer->commands, replay->end.offset, replay->end.branch));
	vec_push(&report->notes, xstrdup(policy_text(policy)));
	point_tell_times(policy, base, report);
	if (writer->left_as_are > 0)
		vec_push(&report->warnings,
		    xasprintf("%" PRIu64 " commands of more than 8 MiB keep the times they have",
			writer->left_as_are));
	(void)json_object_set_new(point, "offset", json_sprintf("%" PRIu64, replay->end.offset));
	(void)json_object_set_new(point, "timeline", json_integer(replay->end.branch));
	(void)json_object_set_new(point, "reached",
	    json_string(clock_format(replay->reached, reached)));
	(void)json_object_set_new(point, "commands", json_integer((json_int_t)writer->commands));
	(void)json_object_set_new(point, "is_cut", json_boolean(replay->is_cut));
	(void)json_object_set_new(point, "times_changed",
	    json_integer((json_int_t)(base->changed + writer->changed)));
	if (report->details == NULL)
		report->details = json_object();
	(void)json_object_set_new(report->details, "point", point);
}

/*
 * A folder of root's is passed through by the scratch server, which is somebody else, and closed
 * again.  That it cannot be opened shows when the server does not get in.
 */
static int
dump_through(const struct redis *redis, const struct landing *landing,
    const struct redis_aof_place *place, struct progress *progress, char **ret_program,
    struct err *err)
{
	struct stat before;
	bool is_closed = stat(landing->folder, &before) == 0 && before.st_uid == 0 &&
	    (before.st_mode & S_IXOTH) == 0;
	int result;

	if (is_closed)
		(void)chmod(landing->folder, (before.st_mode & 07777) | S_IXOTH);
	result = redis_trial_dump(redis, place, progress, ret_program, err);
	if (is_closed && chmod(landing->folder, before.st_mode & 07777) < 0 && result == 0)
		return err_sys(err, "cannot set the mode of '%s'", landing->folder);

	return result;
}

/*
 * Without it a server with 'appendonly no', as packages set it, would start empty: then that is the
 * first thing to be said.
 */
static int
write_dump(const struct redis *redis, struct landing *landing, const struct rdb_summary *base,
    struct progress *progress, struct restore_report *report, struct err *err)
{
	const struct redis_aof_place place = {
		.dir = landing->staging,
		.folder_name = landing->aof_folder,
		.file_name = landing->aof_name,
		.dump_name = landing->dump_name,
		.rdb_version = base->version,
		.is_valkey = base->is_valkey || rdb_summary_aux(base, "valkey-ver") != NULL,
	};
	SCOPED(freep) char *program = NULL;
	SCOPED(freep) char *dump = path_join(landing->staging, landing->dump_name);
	struct err trouble = ERR_INIT;

	landing->lacks_dump = true;
	if (!landing->has_parts)
		(void)err_set(&trouble, ERR_UNSUPPORTED, "the server is older than 7.0");
	else if (landing_write_manifest(landing, err) < 0)
		return -1;
	else if (dump_through(redis, landing, &place, progress, &program, &trouble) == 0)
		landing->lacks_dump = false;
	if (trouble.kind == ERR_CANCELLED) {
		*err = trouble;
		return -1;
	}
	if (landing->lacks_dump)
		(void)unlink(dump);
	vec_push(&report->notes,
	    landing->lacks_dump
		? xasprintf("this state stands in the AOF alone: with 'appendonly no' the server "
			    "would start empty in '%s'",
		      landing->folder)
		: xasprintf("'%s' was written by %s: the server comes up with it with 'appendonly "
			    "no', and with the AOF otherwise",
		      landing->dump_name, program));
	if (landing->lacks_dump && landing->has_parts)
		vec_push(&report->warnings,
		    xasprintf("there is no '%s' of that state: %s", landing->dump_name,
			trouble.msg));

	return 0;
}

int
point_write(const struct redis *redis, struct landing *landing, const struct backup_view *view,
    const struct manifest_file *file, const struct restore_request *request,
    struct rdb_reader *reader, struct restore_report *report, struct err *err)
{
	SCOPED(replay_done) struct replay replay = { .db = 0 };
	SCOPED(tail_writer_done) struct tail_writer writer = { .to = NULL };
	SCOPED(freep) char *folder = landing_aof_folder(landing);
	SCOPED(freep) char *base_name = landing_aof_base(landing);
	SCOPED(freep) char *tail_name = xasprintf("%s.1.incr.aof", landing->aof_name);
	struct expiry_policy policy;
	struct expiry_report base_report = { .changed = 0 };

	if (point_replay(view, request, &replay, err) < 0)
		return -1;
	point_policy(view, request, &policy);
	SCOPED(sink_freep) struct sink *base = open_file(folder, base_name, err);
	if (base == NULL ||
	    write_base(base, view, file, &policy, reader, request->progress, &base_report, err) < 0)
		return -1;
	/* Before 7.0 one file holds both. */
	SCOPED(sink_freep)
	struct sink *tail = landing->has_parts ? open_file(folder, tail_name, err) : NULL;
	if (landing->has_parts && tail == NULL)
		return -1;
	progress_phase(request->progress, "writing the stream", replay.stored_bytes);
	if (write_tail(tail != NULL ? tail : base, landing, &replay, request->archive, &policy,
		&writer, err) < 0 ||
	    (tail != NULL && sink_finish(tail, err) < 0) || sink_finish(base, err) < 0)
		return -1;
	point_tell(&replay, request, &policy, &base_report, &writer, report);

	return write_dump(redis, landing, rdb_reader_summary(reader), request->progress, report,
	    err);
}
