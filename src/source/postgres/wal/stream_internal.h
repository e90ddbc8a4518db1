/* What the conversation's two halves share: commands (stream.c, slot.c) and the copy (copy.c). */
#ifndef SOURCE_POSTGRES_WAL_STREAM_INTERNAL_H
#define SOURCE_POSTGRES_WAL_STREAM_INTERNAL_H

#include "source/postgres/libpq_internal.h"
#include "source/postgres/wal/stream.h"

enum { WAL_SQLSTATE_SIZE = 6 };

struct wal_stream {
	const struct postgres *pg;
	PGconn *conn;
	struct wal_server server;
	char sqlstate[WAL_SQLSTATE_SIZE];
};

/* One command of the replication protocol; NULL with the server's SQLSTATE kept. */
PGresult *wal_stream_ask(struct wal_stream *stream, const char *sql, struct err *err) MUST_CHECK;

/* Keep the SQLSTATE of a failed result. */
void wal_stream_keep_state(struct wal_stream *stream, const PGresult *result);

#endif
