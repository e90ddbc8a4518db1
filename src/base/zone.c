#include "base/zone.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/zone_internal.h"

#define ZONE_FOLDER "/usr/share/zoneinfo"

enum {
	ZONE_NAME_MAX = 64,
	ZONE_FILE_MAX_BYTES = 256 * 1024,
	REACH_S = 27 * 3600, /* more than any offset: what decides a civil time lies this near */
};

/* Letters, digits, '_', '+' and '-', in parts between single slashes: no way out of the folder. */
static bool
is_zone_name(const char *name)
{
	size_t size = strlen(name);

	if (size == 0 || size > ZONE_NAME_MAX || name[0] == '/' || name[size - 1] == '/')
		return false;
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)name[i];

		if (!isalnum(c) && strchr("_+-/", c) == NULL)
			return false;
		if (c == '/' && name[i + 1] == '/')
			return false;
	}

	return true;
}

static int
unknown_zone(const char *name, struct err *err)
{
	(void)err_set(err, ERR_NOT_FOUND, "unknown time zone '%.80s'", name);
	return err_hint(err,
	    "Use an IANA name like Europe/Berlin; the package tzdata brings them to " ZONE_FOLDER
	    ".");
}

/* All of a regular file of at most ZONE_FILE_MAX_BYTES; never waits on a pipe. */
static int
read_zone_file(const char *path, const char *name, struct str *data, struct err *err)
{
	SCOPED(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	char buffer[4096];
	ssize_t size;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return unknown_zone(name, err);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, "cannot open time zone file '%s'", path);
	if (!S_ISREG(st.st_mode))
		return unknown_zone(name, err);
	while ((size = read(fd, buffer, sizeof(buffer))) > 0)
		str_add_bytes(data, buffer, (size_t)size);
	if (size < 0)
		return err_sys(err, "cannot read time zone file '%s'", path);
	if (str_is_full(data))
		return err_set(err, ERR_LIMIT, "time zone file '%s' is too large", path);

	return 0;
}

struct zone *
zone_open(const char *name, struct err *err)
{
	SCOPED(zone_closep) struct zone *zone = xcalloc(1, sizeof(*zone));
	SCOPED(str_done) struct str data = STR_INIT_MAX(ZONE_FILE_MAX_BYTES);
	SCOPED(freep) char *path = NULL;
	const char *folder = getenv("TZDIR");

	if (!is_zone_name(name)) {
		(void)unknown_zone(name, err);
		return NULL;
	}
	zone->name = xstrdup(name);
	if (strcmp(name, "UTC") == 0)
		return TAKE(zone);
	path = xasprintf("%s/%s", folder != NULL && folder[0] != '\0' ? folder : ZONE_FOLDER, name);
	if (read_zone_file(path, name, &data, err) < 0)
		return NULL;
	if (zone_file_parse((const uint8_t *)str_text(&data), data.size, zone, err) < 0) {
		(void)err_wrap(err, "time zone '%s': '%s'", name, path);
		return NULL;
	}

	return TAKE(zone);
}

const char *
zone_name(const struct zone *zone)
{
	return zone->name;
}

void
zone_close(struct zone *zone)
{
	if (zone == NULL)
		return;
	free(zone->name);
	free(zone->at_s);
	free(zone->offset_s);
	free(zone);
}

static int64_t
floor_to_s(struct wall_time time)
{
	return time.us >= 0 ? time.us / US_PER_S : -((-time.us + US_PER_S - 1) / US_PER_S);
}

/* How many changes of the table lie at or before `unix_s`. */
static size_t
changes_until(const struct zone *zone, int64_t unix_s)
{
	size_t low = 0;
	size_t high = zone->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (zone->at_s[middle] <= unix_s)
			low = middle + 1;
		else
			high = middle;
	}

	return low;
}

