/*
 * The branches of a stream: each is the history of one replication id.  A failover makes a new
 * one, which leaves its parent at an offset that both share; a full synchronisation makes one
 * without a parent, since what lies between is lost.  Kept as a file for each, written once:
 *
 *   { "format":1, "kind":"redis-branch", "branch":2, "replication_id":"...", "from":"4711",
 *     "parent":1, "at":"2026-11-22T14:05:09.000000Z", "reason":"failover" }
 */
#ifndef SOURCE_REDIS_STREAM_BRANCH_H
#define SOURCE_REDIS_STREAM_BRANCH_H

#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"
#include "source/redis/stream/piece.h"

struct archive;
struct err;

struct branch {
	uint32_t number;
	uint32_t parent; /* 0: none */
	uint64_t from;   /* where it begins: of one with a parent, where it left it */
	char replid[REPLID_SIZE];
	struct wall_time at; /* when we saw it first */
	char *reason;
};
struct branches {
	VEC(struct branch) items; /* by number */
};
void branches_done(struct branches *branches);

/* All that the archive's folder has.  ERR_DATA names a file that cannot be read. */
int branches_read(struct archive *archive, struct branches *ret_branches, struct err *err)
    MUST_CHECK;

/* A loan, or NULL; of several with this id the newest. */
const struct branch *branches_find(const struct branches *branches, uint32_t number);
const struct branch *branches_find_replid(const struct branches *branches, const char *replid);

/*
 * Make the next one durable and add it: `number` of *branch is filled in, its texts are copied.
 */
int branches_add(struct branches *branches, struct archive *archive, struct branch *branch,
    struct err *err) MUST_CHECK;

/*
 * Is `ancestor` up to `offset` a part of the history of `branch`: itself, or an ancestor that was
 * left at `offset` or behind it.
 */
bool branches_is_history(const struct branches *branches, uint32_t branch, uint32_t ancestor,
    uint64_t offset);

/* The branch that this one's history began with: itself, or the ancestor that has no parent. */
uint32_t branches_root(const struct branches *branches, uint32_t branch);

/* The newest branch of the history before that of `branch`, with which a hole began; 0: none. */
uint32_t branches_before(const struct branches *branches, uint32_t branch);

/*
 * Does `ancestor` belong to the history of `branch`, and up to where: UINT64_MAX for itself; 0 is an
 * offset like others, at which a server that was never written to hands over.
 */
bool branches_share(const struct branches *branches, uint32_t branch, uint32_t ancestor,
    uint64_t *ret_until);

#endif
