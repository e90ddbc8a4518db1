/*
 * The WAL inside base.tar, checked record by record while the archive flows: recovery of the
 * backup reads it from the start position to the end position, and needs every byte of that.
 *
 * The end is known only after the archive.  Until then nothing fails: a segment of a standby may
 * hold old bytes behind the end, and it is base_wal_finish that judges.
 */
#ifndef SOURCE_POSTGRES_BASE_WAL_H
#define SOURCE_POSTGRES_BASE_WAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct base_wal;
struct err;
struct tar_entry;

struct base_wal_options {
	uint64_t segment_bytes;
	uint64_t system_identifier;
	int server_major;
	uint32_t start_timeline;
	uint64_t start_lsn;
};

/* The options are copied.  Yours. */
struct base_wal *base_wal_new(const struct base_wal_options *options) MUST_CHECK;

/* For every file of the archive, as a base_observer is told of it; others than WAL do nothing. */
void base_wal_begin(struct base_wal *wal, const char *path, const struct tar_entry *entry);
void base_wal_data(struct base_wal *wal, const void *data, size_t size);
void base_wal_end(struct base_wal *wal);

/* What was checked of it. */
enum base_wal_depth {
	BASE_WAL_HEADS,   /* the timeline switches in it: the heads of the segments */
	BASE_WAL_PAGES,   /* its version is not known here: the headers of all pages */
	BASE_WAL_RECORDS, /* everything */
};

struct base_wal_result {
	enum base_wal_depth depth;
	uint64_t records;
};

/* It is whole up to `end_lsn`, or ERR_DATA that names the segment and the position. */
int base_wal_finish(const struct base_wal *wal, uint32_t end_timeline, uint64_t end_lsn,
    struct base_wal_result *ret_result, struct err *err) MUST_CHECK;

void base_wal_free(struct base_wal *wal); /* NULL is ok */
SCOPED_FREE(struct base_wal, base_wal_free)

#endif
