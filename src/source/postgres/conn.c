#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/stop.h"
#include "source/postgres/postgres_internal.h"

enum {
	CONNECT_TIMEOUT_MS = 10000,
	SQLSTATE_SIZE = 5,
	CAUSE_MAX = 400,
	KEYWORDS_MAX = 20,
};

/* ---- parameters --------------------------------------------------------------------------- */

struct keywords {
	const char *names[KEYWORDS_MAX];
	const char *values[KEYWORDS_MAX];
	size_t count;
};

static void
keyword_add(struct keywords *keywords, const char *name, const char *value)
{
	if (value == NULL)
		return;
	keywords->names[keywords->count] = name;
	keywords->values[keywords->count] = value;
	keywords->count++;
}

static PGconn *
connect_start(const struct postgres *pg, const char *database, enum pg_mode mode,
    const char *client_name, const char *address, struct err *err)
{
	struct keywords keywords = { .count = 0 };
	char port[16];
	PGconn *conn;

	if (libpq_load(err) < 0)
		return NULL;
	(void)snprintf(port, sizeof(port), "%u", pg->port);
	keyword_add(&keywords, "host", pg->host);
	keyword_add(&keywords, "hostaddr", address);
	keyword_add(&keywords, "port", port);
	keyword_add(&keywords, "user", pg->user);
	keyword_add(&keywords, "password", secret_text(pg->password));
	if (mode == PG_REPLICATION)
		keyword_add(&keywords, "replication", "true");
	else
		keyword_add(&keywords, "dbname", database);
	keyword_add(&keywords, "sslmode", pg->sslmode);
	keyword_add(&keywords, "sslrootcert", pg->sslrootcert);
	keyword_add(&keywords, "application_name", client_name);
	keyword_add(&keywords, "client_encoding", "UTF8");
	keyword_add(&keywords, "keepalives", "1");
	keyword_add(&keywords, "keepalives_idle", "30");
	keyword_add(&keywords, "keepalives_interval", "10");
	keyword_add(&keywords, "keepalives_count", "3");
	keyword_add(&keywords, "tcp_user_timeout", "60000");

	conn = libpq.PQconnectStartParams(keywords.names, keywords.values, 0);
	if (conn == NULL)
		(void)err_set(err, ERR_BUG, "cannot connect: out of memory");

	return conn;
}

/* ---- what went wrong ------------------------------------------------------------------------ */

/*
 * libpq gives no SQLSTATE for a refused connection, but with verbose errors it stands in the
 * text: "... failed: FATAL:  28P01: password authentication failed ...".  Several attempts
 * (addresses, with and without TLS) stand one below the other; the last one is the outcome.
 * NULL when the failure was not the server's answer.
 */
static const char *
find_sqlstate(const char *text)
{
	const char *found = NULL;

	for (const char *at = strstr(text, ":  "); at != NULL; at = strstr(at + 1, ":  ")) {
		const char *state = at + 3;
		size_t size = 0;

		while (size < SQLSTATE_SIZE &&
		    (isdigit((unsigned char)state[size]) || isupper((unsigned char)state[size])))
			size++;
		if (size == SQLSTATE_SIZE && state[size] == ':' && state[size + 1] == ' ')
			found = state;
	}

	return found;
}

/* The cause alone, on one line: what follows the last "failed: " when libpq speaks itself. */
static void
cut_cause(const char *text, char *ret_cause, size_t size)
{
	const char *at = text;

	for (const char *next = strstr(text, "failed: "); next != NULL;
	     next = strstr(at, "failed: "))
		at = next + strlen("failed: ");
	(void)snprintf(ret_cause, size, "%.*s", (int)strcspn(at, "\n"), at);
}

static const char *
where(const struct postgres *pg, char *text, size_t size)
{
	(void)snprintf(text, size, "%s:%u", pg->host, pg->port);
	return text;
}

