/*
 * Which backups a policy keeps.  Pure: the clock and the zone are parameters.
 *
 * Never removed, whatever the policy says: the last good backup of a job, the newest backup even
 * if it is not good, the newest of those at the highest level proved, a pinned one, one in use,
 * a base that the recovery window needs, and an earlier backup that a kept one refers to ("of").
 * A policy without any rule keeps everything: forgetting to say what to keep must not remove it.
 */
#ifndef REPO_RETENTION_H
#define REPO_RETENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

struct zone;

struct retention_policy {
	int64_t keep_us;   /* everything younger than this; 0: not by age */
	int64_t window_us; /* so far back a continuous stream is kept that needs a base; 0: none */
	unsigned last;   /* the newest n good ones, and those not good among the newest n of all */
	unsigned daily;  /* the newest good one of each of the last n days that have one ... */
	unsigned weekly; /* ... ISO weeks, months, years, in the site's calendar */
	unsigned monthly;
	unsigned yearly;
	bool is_unlimited; /* keep all */
};

struct retention_item {
	const char *id;
	struct wall_time at; /* consistent_at */
	bool is_good;        /* ended ok or with warnings, and not known to be damaged */
	bool is_pinned;
	bool is_used;        /* by a run, a restore or a drill */
	bool is_window_base; /* a base backup: the newest one older than the window is needed too */
	int proved_level;    /* -1: none */
	const char *const
	    *needs; /* ids of earlier backups whose files it refers to, NULL-terminated, or NULL */
	/* out */
	bool is_kept;
	const char *reason; /* "pinned", "daily", "last good backup", ...; a constant text */
};

/*
 * Decide for the items of one job, in any order; sets is_kept and reason of each.  Ids are
 * distinct.  A looser policy never removes more.  O(n log n).
 */
void retention_apply(const struct retention_policy *policy, const struct zone *zone,
    struct wall_time now, struct retention_item *items, size_t count);

#endif
