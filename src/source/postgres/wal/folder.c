#include "source/postgres/wal/folder.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "source/postgres/lsn.h"

enum {
	NAME_DIGITS = WAL_NAME_SIZE - 1,
	HISTORY_DIGITS = 8,
	BY_NAME_MAX = 50000,
	DEFAULT_SEGMENT_BYTES = 16 * 1024 * 1024,
};
static const uint64_t segments_max = UINT64_C(1) << 26;

void
wal_folder_done(struct wal_folder *folder)
{
	vec_done(&folder->histories);
	vec_done(&folder->tails);
}

static void
closedirp(DIR **dir)
{
	if (*dir != NULL)
		(void)closedir(*dir);
}

static bool
begins_with_hex(const char *name, size_t digits)
{
	for (size_t i = 0; i < digits; i++) {
		if (!isdigit((unsigned char)name[i]) && !(name[i] >= 'A' && name[i] <= 'F'))
			return false;
	}

	return true;
}

/* ---- one pass ---------------------------------------------------------------------------------------- */

static DIR *
open_folder(const char *path, struct err *err)
{
	DIR *dir = opendir(path);

	if (dir == NULL)
		(void)err_sys(err, "cannot read folder '%s'", path);

	return dir;
}

/* The next name; NULL with err->kind ERR_NONE at the end. */
static const char *
next_name(DIR *dir, const char *path, struct err *err)
{
	const struct dirent *entry;

	err->kind = ERR_NONE;
	errno = 0;
	entry = readdir(dir);
	if (entry == NULL && errno != 0)
		(void)err_sys(err, "cannot read folder '%s'", path);

	return entry != NULL ? entry->d_name : NULL;
}

/* Gone in the meantime is no error: *ret_is_there false. */
static int
look_at(int dir, const char *path, const char *name, bool *ret_is_there, uint64_t *ret_bytes,
    struct wall_time *ret_modified, struct err *err)
{
	struct stat stat;

	*ret_is_there = false;
	if (fstatat(dir, name, &stat, 0) < 0)
		return errno == ENOENT ? 0 : err_sys(err, "cannot look at '%s/%s'", path, name);
	*ret_is_there = true;
	*ret_bytes = (uint64_t)stat.st_size;
	ret_modified->us = (int64_t)stat.st_mtim.tv_sec * US_PER_S +
	    (int64_t)stat.st_mtim.tv_nsec / 1000;

	return 0;
}

static int
add_history(struct wal_folder *folder, DIR *dir, const char *path, const char *name,
    struct err *err)
{
	struct wal_folder_file file = { .timeline = 0 };
	char digits[HISTORY_DIGITS + 1];
	uint64_t timeline, bytes;
	bool is_there;

	memcpy(digits, name, HISTORY_DIGITS);
	digits[HISTORY_DIGITS] = '\0';
	if (parse_hex_u64(digits, HISTORY_DIGITS, &timeline, err) < 0 ||
	    look_at(dirfd(dir), path, name, &is_there, &bytes, &file.modified, err) < 0)
		return -1;
	file.timeline = (uint32_t)timeline;
	if (is_there)
		vec_push(&folder->histories, file);

	return 0;
}

static int
add_tail(struct wal_folder *folder, DIR *dir, const char *path, const char *name, struct err *err)
{
	struct wal_folder_file file = { .timeline = 0 };
	char digits[WAL_NAME_SIZE];
	uint64_t bytes;
	bool is_there;

	memcpy(digits, name, NAME_DIGITS);
	digits[NAME_DIGITS] = '\0';
	if (look_at(dirfd(dir), path, name, &is_there, &bytes, &file.modified, err) < 0)
		return -1;
	if (folder->segment_bytes == 0 && bytes != 0)
		folder->segment_bytes = bytes;
	if (is_there &&
	    wal_name_parse(digits, folder->segment_bytes, &file.timeline, &file.segment))
		vec_push(&folder->tails, file);

	return 0;
}

static int
add_name(struct wal_folder *folder, DIR *dir, const char *path, const char *name, struct err *err)
{
	size_t size = strlen(name);

	if (size == HISTORY_DIGITS + strlen(".history") && begins_with_hex(name, HISTORY_DIGITS) &&
	    str_equals(name + HISTORY_DIGITS, ".history"))
		return add_history(folder, dir, path, name, err);
	if (size < NAME_DIGITS || !begins_with_hex(name, NAME_DIGITS))
		return 0;
	if (size == NAME_DIGITS || str_equals(name + NAME_DIGITS, ".zst"))
		folder->segments_count++;
	else if (str_equals(name + NAME_DIGITS, ".partial"))
		return add_tail(folder, dir, path, name, err);

	return 0;
}

int
wal_folder_read(const char *path, uint64_t segment_bytes, struct wal_folder *ret_folder,
    struct err *err)
{
	SCOPED(wal_folder_done) struct wal_folder folder = { .segment_bytes = segment_bytes };
	SCOPED(closedirp) DIR *dir = open_folder(path, err);
	const char *name;

