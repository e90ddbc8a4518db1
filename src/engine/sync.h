/*
 * The catalog of backups made to agree with the store: the store is what is true.  Manifests,
 * proofs and pins become rows; rows whose manifest is gone go; files that look like the user's
 * own backups become rows marked unproven.
 */
#ifndef ENGINE_SYNC_H
#define ENGINE_SYNC_H

#include <stdbool.h>

#include "base/scope.h"

struct engine;
struct err;

struct sync_result {
	unsigned backups_count; /* with a manifest */
	unsigned unproven_count;
	unsigned damaged_count; /* manifests that cannot be read */
	unsigned removed_count; /* rows that had no manifest any more */
	unsigned changed_count; /* rows written */
};

/*
 * `is_full` forgets all rows first and reads every manifest again (catalog rebuild); otherwise
 * only manifests that are new or changed are read.
 */
int sync_catalog(struct engine *engine, bool is_full, struct sync_result *ret_result,
    struct err *err) MUST_CHECK;

#endif
