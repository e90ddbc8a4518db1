/*
 * Write-ahead log, checked while it flows: the bytes of one segment or of a run of consecutive
 * ones, in any pieces.  Three depths: the head of a segment, every page's header, every record.
 * Nothing is buffered but a header and the first bytes of a record; a record may have a GiB.
 *
 * It says where whole records end.  What lies behind (the recycled rest of a segment that is
 * still being written) fails as well: the caller who knows where his WAL ends compares end_lsn.
 */
#ifndef SOURCE_POSTGRES_WAL_READER_H
#define SOURCE_POSTGRES_WAL_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"

struct err;
struct wal_reader;

enum {
	WAL_PAGE_BYTES = 8192,
	WAL_POINTS_MAX = 256, /* restore points that are kept, the others are counted */
	WAL_SWITCHES_MAX = 64,
	WAL_POINT_NAME_SIZE = 64,
};

enum wal_depth {
	WAL_DEPTH_HEAD = 1, /* the first page's header: of this system, the segment of its name */
	WAL_DEPTH_PAGES,    /* every page's header, and nothing but zeros after the first zeros */
	WAL_DEPTH_RECORDS,  /* every record's checksum, and how they hang together */
};

struct wal_options {
	enum wal_depth depth;
	uint32_t timeline; /* of the first segment's name */
	uint64_t segment;  /* its number */
	uint64_t segment_bytes;
	uint64_t system_identifier; /* 0: that of the first segment */
	int server_major;           /* 0: any */
	uint64_t start_lsn;         /* records before it are not read; 0: all that begin here */
	bool is_unfinished;         /* zeros may follow anywhere: it was still being written */
};

struct wal_restore_point {
	char name[WAL_POINT_NAME_SIZE];
	uint64_t lsn;
	struct wall_time time;
};

/* From this record on the log is of another timeline. */
struct wal_switch {
	uint64_t lsn;
	uint32_t timeline;
	uint32_t parent;
};

struct wal_summary {
	enum wal_depth depth; /* reached: WAL_DEPTH_PAGES at most when the magic is not known */
	unsigned magic;
	uint64_t system_identifier;
	uint32_t timeline; /* of the last page */
	uint64_t page_lsn; /* of the last page whose header is right */

	uint64_t records;   /* whole ones that begin here */
	uint64_t first_lsn; /* of the first of them, 0: none */
	uint64_t last_lsn;
	uint64_t end_lsn;  /* behind the last one; the next segment after a segment switch */
	uint64_t open_lsn; /* a record begins here that is not complete yet, 0: none */

	uint64_t commits;              /* and aborts: the records that have a time */
	struct wall_time first_commit; /* in the order of the log */
	struct wall_time last_commit;
	struct wall_time latest_commit; /* clocks can go backwards */
	uint64_t restore_points;
	VEC(struct wal_restore_point) points;
	VEC(struct wal_switch) switches;
};

/* The options are copied.  `segment_bytes` is a power of two from 1 MiB to 1 GiB.  Yours. */
struct wal_reader *wal_reader_new(const struct wal_options *options) MUST_CHECK;

/*
 * The next bytes.  ERR_DATA names the segment, the position and the byte in the segment that is
 * wrong, and is all that is said from then on.  At its end a segment is followed by the next.
 */
int wal_reader_feed(struct wal_reader *reader, const void *data, size_t size, struct err *err)
    MUST_CHECK;

/* The next byte is the first of this segment; ERR_DATA when another one should come. */
int wal_reader_segment(struct wal_reader *reader, uint32_t timeline, uint64_t segment,
    struct err *err) MUST_CHECK;

/*
 * Forget the facts found so far (records, commits, restore points, switches, the first and last
 * position), so that those of the next segments stand alone.  The checks go on: end_lsn,
 * open_lsn, and the pages stay.
 */
void wal_reader_forget(struct wal_reader *reader);

/* The last segment is whole.  A record may go on behind it: see open_lsn. */
int wal_reader_finish(struct wal_reader *reader, struct err *err) MUST_CHECK;

/* What was found so far; a loan, good also after a failure. */
const struct wal_summary *wal_reader_summary(const struct wal_reader *reader);

void wal_reader_free(struct wal_reader *reader); /* NULL is ok */
SCOPED_FREE(struct wal_reader, wal_reader_free)

#endif
