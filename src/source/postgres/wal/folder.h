/*
 * What lies in the folder of the archive, by name alone, in one pass that keeps nothing of the
 * whole segments but their number: 1,000,000 of them cost a second of nobody's time.
 */
#ifndef SOURCE_POSTGRES_WAL_FOLDER_H
#define SOURCE_POSTGRES_WAL_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"

struct err;

struct wal_folder_file {
	uint32_t timeline;
	uint64_t segment; /* of a tail */
	struct wall_time modified;
};

struct wal_folder {
	VEC(struct wal_folder_file) histories;
	VEC(struct wal_folder_file) tails; /* NAME.partial */
	uint64_t segments_count;           /* NAME.zst and NAME */
	uint64_t segment_bytes;
};

/* `segment_bytes` 0: the size of a tail, else 16 MiB.  Yours to end. */
int wal_folder_read(const char *path, uint64_t segment_bytes, struct wal_folder *ret_folder,
    struct err *err) MUST_CHECK;
void wal_folder_done(struct wal_folder *folder);

/* Is one file there, and since when. */
int wal_folder_probe(const char *path, const char *name, bool *ret_is_there,
    struct wall_time *ret_modified, struct err *err) MUST_CHECK;

/* Which segments of first..last of a timeline have no file, whole or growing. */
struct wal_folder_range {
	uint32_t timeline;
	uint64_t first;
	uint64_t last;
	VEC(uint64_t) missing; /* ascending; vec_done is yours */
};
/* Fill in `missing` of each range; at most 2^26 segments in all. */
int wal_folder_find_missing(const char *path, uint64_t segment_bytes,
    struct wal_folder_range *ranges, size_t count, struct err *err) MUST_CHECK;

#endif
