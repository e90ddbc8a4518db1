#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "app/web/address.h"
#include "app/web/gzip.h"
#include "app/web/session.h"
#include "base/err.h"
#include "base/scope.h"
#include "base/str.h"

/* ---- addresses ---------------------------------------------------------------------------- */

static void
expect_address(const char *text, const char *expected, bool is_loopback)
{
	struct address address;
	struct err err = ERR_INIT;
	char shown[ADDRESS_TEXT_SIZE];

	if (address_parse(text, &address, &err) < 0)
		fail_msg("'%s': %s", text, err.msg);
	assert_string_equal(address_format(&address, false, shown), expected);
	assert_int_equal(address_is_loopback(&address), is_loopback);
}

static void
test_addresses(void **state)
{
	static const char *const wrong[] = { "", ":", "127.0.0.1", "127.0.0.1:", ":80",
		"127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:80x", "127.1:80", "0x7f000001:80",
		"example.org:80", "[::1]", "::1:80", "[::1:80", "[]:80", "[127.0.0.1]:80",
		"127.0.0.1:80:80", " 127.0.0.1:80" };

	(void)state;
	expect_address("127.0.0.1:8480", "127.0.0.1:8480", true);
	expect_address("127.9.9.9:0", "127.9.9.9:0", true);
	expect_address("localhost:1", "127.0.0.1:1", true);
	expect_address("[::1]:65535", "[::1]:65535", true);
	expect_address("*:80", "0.0.0.0:80", false);
	expect_address("[::]:80", "[::]:80", false);
	expect_address("128.0.0.1:80", "128.0.0.1:80", false);
	expect_address("126.0.0.1:80", "126.0.0.1:80", false);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct address address;
		struct err err = ERR_INIT;

		if (address_parse(wrong[i], &address, &err) == 0)
			fail_msg("'%s' was taken", wrong[i]);
		assert_int_equal(err.kind, ERR_CONFIG);
	}
}

