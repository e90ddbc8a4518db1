/*
 * The driver for Redis (5.0 and later) and Valkey: RDB files pulled over the replication protocol.
 * app/wire.c makes it from the configuration; everything else speaks to it through source.h.
 */
#ifndef SOURCE_REDIS_REDIS_H
#define SOURCE_REDIS_REDIS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/scope.h"

struct err;
struct secret;
struct source;
struct source_ops;

/* What the engine knows of the driver before there is a source. */
extern const struct source_ops redis_source_ops;

/* How the file comes over: as the server writes it, or from its disk. */
enum redis_transfer {
	REDIS_TRANSFER_AUTO, /* as the server is set (repl-diskless-sync) */
	REDIS_TRANSFER_DISKLESS,
	REDIS_TRANSFER_DISK,
};

struct redis_options {
	const char *label;
	const char *host; /* a name, an address, a socket's path; NULL: no live server is known */
	unsigned port;    /* 0: 6379 */
	const char *user; /* of an ACL; NULL: the default one */
	const struct secret *password; /* a loan, outlives the source; NULL: none */
	const char *sslmode;           /* as PostgreSQL's; below "require": in the clear */
	const char *sslrootcert;       /* NULL: the system's authorities */
	const char *sslcert;           /* our own, with its key; NULL: none */
	const char *sslkey;
	const char *scratch_user; /* of scratch servers when we are root; NULL: "redis" */
	bool prefers_replica;     /* a copy is taken from a replica of the server, if one is fit */
	const char *transfer;     /* "auto", "diskless", "disk"; NULL: auto */
	int64_t wait_us;          /* for a server that is busy */
	const char *aof_dir;      /* its folder on this machine; NULL: as it says itself */
};

/* A source made of options (all texts are copied).  No connection is made yet. */
struct source *redis_open(const struct redis_options *options, struct err *err) MUST_CHECK;

#endif
