#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"
#include "source/postgres/wal/tail.h"

#define FIRST "000000010000000000000003.partial"
#define SECOND "000000010000000000000004.partial"

enum { SEGMENT_BYTES = 1024 * 1024 };

struct place {
	char folder[64];
	struct wal_tail tail;
};

static struct wal_tail_options
options_of(const struct place *place)
{
	return (struct wal_tail_options){
		.folder = place->folder,
		.run_id = "run-1",
		.system_id = "42",
		.segment_bytes = SEGMENT_BYTES,
		.mode = 0600,
		.gid = -1,
	};
}

static void
open_tail(struct place *place)
{
	const struct wal_tail_options options = options_of(place);
	struct err err = ERR_INIT;

	if (wal_tail_init(&place->tail, &options, &err) < 0)
		fail_msg("%s", err.msg);
}

static int
set_up(void **state)
{
	struct place *place = xcalloc(1, sizeof(*place));

	(void)snprintf(place->folder, sizeof(place->folder), "/tmp/test_wal_tail.XXXXXX");
	assert_non_null(mkdtemp(place->folder));
	open_tail(place);
	*state = place;

	return 0;
}

static int
tear_down(void **state)
{
	struct place *place = *state;
	struct err err = ERR_INIT;

	wal_tail_done(&place->tail);
	assert_int_equal(dir_remove_all(place->folder, &err), 0);
	free(place);

	return 0;
}

static void
begin(struct place *place, uint64_t segment)
{
	struct err err = ERR_INIT;

	if (wal_tail_begin(&place->tail, 1, segment, &err) < 0)
		fail_msg("%s", err.msg);
}

static int
put(struct place *place, uint64_t offset, const char *text, struct err *err)
{
	if (wal_tail_write(&place->tail, offset, text, strlen(text), err) < 0)
		return -1;

	return wal_tail_sync(&place->tail, err);
}

/* The file's first bytes, and its size. */
static off_t
look(const struct place *place, const char *name, char *data, size_t size)
{
	SCOPED(freep) char *path = path_join(place->folder, name);
	SCOPED(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat info;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &info), 0);
	assert_int_equal(pread(fd, data, size, 0), size);

	return info.st_size;
}

static void
test_a_new_one_is_full_of_zeros(void **state)
{
	struct place *place = *state;
	char data[8];

	begin(place, 3);
	assert_int_equal(look(place, FIRST, data, sizeof(data)), SEGMENT_BYTES);
	assert_memory_equal(data, "\0\0\0\0\0\0\0\0", 8);
}

static void
test_what_is_there_is_gone_on_with(void **state)
{
	struct place *place = *state;
	struct err err = ERR_INIT;
	char data[8];
	uint64_t extent;

	begin(place, 3);
	assert_int_equal(put(place, 0, "abcdef", &err), 0);
	wal_tail_done(&place->tail);
	open_tail(place);
	begin(place, 3);
	assert_int_equal(look(place, FIRST, data, sizeof(data)), SEGMENT_BYTES);
	assert_memory_equal(data, "abcdef\0\0", 8);
	/* Less than was there takes nothing away, more goes on. */
	assert_int_equal(put(place, 0, "abc", &err), 0);
	assert_int_equal(put(place, 3, "defgh", &err), 0);
	(void)look(place, FIRST, data, sizeof(data));
	assert_memory_equal(data, "abcdefgh", 8);
	assert_int_equal(wal_tail_extent(&place->tail, 1, 3, &extent, &err), 0);
	assert_int_equal(extent, 8);
}

