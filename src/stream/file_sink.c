#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/file.h"
#include "stream/links.h"
#include "stream/sink.h"

enum {
	BUFFER_BYTES = 256 * 1024,
	/* So much is given to the disk at once while more comes, so that little is left for fsync. */
	WRITE_BACK_BYTES = 512 * 1024,
	/* In steps of this size it is waited for, and goes from the cache. */
	STEP_BYTES = 8 * 1024 * 1024,
	CREATE_ATTEMPTS = 3,
};

struct file_sink {
	struct sink base;
	char *folder;
	char *name;
	char *temporary; /* its name in the folder */
	int folder_fd;
	int fd;
	bool is_named; /* the temporary name stands in the folder */
	uint8_t *buffer;
	size_t buffered;
	uint64_t written;
	uint64_t written_back; /* write-back was started up to here */
	uint64_t stepped;      /* the steps end here, of which the last was not waited for */
};

static int
fail(const struct file_sink *file, const char *action, struct err *err)
{
	return err_sys(err, "cannot %s '%s/%s'", action, file->folder, file->name);
}

/* ---- writing ---- */

/* An error the kernel tells here it will not tell fsync again, so it is as final. */
static int
sync_range(struct file_sink *file, uint64_t begin, uint64_t end, unsigned flags, struct err *err)
{
	if (sync_file_range(file->fd, (off_t)begin, (off_t)(end - begin), flags) < 0 &&
	    (errno == EIO || errno == ENOSPC || errno == EDQUOT))
		return fail(file, "write", err);

	return 0;
}

/*
 * A step is written: wait for the one before it, and drop that from the cache.  The plant's own
 * data stays there, and dirty memory is bounded by two steps.
 */
static int
step(struct file_sink *file, struct err *err)
{
	const unsigned whole = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
	    SYNC_FILE_RANGE_WAIT_AFTER;
	uint64_t end = file->stepped;
	uint64_t begin = end > STEP_BYTES ? end - STEP_BYTES : 0;

	file->stepped = file->written;
	if (begin == end)
		return 0;
	if (sync_range(file, begin, end, whole, err) < 0)
		return -1;
	(void)posix_fadvise(file->fd, (off_t)begin, (off_t)(end - begin), POSIX_FADV_DONTNEED);

	return 0;
}

static int
write_out(struct file_sink *file, const void *data, size_t size, struct err *err)
{
	uint64_t from = file->written_back;

	if (fd_write_all(file->fd, data, size, file->name, err) < 0)
		return err_wrap(err, "folder '%s'", file->folder);
	file->written += size;
	if (file->written - from < WRITE_BACK_BYTES)
		return 0;
	file->written_back = file->written;
	if (sync_range(file, from, file->written, SYNC_FILE_RANGE_WRITE, err) < 0)
		return -1;

	return file->written - file->stepped >= STEP_BYTES ? step(file, err) : 0;
}

static int
flush(struct file_sink *file, struct err *err)
{
	size_t size = file->buffered;

	file->buffered = 0;

	return size > 0 ? write_out(file, file->buffer, size, err) : 0;
}

static int
file_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	struct file_sink *file = (struct file_sink *)sink;
	const uint8_t *at = data;

	while (size > 0) {
		size_t piece = BUFFER_BYTES - file->buffered;

		if (file->buffered == 0 && size >= BUFFER_BYTES)
			return write_out(file, at, size, err);
		if (piece > size)
			piece = size;
		memcpy(file->buffer + file->buffered, at, piece);
		file->buffered += piece;
		if (file->buffered == BUFFER_BYTES && flush(file, err) < 0)
			return -1;
		at += piece;
		size -= piece;
	}

	return 0;
}

/* ---- commit ---- */

static int
fail_exists(const struct file_sink *file, struct err *err)
{
	return err_set(err, ERR_EXISTS, "'%s/%s' exists already", file->folder, file->name);
}

/*
 * For file systems without a rename that never replaces (NFS).  A crash between the two calls
 * leaves the whole file under both names; the temporary one is swept.
 */
static int
rename_by_link(struct file_sink *file, struct err *err)
{
	if (linkat(file->folder_fd, file->temporary, file->folder_fd, file->name, 0) < 0)
		return errno == EEXIST ? fail_exists(file, err)
				       : fail(file, "give its name to", err);
	(void)unlinkat(file->folder_fd, file->temporary, 0);

	return 0;
}

