/*
 * The PostgreSQL driver, 13 to 18: logical dumps and base backups.  app/wire.c makes it from the
 * configuration; everything else speaks to it through source.h.
 */
#ifndef SOURCE_POSTGRES_POSTGRES_H
#define SOURCE_POSTGRES_POSTGRES_H

#include <stddef.h>

#include "base/scope.h"

struct err;
struct secret;
struct source;
struct source_ops;

/* What the engine knows of the driver before there is a source. */
extern const struct source_ops postgres_source_ops;

struct postgres_options {
	const char *label; /* "postgresql" */
	const char *host;  /* NULL: no live server is known (verify, restore to files) */
	unsigned port;     /* 0: 5432 */
	const char *user;
	const char *const *databases; /* NULL-terminated; empty: all that allow connections */
	/* To connect to first; NULL: the first of databases, else "postgres". */
	const char *maintenance_database;
	const struct secret *password; /* a loan, outlives the source; NULL: libpq's own ways */
	const char *sslmode;           /* NULL: "prefer" */
	const char *sslrootcert;       /* NULL: libpq's default */
	const char *const *bin_dirs;   /* NULL or empty: found by themselves ("auto") */
	const char *scratch_user;      /* of scratch servers when we are root; NULL: "postgres" */
	const char *dump_format;       /* NULL or "custom", "directory" */
};

/* A source made of options (all texts are copied).  No connection is made yet. */
struct source *postgres_open(const struct postgres_options *options, struct err *err) MUST_CHECK;

#endif
