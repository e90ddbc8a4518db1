/*
 * Time, of two kinds that cannot be mixed: wall time says when, monotonic time says how long.
 * Wall time is UTC microseconds since 1970.  Text here is RFC 3339 UTC only; the site's zone is
 * base/zone.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/scope.h"

struct err;

struct wall_time {
	int64_t us;
};

struct mono_time {
	int64_t us;
};

enum {
	CLOCK_TEXT_SIZE = 40,
};
#define US_PER_S INT64_C(1000000)
#define US_PER_MS INT64_C(1000)

struct wall_time clock_wall(void);
struct mono_time clock_mono(void);
int64_t clock_elapsed_us(struct mono_time since);

/* A civil date and time without a zone. */
struct civil {
	int year;   /* 1..9999 */
	int month;  /* 1..12 */
	int day;    /* 1..31 */
	int hour;   /* 0..23 */
	int minute; /* 0..59 */
	int second; /* 0..59 */
};

/* Proleptic Gregorian calendar, both ways; seconds since 1970 as if the civil time were UTC. */
int64_t civil_to_unix_s(const struct civil *civil);
struct civil civil_from_unix_s(int64_t unix_s);
int civil_weekday(const struct civil *civil); /* 0 = Sunday */
bool civil_is_valid(const struct civil *civil);

/* "2025-11-25T02:00:00.123456Z"; `text` holds CLOCK_TEXT_SIZE bytes.  Returns `text`. */
const char *clock_format(struct wall_time time, char *text);

/* "20251125T020000Z", as in names in the store ("2025-11-25T010000Z" with dashes in the date). */
const char *clock_format_compact(struct wall_time time, char *text);

/* RFC 3339 with 'Z' or a numeric offset, up to microseconds. */
int clock_parse(const char *text, struct wall_time *ret_time, struct err *err) MUST_CHECK;

/* "45 s", "9 min 20 s", "3 h 5 min", "2 d 4 h": the two largest units; `text` as above. */
const char *clock_format_duration(int64_t duration_us, char *text);

#endif
