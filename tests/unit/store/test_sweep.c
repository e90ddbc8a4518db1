#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"
#include "store/posix.h"
#include "store/store.h"
#include "stream/sink.h"

struct room {
	char folder[32];
	struct store *store;
};

static int
setup(void **state)
{
	struct room *room = xcalloc(1, sizeof(*room));
	struct err err = ERR_INIT;

	(void)snprintf(room->folder, sizeof(room->folder), "/tmp/test-sweep-XXXXXX");
	assert_non_null(mkdtemp(room->folder));
	const struct posix_store_options options = { .path = room->folder, .may_create = true };
	room->store = posix_store_open(&options, &err);
	assert_non_null(room->store);
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
	free(room);

	return result;
}

static bool
has(const struct room *room, const char *name)
{
	SCOPED(freep) char *path = path_join(room->folder, name);

	return access(path, F_OK) == 0;
}

static void
put(const struct room *room, const char *name)
{
	struct err err = ERR_INIT;

	assert_int_equal(store_put_text(room->store, name, "run1", "x", &err), 0);
}

static unsigned
sweep(const struct room *room)
{
	struct err err = ERR_INIT;
	unsigned removed = 0;

	if (store_sweep(room->store, &removed, &err) < 0)
		fail_msg("%s", err.msg);

	return removed;
}

/*
 * A run in a process of its own: it opens its marker, finishes some files, has one open, and
 * waits.  NULL ends the lists.
 */
struct run {
	const char *id; /* NULL: "r-1" */
	const char *marker;
	const char *const *finished;
	const char *open;
	pid_t pid;
};

static _Noreturn void
run_body(const struct room *room, const struct run *run, int ready)
{
	const char *id = run->id != NULL ? run->id : "r-1";
	struct err err = ERR_INIT;
	struct sink *sink;

	if (run->marker != NULL && store_put(room->store, run->marker, id, &err) == NULL)
		_exit(1);
	for (size_t i = 0; run->finished != NULL && run->finished[i] != NULL; i++) {
		if (store_put_text(room->store, run->finished[i], id, "x", &err) < 0)
			_exit(2);
	}
	sink = run->open != NULL ? store_put(room->store, run->open, id, &err) : NULL;
	if (run->open != NULL && (sink == NULL || sink_write(sink, "x", 1, &err) < 0))
		_exit(3);
	if (write(ready, "x", 1) != 1)
		_exit(4);
	for (;;)
		(void)pause();
}

static void
run_start(const struct room *room, struct run *run)
{
	int ends[2];
	char byte;

	assert_int_equal(pipe(ends), 0);
	run->pid = fork();
	if (run->pid == 0)
		run_body(room, run, ends[1]);
	(void)close(ends[1]);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	(void)close(ends[0]);
}

static void
run_kill(const struct run *run)
{
	assert_int_equal(kill(run->pid, SIGKILL), 0);
	assert_int_equal(waitpid(run->pid, NULL, 0), run->pid);
}

static void
test_live_stays_dead_goes(void **state)
{
	const struct room *room = *state;
	struct run run = { .open = "pg/daily/a.dump" };

	put(room, "pg/daily/old.dump");
	assert_int_equal(sweep(room), 0);
	run_start(room, &run);
	assert_true(has(room, "pg/daily/.tmp-r-1-a.dump"));
	assert_int_equal(sweep(room), 0);
	assert_true(has(room, "pg/daily/.tmp-r-1-a.dump"));
	run_kill(&run);
	assert_true(has(room, "pg/daily/.tmp-r-1-a.dump"));
	assert_int_equal(sweep(room), 1);
	assert_false(has(room, "pg/daily/.tmp-r-1-a.dump"));
	assert_true(has(room, "pg/daily/old.dump"));
	assert_true(has(room, ".blackstart/store.json"));
}

/* Our own open file is alive too. */
static void
test_own_stays(void **state)
{
	const struct room *room = *state;
	struct err err = ERR_INIT;
	SCOPED(sink_freep) struct sink *sink = store_put(room->store, "a", "r", &err);

	assert_int_equal(sweep(room), 0);
	assert_int_equal(sink_write(sink, "x", 1, &err), 0);
	assert_int_equal(sink_finish(sink, &err), 0);
	assert_true(store_has(room->store, "a"));
}

static const char *const two_parts[] = { "pg/base/1/base.tar.zst", "pg/base/1/16401.tar.zst",
	NULL };

