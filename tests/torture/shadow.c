#include "shadow.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BATCH_BYTES = 16 * SHADOW_PAGE_BYTES };

static pthread_mutex_t threads_lock = PTHREAD_MUTEX_INITIALIZER;

static _Noreturn void
die(const char *what, const char *on)
{
	(void)dprintf(STDERR_FILENO, "shadow: cannot %s '%s': %s\n", what, on, strerror(errno));
	abort();
}

static int
open_or_die(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd < 0)
		die("open", path);

	return fd;
}

static void
place(char *path, const char *shadow, const char *kind, const char *key)
{
	if (snprintf(path, SHADOW_PATH_BYTES, "%s/%s/%s", shadow, kind, key) >= SHADOW_PATH_BYTES)
		die("name", key);
}

/* Ends with the process, so a kill inside does not stop the others. */
static int
lock_shadow(const char *shadow)
{
	char path[SHADOW_PATH_BYTES];
	int fd;

	(void)pthread_mutex_lock(&threads_lock);
	(void)snprintf(path, sizeof(path), "%s/lock", shadow);
	fd = open_or_die(path, O_RDWR | O_CREAT);
	while (flock(fd, LOCK_EX) < 0) {
		if (errno != EINTR)
			die("lock", path);
	}

	return fd;
}

static void
unlock_shadow(int fd)
{
	(void)close(fd);
	(void)pthread_mutex_unlock(&threads_lock);
}

static void
key_of(int fd, const char *name, int flags, char *key)
{
	struct statx st;

	if (statx(fd, name, flags, STATX_INO | STATX_BTIME, &st) < 0)
		die("look at", name);
	if ((st.stx_mask & STATX_BTIME) == 0) {
		errno = ENOTSUP;
		die("tell the time of birth of", name);
	}
	(void)snprintf(key, SHADOW_KEY_BYTES, "%llu-%lld.%09u", (unsigned long long)st.stx_ino,
	    (long long)st.stx_btime.tv_sec, st.stx_btime.tv_nsec);
}

void
shadow_key(int fd, char *key)
{
	key_of(fd, "", AT_EMPTY_PATH, key);
}

/* A descriptor to read what `fd` may only write. */
static int
reopen(int fd)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);

	return open_or_die(path, O_RDONLY);
}

static uint64_t
size_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		die("look at", "a file");

	return (uint64_t)st.st_size;
}

/* Up to `size` bytes; behind the end of the file they are zero. */
static void
read_at(int fd, uint8_t *to, size_t size, uint64_t offset)
{
	size_t done = 0;

	while (done < size) {
		ssize_t got = pread(fd, to + done, size - done, (off_t)(offset + done));

		if (got < 0 && errno != EINTR)
			die("read", "a file");
		if (got == 0)
			break;
		done += got > 0 ? (size_t)got : 0;
	}
	memset(to + done, 0, size - done);
}

static void
write_at(int fd, const uint8_t *from, size_t size, uint64_t offset)
{
	while (size > 0) {
		ssize_t written = pwrite(fd, from, size, (off_t)offset);

		if (written < 0 && errno != EINTR)
			die("write", "the shadow");
		if (written > 0) {
			from += written;
			offset += (uint64_t)written;
			size -= (size_t)written;
		}
	}
}

/* ---- files ---- */

/* What to do with a page that differs from the last sync. */
struct visit {
	int live;
	int copy;
	int lost; /* -1: no page was lost */
	uint64_t size;
	bool is_losing;
};

static bool
is_lost(const struct visit *visit, uint64_t page)
{
	uint8_t mark = 0;

	return visit->lost >= 0 && pread(visit->lost, &mark, 1, (off_t)page) == 1 && mark != 0;
}

static void
visit_page(const struct visit *visit, const uint8_t *page, size_t size, uint64_t offset)
{
	const uint8_t mark = 1;
	uint64_t number = offset / SHADOW_PAGE_BYTES;

	if (visit->is_losing)
		write_at(visit->lost, &mark, 1, number);
	else if (!is_lost(visit, number))
		write_at(visit->copy, page, size, offset);
}

static void
visit_pages(const struct visit *visit)
{
	uint8_t live[BATCH_BYTES];
	uint8_t copy[BATCH_BYTES];

	for (uint64_t offset = 0; offset < visit->size; offset += BATCH_BYTES) {
		uint64_t left = visit->size - offset;
		size_t batch = left < BATCH_BYTES ? (size_t)left : BATCH_BYTES;

		read_at(visit->live, live, batch, offset);
		read_at(visit->copy, copy, batch, offset);
		if (memcmp(live, copy, batch) == 0)
			continue;
		for (size_t at = 0; at < batch; at += SHADOW_PAGE_BYTES) {
			size_t page = batch - at < SHADOW_PAGE_BYTES ? batch - at
								     : SHADOW_PAGE_BYTES;

			if (memcmp(live + at, copy + at, page) != 0)
				visit_page(visit, live + at, page, offset + at);
		}
	}
}

