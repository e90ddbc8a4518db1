#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "fixture.h"
#include "os/file.h"
#include "stream/links.h"

struct room {
	char folder[32];
	char path[64];      /* of the file "data.bin" */
	char temporary[64]; /* of what it is before it is finished */
};

static int
setup(void **state)
{
	struct room *room = xcalloc(1, sizeof(*room));

	(void)snprintf(room->folder, sizeof(room->folder), "/tmp/test-sink-XXXXXX");
	assert_non_null(mkdtemp(room->folder));
	(void)snprintf(room->path, sizeof(room->path), "%s/data.bin", room->folder);
	(void)snprintf(room->temporary, sizeof(room->temporary), "%s/.tmp-run1-data.bin",
	    room->folder);
	*state = room;

	return 0;
}

static int
teardown(void **state)
{
	struct room *room = *state;
	struct err err = ERR_INIT;
	int result = dir_remove_all(room->folder, &err);

	free(room);

	return result;
}

static struct sink *
open_sink(const struct room *room, struct err *err)
{
	const struct file_sink_options options = { .folder = room->folder,
		.name = "data.bin",
		.run_id = "run1",
		.mode = 0600,
		.gid = -1 };

	return file_sink_new(&options, err);
}

static size_t
count_files(const struct room *room)
{
	SCOPED(dir_listing_done) struct dir_listing listing = { .count = 0 };
	struct err err = ERR_INIT;

	assert_int_equal(dir_list(room->folder, 100, &listing, &err), 0);

	return listing.count;
}

static void
check_content(const char *path, const uint8_t *data, size_t size)
{
	SCOPED(freep) uint8_t *content = xmalloc(size + 1);
	FILE *file = fopen(path, "rb");

	assert_non_null(file);
	assert_int_equal(fread(content, 1, size + 1, file), size);
	(void)fclose(file);
	assert_memory_equal(content, data, size);
}

