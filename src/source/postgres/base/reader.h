/*
 * The archives of a base backup, read while they flow: each file's size and CRC32C go to a
 * base_check, WAL segments are counted, and an observer sees every entry under its path in the
 * data directory (a tablespace's files as pg_tblspc/OID/...).
 */
#ifndef SOURCE_POSTGRES_BASE_READER_H
#define SOURCE_POSTGRES_BASE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct base_reader;
struct err;
struct sink;
struct tar_entry;

/* Functions may be NULL.  `path` is a loan until `end`; data and end come for files only. */
struct base_observer {
	int (*begin)(void *context, const char *path, const struct tar_entry *entry,
	    struct err *err);
	int (*data)(void *context, const void *data, size_t size, struct err *err);
	int (*end)(void *context, struct err *err);
	void *context;
};

/* The observer is copied.  `wal_segment_bytes` is what a whole WAL segment has.  Yours. */
struct base_reader *base_reader_new(const struct base_observer *observer,
    uint64_t wal_segment_bytes) MUST_CHECK;

/* A sink for the next archive: NULL is base.tar, else the OID of a tablespace.  Yours. */
struct sink *base_reader_archive(struct base_reader *reader, const char *tablespace) MUST_CHECK;

/* Bytes of the server's manifest, after the archives; or a sink that takes them, yours. */
int base_reader_manifest(struct base_reader *reader, const void *data, size_t size, struct err *err)
    MUST_CHECK;
struct sink *base_reader_manifest_sink(struct base_reader *reader) MUST_CHECK;

/*
 * The end of the manifest: complete and right, and its files are those that were read, no more
 * and no less.  ERR_DATA names what is not.  A system identifier that the manifest tells must
 * be `system_identifier` (0: any).
 */
int base_reader_finish(struct base_reader *reader, uint64_t system_identifier, struct err *err)
    MUST_CHECK;

/* After the end: the manifest asks for the WAL from `start_lsn` to `end_lsn`, ERR_DATA if not. */
int base_reader_check_ranges(const struct base_reader *reader, uint64_t start_lsn, uint64_t end_lsn,
    struct err *err) MUST_CHECK;

/* All segments from `start_lsn` to `end_lsn` were seen, whole.  ERR_DATA names the first missing. */
int base_reader_check_wal(const struct base_reader *reader, uint32_t timeline, uint64_t start_lsn,
    uint64_t end_lsn, struct err *err) MUST_CHECK;

struct base_reader_totals {
	uint64_t files;
	uint64_t bytes;
	uint64_t unchecked; /* listed with a checksum other than CRC32C */
	uint64_t wal_segments;
};
struct base_reader_totals base_reader_totals(const struct base_reader *reader);

void base_reader_free(struct base_reader *reader); /* NULL is ok */
SCOPED_FREE(struct base_reader, base_reader_free)

#endif
