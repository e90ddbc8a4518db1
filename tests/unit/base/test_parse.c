#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/err.h"
#include "base/parse.h"

/* Each check gives the value, or -1 and an error that shows the text. */
static void
assert_shown(const struct err *err, const char *text)
{
	if (strstr(err->msg, text) == NULL)
		fail_msg("'%s' is not shown in '%s'", text, err->msg);
}

static void
test_whole_numbers(void **state)
{
	static const char *const bad[] = { "", " ", "-1", "+1", "1 ", " 1", "0x10", "1.0", "1e3",
		"abc", "18446744073709551616", "99999999999999999999999" };
	uint64_t value = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = ERR_INIT;

		assert_int_equal(parse_u64(bad[i], 0, UINT64_MAX, &value, &err), -1);
		assert_int_equal(err.kind, ERR_USAGE);
		assert_shown(&err, bad[i]);
		assert_int_equal(value, 7);
	}
	{
		struct err err = ERR_INIT;

		assert_int_equal(parse_u64("18446744073709551615", 0, UINT64_MAX, &value, &err), 0);
		assert_true(value == UINT64_MAX);
		assert_int_equal(parse_u64("007", 0, 7, &value, &err), 0);
		assert_int_equal(value, 7);
		assert_int_equal(parse_u64("8", 0, 7, &value, &err), -1);
		assert_shown(&err, "range 0 to 7");
		assert_int_equal(parse_u64("1", 2, 7, &value, &err), -1);
	}
}

static void
test_signed_numbers(void **state)
{
	struct err err = ERR_INIT;
	int64_t value = 0;
	unsigned small = 5;

	(void)state;
	assert_int_equal(parse_i64("-9223372036854775807", INT64_MIN, INT64_MAX, &value, &err), 0);
	assert_true(value == -INT64_MAX);
	assert_int_equal(parse_i64("-9223372036854775808", INT64_MIN, INT64_MAX, &value, &err), 0);
	assert_true(value == INT64_MIN);
	assert_int_equal(parse_i64("-9223372036854775809", INT64_MIN, INT64_MAX, &value, &err), -1);
	assert_int_equal(parse_i64("9223372036854775807", INT64_MIN, INT64_MAX, &value, &err), 0);
	assert_true(value == INT64_MAX);
	assert_int_equal(parse_i64("9223372036854775808", INT64_MIN, INT64_MAX, &value, &err), -1);
	assert_int_equal(parse_i64("--1", INT64_MIN, INT64_MAX, &value, &err), -1);
	assert_int_equal(parse_i64("-", INT64_MIN, INT64_MAX, &value, &err), -1);
	assert_int_equal(parse_i64("-0", -4, 4, &value, &err), 0);
	assert_int_equal(value, 0);
	assert_int_equal(parse_i64("-5", -4, 4, &value, &err), -1);
	assert_shown(&err, "range -4 to 4");
	assert_int_equal(parse_unsigned("4294967296", 0, UINT32_MAX, &small, &err), -1);
	assert_int_equal(parse_unsigned("4294967295", 0, UINT32_MAX, &small, &err), 0);
	assert_true(small == UINT32_MAX);
}

static void
test_hex(void **state)
{
	struct err err = ERR_INIT;
	uint64_t value = 0;
	uint8_t bytes[3] = { 0 };

	(void)state;
	assert_int_equal(parse_hex_u64("DEADbeef", 8, &value, &err), 0);
	assert_true(value == 0xdeadbeef);
	assert_int_equal(parse_hex_u64("ffffffffffffffff", 99, &value, &err), 0);
	assert_true(value == UINT64_MAX);
	assert_int_equal(parse_hex_u64("10000000000000000", 99, &value, &err), -1);
	assert_int_equal(parse_hex_u64("123456789", 8, &value, &err), -1);
	assert_int_equal(parse_hex_u64("", 8, &value, &err), -1);
	assert_int_equal(parse_hex_u64("0x1", 8, &value, &err), -1);
	assert_int_equal(err.kind, ERR_DATA);
	assert_int_equal(parse_hex_bytes("00fF7a", bytes, 3, &err), 0);
	assert_memory_equal(bytes, "\x00\xff\x7a", 3);
	assert_int_equal(parse_hex_bytes("00ff7", bytes, 3, &err), -1);
	assert_int_equal(parse_hex_bytes("00ff7a0", bytes, 3, &err), -1);
	assert_int_equal(parse_hex_bytes("00fg7a", bytes, 3, &err), -1);
}

static void
test_bools(void **state)
{
	struct err err = ERR_INIT;
	bool value = false;

	(void)state;
	assert_int_equal(parse_bool("yes", &value, &err), 0);
	assert_true(value);
	assert_int_equal(parse_bool("off", &value, &err), 0);
	assert_false(value);
	assert_int_equal(parse_bool("on", &value, &err), 0);
	assert_true(value);
	assert_int_equal(parse_bool("false", &value, &err), 0);
	assert_false(value);
	assert_int_equal(parse_bool("True", &value, &err), -1);
	assert_int_equal(parse_bool("1", &value, &err), -1);
	assert_int_equal(parse_bool("", &value, &err), -1);
	assert_false(value);
}

