/*
 * What a disk would still hold after a power loss: a copy of a folder's tree that follows fsync
 * and nothing else.
 *
 * A file's content gets here when the file is synced, a name when its folder is synced.  Files
 * and folders are known by inode number and time of birth, so a number that is used again is not
 * taken for the old file.  Layout of the shadow folder:
 *
 *	lock           flock: one sync at a time over all processes
 *	files/KEY      content of a file as of its last sync
 *	folders/KEY    names of a folder as of its last sync: "f KEY MODE NAME" or "d KEY MODE NAME"
 *	lost/KEY       a byte for each page: 1 when a failed fsync dropped it, see shadow_lose
 */
#ifndef TORTURE_SHADOW_H
#define TORTURE_SHADOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	SHADOW_PAGE_BYTES = 4096,
	SHADOW_PATH_BYTES = 4096,
	SHADOW_KEY_BYTES = 64,
};

/* A program that cannot model the disk must not go on as if it could: these abort, loudly. */

/* The name of the file or folder behind `fd`, of SHADOW_KEY_BYTES. */
void shadow_key(int fd, char *key);

/* fsync: the pages that differ from the last sync are copied, those that were lost are not. */
void shadow_sync_file(const char *shadow, int fd);
void shadow_sync_folder(const char *shadow, int fd);
void shadow_sync_tree(const char *shadow, const char *path);

/*
 * A failed fsync: the pages it should have written are clean in the cache now and not on disk.
 * Only writing them again helps, another fsync does not.
 */
void shadow_lose(const char *shadow, int fd);
/* Pages that were lost and are written again. */
void shadow_wrote(const char *shadow, int fd, uint64_t offset, uint64_t size);

#endif
