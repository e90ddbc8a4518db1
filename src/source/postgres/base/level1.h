/*
 * Level 1 of a base backup: every byte read once.  Each file against the server's manifest, that
 * manifest against its own checksum, page checksums where the cluster has them, the
 * records of the WAL that recovery needs, pg_control.
 */
#ifndef SOURCE_POSTGRES_BASE_LEVEL1_H
#define SOURCE_POSTGRES_BASE_LEVEL1_H

#include "base/scope.h"

struct backup_view;
struct base_content;
struct base_observer;
struct err;
struct verify_report;
struct verify_request;

/*
 * 0 and the notes when all is well.  ERR_DATA names the first file (and block) that is not;
 * damage that was known when the backup was made is a warning.  `also` (or NULL) sees every
 * file in the same pass.
 */
int base_level1(const struct base_content *content, const struct backup_view *view,
    const struct verify_request *request, const struct base_observer *also,
    struct verify_report *report, struct err *err) MUST_CHECK;

#endif
