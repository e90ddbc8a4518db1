/* Replies of a Redis server, and the frame around an RDB file on its way to a replica. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/str.h"
#include "source/redis/resp.h"
#include "source/redis/sync_frame.h"
#include "stream/links.h"
#include "stream/sink.h"

#define MARK "0123456789abcdef0123456789abcdef01234567"

/* ---- replies ------------------------------------------------------------------------------------ */

/* Fed in steps of `step`; -1 or 0, and then the reply must be whole and nothing left over. */
static int
parse(const char *text, size_t step, struct resp_value *ret_value, struct err *err)
{
	SCOPED(resp_parser_freep) struct resp_parser *parser = resp_parser_new();
	size_t size = strlen(text);
	bool is_whole = false;

	for (size_t at = 0; at < size; at += step) {
		size_t now = size - at < step ? size - at : step;
		size_t used;

		assert_false(is_whole);
		if (resp_parser_feed(parser, text + at, now, &used, &is_whole, err) < 0)
			return -1;
		assert_int_equal(used, now);
	}
	assert_true(is_whole);
	resp_parser_take(parser, ret_value);

	return 0;
}

static void
all_kinds_of_replies(void **state)
{
	static const char text[] =
	    "*7\r\n+OK\r\n-ERR no\r\n:-42\r\n$5\r\nhe\r\no\r\n$-1\r\n*0\r\n*2\r\n*-1\r\n$0\r\n\r\n";

	(void)state;
	for (size_t step = 1; step < sizeof(text); step++) {
		struct resp_value value;
		struct err err = ERR_INIT;

		assert_int_equal(parse(text, step, &value, &err), 0);
		assert_int_equal(value.type, RESP_ARRAY);
		assert_int_equal(value.count, 7);
		assert_int_equal(value.items[0].type, RESP_STATUS);
		assert_true(resp_is_text(&value.items[0], "OK"));
		assert_int_equal(value.items[1].type, RESP_ERROR);
		assert_string_equal(value.items[1].text, "ERR no");
		assert_int_equal(value.items[2].number, -42);
		assert_int_equal(value.items[3].size, 5);
		assert_memory_equal(value.items[3].text, "he\r\no", 6);
		assert_int_equal(value.items[4].type, RESP_NULL);
		assert_int_equal(value.items[5].type, RESP_ARRAY);
		assert_int_equal(value.items[5].count, 0);
		assert_int_equal(value.items[6].count, 2);
		assert_int_equal(value.items[6].items[0].type, RESP_NULL);
		assert_int_equal(value.items[6].items[1].size, 0);
		resp_value_done(&value);
	}
}

static void
a_reply_ends_where_it_ends(void **state)
{
	SCOPED(resp_parser_freep) struct resp_parser *parser = resp_parser_new();
	struct resp_value value;
	struct err err = ERR_INIT;
	bool is_whole;
	size_t used;

	(void)state;
	assert_int_equal(resp_parser_feed(parser, "+a\r\n+b\r\n", 8, &used, &is_whole, &err), 0);
	assert_true(is_whole);
	assert_int_equal(used, 4);
	resp_parser_take(parser, &value);
	assert_true(resp_is_text(&value, "a"));
	resp_value_done(&value);
	assert_int_equal(resp_parser_feed(parser, "+b\r\n", 4, &used, &is_whole, &err), 0);
	assert_true(is_whole);
}

static void
what_is_no_reply_is_refused(void **state)
{
	static const struct {
		const char *text;
		enum err_kind kind;
	} cases[] = {
		{ "HTTP/1.1 400 Bad Request\r\n", ERR_DATA },
		{ "\r\n", ERR_DATA },
		{ "+OK\n", ERR_DATA },
		{ ":12x\r\n", ERR_DATA },
		{ ":\r\n", ERR_DATA },
		{ "$-2\r\n", ERR_DATA },
		{ "$99999999999999999999\r\n", ERR_DATA },
		{ "$16777217\r\n", ERR_LIMIT },
		{ "$1\r\nabc", ERR_DATA },
		{ "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", ERR_LIMIT },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct resp_value value;
		struct err err = ERR_INIT;

		assert_int_equal(parse(cases[i].text, 1, &value, &err), -1);
		assert_int_equal(err.kind, cases[i].kind);
	}
}

