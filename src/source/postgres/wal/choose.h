/*
 * Which base backup brings a cluster to a target, or why none does.  Pure: works on a survey.
 *
 * PostgreSQL does not refuse what cannot be right: with a target before the end of the backup it
 * ends up behind it, and a target behind the last commit is an error only after everything was
 * replayed.  So both are found here, before anything is touched.
 */
#ifndef SOURCE_POSTGRES_WAL_CHOOSE_H
#define SOURCE_POSTGRES_WAL_CHOOSE_H

#include <stddef.h>

#include "base/clock.h"
#include "base/scope.h"

struct archive_marks;
struct err;
struct restore_target;
struct wal_survey;

/*
 * *ret_base into survey->bases: the newest that is consistent before the target and from which
 * the log has no hole up to it.  `target` is resolved: branch, and TARGET_LATEST where it lies
 * behind the last commit but not in the future, and the receiver would have had what came later.
 * `marks` are the index's restore points of the name asked for, or NULL: the survey's own (those
 * in tails) are looked at as well.  ERR_REFUSED names the nearest possible target.
 */
int wal_choose(const struct wal_survey *survey, const struct archive_marks *marks,
    struct wall_time now, struct restore_target *target, size_t *ret_base, struct err *err)
    MUST_CHECK;

#endif
