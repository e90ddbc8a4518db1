/* Reading a stored AOF back, for verify and restore. */
#ifndef SOURCE_REDIS_AOF_PROVE_H
#define SOURCE_REDIS_AOF_PROVE_H

#include <stdbool.h>

#include "base/scope.h"

struct aof_reader;
struct backup_view;
struct err;
struct manifest_file;
struct sink;

/* A sink for a copy of this file; NULL with err set. */
typedef struct sink *aof_copy_fn(void *context, const struct manifest_file *file, struct err *err);

/* Every file, hashed, read to its end and with `copy` also written.  ERR_MISMATCH, ERR_DATA. */
int aof_prove(const struct backup_view *view, struct aof_reader *reader, aof_copy_fn *copy,
    void *context, struct err *err) MUST_CHECK;

/* "appendonly.aof.manifest", which is no part of the data. */
bool aof_is_manifest(const struct manifest_file *file);

#endif
