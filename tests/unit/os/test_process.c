#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/process.h"
#include "os/stop.h"

#define SHELL(script) ((const char *const[]){ "/bin/sh", "-c", (script), NULL })

/* Counts what comes, gives what is asked for. */
struct traffic {
	uint64_t received;
	uint64_t to_send;
	struct str text;
	bool must_fail;
};

static int
receive(void *context, const void *data, size_t size, struct err *err)
{
	struct traffic *traffic = context;

	traffic->received += size;
	str_add_bytes(&traffic->text, data, size);
	if (traffic->must_fail)
		return err_set(err, ERR_SPACE, "the receiver is full");

	return 0;
}

static int
send_zeros(void *context, void *data, size_t size, size_t *ret_size, struct err *err)
{
	struct traffic *traffic = context;

	(void)err;
	*ret_size = traffic->to_send < size ? (size_t)traffic->to_send : size;
	memset(data, '0', *ret_size);
	traffic->to_send -= *ret_size;

	return 0;
}

static struct process *
start(const struct process_options *options)
{
	struct err err = ERR_INIT;
	struct process *process = process_start(options, &err);

	if (process == NULL)
		fail_msg("%s", err.msg);

	return process;
}

static void
test_output_and_exit(void **state)
{
	const char *const env[] = { "GREETING=hello", "HOME=/nowhere", NULL };
	const struct process_options options = {
		.argv = SHELL("echo $GREETING $HOME; pwd; cat; echo noise >&2"),
		.env = env,
		.cwd = "/usr",
		.wants_stdout = true,
	};
	SCOPED(process_freep) struct process *process = start(&options);
	struct traffic traffic = { .text = STR_INIT };
	const struct process_flow flow = { .on_stdout = receive, .context = &traffic };
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(process_run(process, &flow, &err), 0);
	assert_string_equal(str_text(&traffic.text), "hello /nowhere\n/usr\n");
	assert_string_equal(process_stderr(process), "noise\n");
	str_done(&traffic.text);
}

static void
test_failure_quotes_stderr(void **state)
{
	const struct process_options options = {
		.argv = SHELL("echo a >&2; echo 'it broke' >&2; exit 3")
	};
	SCOPED(process_freep) struct process *process = start(&options);
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(process_run(process, NULL, &err), -1);
	assert_int_equal(err.kind, ERR_PEER);
	assert_string_equal(err.msg, "'sh' ended with code 3: it broke");
}

