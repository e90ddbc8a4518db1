/*
 * The feeder: gives the archive's files to whoever asks on a socket, and makes the next segments
 * ready while the server replays the one before.  What it gives was verified (wal/fetch.h).  One
 * thread, no waiting but in feeder_serve; the protocol is in source/feed.h.
 *
 *	feeder = feeder_open(&options, err);
 *	while (the server runs)
 *		feeder_serve(feeder, 100, err);
 *	feeder_free(feeder);
 *
 * A restore that waits for other things as well polls feeder_fd and calls feeder_serve with 0.
 */
#ifndef SOURCE_POSTGRES_WAL_FEED_H
#define SOURCE_POSTGRES_WAL_FEED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/scope.h"

struct archive;
struct err;
struct feed_request;
struct feeder;

struct feeder_options {
	struct archive *archive;    /* a loan */
	const char *socket_path;    /* in a folder that exists; at most 107 bytes */
	uid_t uid;                  /* who may ask, beside root and ourselves */
	uint64_t system_identifier; /* of the server that is fed; 0: not known */
};

/* Listen.  A socket that stands there is taken away first: the folder must be nobody else's. */
struct feeder *feeder_open(const struct feeder_options *options, struct err *err) MUST_CHECK;

/* Readable when somebody asks. */
int feeder_fd(const struct feeder *feeder);

/*
 * Answer who asks now; when nobody does, make one more segment ready, and when there is nothing to
 * make ready, wait at most `timeout_ms` for somebody.  A stop (os/stop.h) ends the wait with
 * ERR_CANCELLED.  What one client was told, or that he went away, is no error here.
 */
int feeder_serve(struct feeder *feeder, int timeout_ms, struct err *err) MUST_CHECK;

struct feeder_counts {
	uint64_t delivered;
	uint64_t ready; /* of them were ready when they were asked for */
	uint64_t absent;
	uint64_t doubts;
};
struct feeder_counts feeder_counts(const struct feeder *feeder);

/* What the last doubt was about: the reason when the server stops with a FATAL; "" when none. */
const char *feeder_last_doubt(const struct feeder *feeder);

/* Takes the socket away.  NULL is ok. */
void feeder_free(struct feeder *feeder);
SCOPED_FREE(struct feeder, feeder_free)

/* A feeder that ends by itself: the driver's verb `feed` (source.h). */
int wal_feed(struct archive *archive, const struct feed_request *request, struct err *err)
    MUST_CHECK;

#endif
