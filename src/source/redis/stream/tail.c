#include "source/redis/stream/tail.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "os/file.h"
#include "source/archive.h"

enum {
	BUFFER_MAX_BYTES = 512 * 1024,
	FLUSH_BYTES = 256 * 1024,
	READ_BYTES = 128 * 1024,
	/* Finer than anybody asks for, and next to nothing of what a busy server sends. */
	MARK_EVERY_US = 20 * 1000,
	SKEW_STEP_US = 1000, /* of a clock that drifts, what is worth a line */
};

void
tail_init(struct tail *tail, struct archive *archive)
{
	*tail = (struct tail){
		.archive = archive,
		.fd = -1,
		.buffer = STR_INIT_MAX(BUFFER_MAX_BYTES),
	};
}

void
tail_done(struct tail *tail)
{
	closep(&tail->fd);
	tail->fd = -1;
	str_done(&tail->buffer);
	piece_reader_done(&tail->reader);
}

bool
tail_is_open(const struct tail *tail)
{
	return tail->fd >= 0;
}

static int
fail(const struct tail *tail, const char *action, struct err *err)
{
	return err_sys(err, "cannot %s '%s/%s'", action, tail->archive->path, tail->name);
}

static int
flush(struct tail *tail, struct err *err)
{
	if (tail->buffer.size == 0)
		return 0;
	if (fd_write_all(tail->fd, tail->buffer.data, tail->buffer.size, tail->name, err) < 0)
		return err_wrap(err, "folder '%s'", tail->archive->path);
	str_cut(&tail->buffer, 0);
	tail->is_dirty = true;

	return 0;
}

/* A file without its name is no archive: it was removed, or another disk was mounted over it. */
static int
check_name(struct tail *tail, struct err *err)
{
	SCOPED(freep) char *path = path_join(tail->archive->path, tail->name);
	struct stat ours, named;

	if (fstat(tail->fd, &ours) < 0)
		return fail(tail, "look at", err);
	if (stat(path, &named) == 0 && named.st_ino == ours.st_ino && named.st_dev == ours.st_dev)
		return 0;
	closep(&tail->fd);
	tail->fd = -1;
	(void)err_set(err, ERR_NOT_FOUND, "'%s' was taken away while it was written", path);

	return err_hint(err, "Is the right disk mounted?");
}

int
tail_sync(struct tail *tail, struct err *err)
{
	if (tail->fd < 0 || flush(tail, err) < 0)
		return tail->fd < 0 ? 0 : -1;
	if (tail->is_dirty && fdatasync(tail->fd) < 0) {
		/* Final for this file: what the kernel dropped it will not write again. */
		(void)fail(tail, "make durable", err);
		closep(&tail->fd);
		tail->fd = -1;
		return -1;
	}
	if (tail->is_dirty && check_name(tail, err) < 0)
		return -1;
	tail->is_dirty = false;
	tail->synced = tail->reader.offset;

	return 0;
}

int
tail_close(struct tail *tail, struct err *err)
{
	if (tail_sync(tail, err) < 0)
		return -1;
	closep(&tail->fd);
	tail->fd = -1;

	return 0;
}

bool
tail_is_boundary(const struct tail *tail)
{
	return scan_is_boundary(&tail->reader.scan);
}

uint64_t
tail_offset(const struct tail *tail)
{
	return tail->reader.offset;
}

/* ---- beginning ---------------------------------------------------------------------------------- */

static int
lock(struct tail *tail, int fd, struct err *err)
{
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno != EWOULDBLOCK)
		return fail(tail, "lock", err);

	return err_set(err, ERR_BUSY, "'%s/%s' is in use by another receiver", tail->archive->path,
	    tail->name);
}

/* Our own words pass the reader as well, so that it knows all that stands in the file. */
static int
see(struct tail *tail, const char *data, size_t size, struct err *err)
{
	for (size_t at = 0; at < size;) {
		enum scan_event event;
		size_t used;

		if (piece_reader_feed(&tail->reader, data + at, size - at, &used, &event, err) < 0)
			return -1;
		at += used;
	}

	return 0;
}

static void
start(struct tail *tail, int fd)
{
	closep(&tail->fd);
	tail->fd = fd;
	tail->is_dirty = false;
	tail->wants_end = false;
	tail->began = clock_mono();
	str_cut(&tail->buffer, 0);
}

