/*
 * Retention carried out: decide by policy, write down what will be removed, remove the manifest
 * first, then the files.  A killed prune leaves no backup that looks whole, and the next one
 * finishes its work.  Pins.
 */
#ifndef ENGINE_PRUNE_H
#define ENGINE_PRUNE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/scope.h"
#include "base/vec.h"
#include "catalog/catalog.h"
#include "repo/retention.h"

struct engine;
struct err;

struct prune_order {
	const char *job;
	struct retention_policy policy;
	bool is_window_base; /* backups of this job start continuous recovery */
	bool is_dry_run;
};

struct prune_verdict {
	char *id;
	char *source;
	struct wall_time at;
	uint64_t stored_bytes;
	bool is_kept;
	char *reason;
};

struct prune_outcome {
	VEC(struct prune_verdict) verdicts; /* newest first */
	unsigned removed_count;
	uint64_t removed_bytes;
};
void prune_outcome_done(struct prune_outcome *outcome);

/* Unproven files of the user's own are never touched. */
int prune_run(struct engine *engine, const struct prune_order *order,
    struct prune_outcome *ret_outcome, struct err *err) MUST_CHECK;

/* Finish removals that a killed prune began. */
int prune_finish_pending(struct engine *engine, struct err *err) MUST_CHECK;

/* Keep a backup whatever the policy says, or stop to. */
int prune_pin(struct engine *engine, const char *backup_id, const char *reason, struct err *err)
    MUST_CHECK;
int prune_unpin(struct engine *engine, const char *backup_id, struct err *err) MUST_CHECK;

#endif
