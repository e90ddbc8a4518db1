/* Which pieces of the stream may go. */
#ifndef SOURCE_REDIS_STREAM_EXPIRE_H
#define SOURCE_REDIS_STREAM_EXPIRE_H

#include "base/scope.h"

struct archive;
struct err;
struct expire_report;
struct expire_request;

/*
 * As source_ops.expire.  Bases are whole without the stream, so only the window needs it: from the
 * newest good base that is not younger than `since` on.  The oldest pieces go first.
 */
int redis_expire(struct archive *archive, const struct expire_request *request,
    struct expire_report *report, struct err *err) MUST_CHECK;

#endif