static int
offset_at_s(const struct zone *zone, int64_t unix_s)
{
	size_t passed = changes_until(zone, unix_s);

	if (passed == zone->count && zone->has_rule)
		return zone_rule_offset_s(&zone->rule, unix_s);

	return passed > 0 ? zone->offset_s[passed - 1] : zone->first_offset_s;
}

/* The first change after `unix_s`; false when there is none. */
static bool
next_change(const struct zone *zone, int64_t unix_s, int64_t *ret_unix_s)
{
	size_t passed = changes_until(zone, unix_s);

	if (passed < zone->count) {
		*ret_unix_s = zone->at_s[passed];
		return true;
	}

	return zone->has_rule && zone_rule_next(&zone->rule, unix_s, ret_unix_s);
}

int
zone_offset_s(const struct zone *zone, struct wall_time time)
{
	return offset_at_s(zone, floor_to_s(time));
}

struct civil
zone_civil(const struct zone *zone, struct wall_time time)
{
	int64_t unix_s = floor_to_s(time);

	return civil_from_unix_s(unix_s + offset_at_s(zone, unix_s));
}

/* What zone_resolve has found so far while it walks over the spans of constant offset. */
struct resolution {
	int64_t civil_s; /* the civil time, as if it were UTC */
	int64_t found_s[2];
	size_t count;
	int64_t after_gap_s;
	bool is_in_gap;
};

/* Look into the span [begin_s, end_s), before which `offset_before_s` was in force. */
static void
look_into_span(struct resolution *r, int64_t begin_s, int64_t end_s, int offset_before_s,
    int offset_s)
{
	int64_t unix_s = r->civil_s - offset_s;

	if (unix_s >= begin_s && unix_s < end_s && r->count < ARRAY_SIZE(r->found_s))
		r->found_s[r->count++] = unix_s;
	if (!r->is_in_gap && r->civil_s >= begin_s + offset_before_s &&
	    r->civil_s < begin_s + offset_s) {
		r->is_in_gap = true;
		r->after_gap_s = begin_s;
	}
}

enum zone_match
zone_resolve(const struct zone *zone, const struct civil *civil, struct wall_time *ret_time,
    struct wall_time *ret_second)
{
	struct resolution r = { .civil_s = civil_to_unix_s(civil) };
	int64_t begin_s = r.civil_s - REACH_S;
	int64_t limit_s = r.civil_s + REACH_S;
	int offset_before_s = offset_at_s(zone, begin_s);

	while (begin_s < limit_s) {
		int offset_s = offset_at_s(zone, begin_s);
		int64_t end_s;

		if (!next_change(zone, begin_s, &end_s) || end_s > limit_s)
			end_s = limit_s;
		look_into_span(&r, begin_s, end_s, offset_before_s, offset_s);
		offset_before_s = offset_s;
		begin_s = end_s;
	}
	if (r.count == 0) {
		ret_time->us = (r.is_in_gap ? r.after_gap_s : r.civil_s) * US_PER_S;
		return ZONE_GAP;
	}
	ret_time->us = r.found_s[0] * US_PER_S;
	if (r.count == 1)
		return ZONE_UNIQUE;
	if (ret_second != NULL)
		ret_second->us = r.found_s[1] * US_PER_S;

	return ZONE_OVERLAP;
}

/* "+01:00", or "+00:53:28" as before time was made regular; `text` holds 16 bytes. */
static const char *
format_offset(int offset_s, char *text)
{
	int size_s = offset_s < 0 ? -offset_s : offset_s;
	char sign = offset_s < 0 ? '-' : '+';

	if (size_s % 60 != 0)
		(void)snprintf(text, 16, "%c%02d:%02d:%02d", sign, size_s / 3600, size_s / 60 % 60,
		    size_s % 60);
	else
		(void)snprintf(text, 16, "%c%02d:%02d", sign, size_s / 3600, size_s / 60 % 60);

	return text;
}

