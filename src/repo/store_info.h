/*
 * What a store says about itself, in ".blackstart/store.json", written once:
 *   {"format": 1, "id": "<32 hex digits>", "site": "...", "created": "..."}
 * Pure.
 */
#ifndef REPO_STORE_INFO_H
#define REPO_STORE_INFO_H

#include <stddef.h>

#include "base/clock.h"
#include "base/scope.h"

struct err;

#define STORE_INFO_NAME ".blackstart/store.json"

enum {
	STORE_INFO_FORMAT = 1,
	STORE_INFO_ID_DIGITS = 32,
	STORE_INFO_MAX_BYTES = 64 * 1024,
};

struct store_info {
	char *id;   /* yours, like the site */
	char *site; /* "" when no site has claimed the store */
	struct wall_time created;
};

char *store_info_format(const struct store_info *info) MUST_CHECK;

/* ERR_REFUSED for a newer format, ERR_DATA for anything else that is not a store's record. */
int store_info_parse(const char *text, size_t size, struct store_info *ret_info, struct err *err)
    MUST_CHECK;
void store_info_done(struct store_info *info);

#endif
