/* Where a server that was promoted left the history that we have: is it a place to go on from. */
#ifndef SOURCE_REDIS_STREAM_FORK_H
#define SOURCE_REDIS_STREAM_FORK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/scope.h"

struct archive;
struct err;

/*
 * Look at `offset` of the branch, in the piece that holds it.  *ret_is_boundary: a command ends
 * there, or a piece begins, and no transaction is open; then *ret_db is in force behind it.
 */
int fork_look(struct archive *archive, uint32_t branch, uint64_t offset, bool *ret_is_boundary,
    unsigned *ret_db, struct err *err) MUST_CHECK;

#endif