/* A server that announces a thousand million items gets no memory for them. */
static void
an_announcement_costs_nothing(void **state)
{
	SCOPED(resp_parser_freep) struct resp_parser *parser = resp_parser_new();
	struct err err = ERR_INIT;
	bool is_whole;
	size_t used;

	(void)state;
	assert_int_equal(resp_parser_feed(parser, "*9000000000000000000\r\n:1\r\n", 26, &used,
			     &is_whole, &err),
	    0);
	assert_false(is_whole);
}

static void
a_command_is_an_array_of_strings(void **state)
{
	SCOPED(str_done) struct str text = STR_INIT;

	(void)state;
	resp_add_command(&text, (const char *const[]){ "PSYNC", "?", "-1", NULL });
	assert_string_equal(str_text(&text), "*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n");
}

/* ---- the frame ------------------------------------------------------------------------------------ */

static int
unframe(const char *line, const char *text, size_t step, struct str *to, bool *ret_is_whole,
    struct err *err)
{
	SCOPED(sink_freep) struct sink *sink = str_sink_new(to);
	struct sync_frame frame;
	size_t size = strlen(text);

	if (sync_frame_init(&frame, line, err) < 0)
		return -1;
	for (size_t at = 0; at < size; at += step) {
		size_t now = size - at < step ? size - at : step;

		if (sync_frame_feed(&frame, text + at, now, sink, err) < 0)
			return -1;
	}
	*ret_is_whole = frame.is_whole;
	assert_int_equal(frame.body_bytes, to->size);

	return 0;
}

static void
both_frames_are_taken_off(void **state)
{
	static const char body[] = "REDIS0009 and 0123456789abcdef0123456789abcdef0123456 or so";
	static const char
	    marked[] = "REDIS0009 and 0123456789abcdef0123456789abcdef0123456 or so" MARK;

	(void)state;
	for (size_t step = 1; step < sizeof(marked); step++) {
		SCOPED(str_done) struct str to = STR_INIT;
		struct err err = ERR_INIT;
		bool is_whole = false;

		assert_int_equal(unframe("$EOF:" MARK, marked, step, &to, &is_whole, &err), 0);
		assert_true(is_whole);
		assert_string_equal(str_text(&to), body);
		str_cut(&to, 0);
		assert_int_equal(unframe("$59", body, step, &to, &is_whole, &err), 0);
		assert_true(is_whole);
		assert_string_equal(str_text(&to), body);
		str_cut(&to, 0);
		assert_int_equal(unframe("$60", body, step, &to, &is_whole, &err), 0);
		assert_false(is_whole);
		str_cut(&to, 0);
		assert_int_equal(unframe("$EOF:" MARK, body, step, &to, &is_whole, &err), 0);
		assert_false(is_whole);
		str_cut(&to, 0);
		assert_int_equal(unframe("$58", body, step, &to, &is_whole, &err), -1);
		assert_int_equal(err.kind, ERR_DATA);
	}
}

static void
other_lines_announce_nothing(void **state)
{
	static const char *const lines[] = { "", "$", "$0", "$-1", "$1x", "$EOF:", "$EOF:" MARK "0",
		"+CONTINUE", "$EOF:0123" };
	struct sync_frame frame;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct err err = ERR_INIT;

		assert_int_equal(sync_frame_init(&frame, lines[i], &err), -1);
		assert_int_equal(err.kind, ERR_DATA);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_kinds_of_replies),
		cmocka_unit_test(a_reply_ends_where_it_ends),
		cmocka_unit_test(what_is_no_reply_is_refused),
		cmocka_unit_test(an_announcement_costs_nothing),
		cmocka_unit_test(a_command_is_an_array_of_strings),
		cmocka_unit_test(both_frames_are_taken_off),
		cmocka_unit_test(other_lines_announce_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
