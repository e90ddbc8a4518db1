#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "os/lockfile.h"

static char path[64];

static int
setup(void **state)
{
	(void)state;
	(void)snprintf(path, sizeof(path), "/tmp/test-lock-%ld", (long)getpid());

	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	(void)unlink(path);

	return 0;
}

static void
test_second_is_told_of_first(void **state)
{
	struct err err = ERR_INIT;
	int first = -1;
	int second = -1;
	char holder[32];

	(void)state;
	assert_false(lockfile_is_held(path));
	assert_int_equal(lockfile_take(path, "run pg-daily", &first, &err), 0);
	assert_true(lockfile_is_held(path));
	assert_int_equal(lockfile_take(path, "other", &second, &err), -1);
	assert_int_equal(err.kind, ERR_BUSY);
	assert_int_equal(second, -1);
	(void)snprintf(holder, sizeof(holder), "process %ld", (long)getpid());
	assert_non_null(strstr(err.msg, "run pg-daily"));
	assert_non_null(strstr(err.msg, holder));

	(void)close(first);
	assert_false(lockfile_is_held(path));
	assert_int_equal(lockfile_take(path, "other", &second, &err), 0);
	(void)close(second);
}

/* The lock goes with its holder, however that one ends. */
static void
test_dies_with_holder(void **state)
{
	struct err err = ERR_INIT;
	int ready[2];
	int fd = -1;
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		if (lockfile_take(path, "child", &fd, &err) < 0 || write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			(void)pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_true(lockfile_is_held(path));
	assert_int_equal(lockfile_take(path, "us", &fd, &err), -1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(lockfile_take(path, "us", &fd, &err), 0);
	(void)close(fd);
	(void)close(ready[0]);
	(void)close(ready[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_second_is_told_of_first, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dies_with_holder, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
