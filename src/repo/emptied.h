/*
 * Tables that held rows in earlier backups and hold none in the newest: a backup may be whole and
 * its source have lost its data all the same.  Pure.
 */
#ifndef REPO_EMPTIED_H
#define REPO_EMPTIED_H

#include "base/scope.h"

struct emptied;
struct manifest;

struct emptied *emptied_new(void) MUST_CHECK;
void emptied_free(struct emptied *emptied);
SCOPED_FREE(struct emptied, emptied_free)

/* Remember which tables of an earlier backup held rows; the manifest is not kept. */
void emptied_remember(struct emptied *emptied, const struct manifest *earlier);

/* "3 tables are empty now, the first: webscada: public.devices", yours; NULL: none is. */
char *emptied_find(const struct emptied *emptied, const struct manifest *newest) MUST_CHECK;

#endif
