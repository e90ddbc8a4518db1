#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "source/postgres/base/page_scan.h"

enum { PAGES = 6 };

static void
fill_file(uint8_t *file, uint32_t first_block)
{
	for (uint32_t n = 0; n < PAGES; n++) {
		uint8_t *page = file + n * PAGE_BYTES;
		uint16_t sum;

		memset(page, (int)n + 1, PAGE_BYTES);
		sum = page_checksum(page, first_block + n);
		page[8] = (uint8_t)sum;
		page[9] = (uint8_t)(sum >> 8);
	}
}

static void
scan_file(struct page_scan *scan, const char *path, const uint8_t *file, size_t size, size_t step)
{
	(void)page_scan_begin(scan, path);
	for (size_t at = 0; at < size; at += step)
		page_scan_data(scan, file + at, size - at < step ? size - at : step);
	page_scan_end(scan);
}

static void
test_any_pieces(void **state)
{
	static const size_t steps[] = { 1, 511, 8191, 8192, 8193, 20000, PAGES * PAGE_BYTES };
	uint8_t *file = xmalloc(PAGES * PAGE_BYTES);

	(void)state;
	fill_file(file, 2 * PAGES_PER_SEGMENT);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct page_scan *scan = xcalloc(1, sizeof(*scan));

		scan_file(scan, "base/5/16384.2", file, PAGES * PAGE_BYTES, steps[i]);
		assert_int_equal(scan->pages, PAGES);
		assert_int_equal(scan->bad_count, 0);
		/* As another segment every page is wrong. */
		scan_file(scan, "base/5/16384", file, PAGES * PAGE_BYTES, steps[i]);
		assert_int_equal(scan->bad_count, PAGES);
		assert_string_equal(scan->bad[0].path, "base/5/16384");
		assert_int_equal(scan->bad[5].block, 5);
		free(scan);
	}
	free(file);
}

static void
test_a_piece_of_a_page_is_bad(void **state)
{
	uint8_t *file = xmalloc(PAGES * PAGE_BYTES);
	struct page_scan *scan = xcalloc(1, sizeof(*scan));

	(void)state;
	fill_file(file, 0);
	scan_file(scan, "global/1262", file, 3 * PAGE_BYTES - 1, 4096);
	assert_int_equal(scan->pages, 2);
	assert_int_equal(scan->bad_count, 1);
	assert_int_equal(scan->bad[0].block, 2);
	free(scan);
	free(file);
}

static void
test_known_damage_is_counted_apart(void **state)
{
	uint8_t *file = xmalloc(PAGES * PAGE_BYTES);
	struct page_scan *scan = xcalloc(1, sizeof(*scan));

	(void)state;
	fill_file(file, 0);
	file[PAGE_BYTES + 100] ^= 1;
	assert_true(page_scan_begin(scan, "base/5/1"));
	scan->is_known_damaged = true;
	page_scan_data(scan, file, PAGES * PAGE_BYTES);
	page_scan_end(scan);
	assert_int_equal(scan->bad_count, 0);
	assert_int_equal(scan->known_bad_count, 1);
	/* The next file is judged again. */
	scan_file(scan, "base/5/2", file, PAGES * PAGE_BYTES, 1000);
	assert_int_equal(scan->bad_count, 1);
	assert_int_equal(scan->bad[0].block, 1);
	free(scan);
	free(file);
}

static void
test_other_files_are_left_alone(void **state)
{
	struct page_scan *scan = xcalloc(1, sizeof(*scan));

	(void)state;
	assert_false(page_scan_begin(scan, "global/pg_control"));
	page_scan_data(scan, "abc", 3);
	page_scan_end(scan);
	assert_int_equal(scan->pages + scan->bad_count, 0);
	free(scan);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_pieces),
		cmocka_unit_test(test_a_piece_of_a_page_is_bad),
		cmocka_unit_test(test_known_damage_is_counted_apart),
		cmocka_unit_test(test_other_files_are_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
