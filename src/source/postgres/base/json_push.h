/*
 * JSON (RFC 8259) taken apart while it flows, for documents too large to hold: it says what it
 * sees, in order, and keeps only the nesting and the token at hand.  Small documents are
 * jansson's.
 */
#ifndef SOURCE_POSTGRES_BASE_JSON_PUSH_H
#define SOURCE_POSTGRES_BASE_JSON_PUSH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct err;

enum json_event {
	JSON_OBJECT_BEGIN,
	JSON_OBJECT_END,
	JSON_ARRAY_BEGIN,
	JSON_ARRAY_END,
	JSON_KEY,
	JSON_TEXT,
	JSON_NUMBER, /* its digits as they stand */
	JSON_WORD,   /* true, false, null */
};

/* `text` is NUL-terminated and a loan for the call; NULL for the begin and end events. */
typedef int json_event_function(void *context, enum json_event event, const char *text, size_t size,
    struct err *err);

enum { JSON_PUSH_MAX_DEPTH = 32, JSON_PUSH_MAX_TOKEN = 8192 };

/* Embedded: initialise `on_event` and `context`, zero the rest. */
struct json_push {
	json_event_function *on_event;
	void *context;
	uint64_t line;      /* line breaks seen, for messages */
	uint32_t is_object; /* one bit per level, the innermost lowest */
	unsigned depth;
	unsigned expect;
	unsigned token;
	unsigned escape_digits;
	uint32_t escape_value;
	uint32_t high_surrogate;
	bool is_key;
	size_t size;
	char text[JSON_PUSH_MAX_TOKEN + 8];
};

int json_push_feed(struct json_push *json, const void *data, size_t size, struct err *err)
    MUST_CHECK;

/* ERR_DATA when the document is not complete. */
int json_push_finish(struct json_push *json, struct err *err) MUST_CHECK;

#endif
