#include "source/redis/keyed/keyed.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/str.h"
#include "repo/manifest.h"
#include "source/redis/keyed/writer.h"
#include "source/redis/rdb_summary.h"
#include "source/redis/redis_internal.h"
#include "source/redis/replay/point.h"
#include "stream/links.h"
#include "stream/sink.h"

static int
check_request(const struct restore_request *request, struct err *err)
{
	if (request->to == NULL || strstr(request->to, "://") == NULL) {
		(void)err_set(err, ERR_USAGE, "keys are restored into a server that runs");
		return err_hint(err, "Name it: --to redis://HOST:PORT.");
	}
	if (request->target.kind != TARGET_BACKUP) {
		(void)err_set(err, ERR_USAGE, "keys are restored from a backup, not to an instant");
		return err_hint(err,
		    "Restore that instant into a folder first (--to DIR), start a server on it, "
		    "and take the keys from there.");
	}

	return 0;
}

static struct keyed_pick
pick_of(const struct restore_request *request)
{
	return (struct keyed_pick){
		.pattern = request->keys,
		.is_one_database = request->is_one_db,
		.database = request->db,
	};
}

/* ---- plan ------------------------------------------------------------------------------------------- */

static void
look_at_server(const struct str *info, struct restore_plan *plan)
{
	SCOPED(freep) char *role = redis_info_get(info, "role");

	if (str_equals(role, "slave")) {
		vec_push(&plan->obstacles,
		    xstrdup("the server is a replica: it takes writes from its master alone"));
		plan->hint = xstrdup("Name its master, which 'redis-cli INFO replication' shows.");
	}
	if (redis_info_number(info, "cluster_enabled") == 1)
		vec_push(&plan->warnings,
		    xstrdup("the server is a node of a cluster: it takes the keys of its own "
			    "slots, so type this once for each of the masters"));
}

int
keyed_plan(struct redis *redis, const struct backup_view *view,
    const struct restore_request *request, struct restore_plan *plan, struct err *err)
{
	const struct manifest_file *file = redis_content_file(view->manifest, err);
	SCOPED(redis_conn_freep) struct redis_conn *conn = NULL;
	SCOPED(str_done) struct str info = STR_INIT;
	const char *family;
	struct err unknown = ERR_INIT;

	if (file == NULL || check_request(request, err) < 0)
		return -1;
	conn = redis_conn_open(redis, err);
	if (conn == NULL)
		return -1;
	plan->read_bytes = 2 * file->bytes;
	plan->what = request->is_one_db
	    ? xasprintf("the keys '%s' of database %u", request->keys, request->db)
	    : xasprintf("the keys '%s' of every database", request->keys);
	/* An account that may write need not be one that may ask. */
	if (redis_info(conn, &info, &unknown) == 0) {
		SCOPED(freep) char *version = redis_info_version(&info, &family);

		plan->target = xasprintf("the running %s %s at %s:%u", family, version, redis->host,
		    redis->port);
		look_at_server(&info, plan);
	} else {
		plan->target = xasprintf("the running server at %s:%u", redis->host, redis->port);
		vec_push(&plan->warnings,
		    xasprintf("it is not known what server that is: %s", unknown.msg));
	}
	vec_push(&plan->steps, xstrdup("read the RDB file to its last byte"));
	vec_push(&plan->steps,
	    xstrdup(request->replaces
		    ? "write each key there by RESTORE; a key that is there is REPLACED"
		    : "write each key there by RESTORE; a key that is there stays as it is"));

	return 0;
}

/* ---- the first reading ------------------------------------------------------------------------------ */

struct survey {
	struct rdb_watch watch;
	struct keyed_pick pick;
	bool is_picked;
	uint64_t value_began;
	uint64_t matching;
	uint64_t unnamed; /* their names are too long to be kept */
	VEC(struct keyed_large) large;
};

static void
survey_done(struct survey *survey)
{
	vec_done(&survey->large);
}

static int
survey_begin(struct rdb_watch *watch, const struct rdb_seen_key *key, uint64_t offset,
    struct err *err)
{
	struct survey *survey = watch->owner;

	(void)err;
	survey->unnamed += key->name == NULL;
	survey->is_picked = keyed_picks(&survey->pick, key);
	survey->value_began = offset;

	return 0;
}

static int
survey_end(struct rdb_watch *watch, uint64_t offset, struct err *err)
{
	struct survey *survey = watch->owner;
	const struct keyed_large large = {
		.offset = survey->value_began,
		.bytes = offset - survey->value_began,
	};

	(void)err;
	if (!survey->is_picked)
		return 0;
	survey->matching++;
	if (large.bytes > KEYED_HELD_MAX_BYTES)
		vec_push(&survey->large, large);

	return 0;
}

