#include "source/postgres/base/stream_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "os/random.h"
#include "os/stop.h"
#include "source/postgres/copy_data_internal.h"
#include "source/postgres/lsn.h"
#include "source/postgres/postgres_internal.h"

enum {
	VERSION_OLDEST = 130000,
	VERSION_TYPED_MESSAGES = 150000,
	NOTICES_MAX = 100,
	NOTICE_TEXT_MAX = 1024,
	TABLESPACES_MAX = 100000,
	RATE_MIN_KB = 32,
	RATE_MAX_KB = 1048576,
	CLOSING_BLOCKS_BYTES = 1024,
};

struct base_stream {
	PGconn *conn;
	struct pg_copy_place place;
	struct base_server server;
	const struct base_stream_handler *handler;
	struct base_start *start;
	struct base_end *end;
	uint64_t received_bytes;
	unsigned archives; /* begun */
	bool is_in_archive;
	bool is_in_manifest;
};

/* ---- the connection ----------------------------------------------------------------------------- */

static void
notice_keep(void *context, const PGresult *result)
{
	struct base_stream *stream = context;
	const char *text = libpq.PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *severity = libpq.PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);

	if (text == NULL || !str_equals(severity, "WARNING") || stream->end == NULL)
		return;
	if (stream->end->notices.count < NOTICES_MAX)
		vec_push(&stream->end->notices, xstrndup(text, NOTICE_TEXT_MAX));
}

static int
ask_server(struct base_stream *stream, struct err *err)
{
	struct base_server *server = &stream->server;

	server->version = pg_server_version(stream->conn);
	if (server->version < VERSION_OLDEST)
		return err_set(err, ERR_UNSUPPORTED,
		    "base backups need PostgreSQL 13 or newer, not %d.%d", server->version / 10000,
		    server->version % 10000);
	server->system_identifier = pg_query_value(stream->conn, "IDENTIFY_SYSTEM", err);
	if (server->system_identifier == NULL)
		return -1;

	SCOPED(freep) char *checksums = pg_query_value(stream->conn, "SHOW data_checksums", err);
	if (checksums == NULL)
		return -1;
	server->has_checksums = strcmp(checksums, "on") == 0;

	return pg_wal_segment_bytes(stream->conn, &server->wal_segment_bytes, err);
}

struct base_stream *
base_stream_open(const struct postgres *pg, struct err *err)
{
	SCOPED(base_stream_freep) struct base_stream *stream = xcalloc(1, sizeof(*stream));

	stream->conn = pg_connect(pg, NULL, PG_REPLICATION, err);
	if (stream->conn == NULL)
		return NULL;
	if (ask_server(stream, err) < 0) {
		(void)err_wrap(err, "postgres '%s'", pg->label);
		return NULL;
	}
	(void)libpq.PQsetNoticeReceiver(stream->conn, notice_keep, stream);

	return TAKE(stream);
}

const struct base_server *
base_stream_server(const struct base_stream *stream)
{
	return &stream->server;
}

void
base_stream_free(struct base_stream *stream)
{
	if (stream == NULL)
		return;
	pg_close(stream->conn);
	pg_copy_place_done(&stream->place);
	free(stream->server.system_identifier);
	free(stream);
}

void
base_start_done(struct base_start *start)
{
	for (size_t i = 0; i < start->tablespaces.count; i++) {
		free(start->tablespaces.items[i].oid);
		free(start->tablespaces.items[i].location);
	}
	vec_done(&start->tablespaces);
}

void
base_end_done(struct base_end *end)
{
	for (size_t i = 0; i < end->notices.count; i++)
		free(end->notices.items[i]);
	vec_done(&end->notices);
}

/* ---- what goes wrong ------------------------------------------------------------------------------ */

/* The same words for every break: how far it came is what the operator wants to know. */
static int
wrap_reached(const struct base_stream *stream, struct err *err)
{
	char done[32], total[32];

	if (stream->received_bytes == 0)
		return -1;

	return err_wrap(err, "base backup broken off after %s of about %s",
	    format_bytes(stream->received_bytes, done),
	    format_bytes(stream->start->size_bytes, total));
}

static int
unexpected(const struct base_stream *stream, const PGresult *result, const char *what,
    struct err *err)
{
	bool has_state = result != NULL &&
	    libpq.PQresultErrorField(result, PG_DIAG_SQLSTATE) != NULL;

	if (has_state || result == NULL || libpq.PQstatus(stream->conn) == CONNECTION_BAD) {
		(void)pg_error(stream->conn, result, err, "the server ended the base backup");
		return wrap_reached(stream, err);
	}

