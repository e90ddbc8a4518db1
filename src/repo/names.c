#include "repo/names.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "base/zone.h"

#define MANIFEST_NAME "manifest.json"
#define TEMPORARY_PREFIX ".tmp-"

enum { LABEL_MAX = 63 };

static void
make_stem(const struct layout *layout, const struct civil *civil, unsigned attempt,
    struct str *stem)
{
	str_addf(stem, "%s%04d-%02d-%02d", layout->stem_prefix, civil->year, civil->month,
	    civil->day);
	if (layout->has_time)
		str_addf(stem, "-%02d-%02d", civil->hour, civil->minute);
	if (attempt > 0)
		str_addf(stem, "-%02d%02d%02d", civil->hour, civil->minute, civil->second);
	if (attempt > 1)
		str_addf(stem, "-%u", attempt);
}

void
place_make(const char *source, const struct layout *layout, const struct zone *zone,
    struct wall_time time, unsigned attempt, struct place *ret_place)
{
	SCOPED(str_done) struct str folder = STR_INIT;
	SCOPED(str_done) struct str stem = STR_INIT;
	char stamp[CLOCK_TEXT_SIZE];

	str_add(&folder, source);
	if (layout->subfolder != NULL && layout->subfolder[0] != '\0')
		str_addf(&folder, "/%s", layout->subfolder);
	if (layout->stem_prefix != NULL) {
		struct civil civil = zone_civil(zone, time);

		make_stem(layout, &civil, attempt, &stem);
	} else {
		str_addf(&folder, "/%s", clock_format_compact(time, stamp));
		if (attempt > 0)
			str_addf(&folder, "-%u", attempt);
	}
	ret_place->folder = str_take(&folder);
	ret_place->stem = layout->stem_prefix != NULL ? str_take(&stem) : NULL;
}

void
place_done(struct place *place)
{
	free(place->folder);
	free(place->stem);
	*place = (struct place){ .folder = NULL };
}

char *
place_part_name(const struct place *place, const char *part)
{
	const char *slash = place->folder[0] != '\0' ? "/" : "";

	if (place->stem == NULL)
		return xasprintf("%s%s%s", place->folder, slash, part);

	return xasprintf("%s%s%s.%s", place->folder, slash, place->stem, part);
}

char *
place_manifest_name(const struct place *place)
{
	return place_part_name(place, MANIFEST_NAME);
}

char *
name_folder(const char *object_name)
{
	const char *slash = strrchr(object_name, '/');

	return slash != NULL ? xstrndup(object_name, (size_t)(slash - object_name)) : xstrdup("");
}

const char *
name_base(const char *object_name)
{
	const char *slash = strrchr(object_name, '/');

	return slash != NULL ? slash + 1 : object_name;
}

bool
name_is_manifest(const char *object_name)
{
	const char *base = name_base(object_name);

	return strcmp(base, MANIFEST_NAME) == 0 ||
	    (str_ends_with(base, "." MANIFEST_NAME) && base[0] != '.');
}

bool
name_is_temporary(const char *object_name)
{
	return str_starts_with(object_name, TEMPORARY_PREFIX) ||
	    strstr(object_name, "/" TEMPORARY_PREFIX) != NULL;
}

/* ASCII only, whatever the locale: names must mean the same on every machine. */
static bool
is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	    c == '_' || c == '.' || c == '-';
}

char *
name_encode(const char *text)
{
	SCOPED(str_done) struct str encoded = STR_INIT;

	for (const char *c = text; *c != '\0'; c++) {
		if (is_plain(*c) && !(c == text && *c == '.'))
			str_add_char(&encoded, *c);
		else
			str_addf(&encoded, "%%%02X", (unsigned char)*c);
	}

	return str_take(&encoded);
}

char *
name_decode(const char *text, struct err *err)
{
	SCOPED(str_done) struct str decoded = STR_INIT;

	for (const char *c = text; *c != '\0'; c++) {
		char digits[3] = "";
		struct err inner = ERR_INIT;
		uint8_t byte;

		if (*c != '%') {
			str_add_char(&decoded, *c);
			continue;
		}
		memcpy(digits, c + 1, strnlen(c + 1, 2));
		if (parse_hex_bytes(digits, &byte, 1, &inner) < 0 || byte == 0) {
			(void)err_set(err, ERR_DATA,
			    "name '%.200s' has a '%%' without two hexadecimal digits", text);
			return NULL;
		}
		str_add_bytes(&decoded, &byte, 1);
		c += 2;
	}

	return str_take(&decoded);
}

