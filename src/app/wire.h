/*
 * The one file that knows every driver: turns the configuration and the command line into
 * stores, sources and an engine.  Everything it makes is ended by wire_done.
 */
#ifndef APP_WIRE_H
#define APP_WIRE_H

#include <stdbool.h>

#include "base/scope.h"
#include "base/vec.h"
#include "engine/engine.h"

struct args;
struct config;
struct config_source;
struct err;
struct secret;
struct source;

struct wire {
	struct config *config; /* NULL: --store alone */
	struct zone *zone;     /* owned when there is no config */
	struct engine engine;  /* engine.store NULL until wire_open_store */
	char *state_dir;
	VEC(struct source *) sources;
	VEC(struct secret *) secrets;
	VEC(struct known_job) known_jobs;
};

enum wire_store_use {
	WIRE_READ,   /* the store must exist; a read-only one will do */
	WIRE_WRITE,  /* it must be writable */
	WIRE_CREATE, /* and may be made */
};

/*
 * Read the config file unless --store stands in its place; warnings of the file are logged, its
 * errors are printed all at once.  No store, no connection yet.
 */
int wire_init(struct wire *wire, const struct args *args, struct err *err) MUST_CHECK;
void wire_done(struct wire *wire);

/*
 * A folder that holds only what the user's cron wrote is a store as well: for reading it is left
 * as it is, the first command that writes makes it one.
 *
 * Open store and catalog, find lost runs, and bring the catalog of backups up to the store.  A
 * damaged catalog is set aside, said aloud, and made again.
 */
int wire_open_store(struct wire *wire, const struct args *args, enum wire_store_use use,
    struct err *err) MUST_CHECK;

/*
 * The store without catalog and state folder: for commands that touch a few known files and must
 * be quick.  A bare folder that is opened for writing becomes a store.
 */
int wire_open_store_alone(struct wire *wire, const struct args *args, enum wire_store_use use,
    struct err *err) MUST_CHECK;

/*
 * The catalog alone, of a config: what there is to be told must get out also when the store is
 * gone.
 */
int wire_open_catalog(struct wire *wire, struct err *err) MUST_CHECK;

/*
 * Store and catalog as they are, without bringing the one up to the other: nothing here takes
 * longer the more there is.  *ret_store_failure as below.  ERR_DATA from the catalog is healed by
 * setting it aside.  With `known_failure` the store is not even tried: it is known to hang.
 */
int wire_open_quick(struct wire *wire, const struct args *args, const char *known_failure,
    char **ret_store_failure, struct err *err) MUST_CHECK;

/*
 * Store and catalog for looking, or, when the store cannot be used, the catalog alone:
 * *ret_store_failure says why then (yours), and is NULL otherwise.
 */
int wire_open_watch(struct wire *wire, const struct args *args, char **ret_store_failure,
    struct err *err) MUST_CHECK;

/* A source of the config by name; ERR_USAGE with "did you mean" for an unknown one. A loan. */
struct source *wire_source(struct wire *wire, const char *name, struct err *err) MUST_CHECK;

/*
 * A source for a URL of the command line, labelled `label`; --password-file is honoured, and its
 * certificates are those of the configured source `like_name`, if there is one.  A loan.
 */
struct source *wire_source_url(struct wire *wire, const struct args *args, const char *url,
    const char *label, const char *like_name, struct err *err) MUST_CHECK;

/*
 * A driver for backups of source `name` of this type: the configured source when there is one,
 * else one that knows no live system.  A loan.
 */
struct source *wire_source_for(struct wire *wire, const char *name, const char *type,
    struct err *err) MUST_CHECK;

/* A driver that knows no live system, even where the configuration has one: no password is read. */
struct source *wire_source_offline(struct wire *wire, const char *name, const char *type,
    struct err *err) MUST_CHECK;

/* One of the two above: what a command that finds a source opens it with. */
typedef struct source *wire_opener(struct wire *wire, const char *name, const char *type,
    struct err *err);

#endif