	return err_set(err, ERR_PEER, "the server sent no %s, but %s", what,
	    libpq.PQresStatus(libpq.PQresultStatus(result)));
}

static int
expect(struct base_stream *stream, ExecStatusType status, const char *what, PGresult **ret_result,
    struct err *err)
{
	SCOPED(pg_result_freep) PGresult *result = NULL;

	if (pg_next_result(stream->conn, &result, err) < 0)
		return wrap_reached(stream, err);
	if (libpq.PQresultStatus(result) != status)
		return unexpected(stream, result, what, err);
	*ret_result = TAKE(result);

	return 0;
}

/* ---- the results around the copy ------------------------------------------------------------------- */

static int
expect_position(struct base_stream *stream, const char *what, uint64_t *ret_lsn,
    uint32_t *ret_timeline, struct err *err)
{
	SCOPED(pg_result_freep) PGresult *result = NULL;
	unsigned timeline;

	if (expect(stream, PGRES_TUPLES_OK, what, &result, err) < 0)
		return -1;
	if (libpq.PQntuples(result) != 1 || libpq.PQnfields(result) < 2)
		return err_set(err, ERR_PEER, "the server sent no %s", what);
	if (lsn_parse(libpq.PQgetvalue(result, 0, 0), ret_lsn, err) < 0 ||
	    parse_unsigned(libpq.PQgetvalue(result, 0, 1), 1, UINT32_MAX, &timeline, err) < 0)
		return err_wrap(err, "%s", what);
	*ret_timeline = timeline;

	return 0;
}

static bool
is_oid(const char *text)
{
	size_t size = strlen(text);

	return size > 0 && size <= 10 && strspn(text, "0123456789") == size;
}

/* spcoid, spclocation, size in kB; the data directory itself has neither of the first two. */
static int
expect_tablespaces(struct base_stream *stream, struct err *err)
{
	SCOPED(pg_result_freep) PGresult *result = NULL;
	struct base_start *start = stream->start;

	if (expect(stream, PGRES_TUPLES_OK, "list of tablespaces", &result, err) < 0)
		return -1;
	if (libpq.PQnfields(result) < 3 || libpq.PQntuples(result) < 1 ||
	    libpq.PQntuples(result) > TABLESPACES_MAX)
		return err_set(err, ERR_PEER, "the server's list of tablespaces is not understood");
	for (int row = 0; row < libpq.PQntuples(result); row++) {
		struct base_tablespace *space = vec_add(&start->tablespaces);
		uint64_t size_kb = 0;

		if (!libpq.PQgetisnull(result, row, 2) &&
		    parse_u64(libpq.PQgetvalue(result, row, 2), 0, INT64_MAX / 1024, &size_kb,
			err) < 0)
			return err_wrap(err, "size of a tablespace");
		space->size_bytes = size_kb * 1024;
		start->size_bytes += space->size_bytes;
		if (libpq.PQgetisnull(result, row, 0))
			continue;
		if (!is_oid(libpq.PQgetvalue(result, row, 0)))
			return err_set(err, ERR_PEER, "the server names a tablespace '%.40s'",
			    libpq.PQgetvalue(result, row, 0));
		space->oid = xstrdup(libpq.PQgetvalue(result, row, 0));
		space->location = xstrdup(libpq.PQgetvalue(result, row, 1));
	}

	return 0;
}

/* ---- what arrives in the copy ----------------------------------------------------------------------- */

static int
close_archive(struct base_stream *stream, struct err *err)
{
	if (!stream->is_in_archive)
		return 0;
	stream->is_in_archive = false;

	return stream->handler->archive_end(stream->handler->context, err);
}

static const struct base_tablespace *
find_tablespace(const struct base_stream *stream, const char *name)
{
	for (size_t i = 0; i < stream->start->tablespaces.count; i++) {
		const struct base_tablespace *space = &stream->start->tablespaces.items[i];
		size_t size = space->oid != NULL ? strlen(space->oid) : 0;

		if (space->oid != NULL && strncmp(name, space->oid, size) == 0 &&
		    strcmp(name + size, ".tar") == 0)
			return space;
	}

	return NULL;
}

/*
 * A name from the wire would become a file's name: only base.tar and the announced tablespaces
 * are taken, each a name of our own making.
 */
