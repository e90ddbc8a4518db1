#include "sched/calendar.h"

#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/vec.h"
#include "base/zone.h"
#include "sched/pattern_internal.h"

enum {
	DAY_S = 86400,
	AHEAD_DAYS_MAX = 30 * 366,
	BACK_DAYS_MAX = 10 * 366,
	/* Civil times this far ahead may already have been, where the clock was set back. */
	OVERLAP_DAYS_MAX = 2,
	SAMPLE_DAYS = 9 * 366, /* has every leap day rule of a lifetime */
	SAMPLE_WEEKLY_DAYS = 2 * 7,
	SAMPLE_RUNS_MAX = 20000,
	TIMES_MAX = 1000,
};

/* Either a set of civil times, or an interval of elapsed time. */
struct calendar {
	VEC(struct pattern) patterns;
	int64_t interval_us; /* 0: by patterns */
	struct wall_time anchor;
};

struct calendar *
calendar_at(const char *const *times, size_t count, struct err *err)
{
	SCOPED(calendar_freep) struct calendar *calendar = xcalloc(1, sizeof(*calendar));

	assert(count >= 1);
	if (count > TIMES_MAX) {
		(void)err_set(err, ERR_CONFIG, "more than %d times", TIMES_MAX);
		return NULL;
	}
	for (size_t i = 0; i < count; i++) {
		if (pattern_parse_at(times[i], vec_add(&calendar->patterns), err) < 0)
			return NULL;
	}

	return TAKE(calendar);
}

struct calendar *
calendar_cron(const char *text, struct err *err)
{
	SCOPED(calendar_freep) struct calendar *calendar = xcalloc(1, sizeof(*calendar));

	if (pattern_parse_cron(text, vec_add(&calendar->patterns), err) < 0)
		return NULL;

	return TAKE(calendar);
}

struct calendar *
calendar_every(int64_t interval_us, struct wall_time anchor)
{
	struct calendar *calendar = xcalloc(1, sizeof(*calendar));

	assert(interval_us >= US_PER_S);
	calendar->interval_us = interval_us;
	calendar->anchor = anchor;

	return calendar;
}

void
calendar_free(struct calendar *calendar)
{
	if (calendar == NULL)
		return;
	vec_done(&calendar->patterns);
	free(calendar);
}

/*
 * Civil times are walked as seconds since 1970 as if they were UTC.  The first one at or after
 * `civil_s` within `days_left` days; false: none.
 */
static bool
civil_next(const struct calendar *calendar, int64_t civil_s, unsigned days_left,
    int64_t *ret_civil_s)
{
	int64_t day_s = civil_s - (civil_s % DAY_S + DAY_S) % DAY_S;
	int minute = (int)((civil_s - day_s + 59) / 60);

	for (; days_left > 0; days_left--, day_s += DAY_S, minute = 0) {
		struct civil day = civil_from_unix_s(day_s);
		int best = -1;

		for (size_t i = 0; i < calendar->patterns.count; i++) {
			const struct pattern *pattern = &calendar->patterns.items[i];
			int found = -1;

			if (pattern_has_day(pattern, &day))
				found = pattern_minute_from(pattern, minute);
			if (found >= 0 && (best < 0 || found < best))
				best = found;
		}
		if (best >= 0) {
			*ret_civil_s = day_s + (int64_t)best * 60;
			return true;
		}
	}

	return false;
}

/* The last one at or before `civil_s`. */
static bool
civil_previous(const struct calendar *calendar, int64_t civil_s, unsigned days_left,
    int64_t *ret_civil_s)
{
	int64_t day_s = civil_s - (civil_s % DAY_S + DAY_S) % DAY_S;
	int minute = (int)((civil_s - day_s) / 60);

	for (; days_left > 0; days_left--, day_s -= DAY_S, minute = DAY_S / 60 - 1) {
		struct civil day = civil_from_unix_s(day_s);
		int best = -1;

		for (size_t i = 0; i < calendar->patterns.count; i++) {
			const struct pattern *pattern = &calendar->patterns.items[i];
			int found = -1;

			if (pattern_has_day(pattern, &day))
				found = pattern_minute_until(pattern, minute);
			if (found > best)
				best = found;
		}
		if (best >= 0) {
			*ret_civil_s = day_s + (int64_t)best * 60;
			return true;
		}
	}

	return false;
}