static void
test_missing_program(void **state)
{
	static const char *const argv[] = { "/no/such/program", NULL };
	const struct process_options missing = { .argv = argv };
	const struct process_options lost = { .argv = SHELL("true"), .cwd = "/no/such/folder" };
	struct err err = ERR_INIT;

	(void)state;
	assert_null(process_start(&missing, &err));
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_non_null(strstr(err.msg, "'/no/such/program'"));
	assert_null(process_start(&lost, &err));
	assert_non_null(strstr(err.msg, "enter its folder"));
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

/* 8 MiB both ways and 4 MiB to stderr, in an order that would block who does one at a time. */
static void
test_floods(void **state)
{
	const struct process_options options = {
		.argv =
		    SHELL("head -c 4000000 /dev/zero | tr '\\0' e >&2; head -c 8000000 /dev/zero; "
			  "cat > /dev/null; echo the end >&2"),
		.wants_stdin = true,
		.wants_stdout = true,
		.stderr_max_bytes = 4096,
	};
	SCOPED(process_freep) struct process *process = start(&options);
	struct traffic traffic = { .to_send = 8000000, .text = STR_INIT_MAX(1) };
	const struct process_flow flow = { .on_stdout = receive,
		.on_stdin = send_zeros,
		.context = &traffic };
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(process_run(process, &flow, &err), 0);
	assert_int_equal(traffic.received, 8000000);
	assert_int_equal(traffic.to_send, 0);
	assert_true(strlen(process_stderr(process)) <= 4096);
	assert_non_null(strstr(process_stderr(process), "\n[...]\n"));
	assert_true(str_starts_with(process_stderr(process), "eeeeeeee"));
	assert_true(str_ends_with(process_stderr(process), "eeethe end\n"));
	str_done(&traffic.text);
}

static void
test_flood_while_waiting(void **state)
{
	const struct process_options options = {
		.argv = SHELL("head -c 300000 /dev/zero >&2; exit 7")
	};
	SCOPED(process_freep) struct process *process = start(&options);
	struct process_exit end;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(process_wait(process, 20000, &end, &err), 0);
	assert_false(end.was_signalled);
	assert_int_equal(end.code, 7);
	/* The first half, and of the second at least its newer half. */
	assert_true(strlen(process_stderr(process)) > 48 * 1024);
}

static void
test_stdin_closed_early(void **state)
{
	const struct process_options options = {
		.argv = SHELL("head -c 10 > /dev/null"),
		.wants_stdin = true,
	};
	SCOPED(process_freep) struct process *process = start(&options);
	struct traffic traffic = { .to_send = 100000000 };
	const struct process_flow flow = { .on_stdin = send_zeros, .context = &traffic };
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(process_run(process, &flow, &err), 0);
	assert_true(traffic.to_send > 0);
}

static void
test_receiver_fails(void **state)
{
	const struct process_options options = { .argv = SHELL("cat /dev/zero"),
		.wants_stdout = true };
	SCOPED(process_freep) struct process *process = start(&options);
	struct traffic traffic = { .must_fail = true };
	const struct process_flow flow = { .on_stdout = receive, .context = &traffic };
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(process_run(process, &flow, &err), -1);
	assert_int_equal(err.kind, ERR_SPACE);
	str_done(&traffic.text);
}

static void
test_timeout_then_free(void **state)
{
	const struct process_options options = { .argv = SHELL("trap '' TERM; echo; exec sleep 60"),
		.wants_stdout = true };
	struct process *process = start(&options);
	pid_t pid = process_pid(process);
	struct process_exit end;
	struct err err = ERR_INIT;
	char byte;

	(void)state;
	assert_int_equal(read(process_stdout_fd(process), &byte, 1), 1); /* the trap is set */
	assert_int_equal(process_wait(process, 50, &end, &err), -1);
	assert_int_equal(err.kind, ERR_TIMEOUT);
	process_free(process);
	assert_int_equal(kill(-pid, 0), -1);
	assert_int_equal(errno, ESRCH);
}

static void
test_signalled(void **state)
{
	const struct process_options options = { .argv = SHELL("kill -9 $$") };
	SCOPED(process_freep) struct process *process = start(&options);
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(process_run(process, NULL, &err), -1);
	assert_non_null(strstr(err.msg, "signal 9"));
}

/* A server left behind keeps the pipe of stderr open; the run must end all the same. */
static void
test_left_behind(void **state)
{
	const struct process_options options = {
		.argv = SHELL("sleep 30 & echo done >&2; echo $! >&2")
	};
	SCOPED(process_freep) struct process *process = start(&options);
	struct mono_time began = clock_mono();
	struct err err = ERR_INIT;
	const char *pid_text;

	(void)state;
	assert_int_equal(process_run(process, NULL, &err), 0);
	assert_true(clock_elapsed_us(began) < 10 * US_PER_S);
	pid_text = strchr(process_stderr(process), '\n');
	assert_non_null(pid_text);
	(void)kill((pid_t)strtol(pid_text, NULL, 10), SIGKILL);
}

static void
test_descriptors(void **state)
{
	int kept = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int leaked = open("/dev/null", O_RDONLY); /* as a careless library would */
	const struct process_options options = {
		.argv = SHELL("ls /proc/self/fd | sort -n | tr '\\n' ' '"),
		.inherit_fds = &kept,
		.inherit_fds_count = 1,
		.wants_stdout = true,
	};
	SCOPED(process_freep) struct process *process = start(&options);
	struct traffic traffic = { .text = STR_INIT };
	const struct process_flow flow = { .on_stdout = receive, .context = &traffic };
	SCOPED(freep) char *own = xasprintf(" %d ", kept);
	SCOPED(freep) char *other = xasprintf(" %d ", leaked);
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(process_run(process, &flow, &err), 0);
	assert_non_null(strstr(str_text(&traffic.text), own));
	assert_null(strstr(str_text(&traffic.text), other));
	(void)close(kept);
	(void)close(leaked);
	str_done(&traffic.text);
}

static void
test_lent_stdout(void **state)
{
	char name[] = "/tmp/test-process-XXXXXX";
	int fd = mkstemp(name);
	const struct process_options options = { .argv = SHELL("echo lent"), .stdout_fd = fd };
	SCOPED(process_freep) struct process *process = start(&options);
	struct err err = ERR_INIT;
	char text[8] = "";

	(void)state;
	assert_int_equal(process_run(process, NULL, &err), 0);
	assert_int_equal(pread(fd, text, sizeof(text) - 1, 0), 5);
	assert_string_equal(text, "lent\n");
	(void)close(fd);
	(void)unlink(name);
}

static void
test_other_user(void **state)
{
	const struct process_options options = {
		.argv = SHELL("id -u; id -G"),
		.run_as_uid = 65534,
		.run_as_gid = 65534,
		.wants_stdout = true,
	};
	struct traffic traffic = { .text = STR_INIT };
	const struct process_flow flow = { .on_stdout = receive, .context = &traffic };
	struct err err = ERR_INIT;

	(void)state;
	if (geteuid() != 0)
		skip();
	SCOPED(process_freep) struct process *process = start(&options);
	assert_int_equal(process_run(process, &flow, &err), 0);
	assert_string_equal(str_text(&traffic.text), "65534\n65534\n");
	str_done(&traffic.text);
}

/* Start a sleeper, tell its pid, and die without a word. */
static _Noreturn void
die_as_parent(int to, uid_t uid)
{
	const struct process_options options = { .argv = SHELL("sleep 60"),
		.run_as_uid = uid,
		.run_as_gid = uid };
	struct process *process = start(&options);
	pid_t pid = process_pid(process);

	(void)(write(to, &pid, sizeof(pid)) + 1);
	(void)raise(SIGKILL);
	_exit(1);
}

/* Gone, or dead and waiting for an init that may never look. */
static bool
is_gone(pid_t pid)
{
	SCOPED(freep) char *path = xasprintf("/proc/%ld/stat", (long)pid);
	FILE *file = fopen(path, "re");
	char state = 'X';

	if (file == NULL)
		return true;
	if (fscanf(file, "%*d %*s %c", &state) != 1)
		state = 'X';
	(void)fclose(file);

	return state == 'X' || state == 'Z';
}

static bool
is_gone_within(pid_t pid, int timeout_ms)
{
	int waited_ms = 0;

	for (; !is_gone(pid) && waited_ms < timeout_ms; waited_ms += 10)
		(void)poll(NULL, 0, 10);

	return waited_ms < timeout_ms;
}

/* Also with another user, whose setting takes the tie away if it is made too early. */
static void
test_dies_with_parent(void **state)
{
	const uid_t users[] = { 0, 65534 };

	(void)state;
	for (size_t i = 0; i < (geteuid() == 0 ? ARRAY_SIZE(users) : 1); i++) {
		int ends[2];
		pid_t sleeper = 0;
		pid_t parent;

		assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
		parent = fork();
		if (parent == 0)
			die_as_parent(ends[1], users[i]);
		assert_int_equal(read(ends[0], &sleeper, sizeof(sleeper)), sizeof(sleeper));
		assert_int_equal(waitpid(parent, NULL, 0), parent);
		assert_true(is_gone_within(sleeper, 5000));
		(void)close(ends[0]);
		(void)close(ends[1]);
	}
}

/* Returns 0 when a stop ends the pump at once, with the child still there. */
static int
stopped_child(void)
{
	const struct process_options options = { .argv = SHELL("sleep 60"), .wants_stdout = true };
	struct process *process = start(&options);
	struct mono_time began = clock_mono();
	struct err err = ERR_INIT;
	struct process_exit end;

	(void)alarm(1);
	if (process_pump(process, NULL, &err) != -1 || err.kind != ERR_CANCELLED)
		return 1;
	if (process_wait(process, -1, &end, &err) != -1 || err.kind != ERR_CANCELLED)
		return 2;
	process_signal(process, SIGINT);
	if (process_wait(process, 10000, &end, &err) != 0)
		return 3;
	process_free(process);

	return clock_elapsed_us(began) < 10 * US_PER_S ? 0 : 4;
}

static void
on_alarm(int number)
{
	(void)number;
	stop_request();
}

static void
test_stop(void **state)
{
	struct sigaction action = { .sa_handler = on_alarm };
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		(void)sigaction(SIGALRM, &action, NULL);
		_exit(stopped_child());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_output_and_exit),
		cmocka_unit_test(test_failure_quotes_stderr),
		cmocka_unit_test(test_missing_program),
		cmocka_unit_test(test_floods),
		cmocka_unit_test(test_flood_while_waiting),
		cmocka_unit_test(test_stdin_closed_early),
		cmocka_unit_test(test_receiver_fails),
		cmocka_unit_test(test_timeout_then_free),
		cmocka_unit_test(test_signalled),
		cmocka_unit_test(test_left_behind),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_lent_stdout),
		cmocka_unit_test(test_other_user),
		cmocka_unit_test(test_dies_with_parent),
		cmocka_unit_test(test_stop),
	};

	stop_install();

	return cmocka_run_group_tests(tests, NULL, NULL);
}