static int
read_through(const struct backup_view *view, const struct manifest_file *file, struct sink *chain,
    struct progress *progress, struct err *err)
{
	const struct meter_options meter = { .progress = progress };
	SCOPED(sink_freep) struct sink *sink = meter_sink_new(chain, &meter);

	if (view->read(view, file, sink, err) < 0)
		return -1;

	return sink_finish(sink, err);
}

static int
make_survey(const struct backup_view *view, const struct manifest_file *file, struct survey *survey,
    struct progress *progress, uint64_t *ret_functions, struct err *err)
{
	const struct rdb_options options = { .watch = &survey->watch };
	SCOPED(rdb_reader_freep) struct rdb_reader *reader = rdb_reader_new(&options);
	const struct rdb_summary *summary = rdb_reader_summary(reader);

	survey->watch.begin = survey_begin;
	survey->watch.end = survey_end;
	survey->watch.owner = survey;
	progress_phase(progress, "reading", file->bytes);
	if (read_through(view, file, rdb_sink_new(reader), progress, err) < 0) {
		if (err->kind == ERR_DATA)
			err->kind = ERR_MISMATCH;
		return err_wrap(err, "nothing was written");
	}
	if (summary->unknown != NULL)
		return err_set(err, ERR_UNSUPPORTED,
		    "nothing was written: the file is newer than this program (%s)",
		    summary->unknown);
	if (redis_content_compare(view->manifest->content, summary, err) < 0)
		return err_wrap(err, "nothing was written");
	*ret_functions = summary->functions;

	return 0;
}

/* ---- restore ------------------------------------------------------------------------------------------ */

static void
note(struct restore_report *report, const char *name, uint64_t count, const char *text)
{
	(void)json_object_set_new(report->details, name, json_integer((json_int_t)count));
	if (count > 0)
		vec_push(&report->notes, xasprintf("%" PRIu64 " keys %s", count, text));
}

static void
warn(struct restore_report *report, const char *name, uint64_t count, const char *text)
{
	(void)json_object_set_new(report->details, name, json_integer((json_int_t)count));
	if (count > 0)
		vec_push(&report->warnings, xasprintf("%" PRIu64 " keys %s", count, text));
}

static void
tell(const struct redis *redis, const struct survey *survey, const struct keyed_report *done,
    uint64_t functions, struct restore_report *report)
{
	report->target = xasprintf("keys in the running server at %s:%u", redis->host, redis->port);
	if (report->details == NULL)
		report->details = json_object();
	note(report, "matching", survey->matching, "of the backup match");
	note(report, "restored", done->restored, "written");
	note(report, "kept", done->kept, "were there and stayed as they are (--replace)");
	note(report, "expired", done->expired,
	    "not written: their time is over (--ttl shift, --ttl persist)");
	warn(report, "elsewhere", done->elsewhere,
	    "belong to other nodes of the cluster: type this for each of its masters");
	warn(report, "too_large", done->too_large,
	    "not written: a server takes no value above 512 MiB in one piece");
	warn(report, "unnamed", survey->unnamed,
	    "not looked at: their names are longer than 4096 bytes");
	if (survey->matching == 0)
		vec_push(&report->warnings, xstrdup("no key of the backup matches"));
	if (functions > 0)
		vec_push(&report->notes,
		    xasprintf("%" PRIu64 " libraries of functions are no keys, and were not loaded",
			functions));
}

int
keyed_restore(struct redis *redis, const struct backup_view *view,
    const struct restore_request *request, struct restore_report *report, struct err *err)
{
	const struct manifest_file *file = redis_content_file(view->manifest, err);
	SCOPED(survey_done) struct survey survey = { .pick = pick_of(request) };
	SCOPED(redis_conn_freep) struct redis_conn *conn = NULL;
	struct keyed_order order = { .pick = survey.pick, .replaces = request->replaces };
	struct keyed_report done = { .restored = 0 };
	uint64_t functions = 0;

	if (file == NULL || check_request(request, err) < 0 ||
	    make_survey(view, file, &survey, request->progress, &functions, err) < 0)
		return -1;
	conn = redis_conn_open(redis, err);
	if (conn == NULL)
		return err_wrap(err, "nothing was written");
	order.conn = conn;
	order.large = survey.large.items;
	order.large_count = survey.large.count;
	point_policy(view, request, &order.policy);
	progress_phase(request->progress, "writing keys", file->bytes);
	if (read_through(view, file, keyed_writer_new(&order, &done), request->progress, err) < 0) {
		(void)err_wrap(err,
		    "%" PRIu64 " of %" PRIu64
		    " keys are known to be written, all others of the server "
		    "are as they were but for at most %d that were on their way",
		    done.restored, survey.matching, KEYED_PENDING_MAX);
		return err->hint[0] != '\0'
		    ? -1
		    : err_hint(err,
			  "Mend that and type the same again: what is there already is no obstacle.");
	}
	tell(redis, &survey, &done, functions, report);

	return 0;
}
