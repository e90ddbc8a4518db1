#include "source/redis/resp.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"

enum { FIRST_ITEMS = 16, SHOWN_BYTES = 40 };

enum state {
	STATE_LINE,
	STATE_BULK, /* its bytes, then \r\n */
	STATE_WHOLE,
};

/* An array that is being filled: items are made as they come, whatever number was announced. */
struct level {
	struct resp_value array;
	size_t capacity;
	size_t wanted;
};

struct resp_parser {
	enum state state;
	struct str line;
	char *bulk;
	size_t bulk_size;
	size_t bulk_capacity;
	size_t bulk_wanted; /* with the \r\n */
	struct level levels[RESP_DEPTH_MAX];
	size_t depth;
	size_t total_bytes;
	struct resp_value whole;
};

void
resp_value_done(struct resp_value *value)
{
	for (size_t i = 0; i < value->count; i++)
		resp_value_done(&value->items[i]);
	free(value->items);
	free(value->text);
	*value = (struct resp_value){ .type = RESP_NULL };
}

bool
resp_is_text(const struct resp_value *value, const char *text)
{
	return value->text != NULL && value->size == strlen(text) &&
	    memcmp(value->text, text, value->size) == 0;
}

struct resp_parser *
resp_parser_new(void)
{
	struct resp_parser *parser = xcalloc(1, sizeof(*parser));

	parser->line = (struct str)STR_INIT_MAX(RESP_LINE_MAX_BYTES);
	parser->whole.type = RESP_NULL;

	return parser;
}

void
resp_parser_free(struct resp_parser *parser)
{
	if (parser == NULL)
		return;
	for (size_t i = 0; i < parser->depth; i++)
		resp_value_done(&parser->levels[i].array);
	resp_value_done(&parser->whole);
	str_done(&parser->line);
	free(parser->bulk);
	free(parser);
}

static int
bad_reply(const struct resp_parser *parser, struct err *err)
{
	return err_set(err, ERR_DATA, "'%.*s' is no reply of a Redis server", SHOWN_BYTES,
	    str_text(&parser->line));
}

static int
count_bytes(struct resp_parser *parser, size_t size, struct err *err)
{
	parser->total_bytes += size;
	if (parser->total_bytes > RESP_TOTAL_MAX_BYTES)
		return err_set(err, ERR_LIMIT, "the reply is longer than %d MiB",
		    RESP_TOTAL_MAX_BYTES / (1024 * 1024));

	return 0;
}

/* ---- values ----------------------------------------------------------------------------------- */

static void
level_push(struct level *level, struct resp_value value)
{
	struct resp_value *array = &level->array;

	if (array->count == level->capacity) {
		level->capacity = level->capacity == 0 ? FIRST_ITEMS : level->capacity * 2;
		array->items = xrealloc(array->items, level->capacity * sizeof(*array->items));
	}
	array->items[array->count++] = value;
}

/* Put a finished value where it belongs; arrays that it fills are finished with it. */
static int
deliver(struct resp_parser *parser, struct resp_value value, struct err *err)
{
	parser->state = STATE_LINE;
	if (count_bytes(parser, sizeof(value) + value.size, err) < 0) {
		resp_value_done(&value);
		return -1;
	}
	while (parser->depth > 0) {
		struct level *level = &parser->levels[parser->depth - 1];

		level_push(level, value);
		if (level->array.count < level->wanted)
			return 0;
		value = level->array;
		parser->depth--;
	}
	parser->whole = value;
	parser->state = STATE_WHOLE;

	return 0;
}

static int
begin_array(struct resp_parser *parser, int64_t count, struct err *err)
{
	if (count <= 0)
		return deliver(parser,
		    (struct resp_value){ .type = count < 0 ? RESP_NULL : RESP_ARRAY }, err);
	if (parser->depth == RESP_DEPTH_MAX)
		return err_set(err, ERR_LIMIT, "the reply is nested deeper than %d",
		    RESP_DEPTH_MAX);
	parser->levels[parser->depth++] = (struct level){
		.array = { .type = RESP_ARRAY },
		.wanted = (size_t)count,
	};

	return 0;
}

static int
begin_bulk(struct resp_parser *parser, int64_t size, struct err *err)
{
	if (size < 0)
		return deliver(parser, (struct resp_value){ .type = RESP_NULL }, err);
	if (size > RESP_BULK_MAX_BYTES)
		return err_set(err, ERR_LIMIT, "a value of the reply is longer than %d MiB",
		    RESP_BULK_MAX_BYTES / (1024 * 1024));
	parser->bulk_wanted = (size_t)size + 2;
	parser->bulk_size = 0;
	parser->state = STATE_BULK;

	return 0;
}

