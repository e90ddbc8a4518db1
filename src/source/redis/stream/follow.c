#include "source/redis/stream/follow.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "os/file.h"
#include "os/lockfile.h"
#include "os/stop.h"
#include "source/archive.h"
#include "source/redis/stream/follow_internal.h"
#include "source/redis/stream/pack.h"
#include "source/source.h"

#define LOCK_NAME ".receiver.lock"

enum {
	TICK_MS = 1000, /* everything is durable and the link kept alive as often */
	/* A master says something at least each repl-ping-replica-period, 10 s. */
	SILENCE_MS = 60 * 1000,
	PAUSE_STEP_MS = 500,
};
#define COPY_EVERY_US (10 * 60 * US_PER_S)
#define FAILURE_EVERY_US (10 * 60 * US_PER_S)
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

/* Once a second. */
static int
tick(struct following *following, struct err *err)
{
	if (tail_sync(&following->tail, err) < 0 || acknowledge(following, err) < 0)
		return -1;
	following->heard_at = clock_wall();
	following_look_at_backlog(following);

	return following_roll(following, err);
}

static int
add(struct following *following, const void *data, size_t size, struct err *err)
{
	const uint8_t *bytes = data;
	struct wall_time now = clock_wall();

	following->has_received = true;
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

	if (acknowledge(following, err) < 0)
		return -1;
	while (!stop_is_requested()) {
		int64_t left_ms = TICK_MS - clock_elapsed_us(following->acked_at) / US_PER_MS;
		int got = hear(following, left_ms > 0 ? (int)left_ms : 1, err);

		if (got < 0)
			return -1;
		if (got > 0)
			heard = clock_mono();
		if (clock_elapsed_us(following->acked_at) >= TICK_MS * US_PER_MS &&
		    tick(following, err) < 0)
			return -1;
		if (clock_elapsed_us(heard) > SILENCE_MS * US_PER_MS)
			return err_set(err, ERR_TIMEOUT, "the server has said nothing for %d s",
			    SILENCE_MS / 1000);
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

	following->has_copied = true;
	following->copied_at = clock_mono();
	if (following_start_anew(following, &answer->place, info, err) < 0 ||
	    bases->take(bases, "rdb", &attached, err) < 0)
		return -1;
	following->db = attached.stream_db;

	return 0;
}

/* Each full copy costs the server a fork: no more than one in ten minutes by trying again. */
static int
may_copy(const struct following *following, const char *reason, struct err *err)
{
	char left[CLOCK_TEXT_SIZE];
	int64_t waited_us = clock_elapsed_us(following->copied_at);

	if (!following->has_copied || waited_us >= COPY_EVERY_US)
		return 0;

	return err_set(err, ERR_BUSY,
	    "the stream cannot go on (%s), and the last full copy is not long ago: the next is asked for in %s, since each costs the server a fork",
	    reason, clock_format_duration(COPY_EVERY_US - waited_us, left));
}

static int
attach(struct following *following, const char *family, const char *version, const struct str *info,
    struct err *err)
{
	struct replication_place place = { .offset = following->offset };
	struct replication_answer answer;
	SCOPED(freep) char *reason = NULL;
	const struct branch *branch = branches_find(&following->branches, following->branch);
	bool can_go_on = branch != NULL && following_can_go_on(following, info, &reason);

	if (!can_go_on &&
	    may_copy(following, reason != NULL ? reason : "nothing was received yet", err) < 0)
		return -1;
	if (branch != NULL)
		(void)memcpy(place.id, branch->replid, sizeof(place.id));
	if (redis_introduce(following->conn, family, version, false, err) < 0 ||
	    redis_ask_stream(following->conn, branch != NULL ? &place : NULL, &answer, err) < 0)
		return -1;
	if (answer.is_full)
		return take_copy(following, &answer, info, err);
	if (!str_equals(answer.place.id, place.id))
		return following_branch_off(following, answer.place.id, err);

	return 0;
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
	log_info("receiving the stream of redis '%s' from offset %" PRIu64 " on branch %" PRIu32,
	    following->redis->label, following->offset, following->branch);

	return stream_on(following, err);
}

static int
connect_once(struct following *following, struct err *err)
{
	struct err ignored = ERR_INIT;
	int result;

	following->has_received = false;
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

/* What was told of failures, so that an outage of a day is not ten thousand lines. */
struct telling {
	char last[sizeof(((struct err *)NULL)->msg)];
	struct mono_time told;
	unsigned attempts; /* in a row */
};

static void
tell(struct telling *telling, const struct err *failure)
{
	bool is_new = strcmp(telling->last, failure->msg) != 0;

	if (!is_new && clock_elapsed_us(telling->told) < FAILURE_EVERY_US)
		return;
	log_warning("%s; trying again", failure->msg);
	if (failure->hint[0] != '\0')
		log_info("  hint: %s", failure->hint);
	memcpy(telling->last, failure->msg, sizeof(telling->last));
	telling->told = clock_mono();
}

static bool
is_final(enum err_kind kind)
{
	return kind == ERR_REFUSED || kind == ERR_UNSUPPORTED || kind == ERR_CONFIG ||
	    kind == ERR_USAGE || kind == ERR_BUG;
}

/* 1 s at first, in the end 5 minutes: a server that is back is soon attached to again. */
static void
pause_before_retry(unsigned attempts)
{
	static const int64_t factors[] = { 1, 2, 5, 10, 30, 60, 300 };
	size_t index = attempts < ARRAY_SIZE(factors) ? attempts : ARRAY_SIZE(factors) - 1;
	int64_t pause_us = RETRY_FIRST_US * factors[index];
	struct mono_time began = clock_mono();

	while (!stop_is_requested() && clock_elapsed_us(began) < pause_us) {
		struct pollfd fd = { .fd = stop_fd(), .events = POLLIN };
		int64_t left_ms = (pause_us - clock_elapsed_us(began)) / US_PER_MS + 1;

		(void)poll(&fd, 1, left_ms < PAUSE_STEP_MS ? (int)left_ms : PAUSE_STEP_MS);
	}
}

static int
follow_for_ever(struct following *following, struct err *err)
{
	struct telling telling = { .attempts = 0 };

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
		telling.attempts = following->has_received ? 0 : telling.attempts;
		tell(&telling, err);
		pause_before_retry(telling.attempts++);
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

	if (take_lock(archive, request->run_id, &lock_fd, err) < 0)
		return -1;
	tail_init(&following.tail, archive);
	result = follow_for_ever(&following, err);
	if (result == 0)
		log_info("the stream is durable up to offset %" PRIu64 " of branch %" PRIu32,
		    following.tail.synced, following.branch);
	tail_done(&following.tail);
	branches_done(&following.branches);

	return result;
}
