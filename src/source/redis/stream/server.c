/* What the receiver asks the server beside the stream. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "source/redis/stream/follow_internal.h"

enum { CLOCK_PROBES = 5, BACKLOG_WARN_PERCENT = 50 };
#define LOOK_EVERY_US (60 * US_PER_S)
#define CLOCK_WARN_US (2 * US_PER_S)

bool
following_can_go_on(const struct following *following, const struct str *info, char **ret_reason)
{
	const struct branch *branch = branches_find(&following->branches, following->branch);
	SCOPED(freep) char *id = redis_info_get(info, "master_replid");
	SCOPED(freep) char *second = redis_info_get(info, "master_replid2");
	uint64_t next = following->offset + 1;
	uint64_t first = redis_info_number(info, "repl_backlog_first_byte_offset");
	uint64_t length = redis_info_number(info, "repl_backlog_histlen");
	uint64_t second_until = redis_info_number(info, "second_repl_offset");
	bool is_first = branch != NULL && str_equals(branch->replid, id);
	bool is_second = branch != NULL && str_equals(branch->replid, second);

	if (!is_first && !is_second)
		*ret_reason = xasprintf(
		    "the server's replication id is another: it was restarted, or is another server");
	else if (!is_first && next > second_until)
		*ret_reason = xasprintf("the server was promoted at offset %" PRIu64
					", and we are ahead of it",
		    second_until > 0 ? second_until - 1 : 0);
	else if (redis_info_number(info, "repl_backlog_active") == 0)
		*ret_reason = xstrdup("the server has given up its backlog (repl-backlog-ttl)");
	else if (next < first)
		*ret_reason = xasprintf("the server's backlog begins %" PRIu64
					" bytes later: raise repl-backlog-size",
		    first - next);
	else if (next > first + length)
		*ret_reason = xasprintf("the server has less of the stream than we");
	else
		return true;

	return false;
}

/* The server's clock less ours, from the probe that took least time. */
static int
measure_clock(struct redis_conn *conn, int64_t *ret_skew_us, struct err *err)
{
	int64_t best_us = INT64_MAX;

	for (int i = 0; i < CLOCK_PROBES; i++) {
		struct wall_time before = clock_wall();
		struct resp_value value;
		uint64_t seconds;
		uint64_t micros;
		int64_t took_us;
		int result;

		if (redis_command(conn, (const char *const[]){ "TIME", NULL }, &value, err) < 0)
			return -1;
		took_us = clock_wall().us - before.us;
		result = value.count == 2 && value.items[0].text != NULL &&
			value.items[1].text != NULL
		    ? parse_u64(value.items[0].text, 0, INT32_MAX, &seconds, err)
		    : err_set(err, ERR_DATA, "TIME: this is no time");
		if (result == 0)
			result = parse_u64(value.items[1].text, 0, US_PER_S, &micros, err);
		resp_value_done(&value);
		if (result < 0)
			return -1;
		if (took_us >= best_us)
			continue;
		best_us = took_us;
		*ret_skew_us = (int64_t)seconds * US_PER_S + (int64_t)micros - before.us -
		    took_us / 2;
	}

	return 0;
}

static void
look_at_clock(struct redis_conn *conn)
{
	struct err why = ERR_INIT;
	char text[CLOCK_TEXT_SIZE];
	int64_t skew_us = 0;

	if (measure_clock(conn, &skew_us, &why) < 0) {
		log_debug("the server's clock is not known: %s", why.msg);
		return;
	}
	log_debug("the server's clock is %lld us ahead of ours", (long long)skew_us);
	if (skew_us > CLOCK_WARN_US || skew_us < -CLOCK_WARN_US)
		log_warning(
		    "the server's clock is %s %s ours: the stream is kept by our clock, name times by it",
		    clock_format_duration(skew_us > 0 ? skew_us : -skew_us, text),
		    skew_us > 0 ? "ahead of" : "behind");
}

void
following_look_at_settings(struct following *following, struct redis_conn *conn)
{
	struct err why = ERR_INIT;
	SCOPED(freep) char *least = NULL;

	look_at_clock(conn);
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
	size = redis_info_number(&info, "repl_backlog_size");
	at = redis_info_number(&info, "master_repl_offset");
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
