#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "all_zones.h"

#include "base/err.h"
#include "base/zone.h"
#include "sched/calendar.h"

enum { HOUR_S = 3600, DAY_S = 86400 };

static struct wall_time
at(const char *text)
{
	struct wall_time time = { .us = 0 };
	struct err err = ERR_INIT;

	if (clock_parse(text, &time, &err) < 0)
		fail_msg("%s", err.msg);

	return time;
}

static struct zone *
open_zone(const char *name)
{
	struct err err = ERR_INIT;
	struct zone *zone = zone_open(name, &err);

	if (zone == NULL)
		fail_msg("%s", err.msg);

	return zone;
}

/* "cron: ..." or "at: ..." */
static struct calendar *
make(const char *text)
{
	struct err err = ERR_INIT;
	const char *time = text + 4;
	struct calendar *calendar = strncmp(text, "at: ", 4) == 0 ? calendar_at(&time, 1, &err)
								  : calendar_cron(text + 6, &err);

	if (calendar == NULL)
		fail_msg("%s: %s", text, err.msg);

	return calendar;
}

/* The runs after a time, as the site's clock shows them. */
static void
assert_runs(const char *schedule, const char *zone_name, const char *after,
    const char *const *expected, size_t count)
{
	struct zone *zone = open_zone(zone_name);
	struct calendar *calendar = make(schedule);
	struct wall_time time = at(after);

	for (size_t i = 0; i < count; i++) {
		struct wall_time before = time;
		struct wall_time back;
		char text[CLOCK_TEXT_SIZE];

		assert_true(calendar_next(calendar, zone, time, &time));
		assert_string_equal(zone_format(zone, time, text), expected[i]);
		assert_true(calendar_previous(calendar, zone, time, &back));
		assert_int_equal(back.us, time.us);
		assert_true(calendar_previous(calendar, zone,
		    (struct wall_time){ .us = time.us - 1 }, &back));
		assert_true(back.us <= before.us || i == 0);
	}
	calendar_free(calendar);
	zone_close(zone);
}
#define ASSERT_RUNS(schedule, zone, after, ...)                                                    \
	assert_runs(schedule, zone, after, (const char *const[]){ __VA_ARGS__ },                   \
	    sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

static void
test_fixed_times(void **state)
{
	(void)state;
	ASSERT_RUNS("at: 02:00", "UTC", "2025-11-25T02:00:00Z", "2025-11-26 02:00:00 +00:00",
	    "2025-11-27 02:00:00 +00:00");
	ASSERT_RUNS("at: 02:00", "UTC", "2025-11-25T01:59:59.999999Z",
	    "2025-11-25 02:00:00 +00:00");
	ASSERT_RUNS("at: Sun 04:00", "Europe/Berlin", "2025-11-25T00:00:00Z",
	    "2025-11-30 04:00:00 +01:00", "2025-12-07 04:00:00 +01:00");
	ASSERT_RUNS("at: mon-fri 22:30", "UTC", "2025-11-27T22:30:00Z",
	    "2025-11-28 22:30:00 +00:00", "2025-12-01 22:30:00 +00:00");
	ASSERT_RUNS("at: Saturday,Wed 0:05", "UTC", "2025-11-25T00:00:00Z",
	    "2025-11-26 00:05:00 +00:00", "2025-11-29 00:05:00 +00:00");
	ASSERT_RUNS("at: sat-sun 12:00", "UTC", "2025-11-25T00:00:00Z",
	    "2025-11-29 12:00:00 +00:00", "2025-11-30 12:00:00 +00:00",
	    "2025-12-06 12:00:00 +00:00");
}

static void
test_a_time_in_a_gap_runs_at_the_first_valid_instant(void **state)
{
	(void)state;
	ASSERT_RUNS("at: 02:00", "Europe/Berlin", "2026-03-28T00:00:00Z",
	    "2026-03-28 02:00:00 +01:00", "2026-03-29 03:00:00 +02:00",
	    "2026-03-30 02:00:00 +02:00");
	ASSERT_RUNS("cron: 30 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z",
	    "2026-03-29 03:00:00 +02:00", "2026-03-29 03:30:00 +02:00",
	    "2026-03-30 02:30:00 +02:00");
	/* Several skipped times and one that exists fall together: one run. */
	ASSERT_RUNS("cron: */20 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z",
	    "2026-03-29 01:40:00 +01:00", "2026-03-29 03:00:00 +02:00",
	    "2026-03-29 03:20:00 +02:00");
	/* A whole day that never was. */
	ASSERT_RUNS("at: 12:00", "Pacific/Apia", "2011-12-29T00:00:00Z",
	    "2011-12-29 12:00:00 -10:00", "2011-12-31 00:00:00 +14:00",
	    "2011-12-31 12:00:00 +14:00");
}

static void
test_a_time_in_an_overlap_runs_once(void **state)
{
	(void)state;
	ASSERT_RUNS("at: 02:30", "Europe/Berlin", "2026-10-24T12:00:00Z",
	    "2026-10-25 02:30:00 +02:00", "2026-10-26 02:30:00 +01:00");
	/* Asked between its two occurrences, or at the second. */
	ASSERT_RUNS("at: 02:30", "Europe/Berlin", "2026-10-25T01:15:00Z",
	    "2026-10-26 02:30:00 +01:00");
	ASSERT_RUNS("at: 02:30", "Europe/Berlin", "2026-10-25T01:30:00Z",
	    "2026-10-26 02:30:00 +01:00");
	ASSERT_RUNS("cron: 0 * * * *", "Europe/Berlin", "2026-10-24T23:00:00Z",
	    "2026-10-25 02:00:00 +02:00", "2026-10-25 03:00:00 +01:00");
}

/* At the second 02:10 the run of the first 02:40 has been, though the clock shows less. */
static void
test_looking_back_from_an_overlap(void **state)
{
	struct zone *zone = open_zone("Europe/Berlin");
	struct calendar *calendar = make("at: 02:40");
	struct wall_time due;

	(void)state;
	assert_true(calendar_previous(calendar, zone, at("2026-10-25T01:10:00Z"), &due));
	assert_int_equal(due.us, at("2026-10-25T00:40:00Z").us);
	assert_true(calendar_previous(calendar, zone, at("2026-10-25T00:39:59Z"), &due));
	assert_int_equal(due.us, at("2026-10-24T00:40:00Z").us);
	calendar_free(calendar);
	zone_close(zone);
}

static void
test_cron(void **state)
{
	(void)state;
	ASSERT_RUNS("cron: 0 */6 * * *", "UTC", "2025-11-25T05:00:00Z",
	    "2025-11-25 06:00:00 +00:00", "2025-11-25 12:00:00 +00:00",
	    "2025-11-25 18:00:00 +00:00", "2025-11-26 00:00:00 +00:00");
	ASSERT_RUNS("cron: 5-50/15 8 * * *", "UTC", "2025-11-25T00:00:00Z",
	    "2025-11-25 08:05:00 +00:00", "2025-11-25 08:20:00 +00:00",
	    "2025-11-25 08:35:00 +00:00", "2025-11-25 08:50:00 +00:00",
	    "2025-11-26 08:05:00 +00:00");
	ASSERT_RUNS("cron: 0 0 29 feb *", "UTC", "2025-11-25T00:00:00Z",
	    "2028-02-29 00:00:00 +00:00", "2032-02-29 00:00:00 +00:00");
	ASSERT_RUNS("cron: 0 0 29 2 *", "UTC", "2097-01-01T00:00:00Z",
	    "2104-02-29 00:00:00 +00:00");
	ASSERT_RUNS("cron: 0 12 * jan-MAR Sun", "UTC", "2025-03-24T00:00:00Z",
	    "2025-03-30 12:00:00 +00:00", "2026-01-04 12:00:00 +00:00");
	ASSERT_RUNS("cron: 0 12 * * 7", "UTC", "2025-11-25T00:00:00Z",
	    "2025-11-30 12:00:00 +00:00");
	ASSERT_RUNS("cron: 0 12 * * 5-7", "UTC", "2025-11-25T00:00:00Z",
	    "2025-11-28 12:00:00 +00:00", "2025-11-29 12:00:00 +00:00",
	    "2025-11-30 12:00:00 +00:00", "2025-12-05 12:00:00 +00:00");
	/* Both day fields restricted: either will do. */
	ASSERT_RUNS("cron: 0 0 1,15 * fri", "UTC", "2025-11-25T00:00:00Z",
	    "2025-11-28 00:00:00 +00:00", "2025-12-01 00:00:00 +00:00",
	    "2025-12-05 00:00:00 +00:00", "2025-12-12 00:00:00 +00:00",
	    "2025-12-15 00:00:00 +00:00");
	/* A field that begins with a star counts as not restricted: both must match. */
	ASSERT_RUNS("cron: 0 0 */10 * fri", "UTC", "2025-11-25T00:00:00Z",
	    "2026-05-01 00:00:00 +00:00", "2026-07-31 00:00:00 +00:00");
	ASSERT_RUNS("cron:   0\t0   *  *   * ", "UTC", "2025-11-25T00:00:00Z",
	    "2025-11-26 00:00:00 +00:00");
	ASSERT_RUNS("cron: @weekly", "UTC", "2025-11-25T00:00:00Z", "2025-11-30 00:00:00 +00:00");
	ASSERT_RUNS("cron: @monthly", "UTC", "2025-11-25T00:00:00Z", "2025-12-01 00:00:00 +00:00");
	ASSERT_RUNS("cron: @yearly", "UTC", "2025-11-25T00:00:00Z", "2026-01-01 00:00:00 +00:00");
	ASSERT_RUNS("cron: @hourly", "UTC", "2025-11-25T00:00:00Z", "2025-11-25 01:00:00 +00:00");
}

static void
test_what_cannot_be_read(void **state)
{
	static const char *const crons[] = { "", " ", "0 2 * *", "0 2 * * * *", "60 2 * * *",
		"0 24 * * *", "0 0 0 * *", "0 0 32 * *", "0 0 * 0 *", "0 0 * 13 *", "0 0 * * 8",
		"a * * * *", "0 0 * * mo", "0 0 * * monn", "0 0 * xyz *", "1-0 * * * *",
		"*/0 * * * *", "*/60 * * * *", "5/10 * * * *", "1, * * * *", ",1 * * * *",
		"1-2-3 * * * *", "- * * * *", "99999999999999999999 * * * *", "@reboot",
		"@every 5m", "@", "-1 * * * *", "0 2 * * *\n", "0 mon * * *", "? * * * *" };
	static const char *const times[] = { "", "2", "2:0", "2:000", "24:00", "02:60", "02:00:00",
		"Sun", "Sun04:00 x", "Sunn 04:00", "04:00 Sun", "02.00", "-2:00", "1 02:00",
		"Sun, 02:00", "02:00pm" };

	(void)state;
	for (size_t i = 0; i < sizeof(crons) / sizeof(crons[0]); i++) {
		struct err err = ERR_INIT;

		if (calendar_cron(crons[i], &err) != NULL)
			fail_msg("cron '%s'", crons[i]);
		assert_int_equal(err.kind, ERR_CONFIG);
		assert_true(err.hint[0] != '\0');
	}
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		struct err err = ERR_INIT;

		if (calendar_at(&times[i], 1, &err) != NULL)
			fail_msg("at '%s'", times[i]);
		assert_int_equal(err.kind, ERR_CONFIG);
	}
}

