#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "engine/scratch.h"
#include "fixture.h"
#include "os/file.h"

#define RUN_ID "pg-daily-20251125-020000-7f3a"

static int
setup(void **state)
{
	struct fixture *fixture = xcalloc(1, sizeof(*fixture));

	fixture_init(fixture);
	*state = fixture;

	return 0;
}

static int
teardown(void **state)
{
	fixture_done(*state);
	free(*state);

	return 0;
}

static char *
folder(const struct fixture *fixture, const char *name)
{
	char *path = path_join(fixture->folder, name);

	assert_int_equal(mkdir(path, 0711), 0);

	return path;
}

static void
put(const char *path, const char *name)
{
	SCOPED(freep) char *file = path_join(path, name);
	struct err err = ERR_INIT;

	assert_int_equal(file_write_all(file, "x", 1, 0600, &err), 0);
}

/* Killed before it had a lock, or between the last file and the folder itself. */
static void
test_an_empty_one_is_swept(void **state)
{
	struct fixture *fixture = *state;
	struct err err = ERR_INIT;
	SCOPED(freep) char *left = folder(fixture, "blackstart-" RUN_ID);
	SCOPED(freep) char *full = folder(fixture, "blackstart-" RUN_ID "b");
	SCOPED(freep) char *somebodys = folder(fixture, "blackstart-notes");
	SCOPED(freep) char *socket = folder(fixture, "blackstart-socket-AbCdEf");
	SCOPED(freep) char *other = folder(fixture, RUN_ID);

	const struct timespec long_ago[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };

	put(full, "keep");
	assert_int_equal(scratch_dir_sweep(&fixture->engine, &err), 0);
	assert_true(dir_exists(left)); /* its maker may be about to lock it */
	assert_int_equal(utimensat(AT_FDCWD, left, long_ago, 0), 0);
	assert_int_equal(scratch_dir_sweep(&fixture->engine, &err), 0);
	assert_false(dir_exists(left));
	assert_true(dir_exists(full));
	assert_true(dir_exists(somebodys));
	assert_true(dir_exists(socket));
	assert_true(dir_exists(other));
}

static void
test_one_with_a_free_lock_is_swept(void **state)
{
	struct fixture *fixture = *state;
	struct err err = ERR_INIT;
	SCOPED(freep) char *left = folder(fixture, "blackstart-" RUN_ID);
	SCOPED(freep) char *inner = path_join(left, "data");

	put(left, ".lock");
	assert_int_equal(mkdir(inner, 0700), 0);
	put(inner, "file");
	assert_int_equal(scratch_dir_sweep(&fixture->engine, &err), 0);
	assert_false(dir_exists(left));
}

static void
test_a_live_one_stays(void **state)
{
	struct fixture *fixture = *state;
	struct scratch_dir dir = { .path = NULL };
	struct err err = ERR_INIT;
	SCOPED(freep) char *path = NULL;

	assert_int_equal(scratch_dir_make(&fixture->engine, RUN_ID, &dir, &err), 0);
	path = xstrdup(dir.path);
	assert_int_equal(scratch_dir_sweep(&fixture->engine, &err), 0);
	assert_true(dir_exists(path));
	assert_int_equal(scratch_dir_make(&fixture->engine, RUN_ID, &dir, &err), -1);
	scratch_dir_done(&dir);
	assert_false(dir_exists(path));
}

/* One process sweeps without a pause while another makes: what it has made stays its own. */
static void
test_a_sweep_never_takes_what_was_made(void **state)
{
	enum { ROUNDS = 100 };
	struct fixture *fixture = *state;
	struct err err = ERR_INIT;
	int status = -1;
	pid_t sweeper = fork();

	assert_true(sweeper >= 0);
	if (sweeper == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			(void)!scratch_dir_sweep(&fixture->engine, &err);
	}
	for (int round = 0; round < ROUNDS; round++) {
		struct scratch_dir dir = { .path = NULL };

		assert_int_equal(scratch_dir_make(&fixture->engine, RUN_ID, &dir, &err), 0);
		put(dir.path, "file");
		put(dir.path, ".lock-is-there");
		scratch_dir_done(&dir);
	}
	assert_int_equal(kill(sweeper, SIGKILL), 0);
	assert_int_equal(waitpid(sweeper, &status, 0), sweeper);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_an_empty_one_is_swept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_with_a_free_lock_is_swept, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_a_live_one_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_sweep_never_takes_what_was_made, setup,
		    teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
