#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"
#include "repo/names.h"
#include "repo/store_info.h"
#include "store/posix_internal.h"
#include "stream/blob.h"
#include "stream/links.h"
#include "stream/sink.h"

/* A folder may vanish between its making and its use, when a removal has just emptied it. */
enum { PUT_ATTEMPTS = 3 };

static char *
path_of(const struct store *store, const char *name)
{
	return path_join(store->location, name);
}

/* ---- put ---- */

int
posix_make_folder(const struct posix_store *store, const char *path, struct err *err)
{
	if (dir_make_all(path, store->folder_mode, err) < 0)
		return -1;
	if (store->gid >= 0 && chown(path, (uid_t)-1, (gid_t)store->gid) < 0)
		return err_sys(err, "cannot set the group of folder '%s'", path);

	return 0;
}

/*
 * A symbolic link is refused: a listing does not follow it, so what is written behind it would
 * never be found again.
 */
static int
check_folder(const char *path, const struct stat *st, struct err *err)
{
	if (S_ISDIR(st->st_mode))
		return 0;
	if (!S_ISLNK(st->st_mode))
		return err_set(err, ERR_REFUSED, "'%s' is not a folder", path);
	(void)err_set(err, ERR_REFUSED, "folder '%s' is a symbolic link", path);

	return err_hint(err, "Mount the other file system there, or bind-mount its folder.");
}

/*
 * A folder is made only in a store that is there: when its disk is gone, what lies below the mount
 * point is no place for anything.
 */
static int
check_present(const struct posix_store *store, struct err *err)
{
	SCOPED(freep) char *info = path_of(&store->base, STORE_INFO_NAME);

	if (store->base.id == NULL || store->base.is_bare || file_exists(info))
		return 0;
	(void)err_set(err, ERR_NOT_FOUND, "the store '%s' is gone", store->base.location);

	return err_hint(err, "Is its disk mounted?");
}

/* Make the folders of an object's name, each durable before the next. */
static int
make_folders(const struct posix_store *store, const char *folder, struct err *err)
{
	const char *at = folder;

	while (*at != '\0') {
		size_t size = (size_t)(strchrnul(at, '/') - folder);
		SCOPED(freep) char *name = xstrndup(folder, size);
		SCOPED(freep) char *path = path_of(&store->base, name);
		struct stat st;

		if (lstat(path, &st) == 0) {
			if (check_folder(path, &st, err) < 0)
				return -1;
		} else if (errno != ENOENT) {
			return err_sys(err, "cannot look at folder '%s'", path);
		} else if (check_present(store, err) < 0 ||
		    posix_make_folder(store, path, err) < 0) {
			return -1;
		}
		at = folder + size;
		at += *at == '/';
	}

	return 0;
}

static int
posix_make_folders(struct store *store, const char *folder, struct err *err)
{
	return make_folders((const struct posix_store *)store, folder, err);
}

static struct sink *
put_once(const struct posix_store *store, const char *name, const char *run_id, struct err *err)
{
	SCOPED(freep) char *folder = name_folder(name);
	SCOPED(freep) char *path = path_of(&store->base, folder);
	const struct file_sink_options options = {
		.folder = path,
		.name = name_base(name),
		.run_id = run_id,
		.mode = store->file_mode,
		.gid = store->gid,
	};

	if (make_folders(store, folder, err) < 0)
		return NULL;

	return file_sink_new(&options, err);
}

static struct sink *
posix_put(struct store *base, const char *name, const char *run_id, struct err *err)
{
	const struct posix_store *store = (const struct posix_store *)base;
	SCOPED(freep) char *path = path_of(base, name);
	struct sink *sink = NULL;
	struct stat st;

	/* The rename would refuse it too, but only after all the work. */
	if (lstat(path, &st) == 0) {
		(void)err_set(err, ERR_EXISTS, "'%s' exists already", path);
		return NULL;
	}
	for (int attempt = 0; attempt < PUT_ATTEMPTS && sink == NULL; attempt++) {
		sink = put_once(store, name, run_id, err);
		if (sink == NULL && err->kind != ERR_NOT_FOUND)
			return NULL;
	}

	return sink;
}

/* ---- get, stat ---- */

