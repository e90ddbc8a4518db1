#include "source/postgres/base/check.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/vec.h"
#include "source/postgres/base/manifest.h"

enum { SHOWN_PATH_MAX = 255, SHARED_MAX = 255, SEEN_PATH_MAX = 4096 };

struct seen_file {
	uint64_t path_hash;
	uint64_t size_bytes;
	uint32_t crc32c;
	uint32_t is_listed;
};

struct base_check {
	VEC(struct seen_file) files;
	/*
	 * Their paths, for messages only, each as: how many bytes it shares with the one before,
	 * then the rest and a NUL.  Read from the start, which only an error needs.
	 */
	VEC(char) paths;
	char last_path[SHARED_MAX + 1];
	uint64_t bytes;
	uint64_t listed;
	uint64_t unchecked;
	size_t cursor;
	bool is_indexed; /* files are sorted by hash now, their order no longer that of paths */
};

struct base_check *
base_check_new(void)
{
	return xcalloc(1, sizeof(struct base_check));
}

static void
paths_add_char(struct base_check *check, char c)
{
	vec_push(&check->paths, c);
}

static void
remember_path(struct base_check *check, const char *path)
{
	size_t size = strlen(path);
	size_t shared = 0;

	while (shared < SHARED_MAX && path[shared] != '\0' &&
	    path[shared] == check->last_path[shared])
		shared++;
	paths_add_char(check, (char)(uint8_t)shared);
	for (size_t i = shared; i <= size; i++)
		paths_add_char(check, path[i]);

	if (size > SHARED_MAX)
		size = SHARED_MAX;
	memcpy(check->last_path, path, size);
	check->last_path[size] = '\0';
}

int
base_check_add(struct base_check *check, const char *path, uint64_t size_bytes, uint32_t crc32c,
    struct err *err)
{
	struct seen_file *file;

	if (check->files.count >= BASE_CHECK_MAX_FILES)
		return err_set(err, ERR_LIMIT, "the backup has more than %d files",
		    BASE_CHECK_MAX_FILES);
	if (!mem_add(check->bytes, size_bytes, &check->bytes))
		return err_set(err, ERR_DATA, "file '%.*s' has an impossible size", SHOWN_PATH_MAX,
		    path);
	file = vec_add(&check->files);
	/* With a million files a collision has odds of one to forty million. */
	file->path_hash = hash_short(path, strlen(path));
	file->size_bytes = size_bytes;
	file->crc32c = crc32c;
	remember_path(check, path);

	return 0;
}

static int
compare_hashes(const void *a, const void *b)
{
	uint64_t left = ((const struct seen_file *)a)->path_hash;
	uint64_t right = ((const struct seen_file *)b)->path_hash;

	return left < right ? -1 : left > right ? 1 : 0;
}

static struct seen_file *
find(struct base_check *check, uint64_t hash)
{
	struct seen_file wanted = { .path_hash = hash };

	if (!check->is_indexed) {
		if (check->cursor < check->files.count &&
		    check->files.items[check->cursor].path_hash == hash)
			return &check->files.items[check->cursor++];
		if (check->files.count > 0)
			qsort(check->files.items, check->files.count, sizeof(wanted),
			    compare_hashes);
		check->is_indexed = true;
	}
	if (check->files.count == 0)
		return NULL;

	return bsearch(&wanted, check->files.items, check->files.count, sizeof(wanted),
	    compare_hashes);
}

int
base_check_listed(struct base_check *check, const struct base_manifest_file *file, struct err *err)
{
	struct seen_file *seen = find(check, hash_short(file->path, file->path_size));
	const char *path = file->path;

	if (seen == NULL)
		return err_set(err, ERR_DATA,
		    "file '%.*s' is in the server's manifest but was not sent", SHOWN_PATH_MAX,
		    path);
	if (seen->is_listed != 0)
		return err_set(err, ERR_DATA, "file '%.*s' is in the server's manifest twice",
		    SHOWN_PATH_MAX, path);
	if (seen->size_bytes != file->size_bytes)
		return err_set(err, ERR_DATA,
		    "file '%.*s' has %llu bytes, the server's manifest says %llu", SHOWN_PATH_MAX,
		    path, (unsigned long long)seen->size_bytes,
		    (unsigned long long)file->size_bytes);
	if (file->algorithm == BASE_CHECKSUM_CRC32C && seen->crc32c != file->crc32c)
		return err_set(err, ERR_DATA,
		    "file '%.*s' has CRC32C %08x, the server's manifest says %08x", SHOWN_PATH_MAX,
		    path, seen->crc32c, file->crc32c);
	if (file->algorithm != BASE_CHECKSUM_CRC32C)
		check->unchecked++;
	seen->is_listed = 1;
	check->listed++;

	return 0;
}

/* Was the file with this hash listed; the files are in order of time or of hash. */
static bool
is_listed(struct base_check *check, size_t index, const char *path)
{
	const struct seen_file *seen = &check->files.items[index];

	if (check->is_indexed)
		seen = find(check, hash_short(path, strlen(path)));

	return seen != NULL && seen->is_listed != 0;
}

/* Walk the remembered paths to the first that the manifest did not list. */
static int
name_unlisted(struct base_check *check, struct err *err)
{
	char path[SEEN_PATH_MAX + SHARED_MAX + 1];
	const char *at = check->paths.items;

	for (size_t i = 0; i < check->files.count; i++) {
		size_t shared = (uint8_t)*at++;
		size_t rest = strlen(at);

		if (shared + rest >= sizeof(path))
			break;
		memcpy(path + shared, at, rest + 1);
		at += rest + 1;
		if (!is_listed(check, i, path))
			return err_set(err, ERR_DATA,
			    "file '%.*s' was sent but is not in the server's manifest",
			    SHOWN_PATH_MAX, path);
	}

	return err_set(err, ERR_DATA, "a file was sent that is not in the server's manifest");
}

int
base_check_finish(struct base_check *check, struct err *err)
{
	if (check->listed == check->files.count)
		return 0;

	return name_unlisted(check, err);
}

uint64_t
base_check_files(const struct base_check *check)
{
	return check->files.count;
}

uint64_t
base_check_bytes(const struct base_check *check)
{
	return check->bytes;
}

uint64_t
base_check_unchecked(const struct base_check *check)
{
	return check->unchecked;
}

void
base_check_free(struct base_check *check)
{
	if (check == NULL)
		return;
	vec_done(&check->files);
	vec_done(&check->paths);
	free(check);
}
