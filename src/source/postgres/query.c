#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "os/file.h"
#include "os/stop.h"
#include "source/postgres/postgres_internal.h"

/* ---- errors --------------------------------------------------------------------------------- */

static enum err_kind
kind_of_sqlstate(const char *state)
{
	static const struct {
		const char *prefix;
		enum err_kind kind;
	} kinds[] = {
		{ "28", ERR_AUTH },
		{ "42501", ERR_AUTH }, /* insufficient_privilege */
		{ "08", ERR_NET },
		{ "57P", ERR_NET },   /* shut down, crashed, starting up */
		{ "53300", ERR_NET }, /* too_many_connections */
		{ "57014", ERR_CANCELLED },
		{ "XX001", ERR_DATA }, /* data_corrupted */
		{ "XX002", ERR_DATA }, /* index_corrupted */
		{ "3D000", ERR_NOT_FOUND },
		{ "42P04", ERR_EXISTS },
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (str_starts_with(state, kinds[i].prefix))
			return kinds[i].kind;
	}

	return ERR_PEER;
}

/* What libpq says of a broken connection, on one line. */
static int
error_of_connection(const PGconn *conn, const char *what, struct err *err)
{
	const char *text = libpq.PQerrorMessage(conn);

	if (text[0] == '\0')
		text = "the connection broke";

	return err_set(err, ERR_NET, "%s: %.*s", what, (int)strcspn(text, "\n"), text);
}

int
pg_error(PGconn *conn, const PGresult *result, struct err *err, const char *format, ...)
{
	const char *state = result != NULL ? libpq.PQresultErrorField(result, PG_DIAG_SQLSTATE)
					   : NULL;
	const char *text, *detail, *hint;
	char what[300];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	if (state == NULL)
		return error_of_connection(conn, what, err);

	text = libpq.PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	detail = libpq.PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
	hint = libpq.PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
	(void)err_set(err, kind_of_sqlstate(state), "%s: %s%s%s%s", what,
	    text != NULL ? text : state, detail != NULL ? " (" : "", detail != NULL ? detail : "",
	    detail != NULL ? ")" : "");
	if (hint != NULL)
		return err_hint(err, "%s", hint);

	return -1;
}

/* ---- statements ----------------------------------------------------------------------------- */

/* Ask the server to stop what it is doing for us; how that ends no longer matters. */
void
pg_cancel(PGconn *conn)
{
	char text[256];
	PGcancel *cancel = libpq.PQgetCancel(conn);

	if (cancel != NULL)
		(void)libpq.PQcancel(cancel, text, sizeof(text));
	libpq.PQfreeCancel(cancel);
}

int
pg_wait_readable(PGconn *conn, struct err *err)
{
	struct pollfd fds[2] = {
		{ .fd = libpq.PQsocket(conn), .events = POLLIN },
		{ .fd = stop_fd(), .events = POLLIN },
	};

	if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
		return err_sys(err, "cannot wait for the server");
	if (stop_check(err) < 0) {
		pg_cancel(conn);
		return -1;
	}

	return 0;
}

int
pg_next_result(PGconn *conn, PGresult **ret_result, struct err *err)
{
	if (stop_check(err) < 0)
		return -1;
	while (libpq.PQisBusy(conn)) {
		if (pg_wait_readable(conn, err) < 0)
			return -1;
		if (libpq.PQconsumeInput(conn) == 0)
			return error_of_connection(conn, "the server's answer is lost", err);
	}
	*ret_result = libpq.PQgetResult(conn);

	return 0;
}

static bool
is_good(const PGresult *result)
{
	ExecStatusType status = libpq.PQresultStatus(result);

	return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ||
	    status == PGRES_EMPTY_QUERY;
}

/* The start of a statement, for messages. */
static const char *
short_sql(const char *sql, char *text, size_t size)
{
	(void)snprintf(text, size, "%.*s%s", 60, sql, strlen(sql) > 60 ? "..." : "");
	return text;
}

/* Collect all results of what was sent; the last one counts, unless one failed. */
static PGresult *
collect(PGconn *conn, const char *sql, struct err *err)
{
	SCOPED(pg_result_freep) PGresult *last = NULL;
	char text[80];

	for (;;) {
		SCOPED(pg_result_freep) PGresult *result = NULL;

		if (pg_next_result(conn, &result, err) < 0)
			return NULL;
		if (result == NULL)
			break;
		if (last != NULL && !is_good(last))
			continue;
		pg_clear(last);
		last = TAKE(result);
		if (libpq.PQresultStatus(last) == PGRES_COPY_IN ||
		    libpq.PQresultStatus(last) == PGRES_COPY_OUT ||
		    libpq.PQresultStatus(last) == PGRES_COPY_BOTH)
			break;
	}
	if (last == NULL || !is_good(last)) {
		(void)pg_error(conn, last, err, "statement '%s' failed",
		    short_sql(sql, text, sizeof(text)));
		return NULL;
	}

	return TAKE(last);
}

