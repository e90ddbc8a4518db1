#include "source/postgres/base/json_push.h"

#include <string.h>

#include "base/err.h"

/* What may come next between tokens. */
enum expect {
	EXPECT_VALUE,
	EXPECT_VALUE_OR_END, /* just after '[' */
	EXPECT_KEY_OR_END,   /* just after '{' */
	EXPECT_KEY,
	EXPECT_COLON,
	EXPECT_COMMA_OR_END,
	EXPECT_NOTHING, /* the document is complete */
};

enum token {
	TOKEN_NONE,
	TOKEN_TEXT,
	TOKEN_ESCAPE,
	TOKEN_UNICODE,
	TOKEN_BARE, /* a number or a word: ends where another character begins */
};

static int
wrong(const struct json_push *json, const char *what, struct err *err)
{
	return err_set(err, ERR_DATA, "line %llu: %s", (unsigned long long)json->line + 1, what);
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int
emit(struct json_push *json, enum json_event event, struct err *err)
{
	bool has_text = event >= JSON_KEY;

	if (has_text)
		json->text[json->size] = '\0';

	return json->on_event(json->context, event, has_text ? json->text : NULL,
	    has_text ? json->size : 0, err);
}

static void
value_ended(struct json_push *json)
{
	json->expect = json->depth > 0 ? EXPECT_COMMA_OR_END : EXPECT_NOTHING;
}

static int
append(struct json_push *json, const void *data, size_t size, struct err *err)
{
	if (size > JSON_PUSH_MAX_TOKEN - json->size)
		return wrong(json, "a text is too long", err);
	memcpy(json->text + json->size, data, size);
	json->size += size;

	return 0;
}

/* ---- nesting -------------------------------------------------------------------------------- */

static int
level_begin(struct json_push *json, bool is_object, struct err *err)
{
	if (json->depth >= JSON_PUSH_MAX_DEPTH)
		return wrong(json, "nested too deeply", err);
	json->is_object = json->is_object << 1 | (is_object ? 1 : 0);
	json->depth++;
	json->expect = is_object ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;

	return emit(json, is_object ? JSON_OBJECT_BEGIN : JSON_ARRAY_BEGIN, err);
}

static int
level_end(struct json_push *json, bool is_object, struct err *err)
{
	bool is_allowed = json->expect == EXPECT_COMMA_OR_END ||
	    json->expect == (is_object ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END);

	if (!is_allowed || json->depth == 0 || (json->is_object & 1) != (is_object ? 1 : 0))
		return wrong(json, "a bracket closes nothing", err);
	json->is_object >>= 1;
	json->depth--;
	value_ended(json);

	return emit(json, is_object ? JSON_OBJECT_END : JSON_ARRAY_END, err);
}

static bool
may_be_value(const struct json_push *json)
{
	return json->expect == EXPECT_VALUE || json->expect == EXPECT_VALUE_OR_END;
}

/* ---- between tokens --------------------------------------------------------------------------- */

static int
text_begin(struct json_push *json, struct err *err)
{
	json->is_key = json->expect == EXPECT_KEY || json->expect == EXPECT_KEY_OR_END;
	if (!json->is_key && !may_be_value(json))
		return wrong(json, "a text stands where none may be", err);
	json->token = TOKEN_TEXT;
	json->size = 0;

	return 0;
}

static int
bare_begin(struct json_push *json, char c, struct err *err)
{
	bool is_bare = (c >= '0' && c <= '9') || c == '-' || (c >= 'a' && c <= 'z');

	if (!is_bare || !may_be_value(json))
		return wrong(json, "an unexpected character", err);
	json->token = TOKEN_BARE;
	json->size = 0;

	return append(json, &c, 1, err);
}

static int
separator(struct json_push *json, char c, struct err *err)
{
	if (c == ':' && json->expect == EXPECT_COLON) {
		json->expect = EXPECT_VALUE;
		return 0;
	}
	if (c == ',' && json->expect == EXPECT_COMMA_OR_END) {
		json->expect = (json->is_object & 1) != 0 ? EXPECT_KEY : EXPECT_VALUE;
		return 0;
	}

	return wrong(json, "an unexpected separator", err);
}

static int
between(struct json_push *json, char c, struct err *err)
{
	if (is_blank(c))
		return 0;
	switch (c) {
	case '"':
		return text_begin(json, err);
	case '{':
	case '[':
		if (!may_be_value(json))
			return wrong(json, "a bracket stands where none may be", err);
		return level_begin(json, c == '{', err);
	case '}':
	case ']':
		return level_end(json, c == '}', err);
	case ':':
	case ',':
		return separator(json, c, err);
	default:
		return bare_begin(json, c, err);
	}
}

/* ---- inside tokens ---------------------------------------------------------------------------- */

static int
text_end(struct json_push *json, struct err *err)
{
	json->token = TOKEN_NONE;
	if (json->high_surrogate != 0)
		return wrong(json, "half of a surrogate pair", err);
	if (json->is_key) {
		json->expect = EXPECT_COLON;
		return emit(json, JSON_KEY, err);
	}
	value_ended(json);

	return emit(json, JSON_TEXT, err);
}

/* Take plain characters up to the next quote or backslash at once. */
static int
text_run(struct json_push *json, const char *data, size_t size, size_t *ret_used, struct err *err)
{
	size_t run = 0;

	while (run < size && data[run] != '"' && data[run] != '\\' &&
	    (unsigned char)data[run] >= 0x20)
		run++;
	*ret_used = run;
	if (run > 0 && json->high_surrogate != 0)
		return wrong(json, "half of a surrogate pair", err);
	if (append(json, data, run, err) < 0)
		return -1;
	if (run == size)
		return 0;
	*ret_used = run + 1;
	if (data[run] == '"')
		return text_end(json, err);
	if (data[run] != '\\')
		return wrong(json, "a control character inside a text", err);
	json->token = TOKEN_ESCAPE;

	return 0;
}

static int
escape(struct json_push *json, char c, struct err *err)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	const char *found = c != '\0' ? strchr(from, c) : NULL;

	if (c == 'u') {
		json->token = TOKEN_UNICODE;
		json->escape_digits = 0;
		json->escape_value = 0;
		return 0;
	}
	if (found == NULL || json->high_surrogate != 0)
		return wrong(json, "an unknown escape", err);
	json->token = TOKEN_TEXT;

	return append(json, &to[found - from], 1, err);
}

