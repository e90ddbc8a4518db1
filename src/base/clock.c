#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"

static int64_t
read_clock_us(clockid_t id)
{
	struct timespec now;

	(void)clock_gettime(id, &now); /* cannot fail for these two clocks */

	return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

struct wall_time
clock_wall(void)
{
	return (struct wall_time){ .us = read_clock_us(CLOCK_REALTIME) };
}

struct mono_time
clock_mono(void)
{
	return (struct mono_time){ .us = read_clock_us(CLOCK_MONOTONIC) };
}

int64_t
clock_elapsed_us(struct mono_time since)
{
	return clock_mono().us - since.us;
}

/*
 * Days since 1970-01-01, counting years from March so that the leap day is the last of its year
 * (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
 */
static int64_t
days_from_civil(int64_t year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t year_of_era = y - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

	return era * 146097 + day_of_era - 719468;
}

int64_t
civil_to_unix_s(const struct civil *civil)
{
	return days_from_civil(civil->year, civil->month, civil->day) * 86400 + civil->hour * 3600 +
	    civil->minute * 60 + civil->second;
}

struct civil
civil_from_unix_s(int64_t unix_s)
{
	int64_t second_of_day = unix_s % 86400;
	int64_t days = unix_s / 86400;
	int64_t era, day_of_era, year_of_era, day_of_year, month_index;
	struct civil civil;

	if (second_of_day < 0) {
		second_of_day += 86400;
		days--;
	}
	days += 719468;
	era = (days >= 0 ? days : days - 146096) / 146097;
	day_of_era = days - era * 146097;
	year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) /
	    365;
	day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	month_index = (5 * day_of_year + 2) / 153;

	civil.day = (int)(day_of_year - (153 * month_index + 2) / 5 + 1);
	civil.month = (int)(month_index < 10 ? month_index + 3 : month_index - 9);
	civil.year = (int)(year_of_era + era * 400 + (civil.month <= 2 ? 1 : 0));
	civil.hour = (int)(second_of_day / 3600);
	civil.minute = (int)(second_of_day / 60 % 60);
	civil.second = (int)(second_of_day % 60);

	return civil;
}

int
civil_weekday(const struct civil *civil)
{
	int64_t days = days_from_civil(civil->year, civil->month, civil->day);

	return (int)((days % 7 + 7 + 4) % 7); /* 1970-01-01 was a Thursday */
}

bool
civil_is_valid(const struct civil *civil)
{
	struct civil again;

	if (civil->year < 1 || civil->year > 9999 || civil->month < 1 || civil->month > 12 ||
	    civil->day < 1 || civil->day > 31 || civil->hour < 0 || civil->hour > 23 ||
	    civil->minute < 0 || civil->minute > 59 || civil->second < 0 || civil->second > 59)
		return false;
	again = civil_from_unix_s(civil_to_unix_s(civil));

	return again.month == civil->month; /* 31 April comes back as 1 May */
}

static int64_t
floor_to_s(struct wall_time time)
{
	return time.us >= 0 ? time.us / US_PER_S : -((-time.us + US_PER_S - 1) / US_PER_S);
}

const char *
clock_format(struct wall_time time, char *text)
{
	int64_t unix_s = floor_to_s(time);
	struct civil c = civil_from_unix_s(unix_s);

	(void)snprintf(text, CLOCK_TEXT_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", c.year,
	    c.month, c.day, c.hour, c.minute, c.second, (int)(time.us - unix_s * US_PER_S));

	return text;
}

const char *
clock_format_compact(struct wall_time time, char *text)
{
	struct civil c = civil_from_unix_s(floor_to_s(time));

	(void)snprintf(text, CLOCK_TEXT_SIZE, "%04d-%02d-%02dT%02d%02d%02dZ", c.year, c.month,
	    c.day, c.hour, c.minute, c.second);

	return text;
}

/* Read exactly `digits` decimal digits at *cursor. */
static bool
read_digits(const char **cursor, int digits, int *ret_value)
{
	int value = 0;

	for (int i = 0; i < digits; i++) {
		char c = (*cursor)[i];

		if (c < '0' || c > '9')
			return false;
		value = value * 10 + (c - '0');
	}
	*cursor += digits;
	*ret_value = value;

	return true;
}

