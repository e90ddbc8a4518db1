#include "source/redis/master/master.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/progress.h"
#include "os/stop.h"
#include "repo/manifest.h"
#include "source/redis/master/handover.h"
#include "source/redis/master/link.h"
#include "source/redis/rdb_reader.h"
#include "source/redis/rdb_summary.h"
#include "source/redis/redis_internal.h"
#include "source/redis/replay/point.h"
#include "source/redis/replay/tail_writer.h"
#include "source/redis/stream/replay.h"
#include "stream/links.h"
#include "stream/sink.h"

enum { ATTEMPTS_MAX = 3 }; /* a link that is cut on the way is made anew by the server */

/* ---- plan ------------------------------------------------------------------------------------------- */

static bool
is_point(const struct restore_request *request)
{
	return request->target.kind != TARGET_BACKUP;
}

static void
add_steps(const struct target *target, const struct manifest *manifest, struct restore_plan *plan)
{
	vec_push(&plan->steps,
	    xstrdup("read the RDB file to its last byte, before the server is touched"));
	if (target_has_data(target))
		vec_push(&plan->steps,
		    xstrdup("keep a copy of what it holds now, as a backup in the store"));
	vec_push(&plan->steps,
	    xasprintf("make %s our replica; from here on its clients can only read", target->name));
	vec_push(&plan->steps,
	    xstrdup(!target_has_data(target) ? "send it the file"
		    : target_holds_both(target, manifest)
		    ? "send it the file; what it has stays until it has loaded that whole"
		    : "send it the file; what it has goes when the file has arrived there whole"));
	vec_push(&plan->steps,
	    xstrdup(target->has_aof ? "wait until it has written its AOF anew"
				    : "see that its RDB file holds the data"));
	vec_push(&plan->steps,
	    target->replicas == 0
		? xstrdup("compare the keys of each database, and make it a master again")
		: xasprintf(
		      "compare the keys of each database, and make it a master again; its %" PRIu64
		      " replicas take the data over by themselves",
		      target->replicas));
}

int
master_plan(struct redis *redis, const struct backup_view *view,
    const struct restore_request *request, struct restore_plan *plan, struct err *err)
{
	const struct manifest_file *file = redis_content_file(view->manifest, err);
	SCOPED(redis_conn_freep) struct redis_conn *conn = NULL;
	SCOPED(target_done) struct target target = { .name = NULL };

	if (file == NULL)
		return -1;
	conn = redis_conn_open(redis, err);
	if (conn == NULL || target_look(redis, conn, &target, err) < 0)
		return -1;
	plan->what = redis_content_title(view->manifest);
	plan->target = xasprintf("the running %s %s at %s, %" PRIu64 " keys", target.family,
	    target.version, target.name, target.keys);
	plan->read_bytes = 2 * file->bytes;
	if (target_has_data(&target))
		plan->replaces = xstrdup(target.name);
	target_weigh(&target, redis, view->manifest, request, plan);
	add_steps(&target, view->manifest, plan);

	return is_point(request) ? point_plan_tail(view, request, plan, err) : 0;
}

/* ---- restore ---------------------------------------------------------------------------------------- */

struct order {
	const struct backup_view *view;
	const struct manifest_file *file;
	const struct restore_request *request;
	struct handover handover;
	struct rdb_reader *reader; /* of the first reading */
	struct expiry_policy policy;
	struct expiry_report base;
	struct replay replay;
	struct tail_writer writer;
};

static void
order_done(struct order *order)
{
	handover_done(&order->handover);
	rdb_reader_free(order->reader);
	replay_done(&order->replay);
	tail_writer_done(&order->writer);
}

static int
read_file(const struct order *order, struct sink *to, const char *phase, struct err *err)
{
	const struct meter_options meter = { .progress = order->request->progress };
	SCOPED(sink_freep) struct sink *chain = meter_sink_new(to, &meter);

	progress_phase(order->request->progress, phase, order->file->bytes);
	if (order->view->read(order->view, order->file, chain, err) < 0)
		return -1;

	return sink_finish(chain, err);
}

/* A server ends at once on a file that is not sound, and an old one has lost its data then. */
static int
examine(struct order *order, struct err *err)
{
	const struct rdb_options options = { .is_deep = true };

	order->reader = rdb_reader_new(&options);
	if (read_file(order, rdb_sink_new(order->reader), "reading", err) < 0) {
		if (err->kind == ERR_DATA)
			err->kind = ERR_MISMATCH;
		return -1;
	}
	if (redis_content_compare(order->view->manifest->content, rdb_reader_summary(order->reader),
		err) < 0)
		return -1;
	point_policy(order->view, order->request, &order->policy);

	return is_point(order->request)
	    ? point_replay(order->view, order->request, &order->replay, err)
	    : 0;
}

/* What it holds now may have come since the plan was made. */
static int
keep(struct order *order, struct err *err)
{
	struct keeper *keeper = order->request->keeper;

	if (!target_has_data(&order->handover.target))
		return 0;
	if (keeper != NULL && keeper->keep(keeper, "rdb", err) < 0)
		return -1;
	if (keeper != NULL) {
		order->handover.kept = keeper->id;
		return 0;
	}
	(void)err_set(err, ERR_REFUSED, "somebody writes to %s", order->handover.target.name);

	return err_hint(err, "It was empty a moment ago: stop its clients, and type this again.");
}

