/*
 * The archive of one source, as its driver works with it: a folder of the store and its index in
 * the catalog.
 */
#ifndef ENGINE_ARCHIVE_H
#define ENGINE_ARCHIVE_H

#include "base/scope.h"
#include "source/archive.h"

struct engine;
struct err;
struct source_ops;

/*
 * Open the archive of source `label`; its folder is made when it is missing and the store can be
 * written.  `run_id` names temporary files.  ERR_UNSUPPORTED: this kind of source has none, or
 * the store is no folder of this machine.  The engine is a loan.
 */
struct archive *engine_archive_open(struct engine *engine, const struct source_ops *ops,
    const char *label, const char *run_id, struct err *err) MUST_CHECK;

/*
 * The same of the system with this identity: one that was set aside (engine/systems.h), or else
 * the present one.  NULL: the present one.
 */
struct archive *engine_archive_open_of(struct engine *engine, const struct source_ops *ops,
    const char *label, const char *identity, const char *run_id, struct err *err) MUST_CHECK;

/* Has anything ever arrived for this source: the folder is there and not empty. */
bool engine_archive_exists(struct engine *engine, const struct source_ops *ops, const char *label);
/* Or for this former system of it; NULL is ok. */
bool engine_archive_exists_of(struct engine *engine, const struct source_ops *ops,
    const char *label, const char *identity);

void engine_archive_close(struct archive *archive); /* NULL is ok */
SCOPED_FREE(struct archive, engine_archive_close)

#endif
