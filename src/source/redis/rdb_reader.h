/*
 * Reads an RDB file as it arrives, in pieces of any size, and follows it to its last byte: every
 * opcode and type of Redis 2.6 to 8.0 (versions 5 to 12) and Valkey 9.0 (80), the number of keys
 * where the file tells it, and the CRC-64 at its end.  Pure.
 *
 *   "REDIS" 4 digits (or "VALKEY" 3 digits), parts { opcode or type, ... }, ff, u64 CRC-64
 *
 * A newer version may hold types that are not known here: from the first of them on only the
 * checksum is looked at, and the summary says so.  Format: docs and src/rdb.c of Redis, and
 * rdb_shape.h.
 */
#ifndef SOURCE_REDIS_RDB_READER_H
#define SOURCE_REDIS_RDB_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct err;
struct rdb_reader;
struct rdb_summary;

/*
 * Who is told where times of expiry stand in the file: 8 bytes of milliseconds or 4 of seconds,
 * little-endian, one opcode before them.  Each is told when its last byte was read.
 */
struct rdb_times {
	void (*see)(struct rdb_times *times, uint64_t offset, unsigned width);
	void *owner;
	bool has_field_times; /* set: there are hashes whose fields have times of their own */
};

/*
 * Who is told of each key: with the offset of its value's first byte, and then with the one behind
 * its last.  An error ends the reading.
 */
struct rdb_seen_key {
	const uint8_t *name; /* a loan, any bytes; NULL: longer than is kept (4096 bytes) */
	size_t name_size;
	uint64_t database;
	uint64_t expires_ms; /* since 1970; 0: never */
	uint8_t type;        /* as in the file */
};
struct rdb_watch {
	int (*begin)(struct rdb_watch *watch, const struct rdb_seen_key *key, uint64_t offset,
	    struct err *err);
	int (*end)(struct rdb_watch *watch, uint64_t offset, struct err *err);
	void *owner;
};

struct rdb_options {
	struct rdb_times *times; /* a loan; NULL: nobody */
	struct rdb_watch *watch; /* the same */
	/* Also look into packed collections and expand what is compressed.  Holds one of them. */
	bool is_deep;
};

struct rdb_reader *rdb_reader_new(const struct rdb_options *options) MUST_CHECK;
void rdb_reader_free(struct rdb_reader *reader);
SCOPED_FREE(struct rdb_reader, rdb_reader_free)

/* ERR_DATA names the byte at which the file is not sound, ERR_UNSUPPORTED a version before 5. */
int rdb_reader_feed(struct rdb_reader *reader, const void *data, size_t size, struct err *err)
    MUST_CHECK;

/*
 * The same for a file with something behind it: *ret_used is less than size when the file ended,
 * and says where.
 */
int rdb_reader_feed_part(struct rdb_reader *reader, const void *data, size_t size, size_t *ret_used,
    struct err *err) MUST_CHECK;

/* The file ends here: is it whole, and is its checksum right. */
int rdb_reader_finish(struct rdb_reader *reader, struct err *err) MUST_CHECK;

/* What was read so far, complete after finish.  A loan. */
const struct rdb_summary *rdb_reader_summary(const struct rdb_reader *reader);

/* The same as a sink at the end of a chain: its finish is the reader's.  The reader is a loan. */
struct sink;
struct sink *rdb_sink_new(struct rdb_reader *reader) MUST_CHECK;

#endif
