/* The driver's answers about recovery: what the archive and the bases of a source allow. */
#ifndef SOURCE_POSTGRES_WAL_RECOVERY_H
#define SOURCE_POSTGRES_WAL_RECOVERY_H

#include <stddef.h>

#include "base/scope.h"

struct archive;
struct err;
struct manifest;
struct restore_target;
struct window_report;

/* As source_ops.window and source_ops.choose. */
int pg_wal_window(struct archive *archive, const struct manifest *const *bases, size_t bases_count,
    struct window_report *report, struct err *err) MUST_CHECK;
int pg_wal_choose(struct archive *archive, const struct manifest *const *bases, size_t bases_count,
    struct restore_target *target, size_t *ret_index, struct err *err) MUST_CHECK;

#endif
