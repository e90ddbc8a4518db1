#include "source/redis/master/handover.h"

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
#include "net/listener.h"
#include "os/random.h"
#include "os/stop.h"
#include "source/redis/master/link.h"
#include "source/redis/redis_internal.h"
#include "stream/sink.h"

enum {
	CONNECT_MS = 60 * 1000, /* it tries each second */
	STEP_MS = 200,
	PING_US = 5 * US_PER_S,
	/* Neither a word from it nor a sign of work: its own limit (repl-timeout) is usually that. */
	IDLE_US = 60 * US_PER_S,
	BUSY_MS = 500, /* between two looks at what takes long */
	PORT_BYTES = 16,
};

void
handover_done(struct handover *handover)
{
	master_link_free(handover->link);
	listener_free(handover->listener);
	redis_conn_free(handover->conn);
	target_done(&handover->target);
	free(handover->token);
}

static const char *
own_address(const struct handover *handover)
{
	if (handover->listen != NULL)
		return handover->listen;

	return handover->target.own[0] != '\0' ? handover->target.own : "127.0.0.1";
}

static int
tell_role(struct handover *handover, const char *host, const char *port, struct err *err)
{
	return redis_execute(handover->conn, (const char *const[]){ "REPLICAOF", host, port, NULL },
	    err);
}

static int
become_master(struct handover *handover, const char *address, const char *port, struct err *err)
{
	SCOPED(str_done) struct str info = STR_INIT;

	if (tell_role(handover, address, port, err) < 0) {
		/* Unless it said no, it may have heard. */
		handover->is_replica = err->kind == ERR_NET || err->kind == ERR_TIMEOUT;
		handover->old_keys = handover->target.keys;
		if (err->kind != ERR_AUTH)
			return -1;
		return err_hint(err, "Give the user that right: ACL SETUSER NAME +replicaof.");
	}
	handover->is_replica = true;
	/* From here on nothing of it changes by itself: no client writes, nothing expires. */
	if (redis_info(handover->conn, &info, err) < 0)
		return -1;

	return redis_info_keys(&info, &handover->old_keys, err);
}

int
handover_begin(struct handover *handover, struct err *err)
{
	const struct listener_options options = {
		.address = own_address(handover),
		.cancel_fd = stop_fd(),
	};
	char port[PORT_BYTES];

	handover->token = target_token(&handover->target);
	random_hex(handover->id, REPLICATION_ID_SIZE - 1);
	handover->listener = listener_open(&options, err);
	if (handover->listener == NULL)
		return err_hint(err,
		    "Name an address of this machine that the server reaches: --listen ADDRESS.");
	handover->is_prepared = true;
	if (target_prepare(&handover->target, handover->conn, handover->token, handover->keeps_both,
		err) < 0)
		return -1;
	(void)snprintf(port, sizeof(port), "%u", listener_port(handover->listener));

	return become_master(handover, options.address, port, err);
}

int
handover_connect(struct handover *handover, struct sink **ret_sink, struct err *err)
{
	const struct redis *redis = handover->redis;
	const struct channel_options tls = {
		.security = redis->sslrootcert != NULL ? CHANNEL_TLS_SIGNED : CHANNEL_TLS,
		.ca_path = redis->sslrootcert,
		.cert_path = redis->sslcert,
		.key_path = redis->sslkey,
		.timeout_ms = CONNECT_MS,
	};
	const struct master_link_options options = {
		.token = handover->token,
		/* Who is told another address than its own is behind a translation of addresses. */
		.peer = handover->listen == NULL && handover->target.peer[0] != '\0'
		    ? handover->target.peer
		    : NULL,
		.id = handover->id,
		.tls = handover->target.wants_tls ? &tls : NULL,
		.timeout_ms = CONNECT_MS,
	};

	master_link_free(TAKE(handover->link));
	progress_phase(handover->progress, "waiting for the server to connect to us", 0);
	handover->link = master_link_accept(handover->listener, &options, err);
	if (handover->link == NULL && err->kind == ERR_TIMEOUT) {
		(void)err_set(err, ERR_TIMEOUT, "the server did not connect to us at %s:%u",
		    own_address(handover), listener_port(handover->listener));
		return err_hint(err,
		    "Open the way from it to this machine, or name an address of ours that it reaches: --listen ADDRESS.");
	}
	if (handover->link == NULL)
		return -1;
	*ret_sink = master_link_file_sink(handover->link, err);

	return *ret_sink != NULL ? 0 : -1;
}

/* ---- waiting ------------------------------------------------------------------------------------------- */

