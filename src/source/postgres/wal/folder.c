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
	SEGMENT_MIN_BYTES = 1024 * 1024,
	SEGMENT_MAX_BYTES = 1024 * 1024 * 1024,
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

/* ---- what ought to be there --------------------------------------------------------------------------- */

/* The ranges, and a bit for each of their segments. */
struct roll {
	struct wal_folder_range *ranges;
	uint8_t **bits;
	size_t count;
};

static void
roll_done(struct roll *roll)
{
	for (size_t i = 0; roll->bits != NULL && i < roll->count; i++)
		free(roll->bits[i]);
	free(roll->bits);
}

static uint64_t
count_segments(const struct wal_folder_range *ranges, size_t count)
{
	uint64_t total = 0;

	for (size_t i = 0; i < count; i++)
		total += ranges[i].last - ranges[i].first + 1;

	return total;
}

static int
roll_init(struct roll *roll, struct wal_folder_range *ranges, size_t count, struct err *err)
{
	uint64_t total = count_segments(ranges, count);

	if (total > segments_max)
		return err_set(err, ERR_LIMIT, "%llu segments are more than can be looked at",
		    (unsigned long long)total);
	roll->ranges = ranges;
	roll->count = count;
	roll->bits = xcalloc(count + 1, sizeof(*roll->bits));
	for (size_t i = 0; i < count; i++)
		roll->bits[i] = xcalloc((ranges[i].last - ranges[i].first) / 8 + 1, 1);

	return 0;
}

/* The range that this segment lies in; the count of ranges if there is none. */
static size_t
find_range(const struct roll *roll, uint32_t timeline, uint64_t segment)
{
	size_t low = 0;
	size_t high = roll->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct wal_folder_range *range = &roll->ranges[middle];

		if (range->timeline < timeline ||
		    (range->timeline == timeline && range->last < segment))
			low = middle + 1;
		else
			high = middle;
	}
	if (low < roll->count && roll->ranges[low].timeline == timeline &&
	    roll->ranges[low].first <= segment)
		return low;

	return roll->count;
}

/* Is it one that ought to be there. */
static bool
tick_off(struct roll *roll, uint32_t timeline, uint64_t segment)
{
	size_t at = find_range(roll, timeline, segment);
	uint64_t bit;

	if (at == roll->count)
		return false;
	bit = segment - roll->ranges[at].first;
	roll->bits[at][bit / 8] |= (uint8_t)(1U << (bit % 8));

	return true;
}

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

/*
 * A pass over a folder need not show a file that took its place meanwhile, as the compressed
 * segment does of its tail: what was not seen is asked for by name, unless it is very much.
 */
static void
take_missing(const struct roll *roll, const char *path, uint64_t segment_bytes)
{
	uint64_t asked = 0;

	for (size_t i = 0; i < roll->count; i++) {
		struct wal_folder_range *range = &roll->ranges[i];

		for (uint64_t at = 0; at <= range->last - range->first; at++) {
			uint64_t segment = range->first + at;

			if ((roll->bits[i][at / 8] & (1U << (at % 8))) != 0)
				continue;
			if (++asked > BY_NAME_MAX ||
			    !is_stored(path, range->timeline, segment, segment_bytes))
				vec_push(&range->missing, segment);
		}
	}
}

static void
look_by_name(const char *path, uint64_t segment_bytes, struct wal_folder_range *range)
{
	for (uint64_t at = range->first; at <= range->last; at++) {
		if (!is_stored(path, range->timeline, at, segment_bytes))
			vec_push(&range->missing, at);
	}
}

/* ---- all names ----------------------------------------------------------------------------------------- */

static int
add_tail(struct wal_folder *folder, DIR *dir, const char *path, const char *name,
    struct wal_folder_file *file, struct err *err)
{
	uint64_t bytes;
	bool is_there;

	if (look_at(dirfd(dir), path, name, &is_there, &bytes, &file->modified, err) < 0)
		return -1;
	if (is_there)
		vec_push(&folder->tails, *file);

	return 0;
}

