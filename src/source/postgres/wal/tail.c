#include "source/postgres/wal/tail.h"

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
#include "base/mutant.h"
#include "base/parse.h"
#include "os/file.h"
#include "os/lockfile.h"

#define LOCK_NAME ".receiver.lock"

enum {
	ZEROS_BYTES = 64 * 1024,
	COMPARE_BYTES = 16 * 1024,
	SET_ASIDE_ATTEMPTS = 100,
	/* Of the long header on a segment's first page (access/xlog_internal.h). */
	HEADER_BYTES = 40,
	HEADER_SYSTEM_ID_AT = 24,
	FOLDER_CHECK_US = 1000 * 1000,
	WRITE_BACK_BYTES = 1024 * 1024,
};

static const uint8_t zeros[ZEROS_BYTES];

static int
fail(const struct wal_tail *tail, const char *action, const char *name, struct err *err)
{
	return err_sys(err, "cannot %s '%s/%s'", action, tail->options.folder, name);
}

/* As in the store; the tail's name is the segment's with ".partial". */
static void
make_name(const struct wal_tail *tail, uint32_t timeline, uint64_t segment, char *ret_name)
{
	char name[WAL_NAME_SIZE];

	(void)snprintf(ret_name, WAL_TAIL_NAME_SIZE, "%s.partial",
	    wal_name_format(timeline, segment, tail->options.segment_bytes, name));
}

/* ---- the folder --------------------------------------------------------------------------- */

int
wal_tail_init(struct wal_tail *tail, const struct wal_tail_options *options, struct err *err)
{
	SCOPED(freep) char *lock = path_join(options->folder, LOCK_NAME);
	SCOPED(closep) int folder = open(options->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	SCOPED(closep) int lock_fd = -1;

	if (folder < 0) {
		(void)err_sys(err, "cannot open the folder '%s' of the WAL", options->folder);
		return err_hint(err, "Is the store's disk mounted?");
	}
	if (lockfile_take(lock, options->run_id, &lock_fd, err) < 0) {
		if (err->kind != ERR_BUSY)
			return -1;
		(void)err_wrap(err, "WAL is received into '%s' already", options->folder);
		return err_hint(err,
		    "One receiver for each source: 'blackstart status' shows the running one.");
	}
	*tail = (struct wal_tail){
		.options = *options,
		.folder_fd = TAKE_FD(folder),
		.lock_fd = TAKE_FD(lock_fd),
		.fd = -1,
		.folder_seen = clock_mono(),
	};

	return 0;
}

void
wal_tail_close(struct wal_tail *tail)
{
	closep(&tail->fd);
	tail->fd = -1;
	tail->is_dirty = false;
	tail->unsynced_bytes = 0;
}

void
wal_tail_done(struct wal_tail *tail)
{
	wal_tail_close(tail);
	closep(&tail->folder_fd);
	closep(&tail->lock_fd);
	tail->folder_fd = -1;
	tail->lock_fd = -1;
}

static int
sync_folder(struct wal_tail *tail, struct err *err)
{
	if (!MUTANT("no-folder-fsync") && fsync(tail->folder_fd) < 0)
		return err_sys(err, "cannot sync the folder '%s'", tail->options.folder);

	return 0;
}

/*
 * Is the folder still the one that the store's path names?  Files in one that was removed, or
 * that another disk was mounted over, are written in vain.
 */
static int
check_folder(struct wal_tail *tail, struct err *err)
{
	struct stat ours, named;

	if (clock_elapsed_us(tail->folder_seen) < FOLDER_CHECK_US)
		return 0;
	if (fstat(tail->folder_fd, &ours) < 0 || stat(tail->options.folder, &named) < 0) {
		(void)err_sys(err, "the folder '%s' of the WAL is gone", tail->options.folder);
		return err_hint(err, "Is the store's disk mounted?");
	}
	if (ours.st_ino != named.st_ino || ours.st_dev != named.st_dev) {
		(void)err_set(err, ERR_NOT_FOUND, "the folder '%s' of the WAL was replaced",
		    tail->options.folder);
		return err_hint(err, "Is the right disk mounted?");
	}
	tail->folder_seen = clock_mono();

	return 0;
}

/* ---- a new one ------------------------------------------------------------------------------ */

static int
write_at(const struct wal_tail *tail, int fd, uint64_t offset, const void *data, size_t size,
    struct err *err)
{
	const uint8_t *from = data;

	while (size > 0) {
		ssize_t written = pwrite(fd, from, size, (off_t)offset);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0) {
			errno = written == 0 ? ENOSPC : errno;
			return fail(tail, "write", tail->name, err);
		}
		from += written;
		offset += (uint64_t)written;
		size -= (size_t)written;
	}

	return 0;
}

