/* The copy: WAL in, positions out. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "base/parse.h"
#include "base/str.h"
#include "os/stop.h"
#include "source/postgres/copy_data_internal.h"
#include "source/postgres/lsn.h"
#include "source/postgres/postgres_internal.h"
#include "source/postgres/wal/messages.h"
#include "source/postgres/wal/stream_internal.h"

enum {
	/* What is drained at most before it is made durable: a busy server is told in between. */
	BATCH_BYTES = 4 * 1024 * 1024,
	/* Far behind, so much or so long is written before it is made durable. */
	BEHIND_BYTES = 16 * 1024 * 1024,
	BEHIND_US = 500 * 1000,
	WAIT_MAX_MS = 1000,
	GOODBYE_MS = 1000,
};

struct copy {
	struct wal_stream *stream;
	const struct wal_stream_request *request;
	const struct wal_stream_handler *handler;
	struct pg_copy_place place;
	uint64_t written_lsn; /* behind what the handler was given */
	uint64_t durable_lsn; /* behind what it made durable */
	uint64_t end_lsn;     /* of the server's WAL */
	struct mono_time heard;
	struct mono_time told;
	struct mono_time synced;
	bool wants_reply; /* the server asked */
	bool has_pinged;  /* we asked, since we last heard */
	bool is_told;     /* durable_lsn is what it was told last */
	bool is_over;     /* the copy has ended */
};

/* ---- out ------------------------------------------------------------------------------------------ */

/*
 * One 'r'.  Never waits: when the socket is full the server is not reading, and is told later.
 * The position stands in the log before it can reach the server.
 */
static int
reply(struct copy *copy, uint64_t lsn, bool wants_reply, struct err *err)
{
	PGconn *conn = copy->stream->conn;
	const struct wal_reply message = {
		.written_lsn = lsn,
		.flushed_lsn = lsn,
		.time = clock_wall(),
		.wants_reply = wants_reply,
	};
	uint8_t bytes[WAL_REPLY_BYTES];
	int queued;

	wal_reply_format(&message, bytes);
	if (!copy->is_told)
		log_trace("flush %X/%X", (unsigned)(lsn >> 32), (unsigned)lsn);
	queued = libpq.PQputCopyData(conn, (const char *)bytes, sizeof(bytes));
	/* libpq has read the server's error already: there is no copy, but a reason to be had. */
	if (queued < 0 && libpq.PQstatus(conn) == CONNECTION_OK) {
		copy->is_over = true;
		return 0;
	}
	if (queued < 0 || libpq.PQflush(conn) < 0)
		return pg_error(conn, NULL, err, "the connection broke");
	if (queued == 0)
		return 0;
	copy->told = clock_mono();
	copy->is_told = true;
	copy->wants_reply = false;

	return 0;
}

/*
 * Whoever waits for his commit waits for all that comes before it.  While that is still more than
 * a batch, the disk has better to do than to make each piece durable as it comes.
 */
static bool
can_wait(const struct copy *copy)
{
	return copy->end_lsn > copy->written_lsn + BATCH_BYTES &&
	    copy->written_lsn - copy->durable_lsn < BEHIND_BYTES &&
	    clock_elapsed_us(copy->synced) < BEHIND_US && !copy->is_over && !stop_is_requested();
}

static int
acknowledge(struct copy *copy, struct err *err)
{
	if (MUTANT("ack-before-fsync") && copy->written_lsn > copy->durable_lsn) {
		copy->is_told = false;
		if (reply(copy, copy->written_lsn, false, err) < 0)
			return -1;
	}
	if (copy->written_lsn > copy->durable_lsn && !can_wait(copy)) {
		if (copy->handler->sync(copy->handler->context, err) < 0)
			return -1;
		copy->durable_lsn = copy->written_lsn;
		copy->synced = clock_mono();
		copy->is_told = false;
	}
	/* The server has ended the copy, perhaps with an error that must be read, not talked over. */
	if (copy->is_over)
		return 0;
	if (copy->is_told && !copy->wants_reply &&
	    clock_elapsed_us(copy->told) < copy->request->status_every_us)
		return 0;

	return reply(copy, copy->durable_lsn, false, err);
}

/* ---- in ------------------------------------------------------------------------------------------- */

static int
take_message(struct copy *copy, const char *data, size_t size, struct err *err)
{
	struct wal_message message;

	if (wal_message_parse(data, size, &message, err) < 0)
		return -1;
	if (message.end_lsn > copy->end_lsn)
		copy->end_lsn = message.end_lsn;
	if (message.kind == WAL_MESSAGE_KEEPALIVE) {
		copy->wants_reply |= message.wants_reply;
		return 0;
	}
	if (message.start_lsn != copy->written_lsn) {
		char sent[LSN_TEXT_SIZE], wanted[LSN_TEXT_SIZE];

		return err_set(err, ERR_PEER, "the server sent WAL from %s, not from %s",
		    lsn_format(message.start_lsn, sent), lsn_format(copy->written_lsn, wanted));
	}
	if (copy->handler->write(copy->handler->context, message.data, message.size, err) < 0)
		return -1;
	copy->written_lsn += message.size;

	return 0;
}