static bool
read_char(const char **cursor, const char *accepted)
{
	if (**cursor == '\0' || strchr(accepted, **cursor) == NULL)
		return false;
	(*cursor)++;

	return true;
}

/* ".123" to microseconds; digits past the sixth are read and dropped. */
static bool
read_fraction(const char **cursor, int *ret_us)
{
	int scale = 100000;
	int us = 0;

	if (**cursor < '0' || **cursor > '9')
		return false;
	for (; **cursor >= '0' && **cursor <= '9'; (*cursor)++, scale /= 10)
		us += (**cursor - '0') * scale;
	*ret_us = us;

	return true;
}

/* "Z", "+01:00", "-0530" or "+01" to seconds east of UTC. */
static bool
read_offset(const char **cursor, int *ret_offset_s)
{
	int hours = 0;
	int minutes = 0;
	int sign;

	if (read_char(cursor, "Zz")) {
		*ret_offset_s = 0;
		return true;
	}
	sign = **cursor == '-' ? -1 : 1;
	if (!read_char(cursor, "+-") || !read_digits(cursor, 2, &hours))
		return false;
	if (**cursor != '\0') {
		(void)read_char(cursor, ":");
		if (!read_digits(cursor, 2, &minutes))
			return false;
	}
	*ret_offset_s = sign * (hours * 3600 + minutes * 60);

	return hours <= 15 && minutes <= 59;
}

static bool
read_date(const char **at, struct civil *c)
{
	return read_digits(at, 4, &c->year) && read_char(at, "-") &&
	    read_digits(at, 2, &c->month) && read_char(at, "-") && read_digits(at, 2, &c->day);
}

static bool
read_time(const char **at, struct civil *c, int *us)
{
	return read_digits(at, 2, &c->hour) && read_char(at, ":") &&
	    read_digits(at, 2, &c->minute) && read_char(at, ":") &&
	    read_digits(at, 2, &c->second) && (!read_char(at, ".") || read_fraction(at, us));
}

int
clock_parse(const char *text, struct wall_time *ret_time, struct err *err)
{
	const char *at = text;
	struct civil c = { .hour = 0 };
	struct civil utc = { .year = 0 };
	int64_t unix_s = 0;
	int us = 0;
	int offset_s = 0;
	bool is_read = read_date(&at, &c) && read_char(&at, "Tt ") && read_time(&at, &c, &us) &&
	    read_offset(&at, &offset_s) && *at == '\0';

	if (is_read && civil_is_valid(&c)) {
		unix_s = civil_to_unix_s(&c) - offset_s;
		utc = civil_from_unix_s(unix_s);
	}
	/* The offset may lead out of the years that can be written again. */
	if (!civil_is_valid(&utc)) {
		(void)err_set(err, ERR_DATA, "'%.60s' is not an RFC 3339 time", text);
		return err_hint(err,
		    "Write it like 2025-11-25T02:00:00Z or 2025-11-25 03:00:00+01:00.");
	}
	ret_time->us = unix_s * US_PER_S + us;

	return 0;
}

const char *
clock_format_duration(int64_t duration_us, char *text)
{
	long long s = duration_us / US_PER_S;

	if (duration_us < 10 * US_PER_S)
		(void)snprintf(text, CLOCK_TEXT_SIZE, "%lld.%lld s", s,
		    (long long)(duration_us % US_PER_S) / 100000);
	else if (s < 60)
		(void)snprintf(text, CLOCK_TEXT_SIZE, "%lld s", s);
	else if (s < 3600)
		(void)snprintf(text, CLOCK_TEXT_SIZE, "%lld min %lld s", s / 60, s % 60);
	else if (s < 86400)
		(void)snprintf(text, CLOCK_TEXT_SIZE, "%lld h %lld min", s / 3600, s / 60 % 60);
	else
		(void)snprintf(text, CLOCK_TEXT_SIZE, "%lld d %lld h", s / 86400, s / 3600 % 24);

	return text;
}
