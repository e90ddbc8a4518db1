#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "source/postgres/base/page.h"

/* The algorithm as PostgreSQL's storage/checksum_impl.h writes it down, one column at a time. */
static uint16_t
reference_checksum(const uint8_t *page, uint32_t block)
{
	static const uint32_t offsets[32] = {
		0x5B1F36E9,
		0xB8525960,
		0x02AB50AA,
		0x1DE66D2A,
		0x79FF467A,
		0x9BB9F8A3,
		0x217E7CD2,
		0x83E13D2C,
		0xF8D4474F,
		0xE39EB970,
		0x42C6AE16,
		0x993216FA,
		0x7B093B5D,
		0x98DAFF3C,
		0xF718902A,
		0x0B1C9CDB,
		0xE58F764B,
		0x187636BC,
		0x5D7B3BB1,
		0xE73DE7DE,
		0x92BEC979,
		0xCCA6C0B2,
		0x304A0979,
		0x85AA43D4,
		0x783125BB,
		0x6CA8EAA2,
		0xE407EAC6,
		0x4B5CFC3E,
		0x9FBF8C76,
		0x15CA20BE,
		0xF2CA9FD3,
		0x959BD756,
	};
	uint8_t copy[PAGE_BYTES];
	uint32_t result = 0;

	memcpy(copy, page, PAGE_BYTES);
	copy[8] = copy[9] = 0;
	for (unsigned column = 0; column < 32; column++) {
		uint32_t sum = offsets[column];

		for (unsigned row = 0; row < 66; row++) {
			uint32_t word = 0;

			if (row < 64)
				memcpy(&word, copy + row * 128 + column * 4, 4);
			sum = (sum ^ word) * 16777619u ^ (sum ^ word) >> 17;
		}
		result ^= sum;
	}

	return (uint16_t)((result ^ block) % 65535 + 1);
}

static void
fill(uint8_t *page, uint32_t seed)
{
	for (unsigned i = 0; i < PAGE_BYTES; i++) {
		seed = seed * 1664525u + 1013904223u;
		page[i] = (uint8_t)(seed >> 24);
	}
}

static void
set_checksum(uint8_t *page, uint32_t block)
{
	uint16_t sum = page_checksum(page, block);

	page[8] = (uint8_t)sum;
	page[9] = (uint8_t)(sum >> 8);
}

static void
set_lsn(uint8_t *page, uint64_t lsn)
{
	for (unsigned i = 0; i < 4; i++) {
		page[i] = (uint8_t)(lsn >> (32 + 8 * i));
		page[4 + i] = (uint8_t)(lsn >> (8 * i));
	}
}

static void
test_checksum_is_the_servers(void **state)
{
	uint8_t storage[PAGE_BYTES + 1];

	(void)state;
	for (uint32_t i = 0; i < 50; i++) {
		uint8_t *page = storage + i % 2; /* not aligned */

		fill(page, i);
		assert_int_equal(page_checksum(page, i * 12345),
		    reference_checksum(page, i * 12345));
	}
	memset(storage, 0, sizeof(storage));
	assert_int_equal(page_checksum(storage, 7), reference_checksum(storage, 7));
}

static void
test_every_bit_counts(void **state)
{
	uint8_t page[PAGE_BYTES];

	(void)state;
	fill(page, 99);
	set_checksum(page, 5);
	assert_int_equal(page_check(page, 5, 0, 0), PAGE_GOOD);
	assert_int_equal(page_check(page, 6, 0, 0), PAGE_BAD);
	for (unsigned i = 0; i < PAGE_BYTES; i += 13) {
		page[i] ^= 0x10;
		assert_int_equal(page_check(page, 5, 0, 0), PAGE_BAD);
		page[i] ^= 0x10;
	}
}

static void
test_new_pages(void **state)
{
	uint8_t page[PAGE_BYTES] = { 0 };

	(void)state;
	assert_int_equal(page_check(page, 0, 0, 0), PAGE_NEW);
	/* pd_upper 0 alone does not make it new: that would hide damage. */
	page[4000] = 1;
	assert_int_equal(page_check(page, 0, 0, 0), PAGE_BAD);
}

static void
test_pages_changed_during_the_backup(void **state)
{
	uint8_t page[PAGE_BYTES];

	(void)state;
	fill(page, 1);
	set_lsn(page, 0x1500000028);
	assert_true(page_lsn(page) == 0x1500000028);
	set_checksum(page, 3);
	page[5000] ^= 1;
	assert_int_equal(page_check(page, 3, 0x1500000028, 0x1600000000), PAGE_NOT_JUDGED);
	assert_int_equal(page_check(page, 3, 0x1500000029, 0x1600000000), PAGE_BAD);
	/* From beyond the end of the backup: no such page can exist. */
	assert_int_equal(page_check(page, 3, 0x1400000000, 0x1500000027), PAGE_BAD);
	assert_int_equal(page_check(page, 3, 0, 0), PAGE_BAD);
}

static void
test_which_files_have_checksums(void **state)
{
	static const struct {
		const char *path;
		bool has;
		uint32_t first;
	} cases[] = {
		{ "base/5/16384", true, 0 },
		{ "base/5/16384.1", true, 131072 },
		{ "base/5/16384.12", true, 12 * 131072 },
		{ "base/5/16384_fsm", true, 0 },
		{ "base/5/16384_vm.3", true, 3 * 131072 },
		{ "base/5/16384_init", true, 0 },
		{ "global/1262", true, 0 },
		{ "pg_tblspc/16401/PG_15_202209061/5/16402.3", true, 3 * 131072 },
		{ "global/pg_control", false, 0 },
		{ "global/pg_filenode.map", false, 0 },
		{ "base/5/PG_VERSION", false, 0 },
		{ "base/5/pg_internal.init", false, 0 },
		{ "base/5/INCREMENTAL.16384", false, 0 },
		{ "base/5/t3_16384", false, 0 },
		{ "base/5/16384.0", false, 0 },
		{ "base/5/16384.x", false, 0 },
		{ "base/5/16384_other", false, 0 },
		{ "base/pgsql_tmp/1", false, 0 },
		{ "pg_xact/0000", false, 0 },
		{ "pg_tblspc/16401/other/5/16402", false, 0 },
		{ "base/5/", false, 0 },
		{ "", false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t first = 0;

		if (page_file_has_checksums(cases[i].path, &first) != cases[i].has)
			fail_msg("'%s'", cases[i].path);
		if (cases[i].has)
			assert_int_equal(first, cases[i].first);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_checksum_is_the_servers),
		cmocka_unit_test(test_every_bit_counts),
		cmocka_unit_test(test_new_pages),
		cmocka_unit_test(test_pages_changed_during_the_backup),
		cmocka_unit_test(test_which_files_have_checksums),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
