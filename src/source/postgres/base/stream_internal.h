/*
 * BASE_BACKUP as the server speaks it (PostgreSQL docs, "Streaming Replication Protocol"): the
 * conversation alone.  It knows neither tar nor store; what arrives goes to a handler.
 *
 * Since 15 there is one COPY of typed messages; 13 and 14 send one COPY for each archive, then
 * one for the manifest.  The handler sees no difference.
 */
#ifndef SOURCE_POSTGRES_BASE_STREAM_INTERNAL_H
#define SOURCE_POSTGRES_BASE_STREAM_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"
#include "base/vec.h"

struct base_stream;
struct err;
struct postgres;

struct base_server {
	char *system_identifier; /* as text: it has 64 bits */
	int version;             /* 150004 */
	uint64_t wal_segment_bytes;
	bool has_checksums; /* of pages */
};

/* A replication connection, greeted and asked who it is.  ERR_UNSUPPORTED before 13.  Yours. */
struct base_stream *base_stream_open(const struct postgres *pg, struct err *err) MUST_CHECK;
const struct base_server *base_stream_server(const struct base_stream *stream); /* a loan */

struct base_tablespace {
	char *oid;           /* NULL: the data directory itself */
	char *location;      /* NULL as well */
	uint64_t size_bytes; /* about; told before the copy */
};

struct base_start {
	uint64_t start_lsn;
	uint32_t start_timeline;
	uint64_t size_bytes; /* about, of all tablespaces */
	VEC(struct base_tablespace) tablespaces;
};

struct base_end {
	uint64_t end_lsn;
	uint32_t end_timeline;
	bool is_damaged;     /* XX001: pages at the source fail their checksums */
	VEC(char *) notices; /* what the server warned of, bounded */
};
void base_start_done(struct base_start *start);
void base_end_done(struct base_end *end);

/* In this order: start, then for each archive: archive, data..., archive_end; then manifest... */
struct base_stream_handler {
	int (*start)(void *context, const struct base_start *start, struct err *err);
	/* `tablespace` is the OID, NULL for base.tar. */
	int (*archive)(void *context, const char *tablespace, struct err *err);
	int (*data)(void *context, const void *data, size_t size, struct err *err);
	int (*archive_end)(void *context, struct err *err);
	int (*manifest)(void *context, const void *data, size_t size, struct err *err);
	void *context;
};

struct base_stream_options {
	const char *label;
	uint64_t rate_limit_bytes_per_s; /* 0: none; the server keeps to it */
	bool wants_wal;                  /* the WAL it needs comes with it, in base.tar */
};

/*
 * Take the backup; *ret_start and *ret_end are yours also when it fails, to be done with.
 * ERR_NET when the connection breaks, saying how far it came; a stop cancels at the server.
 */
int base_stream_run(struct base_stream *stream, const struct base_stream_options *options,
    const struct base_stream_handler *handler, struct base_start *ret_start,
    struct base_end *ret_end, struct err *err) MUST_CHECK;

void base_stream_free(struct base_stream *stream); /* NULL is ok; closes the connection */
SCOPED_FREE(struct base_stream, base_stream_free)

#endif
