#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"
#include "repo/store_info.h"
#include "store/posix.h"
#include "store/store.h"
#include "stream/blob.h"
#include "stream/sink.h"

struct room {
	char folder[32]; /* ours; the store is in it */
	char *path;      /* of the store */
	struct store *store;
};

static struct store *
open_at(const char *path, const char *site, struct err *err)
{
	const struct posix_store_options options = { .path = path,
		.site = site,
		.may_create = true };

	return posix_store_open(&options, err);
}

static int
setup(void **state)
{
	struct room *room = xcalloc(1, sizeof(*room));
	struct err err = ERR_INIT;

	(void)umask(022);
	(void)snprintf(room->folder, sizeof(room->folder), "/tmp/test-posix-XXXXXX");
	assert_non_null(mkdtemp(room->folder));
	room->path = path_join(room->folder, "deep/backups");
	room->store = open_at(room->path, "north", &err);
	if (room->store == NULL)
		fail_msg("%s", err.msg);
	*state = room;

	return 0;
}

static int
teardown(void **state)
{
	struct room *room = *state;
	struct err err = ERR_INIT;
	int result = dir_remove_all(room->folder, &err);

	store_close(room->store);
	free(room->path);
	free(room);

	return result;
}

static unsigned
mode_of(const struct room *room, const char *name)
{
	SCOPED(freep) char *path = path_join(room->path, name);
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);

	return st.st_mode & 07777;
}

static void
put(const struct room *room, const char *name, const char *text)
{
	struct err err = ERR_INIT;

	if (store_put_text(room->store, name, "run1", text, &err) < 0)
		fail_msg("%s", err.msg);
}

/* The names of a listing, one behind the other. */
static char *
listed(const struct room *room, const char *prefix)
{
	struct store_listing listing;
	struct err err = ERR_INIT;
	struct str text = STR_INIT;

	if (store_list(room->store, prefix, &listing, &err) < 0)
		fail_msg("%s", err.msg);
	for (size_t i = 0; i < listing.objects.count; i++)
		str_addf(&text, "%s ", listing.objects.items[i].name);
	store_listing_done(&listing);

	return str_take(&text);
}

static void
check_listed(const struct room *room, const char *prefix, const char *names)
{
	SCOPED(freep) char *text = listed(room, prefix);

	assert_string_equal(text, names);
}

static void
test_put_get(void **state)
{
	const struct room *room = *state;
	SCOPED(str_done) struct str text = STR_INIT;
	SCOPED(blob_freep) struct blob *blob = NULL;
	struct store_object object;
	struct err err = ERR_INIT;
	char bytes[3];

	put(room, "pg/daily/a.dump", "hello");
	assert_int_equal(mode_of(room, "pg/daily/a.dump"), 0600);
	assert_int_equal(mode_of(room, "pg/daily"), 0700);
	assert_int_equal(mode_of(room, "pg"), 0700);
	assert_int_equal(mode_of(room, ""), 0700);

	assert_int_equal(store_get_text(room->store, "pg/daily/a.dump", 5, &text, &err), 0);
	assert_string_equal(str_text(&text), "hello");
	assert_int_equal(store_get_text(room->store, "pg/daily/a.dump", 4, &text, &err), -1);
	assert_int_equal(err.kind, ERR_LIMIT);

	blob = store_get(room->store, "pg/daily/a.dump", &err);
	assert_non_null(blob);
	assert_int_equal(blob->size_bytes, 5);
	assert_int_equal(blob_read_at(blob, 2, bytes, 3, &err), 0);
	assert_memory_equal(bytes, "llo", 3);
	assert_int_equal(blob_read_at(blob, 3, bytes, 3, &err), -1);
	assert_int_equal(err.kind, ERR_DATA);

	assert_int_equal(store_stat(room->store, "pg/daily/a.dump", &object, &err), 0);
	assert_int_equal(object.bytes, 5);
	assert_true(llabs(object.modified.us - clock_wall().us) < 60 * US_PER_S);
	free(object.name);
}

static void
test_write_once(void **state)
{
	const struct room *room = *state;
	struct err err = ERR_INIT;
	SCOPED(sink_freep) struct sink *early = store_put(room->store, "a", "run0", &err);
	SCOPED(str_done) struct str text = STR_INIT;

	assert_non_null(early);
	put(room, "a", "first");
	assert_int_equal(store_put_text(room->store, "a", "run2", "second", &err), -1);
	assert_int_equal(err.kind, ERR_EXISTS);
	assert_int_equal(sink_write(early, "x", 1, &err), 0);
	assert_int_equal(sink_finish(early, &err), -1);
	assert_int_equal(err.kind, ERR_EXISTS);
	assert_int_equal(store_get_text(room->store, "a", 100, &text, &err), 0);
	assert_string_equal(str_text(&text), "first");
}

