/*
 * The commands of the stream from a base to a chosen point, as they were sent, in order.  Reads the
 * pieces from the archive; nothing is held but one buffer.
 */
#ifndef SOURCE_REDIS_STREAM_REPLAY_H
#define SOURCE_REDIS_STREAM_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"
#include "source/redis/stream/chain.h"

struct archive;
struct err;
struct manifest;
struct restore_target;

/* A stretch of one piece. */
struct stretch {
	uint32_t branch;
	uint64_t piece; /* the offset that names it */
	enum piece_form form;
	uint64_t from; /* the first byte behind this offset ... */
	uint64_t to;   /* ... up to this one; always between two commands, outside of MULTI */
	uint64_t stored_bytes;
};

struct replay {
	VEC(struct stretch) stretches; /* in order; none: the base is the point itself */
	unsigned db;                   /* in force at the beginning */
	struct chain_place end;
	struct wall_time
	    reached; /* of the last command that is in it; the base's where there is none */
	uint64_t stored_bytes; /* to be read */
	bool is_cut;           /* the stream goes on behind the point */
};

/*
 * Find out what is to be read.  The target is as source_ops.choose has resolved it; of a time the
 * point is the last command that arrived at it or before, of an offset the last whole command.
 * The piece with the point is read.  ERR_REFUSED: the stream does not reach it (any more).
 */
int replay_plan(struct archive *archive, const struct manifest *base,
    const struct restore_target *target, struct replay *ret_replay, struct err *err) MUST_CHECK;
void replay_done(struct replay *replay);

/*
 * Who takes them.  `command` comes with bytes of commands, any number of whole ones and parts: see
 * scan.h to take them apart.  `time` comes between commands, outside of transactions: what follows
 * arrived then.  0, or -1 with err.
 */
struct replay_taker {
	int (*time)(struct replay_taker *taker, struct wall_time time, struct err *err);
	int (*bytes)(struct replay_taker *taker, const void *data, size_t size, struct err *err);
};

/* ERR_DATA or ERR_NOT_FOUND names a piece that cannot be read any more. */
int replay_run(const struct replay *replay, struct archive *archive, struct replay_taker *taker,
    struct err *err) MUST_CHECK;

#endif