char *
backup_id_make(const char *job, struct wall_time time, const char *random_hex)
{
	int64_t unix_s = time.us / US_PER_S - (time.us % US_PER_S < 0 ? 1 : 0);
	struct civil c = civil_from_unix_s(unix_s);

	return xasprintf("%s-%04d%02d%02d-%02d%02d%02d-%s", job, c.year, c.month, c.day, c.hour,
	    c.minute, c.second, random_hex);
}

bool
backup_id_is(const char *text)
{
	static const char shape[] = "-dddddddd-dddddd-";
	const size_t size = sizeof(shape) - 1;
	const char *end = strrchr(text, '-');

	if (end == NULL || end[1] == '\0' || (size_t)(end + 1 - text) <= size)
		return false;
	for (size_t i = 0; i < size; i++) {
		char c = end[1 + (ptrdiff_t)i - (ptrdiff_t)size];

		if (shape[i] == 'd' ? c < '0' || c > '9' : c != shape[i])
			return false;
	}

	return true;
}

char *
name_marker_stem(const char *base_name)
{
	static const char ending[] = "." PLACE_MARKER;
	const char *id = base_name + sizeof(TEMPORARY_PREFIX) - 1;
	const char *stem = NULL;

	if (!str_starts_with(base_name, TEMPORARY_PREFIX) || !str_ends_with(base_name, ending))
		return NULL;
	/* A job may be called as an id looks: the longest that is one. */
	for (const char *dash = strchr(id, '-'); dash != NULL; dash = strchr(dash + 1, '-')) {
		SCOPED(freep) char *candidate = xstrndup(id, (size_t)(dash - id));

		if (backup_id_is(candidate))
			stem = dash + 1;
	}
	if (stem == NULL || strlen(stem) < sizeof(ending))
		return NULL;

	return xstrndup(stem, strlen(stem) - (sizeof(ending) - 1));
}

/* Read `digits` decimal digits at *cursor, after `lead` if that is not NUL. */
static bool
read_number(const char **cursor, char lead, int digits, int *ret_value)
{
	const char *at = *cursor;
	int value = 0;

	if (lead != '\0' && *at++ != lead)
		return false;
	for (int i = 0; i < digits; i++, at++) {
		if (*at < '0' || *at > '9')
			return false;
		value = value * 10 + (*at - '0');
	}
	*cursor = at;
	*ret_value = value;

	return true;
}

/* Our own suffix, if it is there: "-HHMMSS" and a counter.  False: something else follows. */
static bool
read_suffix(const char **cursor, struct civil *civil)
{
	const char *at = *cursor;

	if (*at != '-')
		return true;
	if (!read_number(&at, '-', 2, &civil->hour) || !read_number(&at, '\0', 2, &civil->minute) ||
	    !read_number(&at, '\0', 2, &civil->second))
		return false;
	if (at[0] == '-' && at[1] >= '1' && at[1] <= '9')
		at += 1 + strspn(at + 1, "0123456789");
	*cursor = at;

	return true;
}

/* Does `rest` end the name: ".dump", or ".<database>.dump". */
static bool
is_extension(const char *rest, const char *extension)
{
	size_t size = strlen(rest);
	size_t extension_size = strlen(extension);

	if (rest[0] != '.' || size < extension_size + 1)
		return false;
	if (size == extension_size + 1)
		return strcmp(rest + 1, extension) == 0;

	/* At least one byte between the two dots. */
	return size >= extension_size + 3 && rest[size - extension_size - 1] == '.' &&
	    strcmp(rest + size - extension_size, extension) == 0;
}

bool
name_parse_flat(const char *object_name, const struct layout *layout, const char *extension,
    const struct zone *zone, struct wall_time *ret_time, char **ret_stem)
{
	const char *base = name_base(object_name);
	struct civil civil = { .hour = 0 };
	const char *at;

	if (layout->stem_prefix == NULL || !str_starts_with(base, layout->stem_prefix))
		return false;
	at = base + strlen(layout->stem_prefix);
	if (!read_number(&at, '\0', 4, &civil.year) || !read_number(&at, '-', 2, &civil.month) ||
	    !read_number(&at, '-', 2, &civil.day))
		return false;
	if (layout->has_time &&
	    (!read_number(&at, '-', 2, &civil.hour) || !read_number(&at, '-', 2, &civil.minute)))
		return false;
	if (!read_suffix(&at, &civil) || !civil_is_valid(&civil) || !is_extension(at, extension))
		return false;
	(void)zone_resolve(zone, &civil, ret_time, NULL);
	*ret_stem = xstrndup(base, (size_t)(at - base));

	return true;
}

bool
name_is_valid_label(const char *label)
{
	size_t size = strlen(label);

	if (size == 0 || size > LABEL_MAX || strchr("_.-", label[0]) != NULL)
		return false;
	for (size_t i = 0; i < size; i++) {
		if (!is_plain(label[i]))
			return false;
	}

	return true;
}