static void
test_hosts_that_nobody_can_own(void **state)
{
	static const char *const plain[] = { "localhost", "LOCALHOST:80", "127.0.0.1", "10.1.2.3:1",
		"[::1]", "[fe80::1]:8480" };
	static const char *const named[] = { "", "*", "example.org", "localhost.example.org",
		"127.0.0.1.example.org", "1.2.3", "[::1", "localhos", "localhostx", ":80" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(plain); i++) {
		if (!host_is_plain(plain[i]))
			fail_msg("'%s' was refused", plain[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(named); i++) {
		if (host_is_plain(named[i]))
			fail_msg("'%s' was taken", named[i]);
	}
	assert_true(host_is_name("Backup.Plant.example:80", "backup.plant.example"));
	assert_false(host_is_name("backup.plant.example.org", "backup.plant.example"));
	assert_false(host_is_name("backup", "backup.plant.example"));
}

/* ---- sessions ------------------------------------------------------------------------------ */

static struct mono_time
at_s(int64_t seconds)
{
	return (struct mono_time){ .us = (1000 + seconds) * US_PER_S };
}

static void
test_a_session_lives_eight_hours(void **state)
{
	struct sessions sessions;
	struct session *session;
	char id[SESSION_ID_SIZE];
	unsigned wait_s;

	(void)state;
	sessions_init(&sessions, at_s(0));
	assert_true(sessions_may_try(&sessions, "10.0.0.1", at_s(0), &wait_s));
	session = sessions_begin(&sessions, "10.0.0.1", "anna", at_s(0));
	memcpy(id, session->id, sizeof(id));
	assert_string_not_equal(session->id, session->csrf);
	assert_ptr_equal(sessions_find(&sessions, id, at_s(8 * 3600)), session);
	assert_null(sessions_find(&sessions, id, at_s(8 * 3600 + 1)));
	assert_null(sessions_find(&sessions, id, at_s(0)));
	assert_null(sessions_find(&sessions, "", at_s(0)));
	assert_null(sessions_find(&sessions, NULL, at_s(0)));
}

static void
test_the_oldest_session_makes_room(void **state)
{
	struct sessions sessions;
	char first[SESSION_ID_SIZE], second[SESSION_ID_SIZE];
	unsigned wait_s;

	(void)state;
	sessions_init(&sessions, at_s(0));
	for (int i = 0; i < SESSIONS_MAX + 1; i++) {
		struct session *session;

		assert_true(sessions_may_try(&sessions, "10.0.0.1", at_s(i), &wait_s));
		session = sessions_begin(&sessions, "10.0.0.1", "anna", at_s(i));
		if (i == 0)
			memcpy(first, session->id, sizeof(first));
		if (i == 1)
			memcpy(second, session->id, sizeof(second));
	}
	assert_null(sessions_find(&sessions, first, at_s(100)));
	assert_non_null(sessions_find(&sessions, second, at_s(100)));
}

/* Five wrong tokens at once, then one each six seconds; a right one costs nothing. */
static void
test_tries_are_counted(void **state)
{
	struct sessions sessions;
	unsigned wait_s = 0;
	unsigned tries = 0;

	(void)state;
	sessions_init(&sessions, at_s(0));
	while (sessions_may_try(&sessions, "10.0.0.1", at_s(0), &wait_s))
		tries++;
	assert_int_equal(tries, 5);
	assert_in_range(wait_s, 1, 7);
	assert_false(sessions_may_try(&sessions, "10.0.0.1", at_s(5), &wait_s));
	assert_true(sessions_may_try(&sessions, "10.0.0.1", at_s(wait_s + 5), &wait_s));
	assert_false(sessions_may_try(&sessions, "10.0.0.1", at_s(8), &wait_s));
	assert_true(sessions_may_try(&sessions, "10.0.0.2", at_s(8), &wait_s));
	for (tries = 0; sessions_may_try(&sessions, "10.0.0.1", at_s(3600), &wait_s); tries++)
		continue;
	assert_int_equal(tries, 5);
}

/* Many addresses together have a bucket as well: 20, and then one each six seconds. */
static void
test_tries_of_all_are_counted(void **state)
{
	struct sessions sessions;
	unsigned wait_s;
	unsigned tries = 0;

	(void)state;
	sessions_init(&sessions, at_s(0));
	for (int i = 0; i < 100; i++) {
		char client[32];

		(void)snprintf(client, sizeof(client), "10.0.0.%d", i);
		tries += sessions_may_try(&sessions, client, at_s(0), &wait_s) ? 1 : 0;
	}
	assert_int_equal(tries, 20);
}

static void
test_texts_are_compared_whole(void **state)
{
	(void)state;
	assert_true(session_text_equals("abc", "abc"));
	assert_true(session_text_equals("", ""));
	assert_false(session_text_equals("abc", "abd"));
	assert_false(session_text_equals("abc", "abcabc"));
	assert_false(session_text_equals("abcabc", "abc"));
	assert_false(session_text_equals("abc", ""));
	assert_false(session_text_equals("", "abc"));
}

/* ---- gzip ---------------------------------------------------------------------------------- */

static void
test_gzip_says_when_it_is_full(void **state)
{
	SCOPED(str_done) struct str small = STR_INIT_MAX(20);
	SCOPED(str_done) struct str enough = STR_INIT;
	static const char text[] = "one two three four five six seven eight nine ten eleven";

	(void)state;
	gzip_add(&small, text, sizeof(text));
	assert_true(str_is_full(&small));
	gzip_add(&enough, text, sizeof(text));
	assert_false(str_is_full(&enough));
	assert_int_equal((unsigned char)enough.data[0], 0x1f);
	assert_int_equal((unsigned char)enough.data[1], 0x8b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_hosts_that_nobody_can_own),
		cmocka_unit_test(test_a_session_lives_eight_hours),
		cmocka_unit_test(test_the_oldest_session_makes_room),
		cmocka_unit_test(test_tries_are_counted),
		cmocka_unit_test(test_tries_of_all_are_counted),
		cmocka_unit_test(test_texts_are_compared_whole),
		cmocka_unit_test(test_gzip_says_when_it_is_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
