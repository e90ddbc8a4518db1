#include "source/postgres/wal/names.h"

#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "base/str.h"

enum {
	SEGMENT_DIGITS = 24,
	NUMBER_DIGITS = 8, /* a timeline, an offset */
	HASH_DIGITS = 8,
};

#define UPPER_HEX "0123456789ABCDEF"
#define LOWER_HEX "0123456789abcdef"

/* Exactly so many digits of the alphabet, and what follows is `rest`. */
static bool
is_digits(const char *text, size_t digits, const char *alphabet, const char *rest)
{
	return strspn(text, alphabet) == digits && strcmp(text + digits, rest) == 0;
}

static bool
begins_with_segment(const char *name)
{
	return strspn(name, UPPER_HEX) == SEGMENT_DIGITS &&
	    strncmp(name, "00000000", NUMBER_DIGITS) != 0;
}

enum wal_file
wal_file_of(const char *name)
{
	const char *rest = name + SEGMENT_DIGITS;

	if (is_digits(name, NUMBER_DIGITS, UPPER_HEX, ".history"))
		return WAL_FILE_HISTORY;
	if (!begins_with_segment(name))
		return WAL_FILE_OTHER;
	if (*rest == '\0')
		return WAL_FILE_SEGMENT;
	if (strcmp(rest, ".partial") == 0)
		return WAL_FILE_PARTIAL;
	if (*rest == '.' && is_digits(rest + 1, NUMBER_DIGITS, UPPER_HEX, ".backup"))
		return WAL_FILE_LABEL;

	return WAL_FILE_OTHER;
}

static enum wal_form
form_of_rest(const char *rest)
{
	static const char end[] = ".partial-";

	if (*rest == '\0')
		return WAL_FORM_PLAIN;
	if (strcmp(rest, ".zst") == 0)
		return WAL_FORM_PACKED;
	if (strcmp(rest, ".partial") == 0)
		return WAL_FORM_TAIL;
	if (str_starts_with(rest, end) &&
	    is_digits(rest + strlen(end), HASH_DIGITS, LOWER_HEX, ".zst"))
		return WAL_FORM_END;

	return WAL_FORM_NONE;
}

enum wal_form
wal_form_of(const char *stored, char *ret_name)
{
	enum wal_form form = begins_with_segment(stored) ? form_of_rest(stored + SEGMENT_DIGITS)
							 : WAL_FORM_NONE;

	if (form != WAL_FORM_NONE)
		(void)snprintf(ret_name, WAL_NAME_SIZE, "%.*s", SEGMENT_DIGITS, stored);

	return form;
}

const char *
wal_stored_name(const char *name, enum wal_form form, char *ret_stored)
{
	static const char *const endings[] = {
		[WAL_FORM_PACKED] = ".zst",
		[WAL_FORM_PLAIN] = "",
		[WAL_FORM_TAIL] = ".partial",
	};

	(void)snprintf(ret_stored, WAL_STORED_NAME_SIZE, "%s%s", name,
	    (size_t)form < ARRAY_SIZE(endings) && endings[form] != NULL ? endings[form] : "");

	return ret_stored;
}

void
wal_lookup_begin(struct wal_lookup *lookup, const char *name)
{
	*lookup = (struct wal_lookup){ .name = name };
}

/* Names of one timeline and one size of segments sort as their numbers do. */
void
wal_lookup_see(struct wal_lookup *lookup, const char *stored)
{
	char name[WAL_NAME_SIZE];
	enum wal_form form = wal_form_of(stored, name);
	int order;

	if (form == WAL_FORM_NONE)
		return;
	lookup->segments++;
	if (strncmp(name, lookup->name, NUMBER_DIGITS) != 0)
		return;
	order = strcmp(name, lookup->name);
	if (order == 0)
		lookup->has[form] = true;
	else if (order > 0 && (lookup->later[0] == '\0' || strcmp(name, lookup->later) < 0))
		(void)snprintf(lookup->later, sizeof(lookup->later), "%s", name);
	else if (order < 0 && strcmp(name, lookup->earlier) > 0)
		(void)snprintf(lookup->earlier, sizeof(lookup->earlier), "%s", name);
}

enum wal_answer
wal_lookup_answer(const struct wal_lookup *lookup)
{
	bool goes_on = lookup->later[0] != '\0';

	if (lookup->has[WAL_FORM_PACKED] || lookup->has[WAL_FORM_PLAIN])
		return WAL_WHOLE;
	if (lookup->has[WAL_FORM_TAIL])
		return goes_on ? WAL_WHOLE : WAL_TAIL;

	return goes_on ? WAL_HOLE : WAL_ABSENT;
}
