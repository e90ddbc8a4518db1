/*
 * Stored bytes that can be read from any offset, by any thread: a file of the store today, an
 * object with range requests later.
 */
#ifndef STREAM_BLOB_H
#define STREAM_BLOB_H

#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct blob;
struct err;

struct blob_ops {
	/* Read exactly `size` bytes at `offset`; short is ERR_DATA.  Safe from several threads. */
	int (*read_at)(struct blob *blob, uint64_t offset, void *data, size_t size,
	    struct err *err);
	void (*free)(struct blob *blob);
};

struct blob {
	const struct blob_ops *ops;
	const char *name; /* for errors; lives as long as the blob */
	uint64_t size_bytes;
};

int blob_read_at(struct blob *blob, uint64_t offset, void *data, size_t size, struct err *err)
    MUST_CHECK;
void blob_free(struct blob *blob);
SCOPED_FREE(struct blob, blob_free)

/* A local file as a blob, named `name` in errors.  Yours. */
struct blob *blob_open_file(const char *path, const char *name, struct err *err) MUST_CHECK;

#endif