PGresult *
pg_query(PGconn *conn, const char *sql, struct err *err)
{
	if (stop_check(err) < 0)
		return NULL;
	if (libpq.PQsendQuery(conn, sql) == 0) {
		(void)error_of_connection(conn, "cannot send a statement", err);
		return NULL;
	}

	return collect(conn, sql, err);
}

PGresult *
pg_query_params(PGconn *conn, const char *sql, const char *const *params, int count,
    struct err *err)
{
	if (stop_check(err) < 0)
		return NULL;
	if (libpq.PQsendQueryParams(conn, sql, count, NULL, params, NULL, NULL, 0) == 0) {
		(void)error_of_connection(conn, "cannot send a statement", err);
		return NULL;
	}

	return collect(conn, sql, err);
}

char *
pg_query_value(PGconn *conn, const char *sql, struct err *err)
{
	SCOPED(pg_result_freep) PGresult *result = pg_query(conn, sql, err);
	char text[80];

	if (result == NULL)
		return NULL;
	if (libpq.PQntuples(result) < 1 || libpq.PQnfields(result) < 1) {
		(void)err_set(err, ERR_DATA, "statement '%s' gave no row",
		    short_sql(sql, text, sizeof(text)));
		return NULL;
	}

	return xstrdup(libpq.PQgetvalue(result, 0, 0));
}

int
pg_execute(PGconn *conn, const char *sql, struct err *err)
{
	SCOPED(pg_result_freep) PGresult *result = pg_query(conn, sql, err);

	return result != NULL ? 0 : -1;
}

/* ---- what both protocols answer ----------------------------------------------------------------- */

/* SHOW answers "16MB": a number and a unit of 1024s, whatever it is called. */
int
pg_wal_segment_bytes(PGconn *conn, uint64_t *ret_bytes, struct err *err)
{
	SCOPED(freep) char *text = pg_query_value(conn, "SHOW wal_segment_size", err);
	uint64_t scale = 1;
	size_t digits;

	if (text == NULL)
		return -1;
	digits = strspn(text, "0123456789");
	if (str_equals(text + digits, "kB"))
		scale = 1024;
	else if (str_equals(text + digits, "MB"))
		scale = 1024 * 1024;
	else if (str_equals(text + digits, "GB"))
		scale = 1024 * 1024 * 1024;
	text[digits] = '\0';
	if (parse_u64(text, 1, 1 << 30, ret_bytes, err) < 0 ||
	    !mem_mul(*ret_bytes, scale, ret_bytes))
		return err_wrap(err, "wal_segment_size");
	if (*ret_bytes < 1024 * 1024 || *ret_bytes > 1024 * 1024 * 1024 ||
	    (*ret_bytes & (*ret_bytes - 1)) != 0)
		return err_set(err, ERR_PEER,
		    "the server's wal_segment_size is no power of two from 1 MB to 1 GB");

	return 0;
}

/* ---- quoting -------------------------------------------------------------------------------- */

static void
add_quoted(struct str *to, const char *text, char quote)
{
	str_add_char(to, quote);
	for (const char *c = text; *c != '\0'; c++) {
		if (*c == quote)
			str_add_char(to, quote);
		str_add_char(to, *c);
	}
	str_add_char(to, quote);
}

void
pg_add_identifier(struct str *to, const char *name)
{
	add_quoted(to, name, '"');
}

void
pg_add_literal(struct str *to, const char *text)
{
	add_quoted(to, text, '\'');
}

/* ---- the password for client programs --------------------------------------------------------- */

int
pg_passfile_open(const struct postgres *pg, int *ret_fd, struct err *err)
{
	/* Growing would leave copies of the password in freed memory, so it is sized at once. */
	char line[2 * 64 * 1024 + 16];
	size_t used = 0;

	if (pg->password == NULL) {
		*ret_fd = -1;
		return 0;
	}
	for (const char *c = "*:*:*:*:"; *c != '\0'; c++)
		line[used++] = *c;
	for (const char *c = secret_text(pg->password); *c != '\0'; c++) {
		if (*c == ':' || *c == '\\')
			line[used++] = '\\';
		line[used++] = *c;
	}
	line[used++] = '\n';

	SCOPED(closep) int fd = memfd_create("blackstart-passfile", MFD_CLOEXEC);
	int result = 0;

	if (fd < 0 || fchmod(fd, 0600) < 0)
		result = err_sys(err, "cannot make a password file in memory");
	else
		result = fd_write_all(fd, line, used, "password file in memory", err);
	explicit_bzero(line, used);
	if (result == 0)
		*ret_fd = TAKE_FD(fd);

	return result;
}
