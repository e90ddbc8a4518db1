/*
 * The bytes of one segment, watched while they pass: it is the segment of its name, of the right
 * system, of full size, and what its pages (or records) say of themselves is right.  The size of
 * segments is taken from its own first page.
 */
#ifndef SOURCE_POSTGRES_WAL_GUARD_H
#define SOURCE_POSTGRES_WAL_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"
#include "source/postgres/wal/reader.h"

struct err;
struct sink;

enum { WAL_HEAD_BYTES = 40 };

struct wal_guard {
	char name[WAL_POINT_NAME_SIZE]; /* of the segment, 24 digits */
	uint64_t system_identifier;     /* it must be of this one; 0: any */
	enum wal_depth depth;
	bool is_unfinished; /* zeros may follow anywhere, and it may be short */

	/* found */
	uint64_t segment_bytes; /* 0: the head was not seen yet */
	uint64_t segment;       /* its number */
	uint32_t timeline;
	uint64_t bytes; /* so far */
	struct wal_reader *reader;
	uint8_t head[WAL_HEAD_BYTES];
};

/* `name` is one of WAL_FILE_SEGMENT. */
void wal_guard_init(struct wal_guard *guard, const char *name, uint64_t system_identifier,
    enum wal_depth depth, bool is_unfinished);
void wal_guard_done(struct wal_guard *guard);

/*
 * The next bytes.  ERR_REFUSED: it is of another system.  ERR_DATA: it is not that segment, or it
 * is damaged.
 */
int wal_guard_feed(struct wal_guard *guard, const void *data, size_t size, struct err *err)
    MUST_CHECK;

/* All bytes were there; ERR_DATA when some are missing. */
int wal_guard_end(struct wal_guard *guard, struct err *err) MUST_CHECK;

/* What the reader found; a loan, NULL before the head was seen. */
const struct wal_summary *wal_guard_summary(const struct wal_guard *guard);

/* A link that feeds the guard (a loan); its finish is wal_guard_end.  `next` is taken over. */
struct sink *wal_guard_sink_new(struct sink *next, struct wal_guard *guard) MUST_CHECK;

/*
 * The system identifier of the server that named `path` with %p ("pg_wal/..."), from the
 * pg_control beside its pg_wal; 0 when there is none that can be read.
 */
uint64_t wal_server_identifier(const char *path);

#endif
