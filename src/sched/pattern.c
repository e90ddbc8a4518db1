#include "sched/pattern_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/err.h"

enum {
	TEXT_MAX = 256,
	FIELDS = 5,
	MINUTES_PER_DAY = 24 * 60,
};

struct field {
	const char *name;
	unsigned min;
	unsigned max;
	const char *names; /* three letters each, the first stands for names_from; NULL: none */
	unsigned names_from;
};

static const struct field fields[FIELDS] = {
	{ "minute", 0, 59, NULL, 0 },
	{ "hour", 0, 23, NULL, 0 },
	{ "day of the month", 1, 31, NULL, 0 },
	{ "month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec", 1 },
	{ "weekday", 0, 7, "sunmontuewedthufrisat", 0 },
};
enum { WEEKDAY_FIELD = 4 };

static const struct {
	const char *word;
	const char *cron;
} nicknames[] = {
	{ "@yearly", "0 0 1 1 *" },
	{ "@annually", "0 0 1 1 *" },
	{ "@monthly", "0 0 1 * *" },
	{ "@weekly", "0 0 * * 0" },
	{ "@daily", "0 0 * * *" },
	{ "@midnight", "0 0 * * *" },
	{ "@hourly", "0 * * * *" },
};

/* "mon", also "Monday": any three letters or more that begin a name. */
static bool
read_name(const char **cursor, const struct field *field, unsigned *ret_value)
{
	static const char *const long_names[] = { "sunday", "monday", "tuesday", "wednesday",
		"thursday", "friday", "saturday", "january", "february", "march", "april", "may",
		"june", "july", "august", "september", "october", "november", "december" };
	size_t size = 0;

	while (isalpha((unsigned char)(*cursor)[size]))
		size++;
	for (unsigned i = 0; field->names != NULL && field->names[i * 3] != '\0' && size >= 3;
	     i++) {
		const char *full = long_names[field->names_from == 1 ? 7 + i : i];

		if (size > strlen(full) || strncasecmp(*cursor, full, size) != 0)
			continue;
		*cursor += size;
		*ret_value = field->names_from + i;
		return true;
	}

	return false;
}

static bool
read_number(const char **cursor, unsigned max, unsigned *ret_value)
{
	unsigned value = 0;

	if (!isdigit((unsigned char)**cursor))
		return false;
	for (; isdigit((unsigned char)**cursor); (*cursor)++) {
		value = value * 10 + (unsigned)(**cursor - '0');
		if (value > max)
			return false;
	}
	*ret_value = value;

	return true;
}

static bool
read_value(const char **cursor, const struct field *field, unsigned *ret_value)
{
	if (isalpha((unsigned char)**cursor))
		return read_name(cursor, field, ret_value);

	return read_number(cursor, field->max, ret_value) && *ret_value >= field->min;
}

/* "*", "5", "1-5", each range also with "/2"; the bits are added to *bits. */
static bool
read_range(const char **cursor, const struct field *field, uint64_t *bits)
{
	unsigned first = field->min;
	unsigned last = field->max;
	unsigned step = 1;
	bool is_range = true;

	if (**cursor == '*') {
		(*cursor)++;
	} else {
		if (!read_value(cursor, field, &first))
			return false;
		last = first;
		is_range = **cursor == '-';
		if (is_range) {
			(*cursor)++;
			if (!read_value(cursor, field, &last))
				return false;
			if (field == &fields[WEEKDAY_FIELD] && last == 0 && first > 0)
				last = 7; /* sat-sun */
		}
	}
	if (is_range && **cursor == '/') {
		(*cursor)++;
		if (!read_number(cursor, field->max, &step) || step == 0)
			return false;
	}
	for (unsigned value = first; value <= last; value += step)
		*bits |= UINT64_C(1) << value;

	return first <= last;
}

/* A list of ranges, up to a blank or the end. */
static bool
read_field(const char **cursor, const struct field *field, uint64_t *ret_bits)
{
	uint64_t bits = 0;

	for (;;) {
		if (!read_range(cursor, field, &bits))
			return false;
		if (**cursor != ',')
			break;
		(*cursor)++;
	}
	if (field == &fields[WEEKDAY_FIELD] && (bits & (UINT64_C(1) << 7)) != 0)
		bits = (bits & ~(UINT64_C(1) << 7)) | 1;
	*ret_bits = bits;

	return **cursor == '\0' || isblank((unsigned char)**cursor);
}

static void
skip_blanks(const char **cursor)
{
	while (isblank((unsigned char)**cursor))
		(*cursor)++;
}

