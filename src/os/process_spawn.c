#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/process_internal.h"

enum {
	PIPE_BYTES = 1024 * 1024,
	FIRST_FREE_FD = 3,
	CANNOT_START = 127,
};

/* What a child that could not become the program tells its parent. */
struct report {
	int sys;
	char step[32];
};

/* ---- in the child, between fork and exec: only what is safe after fork with threads ---- */

static _Noreturn void
child_fail(const struct spawn *spawn, const char *step)
{
	struct report report = { .sys = errno };
	ssize_t ignored;

	memcpy(report.step, step, strnlen(step, sizeof(report.step) - 1));
	ignored = write(spawn->report_fd, &report, sizeof(report));
	(void)ignored;
	_exit(CANNOT_START);
}

/* The parent's handlers must not run here: they would write into what it shares with us. */
static void
child_reset_signals(void)
{
	static const int changed[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGCHLD };
	struct sigaction action = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (size_t i = 0; i < ARRAY_SIZE(changed); i++)
		(void)sigaction(changed[i], &action, NULL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void
child_drop_user(const struct spawn *spawn)
{
	uid_t uid = spawn->options->run_as_uid;
	gid_t gid = spawn->options->run_as_gid;

	if (uid == 0)
		return;
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0)
		child_fail(spawn, "change the group");
	if (setresuid(uid, uid, uid) < 0)
		child_fail(spawn, "change the user");
}

/* Die with the parent; after the change of user, which resets this setting. */
static void
child_tie_to_parent(const struct spawn *spawn)
{
	if (spawn->options->outlives_us)
		return;
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0)
		child_fail(spawn, "tie it to its parent");
	/* The parent may have died before the call above. */
	if (getppid() != spawn->parent)
		_exit(CANNOT_START);
}

static void
child_place_fd(const struct spawn *spawn, int fd, int as, int null_mode)
{
	if (fd < 0)
		fd = open("/dev/null", null_mode | O_CLOEXEC);
	/* dup2 onto itself would keep close-on-exec. */
	if (fd < 0 || (fd == as ? fcntl(fd, F_SETFD, 0) : dup2(fd, as)) < 0)
		child_fail(spawn, "connect its pipes");
}

/* stdout before stderr: a loan for stdout may be our own stderr. */
static void
child_place_fds(const struct spawn *spawn)
{
	const struct process_options *options = spawn->options;

	child_place_fd(spawn, spawn->stdin_fd, STDIN_FILENO, O_RDONLY);
	child_place_fd(spawn, spawn->stdout_fd, STDOUT_FILENO, O_WRONLY);
	child_place_fd(spawn, spawn->stderr_fd, STDERR_FILENO, O_WRONLY);

	/* Ours are close-on-exec anyway; this is for those a library may have forgotten. */
	(void)close_range(FIRST_FREE_FD, ~0U, CLOSE_RANGE_CLOEXEC);
	for (size_t i = 0; i < options->inherit_fds_count; i++) {
		if (fcntl(options->inherit_fds[i], F_SETFD, 0) < 0)
			child_fail(spawn, "hand on a descriptor");
	}
}

static _Noreturn void
child_run(const struct spawn *spawn)
{
	const char *cwd = spawn->options->cwd;

	child_reset_signals();
	/* A session of its own: Ctrl-C reaches us alone, and no password prompt finds a terminal. */
	if (setsid() < 0)
		child_fail(spawn, "make a session");
	child_drop_user(spawn);
	child_tie_to_parent(spawn);
	child_place_fds(spawn);
	if (cwd != NULL && chdir(cwd) < 0)
		child_fail(spawn, "enter its folder");
	(void)execve(spawn->argv[0], spawn->argv, spawn->env);
	child_fail(spawn, "execute it");
}

/* ---- in the parent ---- */

static bool
is_same_variable(const char *a, const char *b)
{
	size_t size = strcspn(a, "=");

	return strncmp(a, b, size) == 0 && b[size] == '=';
}

static bool
is_replaced(const char *entry, const char *const *env)
{
	for (size_t i = 0; env != NULL && env[i] != NULL; i++) {
		if (is_same_variable(env[i], entry))
			return true;
	}

	return false;
}

static size_t
count_texts(const char *const *texts)
{
	size_t count = 0;

	while (texts != NULL && texts[count] != NULL)
		count++;

	return count;
}

