/*
 * A tail after a power failure.  The disk has all blocks that were synced, and of those that were
 * on their way some: the log ends in a record that is not whole, although nobody damaged it.
 */
#ifndef SOURCE_POSTGRES_WAL_TORN_H
#define SOURCE_POSTGRES_WAL_TORN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/scope.h"

struct blob;
struct err;

/*
 * Records are right up to `from` (bytes into the segment) and not from there on: does what stands
 * there bear the marks of a power failure, so that nothing behind `from` was acknowledged?  Either
 * a block ends in zeros within the record's reach and something stands behind it, or nothing at
 * all stands behind a block that the record does not end in.
 */
int wal_torn_look(struct blob *blob, uint64_t from, bool *ret_is_torn, struct err *err) MUST_CHECK;

#endif
