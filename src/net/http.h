/*
 * One HTTP request and its answer, over libcurl.  For small messages to servers that may be slow,
 * gone or hostile: both deadlines are hard, the answer is bounded, redirects are not followed (a
 * token would go along), and nothing of the request is ever in an error but the host.
 */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include <stddef.h>

#include "base/scope.h"
#include "base/str.h"

struct err;
struct secret;

enum { HTTP_ANSWER_MAX = 4096, HTTP_CONNECT_TIMEOUT_MS = 10 * 1000, HTTP_TIMEOUT_MS = 30 * 1000 };

struct http_request {
	const char *method; /* "POST" */
	const char *url;    /* http:// or https:// */
	const char *body;   /* NULL: none */
	size_t body_bytes;
	const char *const *headers;  /* "Name: value", NULL-terminated; NULL: none */
	const struct secret *bearer; /* for "Authorization: Bearer"; NULL: none */
	const char *ca_file;         /* NULL: those that the machine trusts */
};

struct http_answer {
	unsigned status;
	struct str body; /* its first HTTP_ANSWER_MAX bytes */
};
void http_answer_done(struct http_answer *answer);

/*
 * 0 when there was an answer, whatever its status.  ERR_TIMEOUT; ERR_NET: no way there, or the
 * connection broke; ERR_AUTH: its certificate; ERR_CONFIG: a URL or header that is none.
 */
int http_send(const struct http_request *request, struct http_answer *ret_answer, struct err *err)
    MUST_CHECK;

#endif
