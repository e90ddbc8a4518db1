/*
 * Recovery to a chosen point: what can be reached, and from which base.  The driver reasons, this
 * brings it the bases and the archive.
 */
#ifndef ENGINE_RECOVERY_H
#define ENGINE_RECOVERY_H

#include "base/scope.h"

struct backup_row;
struct engine;
struct err;
struct restore_target;
struct source;
struct window_report;

/* Nothing is written.  ERR_UNSUPPORTED: this kind of source has no continuous stream. */
int recovery_window(struct engine *engine, struct source *source, struct window_report *report,
    struct err *err) MUST_CHECK;

/*
 * The base that `target` needs; the row is yours.  The target is resolved in place: the branch is
 * filled in, and a time behind the last commit becomes "as far as the archive goes".
 * ERR_REFUSED says why it cannot be reached, with the nearest that can.
 */
int recovery_choose(struct engine *engine, struct source *source, struct restore_target *target,
    struct backup_row *ret_row, struct err *err) MUST_CHECK;

/*
 * The same of a system that the source was before (engine/systems.h); NULL: the present one.
 * ERR_NOT_FOUND: it never was that one.
 */
int recovery_window_of(struct engine *engine, struct source *source, const char *identity,
    struct window_report *report, struct err *err) MUST_CHECK;
int recovery_choose_of(struct engine *engine, struct source *source, const char *identity,
    struct restore_target *target, struct backup_row *ret_row, struct err *err) MUST_CHECK;

#endif
