#include "source/redis/ready.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "os/stop.h"
#include "source/redis/redis_internal.h"

enum {
	REPLICAS_MAX = 32,
	FIELD_BYTES = 32,
	HOST_BYTES = 256,
	LAG_MAX_S = 10, /* a replica tells its master each second where it is */
};
#define PAUSE_FIRST_US (200 * US_PER_MS)
#define PAUSE_MAX_US (10 * US_PER_S)

int
redis_pause(int64_t pause_us, struct err *err)
{
	struct pollfd stop = { .fd = stop_fd(), .events = POLLIN };

	(void)poll(&stop, stop.fd >= 0 ? 1 : 0, (int)(pause_us / US_PER_MS));

	return stop_check(err);
}

/* ---- ready -------------------------------------------------------------------------------------- */

/* What stands against a copy; NULL: nothing.  A const text. */
static const char *
obstacle(const struct str *info)
{
	SCOPED(freep) char *link = redis_info_get(info, "master_link_status");

	if (redis_info_number(info, "loading") != 0 ||
	    redis_info_number(info, "async_loading") != 0)
		return "it is loading its data";
	if (link != NULL && !str_equals(link, "up"))
		return "it is a replica that is out of touch with its master";
	if (redis_info_number(info, "rdb_bgsave_in_progress") != 0)
		return "it is writing another copy of its data (BGSAVE)";
	if (redis_info_number(info, "aof_rewrite_in_progress") != 0)
		return "it is rewriting its AOF";

	return NULL;
}

/* 1: ready, 0: not yet, with the reason in err. */
static int
look(const struct redis *redis, bool is_for_copy, struct redis_conn **ret_conn,
    struct str *ret_info, struct err *err)
{
	SCOPED(redis_conn_freep) struct redis_conn *conn = redis_conn_open(redis, err);
	const char *why;

	str_cut(ret_info, 0);
	if (conn == NULL || redis_info(conn, ret_info, err) < 0)
		return err->kind == ERR_BUSY ? 0 : -1;
	why = is_for_copy ? obstacle(ret_info) : NULL;
	if (why != NULL) {
		(void)err_set(err, ERR_BUSY, "the server cannot give a copy of its data now: %s",
		    why);
		return 0;
	}
	*ret_conn = TAKE(conn);

	return 1;
}

static int
await(const struct redis *redis, bool is_for_copy, int64_t wait_us, struct progress *progress,
    struct redis_conn **ret_conn, struct str *ret_info, struct err *err)
{
	struct mono_time began = clock_mono();
	int64_t pause_us = PAUSE_FIRST_US;
	bool was_told = false;

	for (;;) {
		struct err why = ERR_INIT;
		int result = look(redis, is_for_copy, ret_conn, ret_info, &why);

		if (result > 0)
			return 0;
		if (result < 0 || clock_elapsed_us(began) + pause_us > wait_us) {
			*err = why;
			if (result == 0)
				(void)err_hint(err,
				    "Try again later, or let it wait longer: 'wait' of the source in the configuration.");
			return -1;
		}
		if (!was_told)
			log_info("%s, waiting", why.msg);
		was_told = true;
		progress_phase(progress, "waiting for the server", 0);
		if (redis_pause(pause_us, err) < 0)
			return -1;
		pause_us = pause_us * 2 < PAUSE_MAX_US ? pause_us * 2 : PAUSE_MAX_US;
	}
}

int
redis_await_ready(const struct redis *redis, int64_t wait_us, struct progress *progress,
    struct redis_conn **ret_conn, struct str *ret_info, struct err *err)
{
	return await(redis, true, wait_us, progress, ret_conn, ret_info, err);
}

int
redis_await_answer(const struct redis *redis, int64_t wait_us, struct redis_conn **ret_conn,
    struct str *ret_info, struct err *err)
{
	return await(redis, false, wait_us, NULL, ret_conn, ret_info, err);
}

/* ---- allowed -------------------------------------------------------------------------------- */

/*
 * A PSYNC that is obeyed makes the server fork.  One that arrives while an answer is still owed to
 * us is refused (syncCommand, "invalid with pending output"), but only after everything else that
 * could be refused: the command's name, the right to it, the link to its own master.  So a PING
 * goes in front of it in the same packet.
 */
