/*
 * What an RDB file holds, counted while it was read.  Bounded: a file cannot make it large.
 */
#ifndef SOURCE_REDIS_RDB_SUMMARY_H
#define SOURCE_REDIS_RDB_SUMMARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/vec.h"
#include "source/redis/rdb_shape.h"

enum {
	RDB_BIGGEST_MAX = 10,
	RDB_DATABASES_MAX = 16384,
	RDB_AUX_MAX = 64, /* fields */
	RDB_MODULES_MAX = 64,
	RDB_TEXT_MAX_BYTES = 256, /* of a name or a field that is kept */
};

struct rdb_database {
	uint64_t index;
	uint64_t keys;
	uint64_t expires; /* of these, with a time at which they end */
	uint64_t types[RDB_KINDS_COUNT];
	uint64_t expiring[RDB_KINDS_COUNT]; /* the same, by type */
	bool is_announced;                  /* the file says how many there are, and it is: */
	uint64_t announced_keys;
	uint64_t announced_expires;
};

struct rdb_key {
	uint64_t database;
	char *name; /* printable: other bytes are \xNN */
	enum rdb_kind kind;
	uint64_t bytes; /* in the file */
};

struct rdb_aux {
	char *name;
	char *value; /* printable, cut at RDB_TEXT_MAX_BYTES */
};

struct rdb_summary {
	unsigned version;
	bool is_valkey;
	bool is_checksummed; /* it has a checksum, and that is right */
	uint64_t checksum;
	uint64_t bytes;
	char *unknown; /* what ended the reading of its structure; NULL: all of it was followed */
	VEC(struct rdb_database) databases;
	uint64_t keys;
	uint64_t expires;
	uint64_t functions;
	VEC(struct rdb_aux) aux;
	VEC(char *) modules;          /* names, each once */
	VEC(struct rdb_key) biggest;  /* the biggest first */
	uint64_t deep_checked;        /* packed and compressed strings that were looked into */
	uint64_t deep_left_out;       /* too big for that */
	uint64_t wrong_announcements; /* databases that have not as many keys as the file says */
};

void rdb_summary_done(struct rdb_summary *summary);

/* The value of an auxiliary field ("redis-ver", "repl-id"), or NULL. */
const char *rdb_summary_aux(const struct rdb_summary *summary, const char *name);

/* The database that is being counted; NULL when there are too many. */
struct rdb_database *rdb_summary_select(struct rdb_summary *summary, uint64_t index);

/* Would a key of so many bytes be among the biggest; then add it.  `name` is any bytes. */
bool rdb_summary_is_big(const struct rdb_summary *summary, uint64_t bytes);
void rdb_summary_add_big(struct rdb_summary *summary, const struct rdb_key *key,
    const uint8_t *name, size_t name_size);

/* Any bytes; what is beyond the limits is left out. */
void rdb_summary_add_aux(struct rdb_summary *summary, const uint8_t *name, size_t name_size,
    const uint8_t *value, size_t value_size);
void rdb_summary_add_module(struct rdb_summary *summary, uint64_t module_id);

#endif
