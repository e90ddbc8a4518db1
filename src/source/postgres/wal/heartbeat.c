#include "source/postgres/wal/heartbeat.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "source/postgres/postgres_internal.h"

#define GIVE_UP_US (30 * US_PER_S)

enum { STEP_MS = 20 };

/* A standby has no commits of its own; asking costs nothing there. */
static const char beat_sql[] = "SET synchronous_commit = local; SET statement_timeout = '20s'; "
			       "SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() "
			       "THEN pg_catalog.pg_current_xact_id()::text END";

static PGconn *
conn_of(const struct wal_heartbeat *heartbeat)
{
	return (PGconn *)heartbeat->conn;
}

static void
rest(struct wal_heartbeat *heartbeat)
{
	pg_close(conn_of(heartbeat));
	heartbeat->conn = NULL;
	heartbeat->is_asking = false;
	heartbeat->is_reading = false;
}

void
wal_heartbeat_init(struct wal_heartbeat *heartbeat, const struct postgres *pg,
    const char *client_name, int64_t every_us, const char *address)
{
	*heartbeat = (struct wal_heartbeat){
		.pg = pg,
		.client_name = client_name,
		.every_us = every_us,
		.address = xstrdup(address),
	};
}

void
wal_heartbeat_done(struct wal_heartbeat *heartbeat)
{
	rest(heartbeat);
	free(heartbeat->address);
	heartbeat->address = NULL;
}

static void
fail(struct wal_heartbeat *heartbeat, const char *text)
{
	if (!heartbeat->is_failing)
		log_warning(
		    "no heartbeat: %.*s; while the server is quiet it can be brought back only to its last commit",
		    (int)strcspn(text, "\n"), text);
	heartbeat->is_failing = true;
	rest(heartbeat);
}

static bool
is_ready(const PGconn *conn, short events)
{
	struct pollfd fd = { .fd = libpq.PQsocket(conn), .events = events };

	return poll(&fd, 1, 0) > 0;
}

static void
connect_step(struct wal_heartbeat *heartbeat)
{
	PGconn *conn = conn_of(heartbeat);
	PostgresPollingStatusType status;

	if (libpq.PQstatus(conn) == CONNECTION_BAD) {
		fail(heartbeat, libpq.PQerrorMessage(conn));
		return;
	}
	if (!is_ready(conn, heartbeat->is_reading ? POLLIN : POLLOUT))
		return;
	status = libpq.PQconnectPoll(conn);
	heartbeat->is_reading = status == PGRES_POLLING_READING;
	if (status == PGRES_POLLING_FAILED) {
		fail(heartbeat, libpq.PQerrorMessage(conn));
		return;
	}
	if (status != PGRES_POLLING_OK)
		return;
	if (libpq.PQsendQuery(conn, beat_sql) == 0)
		fail(heartbeat, libpq.PQerrorMessage(conn));
	else
		heartbeat->is_asking = true;
}

static void
ask_step(struct wal_heartbeat *heartbeat)
{
	PGconn *conn = conn_of(heartbeat);
	PGresult *result;

	if (libpq.PQconsumeInput(conn) == 0) {
		fail(heartbeat, libpq.PQerrorMessage(conn));
		return;
	}
	while (libpq.PQisBusy(conn) == 0) {
		bool is_bad;

		result = libpq.PQgetResult(conn);
		if (result == NULL) {
			heartbeat->is_failing = false;
			rest(heartbeat);
			return;
		}
		is_bad = libpq.PQresultStatus(result) != PGRES_TUPLES_OK &&
		    libpq.PQresultStatus(result) != PGRES_COMMAND_OK;
		if (is_bad)
			fail(heartbeat, libpq.PQresultErrorMessage(result));
		pg_clear(result);
		if (is_bad)
			return;
	}
}

void
wal_heartbeat_tick(struct wal_heartbeat *heartbeat, int *wait_ms)
{
	if (heartbeat->every_us == 0)
		return;
	if (heartbeat->conn == NULL) {
		struct err err = ERR_INIT;

		if (heartbeat->began.us != 0 &&
		    clock_elapsed_us(heartbeat->began) < heartbeat->every_us)
			return;
		heartbeat->began = clock_mono();
		heartbeat->conn = (struct pg_conn *)pg_connect_begin(heartbeat->pg,
		    heartbeat->client_name, heartbeat->address, &err);
		if (heartbeat->conn == NULL) {
			fail(heartbeat, err.msg);
			return;
		}
	}
	if (clock_elapsed_us(heartbeat->began) > GIVE_UP_US)
		fail(heartbeat, "no answer within 30 s");
	else if (heartbeat->is_asking)
		ask_step(heartbeat);
	else
		connect_step(heartbeat);
	if (heartbeat->conn != NULL && *wait_ms > STEP_MS)
		*wait_ms = STEP_MS;
}