static void
test_what_differs_is_not_overwritten(void **state)
{
	struct place *place = *state;
	struct err err = ERR_INIT;
	SCOPED(freep) char *aside = NULL;
	char data[8];

	begin(place, 3);
	assert_int_equal(put(place, 0, "abcdef", &err), 0);
	wal_tail_close(&place->tail);
	begin(place, 3);
	assert_int_equal(put(place, 0, "abcXefgh", &err), -1);
	assert_int_equal(err.kind, ERR_MISMATCH);
	assert_non_null(strstr(err.msg, "offset 3"));
	(void)look(place, FIRST, data, sizeof(data));
	assert_memory_equal(data, "abcdef\0\0", 8);

	assert_int_equal(wal_tail_set_aside(&place->tail, 1, 3, &aside, &err), 0);
	assert_true(str_starts_with(aside, FIRST ".diverged-"));
	(void)look(place, aside, data, sizeof(data));
	assert_memory_equal(data, "abcdef\0\0", 8);
	begin(place, 3);
	assert_int_equal(put(place, 0, "abcXefgh", &err), 0);
}

static void
test_the_next_one(void **state)
{
	struct place *place = *state;
	struct err err = ERR_INIT;
	char data[4];

	begin(place, 3);
	assert_int_equal(wal_tail_write(&place->tail, SEGMENT_BYTES - 4, "last", 4, &err), 0);
	begin(place, 4);
	assert_false(place->tail.is_dirty);
	assert_int_equal(put(place, 0, "next", &err), 0);
	(void)look(place, SECOND, data, sizeof(data));
	assert_memory_equal(data, "next", 4);
	assert_int_equal(wal_tail_extent(&place->tail, 1, 9, &(uint64_t){ 0 }, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
}

static void
test_of_another_system(void **state)
{
	struct place *place = *state;
	struct err err = ERR_INIT;
	char header[40] = "x";

	header[24] = 43;
	begin(place, 3);
	assert_int_equal(wal_tail_write(&place->tail, 0, header, sizeof(header), &err), 0);
	begin(place, 4);
	assert_int_equal(wal_tail_begin(&place->tail, 1, 3, &err), -1);
	assert_int_equal(err.kind, ERR_REFUSED);
	assert_non_null(strstr(err.msg, "its identity is 43, the server's is 42"));
}

static void
test_of_another_size(void **state)
{
	struct place *place = *state;
	SCOPED(freep) char *path = path_join(place->folder, FIRST);
	struct err err = ERR_INIT;

	assert_int_equal(file_write_all(path, "short", 5, 0600, &err), 0);
	assert_int_equal(wal_tail_begin(&place->tail, 1, 3, &err), -1);
	assert_int_equal(err.kind, ERR_DATA);
}

/* Bytes that go into a file without a name must not be acknowledged. */
static void
test_taken_away_meanwhile(void **state)
{
	struct place *place = *state;
	SCOPED(freep) char *path = path_join(place->folder, FIRST);
	SCOPED(freep) char *other = path_join(place->folder, "other");
	struct err err = ERR_INIT;

	begin(place, 3);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(put(place, 0, "abc", &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	wal_tail_close(&place->tail);
	begin(place, 3);
	assert_int_equal(rename(path, other), 0);
	assert_int_equal(put(place, 0, "abc", &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	wal_tail_close(&place->tail);
	begin(place, 3);
	assert_int_equal(file_write_all(other, "another", 7, 0600, &err), 0);
	assert_int_equal(rename(other, path), 0);
	assert_int_equal(put(place, 0, "abc", &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
}

static void
test_one_receiver_for_a_folder(void **state)
{
	struct place *place = *state;
	const struct wal_tail_options options = options_of(place);
	struct wal_tail second;
	struct err err = ERR_INIT;

	assert_int_equal(wal_tail_init(&second, &options, &err), -1);
	assert_int_equal(err.kind, ERR_BUSY);
	assert_non_null(strstr(err.msg, "run-1"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_new_one_is_full_of_zeros, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_there_is_gone_on_with, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(test_what_differs_is_not_overwritten, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(test_the_next_one, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_of_another_system, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_of_another_size, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_taken_away_meanwhile, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_receiver_for_a_folder, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
