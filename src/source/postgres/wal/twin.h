/* Two files of one segment: do they hold the same? */
#ifndef SOURCE_POSTGRES_WAL_TWIN_H
#define SOURCE_POSTGRES_WAL_TWIN_H

#include "base/scope.h"

struct archive;
struct err;

enum wal_twin {
	WAL_TWIN_SAME,
	WAL_TWIN_BEGINNING, /* the plain one is a beginning of the other, then zeros or nothing */
	WAL_TWIN_OTHER,
};

/*
 * Compare `plain` (a file as it is: "NAME", "NAME.partial") with `whole` ("NAME.zst" or another
 * as it is).  ERR_DATA: `whole` cannot be expanded.
 */
int wal_twin_compare(struct archive *archive, const char *plain, const char *whole,
    enum wal_twin *ret_twin, struct err *err) MUST_CHECK;

#endif
