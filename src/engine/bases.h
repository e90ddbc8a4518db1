/* The base backups of one source that continuous recovery can begin with: their manifests. */
#ifndef ENGINE_BASES_H
#define ENGINE_BASES_H

#include "base/scope.h"
#include "base/vec.h"
#include "catalog/catalog.h"

struct engine;
struct err;
struct manifest;
struct source_ops;

struct bases {
	VEC(struct manifest *) manifests; /* owned */
	struct backup_rows rows;          /* the same, as the catalog knows them */
};

/*
 * Those of `source` that no verification found damaged, the newest first.  One whose manifest
 * cannot be read is left out with a warning in the log.
 */
int bases_read(struct engine *engine, const struct source_ops *ops, const char *source,
    struct bases *ret_bases, struct err *err) MUST_CHECK;
void bases_done(struct bases *bases);

#endif
