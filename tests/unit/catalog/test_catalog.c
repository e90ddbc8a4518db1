#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "fixture.h"
#include "os/file.h"

enum { OPENERS = 8, RUNS_EACH = 10 };

static int
insert(struct catalog *catalog, const char *id, struct err *err)
{
	char *text = xstrdup(id);
	char job[] = "pg-daily", source[] = "postgresql", verb[] = "backup";
	const struct run_row run = { .id = text,
		.job = job,
		.source = source,
		.verb = verb,
		.state = RUN_OK,
		.started = { .us = 1 } };
	int result = catalog_run_insert(catalog, &run, err);

	free(text);

	return result;
}

static size_t
count_runs(struct catalog *catalog)
{
	const struct run_filter any = { .limit = 0 };
	struct run_rows rows = { .rows = { .count = 0 } };
	struct err err = ERR_INIT;
	size_t count;

	if (catalog_run_list(catalog, &any, &rows, &err) < 0)
		fail_msg("%s", err.msg);
	count = rows.rows.count;
	run_rows_done(&rows);

	return count;
}

static void
assert_not_opened(const char *path, enum err_kind kind, const char *message)
{
	struct err err = ERR_INIT;

	assert_null(catalog_open(path, &err));
	if (strstr(err.msg, message) == NULL)
		fail_msg("'%s' is not in '%s'", message, err.msg);
	assert_int_equal(err.kind, kind);
	assert_true(err.hint[0] != '\0' || kind == ERR_NOT_FOUND || kind == ERR_PERMISSION);
}

static void
test_the_database_is_durable_and_marked(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fixture_number(f, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"),
	    1);
	assert_int_equal(fixture_number(f, "PRAGMA synchronous"), 2);
	assert_int_equal(fixture_number(f, "PRAGMA foreign_keys"), 1);
	assert_int_equal(fixture_number(f, "PRAGMA busy_timeout"), 10000);
	assert_int_equal(fixture_number(f, "PRAGMA application_id"), 0x62736374);
	assert_int_equal(fixture_number(f, "PRAGMA user_version"), 7);
}

static void
assert_mode(const struct fixture *f, const char *suffix)
{
	char *path = xasprintf("%s%s", f->path, suffix);
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	free(path);
}

static void
test_only_the_owner_may_read_it(void **state)
{
	static const mode_t masks[] = { 0, 0777 };
	struct fixture *f = *state;
	struct err err = ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(masks); i++) {
		mode_t before;

		catalog_close(f->catalog);
		f->catalog = NULL;
		assert_int_equal(unlink(f->path), 0);
		before = umask(masks[i]);
		fixture_reopen(f);
		assert_int_equal(insert(f->catalog, "a", &err), 0);
		(void)umask(before);
		assert_mode(f, "");
		assert_mode(f, "-wal");
		assert_mode(f, "-shm");
	}
}

static void
test_what_was_written_is_there_again(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;

	assert_int_equal(insert(f->catalog, "a", &err), 0);
	fixture_reopen(f);
	assert_int_equal(count_runs(f->catalog), 1);
	assert_int_equal(fixture_number(f, "PRAGMA user_version"), 7);
}

