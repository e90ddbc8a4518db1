#include "source/redis/stream/follow.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/link.h"
#include "base/log.h"
#include "base/mem.h"
#include "os/file.h"
#include "os/lockfile.h"
#include "os/stop.h"
#include "source/archive.h"
#include "source/outage.h"
#include "source/redis/stream/follow_internal.h"
#include "source/redis/stream/fork.h"
#include "source/redis/stream/pack.h"
#include "source/source.h"

#define LOCK_NAME ".receiver.lock"

enum {
	SYNC_MS = 500,  /* everything is durable as often: twice, since a sync takes its time */
	TICK_MS = 1000, /* and the link is kept alive */
	PAUSE_STEP_MS = 500,
};
#define COPY_EVERY_US (10 * 60 * US_PER_S)
#define RETRY_FIRST_US US_PER_S

/* ---- the stream --------------------------------------------------------------------------------- */

/* Frozen at 0 for ever: see follow.h.  It also makes the server begin, once its child is gone. */
static int
acknowledge(struct following *following, struct err *err)
{
	following->acked_at = clock_mono();

	return redis_say(following->conn, (const char *const[]){ "REPLCONF", "ACK", "0", NULL },
	    err);
}

static int
make_durable(struct following *following, struct err *err)
{
	uint64_t before = following->tail.synced;

	following->synced_at = clock_mono();
	if (tail_sync(&following->tail, err) < 0)
		return -1;
	if (following->tail.synced == before)
		return following_roll(following, err);
	/* The last full copy was not in vain: the stream behind it lives. */
	following->has_copied = false;
	following->kept_branch = following->branch;
	following->kept_offset = following->tail.synced;
	log_debug("durable up to offset %" PRIu64 " of timeline %" PRIu32, following->tail.synced,
	    following->branch);

	return following_roll(following, err);
}

/* The server's end is asked for now and then; what came since is behind it. */
static void
tell_place(const struct following *following)
{
	uint64_t end = following->server_offset > following->offset ? following->server_offset
								    : following->offset;

	link_moved(following->request->link, following->tail.synced, end, clock_wall());
}

/* Once a second. */
static int
tick(struct following *following, struct err *err)
{
	if (acknowledge(following, err) < 0)
		return -1;
	following_look_at_backlog(following);
	tell_place(following);
	following->request->bases->tick(following->request->bases);

	return 0;
}

static int64_t
left_ms(struct mono_time since, int64_t period_ms)
{
	int64_t left = period_ms - clock_elapsed_us(since) / US_PER_MS;

	return left > 0 ? left : 0;
}

/* What is due by the clock, whether anything comes or not. */
static int
do_what_is_due(struct following *following, struct err *err)
{
	if (left_ms(following->synced_at, SYNC_MS) == 0 && make_durable(following, err) < 0)
		return -1;

	return left_ms(following->acked_at, TICK_MS) == 0 ? tick(following, err) : 0;
}

static int
wait_ms(const struct following *following)
{
	int64_t sync_ms = left_ms(following->synced_at, SYNC_MS);
	int64_t tick_ms = left_ms(following->acked_at, TICK_MS);
	int64_t least_ms = sync_ms < tick_ms ? sync_ms : tick_ms;

	return least_ms > 0 ? (int)least_ms : 1;
}

static int
add(struct following *following, const void *data, size_t size, struct err *err)
{
	const uint8_t *bytes = data;
	struct wall_time now = { clock_wall().us + following->tail.skew_us };

	following->has_received = true;
	following->heard_at = now;
	for (size_t at = 0; at < size;) {
		size_t used;

		if (tail_add(&following->tail, bytes + at, size - at, now, &used, err) < 0)
			return -1;
		at += used;
		following->offset = tail_offset(&following->tail);
		following->db = following->tail.reader.scan.db;
		if (following_roll(following, err) < 0)
			return -1;
	}

	return 0;
}

/* 1: something came, 0: nothing for a while. */
static int
hear(struct following *following, int timeout_ms, struct err *err)
{
	const void *data;
	size_t size;

	if (redis_hear(following->conn, timeout_ms, &data, &size, err) < 0) {
		if (err->kind != ERR_TIMEOUT)
			return -1;
		err_clear(err);
		return 0;
	}
	if (size == 0)
		return err_set(err, ERR_NET, "the server ended the connection");

	return add(following, data, size, err) == 0 ? 1 : -1;
}