/* One sentence that names what to change, by the server's answer. */
static int
hint_for_sqlstate(const struct postgres *pg, const char *database, enum pg_mode mode,
    const char *state, struct err *err)
{
	if (str_starts_with(state, "28P01"))
		return err_hint(err,
		    "Check the password of user '%s' (password_file), or set it on "
		    "the server: ALTER ROLE \"%s\" PASSWORD '...'.",
		    pg->user, pg->user);
	if (str_starts_with(state, "28000") && mode == PG_REPLICATION)
		return err_hint(err,
		    "Add a line to pg_hba.conf and reload: host replication %s "
		    "ADDRESS/32 scram-sha-256 ('blackstart check --sql' prints the role's rights).",
		    pg->user);
	if (str_starts_with(state, "28000"))
		return err_hint(err,
		    "Add a line to pg_hba.conf and reload: host %s %s ADDRESS/32 "
		    "scram-sha-256, or check that the role may log in.",
		    database, pg->user);
	if (str_starts_with(state, "42501"))
		return err_hint(err, "Give the role the right: ALTER ROLE \"%s\" REPLICATION.",
		    pg->user);
	if (str_starts_with(state, "3D000"))
		return err_hint(err, "Check 'databases' of this source: '%s' is not on the server.",
		    database);
	if (str_starts_with(state, "53300"))
		return err_hint(err, "Raise %s on the server, or close other connections.",
		    mode == PG_REPLICATION ? "max_wal_senders" : "max_connections");

	return -1;
}

static int
server_refused(const struct postgres *pg, const char *database, enum pg_mode mode,
    const char *state, struct err *err)
{
	char place[300];
	const char *cause = state + SQLSTATE_SIZE + 2;
	enum err_kind kind = ERR_PEER;

	if (str_starts_with(state, "28") || str_starts_with(state, "42501"))
		kind = ERR_AUTH;
	else if (str_starts_with(state, "57P") || str_starts_with(state, "08") ||
	    str_starts_with(state, "53300"))
		kind = ERR_NET;
	(void)err_set(err, kind, "cannot connect to postgres '%s' at %s: %.*s", pg->label,
	    where(pg, place, sizeof(place)), (int)strcspn(cause, "\n"), cause);

	return hint_for_sqlstate(pg, database, mode, state, err);
}

static int
connect_failed(const struct postgres *pg, const char *database, enum pg_mode mode, PGconn *conn,
    struct err *err)
{
	const char *text = libpq.PQerrorMessage(conn);
	const char *state = find_sqlstate(text);
	char place[300];
	char cause[CAUSE_MAX];

	if (state != NULL)
		return server_refused(pg, database, mode, state, err);

	(void)where(pg, place, sizeof(place));
	if (libpq.PQconnectionNeedsPassword(conn)) {
		(void)err_set(err, ERR_AUTH,
		    "cannot connect to postgres '%s' at %s: the server asks for a password and none is "
		    "given",
		    pg->label, place);
		return err_hint(err, "Set password_file for this source, or PGPASSFILE.");
	}
	cut_cause(text, cause, sizeof(cause));
	(void)err_set(err, ERR_NET, "cannot connect to postgres '%s' at %s: %s", pg->label, place,
	    cause);
	if (strstr(text, "SSL") != NULL || strstr(text, "certificate") != NULL)
		return err_hint(err,
		    "Check sslmode and sslrootcert of this source, and 'ssl' on the "
		    "server.");

	return err_hint(err,
	    "Check that the server runs, that host and port are right, and "
	    "listen_addresses on the server.");
}

/* ---- connecting ----------------------------------------------------------------------------- */

static int
wait_for_socket(PGconn *conn, PostgresPollingStatusType status, struct mono_time began,
    bool *ret_is_late, struct err *err)
{
	struct pollfd fds[2] = {
		{ .fd = libpq.PQsocket(conn),
		    .events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT },
		{ .fd = stop_fd(), .events = POLLIN },
	};
	int64_t left_ms = CONNECT_TIMEOUT_MS - clock_elapsed_us(began) / US_PER_MS;
	int ready = 0;

	if (left_ms > 0)
		ready = poll(fds, ARRAY_SIZE(fds), (int)left_ms);
	if (ready < 0 && errno != EINTR)
		return err_sys(err, "cannot wait for a connection");
	*ret_is_late = ready == 0;

	return stop_check(err);
}