static int
rename_new(struct file_sink *file, struct err *err)
{
	if (renameat2(file->folder_fd, file->temporary, file->folder_fd, file->name,
		RENAME_NOREPLACE) == 0)
		return 0;
	if (errno == EEXIST)
		return fail_exists(file, err);
	if (errno == EINVAL || errno == ENOSYS)
		return rename_by_link(file, err);

	return fail(file, "give its name to", err);
}

/*
 * What step() has left of a large file.  A small one may stay: the kernel asks every
 * processor for the pages that it still holds back, which can take longer than writing did.
 */
static void
drop_rest(const struct file_sink *file)
{
	if (file->stepped > 0)
		(void)posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED);
}

/*
 * Dying before the rename leaves a temporary file that a sweep removes, dying after it the whole
 * file: its bytes and its size are on disk before it gets its name.  Only after the fsync of the
 * folder is the name there to stay, so only then we say so.
 */
static int
file_finish(struct sink *sink, struct err *err)
{
	struct file_sink *file = (struct file_sink *)sink;

	if (flush(file, err) < 0)
		return -1;
	if (fsync(file->fd) < 0)
		return fail(file, "make durable", err);
	drop_rest(file);
	if (rename_new(file, err) < 0)
		return -1;
	file->is_named = false;
	if (fsync(file->folder_fd) < 0 && errno != EINVAL && errno != EBADF) {
		(void)fail(file, "make the name durable of", err);
		(void)unlinkat(file->folder_fd, file->name, 0);
		return -1;
	}

	return 0;
}

static void
file_free(struct sink *sink)
{
	struct file_sink *file = (struct file_sink *)sink;

	/* Unlinked before the lock goes with the descriptor: nobody else finds it unlocked. */
	if (file->is_named)
		(void)unlinkat(file->folder_fd, file->temporary, 0);
	closep(&file->fd);
	closep(&file->folder_fd);
	free(file->buffer);
	free(file->temporary);
	free(file->name);
	free(file->folder);
	free(file);
}

static const struct sink_ops file_ops = {
	.name = "file",
	.write = file_write,
	.finish = file_finish,
	.free = file_free,
};

/* ---- creation ---- */

/*
 * Create and lock the temporary file.  Between the two a sweep may find it unlocked and remove
 * it; then the lock is on a file without a name, which is seen here.
 */
static int
create_once(struct file_sink *file, bool *ret_is_swept, struct err *err)
{
	struct stat st;

	file->fd = openat(file->folder_fd, file->temporary,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (file->fd < 0)
		return fail(file, "create a temporary file for", err);
	file->is_named = true;
	if (flock(file->fd, LOCK_EX) < 0 || fstat(file->fd, &st) < 0)
		return fail(file, "lock the temporary file for", err);
	*ret_is_swept = st.st_nlink == 0;

	return 0;
}

static int
create(struct file_sink *file, struct err *err)
{
	bool is_swept = true;

	for (int attempt = 0; attempt < CREATE_ATTEMPTS && is_swept; attempt++) {
		closep(&file->fd);
		file->is_named = false;
		if (create_once(file, &is_swept, err) < 0)
			return -1;
	}
	if (is_swept)
		return err_set(err, ERR_IO, "cannot keep a temporary file in '%s'", file->folder);

	return 0;
}

static int
set_owner(const struct file_sink *file, const struct file_sink_options *options, struct err *err)
{
	if (options->gid >= 0 && fchown(file->fd, (uid_t)-1, (gid_t)options->gid) < 0)
		return fail(file, "set the group of", err);
	if (fchmod(file->fd, (mode_t)options->mode) < 0)
		return fail(file, "set the mode of", err);

	return 0;
}

struct sink *
file_sink_new(const struct file_sink_options *options, struct err *err)
{
	struct file_sink *file = xcalloc(1, sizeof(*file));
	SCOPED(sink_freep) struct sink *sink = &file->base;

	file->base.ops = &file_ops;
	file->folder = xstrdup(options->folder);
	file->name = xstrdup(options->name);
	file->temporary = xasprintf(".tmp-%s-%s", options->run_id, options->name);
	file->buffer = xmalloc(BUFFER_BYTES);
	file->fd = -1;
	file->folder_fd = open(options->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (file->folder_fd < 0) {
		(void)err_sys(err, "cannot open folder '%s'", options->folder);
		return NULL;
	}
	if (create(file, err) < 0 || set_owner(file, options, err) < 0)
		return NULL;

	return TAKE(sink);
}
