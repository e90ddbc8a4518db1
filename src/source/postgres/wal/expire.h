/*
 * Segments that nothing can use any more.  A window of recovery begins with a base, so the log is
 * kept from the newest base on that is not younger than the window; of older bases that are kept
 * only what they need to become consistent.  History files, tails and what is damaged stay.
 */
#ifndef SOURCE_POSTGRES_WAL_EXPIRE_H
#define SOURCE_POSTGRES_WAL_EXPIRE_H

#include "base/scope.h"

struct archive;
struct err;
struct expire_report;
struct expire_request;

/*
 * See source.h.  The file goes before its row, the oldest first: a killed one leaves no hole, at
 * most one row too many at the old end, where nothing needs it, and the next one removes that.
 * ERR_DATA: a base does not say what it needs; nothing is removed then.
 */
int wal_expire(struct archive *archive, const struct expire_request *request,
    struct expire_report *report, struct err *err) MUST_CHECK;

#endif
