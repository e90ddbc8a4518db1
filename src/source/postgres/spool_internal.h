/*
 * A private folder for what the vendor's programs can only read or write as files.  It is removed
 * with all in it; those of a run that was killed are removed when the next one is made.
 */
#ifndef SOURCE_POSTGRES_SPOOL_INTERNAL_H
#define SOURCE_POSTGRES_SPOOL_INTERNAL_H

#include "base/scope.h"

struct err;

struct spool {
	char *path;
	int lock_fd; /* held while it is in use */
};

/* Make an empty folder in `parent`; NULL: in $TMPDIR or /var/tmp. */
int spool_make(struct spool *spool, const char *parent, struct err *err) MUST_CHECK;
void spool_done(struct spool *spool);

#endif