/* The server has all of this segment: it comes at once, and is synced a few times only. */
static bool
comes_whole(const struct wal_tail *tail)
{
	return tail->server_lsn / tail->options.segment_bytes > tail->segment;
}

/*
 * All of it, so that later writes change neither the file's size nor its blocks.  Where all comes
 * at once, to write every block twice would take longer than what it saves: it is only reserved.
 */
static int
fill(const struct wal_tail *tail, int fd, struct err *err)
{
	bool is_reserved = comes_whole(tail) &&
	    fallocate(fd, 0, 0, (off_t)tail->options.segment_bytes) == 0;

	for (uint64_t at = 0; !is_reserved && at < tail->options.segment_bytes; at += ZEROS_BYTES) {
		if (write_at(tail, fd, at, zeros, ZEROS_BYTES, err) < 0)
			return -1;
	}
	if (!MUTANT("no-fsync") && fsync(fd) < 0)
		return fail(tail, "sync", tail->name, err);

	return 0;
}

static int
give_name(struct wal_tail *tail, const char *temporary, struct err *err)
{
	if (renameat2(tail->folder_fd, temporary, tail->folder_fd, tail->name, RENAME_NOREPLACE) <
	    0)
		return fail(tail, "name", tail->name, err);
	if (sync_folder(tail, err) < 0) {
		/* Whether the name is on disk is not known: begin anew, it holds nothing yet. */
		(void)unlinkat(tail->folder_fd, tail->name, 0);
		return -1;
	}

	return 0;
}

/*
 * Killed anywhere in here, what stays is a temporary file that the store's sweep removes (the
 * lock on it is free then), or a whole one of zeros under its name.
 */
static int
create(struct wal_tail *tail, struct err *err)
{
	SCOPED(freep)
	char *temporary = xasprintf(".tmp-%s-%s", tail->options.run_id, tail->name);
	SCOPED(closep)
	int fd = openat(tail->folder_fd, temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
	    tail->options.mode);

	if (fd < 0)
		return fail(tail, "create", temporary, err);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 || fchmod(fd, tail->options.mode) < 0 ||
	    (tail->options.gid >= 0 && fchown(fd, (uid_t)-1, (gid_t)tail->options.gid) < 0)) {
		(void)fail(tail, "prepare", temporary, err);
		(void)unlinkat(tail->folder_fd, temporary, 0);
		return -1;
	}
	if (fill(tail, fd, err) < 0 || give_name(tail, temporary, err) < 0) {
		(void)unlinkat(tail->folder_fd, temporary, 0);
		return -1;
	}
	tail->fd = TAKE_FD(fd);
	tail->is_resumed = false;

	return 0;
}

/* ---- one that is there ------------------------------------------------------------------------ */

static int
check_header(const struct wal_tail *tail, int fd, struct err *err)
{
	uint8_t header[HEADER_BYTES];
	uint64_t found = 0;
	uint64_t ours = 0;
	struct stat info;

	if (fstat(fd, &info) < 0 || pread(fd, header, sizeof(header), 0) < 0)
		return fail(tail, "read", tail->name, err);
	if ((uint64_t)info.st_size != tail->options.segment_bytes) {
		(void)err_set(err, ERR_DATA,
		    "'%s/%s' has %lld bytes, and a segment of this server has %llu",
		    tail->options.folder, tail->name, (long long)info.st_size,
		    (unsigned long long)tail->options.segment_bytes);
		return err_hint(err, "Move the file out of the folder, then receiving goes on.");
	}
	for (int i = 7; i >= 0; i--)
		found = found << 8 | header[HEADER_SYSTEM_ID_AT + i];
	if (parse_u64(tail->options.system_id, 0, UINT64_MAX, &ours, err) < 0)
		return -1;
	if (found != 0 && found != ours) {
		(void)err_set(err, ERR_REFUSED,
		    "'%s/%s' is of another system: its identity is %llu, the server's is %s",
		    tail->options.folder, tail->name, (unsigned long long)found,
		    tail->options.system_id);
		return err_hint(err,
		    "Check host and port of the source; WAL of a second system needs a source of its own.");
	}

	return 0;
}

