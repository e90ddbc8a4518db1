#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "fixture.h"
#include "stream/seek_table.h"

/* Two frames of 3 and 5 stored bytes; written by hand from the format's description. */
static const uint8_t two_frames[] = {
	'a', 'a', 'a', 'b', 'b', 'b', 'b', 'b', /* the frames */
	0x5e, 0x2a, 0x4d, 0x18, 25, 0, 0, 0,    /* magic, size */
	3, 0, 0, 0, 100, 0, 0, 0,               /* first */
	5, 0, 0, 0, 0, 1, 0, 0,                 /* second */
	2, 0, 0, 0, 0, 0xb1, 0xea, 0x92, 0x8f,  /* footer */
};

/* The same with a checksum in each entry. */
static const uint8_t with_checksums[] = {
	'a', 'a', 'a', 'b', 'b', 'b', 'b', 'b',   /* the frames */
	0x5e, 0x2a, 0x4d, 0x18, 33, 0, 0, 0,      /* magic, size */
	3, 0, 0, 0, 100, 0, 0, 0, 1, 2, 3, 4,     /* first */
	5, 0, 0, 0, 0, 1, 0, 0, 5, 6, 7, 8,       /* second */
	2, 0, 0, 0, 0x80, 0xb1, 0xea, 0x92, 0x8f, /* footer */
};

static void
check_two(const struct seek_table *table)
{
	assert_int_equal(table->frames.count, 2);
	assert_int_equal(table->stored_bytes, 8);
	assert_int_equal(table->plain_bytes, 356);
	assert_int_equal(table->frames.items[0].stored_offset, 0);
	assert_int_equal(table->frames.items[1].stored_offset, 3);
	assert_int_equal(table->frames.items[1].plain_offset, 100);
	assert_int_equal(table->frames.items[1].stored_bytes, 5);
	assert_int_equal(table->frames.items[1].plain_bytes, 256);
}

static void
test_parse_known(void **state)
{
	struct memory_blob blob;
	struct seek_table table;
	struct err err = ERR_INIT;

	(void)state;
	memory_blob_init(&blob, two_frames, sizeof(two_frames));
	assert_int_equal(seek_table_read(&blob.base, &table, &err), 0);
	check_two(&table);
	seek_table_done(&table);
	memory_blob_init(&blob, with_checksums, sizeof(with_checksums));
	assert_int_equal(seek_table_read(&blob.base, &table, &err), 0);
	check_two(&table);
	seek_table_done(&table);
}

static void
test_format_known(void **state)
{
	struct seek_table table = { .stored_bytes = 0 };
	SCOPED(str_done) struct str text = STR_INIT;

	(void)state;
	seek_table_add(&table, 3, 100);
	seek_table_add(&table, 5, 256);
	seek_table_format(&table, &text);
	assert_int_equal(text.size, sizeof(two_frames) - 8);
	assert_memory_equal(text.data, two_frames + 8, text.size);
	seek_table_done(&table);
}

/* A tail of any size: either it says what it needs, or it has it. */
static void
test_short_tails(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	for (size_t size = 0; size <= sizeof(two_frames); size++) {
		struct seek_table table;
		size_t needed = 0;

		assert_int_equal(seek_table_parse(two_frames + sizeof(two_frames) - size, size,
				     sizeof(two_frames), &table, &needed, &err),
		    0);
		if (size < 33) {
			assert_int_equal(needed, size < 9 ? 9 : 33);
			assert_int_equal(table.frames.count, 0);
		} else {
			assert_int_equal(needed, 0);
			check_two(&table);
		}
		seek_table_done(&table);
	}
}

/* Any changed byte of head or foot, and of the stored sizes, is seen. */
static void
test_changed_bytes(void **state)
{
	uint8_t data[sizeof(two_frames)];

	(void)state;
	for (size_t i = 8; i < sizeof(data); i++) {
		struct seek_table table;
		struct memory_blob blob;
		struct err err = ERR_INIT;
		bool is_plain_size = (i >= 20 && i < 24) || (i >= 28 && i < 32);

		memcpy(data, two_frames, sizeof(data));
		data[i] ^= 0x04;
		memory_blob_init(&blob, data, sizeof(data));
		if (is_plain_size) {
			assert_int_equal(seek_table_read(&blob.base, &table, &err), 0);
			seek_table_done(&table);
			continue;
		}
		assert_int_equal(seek_table_read(&blob.base, &table, &err), -1);
		/* Without its magic it is no table at all. */
		assert_int_equal(err.kind, i >= 37 ? ERR_NOT_FOUND : ERR_DATA);
	}
}

static void
test_none(void **state)
{
	static const uint8_t junk[100] = { 1, 2, 3 };
	struct seek_table table;
	struct memory_blob blob;
	struct err err = ERR_INIT;

	(void)state;
	memory_blob_init(&blob, junk, sizeof(junk));
	assert_int_equal(seek_table_read(&blob.base, &table, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	memory_blob_init(&blob, junk, 3);
	assert_int_equal(seek_table_read(&blob.base, &table, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
}

/* A footer that claims more frames than we hold, or than the file has room for. */
static void
test_too_many(void **state)
{
	static const uint32_t counts[] = { 3, 1000, SEEK_TABLE_MAX_FRAMES,
		SEEK_TABLE_MAX_FRAMES + 1, UINT32_MAX };
	uint8_t data[sizeof(two_frames)];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		struct seek_table table;
		struct memory_blob blob;
		struct err err = ERR_INIT;

		memcpy(data, two_frames, sizeof(data));
		for (unsigned byte = 0; byte < 4; byte++)
			data[32 + byte] = (uint8_t)(counts[i] >> 8 * byte);
		memory_blob_init(&blob, data, sizeof(data));
		assert_int_equal(seek_table_read(&blob.base, &table, &err), -1);
		assert_int_equal(err.kind, ERR_DATA);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_known),
		cmocka_unit_test(test_format_known),
		cmocka_unit_test(test_short_tails),
		cmocka_unit_test(test_changed_bytes),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