static void
test_a_list_of_times(void **state)
{
	static const char *const times[] = { "18:00", "Sun 04:00", "06:00" };
	struct err err = ERR_INIT;
	struct zone *zone = open_zone("UTC");
	struct calendar *calendar = calendar_at(times, 3, &err);
	struct wall_time time = at("2025-11-29T12:00:00Z");
	static const char *const expected[] = { "2025-11-29T18:00:00.000000Z",
		"2025-11-30T04:00:00.000000Z", "2025-11-30T06:00:00.000000Z",
		"2025-11-30T18:00:00.000000Z", "2025-12-01T06:00:00.000000Z" };

	(void)state;
	assert_non_null(calendar);
	for (size_t i = 0; i < 5; i++) {
		char text[CLOCK_TEXT_SIZE];

		assert_true(calendar_next(calendar, zone, time, &time));
		assert_string_equal(clock_format(time, text), expected[i]);
	}
	calendar_free(calendar);
	zone_close(zone);
}

static void
test_intervals_count_elapsed_time(void **state)
{
	struct zone *zone = open_zone("Europe/Berlin");
	struct wall_time anchor = at("2026-03-28T20:00:00Z");
	struct calendar *calendar = calendar_every(6 * HOUR_S * US_PER_S, anchor);
	struct wall_time time = { .us = anchor.us - 1 };
	struct wall_time previous;

	(void)state;
	assert_false(calendar_previous(calendar, zone, time, &previous));
	for (int64_t i = 0; i < 10; i++) {
		assert_true(calendar_next(calendar, zone, time, &time));
		assert_int_equal(time.us, anchor.us + i * 6 * HOUR_S * US_PER_S);
		assert_true(calendar_previous(calendar, zone,
		    (struct wall_time){ .us = time.us + 1 }, &previous));
		assert_int_equal(previous.us, time.us);
	}
	calendar_free(calendar);
	zone_close(zone);
}

