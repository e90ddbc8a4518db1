/*
 * Reads the files of an AOF as they come, one after the other, and follows them to their last
 * byte: an RDB file at the beginning of any of them, then commands.  Pure.
 *
 * What a crash leaves is a last file that ends inside a command or a transaction.  A server that
 * starts on it drops that rest (aof-load-truncated yes, the default), so it is no damage; in any
 * other file it is.
 */
#ifndef SOURCE_REDIS_AOF_READER_H
#define SOURCE_REDIS_AOF_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/scope.h"

struct err;
struct rdb_summary;
struct sink;

/* What was found, complete after the last file. */
struct aof_summary {
	uint64_t files;
	uint64_t bytes;
	uint64_t commands;
	bool has_rdb;         /* of the first file that begins with one */
	bool is_cut;          /* the last file ends inside of something: */
	uint64_t good_bytes;  /* of it; the rest is dropped by a server */
	uint64_t last_time_s; /* of the last "#TS:" line; 0: none */
};

struct aof_reader;
struct aof_reader *aof_reader_new(void) MUST_CHECK;
void aof_reader_free(struct aof_reader *reader);
SCOPED_FREE(struct aof_reader, aof_reader_free)

/* A sink for the next file; its finish ends it.  The reader is a loan, the name copied. */
struct sink *aof_reader_file(struct aof_reader *reader, const char *name) MUST_CHECK;

const struct aof_summary *aof_reader_summary(const struct aof_reader *reader);
const struct rdb_summary *aof_reader_rdb(const struct aof_reader *reader); /* NULL: has none */

#endif
