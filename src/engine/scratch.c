#include "engine/scratch.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/engine.h"
#include "os/file.h"
#include "os/lockfile.h"
#include "repo/names.h"
#include "source/source.h"

#define SCRATCH_PREFIX "blackstart-"
#define SCRATCH_LOCK ".lock"

enum {
	SCRATCH_ROOT_MAX_NAMES = 1000 * 1000,
	MAKE_ATTEMPTS = 200, /* a sweep that holds the lock may be held up itself */
	MAKE_PAUSE_MS = 10,
	EMPTY_MIN_AGE_S = 60,
};

/*
 * Who makes one and who sweeps: a folder is its maker's from the moment that the lock is taken and
 * still lies in it.  Before that a sweep may remove it, and the maker makes it again.  A sweep
 * holds the lock of what it removes.
 */
static bool
is_still_there(int fd, const char *path)
{
	struct stat open_one, named_one;

	return fstat(fd, &open_one) == 0 && stat(path, &named_one) == 0 &&
	    open_one.st_dev == named_one.st_dev && open_one.st_ino == named_one.st_ino;
}

/* 1: a sweep came between, try again. */
static int
make_locked(const char *path, const char *lock, const char *run_id, int *ret_lock_fd,
    struct err *err)
{
	SCOPED(closep) int lock_fd = -1;

	/* One that is there already is never taken: in /tmp it can be anybody's. */
	if (mkdir(path, 0711) < 0)
		return err_sys(err, "cannot make scratch folder '%s'", path);
	/* A server that runs as another user must be able to pass through, whatever the umask. */
	if (chmod(path, 0711) < 0 && errno != ENOENT)
		return err_sys(err, "cannot set the mode of scratch folder '%s'", path);
	if (lockfile_take(lock, run_id, &lock_fd, err) < 0)
		return err->sys == ENOENT || err->kind == ERR_BUSY ? 1 : -1;
	if (!is_still_there(lock_fd, lock)) {
		(void)err_set(err, ERR_BUSY, "scratch folder '%s' is swept away", path);
		return 1;
	}
	*ret_lock_fd = TAKE_FD(lock_fd);

	return 0;
}

int
scratch_dir_make(struct engine *engine, const char *run_id, struct scratch_dir *ret_dir,
    struct err *err)
{
	SCOPED(freep)
	char *path = xasprintf("%s/" SCRATCH_PREFIX "%s", engine->scratch_root, run_id);
	SCOPED(freep) char *lock = path_join(path, SCRATCH_LOCK);
	int lock_fd = -1;
	int result;

	for (int attempt = 1; (result = make_locked(path, lock, run_id, &lock_fd, err)) != 0;
	     attempt++) {
		if (attempt == MAKE_ATTEMPTS ||
		    (result < 0 && (attempt == 1 || err->sys != EEXIST)))
			return -1;
		(void)poll(NULL, 0, MAKE_PAUSE_MS);
	}
	ret_dir->path = TAKE(path);
	ret_dir->lock_fd = lock_fd;

	return 0;
}

/*
 * Everything but the lock first: who is killed half-way leaves a folder that the next sweep still
 * knows as ours.
 */
static int
empty_and_remove(const char *path, struct err *err)
{
	SCOPED(dir_listing_done) struct dir_listing listing = { .names = NULL };

	if (dir_list(path, SCRATCH_ROOT_MAX_NAMES, &listing, err) < 0)
		return -1;
	for (size_t i = 0; i < listing.count; i++) {
		SCOPED(freep) char *entry = path_join(path, listing.names[i]);

		if (str_equals(listing.names[i], SCRATCH_LOCK) || unlink(entry) == 0)
			continue;
		if (dir_remove_all(entry, err) < 0)
			return -1;
	}

	return dir_remove_all(path, err);
}

void
scratch_dir_done(struct scratch_dir *dir)
{
	struct err err = ERR_INIT;

	if (dir->path == NULL)
		return;
	if (empty_and_remove(dir->path, &err) < 0)
		log_warning("cannot remove the scratch folder: %s, continuing", err.msg);
	closep(&dir->lock_fd);
	free(dir->path);
	dir->path = NULL;
}

static int
clean(struct engine *engine, const char *path, struct err *err)
{
	for (size_t i = 0; engine->drivers[i] != NULL; i++) {
		if (engine->drivers[i]->sweep_scratch != NULL &&
		    engine->drivers[i]->sweep_scratch(path, err) < 0)
			return -1;
	}
	log_info("removing '%s', left behind by a run that died", path);

	return empty_and_remove(path, err);
}

/* Old enough that its maker cannot be about to take the lock. */
static bool
is_old(const struct stat *status)
{
	return clock_wall().us / 1000000 - status->st_mtim.tv_sec > EMPTY_MIN_AGE_S;
}

/*
 * Ours, when the lock's file is there and belongs to us, and left behind, when nobody holds it.
 * Without one it can only be empty, by a kill before the lock or before the last step of removing.
 */
static int
sweep_one(struct engine *engine, const char *path, const char *run_id, struct err *err)
{
	SCOPED(freep) char *lock = path_join(path, SCRATCH_LOCK);
	SCOPED(closep) int lock_fd = -1;
	struct stat status;

	if (lstat(lock, &status) < 0) {
		if (errno == ENOENT && backup_id_is(run_id) && lstat(path, &status) == 0 &&
		    status.st_uid == geteuid() && is_old(&status) && rmdir(path) == 0)
			log_info("removed '%s', empty, left behind by a run that died", path);
		return 0;
	}
	if (!S_ISREG(status.st_mode) || status.st_uid != geteuid() || lockfile_is_held(lock))
		return 0;
	if (lockfile_take_left(lock, "a sweep", &lock_fd, err) < 0)
		return err->kind == ERR_BUSY || err->sys == ENOENT ? 0 : -1;

	return !is_still_there(lock_fd, lock) ? 0 : clean(engine, path, err);
}

int
scratch_dir_sweep(struct engine *engine, struct err *err)
{
	SCOPED(dir_listing_done) struct dir_listing listing = { .names = NULL };

	if (dir_list(engine->scratch_root, SCRATCH_ROOT_MAX_NAMES, &listing, err) < 0)
		return -1;
	for (size_t i = 0; i < listing.count; i++) {
		SCOPED(freep) char *path = path_join(engine->scratch_root, listing.names[i]);
		struct err sweep_err = ERR_INIT;

		if (!str_starts_with(listing.names[i], SCRATCH_PREFIX))
			continue;
		if (sweep_one(engine, path, listing.names[i] + strlen(SCRATCH_PREFIX), &sweep_err) <
		    0)
			log_warning("cannot remove '%s': %s, continuing", path, sweep_err.msg);
	}

	return 0;
}
