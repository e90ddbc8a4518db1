/*
 * Files and folders of this machine: small whole files, durable replacement, folders, space.
 * Large backup files are not read here: they go through stream/ and store/.
 */
#ifndef OS_FILE_H
#define OS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/scope.h"

struct err;
struct secret;
struct str;

/* Read a whole file of at most `max_bytes` (ERR_LIMIT beyond) and append it to `to`. */
int file_read_all(const char *path, size_t max_bytes, struct str *to, struct err *err) MUST_CHECK;

/* Replace or create `path` durably: temporary file, fsync, rename, fsync of the folder. */
int file_write_all(const char *path, const void *data, size_t size, mode_t mode, struct err *err)
    MUST_CHECK;

/*
 * Read a password file: its first line without the newline.  Refused (ERR_REFUSED, with the
 * chmod to type) when others may read or write it, when a group may that this process is not
 * in, and when it is empty.
 */
struct secret *file_read_secret(const char *path, struct err *err) MUST_CHECK;

bool file_exists(const char *path);
bool dir_exists(const char *path);

/* Write all bytes, going on after short writes. */
int fd_write_all(int fd, const void *data, size_t size, const char *name, struct err *err)
    MUST_CHECK;

/* Make `path` and missing parents with `mode`; each new entry is made durable. Existing is ok. */
int dir_make_all(const char *path, mode_t mode, struct err *err) MUST_CHECK;

/* Sorted names in a folder, without "." and ".."; at most `max_count` (ERR_LIMIT beyond). */
struct dir_listing {
	char **names;
	size_t count;
};
int dir_list(const char *path, size_t max_count, struct dir_listing *ret_listing, struct err *err)
    MUST_CHECK;
void dir_listing_done(struct dir_listing *listing);

bool dir_is_empty(const char *path);
int dir_sync(const char *path, struct err *err) MUST_CHECK;

/* Both exist and are on one file system. */
bool dir_is_same_device(const char *one, const char *other);

/* Remove a folder and all in it, never following a symbolic link.  A missing one is ok. */
int dir_remove_all(const char *path, struct err *err) MUST_CHECK;

/* Is `path` a mount point, that is on another device than its parent. */
bool dir_is_mount_point(const char *path);

struct disk_space {
	uint64_t capacity_bytes;
	uint64_t available_bytes; /* for this user */
	uint64_t used_bytes;
};
int disk_space_of(const char *path, struct disk_space *ret_space, struct err *err) MUST_CHECK;

/* "dir/name" on the heap; yours. */
char *path_join(const char *dir, const char *name) MUST_CHECK;

#endif