int
redis_may_copy(const struct redis *redis, struct err *err)
{
	static const char pending[] = "invalid with pending output";
	SCOPED(str_done) struct str text = STR_INIT;
	struct resp_value value;

	SCOPED(redis_conn_freep) struct redis_conn *conn = redis_conn_open(redis, err);
	if (conn == NULL ||
	    redis_execute(conn, (const char *const[]){ "REPLCONF", "capa", "eof", NULL }, err) < 0)
		return -1;
	resp_add_command(&text, (const char *const[]){ "PING", NULL });
	resp_add_command(&text, (const char *const[]){ "PSYNC", "?", "-1", NULL });
	if (redis_say_text(conn, &text, err) < 0 || redis_answer(conn, &value, err) < 0)
		return err_wrap(err, "PING");
	resp_value_done(&value);
	if (redis_answer(conn, &value, err) < 0) {
		/* Obeyed all the same, in the way of a replica: the right is there. */
		if (strstr(err->msg, pending) != NULL || err->kind == ERR_DATA)
			return 0;
		return err_wrap(err, "PSYNC");
	}
	resp_value_done(&value);

	return 0;
}

/* ---- which --------------------------------------------------------------------------------------- */

/* A line of INFO: "slave0:ip=10.0.0.7,port=6379,state=online,offset=1234,lag=0". */
struct replica {
	char host[HOST_BYTES];
	unsigned port;
	uint64_t offset;
	bool is_tried;
};

static bool
parse_replica(const char *text, struct replica *replica)
{
	char state[FIELD_BYTES];
	unsigned lag;

	return sscanf(text, "ip=%255[^,],port=%u,state=%31[^,],offset=%" SCNu64 ",lag=%u",
		   replica->host, &replica->port, state, &replica->offset, &lag) == 5 &&
	    str_equals(state, "online") && lag <= LAG_MAX_S && replica->port > 0;
}

static size_t
list_replicas(const struct str *info, struct replica *replicas)
{
	uint64_t all = redis_info_number(info, "connected_slaves");
	size_t count = 0;

	for (unsigned i = 0; i < all && i < REPLICAS_MAX; i++) {
		char field[FIELD_BYTES];

		(void)snprintf(field, sizeof(field), "slave%u", i);
		SCOPED(freep) char *text = redis_info_get(info, field);
		replicas[count] = (struct replica){ .port = 0 };
		if (text != NULL && parse_replica(text, &replicas[count]))
			count++;
	}

	return count;
}

/* The same value in both. */
static bool
has_same(const struct str *info, const struct str *other, const char *field)
{
	SCOPED(freep) char *here = redis_info_get(info, field);
	SCOPED(freep) char *there = redis_info_get(other, field);

	return here != NULL && str_equals(here, there);
}

/* Let in, ready, and of the same history: another server could have taken its address. */
static bool
is_fit(const struct redis *replica, const struct str *info, char **ret_why)
{
	SCOPED(redis_conn_freep) struct redis_conn *conn = NULL;
	SCOPED(str_done) struct str there = STR_INIT;
	struct err err = ERR_INIT;

	if (redis_await_ready(replica, 0, NULL, &conn, &there, &err) < 0)
		*ret_why = xstrdup(err.msg);
	else if (!has_same(info, &there, "master_replid"))
		*ret_why = xstrdup("it has another replication id");
	else if (!has_same(info, &there, "redis_version"))
		*ret_why = xstrdup("it is of another version");
	else if (redis_may_copy(replica, &err) < 0)
		*ret_why = xstrdup(err.msg);
	else
		return true;

	return false;
}

static struct replica *
least_behind(struct replica *replicas, size_t count)
{
	struct replica *best = NULL;

	for (size_t i = 0; i < count; i++) {
		if (!replicas[i].is_tried && (best == NULL || replicas[i].offset > best->offset))
			best = &replicas[i];
	}

	return best;
}

void
redis_choose_source(struct redis *redis, const struct str *info, struct redis_choice *ret_choice)
{
	struct replica replicas[REPLICAS_MAX];
	size_t count = list_replicas(info, replicas);
	struct redis at = *redis;
	struct replica *next;

	*ret_choice = (struct redis_choice){ .at = redis };
	while ((next = least_behind(replicas, count)) != NULL) {
		SCOPED(freep) char *why = NULL;

		next->is_tried = true;
		at.host = next->host;
		at.port = next->port;
		if (is_fit(&at, info, &why)) {
			ret_choice->host = xstrdup(next->host);
			ret_choice->place = xasprintf("%s:%u", next->host, next->port);
			ret_choice->replica = xcalloc(1, sizeof(at));
			*ret_choice->replica = at;
			ret_choice->replica->host = ret_choice->host;
			ret_choice->at = ret_choice->replica;
			return;
		}
		free(ret_choice->why);
		ret_choice->why = xasprintf("replica %s:%u is not taken: %s", next->host,
		    next->port, why);
		log_debug("%s", ret_choice->why);
	}
}

void
redis_choice_done(struct redis_choice *choice)
{
	free(choice->replica);
	free(choice->host);
	free(choice->place);
	free(choice->why);
}
