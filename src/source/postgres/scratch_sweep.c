#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "base/vec.h"
#include "os/file.h"
#include "source/postgres/postgres_internal.h"
#include "source/postgres/scratch_internal.h"

enum {
	LINK_MAX_BYTES = 4096,
	QUIT_WAIT_MS = 5000,
	KILL_WAIT_MS = 5000,
	STEP_MS = 50,
	PID_FILE_MAX = 4096,
	PID_FILE_SOCKET_LINE = 5, /* postmaster.pid: pid, data, start, port, socket folder, ... */
	WORK_ENTRIES_MAX = 100000,
};

struct pids {
	VEC(pid_t) list;
};

static bool
read_link(const char *pid, const char *name, char *text)
{
	SCOPED(freep) char *path = xasprintf("/proc/%s/%s", pid, name);
	ssize_t size = readlink(path, text, LINK_MAX_BYTES - 1);

	if (size < 0)
		return false;
	text[size] = '\0';

	return true;
}

/* A PostgreSQL process whose working folder, its data directory, is `folder` or lies below it. */
static bool
is_server_of(const char *pid, const char *folder)
{
	char link[LINK_MAX_BYTES];
	size_t size = strlen(folder);
	const char *program;

	if (!read_link(pid, "cwd", link) || strncmp(link, folder, size) != 0 ||
	    (link[size] != '/' && link[size] != '\0'))
		return false;
	if (!read_link(pid, "exe", link))
		return false;
	program = strrchr(link, '/');

	return program != NULL && str_starts_with(program, "/postgres");
}

static int
find_servers(const char *folder, struct pids *ret_pids, struct err *err)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	if (proc == NULL)
		return err_sys(err, "cannot list processes");
	ret_pids->list.count = 0;
	while ((entry = readdir(proc)) != NULL) {
		struct err ignored;
		unsigned pid;

		if (parse_unsigned(entry->d_name, 2, INT_MAX, &pid, &ignored) == 0 &&
		    is_server_of(entry->d_name, folder))
			vec_push(&ret_pids->list, (pid_t)pid);
	}
	(void)closedir(proc);

	return 0;
}

int
pg_server_runs_in(const char *data_dir, bool *ret_is_running, struct err *err)
{
	SCOPED(freep) char *folder = realpath(data_dir, NULL);
	struct pids pids = { .list = { .count = 0 } };

	if (folder == NULL)
		return err_sys(err, "cannot look at '%s'", data_dir);
	if (find_servers(folder, &pids, err) < 0)
		return -1;
	*ret_is_running = pids.list.count > 0;
	vec_done(&pids.list);

	return 0;
}

/* Signal all that still run there until none is left or the time is up. */
static int
end_servers(const char *folder, int signal_number, int wait_ms, bool *ret_is_quiet, struct err *err)
{
	struct pids pids = { .list = { .count = 0 } };
	int result = 0;

	*ret_is_quiet = false;
	for (int waited_ms = 0; waited_ms <= wait_ms && result == 0; waited_ms += STEP_MS) {
		result = find_servers(folder, &pids, err);
		*ret_is_quiet = result == 0 && pids.list.count == 0;
		if (*ret_is_quiet)
			break;
		for (size_t i = 0; waited_ms == 0 && i < pids.list.count; i++)
			(void)kill(pids.list.items[i], signal_number);
		(void)poll(NULL, 0, STEP_MS);
	}
	vec_done(&pids.list);

	return result;
}

/* The socket folder in /tmp of a dead server, as its postmaster.pid tells. */
static void
remove_socket_folder(const char *data_dir)
{
	SCOPED(freep) char *path = path_join(data_dir, "postmaster.pid");
	SCOPED(str_done) struct str text = STR_INIT_MAX(PID_FILE_MAX);
	struct err ignored = ERR_INIT;
	const char *line = NULL;

	if (!file_exists(path) || file_read_all(path, PID_FILE_MAX, &text, &ignored) < 0)
		return;
	line = str_text(&text);
	for (int i = 1; i < PID_FILE_SOCKET_LINE && line != NULL; i++) {
		line = strchr(line, '\n');
		line = line != NULL ? line + 1 : NULL;
	}
	if (line == NULL || !str_starts_with(line, SCRATCH_SOCKET_PREFIX))
		return;

	SCOPED(freep) char *folder = xstrndup(line, strcspn(line, "\n"));
	if (strstr(folder, "..") == NULL && dir_remove_all(folder, &ignored) < 0)
		log_debug("cannot remove '%s': %s, continuing", folder, ignored.msg);
}

/* Data directories are work_dir itself or one or two levels below it. */
static void
remove_socket_folders(const char *folder, int levels)
{
	struct dir_listing listing = { .names = NULL };
	SCOPED(freep) char *version = path_join(folder, "PG_VERSION");
	struct err ignored = ERR_INIT;

	remove_socket_folder(folder);
	if (levels == 0 || file_exists(version) ||
	    dir_list(folder, WORK_ENTRIES_MAX, &listing, &ignored) < 0)
		return;
	for (size_t i = 0; i < listing.count; i++) {
		SCOPED(freep) char *below = path_join(folder, listing.names[i]);

		if (dir_exists(below))
			remove_socket_folders(below, levels - 1);
	}
	dir_listing_done(&listing);
}

int
pg_scratch_sweep(const char *work_dir, struct err *err)
{
	SCOPED(freep) char *folder = realpath(work_dir, NULL);
	bool is_quiet = false;

	if (folder == NULL)
		return errno == ENOENT ? 0 : err_sys(err, "cannot find folder '%s'", work_dir);
	remove_socket_folders(folder, 2);
	if (end_servers(folder, SIGQUIT, QUIT_WAIT_MS, &is_quiet, err) < 0)
		return -1;
	if (!is_quiet && end_servers(folder, SIGKILL, KILL_WAIT_MS, &is_quiet, err) < 0)
		return -1;
	if (!is_quiet)
		return err_set(err, ERR_BUSY,
		    "a server that a killed run left in '%s' does not end", work_dir);

	return 0;
}
