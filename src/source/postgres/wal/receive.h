/*
 * The receiver: keeps a source's WAL durable in its archive, up to the last byte that the server
 * was told of, through whatever happens to the server, the network, the disk or ourselves.
 * One thread and a few buffers.
 */
#ifndef SOURCE_POSTGRES_WAL_RECEIVE_H
#define SOURCE_POSTGRES_WAL_RECEIVE_H

#include <stdint.h>

#include "base/scope.h"

struct archive;
struct err;
struct follow_request;
struct postgres;

struct wal_receive_times {
	int64_t silence_max_us;  /* a server that says nothing for so long is given up */
	int64_t status_every_us; /* how often it is told the position when nothing happens */
	int64_t first_retry_us;  /* the pauses grow to fifty times this */
};

/* The driver's `follow` (source.h).  `times` NULL: 60 s, 10 s, 1 s. */
int wal_receive(const struct postgres *pg, const struct follow_request *request,
    const struct wal_receive_times *times, struct archive *archive, struct err *err) MUST_CHECK;

#endif
