#include "source/postgres/spool_internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"

enum {
	ENTRIES_MAX = 100000,
	ATTEMPTS_MAX = 5,
};

static const char prefix[] = "blackstart-spool-";

/* An open descriptor of the folder that holds its lock, or -1 when somebody else does. */
static int
lock_folder(const char *path)
{
	SCOPED(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -1;

	return TAKE_FD(fd);
}

/* What killed runs have left: nobody holds its lock any more.  Others' folders cannot be opened. */
static void
sweep(const char *parent)
{
	struct dir_listing listing = { .names = NULL };
	struct err ignored = ERR_INIT;

	if (dir_list(parent, ENTRIES_MAX, &listing, &ignored) < 0)
		return;
	for (size_t i = 0; i < listing.count; i++) {
		SCOPED(freep) char *path = path_join(parent, listing.names[i]);
		SCOPED(closep) int fd = -1;

		if (!str_starts_with(listing.names[i], prefix))
			continue;
		fd = lock_folder(path);
		if (fd >= 0 && dir_remove_all(path, &ignored) < 0)
			continue;
	}
	dir_listing_done(&listing);
}

/* A new folder whose lock is ours, or -1: a sweep of somebody else may have been quicker. */
static int
make_locked(struct spool *spool, const char *parent)
{
	struct stat entry;

	free(spool->path);
	spool->path = xasprintf("%s/%sXXXXXX", parent, prefix);
	if (mkdtemp(spool->path) == NULL)
		return -1;
	spool->lock_fd = lock_folder(spool->path);
	if (spool->lock_fd >= 0 && stat(spool->path, &entry) == 0)
		return 0;
	closep(&spool->lock_fd);
	spool->lock_fd = -1;

	return -1;
}

int
spool_make(struct spool *spool, const char *parent, struct err *err)
{
	*spool = (struct spool){ .path = NULL, .lock_fd = -1 };
	if (parent == NULL)
		parent = getenv("TMPDIR");
	if (parent == NULL || parent[0] == '\0')
		parent = "/var/tmp";
	sweep(parent);
	for (int attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
		if (make_locked(spool, parent) == 0)
			return 0;
	}
	free(TAKE(spool->path));

	return err_sys(err, "cannot make a folder in '%s'", parent);
}

void
spool_done(struct spool *spool)
{
	struct err ignored = ERR_INIT;

	if (spool->path == NULL)
		return;
	if (dir_remove_all(spool->path, &ignored) < 0)
		log_debug("%s, continuing", ignored.msg);
	closep(&spool->lock_fd);
	free(TAKE(spool->path));
}
