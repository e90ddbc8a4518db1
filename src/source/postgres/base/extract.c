#include "source/postgres/base/extract.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/str.h"
#include "base/vec.h"
#include "os/file.h"
#include "source/postgres/control.h"
#include "stream/tar_push.h"

#define CONTROL_PATH "global/pg_control"

/*
 * Ask the disk to begin writing after this much of a file, so that the sync at the end finds
 * little left to do.
 */
#define WRITEBACK_BYTES (8u * 1024 * 1024)

struct space {
	char *oid;
	char *folder;
	int fd;
};

struct base_extract {
	struct base_extract_options options;
	char *data_dir;
	int data_fd;
	VEC(struct space) spaces;
	bool is_group_readable; /* the source let its group read: seen from the tar's modes */
	uint8_t control[CONTROL_FILE_BYTES];
	size_t control_size;

	/* the file at hand */
	const char *path;
	int fd; /* -1: none, or pg_control */
	bool is_control;
	uint64_t written_bytes;
	uint64_t flushed_bytes;
};

struct base_extract *
base_extract_new(const struct base_extract_options *options, struct err *err)
{
	SCOPED(base_extract_freep) struct base_extract *extract = xcalloc(1, sizeof(*extract));

	extract->options = *options;
	extract->data_dir = xstrdup(options->data_dir);
	extract->fd = -1;
	extract->data_fd = open(options->data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (extract->data_fd < 0) {
		(void)err_sys(err, "cannot open folder '%s'", options->data_dir);
		return NULL;
	}

	return TAKE(extract);
}

void
base_extract_free(struct base_extract *extract)
{
	if (extract == NULL)
		return;
	for (size_t i = 0; i < extract->spaces.count; i++) {
		(void)close(extract->spaces.items[i].fd);
		free(extract->spaces.items[i].oid);
		free(extract->spaces.items[i].folder);
	}
	vec_done(&extract->spaces);
	if (extract->fd >= 0)
		(void)close(extract->fd);
	if (extract->data_fd >= 0)
		(void)close(extract->data_fd);
	free(extract->data_dir);
	free(extract);
}

int
base_extract_add_space(struct base_extract *extract, const char *oid, const char *folder,
    struct err *err)
{
	SCOPED(closep) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct space *space;

	if (fd < 0)
		return err_sys(err, "cannot open folder '%s'", folder);
	space = vec_add(&extract->spaces);
	space->oid = xstrdup(oid);
	space->folder = xstrdup(folder);
	space->fd = TAKE_FD(fd);

	return 0;
}

/* ---- where a path goes ------------------------------------------------------------------------------ */

/* "pg_tblspc/16401/PG_15.../5/1" to the folder of 16401 and the rest; else the data directory. */
static int
place_of(const struct base_extract *extract, const char *path, int *ret_dir_fd,
    const char **ret_path, struct err *err)
{
	const char *oid = path + strlen("pg_tblspc/");

	*ret_dir_fd = extract->data_fd;
	*ret_path = path;
	if (!str_starts_with(path, "pg_tblspc/"))
		return 0;
	for (size_t i = 0; i < extract->spaces.count; i++) {
		const struct space *space = &extract->spaces.items[i];
		size_t size = strlen(space->oid);

		if (strncmp(oid, space->oid, size) == 0 && oid[size] == '/') {
			*ret_dir_fd = space->fd;
			*ret_path = oid + size + 1;
			return 0;
		}
	}

	return err_set(err, ERR_DATA,
	    "file '%s' belongs to a tablespace that the backup does not have", path);
}

static unsigned
file_mode(const struct base_extract *extract)
{
	return extract->is_group_readable ? 0640 : 0600;
}

static unsigned
folder_mode(const struct base_extract *extract)
{
	return extract->is_group_readable ? 0750 : 0700;
}

/* Owner, and the mode where the umask may have cut it. */
static int
settle(const struct base_extract *extract, int fd, unsigned mode, const char *path, struct err *err)
{
	if (extract->options.has_owner &&
	    fchown(fd, extract->options.uid, extract->options.gid) < 0)
		return err_sys(err, "cannot give '%s/%s' to its owner", extract->data_dir, path);
	if ((mode & 077) != 0 && fchmod(fd, mode) < 0)
		return err_sys(err, "cannot set the mode of '%s/%s'", extract->data_dir, path);

	return 0;
}

static int
make_folder(struct base_extract *extract, const char *path, int dir_fd, const char *rest,
    struct err *err)
{
	if (mkdirat(dir_fd, rest, folder_mode(extract)) < 0)
		return err_sys(err, "cannot make folder '%s/%s'", extract->data_dir, path);
	if (!extract->options.has_owner && !extract->is_group_readable)
		return 0;

	SCOPED(closep)
	int fd = openat(dir_fd, rest, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "cannot open folder '%s/%s'", extract->data_dir, path);

	return settle(extract, fd, folder_mode(extract), path, err);
}

static int
open_file(struct base_extract *extract, const char *path, int dir_fd, const char *rest, int flags,
    int *ret_fd, struct err *err)
{
	SCOPED(closep)
	int fd = openat(dir_fd, rest, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | flags,
	    file_mode(extract));

	if (fd < 0)
		return err_sys(err, "cannot make file '%s/%s'", extract->data_dir, path);
	if (settle(extract, fd, file_mode(extract), path, err) < 0)
		return -1;
	*ret_fd = TAKE_FD(fd);

	return 0;
}

/* ---- the observer ------------------------------------------------------------------------------------- */

static int
on_begin(void *context, const char *path, const struct tar_entry *entry, struct err *err)
{
	struct base_extract *extract = context;
	const char *rest;
	int dir_fd;

	extract->path = path;
	extract->written_bytes = 0;
	extract->flushed_bytes = 0;
	extract->is_control = false;
	extract->is_group_readable |= (entry->mode & 040) != 0;
	if (place_of(extract, path, &dir_fd, &rest, err) < 0)
		return -1;
	if (entry->type == TAR_DIRECTORY)
		return make_folder(extract, path, dir_fd, rest, err);
	if (entry->type != TAR_FILE)
		return err_set(err, ERR_DATA, "the archive has a symbolic link, '%s'", path);
	if (strcmp(path, CONTROL_PATH) != 0)
		return open_file(extract, path, dir_fd, rest, O_EXCL, &extract->fd, err);
	if (entry->size_bytes != CONTROL_FILE_BYTES || extract->control_size > 0)
		return err_set(err, ERR_DATA, "'%s' has %llu bytes, not %d", path,
		    (unsigned long long)entry->size_bytes, CONTROL_FILE_BYTES);
	extract->is_control = true;

	return 0;
}

static int
on_data(void *context, const void *data, size_t size, struct err *err)
{
	struct base_extract *extract = context;

	if (extract->is_control) {
		if (size > sizeof(extract->control) - extract->control_size)
			return err_set(err, ERR_DATA, "'%s' is too long", extract->path);
		memcpy(extract->control + extract->control_size, data, size);
		extract->control_size += size;
		return 0;
	}
	if (fd_write_all(extract->fd, data, size, extract->path, err) < 0)
		return -1;
	extract->written_bytes += size;
	if (extract->written_bytes - extract->flushed_bytes >= WRITEBACK_BYTES) {
		/* A hint only: what it fails to do, the sync at the end does. */
		(void)sync_file_range(extract->fd, (off_t)extract->flushed_bytes,
		    (off_t)(extract->written_bytes - extract->flushed_bytes),
		    SYNC_FILE_RANGE_WRITE);
		extract->flushed_bytes = extract->written_bytes;
	}
	progress_add(extract->options.progress, size);

	return 0;
}

static int
on_end(void *context, struct err *err)
{
	struct base_extract *extract = context;
	int fd;

	if (extract->is_control)
		return 0;
	fd = TAKE_FD(extract->fd);
	if (close(fd) < 0)
		return err_sys(err, "cannot write '%s/%s'", extract->data_dir, extract->path);

	return 0;
}

struct base_observer
base_extract_observer(struct base_extract *extract)
{
	return (struct base_observer){
		.begin = on_begin,
		.data = on_data,
		.end = on_end,
		.context = extract,
	};
}

/* ---- our own files ---------------------------------------------------------------------------------- */

int
base_extract_create(struct base_extract *extract, const char *name, int *ret_fd, struct err *err)
{
	return open_file(extract, name, extract->data_fd, name, O_TRUNC, ret_fd, err);
}

int
base_extract_write(struct base_extract *extract, const char *name, const void *data, size_t size,
    struct err *err)
{
	SCOPED(closep) int fd = -1;

	if (base_extract_create(extract, name, &fd, err) < 0)
		return -1;

	return fd_write_all(fd, data, size, name, err);
}

int
base_extract_remove(struct base_extract *extract, const char *name, struct err *err)
{
	if (unlinkat(extract->data_fd, name, 0) < 0 && errno != ENOENT)
		return err_sys(err, "cannot remove '%s/%s'", extract->data_dir, name);

	return 0;
}

/*
 * One "OID path" a line, with a backslash before backslashes and line breaks in the path
 * (PostgreSQL, access/xlogrecovery.c).
 */
int
base_extract_write_map(struct base_extract *extract, struct err *err)
{
	SCOPED(str_done) struct str map = STR_INIT;

	if (extract->spaces.count == 0)
		return 0;
	for (size_t i = 0; i < extract->spaces.count; i++) {
		const struct space *space = &extract->spaces.items[i];

		str_addf(&map, "%s ", space->oid);
		for (const char *c = space->folder; *c != '\0'; c++) {
			if (*c == '\\' || *c == '\n' || *c == '\r')
				str_add_char(&map, '\\');
			str_add_char(&map, *c);
		}
		str_add_char(&map, '\n');
	}
	if (str_is_full(&map))
		return err_set(err, ERR_LIMIT, "the paths of the tablespaces are too long");

	return base_extract_write(extract, "tablespace_map", str_text(&map), map.size, err);
}

const void *
base_extract_control(const struct base_extract *extract, size_t *ret_size)
{
	*ret_size = extract->control_size;

	return extract->control_size > 0 ? extract->control : NULL;
}

/* ---- the end -------------------------------------------------------------------------------------- */

static int
sync_all(const struct base_extract *extract, struct err *err)
{
	if (syncfs(extract->data_fd) < 0)
		return err_sys(err, "cannot make '%s' durable", extract->data_dir);
	/* Most often the same file system again: then there is nothing left to write. */
	for (size_t i = 0; i < extract->spaces.count; i++) {
		if (syncfs(extract->spaces.items[i].fd) < 0)
			return err_sys(err, "cannot make tablespace %s durable",
			    extract->spaces.items[i].oid);
	}

	return 0;
}

static int
write_control(struct base_extract *extract, bool is_durable, struct err *err)
{
	SCOPED(closep) int fd = -1;
	SCOPED(freep) char *global = path_join(extract->data_dir, "global");

	if (open_file(extract, CONTROL_PATH, extract->data_fd, CONTROL_PATH, O_EXCL, &fd, err) <
		0 ||
	    fd_write_all(fd, extract->control, extract->control_size, CONTROL_PATH, err) < 0)
		return -1;
	if (!is_durable)
		return 0;
	if (fsync(fd) < 0)
		return err_sys(err, "cannot make '%s/" CONTROL_PATH "' durable", extract->data_dir);
	if (dir_sync(global, err) < 0)
		return -1;

	return dir_sync(extract->data_dir, err);
}

int
base_extract_finish(struct base_extract *extract, bool is_durable, struct err *err)
{
	if (extract->control_size != CONTROL_FILE_BYTES)
		return err_set(err, ERR_DATA, "the backup has no '" CONTROL_PATH "'");
	if (extract->is_group_readable && fchmod(extract->data_fd, folder_mode(extract)) < 0)
		return err_sys(err, "cannot set the mode of '%s'", extract->data_dir);
	if (is_durable && sync_all(extract, err) < 0)
		return -1;

	return write_control(extract, is_durable, err);
}