static void
test_a_killed_writer_loses_nothing_recorded(void **state)
{
	struct fixture *f = *state;
	pid_t child = fork();
	int status;

	if (child == 0) {
		struct err err = ERR_INIT;
		struct catalog *catalog = catalog_open(f->path, &err);

		if (catalog == NULL || insert(catalog, "a", &err) < 0 ||
		    catalog_begin(catalog, &err) < 0 || insert(catalog, "b", &err) < 0)
			_exit(1);
		(void)kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(count_runs(f->catalog), 1);
}

static void
test_transactions(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;

	assert_int_equal(catalog_begin(f->catalog, &err), 0);
	assert_int_equal(insert(f->catalog, "a", &err), 0);
	catalog_rollback(f->catalog);
	catalog_rollback(f->catalog);
	assert_int_equal(count_runs(f->catalog), 0);
	assert_int_equal(catalog_begin(f->catalog, &err), 0);
	assert_int_equal(insert(f->catalog, "b", &err), 0);
	assert_int_equal(catalog_commit(f->catalog, &err), 0);
	assert_int_equal(catalog_begin(f->catalog, &err), 0);
	assert_int_equal(insert(f->catalog, "c", &err), 0);
	fixture_reopen(f);
	assert_int_equal(count_runs(f->catalog), 1);
	assert_int_equal(catalog_commit(f->catalog, &err), -1);
}

/* Processes that open a new database at the same time, each writing a few runs. */
static void
test_many_may_begin_at_once(void **state)
{
	struct fixture *f = *state;
	int gate[2];

	catalog_close(f->catalog);
	f->catalog = NULL;
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
	for (unsigned i = 0; i < OPENERS; i++) {
		struct err err = ERR_INIT;
		struct catalog *catalog;
		char byte;

		if (fork() != 0)
			continue;
		(void)close(gate[1]);
		(void)!read(gate[0], &byte, 1); /* returns when the parent lets all of them go */
		catalog = catalog_open(f->path, &err);
		for (unsigned n = 0; n < RUNS_EACH && catalog != NULL; n++) {
			char *id = xasprintf("%u-%u", i, n);

			if (insert(catalog, id, &err) < 0)
				break;
			free(id);
		}
		if (err.kind != ERR_NONE)
			(void)fprintf(stderr, "%s\n", err.msg);
		catalog_close(catalog);
		_exit(err.kind != ERR_NONE);
	}
	(void)close(gate[0]);
	(void)close(gate[1]);
	for (unsigned i = 0; i < OPENERS; i++) {
		int status;

		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	fixture_reopen(f);
	assert_int_equal(count_runs(f->catalog), OPENERS * RUNS_EACH);
}

static void
test_a_newer_schema_is_left_alone(void **state)
{
	struct fixture *f = *state;

	catalog_close(f->catalog);
	f->catalog = NULL;
	fixture_sql(f, "PRAGMA user_version = 99");
	assert_not_opened(f->path, ERR_UNSUPPORTED, "has schema version 99");
}

static void
test_another_programs_database_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct fixture other = { .path = xasprintf("%s/other.db", f->folder) };

	fixture_sql(&other, "CREATE TABLE theirs (x)");
	assert_not_opened(other.path, ERR_DATA, "is not a catalog of blackstart");
	fixture_sql(&other, "INSERT INTO theirs VALUES (1)");
	free(other.path);
}

static void
write_at(const char *path, off_t offset, const void *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, size, offset), (ssize_t)size);
	(void)close(fd);
}

static void
test_what_is_not_a_database_is_damaged(void **state)
{
	struct fixture *f = *state;
	char *path = xasprintf("%s/text", f->folder);

	write_at(path, 0,
	    "this is no database, but a text of more than a hundred bytes, so that"
	    " nobody takes it for a new one at its begin",
	    110);
	assert_not_opened(path, ERR_DATA, "is damaged");
	free(path);
}

static void
test_a_damaged_page_is_reported(void **state)
{
	struct fixture *f = *state;
	struct run_rows rows = { .rows = { .count = 0 } };
	const struct run_filter any = { .limit = 0 };
	struct err err = ERR_INIT;
	int64_t pages, page_bytes;
	char junk[512];

	memset(junk, 0xa5, sizeof(junk));
	assert_int_equal(catalog_begin(f->catalog, &err), 0);
	for (unsigned i = 0; i < 500; i++) {
		char *id = xasprintf("run-%u", i);

		assert_int_equal(insert(f->catalog, id, &err), 0);
		free(id);
	}
	assert_int_equal(catalog_commit(f->catalog, &err), 0);
	pages = fixture_number(f, "PRAGMA page_count");
	page_bytes = fixture_number(f, "PRAGMA page_size");
	catalog_close(f->catalog);
	for (int64_t page = 2; page < pages; page++)
		write_at(f->path, (off_t)(page * page_bytes), junk, sizeof(junk));
	f->catalog = catalog_open(f->path, &err);
	assert_true(f->catalog == NULL || catalog_run_list(f->catalog, &any, &rows, &err) < 0);
	assert_int_equal(err.kind, ERR_DATA);
	assert_non_null(strstr(err.hint, "catalog rebuild"));
}

