#include "app/web/reply.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/cli/out.h"
#include "app/web/request.h"
#include "base/err.h"
#include "base/mem.h"

void
reply_add_header(struct reply *reply, const char *name, const char *format, ...)
{
	char *value = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&value, format, args) < 0)
		abort();
	va_end(args);
	vec_push(&reply->headers, ((struct reply_header){ .name = name, .value = value }));
}

static int
add_piece(const char *data, size_t size, void *to)
{
	str_add_bytes(to, data, size);

	return 0;
}

void
reply_json(struct reply *reply, const char *schema, struct json_t *root)
{
	json_t *whole = json_object();

	(void)json_object_set_new(whole, "schema", json_string(schema));
	(void)json_object_update_missing(whole, root);
	json_decref(root);
	reply->type = "application/json";
	str_cut(&reply->body, 0);
	(void)json_dump_callback(whole, add_piece, &reply->body, JSON_COMPACT);
	json_decref(whole);
	if (str_is_full(&reply->body))
		reply_refuse(reply, 500, "Ask for less, with 'limit'.", "the answer is too large");
}

static unsigned
status_of(enum err_kind kind)
{
	switch (kind) {
	case ERR_NOT_FOUND:
		return 404;
	case ERR_USAGE:
		return 400;
	case ERR_BUSY:
		return 409;
	case ERR_REFUSED:
		return 422;
	case ERR_UNSUPPORTED:
		return 501;
	case ERR_LIMIT:
		return 413;
	default:
		return 500;
	}
}

void
reply_error(struct reply *reply, unsigned status, const struct err *err)
{
	json_t *error = json_object();
	json_t *root = json_object();

	(void)json_object_set_new(error, "kind", json_string(err_kind_name(err->kind)));
	(void)json_object_set_new(error, "message", out_json_text(err->msg));
	(void)json_object_set_new(error, "hint",
	    out_json_text(err->hint[0] != '\0' ? err->hint : NULL));
	(void)json_object_set_new(root, "error", error);
	reply->status = status != 0 ? status : status_of(err->kind);
	reply->cache = NULL;
	reply_json(reply, "blackstart.error/1", root);
}

void
reply_refuse(struct reply *reply, unsigned status, const char *hint, const char *format, ...)
{
	struct err err = ERR_INIT;
	char message[400];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	(void)err_set(&err, status == 404 ? ERR_NOT_FOUND : ERR_REFUSED, "%s", message);
	if (hint != NULL)
		(void)err_hint(&err, "%s", hint);
	reply_error(reply, status, &err);
}

bool
reply_is_known(const struct request *request, struct reply *reply, const char *etag)
{
	const char *known = request_header(request, "If-None-Match");

	reply_add_header(reply, "ETag", "%s", etag);
	if (known == NULL || strstr(known, etag) == NULL)
		return false;
	reply->status = 304;

	return true;
}

void
reply_done(struct reply *reply)
{
	for (size_t i = 0; i < reply->headers.count; i++)
		free(reply->headers.items[i].value);
	vec_done(&reply->headers);
	str_done(&reply->body);
}