static int
open_archive(struct base_stream *stream, const char *name, struct err *err)
{
	const struct base_tablespace *space = find_tablespace(stream, name);

	if (close_archive(stream, err) < 0)
		return -1;
	if (stream->is_in_manifest || stream->archives >= stream->start->tablespaces.count ||
	    (space == NULL && strcmp(name, "base.tar") != 0))
		return err_set(err, ERR_PEER,
		    "the server sends an archive that nobody expects: '%.60s'", name);
	stream->archives++;
	stream->is_in_archive = true;

	return stream->handler->archive(stream->handler->context, space != NULL ? space->oid : NULL,
	    err);
}

static int
take_data(struct base_stream *stream, const void *data, size_t size, struct err *err)
{
	const struct base_stream_handler *handler = stream->handler;

	if (stream->is_in_manifest)
		return handler->manifest(handler->context, data, size, err);
	if (!stream->is_in_archive)
		return err_set(err, ERR_PEER, "the server sends data outside an archive");
	stream->received_bytes += size;

	return handler->data(handler->context, data, size, err);
}

/* Since 15 each message begins with its type: n archive, d data, m manifest, p progress. */
static int
take_message(struct base_stream *stream, const char *data, size_t size, struct err *err)
{
	switch (size > 0 ? data[0] : '\0') {
	case 'd':
		return take_data(stream, data + 1, size - 1, err);
	case 'p':
		return 0;
	case 'n':
		if (memchr(data + 1, '\0', size - 1) == NULL)
			return err_set(err, ERR_PEER, "the server sends an archive without a name");
		return open_archive(stream, data + 1, err);
	case 'm':
		stream->is_in_manifest = true;
		return close_archive(stream, err);
	default:
		return err_set(err, ERR_PEER,
		    "the server sends a message of an unknown type 0x%02x",
		    size > 0 ? (unsigned char)data[0] : 0);
	}
}

/*
 * The next message, waiting when there is none.  Reading comes before polling: while the server
 * is the faster one, no poll is needed at all.  *ret_data is NULL at the end of the copy.
 */
static int
next_message(struct base_stream *stream, const char **ret_data, size_t *ret_size, struct err *err)
{
	bool has_read = false;
	bool is_over;

	for (;;) {
		if (pg_copy_take(&stream->place, stream->conn, "the server ended the base backup",
			ret_data, ret_size, &is_over, err) < 0)
			return wrap_reached(stream, err);
		if (*ret_data != NULL || is_over)
			return 0;
		if (has_read && pg_wait_readable(stream->conn, err) < 0)
			return wrap_reached(stream, err);
		if (libpq.PQconsumeInput(stream->conn) == 0)
			return unexpected(stream, NULL, "data", err);
		has_read = true;
	}
}

static int
receive_copy(struct base_stream *stream, struct err *err)
{
	bool is_typed = stream->server.version >= VERSION_TYPED_MESSAGES;

	for (;;) {
		const char *data;
		size_t size;
		int result;

		if (stop_check(err) < 0) {
			pg_cancel(stream->conn);
			return -1;
		}
		if (next_message(stream, &data, &size, err) < 0)
			return -1;
		if (data == NULL)
			return 0;
		result = is_typed ? take_message(stream, data, size, err)
				  : take_data(stream, data, size, err);
		if (result < 0)
			return -1;
	}
}

static int
receive_typed(struct base_stream *stream, struct err *err)
{
	SCOPED(pg_result_freep) PGresult *copy = NULL;

	if (expect(stream, PGRES_COPY_OUT, "copy", &copy, err) < 0 || receive_copy(stream, err) < 0)
		return -1;

	return close_archive(stream, err);
}

/* 13 and 14: a COPY for each row of the list, without the two zero blocks that end a tar. */
static int
receive_one_by_one(struct base_stream *stream, struct err *err)
{
	static const char zeros[CLOSING_BLOCKS_BYTES];

	for (size_t i = 0; i <= stream->start->tablespaces.count; i++) {
		SCOPED(pg_result_freep) PGresult *copy = NULL;

		if (expect(stream, PGRES_COPY_OUT, "copy", &copy, err) < 0)
			return -1;
		stream->is_in_manifest = i == stream->start->tablespaces.count;
		if (!stream->is_in_manifest) {
			const char *oid = stream->start->tablespaces.items[i].oid;
			SCOPED(freep) char *name = xasprintf("%s.tar", oid != NULL ? oid : "base");

			if (open_archive(stream, name, err) < 0)
				return -1;
		}
		if (receive_copy(stream, err) < 0)
			return -1;
		if (stream->is_in_archive && take_data(stream, zeros, sizeof(zeros), err) < 0)
			return -1;
		if (close_archive(stream, err) < 0)
			return -1;
	}

	return 0;
}