static void
test_unfinished_folder(void **state)
{
	const struct room *room = *state;
	struct run run = { .marker = "pg/base/1/run",
		.finished = two_parts,
		.open = "pg/base/1/backup_manifest" };

	put(room, "pg/base/0/manifest.json");
	run_start(room, &run);
	assert_int_equal(sweep(room), 0);
	assert_true(store_has(room->store, two_parts[0]));
	run_kill(&run);
	assert_int_equal(sweep(room), 4);
	assert_false(has(room, "pg/base/1"));
	assert_true(has(room, "pg/base/0/manifest.json"));
}

/* Killed between its manifest and the end of its marker: the backup is good. */
static void
test_finished_folder(void **state)
{
	static const char *const all[] = { "pg/base/1/base.tar.zst", "pg/base/1/manifest.json",
		NULL };
	const struct room *room = *state;
	struct run run = { .marker = "pg/base/1/run", .finished = all };

	run_start(room, &run);
	run_kill(&run);
	assert_int_equal(sweep(room), 1);
	assert_true(has(room, "pg/base/1/base.tar.zst"));
	assert_true(has(room, "pg/base/1/manifest.json"));
	assert_false(has(room, "pg/base/1/.tmp-r-1-run"));
}

#define ID "redis-6h-20251125-120000-7f3a"

static unsigned
count_unfinished(const struct room *room, const char *folder)
{
	struct err err = ERR_INIT;
	struct store_names names;
	unsigned count;

	assert_int_equal(store_unfinished(room->store, folder, &names, &err), 0);
	count = (unsigned)names.items.count;
	for (size_t i = 0; i < names.items.count; i++)
		assert_memory_equal(names.items.items[i], "dump-2.", strlen("dump-2."));
	store_names_done(&names);

	return count;
}

/* In a folder of many backups only the files of the dead run's stem go, and none that was there. */
static void
test_unfinished_stem(void **state)
{
	static const char *const files[] = { "redis/dump-2.rdb", "redis/dump-2.settings.json",
		NULL };
	const struct room *room = *state;
	struct run run = { .id = ID, .marker = "redis/dump-2.run", .finished = files };

	put(room, "redis/dump-1.rdb");
	put(room, "redis/dump-1.manifest.json");
	put(room, "redis/dump-2.users-own");
	put(room, "redis/dump-20.rdb");
	(void)poll(NULL, 0, 20); /* a file system's clock ticks */
	run_start(room, &run);
	put(room, "redis/dump-3.rdb");
	assert_int_equal(sweep(room), 0);
	assert_int_equal(count_unfinished(room, "redis"), 2);
	run_kill(&run);
	assert_int_equal(count_unfinished(room, "redis"), 2);
	assert_int_equal(count_unfinished(room, ""), 0);
	assert_int_equal(count_unfinished(room, "none"), 0);
	assert_int_equal(sweep(room), 3);
	assert_int_equal(count_unfinished(room, "redis"), 0);
	assert_false(has(room, "redis/dump-2.rdb"));
	assert_false(has(room, "redis/dump-2.settings.json"));
	assert_false(has(room, "redis/.tmp-" ID "-dump-2.run"));
	assert_true(has(room, "redis/dump-2.users-own"));
	assert_true(has(room, "redis/dump-20.rdb"));
	assert_true(has(room, "redis/dump-1.rdb"));
	assert_true(has(room, "redis/dump-3.rdb"));
}

/* Killed behind its manifest, or adopted by a verification since: it is good. */
static void
test_finished_stem(void **state)
{
	static const char *const files[] = { "redis/dump-2.rdb", "redis/dump-2.manifest.json",
		NULL };
	const struct room *room = *state;
	struct run run = { .id = ID, .marker = "redis/dump-2.run", .finished = files };

	run_start(room, &run);
	run_kill(&run);
	assert_int_equal(count_unfinished(room, "redis"), 0);
	assert_int_equal(sweep(room), 1);
	assert_true(has(room, "redis/dump-2.rdb"));
	assert_true(has(room, "redis/dump-2.manifest.json"));
}

/* Somebody alive in the same folder: nothing of it is touched but what is surely dead. */
static void
test_live_neighbour(void **state)
{
	const struct room *room = *state;
	struct run dead = { .marker = "pg/base/1/run", .finished = two_parts };
	struct err err = ERR_INIT;
	SCOPED(sink_freep) struct sink *live = NULL;

	run_start(room, &dead);
	run_kill(&dead);
	live = store_put(room->store, "pg/base/1/other", "r-2", &err);
	assert_non_null(live);
	(void)sweep(room);
	assert_true(store_has(room->store, two_parts[0]));
	assert_true(has(room, "pg/base/1/.tmp-r-2-other"));
}

