/*
 * What HTTP and mail share of libcurl: a handle with our deadlines, its options, and its failures as
 * errors.  The library is loaded with the first handle (base/library.h).
 */
#ifndef NET_TRANSFER_INTERNAL_H
#define NET_TRANSFER_INTERNAL_H

#include <curl/curl.h>
#include <stdint.h>

#include "base/scope.h"

struct err;

void transfer_endp(CURL **curl);
void transfer_list_donep(struct curl_slist **list);

/* A handle with what is the same for all: deadlines, certificates, no signals, no proxy's whim. */
CURL *transfer_open(const char *ca_file, struct err *err) MUST_CHECK;

/* Where libcurl puts its own words, of CURL_ERROR_SIZE bytes. */
void transfer_keep_words(CURL *curl, char *words);

/*
 * One option, of the type that its number says: a slip of ours ends the program.  Texts are copied;
 * other objects (lists, what is handed to functions, CURLOPT_POSTFIELDS) are loans.
 */
void transfer_set_number(CURL *curl, CURLoption option, long value);
void transfer_set_size(CURL *curl, CURLoption option, uint64_t bytes);
void transfer_set_object(CURL *curl, CURLoption option, const void *object);
void transfer_set_function(CURL *curl, CURLoption option, curl_write_callback function);

/* Adds a copy of the line to a list, for transfer_list_donep. */
void transfer_list_add(struct curl_slist **list, const char *line);

/* Sends, and waits for the end. */
CURLcode transfer_run(CURL *curl, const char *url) MUST_CHECK;

/* The answer's status, of HTTP. */
unsigned transfer_status(CURL *curl);

/* "no answer from 'HOST': WORDS" with the kind that fits.  Returns -1. */
int transfer_failed(CURLcode code, const char *host, const char *words, struct err *err);

#endif