/* Our environment with `env` in it; the array is yours, the texts are loans. */
static const char **
make_env(const char *const *env)
{
	const char *const *ours = (const char *const *)environ;
	const char **merged = xcalloc(count_texts(ours) + count_texts(env) + 1, sizeof(*merged));
	size_t count = 0;

	for (size_t i = 0; ours != NULL && ours[i] != NULL; i++) {
		if (!is_replaced(ours[i], env))
			merged[count++] = ours[i];
	}
	for (size_t i = 0; env != NULL && env[i] != NULL; i++)
		merged[count++] = env[i];

	return merged;
}

/* A pipe whose ends stand above stdin, stdout and stderr, even when one of those is closed. */
static int
make_pipe(int ret_ends[2], struct err *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	for (int i = 0; i < 2; i++) {
		int low = ends[i];

		if (low >= FIRST_FREE_FD)
			continue;
		ends[i] = fcntl(low, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
		(void)close(low);
	}
	ret_ends[0] = ends[0];
	ret_ends[1] = ends[1];

	return 0;
}

/* As make_pipe, with room for bulk data where the system's limit allows it. */
static int
make_data_pipe(int ret_ends[2], struct err *err)
{
	if (make_pipe(ret_ends, err) < 0)
		return -1;
	(void)fcntl(ret_ends[0], F_SETPIPE_SZ, PIPE_BYTES);

	return 0;
}

/* fork with all signals blocked, so that none is handled in the child with our handlers. */
static pid_t
fork_child(const struct spawn *spawn)
{
	sigset_t all;
	sigset_t before;
	pid_t pid;

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		child_run(spawn);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);

	return pid;
}

/* Wait until exec has closed the report pipe, or has reported. */
static int
await_exec(int fd, struct process *process, const char *program, struct err *err)
{
	struct report report;
	ssize_t got;

	do
		got = read(fd, &report, sizeof(report));
	while (got < 0 && errno == EINTR);
	if (got == 0)
		return 0;

	/* It ends by itself; until then it stays a child to be reaped. */
	while (!process_reap(process))
		(void)poll(NULL, 0, 1);
	if (got != (ssize_t)sizeof(report))
		return err_set(err, ERR_BUG, "cannot run '%s': no report from its start", program);
	report.step[sizeof(report.step) - 1] = '\0';
	errno = report.sys;

	return err_sys(err, "cannot run '%s': cannot %s", program, report.step);
}

static int
spawn_and_await(struct spawn *spawn, struct process *process, struct err *err)
{
	int report[2];

	if (make_pipe(report, err) < 0)
		return -1;
	SCOPED(closep) int report_read = report[0];
	SCOPED(closep) int report_write = report[1];

	spawn->report_fd = report_write;
	process->pid = fork_child(spawn);
	if (process->pid < 0)
		return err_sys(err, "cannot start '%s'", spawn->argv[0]);
	process->is_reaped = false;
	process->pid_fd = (int)syscall(SYS_pidfd_open, process->pid, 0);
	(void)close(TAKE_FD(report_write));

	return await_exec(report_read, process, spawn->argv[0], err);
}

int
process_spawn(const struct process_options *options, struct process *process, struct err *err)
{
	SCOPED(freep) const char **env = make_env(options->env);
	SCOPED(freep) char **argv = xcalloc(count_texts(options->argv) + 1, sizeof(*argv));
	int in[2] = { -1, -1 };
	int out[2] = { -1, -1 };
	int errors[2] = { -1, -1 };

	/* exec changes neither array, but its type says it might. */
	memcpy(argv, options->argv, count_texts(options->argv) * sizeof(*argv));
	if (options->wants_stdin && make_data_pipe(in, err) < 0)
		return -1;
	SCOPED(closep) int child_in = in[0];
	process->stdin_fd = in[1];
	if (options->wants_stdout && options->stdout_fd <= 0 && make_data_pipe(out, err) < 0)
		return -1;
	SCOPED(closep) int child_out = out[1];
	process->stdout_fd = out[0];
	if (options->stderr_fd <= 0 && make_pipe(errors, err) < 0)
		return -1;
	SCOPED(closep) int child_errors = errors[1];
	process->stderr_fd = errors[0];

	struct spawn spawn = {
		.options = options,
		.argv = argv,
		.env = (char **)(void *)env,
		.stdin_fd = child_in,
		.stdout_fd = options->stdout_fd > 0 ? options->stdout_fd : child_out,
		.stderr_fd = options->stderr_fd > 0 ? options->stderr_fd : child_errors,
		.parent = getpid(),
	};

	return spawn_and_await(&spawn, process, err);
}