/* Files that were there before the run, and manifests of any name, protect their folder. */
static void
test_protected_folders(void **state)
{
	static const char *const one[] = { "pg/daily/b.dump", NULL };
	const struct room *room = *state;
	struct run run = { .marker = "pg/daily/run", .finished = one };

	put(room, "pg/daily/users-own.dump");
	(void)poll(NULL, 0, 20); /* a file system's clock ticks */
	run_start(room, &run);
	run_kill(&run);
	assert_int_equal(sweep(room), 1);
	assert_true(has(room, "pg/daily/users-own.dump"));
	assert_true(has(room, "pg/daily/b.dump"));
}

static void
test_protected_by_flat_manifest(void **state)
{
	static const char *const files[] = { "f/b.dump", "f/b.manifest.json", NULL };
	const struct room *room = *state;
	struct run run = { .marker = "f/run", .finished = files };

	run_start(room, &run);
	run_kill(&run);
	assert_int_equal(sweep(room), 1);
	assert_true(has(room, "f/b.dump"));
}

static void
test_protected_root_and_tree(void **state)
{
	static const char *const files[] = { "a", "s/b", "s/t/c", NULL };
	const struct room *room = *state;
	struct run in_root = { .marker = "run", .finished = files };
	struct run in_tree = { .marker = "s/run" };

	run_start(room, &in_root);
	run_start(room, &in_tree);
	run_kill(&in_root);
	run_kill(&in_tree);
	assert_int_equal(sweep(room), 2);
	assert_true(has(room, "a"));
	assert_true(has(room, "s/b"));
	assert_true(has(room, "s/t/c"));
}

/* A sweep that died in the middle has left the marker: the next one goes on. */
static void
test_sweep_goes_on(void **state)
{
	const struct room *room = *state;
	struct run run = { .marker = "pg/base/1/run", .finished = two_parts };
	SCOPED(freep) char *first = path_join(room->folder, two_parts[0]);

	run_start(room, &run);
	run_kill(&run);
	assert_int_equal(unlink(first), 0);
	assert_int_equal(sweep(room), 2);
	assert_false(has(room, "pg/base/1"));
	assert_int_equal(sweep(room), 0);
}

/* Links are not followed: neither to a folder outside nor as a temporary file. */
static void
test_links(void **state)
{
	const struct room *room = *state;
	char outside[] = "/tmp/test-outside-XXXXXX";
	SCOPED(freep) char *link = path_join(room->folder, "link");
	SCOPED(freep) char *temporary_link = path_join(room->folder, ".tmp-x-link");
	SCOPED(freep) char *victim = NULL;
	struct err err = ERR_INIT;

	assert_non_null(mkdtemp(outside));
	victim = path_join(outside, ".tmp-r-victim");
	assert_int_equal(file_write_all(victim, "x", 1, 0600, &err), 0);
	assert_int_equal(symlink(outside, link), 0);
	assert_int_equal(symlink(victim, temporary_link), 0);
	assert_int_equal(sweep(room), 0);
	assert_true(file_exists(victim));
	assert_int_equal(dir_remove_all(outside, &err), 0);
}

/* Sweeps and writers all at once: no writer ever loses its file. */
static void
test_sweep_against_writers(void **state)
{
	const struct room *room = *state;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		for (int i = 0; i < 300; i++)
			(void)sweep(room);
		_exit(0);
	}
	for (int i = 0; i < 200; i++) {
		SCOPED(freep) char *name = xasprintf("w/%d/x", i % 7);
		struct err err = ERR_INIT;

		if (store_put_text(room->store, name, "r", "x", &err) < 0)
			fail_msg("%s", err.msg);
		assert_int_equal(store_remove(room->store, name, &err), 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_live_stays_dead_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_own_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unfinished_folder, setup, teardown),
		cmocka_unit_test_setup_teardown(test_finished_folder, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unfinished_stem, setup, teardown),
		cmocka_unit_test_setup_teardown(test_finished_stem, setup, teardown),
		cmocka_unit_test_setup_teardown(test_live_neighbour, setup, teardown),
		cmocka_unit_test_setup_teardown(test_protected_folders, setup, teardown),
		cmocka_unit_test_setup_teardown(test_protected_by_flat_manifest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_protected_root_and_tree, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sweep_goes_on, setup, teardown),
		cmocka_unit_test_setup_teardown(test_links, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sweep_against_writers, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
