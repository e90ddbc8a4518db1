/*
 * What lies in the folder of the archive, by name alone, held against what the index says: one
 * pass, one bit for each segment, so that 1,000,000 of them take less than a second.
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
	uint64_t strangers_count;          /* NAME.zst and NAME that lie in none of the ranges */
	uint64_t segment_bytes;
};
void wal_folder_done(struct wal_folder *folder);

/* Segments first..last of a timeline that ought to be there, and those that are not. */
struct wal_folder_range {
	uint32_t timeline;
	uint64_t first;
	uint64_t last;
	VEC(uint64_t) missing; /* neither whole nor growing, ascending; vec_done is yours */
};

/*
 * Read it all.  The ranges are given by timeline, then number, apart from each other, and of
 * 2^26 segments at most in all; their `missing` is filled in.  `segment_bytes` 0: the size of a
 * tail, else 16 MiB.  Yours to end.
 */
int wal_folder_read(const char *path, uint64_t segment_bytes, struct wal_folder_range *ranges,
    size_t count, struct wal_folder *ret_folder, struct err *err) MUST_CHECK;

/* The ranges alone: what is missing of them. */
int wal_folder_find_missing(const char *path, uint64_t segment_bytes,
    struct wal_folder_range *ranges, size_t count, struct err *err) MUST_CHECK;

/* Is one file there, and since when. */
int wal_folder_probe(const char *path, const char *name, bool *ret_is_there,
    struct wall_time *ret_modified, struct err *err) MUST_CHECK;

#endif