/* Writes of every size class, over several steps of write-back. */
static void
test_content(void **state)
{
	const struct room *room = *state;
	static const size_t pieces[] = { 1, 4095, 100000, 1024 * 1024, 3 * 1024 * 1024 + 1 };
	const size_t size = 40 * 1024 * 1024 + 17;
	SCOPED(freep) uint8_t *data = fixture_noise(size, 1);
	struct err err = ERR_INIT;
	SCOPED(sink_freep) struct sink *sink = open_sink(room, &err);
	struct stat st;
	size_t at = 0;

	assert_non_null(sink);
	for (size_t i = 0; at < size; i++) {
		size_t piece = pieces[i % ARRAY_SIZE(pieces)];

		if (piece > size - at)
			piece = size - at;
		assert_int_equal(sink_write(sink, data + at, piece, &err), 0);
		at += piece;
	}
	assert_false(file_exists(room->path));
	assert_int_equal(sink_finish(sink, &err), 0);
	assert_int_equal(count_files(room), 1);
	assert_int_equal(stat(room->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	check_content(room->path, data, size);
}

static void
test_empty(void **state)
{
	const struct room *room = *state;
	struct err err = ERR_INIT;
	SCOPED(sink_freep) struct sink *sink = open_sink(room, &err);

	assert_int_equal(sink_finish(sink, &err), 0);
	check_content(room->path, (const uint8_t *)"", 0);
}

/* While it is written it is locked and has its temporary name; dropped, it leaves nothing. */
static void
test_dropped(void **state)
{
	const struct room *room = *state;
	struct err err = ERR_INIT;
	struct sink *sink = open_sink(room, &err);
	SCOPED(closep) int fd = open(room->temporary, O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), -1);
	assert_int_equal(sink_write(sink, "abc", 3, &err), 0);
	sink_free(sink);
	assert_int_equal(count_files(room), 0);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
}

/* The name is taken while we write: ours goes, the other stays as it is. */
static void
test_collision(void **state)
{
	const struct room *room = *state;
	struct err err = ERR_INIT;
	struct sink *sink = open_sink(room, &err);

	assert_int_equal(sink_write(sink, "ours", 4, &err), 0);
	assert_int_equal(file_write_all(room->path, "theirs", 6, 0600, &err), 0);
	assert_int_equal(sink_finish(sink, &err), -1);
	assert_int_equal(err.kind, ERR_EXISTS);
	sink_free(sink);
	assert_int_equal(count_files(room), 1);
	check_content(room->path, (const uint8_t *)"theirs", 6);
}

static void
test_same_run_twice(void **state)
{
	const struct room *room = *state;
	struct err err = ERR_INIT;
	SCOPED(sink_freep) struct sink *first = open_sink(room, &err);

	assert_non_null(first);
	assert_null(open_sink(room, &err));
	assert_int_equal(err.kind, ERR_EXISTS);
	assert_int_equal(sink_finish(first, &err), 0);
}

static void
test_missing_folder(void **state)
{
	const struct file_sink_options options = { .folder = "/no/such/folder",
		.name = "x",
		.run_id = "r",
		.mode = 0600,
		.gid = -1 };
	struct err err = ERR_INIT;

	(void)state;
	assert_null(file_sink_new(&options, &err));
	assert_int_equal(err.kind, ERR_NOT_FOUND);
}

/* Fill until the limit on a file's size; 0 when the failure was told and nothing stayed. */
static int
write_beyond_limit(const struct room *room)
{
	const struct rlimit limit = { .rlim_cur = 10 * 1024 * 1024, .rlim_max = 10 * 1024 * 1024 };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	static const uint8_t data[1024 * 1024];
	struct err err = ERR_INIT;
	struct sink *sink = open_sink(room, &err);
	int result = sink != NULL ? 0 : -1;

	(void)sigaction(SIGXFSZ, &ignore, NULL);
	(void)setrlimit(RLIMIT_FSIZE, &limit);
	for (int i = 0; i < 20 && result == 0; i++)
		result = sink_write(sink, data, sizeof(data), &err);
	sink_free(sink);
	if (result == 0 || err.sys != EFBIG)
		return 1;

	return count_files(room) == 0 ? 0 : 2;
}

static void
test_too_large(void **state)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(write_beyond_limit(*state));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/*
 * Like a sweep, but quicker: lock the temporary file before its maker does, and remove it, when
 * it is still the one that was locked.
 */
static _Noreturn void
sweep_for_ever(const struct room *room)
{
	(void)alarm(60); /* should the test end without us */
	for (;;) {
		SCOPED(closep) int fd = open(room->temporary, O_RDWR | O_CLOEXEC);
		struct stat opened;
		struct stat named;

		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &opened) == 0 &&
		    stat(room->temporary, &named) == 0 && named.st_ino == opened.st_ino)
			(void)unlink(room->temporary);
	}
}

/* Who loses the race for his own file makes another one. */
static void
test_swept_before_locked(void **state)
{
	const struct room *room = *state;
	pid_t pid = fork();

	if (pid == 0)
		sweep_for_ever(room);
	for (int i = 0; i < 800; i++) {
		struct err err = ERR_INIT;
		struct sink *sink = open_sink(room, &err);
		int result = sink != NULL ? sink_finish(sink, &err) : -1;

		sink_free(sink);
		/* Losing three times in a row is given up, and said. */
		if (result < 0 && strstr(err.msg, "cannot keep a temporary file") == NULL)
			fail_msg("%s", err.msg);
		(void)unlink(room->path);
	}
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void
test_group(void **state)
{
	const struct room *room = *state;
	const struct file_sink_options options = { .folder = room->folder,
		.name = "data.bin",
		.run_id = "r",
		.mode = 0640,
		.gid = (int)getegid() };
	struct err err = ERR_INIT;
	SCOPED(sink_freep) struct sink *sink = file_sink_new(&options, &err);
	struct stat st;

	(void)umask(0);
	assert_int_equal(sink_finish(sink, &err), 0);
	assert_int_equal(stat(room->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(st.st_gid, getegid());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_content, setup, teardown),
		cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_collision, setup, teardown),
		cmocka_unit_test_setup_teardown(test_same_run_twice, setup, teardown),
		cmocka_unit_test(test_missing_folder),
		cmocka_unit_test_setup_teardown(test_too_large, setup, teardown),
		cmocka_unit_test_setup_teardown(test_swept_before_locked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_group, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