static int
stream_on(struct following *following, struct err *err)
{
	struct mono_time heard = clock_mono();

	following->synced_at = clock_mono();
	if (acknowledge(following, err) < 0)
		return -1;
	while (!stop_is_requested()) {
		int got = hear(following, wait_ms(following), err);

		if (got < 0)
			return -1;
		if (got > 0)
			heard = clock_mono();
		if (do_what_is_due(following, err) < 0)
			return -1;
		if (clock_elapsed_us(heard) > following->silence_us)
			return err_set(err, ERR_TIMEOUT, "the server has said nothing for %d s",
			    (int)(following->silence_us / US_PER_S));
		if (following->request->stop_position != 0 &&
		    following->tail.synced >= following->request->stop_position)
			return 0;
	}

	return 0;
}

/* ---- attaching ---------------------------------------------------------------------------------- */

/* The copy that comes first is stored as a backup of its own, and the stream begins behind it. */
static int
take_copy(struct following *following, const struct replication_answer *answer,
    const struct str *info, struct err *err)
{
	struct base_taker *bases = following->request->bases;
	struct redis_attachment attached = { .conn = following->conn, .answer = *answer };

	link_copying(following->request->link, clock_wall());
	following->has_copied = true;
	following->copied_at = clock_mono();
	following->next_copy_at.us = clock_wall().us + COPY_EVERY_US;
	if (following_note_loss(following, &answer->place, info, err) < 0 ||
	    bases->take(bases, "rdb", &attached, err) < 0 ||
	    following_start_anew(following, &answer->place, info, err) < 0)
		return -1;
	following->db = attached.stream_db;

	return 0;
}

/*
 * Each full copy costs the server a fork: no more than one in ten minutes by trying again.  One
 * that the stream went on behind is no try.
 */
static int
may_copy(const struct following *following, const char *reason, struct err *err)
{
	char at[CLOCK_TEXT_SIZE];

	if (!following->has_copied || clock_elapsed_us(following->copied_at) >= COPY_EVERY_US)
		return 0;

	return err_set(err, ERR_BUSY,
	    "the stream cannot go on (%s), and the last full copy was in vain: the next is asked for at %s, since each costs the server a fork",
	    reason, clock_format(following->next_copy_at, at));
}

/*
 * The place to ask for.  False: there is none, all data is wanted; with *ret_reason, yours.  Where a
 * server that lagged was promoted, it must be one that a piece can begin at.
 */
static bool
find_place(const struct following *following, const struct str *info,
    struct replication_place *ret_place, char **ret_reason)
{
	const struct branch *branch = branches_find(&following->branches, following->branch);
	struct err why = ERR_INIT;
	bool is_boundary = true;
	unsigned db;

	if (!following_can_go_on(following, info, &ret_place->offset, ret_reason))
		return false;
	(void)memcpy(ret_place->id, branch->replid, sizeof(ret_place->id));
	if (ret_place->offset < following->offset &&
	    fork_look(following->archive, branch->number, ret_place->offset, &is_boundary, &db,
		&why) < 0)
		is_boundary = false;
	if (!is_boundary)
		*ret_reason = xasprintf("the server was promoted at offset %" PRIu64
					", which is in the middle of what we have: %s",
		    ret_place->offset, why.kind != ERR_NONE ? why.msg : "no command ends there");

	return is_boundary;
}

static int
attach(struct following *following, const char *family, const char *version, const struct str *info,
    struct err *err)
{
	const struct introduction introduction = { .family = family, .version = version };
	struct replication_place place;
	struct replication_answer answer;
	SCOPED(freep) char *reason = NULL;
	bool can_go_on = find_place(following, info, &place, &reason);

	if ((!can_go_on && may_copy(following, reason, err) < 0) ||
	    redis_introduce(following->conn, &introduction, err) < 0 ||
	    redis_ask_stream(following->conn, can_go_on ? &place : NULL, &answer, err) < 0)
		return -1;
	if (answer.is_full)
		return take_copy(following, &answer, info, err);
	if (str_equals(answer.place.id, place.id) && place.offset == following->offset)
		return 0;

	return following_branch_off(following, &answer.place, err);
}

