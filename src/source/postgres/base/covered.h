/*
 * A base backup without WAL of its own, which a running receiver covers: worth something only
 * once the archive has every segment from its start to its end.
 */
#ifndef SOURCE_POSTGRES_BASE_COVERED_H
#define SOURCE_POSTGRES_BASE_COVERED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/scope.h"

struct archive;
struct err;
struct progress;

struct covered_range {
	uint32_t start_timeline;
	uint32_t end_timeline;
	uint64_t start_lsn;
	uint64_t end_lsn;
	uint64_t segment_bytes;
};

struct base_content;
struct base_extract;
struct base_wal_result;
struct covered_range covered_range_of(const struct base_content *content);

/*
 * Is all of it there; what is in a tail was made durable before it can be read.  *ret_missing
 * (WAL_NAME_SIZE bytes) names the first segment that is not.
 */
bool covered_is_there(const struct archive *archive, const struct covered_range *range,
    char *ret_missing);

/* Wait for it, at most `timeout_us`.  *ret_is_there says how that ended; a stop is an error. */
int covered_wait(const struct archive *archive, const struct covered_range *range,
    int64_t timeout_us, struct progress *progress, bool *ret_is_there, char *ret_missing,
    struct err *err) MUST_CHECK;

/* Every record of it, read from the archive.  ERR_DATA names what is missing or wrong. */
int covered_check(struct archive *archive, const struct base_content *content,
    struct base_wal_result *ret_result, struct err *err) MUST_CHECK;

/*
 * Write it into pg_wal of a data directory that is being made: from there on it carries what it
 * needs itself.  What the last segment has behind the backup's end is left out.
 */
int covered_extract(struct archive *archive, const struct base_content *content,
    struct base_extract *extract, struct err *err) MUST_CHECK;

#endif