const char *
zone_format(const struct zone *zone, struct wall_time time, char *text)
{
	struct civil c = zone_civil(zone, time);
	char offset[16];

	(void)snprintf(text, CLOCK_TEXT_SIZE, "%04d-%02d-%02d %02d:%02d:%02d %s", c.year, c.month,
	    c.day, c.hour, c.minute, c.second, format_offset(zone_offset_s(zone, time), offset));

	return text;
}

/*
 * The civil time that `text` writes without an offset, found by letting clock_parse read it as
 * UTC.  "14:05" stands for "14:05:00".
 */
static bool
parse_without_offset(const char *text, struct wall_time *ret_time)
{
	struct err ignored = ERR_INIT;
	char as_utc[CLOCK_TEXT_SIZE * 2];
	size_t size = strlen(text);
	const char *end = size == sizeof("2025-11-25 14:05") - 1 ? ":00Z" : "Z";

	if (size == 0 || size + 5 > sizeof(as_utc) || !isdigit((unsigned char)text[size - 1]))
		return false;
	(void)snprintf(as_utc, sizeof(as_utc), "%s%s", text, end);

	return clock_parse(as_utc, ret_time, &ignored) == 0;
}

static int
refuse_overlap(const struct zone *zone, const char *text, struct wall_time first,
    struct wall_time second, struct err *err)
{
	char offsets[2][16];

	(void)err_set(err, ERR_USAGE, "'%.60s' exists twice in %s, because the clock was set back",
	    text, zone->name);
	return err_hint(err,
	    "Say which is meant by its offset: '%.40s%s' is the first, '%.40s%s' the second.", text,
	    format_offset(zone_offset_s(zone, first), offsets[0]), text,
	    format_offset(zone_offset_s(zone, second), offsets[1]));
}

int
zone_parse(const struct zone *zone, const char *text, struct wall_time *ret_time, struct err *err)
{
	struct wall_time as_utc, first;
	struct wall_time second = { .us = 0 };
	struct civil civil;
	char after[CLOCK_TEXT_SIZE];
	int64_t fraction_us;

	if (!parse_without_offset(text, &as_utc)) {
		if (clock_parse(text, ret_time, err) == 0)
			return 0;
		(void)err_set(err, ERR_USAGE, "'%.60s' is not a time", text);
		return err_hint(err,
		    "Write it like '2025-11-25 14:05:09', or with an offset like '2025-11-25 14:05:09+01:00'.");
	}
	civil = civil_from_unix_s(floor_to_s(as_utc));
	fraction_us = as_utc.us - floor_to_s(as_utc) * US_PER_S;
	switch (zone_resolve(zone, &civil, &first, &second)) {
	case ZONE_OVERLAP:
		return refuse_overlap(zone, text, first, second, err);
	case ZONE_GAP:
		(void)err_set(err, ERR_USAGE,
		    "'%.60s' does not exist in %s, because the clock was set forward", text,
		    zone->name);
		return err_hint(err, "The first time after the gap is %s.",
		    zone_format(zone, first, after));
	default:
		ret_time->us = first.us + fraction_us;
		return 0;
	}
}

const char *
zone_format_us(const struct zone *zone, struct wall_time time, char *text)
{
	int64_t fraction_us = ((time.us % US_PER_S) + US_PER_S) % US_PER_S;
	int offset_s = zone != NULL ? zone_offset_s(zone, time) : 0;
	struct civil at = civil_from_unix_s((time.us - fraction_us) / US_PER_S + offset_s);
	int minutes = (offset_s < 0 ? -offset_s : offset_s) / 60;

	(void)snprintf(text, CLOCK_TEXT_SIZE, "%04d-%02d-%02d %02d:%02d:%02d.%06d%c%02d:%02d",
	    at.year, at.month, at.day, at.hour, at.minute, at.second, (int)fraction_us,
	    offset_s < 0 ? '-' : '+', minutes / 60, minutes % 60);

	return text;
}
