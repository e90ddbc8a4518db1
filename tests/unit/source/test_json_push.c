#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "source/postgres/base/json_push.h"

/* Each event as a letter and its text: "{K(a)T(b)}". */
static int
on_event(void *context, enum json_event event, const char *text, size_t size, struct err *err)
{
	static const char letters[] = "{}[]KTNW";
	struct str *seen = context;

	(void)err;
	str_add_char(seen, letters[event]);
	if (text != NULL) {
		assert_int_equal(strlen(text), size);
		str_addf(seen, "(%s)", text);
	}
	return 0;
}

/* Read `text` in pieces of `step` bytes; NULL when it was refused. */
static const char *
events(const char *text, size_t step, struct str *seen)
{
	struct json_push json = { .on_event = on_event, .context = seen };
	struct err err = ERR_INIT;
	size_t size = strlen(text);

	str_cut(seen, 0);
	for (size_t at = 0; at < size; at += step) {
		size_t piece = size - at < step ? size - at : step;

		if (json_push_feed(&json, text + at, piece, &err) < 0) {
			assert_int_equal(err.kind, ERR_DATA);
			return NULL;
		}
	}
	if (json_push_finish(&json, &err) < 0) {
		assert_int_equal(err.kind, ERR_DATA);
		return NULL;
	}
	return str_text(seen);
}

static void
check(const char *text, const char *expected)
{
	struct str seen = STR_INIT;

	for (size_t step = 1; step <= strlen(text) + 1; step++) {
		const char *got = events(text, step, &seen);

		if (expected == NULL)
			assert_null(got);
		else
			assert_string_equal(got, expected);
	}
	str_done(&seen);
}

static void
test_documents(void **state)
{
	(void)state;
	check("{}", "{}");
	check(" [ ] \n", "[]");
	check("12", "N(12)");
	check("[-1.5E+3,true,false,null]", "[N(-1.5E+3)W(true)W(false)W(null)]");
	check("{\"a\": [1, {\"b\": \"c\"}], \"d\": \"\"}", "{K(a)[N(1){K(b)T(c)}]K(d)T()}");
}

static void
test_escapes(void **state)
{
	(void)state;
	check("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "T(\"\\/\b\f\n\r\t)");
	check("\"\\u0041\\u00e9\\u20AC\"", "T(A\xc3\xa9\xe2\x82\xac)");
	check("\"\\ud83d\\ude00\"", "T(\xf0\x9f\x98\x80)");
	check("\"\\ud83d\"", NULL);
	check("\"\\ud83dx\"", NULL);
	check("\"\\ude00\"", NULL);
	check("\"\\u0000\"", NULL);
	check("\"\\u00g0\"", NULL);
	check("\"\\x\"", NULL);
}

static void
test_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"{",
		"[",
		"}",
		"]",
		"[}",
		"{]",
		"{\"a\"}",
		"{\"a\":}",
		"{\"a\":1,}",
		"[1,]",
		"[,1]",
		"{,}",
		"[1 2]",
		"{\"a\" \"b\"}",
		"{1:2}",
		"\"a",
		"\"\n\"",
		"nul",
		"truth",
		"[1]]",
		"1 2",
		"{} {}",
		"[:]",
		"{\"a\"::1}",
		"'a'",
		"\x80",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		check(bad[i], NULL);
}

static void
test_limits(void **state)
{
	struct str text = STR_INIT;
	struct str seen = STR_INIT;

	(void)state;
	for (int i = 0; i < JSON_PUSH_MAX_DEPTH; i++)
		str_add_char(&text, '[');
	for (int i = 0; i < JSON_PUSH_MAX_DEPTH; i++)
		str_add_char(&text, ']');
	assert_non_null(events(str_text(&text), 7, &seen));
	str_cut(&text, 0);
	for (int i = 0; i <= JSON_PUSH_MAX_DEPTH; i++)
		str_add_char(&text, '[');
	assert_null(events(str_text(&text), 7, &seen));

	str_cut(&text, 0);
	str_add_char(&text, '"');
	for (int i = 0; i < JSON_PUSH_MAX_TOKEN; i++)
		str_add_char(&text, 'x');
	str_add_char(&text, '"');
	assert_non_null(events(str_text(&text), 1000, &seen));
	str_cut(&text, text.size - 1);
	str_add(&text, "x\"");
	assert_null(events(str_text(&text), 1000, &seen));
	str_done(&text);
	str_done(&seen);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_documents),
		cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