/* The messages that libpq holds already; *ret_size 0 when there are no more. */
static int
take_messages(struct copy *copy, size_t *ret_size, struct err *err)
{
	size_t total = 0;

	*ret_size = 0;
	while (!copy->is_over && total < BATCH_BYTES) {
		const char *data;
		size_t size;

		if (pg_copy_take(&copy->place, copy->stream->conn, "the stream broke", &data, &size,
			&copy->is_over, err) < 0)
			return -1;
		if (data == NULL && !copy->is_over)
			break;
		copy->heard = clock_mono();
		copy->has_pinged = false;
		if (data != NULL && take_message(copy, data, size, err) < 0)
			return -1;
		total += size;
	}
	*ret_size = total;

	return 0;
}

static bool
is_readable(const PGconn *conn)
{
	struct pollfd fd = { .fd = libpq.PQsocket(conn), .events = POLLIN };

	return poll(&fd, 1, 0) > 0;
}

/* All that has arrived, at most a batch of it. */
static int
drain(struct copy *copy, struct err *err)
{
	size_t total = 0;
	size_t size;

	for (;;) {
		if (take_messages(copy, &size, err) < 0)
			return -1;
		total += size;
		if (copy->is_over || total >= BATCH_BYTES || !is_readable(copy->stream->conn))
			return 0;
		if (libpq.PQconsumeInput(copy->stream->conn) == 0)
			return pg_error(copy->stream->conn, NULL, err, "the connection broke");
	}
}

/* ---- time ----------------------------------------------------------------------------------------- */

/*
 * A server that is gone without a word is noticed by us alone: it is asked after half the time,
 * given up after all of it.
 */
static int
check_silence(struct copy *copy, struct err *err)
{
	int64_t silent_us = clock_elapsed_us(copy->heard);
	char text[CLOCK_TEXT_SIZE];

	if (silent_us >= copy->request->silence_max_us)
		return err_set(err, ERR_TIMEOUT, "the server has said nothing for %s",
		    clock_format_duration(silent_us, text));
	if (silent_us < copy->request->silence_max_us / 2 || copy->has_pinged)
		return 0;
	copy->has_pinged = true;

	return reply(copy, copy->durable_lsn, true, err);
}

static int
wait_for_more(struct copy *copy, int wait_ms, struct err *err)
{
	PGconn *conn = copy->stream->conn;
	int is_flushing = libpq.PQflush(conn);
	struct pollfd fds[] = {
		{ .fd = libpq.PQsocket(conn),
		    .events = (short)(POLLIN | (is_flushing > 0 ? POLLOUT : 0)) },
		{ .fd = stop_fd(), .events = POLLIN },
	};

	if (is_flushing < 0)
		return pg_error(conn, NULL, err, "the connection broke");
	if (poll(fds, ARRAY_SIZE(fds), wait_ms) < 0 && errno != EINTR)
		return err_sys(err, "cannot wait for the server");
	if (fds[0].revents != 0 && libpq.PQconsumeInput(conn) == 0)
		return pg_error(conn, NULL, err, "the connection broke");

	return 0;
}

/* ---- ends ------------------------------------------------------------------------------------------ */

static bool
is_enough(const struct copy *copy)
{
	return stop_is_requested() ||
	    (copy->request->stop_lsn != 0 && copy->durable_lsn >= copy->request->stop_lsn);
}

/* The last position is on its way before the connection is closed, unless nobody reads it. */
static int
say_goodbye(struct copy *copy, struct err *err)
{
	PGconn *conn = copy->stream->conn;
	struct mono_time began = clock_mono();

	copy->is_told = false;
	if (reply(copy, copy->durable_lsn, false, err) < 0)
		return -1;
	while (libpq.PQflush(conn) > 0 && clock_elapsed_us(began) < GOODBYE_MS * US_PER_MS) {
		struct pollfd fd = { .fd = libpq.PQsocket(conn), .events = POLLOUT };

		(void)poll(&fd, 1, GOODBYE_MS);
	}

	return 0;
}

/* "next_tli, next_tli_startpos". */
static int
parse_next(const PGresult *result, struct wal_stream_outcome *outcome, struct err *err)
{
	uint64_t timeline;

	if (libpq.PQntuples(result) != 1 || libpq.PQnfields(result) < 2)
		return err_set(err, ERR_PEER, "the server does not say which timeline comes next");
	if (parse_u64(libpq.PQgetvalue(result, 0, 0), 1, UINT32_MAX, &timeline, err) < 0 ||
	    lsn_parse(libpq.PQgetvalue(result, 0, 1), &outcome->next_lsn, err) < 0)
		return err_wrap(err, "the next timeline");
	outcome->next_timeline = (uint32_t)timeline;
	outcome->end = WAL_END_TIMELINE;

	return 0;
}