/* What the server says of itself now. */
static int
ask(struct handover *handover, struct str *info, struct err *err)
{
	str_cut(info, 0);

	return redis_info(handover->conn, info, err);
}

bool
handover_answers(struct handover *handover)
{
	SCOPED(str_done) struct str info = STR_INIT;
	struct err ignored = ERR_INIT;

	return ask(handover, &info, &ignored) == 0;
}

static bool
is_busy(const struct str *info)
{
	return redis_info_number(info, "loading") != 0 ||
	    redis_info_number(info, "async_loading") != 0 ||
	    redis_info_number(info, "master_sync_in_progress") != 0;
}

int
handover_await_loaded(struct handover *handover, struct err *err)
{
	SCOPED(str_done) struct str info = STR_INIT;
	struct mono_time worked = clock_mono();

	progress_phase(handover->progress, "loading", 0);
	while (!master_link_is_loaded(handover->link)) {
		if (stop_check(err) < 0 || ask(handover, &info, err) < 0)
			return -1;
		if (is_busy(&info))
			worked = clock_mono();
		progress_set(handover->progress, redis_info_number(&info, "loading_loaded_bytes"));
		if (master_link_hear(handover->link, STEP_MS, err) < 0) {
			(void)err_wrap(err, "the server has not loaded the file");
			return err_hint(err, "Its log says why.");
		}
		if (clock_elapsed_us(worked) > IDLE_US)
			return err_set(err, ERR_TIMEOUT,
			    "the server has the file, and does not say that it has loaded it");
	}

	return 0;
}

int
handover_await_applied(struct handover *handover, struct err *err)
{
	uint64_t end = master_link_sent(handover->link);
	uint64_t applied = master_link_applied(handover->link);
	struct mono_time moved = clock_mono();

	if (master_link_ask(handover->link, err) < 0)
		return -1;
	progress_phase(handover->progress, "applying", 0);
	while (master_link_applied(handover->link) < end) {
		if (stop_check(err) < 0 || master_link_hear(handover->link, STEP_MS, err) < 0)
			return -1;
		if (master_link_applied(handover->link) > applied)
			moved = clock_mono();
		applied = master_link_applied(handover->link);
		if (clock_elapsed_us(moved) > IDLE_US)
			return err_set(err, ERR_TIMEOUT,
			    "the server has applied %" PRIu64 " of %" PRIu64
			    " bytes of commands, and does not go on",
			    applied, end);
	}

	return 0;
}

/* Wait a moment; the server must not think that we are gone. */
static int
pass_time(struct handover *handover, struct mono_time *pinged, struct err *err)
{
	if (stop_check(err) < 0 || master_link_hear(handover->link, STEP_MS, err) < 0)
		return -1;
	if (clock_elapsed_us(*pinged) < PING_US)
		return 0;
	*pinged = clock_mono();

	return master_link_ping(handover->link, err);
}

/* After a full synchronisation it turns its AOF on again by itself, and writes it anew. */
static int
await_aof(struct handover *handover, struct err *err)
{
	SCOPED(str_done) struct str info = STR_INIT;
	struct mono_time pinged = clock_mono();

	for (;;) {
		if (ask(handover, &info, err) < 0 ||
		    redis_info_wrote(&info, "aof_last_bgrewrite_status", "its AOF anew", err) < 0)
			return -1;
		if (redis_info_number(&info, "aof_enabled") == 1 &&
		    redis_info_number(&info, "aof_rewrite_in_progress") == 0 &&
		    redis_info_number(&info, "aof_rewrite_scheduled") == 0)
			return redis_info_wrote(&info, "aof_last_write_status", "its AOF", err);
		if (pass_time(handover, &pinged, err) < 0)
			return -1;
	}
}

/* Another child of it may be at work: then it is asked again. */
static int
begin_save(struct handover *handover, struct mono_time *pinged, struct err *err)
{
	for (;;) {
		struct err refusal = ERR_INIT;

		if (redis_execute(handover->conn, (const char *const[]){ "BGSAVE", NULL },
			&refusal) == 0)
			return 0;
		if (refusal.kind != ERR_PEER) {
			*err = refusal;
			return -1;
		}
		log_debug("%s", refusal.msg);
		if (pass_time(handover, pinged, err) < 0)
			return -1;
	}
}

static int
await_save(struct handover *handover, struct err *err)
{
	struct mono_time pinged = clock_mono();
	bool is_over = false;

	if (begin_save(handover, &pinged, err) < 0)
		return -1;
	while (!is_over) {
		if (pass_time(handover, &pinged, err) < 0 ||
		    redis_save_ended(handover->conn, &is_over, err) < 0)
			return -1;
	}

	return 0;
}

