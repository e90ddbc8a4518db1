#include "os/lockfile.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/err.h"

enum {
	TAKE_ATTEMPTS = 5,
	TAKE_PAUSE_MS = 10,
	HOLDER_MAX_BYTES = 200,
};

/*
 * Who asks whether a lock is held takes it for a moment itself.  A real holder keeps it for
 * longer than these few attempts take.
 */
static int
lock_patiently(int fd)
{
	for (int attempt = 1; flock(fd, LOCK_EX | LOCK_NB) < 0; attempt++) {
		if (errno != EWOULDBLOCK || attempt == TAKE_ATTEMPTS)
			return -1;
		(void)poll(NULL, 0, TAKE_PAUSE_MS);
	}

	return 0;
}

/* What the holder wrote about itself, "" when nothing can be read. */
static void
read_holder(int fd, char *ret_text, size_t size)
{
	ssize_t got = pread(fd, ret_text, size - 1, 0);

	ret_text[got > 0 ? got : 0] = '\0';
	ret_text[strcspn(ret_text, "\n")] = '\0';
}

static int
take(const char *path, int flags, const char *what, int *ret_fd, struct err *err)
{
	char holder[HOLDER_MAX_BYTES];
	SCOPED(closep) int fd = open(path, O_RDWR | O_CLOEXEC | flags, 0640);

	if (fd < 0)
		return err_sys(err, "cannot open lock file '%s'", path);
	if (lock_patiently(fd) < 0) {
		if (errno != EWOULDBLOCK)
			return err_sys(err, "cannot lock '%s'", path);
		read_holder(fd, holder, sizeof(holder));
		(void)err_set(err, ERR_BUSY, "lock file '%s' is held by %s", path,
		    holder[0] != '\0' ? holder : "another process");
		return err_hint(err, "Wait for it to end, or look at what it does with 'status'.");
	}

	/* For people only: when it cannot be written (a full disk), the lock is held all the same. */
	if (ftruncate(fd, 0) == 0)
		(void)dprintf(fd, "process %ld (%s)\n", (long)getpid(), what);
	*ret_fd = TAKE_FD(fd);

	return 0;
}

int
lockfile_take(const char *path, const char *what, int *ret_fd, struct err *err)
{
	return take(path, O_CREAT, what, ret_fd, err);
}

int
lockfile_take_left(const char *path, const char *what, int *ret_fd, struct err *err)
{
	return take(path, O_NOFOLLOW, what, ret_fd, err);
}

bool
lockfile_is_held(const char *path)
{
	SCOPED(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);

	/* Shared, so that two who ask do not see each other. */
	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}