/* A line is whole, without its \r\n. */
static int
read_line(struct resp_parser *parser, struct err *err)
{
	const char *text = str_text(&parser->line);
	struct resp_value value = { .type = RESP_STATUS };
	struct err ignored = ERR_INIT;
	int64_t number = 0;

	if (parser->line.size == 0)
		return bad_reply(parser, err);
	if (text[0] == '+' || text[0] == '-') {
		value.type = text[0] == '+' ? RESP_STATUS : RESP_ERROR;
		value.size = parser->line.size - 1;
		value.text = xmalloc(value.size + 1);
		memcpy(value.text, text + 1, value.size + 1);
		return deliver(parser, value, err);
	}
	if (parse_i64(text + 1, text[0] == ':' ? INT64_MIN : -1, INT64_MAX, &number, &ignored) < 0)
		return bad_reply(parser, err);
	switch (text[0]) {
	case ':':
		value.type = RESP_NUMBER;
		value.number = number;
		return deliver(parser, value, err);
	case '$':
		return begin_bulk(parser, number, err);
	case '*':
		return begin_array(parser, number, err);
	default:
		return bad_reply(parser, err);
	}
}

/* ---- bytes ------------------------------------------------------------------------------------ */

/* Up to and with the \n; *ret_used bytes of the input belong to it. */
static int
feed_line(struct resp_parser *parser, const char *data, size_t size, size_t *ret_used,
    struct err *err)
{
	const char *end = memchr(data, '\n', size);
	struct str *line = &parser->line;
	int result;

	*ret_used = end != NULL ? (size_t)(end - data) + 1 : size;
	str_add_bytes(line, data, *ret_used);
	if (str_is_full(line))
		return err_set(err, ERR_LIMIT, "a line of the reply is longer than %d KiB",
		    RESP_LINE_MAX_BYTES / 1024);
	if (end == NULL)
		return 0;
	if (line->size < 2 || line->data[line->size - 2] != '\r')
		return bad_reply(parser, err);
	str_cut(line, line->size - 2);
	result = read_line(parser, err);
	str_cut(line, 0);

	return result;
}

/* Memory grows with what has arrived, not with what was announced. */
static int
feed_bulk(struct resp_parser *parser, const char *data, size_t size, size_t *ret_used,
    struct err *err)
{
	size_t used = parser->bulk_wanted - parser->bulk_size;
	struct resp_value value = { .type = RESP_BULK };

	if (used > size)
		used = size;
	if (parser->bulk_size + used > parser->bulk_capacity) {
		parser->bulk_capacity = (parser->bulk_size + used) * 2;
		parser->bulk = xrealloc(parser->bulk, parser->bulk_capacity);
	}
	memcpy(parser->bulk + parser->bulk_size, data, used);
	parser->bulk_size += used;
	*ret_used = used;
	if (parser->bulk_size < parser->bulk_wanted)
		return 0;
	value.size = parser->bulk_wanted - 2;
	if (memcmp(parser->bulk + value.size, "\r\n", 2) != 0)
		return err_set(err, ERR_DATA, "a value of the reply is longer than it says");
	parser->bulk[value.size] = '\0';
	value.text = TAKE(parser->bulk);
	parser->bulk_capacity = 0;

	return deliver(parser, value, err);
}

int
resp_parser_feed(struct resp_parser *parser, const void *data, size_t size, size_t *ret_used,
    bool *ret_is_whole, struct err *err)
{
	const char *at = data;
	size_t left = size;

	while (left > 0 && parser->state != STATE_WHOLE) {
		size_t used;
		int result = parser->state == STATE_BULK ? feed_bulk(parser, at, left, &used, err)
							 : feed_line(parser, at, left, &used, err);

		if (result < 0)
			return -1;
		at += used;
		left -= used;
	}
	*ret_used = size - left;
	*ret_is_whole = parser->state == STATE_WHOLE;

	return 0;
}

void
resp_parser_take(struct resp_parser *parser, struct resp_value *ret_value)
{
	assert(parser->state == STATE_WHOLE);
	*ret_value = parser->whole;
	parser->whole = (struct resp_value){ .type = RESP_NULL };
	parser->state = STATE_LINE;
	parser->total_bytes = 0;
}

void
resp_add_command(struct str *to, const char *const *words)
{
	size_t count = 0;

	while (words[count] != NULL)
		count++;
	str_addf(to, "*%zu\r\n", count);
	for (size_t i = 0; i < count; i++)
		str_addf(to, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
}