static int
append_utf8(struct json_push *json, uint32_t c, struct err *err)
{
	uint8_t bytes[4];
	size_t size = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const uint8_t first[] = { 0x00, 0xC0, 0xE0, 0xF0 };

	for (size_t i = size; i-- > 1; c >>= 6)
		bytes[i] = (uint8_t)(0x80 | (c & 0x3F));
	bytes[0] = (uint8_t)(first[size - 1] | c);

	return append(json, bytes, size, err);
}

static int
unicode_end(struct json_push *json, struct err *err)
{
	uint32_t c = json->escape_value;
	uint32_t high = json->high_surrogate;

	json->token = TOKEN_TEXT;
	json->high_surrogate = 0;
	if (c >= 0xD800 && c <= 0xDBFF && high == 0) {
		json->high_surrogate = c;
		return 0;
	}
	if (high != 0 && c >= 0xDC00 && c <= 0xDFFF)
		return append_utf8(json, 0x10000 + ((high - 0xD800) << 10) + (c - 0xDC00), err);
	if (high != 0 || (c >= 0xD800 && c <= 0xDFFF) || c == 0)
		return wrong(json, "an impossible \\u escape", err);

	return append_utf8(json, c, err);
}

static int
unicode_digit(struct json_push *json, char c, struct err *err)
{
	uint32_t digit;

	if (c >= '0' && c <= '9')
		digit = (uint32_t)(c - '0');
	else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
		digit = (uint32_t)((c | 0x20) - 'a') + 10;
	else
		return wrong(json, "an impossible \\u escape", err);
	json->escape_value = json->escape_value << 4 | digit;
	json->escape_digits++;

	return json->escape_digits == 4 ? unicode_end(json, err) : 0;
}

static bool
is_bare_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '+' ||
	    c == '.' || c == 'E';
}

static int
bare_end(struct json_push *json, struct err *err)
{
	bool is_number = json->text[0] == '-' || (json->text[0] >= '0' && json->text[0] <= '9');

	json->text[json->size] = '\0';
	json->token = TOKEN_NONE;
	value_ended(json);
	if (!is_number && strcmp(json->text, "true") != 0 && strcmp(json->text, "false") != 0 &&
	    strcmp(json->text, "null") != 0)
		return wrong(json, "an unknown word", err);

	return emit(json, is_number ? JSON_NUMBER : JSON_WORD, err);
}

/* One step: uses at least one character, or ends a bare token and uses none. */
static int
step(struct json_push *json, const char *data, size_t size, size_t *ret_used, struct err *err)
{
	*ret_used = 1;
	switch (json->token) {
	case TOKEN_TEXT:
		return text_run(json, data, size, ret_used, err);
	case TOKEN_ESCAPE:
		return escape(json, *data, err);
	case TOKEN_UNICODE:
		return unicode_digit(json, *data, err);
	case TOKEN_BARE:
		if (is_bare_char(*data))
			return append(json, data, 1, err);
		*ret_used = 0;
		return bare_end(json, err);
	default:
		if (*data == '\n')
			json->line++;
		return between(json, *data, err);
	}
}

int
json_push_feed(struct json_push *json, const void *data, size_t size, struct err *err)
{
	const char *at = data;

	while (size > 0) {
		size_t used;

		if (step(json, at, size, &used, err) < 0)
			return -1;
		at += used;
		size -= used;
	}

	return 0;
}

int
json_push_finish(struct json_push *json, struct err *err)
{
	if (json->token == TOKEN_BARE && bare_end(json, err) < 0)
		return -1;
	if (json->token != TOKEN_NONE || json->expect != EXPECT_NOTHING)
		return wrong(json, "the text ends too early", err);

	return 0;
}
