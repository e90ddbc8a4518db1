/*
 * How a master frames the RDB file of a full synchronisation.  Pure.
 *
 *   "$" length                     exactly so many bytes follow; it was written to a disk first
 *   "$EOF:" 40 bytes of a mark     bytes, and at their end the same 40 bytes
 *
 * From src/replication.c of Redis: after the mark nothing comes until the replica says something,
 * so the mark is looked for only at the very end of what has arrived.
 */
#ifndef SOURCE_REDIS_SYNC_FRAME_H
#define SOURCE_REDIS_SYNC_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct err;
struct sink;

enum { SYNC_MARK_BYTES = 40 };

struct sync_frame {
	bool is_marked; /* the second form: "diskless" */
	bool is_whole;
	uint64_t body_bytes; /* of the file, so far */
	uint64_t total_bytes;
	uint8_t mark[SYNC_MARK_BYTES];
	uint8_t held[SYNC_MARK_BYTES]; /* the last bytes: perhaps the mark */
	size_t held_size;
};

/* From the line that announces it, without its end.  ERR_DATA for any other line. */
int sync_frame_init(struct sync_frame *frame, const char *line, struct err *err) MUST_CHECK;

/* Hand the file's bytes on.  ERR_DATA when there are more than announced. */
int sync_frame_feed(struct sync_frame *frame, const void *data, size_t size, struct sink *to,
    struct err *err) MUST_CHECK;

/* Of so many bytes that have arrived: how many are behind the end of a file of known length. */
size_t sync_frame_extra(const struct sync_frame *frame, size_t size);

#endif