/* ---- the command ------------------------------------------------------------------------------------ */

static char *
format_command(const struct base_stream *stream, const struct base_stream_options *options)
{
	bool is_new = stream->server.version >= VERSION_TYPED_MESSAGES;
	const char *comma = is_new ? "," : "";
	uint64_t rate_kb = options->rate_limit_bytes_per_s / 1024;
	struct str sql = STR_INIT;

	str_add(&sql, is_new ? "BASE_BACKUP (LABEL " : "BASE_BACKUP LABEL ");
	pg_add_literal(&sql, options->label);
	str_addf(&sql, "%s PROGRESS%s %s%s %s", comma, comma, is_new ? "CHECKPOINT 'fast'" : "FAST",
	    comma, is_new ? "WAIT 0" : "NOWAIT");
	if (options->wants_wal)
		str_addf(&sql, "%s WAL", comma);
	if (options->rate_limit_bytes_per_s > 0 && rate_kb <= RATE_MAX_KB)
		str_addf(&sql, "%s MAX_RATE %llu", comma,
		    (unsigned long long)(rate_kb < RATE_MIN_KB ? RATE_MIN_KB : rate_kb));
	str_addf(&sql, "%s TABLESPACE_MAP%s MANIFEST 'yes'%s MANIFEST_CHECKSUMS 'CRC32C'%s", comma,
	    comma, comma, is_new ? ")" : "");

	return str_take(&sql);
}

/*
 * While the copy runs the server might recycle WAL that has to come at its end.  A temporary slot
 * on the same connection holds it back, and goes with the connection.  Without a free slot the
 * backup is tried all the same: the server says so if the WAL is gone.
 */
static void
hold_wal(struct base_stream *stream)
{
	struct err err = ERR_INIT;
	char random[9];
	SCOPED(freep) char *sql = NULL;

	random_hex(random, sizeof(random) - 1);
	sql = xasprintf("CREATE_REPLICATION_SLOT \"blackstart_%s\" TEMPORARY PHYSICAL RESERVE_WAL",
	    random);
	if (pg_execute(stream->conn, sql, &err) < 0)
		log_debug("cannot hold WAL with a temporary slot: %s, continuing", err.msg);
}

/* The end position, then the outcome: checksum failures are an error after all was sent. */
static int
receive_end(struct base_stream *stream, struct err *err)
{
	SCOPED(pg_result_freep) PGresult *result = NULL;

	if (expect_position(stream, "end position", &stream->end->end_lsn,
		&stream->end->end_timeline, err) < 0)
		return -1;
	if (pg_next_result(stream->conn, &result, err) < 0)
		return -1;
	if (str_equals(libpq.PQresultErrorField(result, PG_DIAG_SQLSTATE), "XX001")) {
		stream->end->is_damaged = true;
		return 0;
	}
	if (libpq.PQresultStatus(result) != PGRES_COMMAND_OK)
		return unexpected(stream, result, "end of the base backup", err);

	return 0;
}

int
base_stream_run(struct base_stream *stream, const struct base_stream_options *options,
    const struct base_stream_handler *handler, struct base_start *ret_start,
    struct base_end *ret_end, struct err *err)
{
	SCOPED(freep) char *sql = format_command(stream, options);

	memset(ret_start, 0, sizeof(*ret_start));
	memset(ret_end, 0, sizeof(*ret_end));
	stream->handler = handler;
	stream->start = ret_start;
	stream->end = ret_end;
	if (options->wants_wal)
		hold_wal(stream);
	if (libpq.PQsendQuery(stream->conn, sql) == 0)
		return pg_error(stream->conn, NULL, err, "cannot send BASE_BACKUP");
	if (expect_position(stream, "start position", &ret_start->start_lsn,
		&ret_start->start_timeline, err) < 0 ||
	    expect_tablespaces(stream, err) < 0 ||
	    handler->start(handler->context, ret_start, err) < 0)
		return -1;
	if ((stream->server.version >= VERSION_TYPED_MESSAGES
		    ? receive_typed(stream, err)
		    : receive_one_by_one(stream, err)) < 0)
		return -1;
	if (!stream->is_in_manifest || stream->archives != ret_start->tablespaces.count)
		return err_set(err, ERR_PEER, "the server sent %u of %zu archives%s",
		    stream->archives, ret_start->tablespaces.count,
		    stream->is_in_manifest ? "" : " and no manifest");

	return receive_end(stream, err);
}