static void
test_the_usual_distance(void **state)
{
	static const struct {
		const char *schedule;
		int64_t hours;
	} rows[] = {
		{ "at: 02:00", 24 },
		{ "at: Sun 04:00", 7 * 24 },
		{ "at: mon-fri 22:00", 72 },
		{ "cron: 0 */6 * * *", 6 },
		{ "cron: 0 9,17 * * *", 16 },
		{ "cron: 0 0 1 * *", 31 * 24 },
		{ "cron: 0 0 1 1 *", 366 * 24 },
		{ "cron: 0 0 29 2 *", 4 * 365 * 24 + 24 },
		{ "cron: 0 * * * *", 1 },
		{ "cron: 0 0 30 2 *", 0 },
		{ "cron: 0 0 31 4,6,9,11 *", 0 },
	};
	struct zone *zone = open_zone("UTC");
	struct calendar *never = make("cron: 0 0 31 4 *");
	struct wall_time time;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct calendar *calendar = make(rows[i].schedule);

		assert_int_equal(calendar_interval_us(calendar), rows[i].hours * HOUR_S * US_PER_S);
		calendar_free(calendar);
	}
	assert_false(calendar_next(never, zone, at("2025-01-01T00:00:00Z"), &time));
	assert_false(calendar_previous(never, zone, at("2025-01-01T00:00:00Z"), &time));
	calendar_free(never);
	zone_close(zone);
}

