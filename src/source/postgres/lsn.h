/*
 * Places in the write-ahead log: positions ("16/B374D848") and names of segment files.
 * A segment's name is timeline, then number: %08X%08X%08X of the timeline, and of the segment
 * number divided by and modulo the segments in 4 GiB (PostgreSQL, access/xlog_internal.h).
 */
#ifndef SOURCE_POSTGRES_LSN_H
#define SOURCE_POSTGRES_LSN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/scope.h"

struct err;

enum { LSN_TEXT_SIZE = 24, WAL_NAME_SIZE = 25 };

int lsn_parse(const char *text, uint64_t *ret_lsn, struct err *err) MUST_CHECK;

/* `text` holds LSN_TEXT_SIZE bytes.  Returns `text`. */
const char *lsn_format(uint64_t lsn, char *text);

/* `text` holds WAL_NAME_SIZE bytes.  Returns `text`. */
const char *wal_name_format(uint32_t timeline, uint64_t segment, uint64_t segment_bytes,
    char *text);

/* Is it the name of a whole segment; `segment_bytes` as above. */
bool wal_name_parse(const char *name, uint64_t segment_bytes, uint32_t *ret_timeline,
    uint64_t *ret_segment);

/* The segments from `start_lsn` to just before `end_lsn`; last < first when there are none. */
void wal_range_segments(uint64_t start_lsn, uint64_t end_lsn, uint64_t segment_bytes,
    uint64_t *ret_first, uint64_t *ret_last);

#endif