static void
test_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0", 0 },
		{ "4096", 4096 },
		{ "1B", 1 },
		{ "64KiB", 65536 },
		{ "1K", 1024 },
		{ "1kB", 1000 },
		{ "100 MB", 100000000 },
		{ "1M", 1048576 },
		{ "1.5GiB", UINT64_C(1610612736) },
		{ "0.5 KiB", 512 },
		{ "2TB", UINT64_C(2000000000000) },
		{ "1TiB", UINT64_C(1) << 40 },
		{ "16777215TiB", UINT64_C(16777215) << 40 },
		{ "1.0009 kB", 1000 },
	};
	static const char *const bad[] = { "", "B", "-1", "1X", "1 KiBs", "1.", ".5K", "1..5K",
		"KiB", "1.5.5K", "16777216TiB", "99999999999999999999", "1 024", "1K ", "1ib" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct err err = ERR_INIT;
		uint64_t bytes = 0;

		if (parse_size_bytes(good[i].text, &bytes, &err) < 0)
			fail_msg("%s", err.msg);
		assert_true(bytes == good[i].bytes);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = ERR_INIT;
		uint64_t bytes = 7;

		if (parse_size_bytes(bad[i], &bytes, &err) == 0)
			fail_msg("'%s' was accepted", bad[i]);
		assert_int_equal(err.kind, ERR_USAGE);
		assert_shown(&err, bad[i]);
		assert_int_equal(bytes, 7);
	}
}

static void
test_durations(void **state)
{
	static const struct {
		const char *text;
		int64_t us;
	} good[] = {
		{ "500ms", 500000 },
		{ "90s", 90000000 },
		{ "15min", INT64_C(900000000) },
		{ "1m", 60000000 },
		{ "6h", INT64_C(21600000000) },
		{ "30d", INT64_C(2592000000000) },
		{ "2w", INT64_C(1209600000000) },
		{ "1h30min", INT64_C(5400000000) },
		{ "1d12h30m5s1ms", INT64_C(131405001000) },
		{ "0s", 0 },
	};
	static const char *const bad[] = { "", "30", "d", "30x", "-1d", "1.5h", "1 h", "30days",
		"99999999999999y", "1h30", "300000y", "10000000000000000000000s" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct err err = ERR_INIT;
		int64_t us = 0;

		if (parse_duration_us(good[i].text, &us, &err) < 0)
			fail_msg("%s", err.msg);
		assert_int_equal(us, good[i].us);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = ERR_INIT;
		int64_t us = 7;

		if (parse_duration_us(bad[i], &us, &err) == 0)
			fail_msg("'%s' was accepted", bad[i]);
		assert_shown(&err, bad[i]);
		assert_int_equal(us, 7);
	}
}

static void
test_percents(void **state)
{
	struct err err = ERR_INIT;
	unsigned percent = 7;

	(void)state;
	assert_int_equal(parse_percent("80%", &percent, &err), 0);
	assert_int_equal(percent, 80);
	assert_int_equal(parse_percent("100", &percent, &err), 0);
	assert_int_equal(parse_percent("0", &percent, &err), 0);
	assert_int_equal(percent, 0);
	assert_int_equal(parse_percent("101%", &percent, &err), -1);
	assert_int_equal(parse_percent("80%%", &percent, &err), -1);
	assert_int_equal(parse_percent("%", &percent, &err), -1);
	assert_int_equal(parse_percent("", &percent, &err), -1);
	assert_int_equal(parse_percent("8 %", &percent, &err), -1);
	assert_int_equal(percent, 0);
}

static void
test_bytes_for_people(void **state)
{
	char text[32];

	(void)state;
	assert_string_equal(format_bytes(0, text), "0 B");
	assert_string_equal(format_bytes(1023, text), "1023 B");
	assert_string_equal(format_bytes(1024, text), "1.0 KiB");
	assert_string_equal(format_bytes(1536, text), "1.5 KiB");
	assert_string_equal(format_bytes(10 * 1024, text), "10 KiB");
	assert_string_equal(format_bytes(UINT64_C(1023) * 1024, text), "1.0 MiB");
	assert_string_equal(format_bytes(UINT64_C(5) << 40, text), "5.0 TiB");
	assert_true(strlen(format_bytes(UINT64_MAX, text)) < sizeof(text));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_numbers),
		cmocka_unit_test(test_signed_numbers),
		cmocka_unit_test(test_hex),
		cmocka_unit_test(test_bools),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_percents),
		cmocka_unit_test(test_bytes_for_people),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
