#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"

static void
assert_parsed(const char *text, int64_t us)
{
	struct wall_time time = { .us = 0 };
	struct err err = ERR_INIT;

	if (clock_parse(text, &time, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(time.us, us);
}

static void
test_parse(void **state)
{
	(void)state;
	assert_parsed("1970-01-01T00:00:00Z", 0);
	assert_parsed("2025-11-25T02:00:00Z", INT64_C(1764036000000000));
	assert_parsed("2025-11-25t02:00:00.5z", INT64_C(1764036000500000));
	assert_parsed("2025-11-25 03:00:00+01:00", INT64_C(1764036000000000));
	assert_parsed("2025-11-24T20:30:00-0530", INT64_C(1764036000000000));
	assert_parsed("2025-11-25T04:00:00+02", INT64_C(1764036000000000));
	assert_parsed("2025-11-25T02:00:00.123456789Z", INT64_C(1764036000123456));
	assert_parsed("1969-12-31T23:59:59.999999Z", -1);
	assert_parsed("2024-02-29T00:00:00Z", INT64_C(1709164800000000));
	assert_parsed("9999-12-31T23:59:59.999999Z", INT64_C(253402300799999999));
	assert_parsed("0001-01-01T00:00:00Z", INT64_C(-62135596800000000));
}

static void
test_parse_refuses(void **state)
{
	static const char *const bad[] = {
		"",
		"2025-11-25",
		"2025-11-25T02:00:00",
		"2025-11-25T02:00Z",
		"2025-11-25T02:00:00.Z",
		"2025-02-29T00:00:00Z",
		"2025-04-31T00:00:00Z",
		"2025-13-01T00:00:00Z",
		"2025-00-01T00:00:00Z",
		"2025-01-00T00:00:00Z",
		"2025-01-01T24:00:00Z",
		"2025-01-01T00:60:00Z",
		"2025-01-01T00:00:60Z",
		"0000-01-01T00:00:00Z",
		"25-01-01T00:00:00Z",
		"2025-01-01T00:00:00+16:00",
		"2025-01-01T00:00:00+01:60",
		"2025-01-01T00:00:00Zx",
		" 2025-01-01T00:00:00Z",
		"2025-1-01T00:00:00Z",
		"2025-01-01T00:00:00+1",
		"yesterday",
		/* The offset leads out of the years that have four digits. */
		"0001-01-01T00:59:59+01:00",
		"9999-12-31T23:00:00-01:00",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct wall_time time = { .us = 7 };
		struct err err = ERR_INIT;

		if (clock_parse(bad[i], &time, &err) == 0)
			fail_msg("'%s' was accepted", bad[i]);
		assert_int_equal(err.kind, ERR_DATA);
		assert_int_equal(time.us, 7);
	}
}

static void
test_format_and_parse_are_inverse(void **state)
{
	uint64_t random = 0x1234567;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		char text[CLOCK_TEXT_SIZE];
		struct wall_time time;

		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		/* Anywhere in the years 1 to 9999. */
		time.us = (int64_t)(random % UINT64_C(315537897600000000)) -
		    INT64_C(62135596800000000);
		assert_parsed(clock_format(time, text), time.us);
	}
}

static void
test_format(void **state)
{
	char text[CLOCK_TEXT_SIZE];

	(void)state;
	assert_string_equal(clock_format((struct wall_time){ .us = 0 }, text),
	    "1970-01-01T00:00:00.000000Z");
	assert_string_equal(clock_format((struct wall_time){ .us = -1 }, text),
	    "1969-12-31T23:59:59.999999Z");
	assert_string_equal(clock_format_compact((struct
						     wall_time){ .us = INT64_C(1764036000999999) },
				text),
	    "2025-11-25T020000Z");
	assert_string_equal(clock_format_compact((struct wall_time){ .us = -1 }, text),
	    "1969-12-31T235959Z");
}

/* Day by day through the calendar's cycle, against the C library. */
static void
test_civil_dates_equal_the_c_librarys(void **state)
{
	(void)state;
	for (int64_t day = -719162; day < 2932896; day += 11) {
		time_t at = (time_t)(day * 86400 + 3661);
		struct civil civil = civil_from_unix_s((int64_t)at);
		struct tm tm;

		assert_non_null(gmtime_r(&at, &tm));
		assert_int_equal(civil.year, tm.tm_year + 1900);
		assert_int_equal(civil.month, tm.tm_mon + 1);
		assert_int_equal(civil.day, tm.tm_mday);
		assert_int_equal(civil.hour, 1);
		assert_int_equal(civil.minute, 1);
		assert_int_equal(civil.second, 1);
		assert_int_equal(civil_weekday(&civil), tm.tm_wday);
		assert_int_equal(civil_to_unix_s(&civil), (int64_t)at);
		assert_true(civil_is_valid(&civil));
	}
}

static void
test_durations_for_people(void **state)
{
	char text[CLOCK_TEXT_SIZE];

	(void)state;
	assert_string_equal(clock_format_duration(0, text), "0.0 s");
	assert_string_equal(clock_format_duration(1250 * US_PER_MS, text), "1.2 s");
	assert_string_equal(clock_format_duration(45 * US_PER_S, text), "45 s");
	assert_string_equal(clock_format_duration(560 * US_PER_S, text), "9 min 20 s");
	assert_string_equal(clock_format_duration(11100 * US_PER_S, text), "3 h 5 min");
	assert_string_equal(clock_format_duration(187200 * US_PER_S, text), "2 d 4 h");
	assert_true(strlen(clock_format_duration(INT64_MAX, text)) < CLOCK_TEXT_SIZE);
}

static void
test_clocks_run(void **state)
{
	struct mono_time began = clock_mono();
	struct wall_time now = clock_wall();

	(void)state;
	assert_true(now.us > INT64_C(1700000000000000));
	assert_true(now.us / US_PER_S - (int64_t)time(NULL) <= 1);
	assert_true(clock_elapsed_us(began) >= 0);
	assert_true(clock_elapsed_us(began) < 10 * US_PER_S);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_parse_refuses),
		cmocka_unit_test(test_format_and_parse_are_inverse),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_civil_dates_equal_the_c_librarys),
		cmocka_unit_test(test_durations_for_people),
		cmocka_unit_test(test_clocks_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
