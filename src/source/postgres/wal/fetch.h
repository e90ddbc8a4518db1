/*
 * One file out of the archive, as restore_command wants it: verified before it is delivered, and
 * "absent" only where that is certain.  PostgreSQL ends recovery and promotes when it is told that
 * a segment is absent, so every doubt is an error.
 */
#ifndef SOURCE_POSTGRES_WAL_FETCH_H
#define SOURCE_POSTGRES_WAL_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/scope.h"
#include "source/source.h"

struct archive;
struct err;

struct wal_delivery {
	enum fetch_result result;
	bool is_growing; /* a tail: it may have more when it is asked for again */
	uint64_t bytes;
	char note[480]; /* what the operator should know ("... is damaged, ..."), or "" */
};

/*
 * The plain content of `name` into `fd` (emptied first, named `fd_name` in errors).
 * `system_identifier`: of the server that asks; 0: not known.  Nothing is delivered on failure.
 */
int wal_deliver(struct archive *archive, const char *name, uint64_t system_identifier, int fd,
    const char *fd_name, struct wal_delivery *ret_delivery, struct err *err) MUST_CHECK;

/* Into `to_path`, which is replaced when all is there. */
int wal_fetch(struct archive *archive, const char *name, const char *to_path,
    enum fetch_result *ret_result, struct err *err) MUST_CHECK;

#endif