static int
look_at(const struct store *store, const char *name, struct stat *ret_st, struct err *err)
{
	SCOPED(freep) char *path = path_of(store, name);

	if (lstat(path, ret_st) < 0)
		return errno == ENOENT || errno == ENOTDIR
		    ? err_set(err, ERR_NOT_FOUND, "'%s' is not in store '%s'", name,
			  store->location)
		    : err_sys(err, "cannot look at '%s'", path);
	if (!S_ISREG(ret_st->st_mode))
		return err_set(err, ERR_NOT_FOUND, "'%s' in store '%s' is not a file", name,
		    store->location);

	return 0;
}

static struct blob *
posix_get(struct store *store, const char *name, struct err *err)
{
	SCOPED(freep) char *path = path_of(store, name);
	struct stat st;

	return look_at(store, name, &st, err) == 0 ? blob_open_file(path, name, err) : NULL;
}

static void
fill_object(struct store_object *object, const char *name, const struct stat *st)
{
	object->name = xstrdup(name);
	object->bytes = (uint64_t)st->st_size;
	object->modified.us = st->st_mtim.tv_sec * US_PER_S + st->st_mtim.tv_nsec / 1000;
}

static int
posix_stat(struct store *store, const char *name, struct store_object *ret_object, struct err *err)
{
	struct stat st;

	if (look_at(store, name, &st, err) < 0)
		return -1;
	fill_object(ret_object, name, &st);

	return 0;
}

/* ---- list ---- */

void
posix_close_folder(DIR **dir)
{
	if (*dir != NULL)
		(void)closedir(*dir);
}

DIR *
posix_open_folder(int at, const char *name, const char *path, bool *ret_is_gone, struct err *err)
{
	SCOPED(closep) int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

	*ret_is_gone = dir == NULL && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP);
	if (dir != NULL)
		fd = -1; /* the stream owns it now */
	else if (!*ret_is_gone)
		(void)err_sys(err, "cannot read folder '%s'", path);

	return dir;
}