int
tail_begin(struct tail *tail, const struct piece_head *head, struct err *err)
{
	SCOPED(str_done) struct str text = STR_INIT;
	SCOPED(freep) char *path = NULL;
	SCOPED(closep) int fd = -1;

	(void)piece_name(head->branch, head->offset, PIECE_TAIL, tail->name);
	path = path_join(tail->archive->path, tail->name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, tail->archive->file_mode);
	if (fd < 0)
		return errno == EEXIST ? err_set(err, ERR_EXISTS, "'%s' exists already", path)
				       : fail(tail, "make", err);
	piece_reader_done(&tail->reader);
	piece_reader_init(&tail->reader);
	tail->marked.us = 0;
	piece_head_format(head, &text);
	if ((tail->archive->file_gid >= 0 &&
		fchown(fd, (uid_t)-1, (gid_t)tail->archive->file_gid) < 0))
		return fail(tail, "give its group to", err);
	if (lock(tail, fd, err) < 0 || see(tail, text.data, text.size, err) < 0 ||
	    fd_write_all(fd, text.data, text.size, tail->name, err) < 0)
		return -1;
	if (fsync(fd) < 0)
		return fail(tail, "make durable", err);
	if (dir_sync(tail->archive->path, err) < 0)
		return -1;
	start(tail, TAKE_FD(fd));
	tail->file_bytes = text.size;
	tail->synced = tail->reader.offset;

	return 0;
}

/* ---- going on ----------------------------------------------------------------------------------- */

/* Read it as far as it can be read; what stops us is left in *ret_why. */
static int
read_through(struct tail *tail, int fd, uint64_t *ret_bytes, struct err *ret_why, struct err *err)
{
	SCOPED(freep) char *buffer = xcalloc(1, READ_BYTES);
	uint64_t bytes = 0;
	ssize_t got;

	while ((got = read(fd, buffer, READ_BYTES)) > 0) {
		bytes += (uint64_t)got;
		if (ret_why->kind == ERR_NONE)
			(void)!see(tail, buffer, (size_t)got, ret_why);
	}
	if (got < 0)
		return fail(tail, "read", err);
	*ret_bytes = bytes;

	return 0;
}

/* What is no command may still be of use to somebody. */
static int
keep_copy(struct tail *tail, int fd, struct err *err)
{
	char stamp[CLOCK_TEXT_SIZE];
	SCOPED(freep)
	char *to = xasprintf("%s/%s.damaged-%s", tail->archive->path, tail->name,
	    clock_format_compact(clock_wall(), stamp));
	SCOPED(freep) char *buffer = xcalloc(1, READ_BYTES);
	SCOPED(closep) int copy = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ssize_t got;

	if (copy < 0)
		return err_sys(err, "cannot make '%s'", to);
	if (lseek(fd, 0, SEEK_SET) < 0)
		return fail(tail, "read", err);
	while ((got = read(fd, buffer, READ_BYTES)) > 0) {
		if (fd_write_all(copy, buffer, (size_t)got, to, err) < 0)
			return -1;
	}
	if (got < 0 || fsync(copy) < 0)
		return err_sys(err, "cannot copy to '%s'", to);
	log_warning("'%s' is damaged behind byte %llu; the whole of it is kept as '%s'", tail->name,
	    (unsigned long long)tail->reader.file_at, to);

	return 0;
}

/*
 * The reader has gone beyond the last whole command, or was stopped there: read the good part
 * once more, so that it stands just behind that.
 */
static int
read_good_part(struct tail *tail, int fd, uint64_t bytes, struct err *err)
{
	SCOPED(freep) char *buffer = xcalloc(1, READ_BYTES);

	if (lseek(fd, 0, SEEK_SET) < 0)
		return fail(tail, "read", err);
	piece_reader_done(&tail->reader);
	piece_reader_init(&tail->reader);
	while (bytes > 0) {
		size_t wanted = bytes < READ_BYTES ? (size_t)bytes : READ_BYTES;
		ssize_t got = read(fd, buffer, wanted);

		if (got <= 0)
			return fail(tail, "read", err);
		if (see(tail, buffer, (size_t)got, err) < 0)
			return -1;
		bytes -= (uint64_t)got;
	}

	return 0;
}

static int
cut(struct tail *tail, int fd, uint64_t bytes, const struct err *why, struct err *err)
{
	uint64_t good = tail->reader.file_at;

	if (good == bytes)
		return 0;
	if (why->kind != ERR_NONE && keep_copy(tail, fd, err) < 0)
		return -1;
	if (read_good_part(tail, fd, good, err) < 0)
		return -1;
	if (ftruncate(fd, (off_t)good) < 0 || lseek(fd, (off_t)good, SEEK_SET) < 0 || fsync(fd) < 0)
		return fail(tail, "cut", err);

	return 0;
}