static int
add_segment(struct wal_folder *folder, struct roll *roll, DIR *dir, const char *path,
    const char *name, struct err *err)
{
	struct wal_folder_file file = { .timeline = 0 };
	const char *rest = name + NAME_DIGITS;
	bool is_tail = str_equals(rest, ".partial");
	char digits[WAL_NAME_SIZE];
	bool is_expected;

	if (!is_tail && *rest != '\0' && !str_equals(rest, ".zst"))
		return 0;
	memcpy(digits, name, NAME_DIGITS);
	digits[NAME_DIGITS] = '\0';
	if (!wal_name_parse(digits, folder->segment_bytes, &file.timeline, &file.segment))
		return 0;
	is_expected = tick_off(roll, file.timeline, file.segment);
	if (is_tail)
		return add_tail(folder, dir, path, name, &file, err);
	folder->strangers_count += !is_expected;

	return 0;
}

static int
add_name(struct wal_folder *folder, struct roll *roll, DIR *dir, const char *path, const char *name,
    struct err *err)
{
	size_t size = strlen(name);

	if (size == HISTORY_DIGITS + strlen(".history") && begins_with_hex(name, HISTORY_DIGITS) &&
	    str_equals(name + HISTORY_DIGITS, ".history"))
		return add_history(folder, dir, path, name, err);
	if (size < NAME_DIGITS || !begins_with_hex(name, NAME_DIGITS))
		return 0;

	return add_segment(folder, roll, dir, path, name, err);
}

static bool
is_tail_name(const char *name)
{
	return strlen(name) > NAME_DIGITS && begins_with_hex(name, NAME_DIGITS) &&
	    str_equals(name + NAME_DIGITS, ".partial");
}

/* No base says it: a tail has the size of a segment from its first byte on. */
static int
learn_segment_bytes(const char *path, uint64_t *ret_bytes, struct err *err)
{
	SCOPED(closedirp) DIR *dir = open_folder(path, err);
	const char *name;

	*ret_bytes = DEFAULT_SEGMENT_BYTES;
	if (dir == NULL)
		return err->kind == ERR_NOT_FOUND ? 0 : -1;
	while ((name = next_name(dir, path, err)) != NULL) {
		struct wall_time modified;
		uint64_t bytes;
		bool is_there;

		if (!is_tail_name(name))
			continue;
		if (look_at(dirfd(dir), path, name, &is_there, &bytes, &modified, err) < 0)
			return -1;
		if (is_there && bytes >= SEGMENT_MIN_BYTES && bytes <= SEGMENT_MAX_BYTES &&
		    (bytes & (bytes - 1)) == 0) {
			*ret_bytes = bytes;
			return 0;
		}
	}

	return err->kind == ERR_NONE ? 0 : -1;
}

static int
read_names(const char *path, struct wal_folder *folder, struct roll *roll, struct err *err)
{
	SCOPED(closedirp) DIR *dir = open_folder(path, err);
	const char *name;

	/* A store that is only read need not have one. */
	if (dir == NULL)
		return err->kind == ERR_NOT_FOUND ? 0 : -1;
	while ((name = next_name(dir, path, err)) != NULL) {
		if (add_name(folder, roll, dir, path, name, err) < 0)
			return -1;
	}

	return err->kind == ERR_NONE ? 0 : -1;
}

int
wal_folder_read(const char *path, uint64_t segment_bytes, struct wal_folder_range *ranges,
    size_t count, struct wal_folder *ret_folder, struct err *err)
{
	SCOPED(wal_folder_done) struct wal_folder folder = { .segment_bytes = segment_bytes };
	SCOPED(roll_done) struct roll roll = { .count = 0 };

	if (segment_bytes == 0 && learn_segment_bytes(path, &folder.segment_bytes, err) < 0)
		return -1;
	if (roll_init(&roll, ranges, count, err) < 0 || read_names(path, &folder, &roll, err) < 0)
		return -1;
	take_missing(&roll, path, folder.segment_bytes);
	*ret_folder = folder;
	folder = (struct wal_folder){ .segment_bytes = 0 };

	return 0;
}

int
wal_folder_find_missing(const char *path, uint64_t segment_bytes, struct wal_folder_range *ranges,
    size_t count, struct err *err)
{
	SCOPED(wal_folder_done) struct wal_folder folder = { .segment_bytes = 0 };

	if (count_segments(ranges, count) > BY_NAME_MAX)
		return wal_folder_read(path, segment_bytes, ranges, count, &folder, err);
	for (size_t i = 0; i < count; i++)
		look_by_name(path, segment_bytes, &ranges[i]);

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
