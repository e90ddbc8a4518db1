/*
 * What the archive of a stream holds, put in order: branches, and the spans of offsets that pieces
 * cover; and how far one gets from a base along them.
 */
#ifndef SOURCE_REDIS_STREAM_CHAIN_H
#define SOURCE_REDIS_STREAM_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"
#include "source/redis/stream/branch.h"
#include "source/redis/stream/piece.h"

struct archive;
struct err;
struct manifest;

/* One piece, whole or growing. */
struct link {
	uint32_t branch;
	uint64_t from;
	uint64_t to; /* up to where it can be cut: no transaction is open there */
	enum piece_form form;
	struct wall_time first; /* 0: it has no command */
	struct wall_time last;
	uint64_t stored_bytes;
};

struct chain_outage {
	uint32_t branch;
	struct piece_outage outage;
};

struct chain {
	struct branches branches;
	VEC(struct link) links; /* by branch, then `from`; damaged ones are left out */
	VEC(struct chain_outage) outages;
	uint64_t stored_bytes;
	uint64_t not_sound_count;
	uint64_t damaged_count;
	VEC(char *) warnings;
};

/* Index and folder; tails are read.  Nothing is written. */
int chain_read(struct archive *archive, struct chain *ret_chain, struct err *err) MUST_CHECK;
void chain_done(struct chain *chain);

/* The newest branch, 0: there is none. */
uint32_t chain_newest(const struct chain *chain);

/* Where in the stream a backup stands. */
struct chain_place {
	uint32_t branch; /* 0: of no branch that is known */
	uint64_t offset;
};

/* Of a backup's manifest; false: it does not say, or its history is not known. */
bool chain_place_of(const struct chain *chain, const struct manifest *manifest,
    struct chain_place *ret_place);

/* Is the place on the way to the end of `branch`. */
bool chain_is_on(const struct chain *chain, uint32_t branch, struct chain_place place);

/*
 * One step along the way to the end of branch `line`: the piece that goes on at `at`, and up to
 * which offset it belongs to the way.  NULL: nothing goes on there; `at` may have moved to a child
 * branch that begins at the same offset.
 */
const struct link *chain_step(const struct chain *chain, uint32_t line, struct chain_place *at,
    uint64_t *ret_until);

/* How far one gets from `from`, and when that was (0: not one command on the way). */
struct chain_reach {
	struct chain_place to;
	struct wall_time time;
};
void chain_reach(const struct chain *chain, uint32_t line, struct chain_place from,
    struct chain_reach *ret_reach);

#endif
