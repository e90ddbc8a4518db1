/*
 * The files of a base backup, remembered compactly until the server's manifest, which comes
 * last, says what they should have been.  24 bytes and a few letters of its path for each file.
 *
 * The manifest lists the files in the order they were sent, so comparing is one walk; only when
 * the order differs (a foreign backup) an index is made.
 */
#ifndef SOURCE_POSTGRES_BASE_CHECK_H
#define SOURCE_POSTGRES_BASE_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct base_check;
struct base_manifest_file;
struct err;

enum { BASE_CHECK_MAX_FILES = 64 * 1024 * 1024 };

struct base_check *base_check_new(void) MUST_CHECK;

/* A file was seen.  WAL segments and the manifest itself are not listed by it: leave them out. */
int base_check_add(struct base_check *check, const char *path, uint64_t size_bytes, uint32_t crc32c,
    struct err *err) MUST_CHECK;

/* A file of the manifest: it must have been seen, with this size and checksum.  ERR_DATA names it. */
int base_check_listed(struct base_check *check, const struct base_manifest_file *file,
    struct err *err) MUST_CHECK;

/* After the whole manifest: files that it does not list are ERR_DATA, the first one named. */
int base_check_finish(struct base_check *check, struct err *err) MUST_CHECK;

uint64_t base_check_files(const struct base_check *check);
uint64_t base_check_bytes(const struct base_check *check);

/* Files listed with a checksum that is not CRC32C, or none: only their size was compared. */
uint64_t base_check_unchecked(const struct base_check *check);

void base_check_free(struct base_check *check); /* NULL is ok */
SCOPED_FREE(struct base_check, base_check_free)

#endif
