#include "engine/scratch.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/engine.h"
#include "os/file.h"
#include "os/lockfile.h"
#include "source/source.h"

#define SCRATCH_PREFIX "blackstart-"
#define SCRATCH_LOCK ".lock"

enum { SCRATCH_ROOT_MAX_NAMES = 1000 * 1000 };

int
scratch_dir_make(struct engine *engine, const char *run_id, struct scratch_dir *ret_dir,
    struct err *err)
{
	SCOPED(freep)
	char *path = xasprintf("%s/" SCRATCH_PREFIX "%s", engine->scratch_root, run_id);
	SCOPED(freep) char *lock = path_join(path, SCRATCH_LOCK);
	int lock_fd;

	if (mkdir(path, 0711) < 0)
		return err_sys(err, "cannot make scratch folder '%s'", path);
	/* A server that runs as another user must be able to pass through, whatever the umask. */
	if (chmod(path, 0711) < 0)
		return err_sys(err, "cannot set the mode of scratch folder '%s'", path);
	if (lockfile_take(lock, run_id, &lock_fd, err) < 0)
		return -1;
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
sweep_one(struct engine *engine, const char *path, struct err *err)
{
	for (size_t i = 0; engine->drivers[i] != NULL; i++) {
		if (engine->drivers[i]->sweep_scratch != NULL &&
		    engine->drivers[i]->sweep_scratch(path, err) < 0)
			return -1;
	}
	log_info("removing '%s', left behind by a run that died", path);

	return empty_and_remove(path, err);
}

/* Ours: the lock's file is there, belongs to us, and nobody holds it. */
static bool
is_left_behind(const char *path)
{
	SCOPED(freep) char *lock = path_join(path, SCRATCH_LOCK);
	struct stat status;

	return lstat(lock, &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == geteuid() &&
	    !lockfile_is_held(lock);
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

		if (!str_starts_with(listing.names[i], SCRATCH_PREFIX) || !is_left_behind(path))
			continue;
		if (sweep_one(engine, path, &sweep_err) < 0)
			log_warning("cannot remove '%s': %s, continuing", path, sweep_err.msg);
	}

	return 0;
}
