/* The reply to a request: what the routes fill in. */
#ifndef APP_WEB_REPLY_H
#define APP_WEB_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/scope.h"
#include "base/str.h"
#include "base/vec.h"

struct err;
struct json_t;
struct request;

enum { REPLY_MAX = 8 * 1024 * 1024 };

struct reply_header {
	const char *name; /* a loan */
	char *value;
};

struct reply {
	unsigned status;
	const char *type; /* of the content; NULL: there is none */
	struct str body;
	const void *fixed; /* in place of body: a loan for as long as the server runs */
	size_t fixed_size;
	const char *cache; /* Cache-Control; NULL: no-store */
	VEC(struct reply_header) headers;
};

#define REPLY_INIT                                                                                 \
	{                                                                                          \
		.status = 200, .body = STR_INIT_MAX(REPLY_MAX)                                     \
	}

void reply_add_header(struct reply *reply, const char *name, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* One JSON object with its "schema"; takes over `root`. */
void reply_json(struct reply *reply, const char *schema, struct json_t *root);

/* {"error": {kind, message, hint}} with this status; 0: the one that the error's kind stands for. */
void reply_error(struct reply *reply, unsigned status, const struct err *err);
void reply_refuse(struct reply *reply, unsigned status, const char *hint, const char *format, ...)
    PRINTF_LIKE(4, 5); /* hint may be NULL */

/* "304 Not Modified" when the client has this version; else the reply is told its ETag. */
bool reply_is_known(const struct request *request, struct reply *reply, const char *etag);

void reply_done(struct reply *reply);

#endif
