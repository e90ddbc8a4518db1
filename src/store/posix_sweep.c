#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "repo/names.h"
#include "store/posix_internal.h"

/*
 * A temporary file is locked by the run that writes it.  When its lock can be had, the run is
 * dead; the lock is then kept until the file is removed, so that two sweeps never meet.
 *
 * A run that makes a folder of its own keeps a ".tmp-<run-id>-run" in it from before its first
 * file until after its manifest.  When that one is dead and there is no manifest, the finished
 * files beside it belong to no backup and go with it.  One that makes files in a folder of many,
 * "STEM.*", keeps a ".tmp-<run-id>-STEM.run", and the same holds for the files of that stem.
 */
struct dead_file {
	char *name;
	int fd; /* holds the lock */
	struct stat st;
};

struct folder_sweep {
	DIR *dir;
	const char *path;
	bool is_root;
	VEC(struct dead_file) dead;
	bool has_live;
	bool has_manifest;
	unsigned removed;
};

static void
folder_sweep_done(struct folder_sweep *sweep)
{
	for (size_t i = 0; i < sweep->dead.count; i++) {
		free(sweep->dead.items[i].name);
		closep(&sweep->dead.items[i].fd);
	}
	vec_done(&sweep->dead);
}

/* Is `name` still the file that `fd` has open: it may have got its final name meanwhile. */
static bool
is_still_there(int at, const char *name, const struct stat *opened)
{
	struct stat st;

	return fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == opened->st_ino &&
	    st.st_dev == opened->st_dev;
}

/* Look whether a temporary file's run is alive; a dead one is kept, locked. */
static void
judge_temporary(struct folder_sweep *sweep, const char *name)
{
	struct dead_file dead = { .fd = -1 };
	/* Open for writing, because network file systems demand it for an exclusive lock. */
	SCOPED(closep)
	int fd = openat(dirfd(sweep->dir), name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &dead.st) < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0) {
		/* Gone is gone; all else that cannot be had is left alone. */
		sweep->has_live = sweep->has_live || errno != ENOENT;
		return;
	}
	if (!is_still_there(dirfd(sweep->dir), name, &dead.st))
		return;
	dead.name = xstrdup(name);
	dead.fd = TAKE_FD(fd);
	vec_push(&sweep->dead, dead);
}

static bool
is_folder_marker(const struct dead_file *dead)
{
	return str_ends_with(dead->name, "-" PLACE_MARKER) && dead->st.st_size == 0;
}

/* The stem that it marks, yours; NULL: it marks none. */
static char *
marked_stem(const struct dead_file *dead)
{
	return dead->st.st_size == 0 ? name_marker_stem(dead->name) : NULL;
}

static bool
is_marker(const struct dead_file *dead)
{
	SCOPED(freep) char *stem = marked_stem(dead);

	return stem != NULL || is_folder_marker(dead);
}

static bool
is_older(const struct stat *one, const struct stat *other)
{
	return one->st_ctim.tv_sec < other->st_ctim.tv_sec ||
	    (one->st_ctim.tv_sec == other->st_ctim.tv_sec &&
		one->st_ctim.tv_nsec < other->st_ctim.tv_nsec);
}

static const struct dead_file *
find_marker(const struct folder_sweep *sweep)
{
	for (size_t i = 0; i < sweep->dead.count; i++) {
		if (is_folder_marker(&sweep->dead.items[i]))
			return &sweep->dead.items[i];
	}

	return NULL;
}

