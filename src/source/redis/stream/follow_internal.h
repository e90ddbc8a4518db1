/* What the files of the receiver share. */
#ifndef SOURCE_REDIS_STREAM_FOLLOW_INTERNAL_H
#define SOURCE_REDIS_STREAM_FOLLOW_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "source/redis/redis_internal.h"
#include "source/redis/stream/branch.h"
#include "source/redis/stream/tail.h"

struct archive;
struct err;
struct follow_request;

struct following {
	struct redis *redis;
	const struct follow_request *request;
	struct archive *archive;
	struct branches branches;
	struct tail tail;

	/* Where the stream goes on; branch 0: nothing was received yet. */
	uint32_t branch;
	uint64_t offset;
	unsigned db;

	struct redis_conn *conn;   /* a replica's */
	bool has_received;         /* on this connection */
	struct wall_time heard_at; /* the last time something came; 0: nothing yet */
	bool has_copied;           /* all data, and no stream came behind it yet */
	struct wall_time next_copy_at;
	struct mono_time copied_at;
	struct mono_time acked_at;
	struct mono_time synced_at;
	int64_t silence_us;         /* a server that says nothing for so long is dead */
	struct mono_time looked_at; /* at the server's backlog */
	bool was_backlog_warned;
	uint64_t server_offset; /* the server's end, as it was looked at last; 0: not yet */

	/* What was made durable last, and is still to be found; branch 0: nothing. */
	uint32_t kept_branch;
	uint64_t kept_offset;

	/* What was noted as lost last, so that another try does not note it again. */
	uint32_t lost_branch;
	uint64_t lost_offset;
};

/* ---- position.c: where it goes on ---- */

/* From what the archive has; an open tail is resumed. */
int following_find_place(struct following *following, struct err *err) MUST_CHECK;

/*
 * The history in which the stream goes on has another id: a branch of its own from `place` on.
 * What we have behind that is noted as the dead end of the present one.
 */
int following_branch_off(struct following *following, const struct replication_place *place,
    struct err *err) MUST_CHECK;

/*
 * The server cannot go on where we were and sends all its data, which stands at `place`: end the
 * present tail and note what is lost.  `info` is what the server said of itself before.
 */
int following_note_loss(struct following *following, const struct replication_place *place,
    const struct str *info, struct err *err) MUST_CHECK;

/* The data is stored: the stream goes on behind it. */
int following_start_anew(struct following *following, const struct replication_place *place,
    const struct str *info, struct err *err) MUST_CHECK;

/* An open tail to add to. */
int following_open_tail(struct following *following, struct err *err) MUST_CHECK;

/* Where it can, end the present tail and begin the next. */
int following_roll(struct following *following, struct err *err) MUST_CHECK;

/* ---- server.c: what is asked beside the stream ---- */

/*
 * Would the server go on from our place, as INFO says: *ret_offset, which is before our end where a
 * server was promoted that lagged.  False with *ret_reason, yours: why not.
 */
bool following_can_go_on(const struct following *following, const struct str *info,
    uint64_t *ret_offset, char **ret_reason);

/* Warn of a clock that differs and of settings that count us; nothing of it is a failure. */
void following_look_at_settings(struct following *following, struct redis_conn *conn);

/* Now and then: how much of the backlog is used up by our being behind. */
void following_look_at_backlog(struct following *following);

#endif
