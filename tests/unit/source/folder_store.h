/*
 * A store for tests: an intake that puts parts into a folder, and a view that reads them back,
 * with the chains that the engine would use.
 */
#ifndef TESTS_UNIT_SOURCE_FOLDER_STORE_H
#define TESTS_UNIT_SOURCE_FOLDER_STORE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/vec.h"
#include "source/source.h"

struct digest;

struct folder_store {
	struct intake intake;    /* first: the driver is given this */
	struct backup_view view; /* after folder_store_reopen */
	const char *folder;      /* a loan */
	struct manifest *draft;  /* owned */
	int level;               /* of zstd; 0: stored as it is */
	unsigned workers;
	unsigned open_fails_at; /* 1: the first open fails; 0: none does */
	unsigned opened;
	VEC(struct digest *) digests;
};

void folder_store_init(struct folder_store *store, const char *folder);
void folder_store_done(struct folder_store *store);

#endif