static void
test_set_aside_and_begin_anew(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	char *moved[3];

	/* As if the process had died: the log is still there. */
	assert_int_equal(insert(f->catalog, "a", &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(moved); i++) {
		char *wal = xasprintf("%s-wal", f->path);

		assert_int_equal(catalog_set_aside(f->path, &moved[i], &err), 0);
		assert_false(file_exists(f->path));
		assert_false(file_exists(wal));
		assert_true(file_exists(moved[i]));
		free(wal);
		fixture_reopen(f);
		assert_int_equal(count_runs(f->catalog), 0);
	}
	/* Three within a second: none took another's place. */
	assert_true(strcmp(moved[0], moved[1]) != 0 && strcmp(moved[1], moved[2]) != 0);
	for (size_t i = 0; i < ARRAY_SIZE(moved); i++)
		free(moved[i]);
}

static void
test_a_locked_database_is_busy(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct catalog *other = catalog_open(f->path, &err);

	assert_non_null(other);
	/* Shorter than in earnest: the test need not wait 10 s. */
	assert_int_equal(fixture_number(f, "PRAGMA busy_timeout = 50"), 50);
	assert_int_equal(catalog_begin(other, &err), 0);
	assert_int_equal(insert(f->catalog, "a", &err), -1);
	assert_int_equal(err.kind, ERR_BUSY);
	assert_non_null(strstr(err.msg, "is locked by another process"));
	assert_int_equal(count_runs(f->catalog), 0);
	catalog_rollback(other);
	assert_int_equal(insert(f->catalog, "a", &err), 0);
	catalog_close(other);
}

static void
test_a_full_disk_is_no_space(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	char *limit = xasprintf("PRAGMA max_page_count = %lld",
	    (long long)fixture_number(f, "PRAGMA page_count"));
	int result = 0;

	assert_true(fixture_number(f, limit) > 0);
	for (unsigned i = 0; i < 10000 && result == 0; i++) {
		char *id = xasprintf("run-%u", i);

		result = insert(f->catalog, id, &err);
		free(id);
	}
	assert_int_equal(result, -1);
	assert_int_equal(err.kind, ERR_SPACE);
	assert_non_null(strstr(err.msg, "no space left"));
	free(limit);
}

static void
test_a_missing_folder_or_a_folder_is_not_opened(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	char *missing = xasprintf("%s/no/catalog.db", f->folder);

	assert_not_opened(missing, ERR_NOT_FOUND, "cannot create catalog");
	assert_null(catalog_open(f->folder, &err));
	free(missing);
}

/* As root nothing is forbidden, so the test goes on as somebody else. */
static int
write_as_nobody(const char *path)
{
	struct err err = ERR_INIT;
	struct catalog *catalog;

	if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
		return -1;
	catalog = catalog_open(path, &err);
	if (catalog != NULL && insert(catalog, "a", &err) == 0)
		return 0;
	catalog_close(catalog);

	return (int)err.kind;
}

static void
test_what_cannot_be_written_is_permission(void **state)
{
	static const mode_t modes[] = { 0444, 0000 };
	struct fixture *f = *state;

	catalog_close(f->catalog);
	f->catalog = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		pid_t child;
		int status;

		assert_int_equal(chmod(f->path, modes[i]), 0);
		assert_int_equal(chmod(f->folder, 0555), 0);
		child = fork();
		if (child == 0)
			_exit(write_as_nobody(f->path));
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(chmod(f->folder, 0700), 0);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), ERR_PERMISSION);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_database_is_durable_and_marked,
		    fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_only_the_owner_may_read_it, fixture_setup,
		    fixture_teardown),
		cmocka_unit_test_setup_teardown(test_what_was_written_is_there_again, fixture_setup,
		    fixture_teardown),
		cmocka_unit_test_setup_teardown(test_a_killed_writer_loses_nothing_recorded,
		    fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_transactions, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_many_may_begin_at_once, fixture_setup,
		    fixture_teardown),
		cmocka_unit_test_setup_teardown(test_a_newer_schema_is_left_alone, fixture_setup,
		    fixture_teardown),
		cmocka_unit_test_setup_teardown(test_another_programs_database_is_left_alone,
		    fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_what_is_not_a_database_is_damaged,
		    fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_a_damaged_page_is_reported, fixture_setup,
		    fixture_teardown),
		cmocka_unit_test_setup_teardown(test_set_aside_and_begin_anew, fixture_setup,
		    fixture_teardown),
		cmocka_unit_test_setup_teardown(test_a_locked_database_is_busy, fixture_setup,
		    fixture_teardown),
		cmocka_unit_test_setup_teardown(test_a_full_disk_is_no_space, fixture_setup,
		    fixture_teardown),
		cmocka_unit_test_setup_teardown(test_a_missing_folder_or_a_folder_is_not_opened,
		    fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_what_cannot_be_written_is_permission,
		    fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
