/*
 * What `/api/v1/state` answers, made when it is asked for and something has changed, and kept for
 * everybody who asks until then: a hundred open pages cost no more than one.
 */
#ifndef APP_WEB_PAGE_STATE_H
#define APP_WEB_PAGE_STATE_H

#include "base/scope.h"
#include "base/str.h"

struct err;
struct page_state;
struct web_host;

struct page_body {
	struct str json;
	struct str gzip;
	char etag[24];
};

/* `host` is a loan that outlives it. */
struct page_state *page_state_new(const struct web_host *host) MUST_CHECK;
void page_state_free(struct page_state *state);
SCOPED_FREE(struct page_state, page_state_free)

/* The answer of now; a loan until the next call. */
int page_state_get(struct page_state *state, const struct page_body **ret_body, struct err *err)
    MUST_CHECK;

#endif
