#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"
#include "os/random.h"

struct room {
	char *folder;
};

static int
setup(void **state)
{
	struct room *room = xcalloc(1, sizeof(*room));
	char template[] = "/tmp/test-file-XXXXXX";

	room->folder = xstrdup(mkdtemp(template));
	*state = room;

	return 0;
}

static int
teardown(void **state)
{
	struct room *room = *state;
	struct err err = ERR_INIT;
	int result = dir_remove_all(room->folder, &err);

	assert_int_equal(access(room->folder, F_OK), -1);
	free(room->folder);
	free(room);

	return result;
}

static char *
in_room(void **state, const char *name)
{
	return path_join(((struct room *)*state)->folder, name);
}

static unsigned
mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);

	return st.st_mode & 07777;
}

static void
test_write_then_read(void **state)
{
	SCOPED(freep) char *path = in_room(state, "a.txt");
	SCOPED(str_done) struct str text = STR_INIT;
	struct err err = ERR_INIT;

	(void)umask(077);
	assert_int_equal(file_write_all(path, "first", 5, 0640, &err), 0);
	assert_int_equal(mode_of(path), 0640);
	assert_int_equal(file_write_all(path, "second\0x", 8, 0600, &err), 0);
	assert_int_equal(mode_of(path), 0600);
	assert_int_equal(file_read_all(path, 8, &text, &err), 0);
	assert_int_equal(text.size, 8);
	assert_memory_equal(text.data, "second\0x", 8);
	assert_int_equal(file_read_all(path, 7, &text, &err), -1);
	assert_int_equal(err.kind, ERR_LIMIT);
	assert_true(file_exists(path));
	assert_false(dir_exists(path));
}

