#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>

#include "base/err.h"
#include "source/postgres/lsn.h"

#define MIB UINT64_C(1048576)

static void
test_positions(void **state)
{
	static const char *const bad[] = { "", "/", "1/", "/1", "1", "1/2/3", "g/1", "123456789/1",
		"1/123456789", " 1/2", "-1/2" };
	char text[LSN_TEXT_SIZE];
	uint64_t lsn;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(lsn_parse("16/B374D848", &lsn, &err), 0);
	assert_true(lsn == UINT64_C(0x16B374D848));
	assert_string_equal(lsn_format(lsn, text), "16/B374D848");
	assert_int_equal(lsn_parse("FFFFFFFF/ffffffff", &lsn, &err), 0);
	assert_true(lsn == UINT64_MAX);
	assert_string_equal(lsn_format(0, text), "0/0");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(lsn_parse(bad[i], &lsn, &err), -1);
}

static void
test_segment_names(void **state)
{
	char name[WAL_NAME_SIZE];
	uint32_t timeline;
	uint64_t segment;

	(void)state;
	assert_string_equal(wal_name_format(1, 9, 16 * MIB, name), "000000010000000000000009");
	assert_string_equal(wal_name_format(10, 256 + 255, 16 * MIB, name),
	    "0000000A00000001000000FF");
	assert_string_equal(wal_name_format(1, 5, 1024 * MIB, name), "000000010000000100000001");
	assert_true(wal_name_parse("0000000A00000001000000FF", 16 * MIB, &timeline, &segment));
	assert_int_equal(timeline, 10);
	assert_int_equal(segment, 511);
	assert_false(wal_name_parse("0000000A0000000100000100", 16 * MIB, &timeline, &segment));
	assert_false(wal_name_parse("0000000A00000001000000FF.partial", 16 * MIB, &timeline,
	    &segment));
	assert_false(wal_name_parse("0000000a00000001000000ff", 16 * MIB, &timeline, &segment));
	assert_false(wal_name_parse("000000000000000100000001", 16 * MIB, &timeline, &segment));
	assert_false(wal_name_parse("00000002.history", 16 * MIB, &timeline, &segment));
}

static void
test_ranges(void **state)
{
	uint64_t first, last;

	(void)state;
	wal_range_segments(0x9000028, 0x9000100, 16 * MIB, &first, &last);
	assert_true(first == 9 && last == 9);
	/* An end on the boundary belongs to the segment before it. */
	wal_range_segments(0x9000028, 0xA000000, 16 * MIB, &first, &last);
	assert_true(first == 9 && last == 9);
	wal_range_segments(0x9000028, 0xA000001, 16 * MIB, &first, &last);
	assert_true(first == 9 && last == 10);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_positions),
		cmocka_unit_test(test_segment_names),
		cmocka_unit_test(test_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
