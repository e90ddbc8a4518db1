#include "os/file.h"

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
#include "base/str.h"
#include "os/random.h"

/*
 * A write of megabytes makes ext4 take folios of that size into the page cache, which costs far
 * more than it saves: on Linux 6.18, 800 MB took 7.9 s in pieces of 4 MiB, 1.9 s in pieces of
 * 256 KiB (dd conv=fsync).
 */
enum { WRITE_BYTES = 256 * 1024 };

enum {
	READ_BYTES = 64 * 1024,
	SECRET_LINE_MAX_BYTES = 4096,
	TEMPORARY_TAG_DIGITS = 8,
};

/* read(), going on after a signal. */
static ssize_t
read_some(int fd, void *data, size_t size)
{
	ssize_t got;

	do
		got = read(fd, data, size);
	while (got < 0 && errno == EINTR);

	return got;
}

int
fd_write_all(int fd, const void *data, size_t size, const char *name, struct err *err)
{
	const char *at = data;

	while (size > 0) {
		ssize_t written = write(fd, at, size < WRITE_BYTES ? size : WRITE_BYTES);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return err_sys(err, "cannot write '%s'", name);
		at += written;
		size -= (size_t)written;
	}

	return 0;
}

int
file_read_all(const char *path, size_t max_bytes, struct str *to, struct err *err)
{
	SCOPED(freep) char *data = xmalloc(READ_BYTES);
	SCOPED(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t total = 0;

	if (fd < 0)
		return err_sys(err, "cannot open '%s'", path);

	for (;;) {
		ssize_t got = read_some(fd, data, READ_BYTES);

		if (got < 0)
			return err_sys(err, "cannot read '%s'", path);
		if (got == 0)
			return 0;
		total += (size_t)got;
		if (total <= max_bytes)
			str_add_bytes(to, data, (size_t)got);
		if (total > max_bytes || str_is_full(to))
			return err_set(err, ERR_LIMIT,
			    "'%s' is larger than the %zu bytes expected of it", path, max_bytes);
	}
}

/* The folder part of a path, "." when it has none; yours. */
static char *
folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (slash == NULL)
		return xstrdup(".");

	return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

/* Give the written file its name; the caller removes the temporary one on failure. */
static int
make_durable_as(int fd, const char *temporary, const char *path, struct err *err)
{
	/* A crash before the rename leaves the old content, one after it the whole new one. */
	if (fsync(fd) < 0)
		return err_sys(err, "cannot make '%s' durable", path);
	if (rename(temporary, path) < 0)
		return err_sys(err, "cannot replace '%s'", path);

	return 0;
}

int
file_write_all(const char *path, const void *data, size_t size, mode_t mode, struct err *err)
{
	char tag[TEMPORARY_TAG_DIGITS + 1];
	const char *slash = strrchr(path, '/');
	const char *name = slash != NULL ? slash + 1 : path;
	SCOPED(freep) char *folder = folder_of(path);
	SCOPED(freep) char *temporary = NULL;

	random_hex(tag, TEMPORARY_TAG_DIGITS);
	temporary = xasprintf("%s/.tmp-%s-%s", folder, tag, name);

	SCOPED(closep) int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return err_sys(err, "cannot create '%s'", temporary);
	/* Locked like every temporary file, so that no sweep takes it for a dead run's. */
	(void)flock(fd, LOCK_EX | LOCK_NB);
	if (fchmod(fd, mode) < 0)
		(void)err_sys(err, "cannot set the mode of '%s'", temporary);
	else if (fd_write_all(fd, data, size, path, err) == 0 &&
	    make_durable_as(fd, temporary, path, err) == 0)
		return dir_sync(folder, err);
	(void)unlink(temporary);

	return -1;
}

/* The first line of what was read, without its end. */
static size_t
first_line_size(const char *data, size_t size)
{
	const char *end = memchr(data, '\n', size);
	size_t line = end != NULL ? (size_t)(end - data) : size;

	return line > 0 && data[line - 1] == '\r' ? line - 1 : line;
}

static int
check_secret_line(const char *path, const char *line, size_t size, struct err *err)
{
	if (size == 0) {
		(void)err_set(err, ERR_REFUSED, "password file '%s' is empty", path);
		return err_hint(err, "Write the password into its first line.");
	}
	if (size > SECRET_LINE_MAX_BYTES)
		return err_set(err, ERR_LIMIT, "the first line of password file '%s' is too long",
		    path);
	if (memchr(line, '\0', size) != NULL)
		return err_set(err, ERR_DATA, "password file '%s' holds a zero byte", path);

	return 0;
}

static bool
is_group_of_ours(gid_t group)
{
	int count = getgroups(0, NULL);
	SCOPED(freep) gid_t *groups = xcalloc(count > 0 ? (size_t)count : 1, sizeof(*groups));

	count = count > 0 ? getgroups(count, groups) : 0;
	for (int i = 0; i < count; i++)
		if (groups[i] == group)
			return true;

	return group == getegid();
}

/*
 * A group may read it when we are in that group: Kubernetes mounts a secret for an fsGroup as
 * root's, 0440, and there is no other way to read it than through the group.
 */
static int
check_secret_mode(const char *path, int fd, struct err *err)
{
	const mode_t others = S_IROTH | S_IWOTH;
	const mode_t group = S_IRGRP | S_IWGRP;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, "cannot look at password file '%s'", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_REFUSED, "password file '%s' is not a file", path);
	if ((st.st_mode & others) != 0) {
		(void)err_set(err, ERR_REFUSED,
		    "password file '%s' is open to every user (mode %04o)", path,
		    (unsigned)(st.st_mode & 07777));
		return err_hint(err,
		    "Type: chmod go-rwx %s (a secret of Kubernetes: defaultMode: 0400)", path);
	}
	if ((st.st_mode & group) != 0 && !is_group_of_ours(st.st_gid)) {
		(void)err_set(err, ERR_REFUSED,
		    "password file '%s' is open to group %u, which blackstart is not in (mode %04o)",
		    path, (unsigned)st.st_gid, (unsigned)(st.st_mode & 07777));
		return err_hint(err, "Type: chmod g-rwx %s", path);
	}

	return 0;
}

struct secret *
file_read_secret(const char *path, struct err *err)
{
	char data[SECRET_LINE_MAX_BYTES + 2];
	size_t size = 0;
	size_t line;
	ssize_t got;
	struct secret *secret = NULL;
	SCOPED(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		(void)err_sys(err, "cannot open password file '%s'", path);
		return NULL;
	}
	if (check_secret_mode(path, fd, err) < 0)
		return NULL;

	while ((got = read_some(fd, data + size, sizeof(data) - size)) > 0)
		size += (size_t)got;
	line = first_line_size(data, size);
	if (got < 0)
		(void)err_sys(err, "cannot read password file '%s'", path);
	else if (check_secret_line(path, data, line, err) == 0)
		secret = secret_new(data, line);
	explicit_bzero(data, sizeof(data));

	return secret;
}

bool
file_exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

char *
path_join(const char *dir, const char *name)
{
	const char *between = str_ends_with(dir, "/") ? "" : "/";

	return xasprintf("%s%s%s", dir, between, name);
}
