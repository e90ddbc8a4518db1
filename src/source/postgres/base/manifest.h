/*
 * The server's backup_manifest, read while it flows: nothing but the line at hand is kept, so a
 * million files cost no memory here.  What the files are checked against is base_check.
 *
 * Format (PostgreSQL docs, "Backup Manifest Format"): a JSON object whose last line is
 * "Manifest-Checksum": the SHA-256 of all bytes before that line.
 */
#ifndef SOURCE_POSTGRES_BASE_MANIFEST_H
#define SOURCE_POSTGRES_BASE_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct base_manifest;
struct err;

enum base_checksum {
	BASE_CHECKSUM_NONE,
	BASE_CHECKSUM_CRC32C,
	BASE_CHECKSUM_SHA, /* SHA224 to SHA512: recognised, not computed here */
};

/* One file of the manifest.  `path` is raw bytes (Encoded-Path is decoded), NUL-terminated. */
struct base_manifest_file {
	const char *path;
	size_t path_size;
	uint64_t size_bytes;
	enum base_checksum algorithm;
	uint32_t crc32c; /* for BASE_CHECKSUM_CRC32C */
};

/* WAL that recovery needs to reach consistency. */
struct base_manifest_range {
	uint32_t timeline;
	uint64_t start_lsn;
	uint64_t end_lsn;
};

struct base_manifest_handler {
	int (*file)(void *context, const struct base_manifest_file *file, struct err *err);
	int (*range)(void *context, const struct base_manifest_range *range, struct err *err);
	void *context;
};

/* What the manifest says of itself. */
struct base_manifest_summary {
	unsigned version;           /* 1, 2 */
	uint64_t system_identifier; /* 0: not told (before version 2) */
	uint64_t files;
	uint64_t ranges;
};

/* The handler is copied; its functions may be NULL.  Yours. */
struct base_manifest *base_manifest_new(const struct base_manifest_handler *handler) MUST_CHECK;

/* Any cut into pieces is good.  ERR_DATA names the line that is wrong. */
int base_manifest_feed(struct base_manifest *manifest, const void *data, size_t size,
    struct err *err) MUST_CHECK;

/* The end: complete, and its own checksum right, or ERR_DATA. */
int base_manifest_finish(struct base_manifest *manifest, struct base_manifest_summary *ret_summary,
    struct err *err) MUST_CHECK;

void base_manifest_free(struct base_manifest *manifest); /* NULL is ok */
SCOPED_FREE(struct base_manifest, base_manifest_free)

#endif
