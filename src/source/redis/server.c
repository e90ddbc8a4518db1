/* Redis servers among the processes of this machine, found by the folder they work in. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "os/file.h"
#include "source/redis/redis_internal.h"

enum { COMM_MAX_BYTES = 64, KILL_STEP_MS = 50, KILL_STEPS = 100 };

/* By its name, which everybody may read. */
static bool
is_server(const char *pid)
{
	SCOPED(freep) char *path = xasprintf("/proc/%s/comm", pid);
	SCOPED(str_done) struct str name = STR_INIT;
	struct err ignored = ERR_INIT;

	if (file_read_all(path, COMM_MAX_BYTES, &name, &ignored) < 0)
		return false;

	return str_starts_with(str_text(&name), "redis-server") ||
	    str_starts_with(str_text(&name), "valkey-server");
}

int
redis_server_in(const char *folder, unsigned *ret_pid, bool *ret_is_blind, struct err *err)
{
	struct stat wanted, found;
	struct dirent *entry;
	DIR *proc;

	*ret_pid = 0;
	*ret_is_blind = false;
	if (stat(folder, &wanted) < 0)
		return errno == ENOENT ? 0 : err_sys(err, "cannot look at folder '%s'", folder);
	proc = opendir("/proc");
	if (proc == NULL)
		return err_sys(err, "cannot list processes");
	while (*ret_pid == 0 && (entry = readdir(proc)) != NULL) {
		SCOPED(freep) char *link = xasprintf("/proc/%s/cwd", entry->d_name);
		struct err ignored = ERR_INIT;
		unsigned pid;

		if (parse_unsigned(entry->d_name, 2, INT_MAX, &pid, &ignored) < 0 ||
		    !is_server(entry->d_name))
			continue;
		if (stat(link, &found) < 0)
			*ret_is_blind = *ret_is_blind || errno == EACCES;
		else if (found.st_dev == wanted.st_dev && found.st_ino == wanted.st_ino)
			*ret_pid = pid;
	}
	(void)closedir(proc);

	return 0;
}

int
redis_trial_sweep(const char *work_dir, struct err *err)
{
	for (unsigned i = 0; i < KILL_STEPS; i++) {
		unsigned pid;
		bool is_blind;

		if (redis_server_in(work_dir, &pid, &is_blind, err) < 0)
			return -1;
		if (pid == 0)
			return 0;
		(void)kill((pid_t)pid, SIGKILL);
		(void)poll(NULL, 0, KILL_STEP_MS);
	}

	return err_set(err, ERR_BUSY, "a server that a killed run left in '%s' does not end",
	    work_dir);
}
