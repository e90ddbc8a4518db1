#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "source/postgres/base/check.h"
#include "source/postgres/base/manifest.h"

static int
listed(struct base_check *check, const char *path, uint64_t size, uint32_t crc, struct err *err)
{
	const struct base_manifest_file file = {
		.path = path,
		.path_size = strlen(path),
		.size_bytes = size,
		.algorithm = BASE_CHECKSUM_CRC32C,
		.crc32c = crc,
	};

	return base_check_listed(check, &file, err);
}

static struct base_check *
three_files(void)
{
	struct base_check *check = base_check_new();
	struct err err = ERR_INIT;

	assert_int_equal(base_check_add(check, "backup_label", 10, 1, &err), 0);
	assert_int_equal(base_check_add(check, "base/1/1259", 8192, 2, &err), 0);
	assert_int_equal(base_check_add(check, "base/1/1259_fsm", 24576, 3, &err), 0);

	return check;
}

static void
test_same_order(void **state)
{
	struct base_check *check = three_files();
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(listed(check, "backup_label", 10, 1, &err), 0);
	assert_int_equal(listed(check, "base/1/1259", 8192, 2, &err), 0);
	assert_int_equal(listed(check, "base/1/1259_fsm", 24576, 3, &err), 0);
	assert_int_equal(base_check_finish(check, &err), 0);
	assert_int_equal(base_check_files(check), 3);
	assert_int_equal(base_check_bytes(check), 10 + 8192 + 24576);
	base_check_free(check);
}

static void
test_other_order(void **state)
{
	struct base_check *check = three_files();
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(listed(check, "backup_label", 10, 1, &err), 0);
	assert_int_equal(listed(check, "base/1/1259_fsm", 24576, 3, &err), 0);
	assert_int_equal(listed(check, "base/1/1259", 8192, 2, &err), 0);
	assert_int_equal(base_check_finish(check, &err), 0);
	base_check_free(check);
}

static void
test_what_is_wrong_is_named(void **state)
{
	static const struct {
		const char *path;
		uint64_t size;
		uint32_t crc;
		const char *says;
	} cases[] = {
		{ "base/1/1260", 1, 1,
		    "'base/1/1260' is in the server's manifest but was not sent" },
		{ "backup_label", 11, 1,
		    "'backup_label' has 10 bytes, the server's manifest says 11" },
		{ "backup_label", 10, 0xabc, "'backup_label' has CRC32C 00000001" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct base_check *check = three_files();
		struct err err = ERR_INIT;

		assert_int_equal(listed(check, cases[i].path, cases[i].size, cases[i].crc, &err),
		    -1);
		assert_int_equal(err.kind, ERR_DATA);
		assert_non_null(strstr(err.msg, cases[i].says));
		base_check_free(check);
	}
}

static void
test_listed_twice(void **state)
{
	struct base_check *check = three_files();
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(listed(check, "backup_label", 10, 1, &err), 0);
	assert_int_equal(listed(check, "backup_label", 10, 1, &err), -1);
	assert_non_null(strstr(err.msg, "twice"));
	base_check_free(check);
}

/* The one that is not listed is named, whichever it is and in whatever order the rest came. */
static void
test_extra_file_is_named(void **state)
{
	static const char *const paths[] = { "backup_label", "base/1/1259", "base/1/1259_fsm" };
	static const uint64_t sizes[] = { 10, 8192, 24576 };

	(void)state;
	for (size_t extra = 0; extra < 3; extra++) {
		for (int is_backwards = 0; is_backwards < 2; is_backwards++) {
			struct base_check *check = three_files();
			struct err err = ERR_INIT;

			for (size_t n = 0; n < 3; n++) {
				size_t i = is_backwards ? 2 - n : n;

				if (i != extra)
					assert_int_equal(listed(check, paths[i], sizes[i],
							     (uint32_t)i + 1, &err),
					    0);
			}
			assert_int_equal(base_check_finish(check, &err), -1);
			assert_int_equal(err.kind, ERR_DATA);
			assert_non_null(strstr(err.msg, paths[extra]));
			assert_non_null(strstr(err.msg, "was sent but is not in"));
			base_check_free(check);
		}
	}
}

static void
test_other_checksums_compare_sizes(void **state)
{
	struct base_check *check = three_files();
	const struct base_manifest_file file = {
		.path = "backup_label",
		.path_size = 12,
		.size_bytes = 10,
		.algorithm = BASE_CHECKSUM_SHA,
	};
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(base_check_listed(check, &file, &err), 0);
	assert_int_equal(base_check_unchecked(check), 1);
	base_check_free(check);
}

static void
test_long_paths(void **state)
{
	struct base_check *check = base_check_new();
	char path[700];
	struct err err = ERR_INIT;

	(void)state;
	memset(path, 'a', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(base_check_add(check, path, 1, 1, &err), 0);
	path[500] = 'b';
	assert_int_equal(base_check_add(check, path, 2, 2, &err), 0);
	path[10] = 'c';
	assert_int_equal(base_check_add(check, path, 3, 3, &err), 0);
	assert_int_equal(listed(check, path, 3, 3, &err), 0);
	assert_int_equal(base_check_finish(check, &err), -1);
	base_check_free(check);
}

/* A server that sends a million small files must not make us grow beyond some 40 MB. */
static void
test_many_files(void **state)
{
	enum { FILES = 1000000 };
	struct base_check *check = base_check_new();
	struct err err = ERR_INIT;
	char path[64];

	(void)state;
	for (uint32_t i = 0; i < FILES; i++) {
		(void)snprintf(path, sizeof(path), "base/16384/%u", 16384 + i);
		assert_int_equal(base_check_add(check, path, i, i * 7, &err), 0);
	}
	for (uint32_t i = 0; i < FILES; i++) {
		(void)snprintf(path, sizeof(path), "base/16384/%u", 16384 + i);
		if (i != 777777)
			assert_int_equal(listed(check, path, i, i * 7, &err), 0);
	}
	assert_int_equal(base_check_finish(check, &err), -1);
	assert_non_null(strstr(err.msg, "base/16384/794161"));
	base_check_free(check);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_order),
		cmocka_unit_test(test_other_order),
		cmocka_unit_test(test_what_is_wrong_is_named),
		cmocka_unit_test(test_listed_twice),
		cmocka_unit_test(test_extra_file_is_named),
		cmocka_unit_test(test_other_checksums_compare_sizes),
		cmocka_unit_test(test_long_paths),
		cmocka_unit_test(test_many_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