static void
test_finding_a_gap(void **state)
{
	struct zone *zone = open_zone("Europe/Berlin");
	struct calendar *in_gap = make("at: 02:00");
	struct calendar *beside = make("at: 03:00");
	struct civil skipped;
	struct wall_time due;
	char text[CLOCK_TEXT_SIZE];

	(void)state;
	assert_true(calendar_find_gap(in_gap, zone, at("2026-01-01T00:00:00Z"), 366, &skipped,
	    &due));
	assert_int_equal(skipped.month * 100 + skipped.day, 329);
	assert_int_equal(skipped.hour * 100 + skipped.minute, 200);
	assert_string_equal(zone_format(zone, due, text), "2026-03-29 03:00:00 +02:00");
	assert_false(calendar_find_gap(in_gap, zone, at("2026-01-01T00:00:00Z"), 60, &skipped,
	    &due));
	assert_false(calendar_find_gap(beside, zone, at("2026-01-01T00:00:00Z"), 366, &skipped,
	    &due));
	calendar_free(in_gap);
	calendar_free(beside);
	zone_close(zone);
}

/* ---- in every zone ------------------------------------------------------------------------ */

static const char *const property_schedules[] = {
	"at: 02:00",
	"at: 00:00",
	"at: 23:59",
	"cron: 30 1-3 * * *",
	"cron: */10 * * * *",
	"cron: 15 2 * * sun",
};
enum { PROPERTY_SCHEDULES = 6 };

