#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "all_zones.h"

#include "base/err.h"
#include "base/vec.h"
#include "base/zone.h"

#define FOLDER "/usr/share/zoneinfo"

struct search {
	void (*visit)(const struct zone *zone, void *context);
	void *context;
	VEC(ino_t) seen;
	size_t count;
};

static bool
is_new(struct search *search, ino_t inode)
{
	for (size_t i = 0; i < search->seen.count; i++) {
		if (search->seen.items[i] == inode)
			return false;
	}
	vec_push(&search->seen, inode);

	return true;
}

static void
take_file(struct search *search, const char *name)
{
	struct err err = ERR_INIT;
	struct zone *zone;
	char magic[4] = "";
	char path[512];
	FILE *file;

	(void)snprintf(path, sizeof(path), FOLDER "/%s", name);
	file = fopen(path, "rbe");
	assert_non_null(file);
	(void)!fread(magic, 1, sizeof(magic), file);
	(void)fclose(file);
	if (memcmp(magic, "TZif", 4) != 0)
		return;
	zone = zone_open(name, &err);
	if (zone == NULL)
		fail_msg("%s", err.msg);
	search->visit(zone, search->context);
	search->count++;
	zone_close(zone);
}

/* "posix" repeats all the others, "right" counts leap seconds, which zone_open refuses. */
static void
search_folder(struct search *search, const char *below)
{
	struct dirent **entries = NULL;
	char path[512];
	int count;

	(void)snprintf(path, sizeof(path), FOLDER "/%s", below);
	count = scandir(path, &entries, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		const char *entry = entries[i]->d_name;
		char name[256];
		struct stat st;

		(void)snprintf(name, sizeof(name), "%s%s%s", below, below[0] != '\0' ? "/" : "",
		    entry);
		(void)snprintf(path, sizeof(path), FOLDER "/%s", name);
		if (entry[0] != '.' && strcmp(name, "posix") != 0 && strcmp(name, "right") != 0 &&
		    stat(path, &st) == 0) {
			if (S_ISDIR(st.st_mode))
				search_folder(search, name);
			else if (strchr(entry, '.') == NULL && is_new(search, st.st_ino))
				take_file(search, name);
		}
		free(entries[i]);
	}
	free(entries);
}

size_t
all_zones_visit(void (*visit)(const struct zone *zone, void *context), void *context)
{
	struct search search = { .visit = visit, .context = context };

	search_folder(&search, "");
	vec_done(&search.seen);

	return search.count;
}

bool
all_zones_next_change(const struct zone *zone, struct wall_time after, struct wall_time until,
    struct wall_time *ret_change)
{
	const int64_t stride_us = 6 * 3600 * US_PER_S;
	int before_s = zone_offset_s(zone, after);

	while (after.us < until.us) {
		struct wall_time low = after;
		struct wall_time high = { .us = after.us + stride_us };

		if (zone_offset_s(zone, high) == before_s) {
			after = high;
			continue;
		}
		while (high.us - low.us > US_PER_S) {
			struct wall_time middle = { .us = low.us +
				    (high.us - low.us) / 2 / US_PER_S * US_PER_S };

			if (zone_offset_s(zone, middle) == before_s)
				low = middle;
			else
				high = middle;
		}
		*ret_change = high;
		return high.us <= until.us;
	}

	return false;
}
