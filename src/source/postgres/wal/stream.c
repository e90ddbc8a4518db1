#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "source/postgres/lsn.h"
#include "source/postgres/postgres_internal.h"
#include "source/postgres/wal/history.h"
#include "source/postgres/wal/stream_internal.h"

enum { VERSION_OLDEST = 130000 };

/* ---- asking ----------------------------------------------------------------------------------- */

void
wal_stream_keep_state(struct wal_stream *stream, const PGresult *result)
{
	const char *state = result != NULL ? libpq.PQresultErrorField(result, PG_DIAG_SQLSTATE)
					   : NULL;

	memset(stream->sqlstate, 0, sizeof(stream->sqlstate));
	if (state != NULL && strlen(state) < sizeof(stream->sqlstate))
		memcpy(stream->sqlstate, state, strlen(state));
}

PGresult *
wal_stream_ask(struct wal_stream *stream, const char *sql, struct err *err)
{
	SCOPED(pg_result_freep) PGresult *first = NULL;

	wal_stream_keep_state(stream, NULL);
	if (libpq.PQsendQuery(stream->conn, sql) == 0) {
		(void)pg_error(stream->conn, NULL, err, "cannot send '%.30s'", sql);
		return NULL;
	}
	for (;;) {
		SCOPED(pg_result_freep) PGresult *result = NULL;

		if (pg_next_result(stream->conn, &result, err) < 0)
			return NULL;
		if (result == NULL)
			break;
		if (first == NULL)
			first = TAKE(result);
	}
	if (first == NULL ||
	    (libpq.PQresultStatus(first) != PGRES_TUPLES_OK &&
		libpq.PQresultStatus(first) != PGRES_COMMAND_OK)) {
		wal_stream_keep_state(stream, first);
		(void)pg_error(stream->conn, first, err, "'%.30s' failed", sql);
		return NULL;
	}

	return TAKE(first);
}

/* ---- who is there ------------------------------------------------------------------------------- */

static int
identify(struct wal_stream *stream, struct err *err)
{
	struct wal_server *server = &stream->server;
	uint64_t timeline;

	SCOPED(pg_result_freep)
	PGresult *result = wal_stream_ask(stream, "IDENTIFY_SYSTEM", err);
	if (result == NULL)
		return -1;
	if (libpq.PQntuples(result) != 1 || libpq.PQnfields(result) < 3)
		return err_set(err, ERR_PEER, "the server does not say who it is");
	if (parse_u64(libpq.PQgetvalue(result, 0, 1), 1, UINT32_MAX, &timeline, err) < 0 ||
	    lsn_parse(libpq.PQgetvalue(result, 0, 2), &server->flush_lsn, err) < 0)
		return err_wrap(err, "IDENTIFY_SYSTEM");
	server->timeline = (uint32_t)timeline;
	server->system_identifier = xstrdup(libpq.PQgetvalue(result, 0, 0));

	return 0;
}

static int
greet(struct wal_stream *stream, struct err *err)
{
	stream->server.version = pg_server_version(stream->conn);
	if (stream->server.version < VERSION_OLDEST)
		return err_set(err, ERR_UNSUPPORTED,
		    "receiving WAL needs PostgreSQL 13 or newer, not %d.%d",
		    stream->server.version / 10000, stream->server.version % 10000);
	if (identify(stream, err) < 0)
		return -1;

	return pg_wal_segment_bytes(stream->conn, &stream->server.segment_bytes, err);
}

struct wal_stream *
wal_stream_open(const struct postgres *pg, const char *name, struct err *err)
{
	SCOPED(wal_stream_freep) struct wal_stream *stream = xcalloc(1, sizeof(*stream));

	stream->pg = pg;
	stream->conn = pg_connect_named(pg, NULL, PG_REPLICATION, name, err);
	if (stream->conn == NULL)
		return NULL;
	if (greet(stream, err) < 0) {
		(void)err_wrap(err, "postgres '%s'", pg->label);
		return NULL;
	}

	return TAKE(stream);
}

void
wal_stream_free(struct wal_stream *stream)
{
	if (stream == NULL)
		return;
	pg_close(stream->conn);
	free(stream->server.system_identifier);
	free(stream);
}

const struct wal_server *
wal_stream_server(const struct wal_stream *stream)
{
	return &stream->server;
}

const char *
wal_stream_sqlstate(const struct wal_stream *stream)
{
	return stream->sqlstate;
}

const char *
wal_stream_address(const struct wal_stream *stream)
{
	const char *address = libpq.PQhostaddr(stream->conn);

	return address != NULL && address[0] != '\0' ? address : NULL;
}

/* ---- timelines ------------------------------------------------------------------------------------ */

int
wal_stream_history(struct wal_stream *stream, uint32_t timeline, struct str *to, struct err *err)
{
	SCOPED(freep) char *sql = xasprintf("TIMELINE_HISTORY %u", timeline);

	SCOPED(pg_result_freep) PGresult *result = wal_stream_ask(stream, sql, err);
	if (result == NULL)
		return -1;
	if (libpq.PQntuples(result) != 1 || libpq.PQnfields(result) != 2 ||
	    libpq.PQgetlength(result, 0, 1) > WAL_HISTORY_MAX_BYTES)
		return err_set(err, ERR_PEER, "the server sent no history of timeline %u",
		    timeline);
	str_add_bytes(to, libpq.PQgetvalue(result, 0, 1), (size_t)libpq.PQgetlength(result, 0, 1));

	return 0;
}
