/*
 * The way back: choose a backup, say what would happen, do it beside the live data.  Replacing
 * live data is promote's, with the live name typed.
 */
#ifndef ENGINE_RESTORE_H
#define ENGINE_RESTORE_H

#include "base/scope.h"
#include "source/source.h"

struct backup_row;
struct engine;
struct err;

struct restore_order {
	const struct backup_row *backup;
	struct source *source; /* the driver, for the target where there is one */
	/*
	 * The same target as a source of its own name, "NAME-replaced": live data that gives way is
	 * backed up as its before.  NULL: there is no such target.
	 */
	struct source *replaced;
	struct restore_request request;
};

/* What would be done; obstacles are in the plan, not an error. */
int restore_plan(struct engine *engine, const struct restore_order *order,
    struct restore_plan *ret_plan, struct err *err) MUST_CHECK;

/* 0 when nothing stands against the plan; else ERR_REFUSED with the first obstacle and its way out. */
int restore_refuse(const struct restore_plan *plan, struct err *err) MUST_CHECK;

/* Plan, refuse with the first obstacle (ERR_REFUSED), else do it; recorded as a run. */
int restore_run(struct engine *engine, const struct restore_order *order,
    struct restore_report *ret_report, struct err *err) MUST_CHECK;

int restore_promote(struct engine *engine, struct source *source,
    const struct promote_request *request, struct restore_report *ret_report, struct err *err)
    MUST_CHECK;

#endif
