/*
 * Files that the user's own cron made before us: a manifest is written beside them, nothing is
 * moved or renamed.
 */
#ifndef ENGINE_ADOPT_H
#define ENGINE_ADOPT_H

#include "base/scope.h"

struct backup_row;
struct engine;
struct err;
struct source;

/*
 * Read the unproven file of `row` to its end, ask the driver what it holds, and write its
 * manifest.  *ret_manifest_name is yours.
 */
int adopt_file(struct engine *engine, const struct backup_row *row, struct source *source,
    const char *run_id, char **ret_manifest_name, struct err *err) MUST_CHECK;

#endif
