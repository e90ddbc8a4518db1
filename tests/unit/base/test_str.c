#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

static void
test_grows_and_stays_terminated(void **state)
{
	struct str str = STR_INIT;

	(void)state;
	assert_string_equal(str_text(&str), "");
	for (unsigned i = 0; i < 1000; i++) {
		str_add(&str, "abc");
		assert_int_equal(str.size, 3 * (i + 1));
		assert_int_equal(strlen(str_text(&str)), str.size);
	}
	str_add_char(&str, '!');
	str_add_bytes(&str, "", 0);
	assert_true(str_ends_with(str_text(&str), "cabc!"));
	assert_false(str_is_full(&str));
	str_done(&str);
	assert_string_equal(str_text(&str), "");
}

static void
test_stops_at_its_maximum(void **state)
{
	struct str str = STR_INIT_MAX(10);

	(void)state;
	str_add(&str, "12345");
	str_add(&str, "67890");
	assert_false(str_is_full(&str));
	str_add_char(&str, 'x');
	assert_true(str_is_full(&str));
	assert_string_equal(str_text(&str), "1234567890");
	str_cut(&str, 8);
	assert_false(str_is_full(&str));
	str_add(&str, "abc"); /* all or nothing */
	assert_true(str_is_full(&str));
	assert_string_equal(str_text(&str), "12345678");
	str_cut(&str, 100);
	assert_string_equal(str_text(&str), "12345678");
	str_addf(&str, "%d", 9);
	assert_string_equal(str_text(&str), "123456789");
	str_addf(&str, "%s", "too long");
	assert_true(str_is_full(&str));
	str_done(&str);
	assert_int_equal(str.max, 10);
}

static void
test_addf_short_and_long(void **state)
{
	struct str str = STR_INIT;
	char long_text[5000];

	(void)state;
	memset(long_text, 'l', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	str_addf(&str, "%d-%s", 7, "x");
	str_addf(&str, "[%s]", long_text);
	assert_int_equal(str.size, 3 + 2 + sizeof(long_text) - 1);
	assert_true(str_starts_with(str_text(&str), "7-x[lll"));
	assert_true(str_ends_with(str_text(&str), "lll]"));
	str_done(&str);
}

static void
test_hex(void **state)
{
	static const uint8_t bytes[] = { 0x00, 0x0f, 0xf0, 0xff, 0x5a };
	struct str str = STR_INIT;

	(void)state;
	str_add_hex(&str, bytes, sizeof(bytes));
	assert_string_equal(str_text(&str), "000ff0ff5a");
	str_done(&str);
}

static void
test_take_leaves_it_empty(void **state)
{
	struct str str = STR_INIT_MAX(5);
	char *text;

	(void)state;
	str_add(&str, "abc");
	text = str_take(&str);
	assert_string_equal(text, "abc");
	free(text);
	assert_int_equal(str.size, 0);
	assert_int_equal(str.max, 5);
	text = str_take(&str);
	assert_string_equal(text, "");
	free(text);
}

static void
test_comparing(void **state)
{
	(void)state;
	assert_true(str_equals(NULL, NULL));
	assert_false(str_equals(NULL, ""));
	assert_false(str_equals("", NULL));
	assert_true(str_equals("a", "a"));
	assert_false(str_equals("a", "A"));
	assert_true(str_starts_with("abc", ""));
	assert_true(str_starts_with("abc", "abc"));
	assert_false(str_starts_with("abc", "abcd"));
	assert_true(str_ends_with("abc", "bc"));
	assert_true(str_ends_with("abc", ""));
	assert_false(str_ends_with("bc", "abc"));
}

static void
test_nearest(void **state)
{
	static const char *const words[] = { "source", "schedule", "keep", "at", "every" };
	char long_word[200];

	(void)state;
	assert_string_equal(str_nearest("sorce", words, 5), "source");
	assert_string_equal(str_nearest("shedule", words, 5), "schedule");
	assert_string_equal(str_nearest("keeep", words, 5), "keep");
	assert_string_equal(str_nearest("keep", words, 5), "keep");
	assert_string_equal(str_nearest("ekep", words, 5), "keep"); /* swapped */
	assert_null(str_nearest("at", words, 0));
	assert_null(str_nearest("database", words, 5));
	assert_null(str_nearest("xy", words, 5));
	memset(long_word, 's', sizeof(long_word) - 1);
	long_word[sizeof(long_word) - 1] = '\0';
	assert_null(str_nearest(long_word, words, 5));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grows_and_stays_terminated),
		cmocka_unit_test(test_stops_at_its_maximum),
		cmocka_unit_test(test_addf_short_and_long),
		cmocka_unit_test(test_hex),
		cmocka_unit_test(test_take_leaves_it_empty),
		cmocka_unit_test(test_comparing),
		cmocka_unit_test(test_nearest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
