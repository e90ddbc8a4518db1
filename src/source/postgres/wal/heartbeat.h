/*
 * A commit of our own every so often, so that a quiet server can be brought back to now: recovery
 * to a time needs a commit after it.  A connection of its own for each, which lasts for
 * milliseconds: a session that stayed would keep the server from a smart shutdown.  Nothing here
 * waits, and the commit does not wait for us (synchronous_commit is local): we are the one that
 * it would wait for.
 */
#ifndef SOURCE_POSTGRES_WAL_HEARTBEAT_H
#define SOURCE_POSTGRES_WAL_HEARTBEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"

struct pg_conn;
struct postgres;

struct wal_heartbeat {
	const struct postgres *pg; /* a loan */
	const char *client_name;   /* a loan */
	int64_t every_us;          /* 0: none */
	char *address;             /* owned; NULL: look the host up */
	struct pg_conn *conn;      /* PGconn; NULL: at rest */
	bool is_reading;           /* what connecting waits for */
	bool is_asking;            /* connected, and the statement is sent */
	bool is_failing;           /* told already */
	struct mono_time began;    /* of the last one */
};

void wal_heartbeat_init(struct wal_heartbeat *heartbeat, const struct postgres *pg,
    const char *client_name, int64_t every_us, const char *address);

/* The next step, if it is time for one; *wait_ms is lowered while one is under way. */
void wal_heartbeat_tick(struct wal_heartbeat *heartbeat, int *wait_ms);

void wal_heartbeat_done(struct wal_heartbeat *heartbeat);

#endif
