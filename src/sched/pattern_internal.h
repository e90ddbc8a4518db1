/*
 * A set of civil minutes: one line of cron, or one time of day.  A set bit n of a field means
 * that n matches.
 */
#ifndef SCHED_PATTERN_INTERNAL_H
#define SCHED_PATTERN_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/scope.h"

struct civil;
struct err;

struct pattern {
	uint64_t minutes;
	uint64_t hours;
	uint64_t days;      /* of the month, from 1 */
	uint64_t months;    /* from 1 */
	uint64_t weekdays;  /* 0 is Sunday */
	bool is_either_day; /* one of days and weekdays is enough: both were restricted */
};

int pattern_parse_cron(const char *text, struct pattern *ret_pattern, struct err *err) MUST_CHECK;

/* "02:00", "Sun 04:00", "Mon-Fri 22:30" */
int pattern_parse_at(const char *text, struct pattern *ret_pattern, struct err *err) MUST_CHECK;

bool pattern_has_day(const struct pattern *pattern, const struct civil *civil);

/* Each week is like the other: neither days of the month nor months matter. */
bool pattern_is_weekly(const struct pattern *pattern);

/* The first matching minute of a day (0..1439) from `minute` on, or the last up to it; -1: none. */
int pattern_minute_from(const struct pattern *pattern, int minute);
int pattern_minute_until(const struct pattern *pattern, int minute);

#endif
