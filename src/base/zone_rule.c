#include <ctype.h>

#include "base/clock.h"
#include "base/zone_internal.h"

enum {
	DAY_S = 86400,
	HOURS_OFFSET_MAX = 24,
	HOURS_TIME_MAX = 167, /* a week, as RFC 8536 extends POSIX */
};

/* "CET" or "<+0530>": read and dropped, offsets are all we need. */
static bool
skip_name(const char **cursor)
{
	const char *at = *cursor;
	size_t size = 0;

	if (*at == '<') {
		for (at++; isalnum((unsigned char)*at) || *at == '+' || *at == '-'; at++)
			size++;
		if (*at++ != '>')
			return false;
	} else {
		for (; isalpha((unsigned char)*at); at++)
			size++;
	}
	*cursor = at;

	return size >= 3;
}

static bool
read_number(const char **cursor, int max, int *ret_value)
{
	int value = 0;

	if (!isdigit((unsigned char)**cursor))
		return false;
	for (; isdigit((unsigned char)**cursor); (*cursor)++) {
		value = value * 10 + (**cursor - '0');
		if (value > max)
			return false;
	}
	*ret_value = value;

	return true;
}

/* "[+-]hh[:mm[:ss]]" to seconds. */
static bool
read_hms(const char **cursor, int hours_max, int *ret_s)
{
	int sign = **cursor == '-' ? -1 : 1;
	int part[3] = { 0 };

	if (**cursor == '-' || **cursor == '+')
		(*cursor)++;
	if (!read_number(cursor, hours_max, &part[0]))
		return false;
	for (int i = 1; i < 3 && **cursor == ':'; i++) {
		(*cursor)++;
		if (!read_number(cursor, 59, &part[i]))
			return false;
	}
	*ret_s = sign * (part[0] * 3600 + part[1] * 60 + part[2]);

	return true;
}

static bool
read_dotted(const char **cursor, int max, int *ret_value)
{
	if (**cursor != '.')
		return false;
	(*cursor)++;

	return read_number(cursor, max, ret_value);
}

/* ",M3.5.0/2" */
static bool
read_day(const char **cursor, struct zone_rule_day *day)
{
	if (**cursor != ',')
		return false;
	(*cursor)++;
	day->time_s = 2 * 3600;
	if (**cursor == 'M') {
		(*cursor)++;
		day->form = ZONE_DAY_WEEKDAY;
		if (!read_number(cursor, 12, &day->month) || !read_dotted(cursor, 5, &day->week) ||
		    !read_dotted(cursor, 6, &day->weekday) || day->month < 1 || day->week < 1)
			return false;
	} else if (**cursor == 'J') {
		(*cursor)++;
		day->form = ZONE_DAY_JULIAN;
		if (!read_number(cursor, 365, &day->day) || day->day < 1)
			return false;
	} else {
		day->form = ZONE_DAY_ZERO_BASED;
		if (!read_number(cursor, 365, &day->day))
			return false;
	}
	if (**cursor != '/')
		return true;
	(*cursor)++;

	return read_hms(cursor, HOURS_TIME_MAX, &day->time_s);
}

bool
zone_rule_parse(const char *text, struct zone_rule *ret_rule)
{
	const char *at = text;
	struct zone_rule rule = { .has_summer = false };
	int west_s;

	if (!skip_name(&at) || !read_hms(&at, HOURS_OFFSET_MAX, &west_s))
		return false;
	rule.standard_offset_s = -west_s;
	if (*at != '\0') {
		rule.has_summer = true;
		rule.summer_offset_s = rule.standard_offset_s + 3600;
		if (!skip_name(&at))
			return false;
		if (*at != ',') {
			if (!read_hms(&at, HOURS_OFFSET_MAX, &west_s))
				return false;
			rule.summer_offset_s = -west_s;
		}
		if (!read_day(&at, &rule.summer_begin) || !read_day(&at, &rule.summer_end))
			return false;
	}
	if (*at != '\0')
		return false;
	*ret_rule = rule;

	return true;
}

static bool
is_leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Seconds since 1970, by the civil clock, of the midnight that begins the rule's day. */
static int64_t
day_begin_s(const struct zone_rule_day *day, int year)
{
	struct civil first = { .year = year, .month = 1, .day = 1 };
	int shift;

	if (day->form == ZONE_DAY_ZERO_BASED)
		return civil_to_unix_s(&first) + (int64_t)day->day * DAY_S;
	if (day->form == ZONE_DAY_JULIAN) {
		shift = day->day - 1 + (is_leap(year) && day->day >= 60 ? 1 : 0);
		return civil_to_unix_s(&first) + (int64_t)shift * DAY_S;
	}
	first.month = day->month;
	shift = (day->weekday - civil_weekday(&first) + 7) % 7 + (day->week - 1) * 7;
	for (;;) {
		int64_t begin_s = civil_to_unix_s(&first) + (int64_t)shift * DAY_S;

		if (civil_from_unix_s(begin_s).month == day->month)
			return begin_s;
		shift -= 7; /* there is no fifth: the fourth is the last */
	}
}

struct change {
	int64_t at_s;
	int offset_s;
};

enum { CHANGES_MAX = 6 };

/*
 * The changes of the years around an instant, each year's end before its begin: where summer time
 * lasts all year, the end of one year is the same instant as the begin of the next, which comes
 * later in the array and wins.
 */
static void
list_changes(const struct zone_rule *rule, int64_t unix_s, struct change *changes)
{
	int year = civil_from_unix_s(unix_s).year;
	size_t count = 0;

	for (int y = year - 1; y <= year + 1; y++) {
		changes[count].at_s = day_begin_s(&rule->summer_end, y) + rule->summer_end.time_s -
		    rule->summer_offset_s;
		changes[count++].offset_s = rule->standard_offset_s;
		changes[count].at_s = day_begin_s(&rule->summer_begin, y) +
		    rule->summer_begin.time_s - rule->standard_offset_s;
		changes[count++].offset_s = rule->summer_offset_s;
	}
}

int
zone_rule_offset_s(const struct zone_rule *rule, int64_t unix_s)
{
	struct change changes[CHANGES_MAX];
	const struct change *last = NULL;

	if (!rule->has_summer)
		return rule->standard_offset_s;
	list_changes(rule, unix_s, changes);
	for (size_t i = 0; i < CHANGES_MAX; i++) {
		if (changes[i].at_s <= unix_s && (last == NULL || changes[i].at_s >= last->at_s))
			last = &changes[i];
	}

	return last != NULL ? last->offset_s : rule->standard_offset_s;
}

bool
zone_rule_next(const struct zone_rule *rule, int64_t unix_s, int64_t *ret_unix_s)
{
	struct change changes[CHANGES_MAX];
	bool is_found = false;

	if (!rule->has_summer)
		return false;
	list_changes(rule, unix_s, changes);
	for (size_t i = 0; i < CHANGES_MAX; i++) {
		if (changes[i].at_s > unix_s && (!is_found || changes[i].at_s < *ret_unix_s)) {
			*ret_unix_s = changes[i].at_s;
			is_found = true;
		}
	}

	return is_found;
}
