/*
 * The moment after a power loss, for the harness.
 *
 *	powerloss init ROOT SHADOW              all of ROOT is durable from here on
 *	powerloss apply ROOT SHADOW strict 0    ROOT becomes what was synced, and nothing else
 *	powerloss apply ROOT SHADOW torn SEED   and by chance some of what was not: pages of
 *	                                        files, folders with their newest names
 *
 * No process may use ROOT meanwhile.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shadow.h"

enum { FTW_FDS = 32 };

struct loss {
	const char *shadow;
	bool is_torn;
	uint64_t chance;
};

static _Noreturn void
die(const char *what, const char *on)
{
	(void)fprintf(stderr, "powerloss: cannot %s '%s': %s\n", what, on, strerror(errno));
	exit(1);
}

static bool
is_taken(struct loss *loss)
{
	/* xorshift64 */
	loss->chance ^= loss->chance << 13;
	loss->chance ^= loss->chance >> 7;
	loss->chance ^= loss->chance << 17;

	return loss->is_torn && ((loss->chance >> 33) & 1) != 0;
}

static void
join(char *path, const char *folder, const char *kind, const char *name)
{
	if (snprintf(path, SHADOW_PATH_BYTES, "%s%s%s/%s", folder, kind[0] != '\0' ? "/" : "", kind,
		name) >= SHADOW_PATH_BYTES)
		die("name", name);
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;

	return remove(path);
}

