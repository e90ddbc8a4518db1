/*
 * A tar stream taken apart while it flows: ustar as PostgreSQL's server sends it (names up to
 * 99 bytes, base-256 sizes, no pax), plus the ustar prefix field.  It never writes a file; it
 * says what it sees.  The two closing zero blocks may be missing (servers before 15).
 */
#ifndef STREAM_TAR_PUSH_H
#define STREAM_TAR_PUSH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct err;
struct sink;

enum tar_type {
	TAR_FILE,
	TAR_DIRECTORY,
	TAR_SYMLINK,
};

enum { TAR_NAME_MAX = 256, TAR_LINK_MAX = 100, TAR_BLOCK_BYTES = 512 };

struct tar_entry {
	char name[TAR_NAME_MAX + 1]; /* relative, no "..", no trailing '/'; checked here */
	char link[TAR_LINK_MAX + 1]; /* target of a symlink */
	enum tar_type type;
	uint64_t size_bytes;
	unsigned mode;
	int64_t mtime_s;
};

struct tar_handler {
	int (*begin)(void *context, const struct tar_entry *entry, struct err *err);
	int (*data)(void *context, const void *data, size_t size, struct err *err);
	int (*end)(void *context, struct err *err);
	void *context;
};

/* Bytes go to the handler (copied struct), not to a next link. finish: ERR_DATA when cut short. */
struct sink *tar_push_new(const struct tar_handler *handler) MUST_CHECK;

#endif