unsigned char
posix_entry_type(int at, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type;
	if (fstatat(at, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return DT_UNKNOWN;

	return S_ISREG(st.st_mode) ? DT_REG : S_ISDIR(st.st_mode) ? DT_DIR : DT_UNKNOWN;
}

bool
posix_is_foreign(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "lost+found") == 0;
}

/* Add what is in the open folder `prefix` ("" or with its '/' at the end). */
static int list_folder(DIR *dir, const char *prefix, unsigned depth, struct store_listing *to,
    struct err *err);

static int
list_entry(DIR *dir, const struct dirent *entry, const char *prefix, unsigned depth,
    struct store_listing *to, struct err *err)
{
	unsigned char type = posix_entry_type(dirfd(dir), entry);
	SCOPED(freep) char *name = xasprintf("%s%s", prefix, entry->d_name);
	SCOPED(freep) char *below = xasprintf("%s/", name);
	SCOPED(posix_close_folder) DIR *sub = NULL;
	bool is_gone = false;
	struct stat st;

	if (type == DT_DIR) {
		sub = posix_open_folder(dirfd(dir), entry->d_name, name, &is_gone, err);
		if (sub == NULL)
			return is_gone ? 0 : -1;
		return list_folder(sub, below, depth + 1, to, err);
	}
	/* It may have gone since readdir saw it. */
	if (type == DT_REG && fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		fill_object(vec_add(&to->objects), name, &st);

	return 0;
}

static int
list_folder(DIR *dir, const char *prefix, unsigned depth, struct store_listing *to, struct err *err)
{
	const struct dirent *entry;

	if (depth > POSIX_MAX_DEPTH)
		return err_set(err, ERR_LIMIT, "folders are nested too deeply at '%s'", prefix);
	while ((errno = 0, entry = readdir(dir)) != NULL) {
		if (posix_is_foreign(entry->d_name) || str_starts_with(entry->d_name, ".tmp-"))
			continue;
		if (list_entry(dir, entry, prefix, depth, to, err) < 0)
			return -1;
	}

	return errno == 0 ? 0 : err_sys(err, "cannot read folder '%s'", prefix);
}

static int
compare_objects(const void *a, const void *b)
{
	return strcmp(((const struct store_object *)a)->name,
	    ((const struct store_object *)b)->name);
}

static int
posix_list(struct store *store, const char *prefix, struct store_listing *ret_listing,
    struct err *err)
{
	struct store_listing listing = { .objects = { .count = 0 } };
	/* Through ".", because the root itself may be a symbolic link. */
	SCOPED(freep) char *path = path_of(store, prefix[0] != '\0' ? prefix : ".");
	SCOPED(freep) char *below = xasprintf("%s%s", prefix, prefix[0] != '\0' ? "/" : "");
	SCOPED(posix_close_folder) DIR *dir = NULL;
	bool is_gone = false;

	dir = posix_open_folder(AT_FDCWD, path, path, &is_gone, err);
	if (dir == NULL && !is_gone)
		return -1;
	if (dir != NULL && list_folder(dir, below, 0, &listing, err) < 0) {
		store_listing_done(&listing);
		return -1;
	}

	if (listing.objects.count > 0)
		qsort(listing.objects.items, listing.objects.count, sizeof(*listing.objects.items),
		    compare_objects);
	*ret_listing = listing;

	return 0;
}

/* 0: go on, 1: the visitor has seen enough, -1: failed. */
static int
scan_entry(DIR *dir, const struct dirent *entry, struct store_visitor *visitor, struct err *err)
{
	unsigned char type = posix_entry_type(dirfd(dir), entry);
	const struct store_entry seen = { .name = entry->d_name, .is_folder = type == DT_DIR };

	if ((type != DT_DIR && type != DT_REG) || posix_is_foreign(entry->d_name) ||
	    str_starts_with(entry->d_name, ".tmp-"))
		return 0;

	return visitor->visit(visitor, &seen, err);
}

static int
posix_scan(struct store *store, const char *folder, struct store_visitor *visitor, struct err *err)
{
	/* Through ".", because the root itself may be a symbolic link. */
	SCOPED(freep) char *path = path_of(store, folder[0] != '\0' ? folder : ".");
	SCOPED(posix_close_folder) DIR *dir = NULL;
	const struct dirent *entry;
	bool is_gone = false;
	int got = 0;

	dir = posix_open_folder(AT_FDCWD, path, path, &is_gone, err);
	if (dir == NULL)
		return is_gone ? 0 : -1;
	while (got == 0 && (errno = 0, entry = readdir(dir)) != NULL)
		got = scan_entry(dir, entry, visitor, err);
	if (got != 0)
		return got < 0 ? -1 : 0;

	return errno == 0 ? 0 : err_sys(err, "cannot read folder '%s'", path);
}

/* ---- remove ---- */

/* Remove the folders that the removal of an object has left empty, innermost first. */
static int
remove_empty_folders(const struct store *store, const char *name, struct err *err)
{
	SCOPED(freep) char *folder = name_folder(name);

	while (folder[0] != '\0') {
		SCOPED(freep) char *path = path_of(store, folder);
		SCOPED(freep) char *parent = name_folder(folder);
		SCOPED(freep) char *parent_path = path_of(store, parent);

		if (rmdir(path) < 0 && errno != ENOENT)
			return 0; /* not empty, or somebody else's to judge */
		if (dir_exists(parent_path) && dir_sync(parent_path, err) < 0)
			return -1;
		memcpy(folder, parent, strlen(parent) + 1);
	}

	return 0;
}

static int
posix_remove(struct store *store, const char *name, struct err *err)
{
	SCOPED(freep) char *path = path_of(store, name);
	SCOPED(freep) char *folder = name_folder(name);
	SCOPED(freep) char *folder_path = path_of(store, folder);

	if (unlink(path) < 0 && errno != ENOENT && errno != ENOTDIR)
		return err_sys(err, "cannot remove '%s'", path);
	/* Durable before the next removal: the order in which a backup goes has a meaning. */
	if (dir_exists(folder_path) && dir_sync(folder_path, err) < 0)
		return -1;

	return remove_empty_folders(store, name, err);
}

/* ---- the rest ---- */

static int
posix_space(struct store *store, struct store_space *ret_space, struct err *err)
{
	struct disk_space space;

	if (disk_space_of(store->location, &space, err) < 0)
		return -1;
	*ret_space = (struct store_space){
		.used_bytes = space.used_bytes,
		.capacity_bytes = space.capacity_bytes,
		.available_bytes = space.available_bytes,
	};

	return 0;
}

static char *
posix_local_path(struct store *store, const char *name)
{
	return path_of(store, name);
}

static void
posix_free(struct store *store)
{
	free(store);
}

const struct store_ops posix_ops = {
	.kind = "posix",
	.put = posix_put,
	.get = posix_get,
	.list = posix_list,
	.scan = posix_scan,
	.make_folder = posix_make_folders,
	.stat = posix_stat,
	.remove = posix_remove,
	.space = posix_space,
	.local_path = posix_local_path,
	.sweep = posix_sweep,
	.unfinished = posix_unfinished,
	.free = posix_free,
};