/* One connection, from its beginning to its end. */
static int
converse(struct following *following, struct err *err)
{
	SCOPED(str_done) struct str info = STR_INIT;
	const char *family;

	if (redis_info(following->conn, &info, err) < 0)
		return -1;
	SCOPED(freep) char *version = redis_info_version(&info, &family);
	if (redis_info_number(&info, "loading") != 0)
		return err_set(err, ERR_BUSY, "the server is loading its data");
	following_look_at_settings(following, following->conn);
	if (attach(following, family, version, &info, err) < 0 ||
	    following_open_tail(following, err) < 0)
		return -1;
	following->tail.down_since = following->heard_at;
	log_info("receiving the stream of redis '%s' from offset %" PRIu64 " on timeline %" PRIu32,
	    following->redis->label, following->offset, following->branch);

	return stream_on(following, err);
}

static int
connect_once(struct following *following, struct err *err)
{
	struct err ignored = ERR_INIT;
	int result;

	following->has_received = false;
	following->server_offset = 0;
	following->conn = redis_conn_open(following->redis, err);
	if (following->conn == NULL)
		return -1;
	result = converse(following, err);
	redis_conn_free(TAKE(following->conn));
	/* What has arrived is kept, however it ended; a command that is half comes again. */
	if (result < 0)
		(void)!tail_close(&following->tail, &ignored);
	else
		result = tail_close(&following->tail, err);

	return result;
}

/* ---- for ever ----------------------------------------------------------------------------------- */

static bool
is_final(enum err_kind kind)
{
	return kind == ERR_REFUSED || kind == ERR_UNSUPPORTED || kind == ERR_CONFIG ||
	    kind == ERR_USAGE || kind == ERR_BUG;
}

/* 1 s at first, in the end 5 minutes: a server that is back is soon attached to again. */
static void
pause_before_retry(const struct following *following, unsigned attempts, const struct err *failure)
{
	static const int64_t factors[] = { 1, 2, 5, 10, 30, 60, 300 };
	size_t index = attempts < ARRAY_SIZE(factors) ? attempts : ARRAY_SIZE(factors) - 1;
	int64_t pause_us = RETRY_FIRST_US * factors[index];
	struct mono_time began = clock_mono();
	struct wall_time now = clock_wall();

	link_waits(following->request->link, failure->msg, (struct wall_time){ now.us + pause_us },
	    now);
	while (!stop_is_requested() && clock_elapsed_us(began) < pause_us) {
		struct pollfd fd = { .fd = stop_fd(), .events = POLLIN };
		int64_t left_ms = (pause_us - clock_elapsed_us(began)) / US_PER_MS + 1;

		(void)poll(&fd, 1, left_ms < PAUSE_STEP_MS ? (int)left_ms : PAUSE_STEP_MS);
	}
}

static int
follow_for_ever(struct following *following, struct err *err)
{
	struct outage outage = { .attempts = 0 };

	link_connecting(following->request->link, clock_wall());
	for (;;) {
		int result = following_find_place(following, err);

		if (result == 0)
			result = connect_once(following, err);
		if (stop_is_requested() || (result == 0 && following->request->stop_position != 0))
			return 0;
		if (result == 0 && following->request->is_once)
			return 0;
		if (result < 0 && (is_final(err->kind) || following->request->is_once))
			return err_wrap(err, "receiving the stream of '%s'",
			    following->archive->label);
		outage.attempts = following->has_received ? 0 : outage.attempts;
		outage_tell(&outage, err);
		pause_before_retry(following, outage.attempts++, err);
		err_clear(err);
	}
}

static int
take_lock(struct archive *archive, const char *run_id, int *ret_fd, struct err *err)
{
	SCOPED(freep) char *lock = path_join(archive->path, LOCK_NAME);

	if (lockfile_take(lock, run_id, ret_fd, err) == 0)
		return 0;
	if (err->kind != ERR_BUSY)
		return -1;
	(void)err_wrap(err, "the stream is received into '%s' already", archive->path);

	return err_hint(err,
	    "One receiver for each source: 'blackstart status' shows the running one.");
}

int
redis_follow(struct redis *redis, const struct follow_request *request, struct archive *archive,
    struct err *err)
{
	struct following following = {
		.redis = redis,
		.request = request,
		.archive = archive,
		.looked_at = clock_mono(),
	};
	SCOPED(closep) int lock_fd = -1;
	int result;

	if (take_lock(archive, request->run_id, &lock_fd, err) < 0 ||
	    pack_settle_tails(archive, err) < 0)
		return -1;
	tail_init(&following.tail, archive);
	result = follow_for_ever(&following, err);
	if (result == 0)
		log_info("the stream is durable up to offset %" PRIu64 " of timeline %" PRIu32,
		    following.tail.synced, following.branch);
	tail_done(&following.tail);
	branches_done(&following.branches);

	return result;
}
