/* What the files of the sync share. */
#ifndef ENGINE_SYNC_INTERNAL_H
#define ENGINE_SYNC_INTERNAL_H

#include "base/scope.h"

struct engine;
struct err;
struct store_listing;

/*
 * All objects of the store by name, but those of continuous streams: these have an index of their
 * own, and may be a million.
 */
int sync_list(struct engine *engine, struct store_listing *ret_listing, struct err *err) MUST_CHECK;

#endif