static void
keep_time(const struct visit *visit)
{
	struct stat st;

	if (fstat(visit->live, &st) < 0)
		die("look at", "a file");
	const struct timespec times[] = { st.st_mtim, st.st_mtim };
	(void)futimens(visit->copy, times);
}

static void
visit_file(const char *shadow, int fd, bool is_losing)
{
	char key[SHADOW_KEY_BYTES];
	char path[SHADOW_PATH_BYTES];
	struct visit visit = { .is_losing = is_losing };

	shadow_key(fd, key);
	visit.live = reopen(fd);
	visit.size = size_of(visit.live);
	place(path, shadow, "lost", key);
	visit.lost = is_losing ? open_or_die(path, O_RDWR | O_CREAT)
			       : open(path, O_RDONLY | O_CLOEXEC);
	place(path, shadow, "files", key);
	visit.copy = open_or_die(path, O_RDWR | O_CREAT);
	if (!is_losing && size_of(visit.copy) != visit.size &&
	    ftruncate(visit.copy, (off_t)visit.size) < 0)
		die("size", path);

	visit_pages(&visit);
	if (!is_losing)
		keep_time(&visit);
	(void)close(visit.live);
	(void)close(visit.copy);
	if (visit.lost >= 0)
		(void)close(visit.lost);
}

void
shadow_sync_file(const char *shadow, int fd)
{
	int lock = lock_shadow(shadow);

	visit_file(shadow, fd, false);
	unlock_shadow(lock);
}

void
shadow_lose(const char *shadow, int fd)
{
	int lock = lock_shadow(shadow);

	visit_file(shadow, fd, true);
	unlock_shadow(lock);
}

void
shadow_wrote(const char *shadow, int fd, uint64_t offset, uint64_t size)
{
	char key[SHADOW_KEY_BYTES];
	char path[SHADOW_PATH_BYTES];
	const uint8_t mark = 0;
	int lost;

	shadow_key(fd, key);
	place(path, shadow, "lost", key);
	lost = open(path, O_RDWR | O_CLOEXEC);
	if (lost < 0)
		return;
	for (uint64_t page = offset / SHADOW_PAGE_BYTES;
	     page <= (offset + size - 1) / SHADOW_PAGE_BYTES && size > 0; page++)
		write_at(lost, &mark, 1, page);
	(void)close(lost);
}

/* ---- folders ---- */

/* One name of a folder into its list; what goes away meanwhile is not there. */
static void
list_entry(FILE *list, int folder, const char *name)
{
	char key[SHADOW_KEY_BYTES];
	struct stat st;

	if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return;
	/* Between the two calls it may have gone, or another taken its name: look by descriptor. */
	int fd = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return;
	shadow_key(fd, key);
	(void)close(fd);
	(void)fprintf(list, "%c %s %o %s\n", S_ISDIR(st.st_mode) ? 'd' : 'f', key,
	    st.st_mode & 07777U, name);
}

void
shadow_sync_folder(const char *shadow, int fd)
{
	char key[SHADOW_KEY_BYTES];
	char path[SHADOW_PATH_BYTES];
	char temporary[SHADOW_PATH_BYTES + 8];
	int lock = lock_shadow(shadow);
	DIR *dir = fdopendir(reopen(fd));
	struct dirent *entry;
	FILE *list;

	shadow_key(fd, key);
	place(path, shadow, "folders", key);
	(void)snprintf(temporary, sizeof(temporary), "%s.new", path);
	list = fopen(temporary, "we");
	if (dir == NULL || list == NULL)
		die("list", path);
	while ((entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			list_entry(list, dirfd(dir), entry->d_name);
	}
	(void)closedir(dir);
	if (fclose(list) != 0 || rename(temporary, path) < 0)
		die("write", path);
	unlock_shadow(lock);
}

void
shadow_sync_tree(const char *shadow, const char *path)
{
	int fd = open_or_die(path, O_RDONLY | O_DIRECTORY);
	DIR *dir = fdopendir(reopen(fd));
	struct dirent *entry;

	if (dir == NULL)
		die("list", path);
	while ((entry = readdir(dir)) != NULL) {
		char below[SHADOW_PATH_BYTES];
		struct stat st;
		int file;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) >=
		    SHADOW_PATH_BYTES)
			die("name", entry->d_name);
		if (lstat(below, &st) < 0)
			continue;
		if (S_ISDIR(st.st_mode))
			shadow_sync_tree(shadow, below);
		if (!S_ISREG(st.st_mode) || (file = open(below, O_RDONLY | O_CLOEXEC)) < 0)
			continue;
		shadow_sync_file(shadow, file);
		(void)close(file);
	}
	(void)closedir(dir);
	shadow_sync_folder(shadow, fd);
	(void)close(fd);
}
