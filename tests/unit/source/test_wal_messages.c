#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/err.h"
#include "source/postgres/wal/messages.h"

static int
parse(const char *data, size_t size, struct wal_message *message, struct err *err)
{
	*message = (struct wal_message){ .size = 77 };

	return wal_message_parse(data, size, message, err);
}

static void
test_wal_data(void **state)
{
	static const char bytes[] = "w\0\0\0\1\2\3\4\5"
				    "\0\0\0\1\2\3\4\x15"
				    "\0\0\0\0\0\0\0\1"
				    "abc";
	struct wal_message message;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(parse(bytes, sizeof(bytes) - 1, &message, &err), 0);
	assert_int_equal(message.kind, WAL_MESSAGE_DATA);
	assert_int_equal(message.start_lsn, 0x102030405);
	assert_int_equal(message.end_lsn, 0x102030415);
	assert_int_equal(message.time.us, 946684800000001);
	assert_int_equal(message.size, 3);
	assert_memory_equal(message.data, "abc", 3);
}

static void
test_keepalive(void **state)
{
	static const char bytes[] = "k\xff\xff\xff\xff\xff\xff\xff\xfe"
				    "\xff\xff\xff\xff\xff\xff\xff\xff"
				    "\1";
	struct wal_message message;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(parse(bytes, 18, &message, &err), 0);
	assert_int_equal(message.kind, WAL_MESSAGE_KEEPALIVE);
	assert_int_equal(message.end_lsn, UINT64_MAX - 1);
	assert_int_equal(message.time.us, 0);
	assert_true(message.wants_reply);
}

/* What no server sends; nothing of it reaches the caller. */
static void
test_what_is_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
	} bad[] = {
		{ "", 0 },
		{ "w", 1 },
		{ "w\0\0\0\1\2\3\4\5\0\0\0\1\2\3\4\x15\0\0\0\0\0\0\0\1", 25 },
		{ "w\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0x", 26 },
		{ "k\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 17 },
		{ "k\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 19 },
		{ "r\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 18 },
	};
	static char large[WAL_DATA_MAX_BYTES + 26];
	struct wal_message message;
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(parse(bad[i].bytes, bad[i].size, &message, &err), -1);
		assert_int_equal(err.kind, ERR_PEER);
		assert_int_equal(message.size, 77);
	}
	large[0] = 'w';
	assert_int_equal(parse(large, sizeof(large), &message, &err), -1);
	assert_int_equal(parse(large, sizeof(large) - 1, &message, &err), 0);
}

static void
test_reply(void **state)
{
	static const uint8_t expected[] = "r\0\0\0\1\2\3\4\5"
					  "\0\0\0\0\0\0\0\6"
					  "\0\0\0\0\0\0\0\0"
					  "\0\0\0\0\0\0\0\2"
					  "\1";
	const struct wal_reply reply = {
		.written_lsn = 0x102030405,
		.flushed_lsn = 6,
		.time = { .us = 946684800000002 },
		.wants_reply = true,
	};
	uint8_t bytes[WAL_REPLY_BYTES];

	(void)state;
	wal_reply_format(&reply, bytes);
	assert_memory_equal(bytes, expected, sizeof(bytes));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wal_data),
		cmocka_unit_test(test_keepalive),
		cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_reply),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