	/* A store that is only read need not have one. */
	if (dir == NULL && err->kind != ERR_NOT_FOUND)
		return -1;
	while (dir != NULL && (name = next_name(dir, path, err)) != NULL) {
		if (add_name(&folder, dir, path, name, err) < 0)
			return -1;
	}
	if (dir != NULL && err->kind != ERR_NONE)
		return -1;
	if (folder.segment_bytes == 0)
		folder.segment_bytes = DEFAULT_SEGMENT_BYTES;
	*ret_folder = folder;
	folder = (struct wal_folder){ .segment_bytes = 0 };

	return 0;
}

int
wal_folder_probe(const char *path, const char *name, bool *ret_is_there,
    struct wall_time *ret_modified, struct err *err)
{
	SCOPED(freep) char *file = xasprintf("%s/%s", path, name);
	uint64_t bytes;

	return look_at(AT_FDCWD, path, file, ret_is_there, &bytes, ret_modified, err);
}

/* ---- is everything there --------------------------------------------------------------------------------- */

struct seen {
	const struct wal_folder_range *range;
	uint8_t *bits; /* one for each segment of the range */
};

static void
mark_seen(struct seen *seen, size_t count, const char *name, uint64_t segment_bytes)
{
	char digits[WAL_NAME_SIZE];
	uint32_t timeline;
	uint64_t segment;

	memcpy(digits, name, NAME_DIGITS);
	digits[NAME_DIGITS] = '\0';
	if (!wal_name_parse(digits, segment_bytes, &timeline, &segment))
		return;
	for (size_t i = 0; i < count; i++) {
		const struct wal_folder_range *range = seen[i].range;

		if (range->timeline == timeline && segment >= range->first &&
		    segment <= range->last)
			seen[i].bits[(segment - range->first) / 8] |= (uint8_t)(1U
			    << ((segment - range->first) % 8));
	}
}

static void
take_missing(const struct seen *seen, struct wal_folder_range *range)
{
	for (uint64_t at = 0; at <= range->last - range->first; at++) {
		if ((seen->bits[at / 8] & (1U << (at % 8))) == 0)
			vec_push(&range->missing, range->first + at);
	}
}

/* By name, where that is quicker than to look through the whole folder. */
static bool
is_stored(const char *path, uint32_t timeline, uint64_t segment, uint64_t segment_bytes)
{
	static const char *const endings[] = { ".zst", "", ".partial" };
	char name[WAL_NAME_SIZE];

	(void)wal_name_format(timeline, segment, segment_bytes, name);
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		SCOPED(freep) char *file = xasprintf("%s/%s%s", path, name, endings[i]);

		if (access(file, F_OK) == 0)
			return true;
	}

	return false;
}

static void
look_by_name(const char *path, uint64_t segment_bytes, struct wal_folder_range *range)
{
	for (uint64_t at = range->first; at <= range->last; at++) {
		if (!is_stored(path, range->timeline, at, segment_bytes))
			vec_push(&range->missing, at);
	}
}

static int
see_names(const char *path, uint64_t segment_bytes, struct seen *seen, size_t count,
    struct err *err)
{
	SCOPED(closedirp) DIR *dir = open_folder(path, err);
	const char *name;

	if (dir == NULL)
		return -1;
	while ((name = next_name(dir, path, err)) != NULL) {
		const char *rest = name + NAME_DIGITS;

		if (strlen(name) >= NAME_DIGITS && begins_with_hex(name, NAME_DIGITS) &&
		    (*rest == '\0' || str_equals(rest, ".zst") || str_equals(rest, ".partial")))
			mark_seen(seen, count, name, segment_bytes);
	}

	return err->kind == ERR_NONE ? 0 : -1;
}

int
wal_folder_find_missing(const char *path, uint64_t segment_bytes, struct wal_folder_range *ranges,
    size_t count, struct err *err)
{
	struct seen *seen = xcalloc(count + 1, sizeof(*seen));
	uint64_t total = 0;
	int result = -1;

	for (size_t i = 0; i < count; i++)
		total += ranges[i].last - ranges[i].first + 1;
	if (total <= BY_NAME_MAX) {
		for (size_t i = 0; i < count; i++)
			look_by_name(path, segment_bytes, &ranges[i]);
		free(seen);
		return 0;
	}
	if (total > segments_max) {
		(void)err_set(err, ERR_LIMIT, "%llu segments are more than can be looked at",
		    (unsigned long long)total);
	} else {
		for (size_t i = 0; i < count; i++) {
			seen[i].range = &ranges[i];
			seen[i].bits = xcalloc((ranges[i].last - ranges[i].first) / 8 + 1, 1);
		}
		result = see_names(path, segment_bytes, seen, count, err);
	}
	for (size_t i = 0; i < count; i++) {
		if (result == 0)
			take_missing(&seen[i], &ranges[i]);
		free(seen[i].bits);
	}
	free(seen);

	return result;
}