static void
test_missing(void **state)
{
	const struct room *room = *state;
	struct err err = ERR_INIT;
	struct store_object object;

	put(room, "file", "x");
	assert_null(store_get(room->store, "no/such", &err));
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_null(store_get(room->store, "file/below", &err));
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_int_equal(store_stat(room->store, ".blackstart", &object, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_false(store_has(room->store, "no"));
	assert_true(store_has(room->store, "file"));
	assert_int_equal(store_remove(room->store, "no/such", &err), 0);
	assert_null(store_put(room->store, "file/below", "run", &err));
	assert_int_equal(err.kind, ERR_REFUSED);
}

static void
test_list(void **state)
{
	const struct room *room = *state;
	SCOPED(freep) char *outside = path_join(room->folder, "outside");
	SCOPED(freep) char *secret = path_join(room->folder, "outside/secret");
	SCOPED(freep) char *link = path_join(room->path, "pg/link");
	SCOPED(freep) char *file_link = path_join(room->path, "pg/file-link");
	SCOPED(freep) char *lost = path_join(room->path, "lost+found");
	SCOPED(freep) char *in_lost = path_join(room->path, "lost+found/x");
	struct err err = ERR_INIT;
	SCOPED(sink_freep)
	struct sink *unfinished = store_put(room->store, "pg/b/open", "run", &err);

	assert_non_null(unfinished);
	put(room, "pg/b/2", "x");
	put(room, "pg/b-1", "x");
	put(room, "pg/a", "x");
	assert_int_equal(dir_make_all(outside, 0700, &err), 0);
	assert_int_equal(file_write_all(secret, "x", 1, 0600, &err), 0);
	assert_int_equal(symlink(outside, link), 0);
	assert_int_equal(symlink(secret, file_link), 0);
	assert_int_equal(dir_make_all(lost, 0700, &err), 0);
	assert_int_equal(file_write_all(in_lost, "x", 1, 0600, &err), 0);

	check_listed(room, "", ".blackstart/store.json pg/a pg/b-1 pg/b/2 ");
	check_listed(room, "pg/b", "pg/b/2 ");
	check_listed(room, "pg/link", "");
	check_listed(room, "no/such", "");
	check_listed(room, "pg/a", "");
	assert_null(store_get(room->store, "pg/file-link", &err));
	assert_null(store_put(room->store, "pg/link/x", "run", &err));
	assert_int_equal(err.kind, ERR_REFUSED);
	assert_non_null(strstr(err.msg, "symbolic link"));
}

/* The root may be a link, as /backups often is one to a larger disk. */
static void
test_linked_root(void **state)
{
	const struct room *room = *state;
	SCOPED(freep) char *link = path_join(room->folder, "link");
	struct err err = ERR_INIT;
	struct room linked = { .path = link };
	unsigned removed = 1;

	assert_int_equal(symlink(room->path, link), 0);
	linked.store = open_at(link, "north", &err);
	assert_non_null(linked.store);
	assert_string_equal(linked.store->id, room->store->id);
	put(&linked, "pg/a", "x");
	check_listed(&linked, "", ".blackstart/store.json pg/a ");
	check_listed(room, "pg", "pg/a ");
	assert_int_equal(store_sweep(linked.store, &removed, &err), 0);
	assert_int_equal(removed, 0);
	store_close(linked.store);
}

static void
test_remove(void **state)
{
	const struct room *room = *state;
	struct err err = ERR_INIT;
	SCOPED(freep) char *folder = path_join(room->path, "pg");

	put(room, "pg/base/1/x", "x");
	put(room, "pg/base/1/y", "x");
	assert_int_equal(store_remove(room->store, "pg/base/1/x", &err), 0);
	assert_true(store_has(room->store, "pg/base/1/y"));
	assert_int_equal(store_remove(room->store, "pg/base/1/y", &err), 0);
	assert_false(dir_exists(folder));
	assert_true(dir_exists(room->path));
	/* The folder was left empty by one who died before he could remove it. */
	assert_int_equal(dir_make_all(folder, 0700, &err), 0);
	assert_int_equal(store_remove(room->store, "pg/gone", &err), 0);
	assert_false(dir_exists(folder));
}

static void
test_local_path_and_space(void **state)
{
	const struct room *room = *state;
	SCOPED(freep) char *path = store_local_path(room->store, "a/b");
	SCOPED(freep) char *right = path_join(room->path, "a/b");
	struct store_space space;
	struct err err = ERR_INIT;

	assert_string_equal(path, right);
	assert_int_equal(store_space(room->store, &space, &err), 0);
	assert_true(space.capacity_bytes > 0 && space.available_bytes <= space.capacity_bytes);
}

/* ---- opening ---- */

static void
test_sites(void **state)
{
	const struct room *room = *state;
	struct err err = ERR_INIT;
	struct store *again = open_at(room->path, "north", &err);
	struct store *any = open_at(room->path, NULL, &err);

	assert_non_null(again);
	assert_string_equal(again->id, room->store->id);
	assert_int_equal(strlen(again->id), STORE_INFO_ID_DIGITS);
	assert_string_equal(again->site, "north");
	assert_non_null(any);
	store_close(again);
	store_close(any);
	assert_null(open_at(room->path, "south", &err));
	assert_int_equal(err.kind, ERR_REFUSED);
	assert_non_null(strstr(err.msg, "'north'"));
	assert_non_null(strstr(err.msg, "'south'"));
	assert_non_null(strstr(err.hint, "site: north"));
}

static void
test_unclaimed(void **state)
{
	const struct room *room = *state;
	SCOPED(freep) char *path = path_join(room->folder, "other//");
	struct err err = ERR_INIT;
	SCOPED(store_closep) struct store *unclaimed = open_at(path, NULL, &err);
	SCOPED(store_closep) struct store *claimant = open_at(path, "south", &err);

	assert_non_null(unclaimed);
	assert_non_null(claimant);
	assert_string_equal(claimant->site, "");
	assert_string_equal(claimant->id, unclaimed->id);
	assert_false(str_ends_with(claimant->location, "/"));
}

static void
write_info(const struct room *room, const char *text)
{
	SCOPED(freep) char *path = path_join(room->path, STORE_INFO_NAME);
	struct err err = ERR_INIT;

	assert_int_equal(file_write_all(path, text, strlen(text), 0600, &err), 0);
}

static void
test_info(void **state)
{
	static const struct {
		const char *text;
		enum err_kind kind;
		const char *says;
	} cases[] = {
		{ "{\"format\":2,\"id\":\"x\"}", ERR_REFUSED, "format 2" },
		{ "{\"format\":1,\"id\":\"x\"}", ERR_DATA, "id" },
		{ "{\"id\":\"00112233445566778899aabbccddeeff\"}", ERR_DATA, "not the record" },
		{ "nonsense", ERR_DATA, "not JSON" },
		{ "", ERR_DATA, "not JSON" },
	};
	const struct room *room = *state;
	struct err err = ERR_INIT;
	struct store *store;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		write_info(room, cases[i].text);
		assert_null(open_at(room->path, "north", &err));
		assert_int_equal(err.kind, cases[i].kind);
		if (strstr(err.msg, cases[i].says) == NULL)
			fail_msg("'%s' does not say '%s'", err.msg, cases[i].says);
	}
	write_info(room,
	    "{\"format\":1,\"id\":\"00112233445566778899aabbccddeeff\",\"future\":[1]}");
	store = open_at(room->path, "north", &err);
	assert_non_null(store);
	assert_string_equal(store->site, "");
	store_close(store);
}

static void
check_open(const struct posix_store_options *options, enum err_kind kind, const char *says)
{
	struct err err = ERR_INIT;

	assert_null(posix_store_open(options, &err));
	assert_int_equal(err.kind, kind);
	if (strstr(err.msg, says) == NULL)
		fail_msg("'%s' does not say '%s'", err.msg, says);
	assert_true(err.hint[0] != '\0');
}

static void
test_cannot_open(void **state)
{
	const struct room *room = *state;
	SCOPED(freep) char *missing = path_join(room->folder, "missing");
	SCOPED(freep) char *file = path_join(room->folder, "file");
	SCOPED(freep) char *plain = path_join(room->folder, "plain");
	struct err err = ERR_INIT;
	struct posix_store_options options = { .path = missing };

	assert_int_equal(file_write_all(file, "x", 1, 0600, &err), 0);
	assert_int_equal(dir_make_all(plain, 0700, &err), 0);
	check_open(&options, ERR_NOT_FOUND, "there is no store at");
	assert_false(dir_exists(missing));

	options = (struct posix_store_options){ .path = missing,
		.require_mount = true,
		.may_create = true };
	check_open(&options, ERR_REFUSED, "is not mounted");
	assert_false(dir_exists(missing));
	options.path = room->path;
	check_open(&options, ERR_REFUSED, "is not mounted");

	options = (struct posix_store_options){ .path = file, .may_create = true };
	check_open(&options, ERR_REFUSED, "is not a folder");
	options = (struct posix_store_options){ .path = plain };
	check_open(&options, ERR_NOT_FOUND, "is not a store yet");
	options = (struct posix_store_options){ .path = plain,
		.may_create = true,
		.is_read_only = true };
	check_open(&options, ERR_NOT_FOUND, "is not a store yet");

	options = (struct posix_store_options){ .path = plain, .group = "no-such-group" };
	assert_null(posix_store_open(&options, &err));
	assert_int_equal(err.kind, ERR_CONFIG);
}

/* As a user who may not write; 0 is good. */
static int
open_as_nobody(const struct room *room)
{
	struct posix_store_options options = { .path = room->path };
	struct err err = ERR_INIT;
	struct store *store;

	if (chmod(room->folder, 0755) < 0 || setresuid(65534, 65534, 65534) < 0)
		return 1;
	if (posix_store_open(&options, &err) != NULL || err.kind != ERR_PERMISSION ||
	    strstr(err.hint, "chown 65534") == NULL)
		return 2;
	options.is_read_only = true;
	store = posix_store_open(&options, &err);
	if (store == NULL)
		return 3;
	store_close(store);

	return 0;
}

static void
test_not_writable(void **state)
{
	const struct room *room = *state;
	SCOPED(freep) char *deep = path_join(room->folder, "deep");
	SCOPED(freep) char *own = path_join(room->path, ".blackstart");
	SCOPED(freep) char *info = path_join(room->path, STORE_INFO_NAME);
	int status;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(deep, 0755) | chmod(room->path, 0755) | chmod(own, 0755) |
		chmod(info, 0644),
	    0);
	pid = fork();
	if (pid == 0)
		_exit(open_as_nobody(room));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
test_group(void **state)
{
	const struct room *room = *state;
	SCOPED(freep) char *path = path_join(room->folder, "shared");
	const struct posix_store_options options = { .path = path,
		.group = "root",
		.may_create = true };
	SCOPED(freep) char *folder = path_join(path, "a");
	SCOPED(freep) char *file = path_join(path, "a/b");
	SCOPED(store_closep) struct store *store = NULL;
	struct err err = ERR_INIT;
	struct stat st;

	if (geteuid() != 0)
		skip();
	(void)umask(077);
	store = posix_store_open(&options, &err);
	assert_non_null(store);
	assert_int_equal(store_put_text(store, "a/b", "run", "x", &err), 0);
	assert_int_equal(stat(folder, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
}

/* Many at once make a new store: all see the same id. */
static void
test_born_at_once(void **state)
{
	enum { COUNT = 8 };
	const struct room *room = *state;
	SCOPED(freep) char *path = path_join(room->folder, "new");
	struct err err = ERR_INIT;
	SCOPED(store_closep) struct store *store = NULL;
	int ends[2];
	char id[STORE_INFO_ID_DIGITS + 1] = "";

	assert_int_equal(pipe(ends), 0);
	for (int i = 0; i < COUNT; i++) {
		if (fork() == 0) {
			store = open_at(path, "north", &err);
			_exit(store != NULL && write(ends[1], store->id, STORE_INFO_ID_DIGITS) > 0
				? 0
				: 1);
		}
	}
	for (int i = 0; i < COUNT; i++) {
		int status;

		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	store = open_at(path, "north", &err);
	assert_non_null(store);
	for (int i = 0; i < COUNT; i++) {
		assert_int_equal(read(ends[0], id, STORE_INFO_ID_DIGITS), STORE_INFO_ID_DIGITS);
		assert_string_equal(id, store->id);
	}
	(void)close(ends[0]);
	(void)close(ends[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_put_get, setup, teardown),
		cmocka_unit_test_setup_teardown(test_write_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_missing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_linked_root, setup, teardown),
		cmocka_unit_test_setup_teardown(test_remove, setup, teardown),
		cmocka_unit_test_setup_teardown(test_local_path_and_space, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sites, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unclaimed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_info, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cannot_open, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_writable, setup, teardown),
		cmocka_unit_test_setup_teardown(test_group, setup, teardown),
		cmocka_unit_test_setup_teardown(test_born_at_once, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