static int
look(struct order *order, const struct redis *redis, struct restore_report *report, struct err *err)
{
	struct handover *handover = &order->handover;
	SCOPED(restore_plan_done) struct restore_plan plan = { .what = NULL };

	handover->redis = redis;
	handover->listen = order->request->listen;
	handover->progress = order->request->progress;
	handover->conn = redis_conn_open_steady(redis, err);
	if (handover->conn == NULL ||
	    target_look(redis, handover->conn, &handover->target, err) < 0)
		return -1;
	/* The plan was made before all was read. */
	target_weigh(&handover->target, redis, order->view->manifest, order->request, &plan);
	if (plan.obstacles.count > 0) {
		(void)err_set(err, ERR_REFUSED, "%s", plan.obstacles.items[0]);
		return plan.hint != NULL ? err_hint(err, "%s", plan.hint) : -1;
	}
	for (size_t i = 0; i < plan.warnings.count; i++)
		vec_push(&report->warnings, xstrdup(plan.warnings.items[i]));
	handover->keeps_both = target_has_data(&handover->target) &&
	    target_holds_both(&handover->target, order->view->manifest);

	return 0;
}

static int
send_once(struct order *order, struct err *err)
{
	struct sink *sink = NULL;

	if (handover_connect(&order->handover, &sink, err) < 0)
		return -1;
	if (order->policy.ttl != RESTORE_TTL_KEEP)
		sink = expiry_sink_new(sink, &order->policy, &order->base);

	return read_file(order, sink, "sending", err);
}

/*
 * What is cut before the file has arrived has changed nothing there.  Only the connection is worth
 * another attempt: that the file cannot be read does not mend itself.
 */
static int
send_file(struct order *order, struct err *err)
{
	for (unsigned attempt = 1;; attempt++) {
		order->base = (struct expiry_report){ .changed = 0 };
		if (send_once(order, err) == 0)
			return 0;
		if (err->kind != ERR_NET || attempt == ATTEMPTS_MAX || stop_is_requested() ||
		    !handover_answers(&order->handover))
			return -1;
		log_warning("%s; the server may connect again", err->msg);
		err_clear(err);
	}
}

static int
send_tail(struct order *order, struct err *err)
{
	SCOPED(sink_freep) struct sink *sink = master_link_stream_sink(order->handover.link);

	progress_phase(order->request->progress, "sending the stream", order->replay.stored_bytes);
	if (tail_writer_init(&order->writer, sink, order->replay.db, &order->policy, false, err) <
		0 ||
	    replay_run(&order->replay, order->request->archive, &order->writer.base, err) < 0)
		return -1;

	return sink_finish(sink, err);
}

/* While it is a replica nothing expires there: each key of the file must be there. */
static int
compare(struct order *order, struct err *err)
{
	const struct rdb_summary *summary = rdb_reader_summary(order->reader);
	SCOPED(str_done) struct str info = STR_INIT;

	if (summary->unknown != NULL)
		return 0;
	if (redis_info(order->handover.conn, &info, err) < 0)
		return -1;

	return redis_content_compare_live(summary, &info, order->policy.ttl != RESTORE_TTL_PERSIST,
	    err);
}

static int
carry_out(struct order *order, struct err *err)
{
	struct handover *handover = &order->handover;

	if (handover_begin(handover, err) < 0 || send_file(order, err) < 0 ||
	    handover_await_loaded(handover, err) < 0 || compare(order, err) < 0)
		return -1;
	if (is_point(order->request) && send_tail(order, err) < 0)
		return -1;
	if (handover_await_applied(handover, err) < 0 ||
	    handover_make_durable(handover, is_point(order->request), err) < 0)
		return -1;

	return handover_release(handover, err);
}

/* ---- the report ----------------------------------------------------------------------------------------- */

static void
tell(const struct order *order, struct restore_report *report)
{
	const struct rdb_summary *summary = rdb_reader_summary(order->reader);
	const struct target *target = &order->handover.target;

	report->target = xasprintf("the running server at %s has the data, and is a master",
	    target->name);
	if (report->details == NULL)
		report->details = json_object();
	(void)json_object_set_new(report->details, "keys", json_integer((json_int_t)summary->keys));
	vec_push(&report->notes,
	    summary->unknown != NULL
		? xasprintf("the file was loaded; its keys could not be counted")
		: xasprintf("%" PRIu64 " keys in %zu databases%s, as in the file", summary->keys,
		      summary->databases.count,
		      is_point(order->request) ? " before the commands behind it" : ""));
	if (is_point(order->request))
		point_tell(&order->replay, order->request, &order->policy, &order->base,
		    &order->writer, report);
	else
		point_tell_times(&order->policy, &order->base, report);
	vec_push(&report->notes,
	    xstrdup(target->has_aof ? "it has written its AOF anew"
				    : "its RDB file holds the data"));
	if (target->replicas > 0)
		vec_push(&report->notes,
		    xasprintf("its %" PRIu64 " replicas take the data over by themselves",
			target->replicas));
	if (order->request->keeper != NULL && order->request->keeper->id != NULL)
		vec_push(&report->notes,
		    xasprintf(
			"what was there before is kept: 'blackstart restore %s --to %s --confirm=%s' brings it back",
			order->request->keeper->id, order->request->to, target->name));
	vec_push(&report->notes,
	    xstrdup("users and settings are not part of it: see the backup's settings.json"));
	report->next = xasprintf("redis-cli -u redis://%s INFO keyspace", target->name);
}

int
master_restore(struct redis *redis, const struct backup_view *view,
    const struct restore_request *request, struct restore_report *report, struct err *err)
{
	SCOPED(order_done)
	struct order order = {
		.view = view,
		.request = request,
		.file = redis_content_file(view->manifest, err),
	};

	if (order.file == NULL || examine(&order, err) < 0 ||
	    look(&order, redis, report, err) < 0 || keep(&order, err) < 0)
		return err_wrap(err, "the server was not touched");
	if (carry_out(&order, err) < 0) {
		handover_back_out(&order.handover, err);
		return -1;
	}
	tell(&order, report);

	return 0;
}