static void
remove_tree(const char *path)
{
	if (nftw(path, remove_one, FTW_FDS, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT)
		die("remove", path);
}

static void
make_folder(const char *path, mode_t mode)
{
	if (mkdir(path, mode) < 0)
		die("make", path);
	if (chmod(path, mode) < 0)
		die("set the mode of", path);
}

/* ---- files ---- */

static void
read_page(int fd, uint8_t *page, uint64_t offset)
{
	ssize_t got = fd < 0 ? 0 : pread(fd, page, SHADOW_PAGE_BYTES, (off_t)offset);

	if (got < 0)
		die("read", "a page");
	memset(page + got, 0, SHADOW_PAGE_BYTES - (size_t)got);
}

static uint64_t
size_of(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* Write `to` from the synced content and, where chance takes it, what stood in the cache. */
static void
make_file(struct loss *loss, int synced, int live, int to)
{
	uint64_t size = is_taken(loss) && live >= 0 ? size_of(live) : size_of(synced);

	for (uint64_t offset = 0; offset < size; offset += SHADOW_PAGE_BYTES) {
		uint8_t page[SHADOW_PAGE_BYTES];
		uint64_t left = size - offset;
		bool is_live = is_taken(loss) && live >= 0;

		read_page(is_live ? live : synced, page, offset);
		if (pwrite(to, page, left < sizeof(page) ? (size_t)left : sizeof(page),
			(off_t)offset) < 0)
			die("write", "a page");
	}
	if (ftruncate(to, (off_t)size) < 0)
		die("size", "a file");
}

/* A synced file keeps the time of its last change that was. */
static void
keep_time(int synced, int to)
{
	struct stat st;

	if (synced < 0 || fstat(synced, &st) < 0)
		return;
	const struct timespec times[] = { st.st_mtim, st.st_mtim };
	(void)futimens(to, times);
}

/* The file `key` in the tree as it stands, if its name in `folder` still is that file's. */
static int
open_live(const char *path, const char *key)
{
	char found[SHADOW_KEY_BYTES];
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -1;
	shadow_key(fd, found);
	if (strcmp(found, key) == 0)
		return fd;
	(void)close(fd);

	return -1;
}

static void
apply_file(struct loss *loss, const char *key, mode_t mode, const char *live_path,
    const char *new_path)
{
	char path[SHADOW_PATH_BYTES];
	int live;
	int synced;
	int to;

	/* What a failed fsync dropped will never get to the disk, not even by luck. */
	join(path, loss->shadow, "lost", key);
	live = access(path, F_OK) < 0 ? open_live(live_path, key) : -1;
	join(path, loss->shadow, "files", key);
	synced = open(path, O_RDONLY | O_CLOEXEC);
	to = open(new_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (to < 0)
		die("make", new_path);
	make_file(loss, synced, live, to);
	keep_time(synced, to);
	if (fchmod(to, mode) < 0)
		die("set the mode of", new_path);
	(void)close(to);
	if (live >= 0)
		(void)close(live);
	if (synced >= 0)
		(void)close(synced);
}

/* ---- folders ---- */

static void apply_folder(struct loss *loss, const char *key, const char *live, const char *made);

static void
apply_entry(struct loss *loss, const char *line, const char *live, const char *made)
{
	char kind;
	char key[SHADOW_KEY_BYTES];
	unsigned mode;
	int name_at = 0;
	char live_path[SHADOW_PATH_BYTES];
	char new_path[SHADOW_PATH_BYTES];

	if (sscanf(line, "%c %63s %o %n", &kind, key, &mode, &name_at) != 3)
		die("understand", line);
	join(live_path, live, "", line + name_at);
	join(new_path, made, "", line + name_at);
	if (kind == 'd') {
		make_folder(new_path, mode);
		apply_folder(loss, key, live_path, new_path);
	} else {
		apply_file(loss, key, mode, live_path, new_path);
	}
}

/* Fill the folder `made` with what is left of the folder `key`, which lay at `live`. */
static void
apply_folder(struct loss *loss, const char *key, const char *live, const char *made)
{
	char path[SHADOW_PATH_BYTES];
	char *line = NULL;
	size_t room = 0;
	ssize_t size;
	FILE *list;

	/* With luck the folder's newest names got to the disk: then that is what it holds. */
	if (is_taken(loss)) {
		int fd = open(live, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd >= 0) {
			shadow_sync_folder(loss->shadow, fd);
			(void)close(fd);
		}
	}
	join(path, loss->shadow, "folders", key);
	list = fopen(path, "re");
	if (list == NULL)
		return; /* its own entries were never synced: empty */
	while ((size = getline(&line, &room, list)) > 0) {
		line[size - 1] = '\0';
		apply_entry(loss, line, live, made);
	}
	free(line);
	(void)fclose(list);
}

/* ---- commands ---- */

static int
init(const char *root, const char *shadow)
{
	static const char *const kinds[] = { "files", "folders", "lost" };

	remove_tree(shadow);
	make_folder(shadow, 0755);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		char path[SHADOW_PATH_BYTES];

		join(path, shadow, "", kinds[i]);
		make_folder(path, 0755);
	}
	shadow_sync_tree(shadow, root);

	return 0;
}

static int
apply(const char *root, struct loss *loss)
{
	char key[SHADOW_KEY_BYTES];
	char made[SHADOW_PATH_BYTES];
	struct stat st;
	int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0)
		die("open", root);
	shadow_key(fd, key);
	(void)close(fd);
	(void)snprintf(made, sizeof(made), "%s.after", root);
	remove_tree(made);
	make_folder(made, st.st_mode & 07777);
	apply_folder(loss, key, root, made);
	remove_tree(root);
	if (rename(made, root) < 0)
		die("rename", made);

	/* What stands there now is what the disk holds. */
	return init(root, loss->shadow);
}

int
main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "init") == 0)
		return init(argv[2], argv[3]);
	if (argc == 6 && strcmp(argv[1], "apply") == 0) {
		struct loss loss = { .shadow = argv[3],
			.is_torn = strcmp(argv[4], "torn") == 0,
			.chance = strtoull(argv[5], NULL, 10) * 2654435761U + 88172645463325252U };

		return apply(argv[2], &loss);
	}
	(void)fprintf(stderr, "usage: powerloss init|apply ROOT SHADOW [strict|torn SEED]\n");

	return 2;
}
