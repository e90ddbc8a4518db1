/*
 * What is seen of everything at one moment: jobs, their runs and backups, streams, the store,
 * the channels.  Alarms, the daily digest and the metrics are all made from this.
 *
 * Whatever cannot be looked at is unknown and said so; only the catalog's own failures are errors.
 */
#ifndef ENGINE_WATCH_SEEN_H
#define ENGINE_WATCH_SEEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"
#include "catalog/catalog.h"
#include "catalog/catalog_outbox.h"
#include "catalog/catalog_watch.h"
#include "engine/lane.h"
#include "store/store.h"

struct engine;
struct err;
struct source;

/* What is expected of a job; texts and source are loans from the configuration's side. */
struct watch_job {
	const char *job;
	const char *source;
	int64_t interval_us;       /* 0: no fixed one */
	int64_t max_age_us;        /* of its last good backup; 0: no limit */
	int64_t stream_max_age_us; /* of a stream's last commit; 0: no limit */
	struct source *stream; /* of a job that keeps a continuous stream; NULL: it makes backups */
	int verify_level;      /* how far its backups should be proved; -1: not asked for */
	int64_t verify_max_age_us;
};

struct seen_job {
	const struct watch_job *of;
	struct wall_time known_since;
	struct run_outcome outcome;
	struct run_row last;      /* the last that ended, in whatever way; id NULL: none */
	struct run_row running;   /* id NULL: none */
	struct backup_row newest; /* the newest good backup; id NULL: none */
	struct backup_proofs proofs;
	uint64_t median_bytes; /* of up to ten before the newest; 0: too few */
	char *emptied;         /* see repo/emptied; NULL: no table */

	bool is_window_unknown;
	bool is_receiving;
	struct wall_time window_from;
	struct wall_time window_to;
	unsigned gaps_count;
	char *gap; /* the newest */
};

struct seen_drill {
	const char *source; /* a loan */
	struct wall_time last;
	struct wall_time known_since;
};

struct watch_seen {
	struct wall_time at;
	VEC(struct seen_job) jobs;
	VEC(struct seen_drill) drills;
	struct channel_rows channels;
	struct store_space space;
	struct store_space state_space; /* of state_dir, when its file system is another one */
	char *catalog_aside;            /* a damaged catalog that still lies there, or NULL */
	char *store_failure;            /* why the store cannot be used; NULL: it can */
	struct wall_time full_at;       /* forecast; 0: cannot be said */
};

/* What is dear to find out, kept from one look to the next; of manifests for good. */
struct watch_memory {
	struct lanes lanes;
	VEC(struct {
		char *job;
		char *newest_id;
		char *emptied;
	})
	items;
};
void watch_memory_done(struct watch_memory *memory);

struct watch_look {
	const struct watch_job *jobs;
	size_t jobs_count;
	bool wants_drills;
	bool wants_manifests; /* compare what the newest backups hold with those before */
	struct watch_memory *memory;
};

/* `store_failure` is why the engine has no store, NULL when it has one. */
int watch_see(struct engine *engine, const struct watch_look *look, const char *store_failure,
    struct wall_time now, struct watch_seen *ret_seen, struct err *err) MUST_CHECK;
void watch_seen_done(struct watch_seen *seen);

#endif