struct property {
	struct calendar *calendars[PROPERTY_SCHEDULES];
	size_t runs;
};

/* What a run stands for: a civil time that matches, or times that a change of the clock skipped. */
static int64_t
civil_s(const struct zone *zone, struct wall_time time)
{
	struct civil civil = zone_civil(zone, time);

	return civil_to_unix_s(&civil);
}

/*
 * Walk all runs of (from, until]: strictly forward, and between two of them the schedule as a
 * clock without changes would keep it has no time that is due strictly between: none vanishes.
 * None runs twice: two runs never stand for the same civil time.
 */
static void
walk(const struct calendar *calendar, const struct zone *zone, const struct zone *utc,
    struct wall_time from, struct wall_time until, size_t *runs)
{
	struct wall_time due = from;
	int64_t covered_s = civil_s(zone, from); /* every civil time up to here has been seen */

	for (;;) {
		struct wall_time previous = due;
		struct wall_time in_utc;
		int64_t now_s;

		assert_true(calendar_next(calendar, zone, previous, &due));
		assert_true(due.us > previous.us);
		if (due.us > until.us)
			return;
		now_s = civil_s(zone, due);
		/* The next time on a clock without changes: it is this run, or was skipped to it. */
		assert_true(calendar_next(calendar, utc,
		    (struct wall_time){ .us = covered_s * US_PER_S }, &in_utc));
		if (in_utc.us / US_PER_S != now_s) {
			struct civil skipped = civil_from_unix_s(in_utc.us / US_PER_S);
			struct wall_time moved;

			assert_int_equal(zone_resolve(zone, &skipped, &moved, NULL), ZONE_GAP);
			assert_int_equal(moved.us, due.us);
		}
		assert_true(now_s > covered_s);
		covered_s = now_s;
		(*runs)++;
	}
}

/* Where the clock is set back, what the walk starts from must not lie in the repeated hour. */
static void
check_zone(const struct zone *zone, void *context)
{
	struct property *property = context;
	struct err err = ERR_INIT;
	struct zone *utc = zone_open("UTC", &err);
	struct wall_time from = at("2020-01-01T00:00:00Z");
	struct wall_time until = at("2036-01-01T00:00:00Z");
	struct wall_time change = from;

	assert_non_null(utc);
	walk(property->calendars[0], zone, utc, from, until, &property->runs);
	while (all_zones_next_change(zone, change, until, &change)) {
		struct wall_time before = { .us = change.us - 40 * HOUR_S * US_PER_S };
		struct wall_time after = { .us = change.us + 40 * HOUR_S * US_PER_S };

		for (size_t i = 1; i < PROPERTY_SCHEDULES; i++)
			walk(property->calendars[i], zone, utc, before, after, &property->runs);
	}
	zone_close(utc);
}

static void
test_all_zones(void **state)
{
	struct property property = { .runs = 0 };

	(void)state;
	for (size_t i = 0; i < PROPERTY_SCHEDULES; i++)
		property.calendars[i] = make(property_schedules[i]);
	assert_true(all_zones_visit(check_zone, &property) > 300);
	assert_true(property.runs > 300 * 16 * 365);
	for (size_t i = 0; i < PROPERTY_SCHEDULES; i++)
		calendar_free(property.calendars[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fixed_times),
		cmocka_unit_test(test_a_time_in_a_gap_runs_at_the_first_valid_instant),
		cmocka_unit_test(test_a_time_in_an_overlap_runs_once),
		cmocka_unit_test(test_looking_back_from_an_overlap),
		cmocka_unit_test(test_cron),
		cmocka_unit_test(test_what_cannot_be_read),
		cmocka_unit_test(test_a_list_of_times),
		cmocka_unit_test(test_intervals_count_elapsed_time),
		cmocka_unit_test(test_the_usual_distance),
		cmocka_unit_test(test_finding_a_gap),
		cmocka_unit_test(test_all_zones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
