/*
 * A request and its reply, as the routes see them: no library and no socket, so that they can be
 * tested and fuzzed alone.  app/web/web.c is the only place that knows libmicrohttpd.
 */
#ifndef APP_WEB_HTTP_H
#define APP_WEB_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/scope.h"
#include "base/str.h"
#include "base/vec.h"

struct err;
struct json_t;

enum http_method { HTTP_GET, HTTP_POST, HTTP_OTHER };

enum http_field {
	HTTP_QUERY,
	HTTP_HEADER,
	HTTP_COOKIE,
};

enum {
	HTTP_BODY_MAX = 8 * 1024,
	HTTP_REPLY_MAX = 8 * 1024 * 1024,
	HTTP_CLIENT_SIZE = 64,
};

struct http_request {
	enum http_method method; /* HEAD is a GET here */
	const char *path;        /* without the query, decoded */
	const char *body;
	size_t body_size;
	char client[HTTP_CLIENT_SIZE]; /* the address it came from, without the port */
	bool is_tls;
	/* The value of a query parameter, header (any case) or cookie, or NULL; a loan. */
	const char *(*find)(const struct http_request *request, enum http_field field,
	    const char *name);
};

struct http_header {
	const char *name; /* a loan */
	char *value;
};

struct http_reply {
	unsigned status;
	const char *type; /* of the content; NULL: there is none */
	struct str body;
	const void *fixed; /* in place of body: a loan for as long as the server runs */
	size_t fixed_size;
	const char *cache; /* Cache-Control; NULL: no-store */
	VEC(struct http_header) headers;
};

#define HTTP_REPLY_INIT                                                                            \
	{                                                                                          \
		.status = 200, .body = STR_INIT_MAX(HTTP_REPLY_MAX)                                \
	}

/* NULL when it is not there; a loan. */
const char *http_query(const struct http_request *request, const char *name);
const char *http_header(const struct http_request *request, const char *name);
const char *http_cookie(const struct http_request *request, const char *name);

/* Does the client take gzip. */
bool http_takes_gzip(const struct http_request *request);

void http_add_header(struct http_reply *reply, const char *name, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* One JSON object with its "schema"; takes over `root`. */
void http_reply_json(struct http_reply *reply, const char *schema, struct json_t *root);

/* {"error": {kind, message, hint}} with this status; 0: the one that the error's kind stands for. */
void http_reply_error(struct http_reply *reply, unsigned status, const struct err *err);
void http_reply_refuse(struct http_reply *reply, unsigned status, const char *hint,
    const char *format, ...) PRINTF_LIKE(4, 5); /* hint may be NULL */

/* "304 Not Modified" when the client has this version; else the reply is told its ETag. */
bool http_reply_is_known(const struct http_request *request, struct http_reply *reply,
    const char *etag);

void http_reply_done(struct http_reply *reply);

#endif
