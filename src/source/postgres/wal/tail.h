/*
 * The tail of received WAL: one segment that grows in place as NAME.partial, of full size from
 * its first moment, zeros where nothing has arrived: written, or only reserved when the server has
 * all of the segment already and sends it at once.  It is never truncated and never begun
 * again: what is in it was acknowledged, and the server may be gone.
 *
 * A file exists under its name only when its size and its blocks are on disk, and is used only
 * when its folder entry is.  A write or fsync that fails is the end of this descriptor: the
 * caller closes the tail and has all of it sent again from its start, so that each byte is
 * written anew (the kernel may have dropped what it could not write).
 */
#ifndef SOURCE_POSTGRES_WAL_TAIL_H
#define SOURCE_POSTGRES_WAL_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "source/postgres/lsn.h"

struct err;

enum { WAL_TAIL_NAME_SIZE = WAL_NAME_SIZE + 8 };

struct wal_tail_options {
	const char *folder;     /* exists; a loan */
	const char *run_id;     /* names temporary files */
	const char *system_id;  /* whose WAL it is */
	uint64_t segment_bytes; /* a power of two from 1 MiB to 1 GiB */
	unsigned mode;          /* of the files */
	int gid;                /* -1: none */
};

struct wal_tail {
	struct wal_tail_options options;
	int folder_fd;
	int lock_fd;
	int fd; /* -1: none is open */
	char name[WAL_TAIL_NAME_SIZE];
	uint32_t timeline;
	uint64_t segment;
	uint64_t inode;          /* of the file: the name must go on meaning it */
	bool is_resumed;         /* it was there before: what comes is compared with it */
	bool is_dirty;           /* something is written and not yet synced */
	uint64_t unsynced_bytes; /* written since the disk was last asked to begin with it */
	uint64_t server_lsn; /* set by the caller: how far the server's WAL goes, as far as known */
	struct mono_time folder_seen;
};

/*
 * Take the folder for ourselves: one receiver for each.  ERR_BUSY names the one that has it.
 * On failure nothing is held.
 */
int wal_tail_init(struct wal_tail *tail, const struct wal_tail_options *options, struct err *err)
    MUST_CHECK;

/*
 * Go on with this segment: open its file, or make it.  The one before is synced and closed first:
 * that a later one exists says that it is whole.  ERR_REFUSED: the file is of another system,
 * ERR_DATA: it has not the size of a segment.
 */
int wal_tail_begin(struct wal_tail *tail, uint32_t timeline, uint64_t segment, struct err *err)
    MUST_CHECK;

/*
 * Put WAL at `offset` of the segment.  ERR_MISMATCH, with nothing written: the file holds
 * something else there already, which the same server cannot have sent on the same timeline.
 */
int wal_tail_write(struct wal_tail *tail, uint64_t offset, const void *data, size_t size,
    struct err *err) MUST_CHECK;

/* Make durable what was written.  ERR_NOT_FOUND: somebody took the file or its folder away. */
int wal_tail_sync(struct wal_tail *tail, struct err *err) MUST_CHECK;

/* Close the segment's file as it is, without a sync. */
void wal_tail_close(struct wal_tail *tail);

/*
 * Where the bytes of a segment's tail end that are not zero: an offset, 0 for nothing.
 * ERR_NOT_FOUND when there is no such file.
 */
int wal_tail_extent(struct wal_tail *tail, uint32_t timeline, uint64_t segment,
    uint64_t *ret_offset, struct err *err) MUST_CHECK;

/* Keep a tail as evidence: it becomes NAME.partial.diverged-STAMP, durably.  Its new name is yours. */
int wal_tail_set_aside(struct wal_tail *tail, uint32_t timeline, uint64_t segment, char **ret_name,
    struct err *err) MUST_CHECK;

void wal_tail_done(struct wal_tail *tail);

#endif
