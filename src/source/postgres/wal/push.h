/*
 * One file of the server's into the archive, as archive_command has it done: looked at, compressed
 * and durable when 0 is returned.  Pushing the same again is quick and right; another content
 * under a name that is taken is refused.
 */
#ifndef SOURCE_POSTGRES_WAL_PUSH_H
#define SOURCE_POSTGRES_WAL_PUSH_H

#include "base/scope.h"

struct archive;
struct err;
struct push_request;

/*
 * ERR_USAGE: no name that a server archives.  ERR_REFUSED: it is of another system.
 * ERR_MISMATCH: the archive has other content under that name; both are kept, and the event is
 * noted.  ERR_DATA: the file is not a sound segment.
 */
int wal_push(struct archive *archive, const struct push_request *request, struct err *err)
    MUST_CHECK;

#endif
