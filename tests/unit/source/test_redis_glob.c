/* The patterns of Redis, as stringmatchlen in its sources has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "source/redis/keyed/glob.h"

static bool
matches(const char *pattern, const char *text)
{
	return glob_matches(pattern, (const uint8_t *)text, strlen(text));
}

static void
test_stars_and_marks(void **state)
{
	(void)state;
	assert_true(matches("*", ""));
	assert_true(matches("", ""));
	assert_false(matches("", "a"));
	assert_false(matches("?", ""));
	assert_true(matches("user:*", "user:"));
	assert_false(matches("user:*", "user"));
	assert_true(matches("*:*:end", "a:b:c:end"));
	assert_false(matches("*:*:end", "a:end"));
	assert_true(matches("h?llo", "hallo"));
	assert_false(matches("h?llo", "hllo"));
	assert_true(matches("a**b", "ab"));
	assert_true(matches("*ab", "aab"));
	assert_false(matches("a*b", "abc"));
}

static void
test_classes_and_escapes(void **state)
{
	(void)state;
	assert_true(matches("h[ae]llo", "hello"));
	assert_false(matches("h[ae]llo", "hillo"));
	assert_true(matches("h[^e]llo", "hallo"));
	assert_false(matches("h[^e]llo", "hello"));
	assert_true(matches("[a-c]", "b"));
	assert_true(matches("[c-a]", "b"));
	assert_false(matches("[a-c]", "d"));
	assert_true(matches("[a-]", "-"));
	assert_true(matches("\\*", "*"));
	assert_false(matches("\\*", "a"));
	assert_true(matches("[\\]]", "]"));
	assert_true(matches("[ab", "a"));
	assert_true(matches("a\\", "a\\"));
}

static void
test_any_bytes_and_no_explosion(void **state)
{
	char many[2001];

	(void)state;
	assert_true(glob_matches("a?b", (const uint8_t *)"a\0b", 3));
	assert_true(glob_matches("*b",
	    (const uint8_t *)"\0\xff"
			     "b",
	    3));
	memset(many, 'a', sizeof(many) - 1);
	many[sizeof(many) - 1] = '\0';
	assert_false(matches("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", many));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stars_and_marks),
		cmocka_unit_test(test_classes_and_escapes),
		cmocka_unit_test(test_any_bytes_and_no_explosion),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
