#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "os/file.h"

/* Each level of a removal holds a descriptor open. */
enum { REMOVE_MAX_DEPTH = 128 };

static void
closedirp(DIR **dir)
{
	if (*dir != NULL)
		(void)closedir(*dir);
}

static bool
is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

bool
dir_exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int
dir_sync(const char *path, struct err *err)
{
	SCOPED(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "cannot open folder '%s'", path);
	/* Some network file systems have no fsync for folders; their renames are synchronous. */
	if (fsync(fd) < 0 && errno != EINVAL && errno != EBADF)
		return err_sys(err, "cannot make folder '%s' durable", path);

	return 0;
}

/* Make the one folder `path`, whose parent exists, and make its entry in the parent durable. */
static int
make_one(const char *path, mode_t mode, struct err *err)
{
	SCOPED(freep) char *parent = path_join(path, "..");

	if (mkdir(path, mode) < 0) {
		int sys = errno;

		if (sys == EEXIST && dir_exists(path))
			return 0;
		if (sys == EEXIST)
			return err_set(err, ERR_EXISTS, "'%s' is not a folder", path);
		errno = sys;
		return err_sys(err, "cannot make folder '%s'", path);
	}
	/* mkdir takes the umask away; the caller's mode is meant. */
	if (chmod(path, mode) < 0)
		return err_sys(err, "cannot set the mode of folder '%s'", path);

	return dir_sync(parent, err);
}

int
dir_make_all(const char *path, mode_t mode, struct err *err)
{
	SCOPED(freep) char *prefix = xstrdup(path);

	for (char *slash = strchr(prefix + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (!dir_exists(prefix) && make_one(prefix, mode, err) < 0)
			return -1;
		*slash = '/';
	}

	return dir_exists(path) ? 0 : make_one(path, mode, err);
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void
dir_listing_done(struct dir_listing *listing)
{
	for (size_t i = 0; i < listing->count; i++)
		free(listing->names[i]);
	free(listing->names);
	*listing = (struct dir_listing){ .count = 0 };
}

/* Read the names of an open folder into `to`, which the caller frees in any case. */
static int
list_into(DIR *dir, const char *path, size_t max_count, struct dir_listing *to, struct err *err)
{
	VEC(char *) names = { .count = 0 };
	struct dirent *entry;

	while ((errno = 0, entry = readdir(dir)) != NULL && names.count <= max_count) {
		if (!is_dot(entry->d_name))
			vec_push(&names, xstrdup(entry->d_name));
	}
	to->names = names.items;
	to->count = names.count;
	if (names.count > max_count)
		return err_set(err, ERR_LIMIT, "folder '%s' holds more than %zu entries", path,
		    max_count);
	if (errno != 0)
		return err_sys(err, "cannot read folder '%s'", path);

	return 0;
}

int
dir_list(const char *path, size_t max_count, struct dir_listing *ret_listing, struct err *err)
{
	SCOPED(closedirp) DIR *dir = opendir(path);
	struct dir_listing listing = { .count = 0 };

	if (dir == NULL)
		return err_sys(err, "cannot open folder '%s'", path);
	if (list_into(dir, path, max_count, &listing, err) < 0) {
		dir_listing_done(&listing);
		return -1;
	}

	if (listing.count > 0)
		qsort(listing.names, listing.count, sizeof(*listing.names), compare_names);
	*ret_listing = listing;

	return 0;
}

bool
dir_is_empty(const char *path)
{
	SCOPED(closedirp) DIR *dir = opendir(path);
	struct dirent *entry = NULL;

	if (dir == NULL)
		return false;
	do
		entry = readdir(dir);
	while (entry != NULL && is_dot(entry->d_name));

	return entry == NULL;
}

static int remove_below(int fd, const char *path, unsigned depth, struct err *err);

/* Remove the entry `name` of the folder `at`: unlink it, or empty it first when it is a folder. */
static int
remove_entry(int at, const char *name, const char *path, unsigned depth, struct err *err)
{
	struct stat st;

	if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0
				       : err_sys(err, "cannot look at '%s' in '%s'", name, path);
	if (S_ISDIR(st.st_mode)) {
		/* O_NOFOLLOW: a symbolic link that took its place just now is refused, not entered. */
		int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (fd < 0)
			return err_sys(err, "cannot open folder '%s' in '%s'", name, path);
		if (remove_below(fd, path, depth + 1, err) < 0)
			return -1;
	}
	if (unlinkat(at, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) < 0 && errno != ENOENT)
		return err_sys(err, "cannot remove '%s' in '%s'", name, path);

	return 0;
}

/* Remove everything in the folder `fd`, which is taken over. */
static int
remove_below(int fd, const char *path, unsigned depth, struct err *err)
{
	SCOPED(closedirp) DIR *dir = fdopendir(fd);
	struct dirent *entry;
	size_t found;

	if (dir == NULL) {
		(void)close(fd);
		return err_sys(err, "cannot read a folder in '%s'", path);
	}
	if (depth > REMOVE_MAX_DEPTH)
		return err_set(err, ERR_LIMIT, "the folders in '%s' are nested too deeply", path);

	/* Removing while reading may skip entries on some file systems: go on until none is seen. */
	do {
		found = 0;
		rewinddir(dir);
		while ((entry = readdir(dir)) != NULL) {
			if (is_dot(entry->d_name))
				continue;
			found++;
			if (remove_entry(dirfd(dir), entry->d_name, path, depth, err) < 0)
				return -1;
		}
	} while (found > 0);

	return 0;
}

int
dir_remove_all(const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, "cannot open folder '%s'", path);
	if (remove_below(fd, path, 0, err) < 0)
		return -1;
	if (rmdir(path) < 0 && errno != ENOENT)
		return err_sys(err, "cannot remove folder '%s'", path);

	return 0;
}

bool
dir_is_mount_point(const char *path)
{
	SCOPED(freep) char *parent = path_join(path, "..");
	struct statx here;
	struct statx above;

	if (statx(AT_FDCWD, path, 0, STATX_BASIC_STATS, &here) < 0)
		return false;
	/* The kernel (5.8 and later) also knows bind mounts within one device. */
	if ((here.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0)
		return (here.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
	if (statx(AT_FDCWD, parent, 0, STATX_BASIC_STATS, &above) < 0)
		return false;

	return here.stx_dev_major != above.stx_dev_major ||
	    here.stx_dev_minor != above.stx_dev_minor || here.stx_ino == above.stx_ino;
}

bool
dir_is_same_device(const char *one, const char *other)
{
	struct stat a;
	struct stat b;

	return stat(one, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev;
}

int
disk_space_of(const char *path, struct disk_space *ret_space, struct err *err)
{
	struct statvfs fs;

	if (statvfs(path, &fs) < 0)
		return err_sys(err, "cannot ask for the free space at '%s'", path);

	*ret_space = (struct disk_space){
		.capacity_bytes = (uint64_t)fs.f_blocks * fs.f_frsize,
		.available_bytes = (uint64_t)fs.f_bavail * fs.f_frsize,
		.used_bytes = (uint64_t)(fs.f_blocks - fs.f_bfree) * fs.f_frsize,
	};

	return 0;
}