int
handover_make_durable(struct handover *handover, bool has_tail, struct err *err)
{
	/* It makes the file durable under the name of its own before it loads that. */
	bool is_kept = !handover->keeps_both && !handover->target.deletes_files && !has_tail;

	progress_phase(handover->progress, "making it durable", 0);
	if (handover->target.has_aof)
		return await_aof(handover, err);

	return is_kept ? 0 : await_save(handover, err);
}

/* ---- letting go ------------------------------------------------------------------------------------------ */

int
handover_release(struct handover *handover, struct err *err)
{
	if (tell_role(handover, "NO", "ONE", err) < 0)
		return -1;
	handover->is_replica = false;
	if (target_settle(&handover->target, handover->conn, err) < 0)
		return -1;
	handover->is_prepared = false;

	return 0;
}

/* The server has taken over our history's id when it has loaded our file whole. */
static bool
has_loaded(const struct handover *handover, const struct str *info)
{
	SCOPED(freep) char *id = redis_info_get(info, "master_replid");

	return str_equals(id, handover->id);
}

/* It is our replica still, and what it holds is known. */
static void
leave(struct handover *handover, bool is_ours, struct err *err)
{
	if (is_ours) {
		(void)err_wrap(err,
		    "the server has loaded the backup, and is left as a replica of us, so read-only");
		(void)err_hint(err,
		    "Type the restore again; or make it a master with what it has: redis-cli -u redis://%s REPLICAOF NO ONE",
		    handover->target.name);
		return;
	}
	(void)err_wrap(err,
	    "the server has lost its old data and not got the new; it is left as a replica, because as a master it would write that to its files");
	if (handover->kept != NULL)
		(void)err_hint(err,
		    "Mend the cause and type the restore again, of the same backup or of %s, which is what was there before.",
		    handover->kept);
	else
		(void)err_hint(err, "Mend the cause and type the restore again.");
}

/* Loading may go on without us, from what it has got. */
static int
await_quiet(struct handover *handover, struct str *info, struct err *err)
{
	for (;;) {
		if (ask(handover, info, err) < 0)
			return -1;
		if (redis_info_number(info, "loading") == 0 &&
		    redis_info_number(info, "async_loading") == 0)
			return 0;
		(void)poll(NULL, 0, BUSY_MS);
	}
}

/* While it loads it lets nobody in, and that ends; that its master is gone (MASTERDOWN) does not. */
static int
reconnect(struct handover *handover, struct err *err)
{
	redis_conn_free(TAKE(handover->conn));
	for (;;) {
		err_clear(err);
		handover->conn = redis_conn_open_steady(handover->redis, err);
		if (handover->conn != NULL)
			return 0;
		if (err->kind != ERR_BUSY || strstr(err->msg, "LOADING") == NULL)
			return -1;
		(void)poll(NULL, 0, BUSY_MS);
	}
}

static void
settle_replica(struct handover *handover, struct err *err)
{
	SCOPED(str_done) struct str info = STR_INIT;
	struct err trouble = ERR_INIT;
	uint64_t keys;

	master_link_free(TAKE(handover->link));
	listener_free(TAKE(handover->listener));
	/* The old connection may be in the middle of an answer. */
	if (reconnect(handover, &trouble) < 0 || await_quiet(handover, &info, &trouble) < 0 ||
	    redis_info_keys(&info, &keys, &trouble) < 0) {
		(void)err_wrap(err, "the server does not answer any more (%s), after this",
		    trouble.msg);
		(void)err_hint(err,
		    "Look at its log and start it again: it loads the files it had. Then type the restore again.");
		return;
	}
	if (has_loaded(handover, &info) || keys != handover->old_keys) {
		leave(handover, has_loaded(handover, &info), err);
		return;
	}
	if (handover_release(handover, &trouble) < 0)
		(void)err_wrap(err,
		    "the server has its old data, and could not be let go (%s); type: redis-cli -u redis://%s REPLICAOF NO ONE",
		    trouble.msg, handover->target.name);
	else
		(void)err_wrap(err, "the server has its old data, as before");
}

void
handover_back_out(struct handover *handover, struct err *err)
{
	struct err trouble = ERR_INIT;

	if (handover->is_replica)
		settle_replica(handover, err);
	else if (handover->is_prepared &&
	    target_settle(&handover->target, handover->conn, &trouble) < 0)
		log_warning("%s: %s", trouble.msg, trouble.hint);
}