int
tail_resume(struct tail *tail, const char *name, uint64_t *ret_dropped_bytes, struct err *err)
{
	SCOPED(freep) char *path = path_join(tail->archive->path, name);
	SCOPED(closep) int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	struct err why = ERR_INIT;
	uint64_t bytes = 0;

	if (fd < 0)
		return err_sys(err, "cannot open '%s'", path);
	(void)snprintf(tail->name, sizeof(tail->name), "%s", name);
	piece_reader_done(&tail->reader);
	piece_reader_init(&tail->reader);
	if (lock(tail, fd, err) < 0 || read_through(tail, fd, &bytes, &why, err) < 0)
		return -1;
	if (!tail->reader.has_select)
		return err_set(err, ERR_DATA, "'%s' cannot be read: %s", path,
		    why.kind != ERR_NONE ? why.msg : "it has no head");
	if (cut(tail, fd, bytes, &why, err) < 0)
		return -1;
	start(tail, TAKE_FD(fd));
	tail->marked = tail->reader.time;
	tail->file_bytes = tail->reader.file_at;
	tail->synced = tail->reader.offset;
	*ret_dropped_bytes = bytes - tail->reader.file_at;

	return 0;
}

/* ---- adding ------------------------------------------------------------------------------------- */

static int
put(struct tail *tail, const void *data, size_t size, struct err *err)
{
	const char *at = data;

	tail->file_bytes += size;
	while (size > 0) {
		size_t room = BUFFER_MAX_BYTES - tail->buffer.size;
		size_t now = size < room ? size : room;

		str_add_bytes(&tail->buffer, at, now);
		if (tail->buffer.size >= FLUSH_BYTES && flush(tail, err) < 0)
			return -1;
		at += now;
		size -= now;
	}

	return 0;
}

/*
 * A clock that was set back does not take the stream back with it.  What arrives first after the
 * link was down was written any time since then.
 */
static int
mark(struct tail *tail, struct wall_time now, struct err *err)
{
	SCOPED(str_done) struct str text = STR_INIT;

	if (tail->marked.us != 0 && now.us < tail->marked.us + MARK_EVERY_US)
		return 0;
	if (tail->down_since.us != 0)
		piece_outage_format(tail->down_since, &text);
	tail->down_since.us = 0;
	if (llabs(tail->skew_us - tail->reader.skew_us) >= SKEW_STEP_US)
		piece_skew_format(tail->skew_us, &text);
	piece_time_format(now, tail->marked, &text);
	tail->marked = now;
	if (see(tail, text.data, text.size, err) < 0)
		return -1;

	return put(tail, text.data, text.size, err);
}

/* An empty line, as a master sends it to keep the link alive, must not get into an AOF. */
static size_t
skip_blanks(const char *bytes, size_t size)
{
	size_t at = 0;

	while (at < size && bytes[at] == '\n')
		at++;

	return at;
}

static int
add_command(struct tail *tail, const char *bytes, size_t size, size_t *ret_used, struct err *err)
{
	enum scan_event event;

	if (scan_is_between(&tail->reader.scan) && bytes[0] == '#')
		return err_set(err, ERR_DATA, "the server sends something that is no command");

	return piece_reader_feed(&tail->reader, bytes, size, ret_used, &event, err);
}

/* Bytes on their way: those from `from` to `at` were read, and are not put yet. */
struct adding {
	const char *bytes;
	size_t size;
	size_t from;
	size_t at;
	struct wall_time now;
	bool is_marked;
};

static int
put_run(struct tail *tail, struct adding *adding, struct err *err)
{
	size_t from = adding->from;

	adding->from = adding->at;

	return put(tail, adding->bytes + from, adding->at - from, err);
}

/* Between two commands: empty lines are left out, and the time is told, once for all of it. */
static int
pass_between(struct tail *tail, struct adding *adding, struct err *err)
{
	size_t blanks = skip_blanks(adding->bytes + adding->at, adding->size - adding->at);
	bool wants_mark = !adding->is_marked && tail_is_boundary(tail);

	if (blanks == 0 && !wants_mark)
		return 0;
	if (put_run(tail, adding, err) < 0)
		return -1;
	adding->at += blanks;
	adding->from = adding->at;
	if (!wants_mark || adding->at == adding->size)
		return 0;
	adding->is_marked = true;

	return mark(tail, adding->now, err);
}

/* Empty lines aside, what stands in the file is what was read: runs of it are added as a whole. */
int
tail_add(struct tail *tail, const void *data, size_t size, struct wall_time now, size_t *ret_used,
    struct err *err)
{
	struct adding adding = { .bytes = data, .size = size, .now = now };

	while (adding.at < size) {
		size_t used = 0;

		if (tail->wants_end && tail_is_boundary(tail) && adding.at > 0)
			break;
		if (scan_is_between(&tail->reader.scan) && pass_between(tail, &adding, err) < 0)
			return -1;
		if (adding.at < size &&
		    add_command(tail, adding.bytes + adding.at, size - adding.at, &used, err) < 0)
			return -1;
		adding.at += used;
	}
	*ret_used = adding.at;

	return put_run(tail, &adding, err);
}