/*
 * What stands behind the copy: an offer to end it together and a row for the next timeline, or
 * just its end when the server shuts down, or an error.
 */
static int
read_end(struct wal_stream *stream, struct wal_stream_outcome *outcome, struct err *err)
{
	if (libpq.PQsetnonblocking(stream->conn, 0) < 0)
		return pg_error(stream->conn, NULL, err, "the stream broke");
	for (;;) {
		SCOPED(pg_result_freep) PGresult *result = NULL;
		ExecStatusType status;

		if (pg_next_result(stream->conn, &result, err) < 0)
			return -1;
		if (result == NULL)
			return 0;
		status = libpq.PQresultStatus(result);
		if (status == PGRES_COPY_IN) {
			if (libpq.PQputCopyEnd(stream->conn, NULL) < 0 ||
			    libpq.PQflush(stream->conn) < 0)
				return pg_error(stream->conn, NULL, err, "the stream broke");
		} else if (status == PGRES_TUPLES_OK) {
			if (parse_next(result, outcome, err) < 0)
				return -1;
		} else if (status == PGRES_COMMAND_OK) {
			/* A server that shuts down says this and is gone. */
			if (outcome->end == WAL_END_SHUTDOWN)
				return 0;
		} else {
			wal_stream_keep_state(stream, result);
			return pg_error(stream->conn, result, err, "the server ended the stream");
		}
	}
}

static int
run(struct copy *copy, struct wal_stream_outcome *outcome, struct err *err)
{
	for (;;) {
		int wait_ms = WAIT_MAX_MS;

		if (drain(copy, err) < 0 || acknowledge(copy, err) < 0)
			return -1;
		if (copy->is_over) {
			outcome->end = WAL_END_SHUTDOWN;
			return read_end(copy->stream, outcome, err);
		}
		if (is_enough(copy)) {
			outcome->end = WAL_END_STOPPED;
			return say_goodbye(copy, err);
		}
		/* What is not durable yet must not wait for a server that has fallen silent. */
		if (copy->written_lsn > copy->durable_lsn)
			wait_ms = BEHIND_US / 1000;
		if (check_silence(copy, err) < 0 ||
		    copy->handler->tick(copy->handler->context, copy->durable_lsn, copy->end_lsn,
			&wait_ms, err) < 0 ||
		    wait_for_more(copy, wait_ms, err) < 0)
			return -1;
	}
}

/* ---- begin ----------------------------------------------------------------------------------------- */

/* Asked for the very end of a timeline, the server names the next one at once. */
static int
begin(struct wal_stream *stream, const struct wal_stream_request *request, bool *ret_is_copying,
    struct wal_stream_outcome *outcome, struct err *err)
{
	SCOPED(str_done) struct str sql = STR_INIT;
	char lsn[LSN_TEXT_SIZE];

	str_add(&sql, "START_REPLICATION SLOT ");
	pg_add_identifier(&sql, request->slot);
	str_addf(&sql, " PHYSICAL %s TIMELINE %u", lsn_format(request->start_lsn, lsn),
	    request->timeline);
	wal_stream_keep_state(stream, NULL);
	if (libpq.PQsendQuery(stream->conn, str_text(&sql)) == 0)
		return pg_error(stream->conn, NULL, err, "cannot ask for WAL");
	SCOPED(pg_result_freep) PGresult *result = NULL;
	if (pg_next_result(stream->conn, &result, err) < 0)
		return -1;
	*ret_is_copying = result != NULL && libpq.PQresultStatus(result) == PGRES_COPY_BOTH;
	if (*ret_is_copying)
		return 0;
	if (libpq.PQresultStatus(result) == PGRES_TUPLES_OK)
		return parse_next(result, outcome, err) < 0 ? -1 : read_end(stream, outcome, err);
	wal_stream_keep_state(stream, result);

	return pg_error(stream->conn, result, err, "the server sends no WAL from %s on timeline %u",
	    lsn, request->timeline);
}

int
wal_stream_run(struct wal_stream *stream, const struct wal_stream_request *request,
    const struct wal_stream_handler *handler, struct wal_stream_outcome *ret_outcome,
    struct err *err)
{
	struct wal_stream_outcome outcome = { .end = WAL_END_STOPPED };
	struct copy copy = {
		.stream = stream,
		.request = request,
		.handler = handler,
		.written_lsn = request->start_lsn,
		.durable_lsn = request->start_lsn,
		.heard = clock_mono(),
		.told = clock_mono(),
		.synced = clock_mono(),
		.is_over = false,
	};
	bool is_copying = false;
	int result = 0;

	if (begin(stream, request, &is_copying, &outcome, err) < 0)
		return -1;
	if (is_copying && libpq.PQsetnonblocking(stream->conn, 1) < 0)
		return pg_error(stream->conn, NULL, err, "cannot receive WAL");
	if (is_copying)
		result = run(&copy, &outcome, err);
	pg_copy_place_done(&copy.place);
	if (result == 0)
		*ret_outcome = outcome;

	return result;
}