/* Is there a file that was there before the marker, or a folder: not the dead run's. */
static bool
has_foreign_entry(const struct folder_sweep *sweep, const struct dead_file *marker)
{
	const struct dirent *entry;
	struct stat st;

	rewinddir(sweep->dir);
	while ((entry = readdir(sweep->dir)) != NULL) {
		if (posix_is_foreign(entry->d_name))
			continue;
		if (fstatat(dirfd(sweep->dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode) || is_older(&st, &marker->st))
			return true;
	}

	return false;
}

/*
 * May all files of the folder go.  Every doubt says no: the root, anything alive, any manifest, a
 * folder in it, a file that is older than the run.
 */
static bool
is_unfinished(const struct folder_sweep *sweep)
{
	const struct dead_file *marker = find_marker(sweep);

	return marker != NULL && !sweep->is_root && !sweep->has_live && !sweep->has_manifest &&
	    !has_foreign_entry(sweep, marker);
}

static int
remove_one(struct folder_sweep *sweep, const char *name, struct err *err)
{
	if (unlinkat(dirfd(sweep->dir), name, 0) < 0)
		return errno == ENOENT ? 0
				       : err_sys(err, "cannot remove '%s/%s'", sweep->path, name);
	sweep->removed++;

	return 0;
}

/* The finished files of an unfinished backup. */
static int
remove_finished(struct folder_sweep *sweep, struct err *err)
{
	const struct dirent *entry;

	rewinddir(sweep->dir);
	while ((entry = readdir(sweep->dir)) != NULL) {
		if (posix_is_foreign(entry->d_name) || name_is_temporary(entry->d_name))
			continue;
		if (remove_one(sweep, entry->d_name, err) < 0)
			return -1;
	}

	return 0;
}

/*
 * Is it a finished file of the stem of a run whose marker is `marker`.  What was there before the
 * run is somebody else's.
 */
static bool
is_of_stem(DIR *dir, const char *name, const char *stem, const struct stat *marker)
{
	size_t size = strlen(stem);
	struct stat st;

	return strncmp(name, stem, size) == 0 && name[size] == '.' &&
	    fstatat(dirfd(dir), name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	    !is_older(&st, marker);
}

/* Surely without: what cannot be looked at may be there. */
static bool
is_without_manifest(DIR *dir, const char *stem)
{
	SCOPED(place_done) struct place place = { .folder = xstrdup(""), .stem = xstrdup(stem) };
	SCOPED(freep) char *manifest = place_manifest_name(&place);
	struct stat st;

	return fstatat(dirfd(dir), manifest, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

static int
remove_stem(struct folder_sweep *sweep, const char *stem, const struct dead_file *marker,
    struct err *err)
{
	const struct dirent *entry;

	if (!is_without_manifest(sweep->dir, stem))
		return 0;
	rewinddir(sweep->dir);
	while ((entry = readdir(sweep->dir)) != NULL) {
		if (is_of_stem(sweep->dir, entry->d_name, stem, &marker->st) &&
		    remove_one(sweep, entry->d_name, err) < 0)
			return -1;
	}

	return 0;
}

/* The finished files of unfinished backups in a folder of many. */
static int
remove_stems(struct folder_sweep *sweep, struct err *err)
{
	for (size_t i = 0; i < sweep->dead.count; i++) {
		const struct dead_file *dead = &sweep->dead.items[i];
		SCOPED(freep) char *stem = marked_stem(dead);

		if (stem != NULL && remove_stem(sweep, stem, dead, err) < 0)
			return -1;
	}

	return 0;
}

/* The marker goes last: a sweep that dies before leaves it for the next one. */
static int
remove_dead(struct folder_sweep *sweep, struct err *err)
{
	for (size_t i = 0; i < sweep->dead.count; i++) {
		const struct dead_file *dead = &sweep->dead.items[i];

		if (!is_marker(dead) && remove_one(sweep, dead->name, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < sweep->dead.count; i++) {
		const struct dead_file *dead = &sweep->dead.items[i];

		if (is_marker(dead) && remove_one(sweep, dead->name, err) < 0)
			return -1;
	}

	return 0;
}

static int sweep_folder(struct folder_sweep *sweep, unsigned depth, struct err *err);

static int
sweep_below(struct folder_sweep *above, const char *name, unsigned depth, struct err *err)
{
	SCOPED(freep) char *path = xasprintf("%s/%s", above->path, name);
	bool is_gone = false;
	SCOPED(posix_close_folder)
	DIR *dir = posix_open_folder(dirfd(above->dir), name, path, &is_gone, err);
	SCOPED(folder_sweep_done) struct folder_sweep sweep = { .dir = dir, .path = path };

	if (dir == NULL)
		return is_gone ? 0 : -1;
	if (depth > POSIX_MAX_DEPTH)
		return err_set(err, ERR_LIMIT, "folders are nested too deeply at '%s'", path);
	if (sweep_folder(&sweep, depth, err) < 0)
		return -1;
	above->removed += sweep.removed;
	/* Only an empty folder can go; a put that has just made it makes it again. */
	if (sweep.removed > 0 && unlinkat(dirfd(above->dir), name, AT_REMOVEDIR) == 0)
		(void)fsync(dirfd(above->dir));

	return 0;
}

static int
sweep_entry(struct folder_sweep *sweep, const struct dirent *entry, unsigned depth, struct err *err)
{
	unsigned char type = posix_entry_type(dirfd(sweep->dir), entry);

	if (type == DT_DIR)
		return sweep_below(sweep, entry->d_name, depth + 1, err);
	if (type == DT_REG && name_is_temporary(entry->d_name))
		judge_temporary(sweep, entry->d_name);
	else if (name_is_manifest(entry->d_name))
		sweep->has_manifest = true;

	return 0;
}

static int
sweep_folder(struct folder_sweep *sweep, unsigned depth, struct err *err)
{
	const struct dirent *entry;

	while ((errno = 0, entry = readdir(sweep->dir)) != NULL) {
		if (posix_is_foreign(entry->d_name))
			continue;
		if (sweep_entry(sweep, entry, depth, err) < 0)
			return -1;
	}
	if (errno != 0)
		return err_sys(err, "cannot read folder '%s'", sweep->path);
	if (is_unfinished(sweep) && remove_finished(sweep, err) < 0)
		return -1;
	if (remove_stems(sweep, err) < 0)
		return -1;

	return remove_dead(sweep, err);
}

int
posix_sweep(struct store *store, unsigned *ret_removed, struct err *err)
{
	bool is_gone = false;
	/* Through ".", because the root itself may be a symbolic link. */
	SCOPED(freep) char *root = xasprintf("%s/.", store->location);
	SCOPED(posix_close_folder)
	DIR *dir = posix_open_folder(AT_FDCWD, root, store->location, &is_gone, err);
	SCOPED(folder_sweep_done)
	struct folder_sweep sweep = {
		.dir = dir,
		.path = store->location,
		.is_root = true,
	};

	if (dir == NULL)
		return is_gone ? err_sys(err, "cannot open store '%s'", store->location) : -1;
	if (sweep_folder(&sweep, 0, err) < 0)
		return -1;
	*ret_removed = sweep.removed;

	return 0;
}

/* ---- what a sweep would remove, seen without its locks ---- */

struct marked_stem {
	char *stem;
	struct stat marker;
};

struct marked_stems {
	VEC(struct marked_stem) items;
};

static void
marked_stems_done(struct marked_stems *stems)
{
	for (size_t i = 0; i < stems->items.count; i++)
		free(stems->items.items[i].stem);
	vec_done(&stems->items);
}

/* The runs that have marked their stem in the folder, alive or dead, and have no manifest yet. */
static int
find_marked_stems(DIR *dir, const char *path, struct marked_stems *to, struct err *err)
{
	const struct dirent *entry;

	while ((errno = 0, entry = readdir(dir)) != NULL) {
		SCOPED(freep) char *stem = name_marker_stem(entry->d_name);
		struct stat st;

		if (stem == NULL ||
		    fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISREG(st.st_mode) && st.st_size == 0 && is_without_manifest(dir, stem))
			vec_push(&to->items,
			    ((struct marked_stem){ .stem = TAKE(stem), .marker = st }));
	}

	return errno == 0 ? 0 : err_sys(err, "cannot read folder '%s'", path);
}

static bool
is_unfinished_file(DIR *dir, const char *name, const struct marked_stems *stems)
{
	for (size_t i = 0; i < stems->items.count; i++) {
		if (is_of_stem(dir, name, stems->items.items[i].stem,
			&stems->items.items[i].marker))
			return true;
	}

	return false;
}

int
posix_unfinished(struct store *store, const char *folder, struct store_names *ret_names,
    struct err *err)
{
	SCOPED(freep) char *path = xasprintf("%s/%s", store->location, folder);
	SCOPED(marked_stems_done) struct marked_stems stems = { .items = { .count = 0 } };
	const struct dirent *entry;
	bool is_gone = false;
	SCOPED(posix_close_folder)
	DIR *dir = posix_open_folder(AT_FDCWD, path, path, &is_gone, err);

	*ret_names = (struct store_names){ .items = { .count = 0 } };
	if (dir == NULL)
		return is_gone ? 0 : -1;
	if (find_marked_stems(dir, path, &stems, err) < 0)
		return -1;
	if (stems.items.count == 0)
		return 0;
	rewinddir(dir);
	while ((errno = 0, entry = readdir(dir)) != NULL) {
		if (is_unfinished_file(dir, entry->d_name, &stems))
			vec_push(&ret_names->items, xstrdup(entry->d_name));
	}
	if (errno == 0)
		return 0;
	(void)err_sys(err, "cannot read folder '%s'", path);
	store_names_done(ret_names);

	return -1;
}
