/*
 * Climbing the ladder with one backup: level 0 here, levels 1 to 4 by the source's driver, and
 * the result written down as a proof beside the backup, in the store.
 */
#ifndef ENGINE_VERIFY_H
#define ENGINE_VERIFY_H

#include <stddef.h>

#include "base/scope.h"
#include "base/vec.h"
#include "source/source.h"

struct backup_row;
struct engine;
struct err;
struct progress;

struct verify_order {
	const struct backup_row *backup; /* as the catalog has it */
	struct source *source;           /* a driver for its type; need not reach a live system */
	int level;                       /* 0..4 */
	const struct smoke_query *smoke;
	size_t smoke_count;
	struct progress *progress;
};

struct verify_outcome {
	char *backup_id; /* of an adopted file: the id it has now */
	int level;       /* reached, -1: not even 0 */
	int64_t duration_us;
	struct verify_report report;
};
void verify_outcome_done(struct verify_outcome *outcome);

/*
 * 0: the level asked for was reached.  ERR_MISMATCH: the backup is bad (and a "damaged" record
 * is written); other kinds: it could not be tested, which says nothing about the backup.  The
 * outcome is filled in also on failure.
 */
int verify_run(struct engine *engine, const struct verify_order *order,
    struct verify_outcome *ret_outcome, struct err *err) MUST_CHECK;

#endif
