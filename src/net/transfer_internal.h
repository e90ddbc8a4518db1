/* What HTTP and mail share of libcurl: a handle with our deadlines, and its failures as errors. */
#ifndef NET_TRANSFER_INTERNAL_H
#define NET_TRANSFER_INTERNAL_H

#include <curl/curl.h>

#include "base/scope.h"

struct err;

static inline void
transfer_endp(CURL **curl)
{
	curl_easy_cleanup(*curl);
}

static inline void
transfer_list_donep(struct curl_slist **list)
{
	curl_slist_free_all(*list);
}

/* A handle with what is the same for all: deadlines, certificates, no signals, no proxy's whim. */
CURL *transfer_open(const char *ca_file, struct err *err) MUST_CHECK;

/* Where libcurl puts its own words, of CURL_ERROR_SIZE bytes. */
void transfer_keep_words(CURL *curl, char *words);

/* One option that cannot fail but by a slip of ours. */
void transfer_check(CURLcode code);

/* "no answer from 'HOST': WORDS" with the kind that fits.  Returns -1. */
int transfer_failed(CURLcode code, const char *host, const char *words, struct err *err);

#endif
