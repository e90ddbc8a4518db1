/*
 * A lock that dies with its holder: flock on a file.  The holder's pid and a text about it are
 * written into the file for people; the lock itself is what decides.
 */
#ifndef OS_LOCKFILE_H
#define OS_LOCKFILE_H

#include <stdbool.h>

#include "base/scope.h"

struct err;

/*
 * Take the lock at `path` without waiting; `what` says what the holder does ("run pg-daily-...").
 * On success the caller owns *ret_fd: closing it releases.  ERR_BUSY names the present holder.
 */
int lockfile_take(const char *path, const char *what, int *ret_fd, struct err *err) MUST_CHECK;

/* The same for a file that somebody left behind: never made here; ENOENT in err->sys without it. */
int lockfile_take_left(const char *path, const char *what, int *ret_fd, struct err *err) MUST_CHECK;

/* Does somebody hold the lock at `path` now.  A missing file is not held. */
bool lockfile_is_held(const char *path);

#endif