static void
test_read_missing(void **state)
{
	SCOPED(freep) char *path = in_room(state, "missing");
	SCOPED(str_done) struct str text = STR_INIT;
	struct err err = ERR_INIT;

	assert_int_equal(file_read_all(path, 8, &text, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_non_null(strstr(err.msg, path));
}

/* A write that fails leaves the old file as it was, and nothing beside it. */
static void
test_write_too_large(void **state)
{
	SCOPED(freep) char *path = in_room(state, "a.txt");
	SCOPED(freep) char *large = xcalloc(1, 64 * 1024);
	struct err err = ERR_INIT;
	SCOPED(dir_listing_done) struct dir_listing listing = { .count = 0 };
	SCOPED(str_done) struct str text = STR_INIT;
	pid_t pid;
	int status;

	assert_int_equal(file_write_all(path, "old", 3, 0600, &err), 0);
	pid = fork();
	if (pid == 0) {
		const struct rlimit limit = { .rlim_cur = 8192, .rlim_max = 8192 };
		struct sigaction ignore = { .sa_handler = SIG_IGN };

		(void)sigaction(SIGXFSZ, &ignore, NULL);
		(void)setrlimit(RLIMIT_FSIZE, &limit);
		_exit(file_write_all(path, large, 64 * 1024, 0600, &err) == -1 && err.sys != 0 ? 0
											       : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);

	assert_int_equal(file_read_all(path, 100, &text, &err), 0);
	assert_string_equal(str_text(&text), "old");
	assert_int_equal(dir_list(((struct room *)*state)->folder, 10, &listing, &err), 0);
	assert_int_equal(listing.count, 1);
}

static void
write_file(const char *path, const char *text, mode_t mode)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	(void)fputs(text, file);
	(void)fclose(file);
	assert_int_equal(chmod(path, mode), 0);
}

static void
test_secret(void **state)
{
	SCOPED(freep) char *path = in_room(state, "password");
	SCOPED(secret_freep) struct secret *secret = NULL;
	struct err err = ERR_INIT;

	write_file(path, "pass word\nsecond line\n", 0600);
	secret = file_read_secret(path, &err);
	assert_non_null(secret);
	assert_string_equal(secret_text(secret), "pass word");

	write_file(path, "x\n", 0604);
	assert_null(file_read_secret(path, &err));
	assert_int_equal(err.kind, ERR_REFUSED);
	assert_non_null(strstr(err.hint, "chmod go-rwx"));

	write_file(path, "\nx", 0600);
	assert_null(file_read_secret(path, &err));
	assert_int_equal(err.kind, ERR_REFUSED);
	assert_non_null(strstr(err.msg, "empty"));
}

/* As Kubernetes mounts a secret: read through a group that we are in, and through no other. */
static void
test_secret_of_a_group(void **state)
{
	SCOPED(freep) char *path = in_room(state, "password");
	const gid_t second = 54321;
	gid_t before[64];
	int count = getgroups(64, before);
	const mode_t open_modes[] = { 0640, 0440, 0460, 0620 };
	struct err err = ERR_INIT;

	write_file(path, "x\n", 0640);
	assert_int_equal(chown(path, (uid_t)-1, getegid()), 0);
	secret_free(file_read_secret(path, &err));
	assert_int_equal(err.kind, ERR_NONE);
	if (geteuid() != 0)
		skip();

	assert_true(count >= 0);
	assert_int_equal(chown(path, (uid_t)-1, second), 0);
	for (size_t i = 0; i < ARRAY_SIZE(open_modes); i++) {
		err_clear(&err);
		assert_int_equal(chmod(path, open_modes[i]), 0);
		assert_null(file_read_secret(path, &err));
		assert_int_equal(err.kind, ERR_REFUSED);
		assert_non_null(strstr(err.hint, "chmod g-rwx"));
	}
	assert_int_equal(setgroups(1, &second), 0);
	err_clear(&err);
	assert_int_equal(chmod(path, 0440), 0);
	secret_free(file_read_secret(path, &err));
	assert_int_equal(err.kind, ERR_NONE);
	assert_int_equal(setgroups((size_t)count, before), 0);
	assert_int_equal(chmod(path, 0600), 0);
	secret_free(file_read_secret(path, &err));
	assert_int_equal(err.kind, ERR_NONE);
}

static void
test_secret_too_long(void **state)
{
	SCOPED(freep) char *path = in_room(state, "password");
	SCOPED(freep) char *text = xmalloc(5001);
	struct err err = ERR_INIT;

	memset(text, 'x', 5000);
	text[5000] = '\0';
	write_file(path, text, 0600);
	assert_null(file_read_secret(path, &err));
	assert_int_equal(err.kind, ERR_LIMIT);
}

static void
test_folders(void **state)
{
	SCOPED(freep) char *deep = in_room(state, "a//b/c");
	SCOPED(freep) char *file = in_room(state, "a/b/c/file");
	SCOPED(freep) char *under_file = in_room(state, "a/b/c/file/d");
	struct err err = ERR_INIT;

	assert_int_equal(dir_make_all(deep, 0750, &err), 0);
	assert_int_equal(dir_make_all(deep, 0750, &err), 0);
	assert_int_equal(mode_of(deep), 0750);
	assert_true(dir_is_empty(deep));
	write_file(file, "x", 0600);
	assert_false(dir_is_empty(deep));
	assert_int_equal(dir_make_all(under_file, 0700, &err), -1);
	assert_int_equal(dir_make_all(file, 0700, &err), -1);
	assert_int_equal(err.kind, ERR_EXISTS);
}

static void
test_listing(void **state)
{
	const char *folder = ((struct room *)*state)->folder;
	SCOPED(dir_listing_done) struct dir_listing listing = { .count = 0 };
	struct err err = ERR_INIT;

	for (int i = 9; i >= 0; i--) {
		SCOPED(freep) char *name = xasprintf("%s/file-%d", folder, i);

		write_file(name, "", 0600);
	}
	assert_int_equal(dir_list(folder, 9, &listing, &err), -1);
	assert_int_equal(err.kind, ERR_LIMIT);
	assert_int_equal(listing.count, 0);
	assert_int_equal(dir_list(folder, 10, &listing, &err), 0);
	assert_int_equal(listing.count, 10);
	assert_string_equal(listing.names[0], "file-0");
	assert_string_equal(listing.names[9], "file-9");
}

/* A link to a folder outside is removed; what it points at stays. */
static void
test_remove_follows_no_link(void **state)
{
	SCOPED(freep) char *victim = in_room(state, "victim/sub");
	SCOPED(freep) char *kept = in_room(state, "victim/sub/kept");
	SCOPED(freep) char *tree = in_room(state, "tree/sub");
	SCOPED(freep) char *link = in_room(state, "tree/sub/link");
	SCOPED(freep) char *root = in_room(state, "tree");
	SCOPED(freep) char *root_link = in_room(state, "root-link");
	struct err err = ERR_INIT;

	assert_int_equal(dir_make_all(victim, 0700, &err), 0);
	assert_int_equal(dir_make_all(tree, 0700, &err), 0);
	write_file(kept, "x", 0600);
	assert_int_equal(symlink(victim, link), 0);
	for (int i = 0; i < 300; i++) {
		SCOPED(freep) char *name = xasprintf("%s/f%d", tree, i);

		write_file(name, "", 0600);
	}
	assert_int_equal(symlink(victim, root_link), 0);
	assert_int_equal(dir_remove_all(root_link, &err), -1);
	assert_int_equal(dir_remove_all(root, &err), 0);
	assert_false(dir_exists(root));
	assert_true(file_exists(kept));
	assert_int_equal(dir_remove_all(root, &err), 0);
}

static void
test_mount_point_and_space(void **state)
{
	const char *folder = ((struct room *)*state)->folder;
	struct disk_space space;
	struct err err = ERR_INIT;

	assert_true(dir_is_mount_point("/proc"));
	assert_false(dir_is_mount_point(folder));
	assert_false(dir_is_mount_point("/no/such/folder"));
	assert_int_equal(disk_space_of(folder, &space, &err), 0);
	assert_true(space.capacity_bytes > space.used_bytes);
	assert_true(space.available_bytes <= space.capacity_bytes);
}

static void
test_random_and_join(void **state)
{
	char a[201];
	char b[201];
	SCOPED(freep) char *joined = path_join("/", "x");

	(void)state;
	random_hex(a, 200);
	random_hex(b, 200);
	assert_int_equal(strlen(a), 200);
	assert_int_equal(strspn(a, "0123456789abcdef"), 200);
	assert_string_not_equal(a, b);
	assert_string_equal(joined, "/x");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_write_then_read, setup, teardown),
		cmocka_unit_test_setup_teardown(test_read_missing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_write_too_large, setup, teardown),
		cmocka_unit_test_setup_teardown(test_secret, setup, teardown),
		cmocka_unit_test_setup_teardown(test_secret_of_a_group, setup, teardown),
		cmocka_unit_test_setup_teardown(test_secret_too_long, setup, teardown),
		cmocka_unit_test_setup_teardown(test_folders, setup, teardown),
		cmocka_unit_test_setup_teardown(test_listing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_remove_follows_no_link, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mount_point_and_space, setup, teardown),
		cmocka_unit_test(test_random_and_join),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
