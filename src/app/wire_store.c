/* The half of wire.h that opens store and catalog, however much of them a verb needs. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/cli/args.h"
#include "app/wire.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "config/config.h"
#include "engine/run.h"
#include "engine/settle.h"
#include "engine/sync.h"
#include "os/file.h"
#include "store/posix.h"
#include "store/store.h"

/* Where the state of a store without a config lives: per store, so that none mixes with another. */
static char *
bare_state_dir(const struct store *store)
{
	const char *xdg = getenv("XDG_STATE_HOME");
	const char *home = getenv("HOME");

	if (xdg != NULL && xdg[0] == '/')
		return xasprintf("%s/blackstart/%s", xdg, store->id);
	if (geteuid() == 0 || home == NULL || home[0] != '/')
		return xasprintf("/var/lib/blackstart/stores/%s", store->id);

	return xasprintf("%s/.local/state/blackstart/%s", home, store->id);
}

static int
open_store(struct wire *wire, const struct args *args, enum wire_store_use use, struct err *err)
{
	const struct config *config = wire->config;
	const char *path = args_text(args, "store");
	const struct posix_store_options options = {
		.path = path != NULL ? path : config->store.path,
		.site = config != NULL ? config->site : NULL,
		.group = config != NULL ? config->store.group : NULL,
		.require_mount = config != NULL && path == NULL && config->store.require_mount,
		.may_create = use == WIRE_CREATE,
		.is_read_only = use == WIRE_READ,
		.accepts_bare = use != WIRE_CREATE,
	};

	wire->engine.store = posix_store_open(&options, err);
	if (wire->engine.store == NULL)
		return -1;
	wire->state_dir = config != NULL ? xstrdup(config->state_dir)
					 : bare_state_dir(wire->engine.store);
	wire->engine.state_dir = wire->state_dir;

	return 0;
}

static void
close_store(struct wire *wire)
{
	catalog_close(TAKE(wire->engine.catalog));
	store_close(TAKE(wire->engine.store));
	free(TAKE(wire->state_dir));
	wire->engine.state_dir = NULL;
}

static int
open_catalog(struct wire *wire, struct err *err)
{
	SCOPED(freep) char *path = path_join(wire->state_dir, "catalog.db");
	SCOPED(freep) char *moved = NULL;

	if (dir_make_all(wire->state_dir, 0700, err) < 0) {
		(void)err_wrap(err, "state folder");
		return err_hint(err,
		    "It holds locks, logs and the catalog: set state_dir in the config to a folder you may write.");
	}
	wire->engine.catalog = catalog_open(path, err);
	if (wire->engine.catalog != NULL)
		return 0;
	if (err->kind != ERR_DATA)
		return -1;
	log_warning("%s: setting the damaged catalog aside and making it again from the store",
	    err->msg);
	if (catalog_set_aside(path, &moved, err) < 0)
		return -1;
	log_warning("the damaged catalog is kept as '%s'", moved);
	wire->engine.catalog = catalog_open(path, err);

	return wire->engine.catalog != NULL ? 0 : -1;
}

static int
open_all(struct wire *wire, const struct args *args, enum wire_store_use use,
    struct sync_result *synced, struct err *err)
{
	unsigned lost;

	if (open_store(wire, args, use, err) < 0 || open_catalog(wire, err) < 0 ||
	    run_sweep(&wire->engine, &lost, err) < 0)
		return -1;
	if (lost > 0)
		log_warning("%u earlier %s died without a word and %s now recorded as lost", lost,
		    lost == 1 ? "run" : "runs", lost == 1 ? "is" : "are");

	return sync_catalog(&wire->engine, false, synced, err);
}

/* Does the folder hold anything that we know: the user's own dumps, or a server's log. */
static bool
holds_something(struct wire *wire, const struct sync_result *synced)
{
	SCOPED(streamed_sources_done) struct streamed_sources sources = { .items = { .count = 0 } };
	struct err ignored = ERR_INIT;

	return synced->unproven_count > 0 ||
	    (settle_find_sources(&wire->engine, &sources, &ignored) == 0 &&
		sources.items.count > 0);
}

int
wire_open_store(struct wire *wire, const struct args *args, enum wire_store_use use,
    struct err *err)
{
	struct sync_result synced;

	if (open_all(wire, args, use, &synced, err) < 0)
		return -1;
	if (!wire->engine.store->is_bare)
		return 0;
	if (wire->config == NULL && !holds_something(wire, &synced)) {
		(void)err_set(err, ERR_NOT_FOUND, "'%s' is not a store yet, and holds no backups",
		    wire->engine.store->location);
		return err_hint(err,
		    "The first backup makes it one; check the path if there was one.");
	}
	if (use == WIRE_READ)
		return 0;
	close_store(wire);

	return open_all(wire, args, WIRE_CREATE, &synced, err);
}

int
wire_open_catalog(struct wire *wire, struct err *err)
{
	if (wire->config == NULL) {
		(void)err_set(err, ERR_USAGE, "this needs a configuration");
		return err_hint(err, "Name one with -c FILE.");
	}
	wire->state_dir = xstrdup(wire->config->state_dir);
	wire->engine.state_dir = wire->state_dir;

	return open_catalog(wire, err);
}

int
wire_open_quick(struct wire *wire, const struct args *args, const char *known_failure,
    char **ret_store_failure, struct err *err)
{
	struct err unusable = ERR_INIT;
	char *failure = xstrdup(known_failure);
	unsigned lost;

	if (failure == NULL && open_store(wire, args, WIRE_READ, &unusable) < 0) {
		close_store(wire);
		failure = xstrdup(unusable.msg);
	}
	free(TAKE(wire->state_dir));
	if (wire_open_catalog(wire, err) < 0 || run_sweep(&wire->engine, &lost, err) < 0) {
		free(failure);
		return -1;
	}
	*ret_store_failure = failure;

	return 0;
}

int
wire_open_watch(struct wire *wire, const struct args *args, char **ret_store_failure,
    struct err *err)
{
	struct err unusable = ERR_INIT;

	if (wire_open_store(wire, args, WIRE_READ, &unusable) == 0) {
		*ret_store_failure = NULL;
		return 0;
	}
	if (unusable.kind == ERR_BUSY) { /* that is the catalog: nothing is wrong with the store */
		*err = unusable;
		return -1;
	}
	close_store(wire);
	if (wire_open_catalog(wire, err) < 0)
		return -1;
	*ret_store_failure = xstrdup(unusable.msg);

	return 0;
}

int
wire_open_store_alone(struct wire *wire, const struct args *args, enum wire_store_use use,
    struct err *err)
{
	if (open_store(wire, args, use, err) < 0)
		return -1;
	if (use == WIRE_READ || !wire->engine.store->is_bare)
		return 0;
	close_store(wire);

	return open_store(wire, args, WIRE_CREATE, err);
}
