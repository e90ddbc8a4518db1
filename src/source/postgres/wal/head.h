/* The first page's header of a stored segment: whose it is, and how large its like are. */
#ifndef SOURCE_POSTGRES_WAL_HEAD_H
#define SOURCE_POSTGRES_WAL_HEAD_H

#include <stdint.h>

#include "base/scope.h"

struct archive;
struct err;

struct wal_head {
	uint64_t system_identifier;
	uint64_t segment_bytes;
};

/*
 * Of the file `stored` of the archive: from its note, else from its first bytes.  ERR_DATA: it
 * does not begin like a segment; ERR_NOT_FOUND.
 */
int wal_head_read(struct archive *archive, const char *stored, struct wal_head *ret_head,
    struct err *err) MUST_CHECK;

#endif