/* The process that made it may have died before its name was on disk. */
static int
resume(struct wal_tail *tail, int fd, struct err *err)
{
	if (check_header(tail, fd, err) < 0 || sync_folder(tail, err) < 0)
		return -1;
	if (MUTANT("truncate-partial-on-resume") &&
	    (ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)tail->options.segment_bytes) < 0))
		return fail(tail, "truncate", tail->name, err);
	tail->fd = fd;
	tail->is_resumed = true;

	return 0;
}

static int
open_or_create(struct wal_tail *tail, struct err *err)
{
	SCOPED(closep) int fd = openat(tail->folder_fd, tail->name, O_RDWR | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		return create(tail, err);
	if (fd < 0)
		return fail(tail, "open", tail->name, err);
	if (resume(tail, fd, err) < 0)
		return -1;
	(void)TAKE_FD(fd);

	return 0;
}

static int
know_inode(struct wal_tail *tail, struct err *err)
{
	struct stat info;

	if (fstat(tail->fd, &info) < 0)
		return fail(tail, "look at", tail->name, err);
	tail->inode = info.st_ino;

	return 0;
}

int
wal_tail_begin(struct wal_tail *tail, uint32_t timeline, uint64_t segment, struct err *err)
{
	if (tail->fd >= 0 && wal_tail_sync(tail, err) < 0)
		return -1;
	wal_tail_close(tail);
	make_name(tail, timeline, segment, tail->name);
	tail->timeline = timeline;
	tail->segment = segment;
	if (open_or_create(tail, err) < 0 || know_inode(tail, err) < 0) {
		wal_tail_close(tail);
		return -1;
	}

	return 0;
}

/* ---- WAL ---------------------------------------------------------------------------------------- */

/*
 * Where `there` has something else than `data`; `size` for nowhere.  Zeros give way to anything:
 * they are what was not yet received, or what a power failure took of a page that was not yet
 * synced.  Everything else came from the server and must come again.
 */
static size_t
find_conflict(const uint8_t *there, const uint8_t *data, size_t size)
{
	size_t at = 0;

	if (memcmp(there, data, size) == 0)
		return size;
	while (at < size && (there[at] == data[at] || there[at] == 0))
		at++;

	return at;
}

static int
compare(const struct wal_tail *tail, uint64_t offset, const uint8_t *data, size_t size,
    struct err *err)
{
	uint8_t there[COMPARE_BYTES];

	while (size > 0) {
		size_t piece = size < sizeof(there) ? size : sizeof(there);
		ssize_t got = pread(tail->fd, there, piece, (off_t)offset);
		size_t conflict;

		if (got <= 0) {
			errno = got == 0 ? EIO : errno;
			return fail(tail, "read", tail->name, err);
		}
		conflict = find_conflict(there, data, (size_t)got);
		if (conflict < (size_t)got)
			return err_set(err, ERR_MISMATCH,
			    "'%s/%s' differs at offset %llu from what the server sends now",
			    tail->options.folder, tail->name,
			    (unsigned long long)(offset + conflict));
		data += got;
		offset += (uint64_t)got;
		size -= (size_t)got;
	}

	return 0;
}

/*
 * Let the disk begin, without waiting, so that little is left for the sync.  What it cannot write
 * the sync tells as well.
 */
static void
write_back(struct wal_tail *tail, uint64_t end)
{
	if (tail->unsynced_bytes < WRITE_BACK_BYTES)
		return;
	(void)sync_file_range(tail->fd, (off_t)(end - tail->unsynced_bytes),
	    (off_t)tail->unsynced_bytes, SYNC_FILE_RANGE_WRITE);
	tail->unsynced_bytes = 0;
}

int
wal_tail_write(struct wal_tail *tail, uint64_t offset, const void *data, size_t size,
    struct err *err)
{
	if (tail->is_resumed && compare(tail, offset, data, size, err) < 0)
		return -1;
	tail->is_dirty = true;
	if (write_at(tail, tail->fd, offset, data, size, err) < 0)
		return -1;
	tail->unsynced_bytes += size;
	write_back(tail, offset + size);

	return 0;
}

/*
 * Does the name still stand for our file?  Its times are not asked for: a file whose times were seen
 * gets finer ones with its next write (Linux 6.13), and the sync of that has them to write as well.
 */
static bool
has_its_name(const struct wal_tail *tail)
{
	struct statx info;

	return statx(tail->folder_fd, tail->name, AT_SYMLINK_NOFOLLOW, STATX_INO, &info) == 0 &&
	    info.stx_ino == tail->inode;
}

int
wal_tail_sync(struct wal_tail *tail, struct err *err)
{
	if (tail->fd < 0 || !tail->is_dirty)
		return 0;
	if (!MUTANT("no-fsync") && fdatasync(tail->fd) < 0)
		return fail(tail, "sync", tail->name, err);
	/* A file without its name is no archive: it was removed, renamed, or replaced. */
	if (!has_its_name(tail))
		return err_set(err, ERR_NOT_FOUND, "'%s/%s' was taken away while it was written",
		    tail->options.folder, tail->name);
	if (check_folder(tail, err) < 0)
		return -1;
	tail->is_dirty = false;
	tail->unsynced_bytes = 0;

	return 0;
}

/* ---- looking back --------------------------------------------------------------------------------- */

/* Behind the last byte of `data` that is not zero. */
static size_t
last_used(const uint8_t *data, size_t size)
{
	while (size > 0 && data[size - 1] == 0)
		size--;

	return size;
}

int
wal_tail_extent(struct wal_tail *tail, uint32_t timeline, uint64_t segment, uint64_t *ret_offset,
    struct err *err)
{
	uint8_t data[COMPARE_BYTES];
	char name[WAL_TAIL_NAME_SIZE];
	uint64_t at = tail->options.segment_bytes;

	make_name(tail, timeline, segment, name);
	SCOPED(closep) int fd = openat(tail->folder_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(tail, "open", name, err);
	while (at > 0) {
		ssize_t got = pread(fd, data, sizeof(data), (off_t)(at - sizeof(data)));
		size_t used;

		if (got < 0)
			return fail(tail, "read", name, err);
		used = last_used(data, (size_t)got);
		if (used > 0) {
			*ret_offset = at - sizeof(data) + used;
			return 0;
		}
		at -= sizeof(data);
	}
	*ret_offset = 0;

	return 0;
}

int
wal_tail_set_aside(struct wal_tail *tail, uint32_t timeline, uint64_t segment, char **ret_name,
    struct err *err)
{
	char name[WAL_TAIL_NAME_SIZE];
	char stamp[CLOCK_TEXT_SIZE];

	make_name(tail, timeline, segment, name);
	(void)clock_format_compact(clock_wall(), stamp);
	wal_tail_close(tail);
	for (int attempt = 0; attempt < SET_ASIDE_ATTEMPTS; attempt++) {
		SCOPED(freep)
		char *aside = attempt == 0 ? xasprintf("%s.diverged-%s", name, stamp)
					   : xasprintf("%s.diverged-%s-%d", name, stamp, attempt);

		if (renameat2(tail->folder_fd, name, tail->folder_fd, aside, RENAME_NOREPLACE) <
		    0) {
			if (errno == EEXIST)
				continue;
			return fail(tail, "set aside", name, err);
		}
		if (sync_folder(tail, err) < 0)
			return -1;
		*ret_name = TAKE(aside);
		return 0;
	}

	return err_set(err, ERR_EXISTS, "cannot set '%s/%s' aside: too many tails are kept already",
	    tail->options.folder, name);
}
