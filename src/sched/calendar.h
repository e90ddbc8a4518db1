/*
 * When a job is due.  Pure: the zone and the clock are parameters.
 *
 * Fixed times (`at`, cron) are civil times in the site's zone: one that falls into a gap of the
 * clock is due at the first valid instant after it, one that exists twice is due once, at its
 * first occurrence.  That holds for "every hour" too.  `every` counts elapsed time from an anchor
 * and knows nothing of clock changes.
 */
#ifndef SCHED_CALENDAR_H
#define SCHED_CALENDAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"

struct calendar;
struct err;
struct zone;

/* Each text is a time of day, on all or some days: "02:00", "Sun 04:00", "Mon-Fri 22:30". */
struct calendar *calendar_at(const char *const *times, size_t count, struct err *err) MUST_CHECK;

/*
 * Five fields as in crontab(5) of Vixie cron: numbers, names (jan, sun), ranges, lists, steps,
 * 7 for Sunday; when both day fields are restricted a day that matches either is meant.  Also
 * @yearly @annually @monthly @weekly @daily @midnight @hourly.
 */
struct calendar *calendar_cron(const char *text, struct err *err) MUST_CHECK;

/* Every `interval_us` (at least a second) of elapsed time; the first is at `anchor` itself. */
struct calendar *calendar_every(int64_t interval_us, struct wall_time anchor) MUST_CHECK;

void calendar_free(struct calendar *calendar);
SCOPED_FREE(struct calendar, calendar_free)

/*
 * The first due instant strictly after `after`.  false when there is none within the next 30
 * years (cron "0 0 30 2 *").  Applied to its own results it never repeats and never goes back.
 */
bool calendar_next(const struct calendar *calendar, const struct zone *zone, struct wall_time after,
    struct wall_time *ret_due);

/* The last due instant at or before `until`, looking back at most ten years; false: none. */
bool calendar_previous(const struct calendar *calendar, const struct zone *zone,
    struct wall_time until, struct wall_time *ret_due);

/*
 * The longest usual distance between two runs: a daily job has 24 h, "Mon-Fri 22:00" has 72 h,
 * "9:00 and 17:00" has 16 h.  Clock changes do not count.  Twice this is the default limit of age,
 * half of it the default start deadline.  0 when it is never due.
 */
int64_t calendar_interval_us(const struct calendar *calendar);

/*
 * The first civil time within `days` after `after` at which it would be due but which its zone
 * skips; false: none.
 */
bool calendar_find_gap(const struct calendar *calendar, const struct zone *zone,
    struct wall_time after, unsigned days, struct civil *ret_civil, struct wall_time *ret_due);

#endif
