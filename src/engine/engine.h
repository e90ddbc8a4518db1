/*
 * What every verb of the engine works with: one store, its catalog, the site's zone and a folder
 * for state.  All members are loans, made and ended by app/wire.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"

struct catalog;
struct source_ops;
struct store;
struct zone;

/* A job the configuration names: to tell whose the files are that were there before us. */
struct known_job {
	const char *name;
	const char *source;
	const char *source_type;
	const char *kind;
};

/* A run that the schedule has begun: whose it is, and who wants to know that it has an id. */
struct run_order {
	struct wall_time due; /* 0: not by the schedule */
	unsigned attempt;
	void (*begun)(void *context, const char *run_id);
	void *context;
	bool is_taken; /* by the first run of the process that is for its job */
};

struct engine {
	struct store *store;
	struct catalog *catalog;
	const struct zone *zone;
	const char *state_dir;    /* locks and logs of runs */
	const char *scratch_root; /* where scratch servers may live: "/var/tmp" */
	unsigned cores;
	const struct source_ops *const *drivers; /* NULL-terminated: every kind of source known */
	const struct known_job *jobs;
	size_t jobs_count;
	struct run_order *order; /* NULL: somebody typed it */
};

/* The driver of a source type ("postgres"), or NULL. */
const struct source_ops *engine_driver(const struct engine *engine, const char *type);

#endif
