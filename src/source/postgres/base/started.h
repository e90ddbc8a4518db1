/*
 * A restored data directory, started for a look: on a port of its own, set apart from the live
 * server, and, where it recovers along the archive, fed until it has reached its target.
 */
#ifndef SOURCE_POSTGRES_BASE_STARTED_H
#define SOURCE_POSTGRES_BASE_STARTED_H

#include "base/scope.h"

struct base_content;
struct base_target;
struct err;
struct postgres;
struct restore_report;
struct restore_request;
struct wal_need;

/* The feeder's socket, in the data directory. */
#define STARTED_SOCKET ".blackstart-feed"

struct started_options {
	const struct postgres *pg;
	const struct base_content *content;
	struct base_target *target; /* its port is given up for the server */
	const struct restore_request *request;
	const char *lent; /* where to put a copy of the fetcher's program; NULL: nowhere */
	const struct wal_need *need; /* NULL: it recovers from what it has itself */
};

/*
 * Start it, wait until recovery has ended, tell what was reached and what is in it.  The files
 * stay whatever happens; ERR_MISMATCH: it runs, but not as far as was asked.
 */
int started_run(const struct started_options *options, struct restore_report *report,
    struct err *err) MUST_CHECK;

/* What to type to "start" or "stop" it; yours. */
char *started_command(const struct started_options *options, const char *verb) MUST_CHECK;

#endif
