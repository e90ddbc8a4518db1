#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "os/stop.h"

/* The flag cannot be taken back, so each case has a process of its own; 0 is good. */
static int
run_in_child(int (*body)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(body());
	assert_int_equal(waitpid(pid, &status, 0), pid);

	return status;
}

static int
one_signal(void)
{
	struct err err = ERR_INIT;
	struct pollfd fd;

	if (stop_fd() != -1)
		return 1;
	stop_install();
	fd = (struct pollfd){ .fd = stop_fd(), .events = POLLIN };
	if (stop_is_requested() || stop_check(&err) != 0 || poll(&fd, 1, 0) != 0)
		return 2;
	(void)raise(SIGTERM);
	if (!stop_is_requested() || stop_check(&err) != -1 || err.kind != ERR_CANCELLED)
		return 3;

	return poll(&fd, 1, 0) == 1 ? 0 : 4;
}

static int
two_kinds(void)
{
	stop_install();
	(void)raise(SIGTERM);
	(void)raise(SIGINT);

	return stop_is_requested() ? 0 : 1;
}

static int
two_of_a_kind(void)
{
	stop_install();
	(void)raise(SIGINT);
	(void)raise(SIGINT);

	return 1;
}

static int
silenced_hangup(void)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	(void)sigaction(SIGHUP, &ignore, NULL);
	stop_install();
	(void)raise(SIGHUP);

	return stop_is_requested() ? 1 : 0;
}

static int
closed_pipe(void)
{
	int ends[2];

	stop_install();
	if (pipe(ends) < 0)
		return 1;
	(void)close(ends[0]);

	return write(ends[1], "x", 1) == -1 ? 0 : 2;
}

static void
test_signals(void **state)
{
	int status;

	(void)state;
	assert_int_equal(run_in_child(one_signal), 0);
	assert_int_equal(run_in_child(two_kinds), 0);
	assert_int_equal(run_in_child(silenced_hangup), 0);
	assert_int_equal(run_in_child(closed_pipe), 0);
	status = run_in_child(two_of_a_kind);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGINT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
