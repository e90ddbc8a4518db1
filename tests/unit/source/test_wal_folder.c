/* The folder of the log held against what ought to be in it. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/file.h"
#include "source/postgres/lsn.h"
#include "source/postgres/wal/folder.h"

enum { MIB = 1024 * 1024 };

static int
make_folder(void **state)
{
	char path[] = "/tmp/bs-wal-folder-XXXXXX";

	*state = mkdtemp(path) != NULL ? xstrdup(path) : NULL;

	return *state != NULL ? 0 : -1;
}

static int
remove_folder(void **state)
{
	struct err err = ERR_INIT;
	int result = dir_remove_all(*state, &err);

	free(*state);

	return result;
}

static void
make_file(const char *folder, const char *name, off_t bytes)
{
	SCOPED(freep) char *path = xasprintf("%s/%s", folder, name);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, bytes), 0);
	assert_int_equal(close(fd), 0);
}

static void
make_segments(const char *folder, uint32_t timeline, uint64_t first, uint64_t count)
{
	for (uint64_t number = first; number < first + count; number++) {
		char name[WAL_NAME_SIZE];
		SCOPED(freep)
		char *file = xasprintf("%s.zst", wal_name_format(timeline, number, 16 * MIB, name));

		make_file(folder, file, 0);
	}
}

static void
remove_segment(const char *folder, uint32_t timeline, uint64_t number)
{
	char name[WAL_NAME_SIZE];
	SCOPED(freep)
	char *path = xasprintf("%s/%s.zst", folder,
	    wal_name_format(timeline, number, 16 * MIB, name));

	assert_int_equal(unlink(path), 0);
}

/* How many there are says nothing: as many are new as were removed. */
static void
test_as_many_new_as_removed(void **state)
{
	const char *folder = *state;
	struct wal_folder_range ranges[] = {
		{ .timeline = 1, .first = 10, .last = 109 },
		{ .timeline = 2, .first = 5, .last = 7 },
	};
	SCOPED(wal_folder_done) struct wal_folder folder_read = { .segment_bytes = 0 };
	struct err err = ERR_INIT;

	make_segments(folder, 1, 10, 100);
	make_segments(folder, 2, 5, 3);
	remove_segment(folder, 1, 60);
	remove_segment(folder, 2, 7);
	make_segments(folder, 1, 110, 1);
	make_segments(folder, 3, 6, 1);

	assert_int_equal(wal_folder_read(folder, 0, ranges, 2, &folder_read, &err), 0);
	assert_int_equal(folder_read.strangers_count, 2);
	assert_int_equal(ranges[0].missing.count, 1);
	assert_int_equal(ranges[0].missing.items[0], 60);
	assert_int_equal(ranges[1].missing.count, 1);
	assert_int_equal(ranges[1].missing.items[0], 7);
	vec_done(&ranges[0].missing);
	vec_done(&ranges[1].missing);

	assert_int_equal(wal_folder_find_missing(folder, 16 * MIB, ranges, 2, &err), 0);
	assert_int_equal(ranges[0].missing.count, 1);
	assert_int_equal(ranges[1].missing.count, 1);
	vec_done(&ranges[0].missing);
	vec_done(&ranges[1].missing);
}

/* A plain copy beside the compressed one, a tail, a name of another size of segments, others. */
static void
test_what_counts_for_a_segment(void **state)
{
	static const struct {
		const char *name;
		off_t bytes;
	} files[] = {
		{ "000000010000000000000003.partial", MIB },
		{ "000000010000000000000002", MIB },
		{ "000000010000000000000002.zst", 100 },
		{ "000000010000000000001000.zst", 100 },
		{ "000000010000000000000001.00000028.backup", 100 },
		{ "000000010000000000000001.zst.tmp", 100 },
		{ "00000002.history", 100 },
	};
	struct wal_folder_range range = { .timeline = 1, .first = 1, .last = 3 };
	SCOPED(wal_folder_done) struct wal_folder folder = { .segment_bytes = 0 };
	struct err err = ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		make_file(*state, files[i].name, files[i].bytes);
	assert_int_equal(wal_folder_read(*state, 0, &range, 1, &folder, &err), 0);
	assert_int_equal(folder.segment_bytes, MIB);
	assert_int_equal(folder.strangers_count, 0);
	assert_int_equal(folder.tails.count, 1);
	assert_int_equal(folder.tails.items[0].segment, 3);
	assert_int_equal(folder.histories.count, 1);
	assert_int_equal(range.missing.count, 1);
	assert_int_equal(range.missing.items[0], 1);
	vec_done(&range.missing);
}

static void
test_no_folder_has_nothing(void **state)
{
	struct wal_folder_range range = { .timeline = 1, .first = 1, .last = 2 };
	SCOPED(freep) char *path = xasprintf("%s/none", (char *)*state);
	SCOPED(wal_folder_done) struct wal_folder folder = { .segment_bytes = 0 };
	struct err err = ERR_INIT;

	assert_int_equal(wal_folder_read(path, 0, &range, 1, &folder, &err), 0);
	assert_int_equal(folder.segment_bytes, 16 * MIB);
	assert_int_equal(range.missing.count, 2);
	vec_done(&range.missing);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_as_many_new_as_removed, make_folder,
		    remove_folder),
		cmocka_unit_test_setup_teardown(test_what_counts_for_a_segment, make_folder,
		    remove_folder),
		cmocka_unit_test_setup_teardown(test_no_folder_has_nothing, make_folder,
		    remove_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