/* When a civil time is due: never decreases as the civil time grows. */
static enum zone_match
due_at(const struct zone *zone, int64_t civil_s, struct wall_time *ret_due)
{
	struct civil civil = civil_from_unix_s(civil_s);

	return zone_resolve(zone, &civil, ret_due, NULL);
}

static int64_t
civil_s_at(const struct zone *zone, struct wall_time time)
{
	struct civil civil = zone_civil(zone, time);

	return civil_to_unix_s(&civil);
}

/* How many whole intervals lie between the anchor and `time`, which is not before it. */
static int64_t
intervals_until(const struct calendar *calendar, struct wall_time time)
{
	return (time.us - calendar->anchor.us) / calendar->interval_us;
}

bool
calendar_next(const struct calendar *calendar, const struct zone *zone, struct wall_time after,
    struct wall_time *ret_due)
{
	int64_t civil_s;
	struct wall_time due;

	if (calendar->interval_us > 0) {
		int64_t passed = after.us < calendar->anchor.us
		    ? 0
		    : intervals_until(calendar, after) + 1;

		ret_due->us = calendar->anchor.us + passed * calendar->interval_us;
		return true;
	}
	/*
	 * No earlier civil time can be due later than `after`: being due never goes back, and the
	 * civil time of `after` itself is due at `after` or before.
	 */
	civil_s = civil_s_at(zone, after) / 60 * 60;
	for (;;) {
		if (!civil_next(calendar, civil_s, AHEAD_DAYS_MAX, &civil_s))
			return false;
		(void)due_at(zone, civil_s, &due);
		if (due.us > after.us)
			break;
		civil_s += 60;
	}
	*ret_due = due;

	return true;
}

bool
calendar_previous(const struct calendar *calendar, const struct zone *zone, struct wall_time until,
    struct wall_time *ret_due)
{
	int64_t civil_s;
	struct wall_time due;

	if (calendar->interval_us > 0) {
		if (until.us < calendar->anchor.us)
			return false;
		ret_due->us = calendar->anchor.us +
		    intervals_until(calendar, until) * calendar->interval_us;
		return true;
	}
	civil_s = civil_s_at(zone, until) + OVERLAP_DAYS_MAX * DAY_S;
	for (;;) {
		if (!civil_previous(calendar, civil_s, BACK_DAYS_MAX, &civil_s))
			return false;
		(void)due_at(zone, civil_s, &due);
		if (due.us <= until.us)
			break;
		civil_s -= 60;
	}
	*ret_due = due;

	return true;
}

/* How many days show every distance that there is between two runs. */
static unsigned
sample_days(const struct calendar *calendar)
{
	for (size_t i = 0; i < calendar->patterns.count; i++) {
		if (!pattern_is_weekly(&calendar->patterns.items[i]))
			return SAMPLE_DAYS;
	}

	return SAMPLE_WEEKLY_DAYS;
}

int64_t
calendar_interval_us(const struct calendar *calendar)
{
	static const struct civil begin = { .year = 2023, .month = 1, .day = 1 };
	unsigned days = sample_days(calendar);
	int64_t end_s = civil_to_unix_s(&begin) + (int64_t)days * DAY_S;
	int64_t previous_s, civil_s;
	int64_t longest_s = 0;

	if (calendar->interval_us > 0)
		return calendar->interval_us;
	if (!civil_next(calendar, civil_to_unix_s(&begin), days, &previous_s))
		return 0;
	for (int i = 0; i < SAMPLE_RUNS_MAX && previous_s < end_s; i++) {
		if (!civil_next(calendar, previous_s + 60, days, &civil_s))
			break;
		if (civil_s - previous_s > longest_s)
			longest_s = civil_s - previous_s;
		previous_s = civil_s;
	}

	return longest_s * US_PER_S;
}

bool
calendar_find_gap(const struct calendar *calendar, const struct zone *zone, struct wall_time after,
    unsigned days, struct civil *ret_civil, struct wall_time *ret_due)
{
	int64_t civil_s = civil_s_at(zone, after);
	int64_t end_s = civil_s + (int64_t)days * DAY_S;

	if (calendar->interval_us > 0)
		return false;
	while (civil_next(calendar, civil_s, days + 1, &civil_s) && civil_s < end_s) {
		struct wall_time due;

		if (due_at(zone, civil_s, &due) == ZONE_GAP) {
			*ret_civil = civil_from_unix_s(civil_s);
			*ret_due = due;
			return true;
		}
		civil_s += 60;
	}

	return false;
}
