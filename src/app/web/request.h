/*
 * A request as the routes see it: no library and no socket, so that they can be tested and fuzzed
 * alone.  app/web/web.c is the only place that knows libmicrohttpd.
 */
#ifndef APP_WEB_REQUEST_H
#define APP_WEB_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

enum request_method { METHOD_GET, METHOD_POST, METHOD_OTHER };

enum request_field {
	FIELD_QUERY,
	FIELD_HEADER,
	FIELD_COOKIE,
};

enum {
	REQUEST_BODY_MAX = 8 * 1024,
	REQUEST_CLIENT_SIZE = 64,
};

struct request {
	enum request_method method; /* HEAD is a GET here */
	const char *path;           /* without the query, decoded */
	const char *body;
	size_t body_size;
	char client[REQUEST_CLIENT_SIZE]; /* the address it came from, without the port */
	/* The value of a query parameter, header (any case) or cookie, or NULL; a loan. */
	const char *(*find)(const struct request *request, enum request_field field,
	    const char *name);
};

/* NULL when it is not there; a loan. */
const char *request_query(const struct request *request, const char *name);
const char *request_header(const struct request *request, const char *name);
const char *request_cookie(const struct request *request, const char *name);

/* Does the client take gzip. */
bool request_takes_gzip(const struct request *request);

#endif
