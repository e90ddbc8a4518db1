/* The file that the server offers to archive-push: read, and compared with what is stored. */
#ifndef SOURCE_POSTGRES_WAL_OFFERED_H
#define SOURCE_POSTGRES_WAL_OFFERED_H

#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct blob;
struct err;

struct wal_offered {
	const char *path; /* a loan */
	int fd;           /* -1: not open */
	uint64_t bytes;
};

/* ERR_DATA: it is no file. */
int wal_offered_open(struct wal_offered *offered, const char *path, struct err *err) MUST_CHECK;
void wal_offered_done(struct wal_offered *offered);

/* *ret_got is less than `size` near its end, 0 behind it. */
int wal_offered_read(const struct wal_offered *offered, uint64_t offset, void *data, size_t size,
    size_t *ret_got, struct err *err) MUST_CHECK;

enum wal_sameness {
	WAL_SAME,
	WAL_DIFFERENT,
	WAL_UNFINISHED, /* as far as it goes the same: a tail that is still being written */
};

/* Compare it with a stored one.  ERR_DATA: that cannot be expanded. */
int wal_offered_compare(const struct wal_offered *offered, struct blob *blob,
    enum wal_sameness *ret_sameness, struct err *err) MUST_CHECK;

#endif
