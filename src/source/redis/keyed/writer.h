/*
 * Keys of an RDB file into a server that runs, by RESTORE: a value goes over as the bytes that it
 * has in the file.  Needs no more than +restore +select there, and works where a server takes no
 * master: in a cluster, at a provider.  keyed.h decides, this file only writes.
 */
#ifndef SOURCE_REDIS_KEYED_WRITER_H
#define SOURCE_REDIS_KEYED_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/scope.h"
#include "base/vec.h"
#include "source/redis/rdb_reader.h"
#include "source/redis/replay/expiry.h"

struct err;
struct redis_conn;
struct sink;

enum {
	KEYED_HELD_MAX_BYTES = 1024 * 1024, /* values above are never held whole */
	KEYED_PENDING_MAX = 256, /* commands without a reply: theirs fit into any socket's buffer */
};

/* Which keys. */
struct keyed_pick {
	const char *pattern;
	bool is_one_database;
	uint64_t database;
};
bool keyed_picks(const struct keyed_pick *pick, const struct rdb_seen_key *key);

/* A value that is sent while it is read: its size has to be known before. */
struct keyed_large {
	uint64_t offset; /* in the file, of the value's first byte */
	uint64_t bytes;
};

struct keyed_order {
	struct redis_conn *conn; /* a loan */
	struct keyed_pick pick;
	struct expiry_policy policy;
	bool replaces;
	const struct keyed_large *large; /* all of those picked, in their order */
	size_t large_count;
};

struct keyed_report {
	uint64_t restored;
	uint64_t kept;      /* such a key was there, and is as it was */
	uint64_t expired;   /* its time is over */
	uint64_t elsewhere; /* other nodes of the cluster have its slot */
	uint64_t too_large; /* more than a server takes in one piece */
};

/*
 * A link at the end of a chain that takes the file.  The report is a loan and true at any time but
 * for the commands that are on their way.  Not finished, it leaves the keys written so far.
 */
struct sink *keyed_writer_new(const struct keyed_order *order, struct keyed_report *ret_report)
    MUST_CHECK;

#endif
