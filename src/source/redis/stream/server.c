/* What the receiver asks the server beside the stream. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "source/redis/stream/follow_internal.h"

enum { BACKLOG_WARN_PERCENT = 50, PINGS_MISSED_MAX = 6, SILENCE_MIN_S = 20 };
#define SILENCE_US (60 * US_PER_S)
#define LOOK_EVERY_US (60 * US_PER_S)
#define CLOCK_WARN_US (2 * US_PER_S)

/* The two histories that a server knows: its own, and up to a point the one it comes from. */
struct histories {
	bool is_first; /* ours is its own */
	bool is_second;
	uint64_t second_until; /* the first offset that is its own alone */
	uint64_t backlog_first;
	uint64_t backlog_bytes;
	bool has_backlog;
};

static struct histories
read_histories(const struct branch *branch, const struct str *info)
{
	SCOPED(freep) char *id = redis_info_get(info, "master_replid");
	SCOPED(freep) char *second = redis_info_get(info, "master_replid2");

	return (struct histories){
		.is_first = str_equals(branch->replid, id),
		.is_second = str_equals(branch->replid, second),
		.second_until = redis_info_number(info, "second_repl_offset"),
		.backlog_first = redis_info_number(info, "repl_backlog_first_byte_offset"),
		.backlog_bytes = redis_info_number(info, "repl_backlog_histlen"),
		.has_backlog = redis_info_number(info, "repl_backlog_active") != 0,
	};
}

/* NULL: it is there; or why not, yours. */
static char *
why_not(const struct histories *at, uint64_t next)
{
	if (!at->has_backlog)
		return xstrdup("the server has given up its backlog (repl-backlog-ttl)");
	if (next < at->backlog_first)
		return xasprintf("the server's backlog begins %" PRIu64
				 " bytes later: raise repl-backlog-size",
		    at->backlog_first - next);
	if (next > at->backlog_first + at->backlog_bytes)
		return xstrdup("the server has less of the stream than we");

	return NULL;
}

bool
following_can_go_on(const struct following *following, const struct str *info, uint64_t *ret_offset,
    char **ret_reason)
{
	const struct branch *branch = branches_find(&following->branches, following->branch);
	uint64_t offset = following->offset;
	struct histories at;

	if (branch == NULL) {
		*ret_reason = xstrdup("nothing was received yet");
		return false;
	}
	at = read_histories(branch, info);
	if (!at.is_first && !at.is_second) {
		*ret_reason = xstrdup(
		    "the server's replication id is another: it was restarted, or is another server");
		return false;
	}
	if (!at.is_first && offset >= at.second_until) {
		offset = at.second_until > 0 ? at.second_until - 1 : 0;
		if (offset < branch->from) {
			*ret_reason = xasprintf("the server was promoted at offset %" PRIu64
						", before all that we have",
			    offset);
			return false;
		}
	}
	*ret_reason = why_not(&at, offset + 1);
	*ret_offset = offset;

	return *ret_reason == NULL;
}

/* Times are the server's: those of the plant. */
static void
look_at_clock(struct following *following, struct redis_conn *conn)
{
	struct err why = ERR_INIT;
	char text[CLOCK_TEXT_SIZE];
	int64_t before_us = following->tail.skew_us;
	int64_t skew_us = 0;

	if (redis_clock_skew(conn, &skew_us, &why) < 0) {
		log_debug("the server's clock is taken to be ours: %s", why.msg);
		return;
	}
	following->tail.skew_us = skew_us;
	if (llabs(skew_us - before_us) <= CLOCK_WARN_US)
		return;
	log_warning("the server's clock is %s %s ours: times of the stream are the server's",
	    clock_format_duration(llabs(skew_us), text), skew_us > 0 ? "ahead of" : "behind");
}

/* A master says something each such period; a replica hands that on, and may have another. */
static int64_t
silence_us(struct redis_conn *conn)
{
	struct err why = ERR_INIT;
	SCOPED(freep) char *period = redis_setting(conn, "repl-ping-replica-period", &why);
	uint64_t seconds;

	if (period == NULL || parse_u64(period, 1, INT32_MAX, &seconds, &why) < 0)
		return SILENCE_US;
	seconds *= PINGS_MISSED_MAX;

	return seconds < SILENCE_MIN_S ? SILENCE_MIN_S * US_PER_S : (int64_t)seconds * US_PER_S;
}

void
following_look_at_settings(struct following *following, struct redis_conn *conn)
{
	struct err why = ERR_INIT;
	SCOPED(freep) char *least = NULL;

	look_at_clock(following, conn);
	following->silence_us = silence_us(conn);
	least = redis_setting(conn, "min-replicas-to-write", &why);
	if (least != NULL && least[0] != '\0' && !str_equals(least, "0"))
		log_warning(
		    "redis '%s' wants %s replicas to write (min-replicas-to-write), and takes us for one: we are none that holds its data",
		    following->redis->label, least);
}

void
following_look_at_backlog(struct following *following)
{
	SCOPED(str_done) struct str info = STR_INIT;
	struct err why = ERR_INIT;
	uint64_t size;
	uint64_t at;

	if (clock_elapsed_us(following->looked_at) < LOOK_EVERY_US)
		return;
	following->looked_at = clock_mono();
	SCOPED(redis_conn_freep)
	struct redis_conn *conn = redis_conn_open(following->redis, &why);
	if (conn == NULL || redis_info(conn, &info, &why) < 0)
		return;
	look_at_clock(following, conn);
	size = redis_info_number(&info, "repl_backlog_size");
	at = redis_info_number(&info, "master_repl_offset");
	following->server_offset = at;
	if (at <= following->offset ||
	    (at - following->offset) * 100 <= size * BACKLOG_WARN_PERCENT) {
		following->was_backlog_warned = false;
		return;
	}
	if (!following->was_backlog_warned)
		log_warning("we are %" PRIu64 " bytes behind redis '%s', whose backlog has %" PRIu64
			    ": when the link is cut now, a new full copy may be needed",
		    at - following->offset, following->redis->label, size);
	following->was_backlog_warned = true;
}
