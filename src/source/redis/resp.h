/*
 * RESP2, the protocol of Redis: replies read from bytes as they arrive, commands put into bytes.
 * Pure.  Not for the stream of a replication connection, whose framing is in sync_frame.h.
 *
 *   +text\r\n  -text\r\n  :number\r\n  $bytes\r\n...\r\n  $-1\r\n  *items\r\n...  *-1\r\n
 *
 * See https://redis.io/docs/latest/develop/reference/protocol-spec/
 */
#ifndef SOURCE_REDIS_RESP_H
#define SOURCE_REDIS_RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct err;
struct str;

enum {
	RESP_LINE_MAX_BYTES = 64 * 1024,
	RESP_BULK_MAX_BYTES = 16 * 1024 * 1024,
	RESP_TOTAL_MAX_BYTES = 64 * 1024 * 1024, /* of one reply, with what its values cost us */
	RESP_DEPTH_MAX = 8,
};

enum resp_type {
	RESP_STATUS, /* "+OK" */
	RESP_ERROR,  /* "-ERR ...": text is without the '-' */
	RESP_NUMBER,
	RESP_BULK,
	RESP_NULL,
	RESP_ARRAY,
};

struct resp_value {
	enum resp_type type;
	int64_t number;
	char *text; /* status, error, bulk: NUL-terminated, may hold NULs; else NULL */
	size_t size;
	struct resp_value *items; /* of an array */
	size_t count;
};
void resp_value_done(struct resp_value *value);

/* Is it text, and this one. */
bool resp_is_text(const struct resp_value *value, const char *text);

struct resp_parser;
struct resp_parser *resp_parser_new(void) MUST_CHECK;
void resp_parser_free(struct resp_parser *parser);
SCOPED_FREE(struct resp_parser, resp_parser_free)

/*
 * Take bytes until one reply is whole: *ret_used says how many of them were needed, *ret_is_whole
 * whether it is.  ERR_DATA for what is not RESP, ERR_LIMIT for more than we hold; the parser is of
 * no use afterwards.
 */
int resp_parser_feed(struct resp_parser *parser, const void *data, size_t size, size_t *ret_used,
    bool *ret_is_whole, struct err *err) MUST_CHECK;

/* The whole reply, yours; the parser is ready for the next one. */
void resp_parser_take(struct resp_parser *parser, struct resp_value *ret_value);

/* Append a command, an array of bulk strings.  `words` ends with NULL. */
void resp_add_command(struct str *to, const char *const *words);

#endif
