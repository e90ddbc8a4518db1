/*
 * A run of sound segments read again by several threads: each takes a range of them, and reads on
 * into the next range up to its first whole record, so that what crosses from one into the other
 * is checked like all the rest.  It confirms, and does not judge: what it cannot confirm is to be
 * read by a chain that knows what was before, which then says what is wrong.
 */
#ifndef SOURCE_POSTGRES_WAL_RANGES_H
#define SOURCE_POSTGRES_WAL_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct archive;
struct err;
struct wal_link;
struct wal_ranges;

struct wal_ranges_options {
	struct archive *archive; /* archive_get is called by the threads, and nothing else */
	uint64_t segment_bytes;
	uint64_t system_identifier;
	unsigned workers;             /* at least 1 */
	size_t step;                  /* segments in a range, at least 1 */
	const struct wal_link *links; /* a loan: of one timeline, number after number */
	size_t count;
	bool has_before; /* a segment is before them, that the first one has to go on from */
};

struct wal_ranges *wal_ranges_start(const struct wal_ranges_options *options, struct err *err)
    MUST_CHECK;

/*
 * The next segment in order, called once for each.  *ret_is_sound: every record that begins in it
 * or crosses into it is right, and hangs on the one before; false: it has to be looked at.
 */
int wal_ranges_next(struct wal_ranges *ranges, bool *ret_is_sound, struct err *err) MUST_CHECK;

/* Ends the threads, wherever they are.  NULL is ok. */
void wal_ranges_free(struct wal_ranges *ranges);
SCOPED_FREE(struct wal_ranges, wal_ranges_free)

#endif