static int
connect_finish(const struct postgres *pg, const char *database, enum pg_mode mode, PGconn *conn,
    struct err *err)
{
	struct mono_time began = clock_mono();
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;
	bool is_late = false;

	if (libpq.PQstatus(conn) == CONNECTION_BAD)
		return connect_failed(pg, database, mode, conn, err);
	(void)libpq.PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);
	while (status != PGRES_POLLING_OK && status != PGRES_POLLING_FAILED && !is_late) {
		if (wait_for_socket(conn, status, began, &is_late, err) < 0)
			return -1;
		if (!is_late)
			status = libpq.PQconnectPoll(conn);
	}
	if (is_late) {
		(void)err_set(err, ERR_TIMEOUT,
		    "cannot connect to postgres '%s' at %s:%u: no answer "
		    "within %d s",
		    pg->label, pg->host, pg->port, CONNECT_TIMEOUT_MS / 1000);
		return err_hint(err, "Check the host name, the port, and firewalls on the way.");
	}
	if (status == PGRES_POLLING_FAILED)
		return connect_failed(pg, database, mode, conn, err);
	(void)libpq.PQsetErrorVerbosity(conn, PQERRORS_DEFAULT);

	return 0;
}

/* Names resolve to the system catalog only, text is quoted one way, and nothing times out. */
static int
session_prepare(PGconn *conn, struct err *err)
{
	SCOPED(str_done) struct str sql = STR_INIT;

	str_add(&sql,
	    "SET search_path = pg_catalog; SET standard_conforming_strings = on; "
	    "SET statement_timeout = 0; SET lock_timeout = 0; "
	    "SET idle_in_transaction_session_timeout = 0; SET DateStyle = ISO");
	if (pg_server_version(conn) >= 140000)
		str_add(&sql, "; SET idle_session_timeout = 0");
	if (pg_server_version(conn) >= 170000)
		str_add(&sql, "; SET transaction_timeout = 0");

	return pg_execute(conn, str_text(&sql), err);
}

/* A notice is not an error, and libpq would print it; base backups install their own receiver. */
static void
notice_ignore(void *context, const PGresult *result)
{
	(void)context;
	(void)result;
}

PGconn *
pg_connect_begin(const struct postgres *pg, const char *client_name, const char *address,
    struct err *err)
{
	PGconn *conn = connect_start(pg, pg->maintenance_database, PG_SQL, client_name, address,
	    err);

	if (conn != NULL)
		(void)libpq.PQsetNoticeReceiver(conn, notice_ignore, NULL);

	return conn;
}

PGconn *
pg_connect(const struct postgres *pg, const char *database, enum pg_mode mode, struct err *err)
{
	return pg_connect_named(pg, database, mode, "blackstart", err);
}

PGconn *
pg_connect_named(const struct postgres *pg, const char *database, enum pg_mode mode,
    const char *client_name, struct err *err)
{
	if (pg->host == NULL) {
		(void)err_set(err, ERR_USAGE, "no live server is known for postgres '%s'",
		    pg->label);
		(void)err_hint(err,
		    "Name it: postgres://USER@HOST:PORT/DATABASE, or a source in the "
		    "configuration.");
		return NULL;
	}
	if (database == NULL)
		database = pg->maintenance_database;

	SCOPED(pg_conn_freep)
	PGconn *conn = connect_start(pg, database, mode, client_name, NULL, err);
	if (conn == NULL)
		return NULL;
	(void)libpq.PQsetNoticeReceiver(conn, notice_ignore, NULL);
	if (connect_finish(pg, database, mode, conn, err) < 0)
		return NULL;
	if (mode == PG_SQL && session_prepare(conn, err) < 0) {
		(void)err_wrap(err, "postgres '%s'", pg->label);
		return NULL;
	}

	return TAKE(conn);
}

int
pg_server_version(const PGconn *conn)
{
	return libpq.PQserverVersion(conn);
}

char *
pg_version_text(int version)
{
	return xasprintf("%d.%d", version / 10000, version % 10000);
}
