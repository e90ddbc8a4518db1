/*
 * Retention of a source's continuous stream: what no base backup needs that is kept, and that is
 * older than the window, goes.  Without a base nothing is removed.
 */
#ifndef ENGINE_EXPIRE_H
#define ENGINE_EXPIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct engine;
struct err;
struct expire_report;
struct source;

struct expire_order {
	const char *job; /* the stream's */
	struct source *source;
	int64_t keep_us;            /* every second of so long stays recoverable */
	const char *const *removed; /* ids of bases that count as gone, for a dry run */
	size_t removed_count;
	bool is_dry_run;
};

/* After the bases were pruned: what is in the catalog is what is kept. */
int expire_run(struct engine *engine, const struct expire_order *order,
    struct expire_report *ret_report, struct err *err) MUST_CHECK;

#endif