static int
refuse_cron(const char *text, const struct field *field, struct err *err)
{
	if (field != NULL)
		(void)err_set(err, ERR_CONFIG, "the %s of '%.80s' cannot be read", field->name,
		    text);
	else
		(void)err_set(err, ERR_CONFIG, "'%.80s' does not have the five fields of cron",
		    text);
	return err_hint(err,
	    "Write minute, hour, day of the month, month and weekday, like '0 2 * * *' or '*/15 8-18 * * mon-fri'.");
}

int
pattern_parse_cron(const char *text, struct pattern *ret_pattern, struct err *err)
{
	const char *at = text;
	uint64_t bits[FIELDS];
	bool is_star[FIELDS];

	for (size_t i = 0; i < ARRAY_SIZE(nicknames); i++) {
		if (strcmp(text, nicknames[i].word) == 0)
			at = nicknames[i].cron;
	}
	if (strlen(text) > TEXT_MAX)
		return err_set(err, ERR_CONFIG, "'%.40s...' is too long", text);
	for (int i = 0; i < FIELDS; i++) {
		skip_blanks(&at);
		if (*at == '\0')
			return refuse_cron(text, NULL, err);
		is_star[i] = *at == '*';
		if (!read_field(&at, &fields[i], &bits[i]))
			return refuse_cron(text, &fields[i], err);
	}
	skip_blanks(&at);
	if (*at != '\0')
		return refuse_cron(text, NULL, err);
	*ret_pattern = (struct pattern){ .minutes = bits[0],
		.hours = bits[1],
		.days = bits[2],
		.months = bits[3],
		.weekdays = bits[4],
		.is_either_day = !is_star[2] && !is_star[4] };

	return 0;
}

int
pattern_parse_at(const char *text, struct pattern *ret_pattern, struct err *err)
{
	static const struct field hour = { "hour", 0, 23, NULL, 0 };
	const char *at = text;
	struct pattern pattern = { .days = ~UINT64_C(0), .months = ~UINT64_C(0), .weekdays = 0x7f };
	unsigned hours, minutes;
	bool is_read = true;

	skip_blanks(&at);
	if (isalpha((unsigned char)*at)) {
		is_read = read_field(&at, &fields[WEEKDAY_FIELD], &pattern.weekdays);
		skip_blanks(&at);
	}
	is_read = is_read && read_value(&at, &hour, &hours) && *at == ':' &&
	    isdigit((unsigned char)at[1]) && isdigit((unsigned char)at[2]) &&
	    !isdigit((unsigned char)at[3]);
	at += is_read ? 1 : 0;
	is_read = is_read && read_value(&at, &fields[0], &minutes);
	if (is_read)
		skip_blanks(&at);
	if (!is_read || *at != '\0' || strlen(text) > TEXT_MAX) {
		(void)err_set(err, ERR_CONFIG, "'%.60s' is not a time of day", text);
		return err_hint(err,
		    "Write it like \"02:00\", \"Sun 04:00\" or \"Mon-Fri 22:30\".");
	}
	pattern.hours = UINT64_C(1) << hours;
	pattern.minutes = UINT64_C(1) << minutes;
	*ret_pattern = pattern;

	return 0;
}

static bool
has_bit(uint64_t bits, int bit)
{
	return (bits >> bit & 1) != 0;
}

bool
pattern_is_weekly(const struct pattern *pattern)
{
	const uint64_t all_days = ((UINT64_C(1) << 31) - 1) << 1;
	const uint64_t all_months = ((UINT64_C(1) << 12) - 1) << 1;

	return (pattern->days & all_days) == all_days &&
	    (pattern->months & all_months) == all_months;
}

bool
pattern_has_day(const struct pattern *pattern, const struct civil *civil)
{
	bool has_day = has_bit(pattern->days, civil->day);
	bool has_weekday = has_bit(pattern->weekdays, civil_weekday(civil));

	if (!has_bit(pattern->months, civil->month))
		return false;

	return pattern->is_either_day ? has_day || has_weekday : has_day && has_weekday;
}

int
pattern_minute_from(const struct pattern *pattern, int minute)
{
	int hour = minute / 60;
	uint64_t left_of_hour, hours_after;

	if (minute >= MINUTES_PER_DAY)
		return -1;
	left_of_hour = pattern->minutes >> minute % 60;
	if (has_bit(pattern->hours, hour) && left_of_hour != 0)
		return minute + __builtin_ctzll(left_of_hour);
	hours_after = pattern->hours >> (hour + 1);
	if (hours_after == 0 || pattern->minutes == 0)
		return -1;

	return (hour + 1 + __builtin_ctzll(hours_after)) * 60 + __builtin_ctzll(pattern->minutes);
}

int
pattern_minute_until(const struct pattern *pattern, int minute)
{
	while (minute >= 0) {
		if (!has_bit(pattern->hours, minute / 60))
			minute = minute / 60 * 60 - 1;
		else if (has_bit(pattern->minutes, minute % 60))
			return minute;
		else
			minute--;
	}

	return -1;
}
