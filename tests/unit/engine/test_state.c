#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "base/zone.h"
#include "catalog/catalog.h"
#include "engine/lane.h"
#include "engine/state.h"
#include "fixture.h"
#include "sched/calendar.h"

enum { HOURS_PER_DAY = 24 };
#define HOUR_US (3600 * US_PER_S)
#define DAY_US (HOURS_PER_DAY * HOUR_US)

static const char *const at_two[] = { "02:00" };

/* 2026-11-20 12:00 UTC; the zone of the fixture decides what day that is. */
static const struct wall_time noon = { .us = INT64_C(1795176000) * US_PER_S };

static struct wall_time
before(int64_t us)
{
	return (struct wall_time){ .us = noon.us - us };
}

/* Rows own their texts, but these are only read. */
static char *
lent(const char *text)
{
	return (char *)(uintptr_t)text;
}

/* The last 02:00 of the site before noon. */
static struct wall_time
last_due(const struct fixture *fixture, const struct calendar *calendar)
{
	struct wall_time due = noon;

	assert_true(calendar_previous(calendar, fixture->engine.zone, noon, &due));

	return due;
}

static void
add_run(struct fixture *fixture, const char *verb, struct wall_time started, enum run_state state)
{
	static unsigned count; /* ids only have to differ */
	char id[32];
	struct err err = ERR_INIT;
	const struct run_row row = {
		.id = id,
		.job = lent("pg-daily"),
		.source = lent("plant"),
		.verb = lent(verb),
		.state = state,
		.started = started,
		.finished = { .us = state == RUN_RUNNING ? 0 : started.us + 9 * 60 * US_PER_S },
		.backup_id = lent("b1"),
		.stored_bytes = 1000 + count,
	};

	(void)snprintf(id, sizeof(id), "run-%u", count++);
	assert_int_equal(catalog_run_insert(fixture->engine.catalog, &row, &err), 0);
}

static void
add_backup(struct fixture *fixture, const char *source, struct wall_time at, int level)
{
	char id[64];
	struct err err = ERR_INIT;
	const struct backup_row row = {
		.id = id,
		.job = lent("pg-daily"),
		.source = lent(source),
		.source_type = lent("plant"),
		.kind = lent("dump"),
		.manifest_name = lent("x/manifest.json"),
		.identity = lent("1"),
		.version = lent("1"),
		.started = at,
		.finished = at,
		.consistent_at = at,
		.level = level,
		.level_at = level >= 0 ? before(3 * DAY_US) : (struct wall_time){ .us = 0 },
	};

	(void)snprintf(id, sizeof(id), "b%d", level >= 0 ? level - 1 : 7);
	assert_int_equal(catalog_backup_put(fixture->engine.catalog, &row, &err), 0);
}

static struct overview_expectation
daily(const struct calendar *calendar)
{
	return (struct overview_expectation){
		.job = "pg-daily",
		.source = "plant",
		.kind = "dump",
		.max_age_us = 2 * DAY_US,
		.calendar = calendar,
	};
}

static void
make(struct fixture *fixture, struct state_keeper *keeper,
    const struct overview_expectation *expected, size_t count, struct wall_time now,
    struct state *state)
{
	const struct state_request request = {
		.expected = expected,
		.expected_count = count,
		.now = now,
	};
	struct err err = ERR_INIT;

	if (state_make(keeper, &fixture->engine, &request, state, &err) < 0)
		fail_msg("%s", err.msg);
}

static struct calendar *
open_daily(void)
{
	struct err err = ERR_INIT;
	struct calendar *calendar = calendar_at(at_two, 1, &err);

	assert_non_null(calendar);

	return calendar;
}

static void
strip_of(const struct state *state, char *text)
{
	for (size_t i = 0; i < STATE_STRIP_CELLS; i++)
		text[i] = state_cell_letter(state->jobs.items[0].cells[i]);
	text[STATE_STRIP_CELLS] = '\0';
}

/* ---- the strip ---------------------------------------------------------------------------- */

static void
test_each_due_run_has_its_cell(void **unused)
{
	struct fixture fixture;
	SCOPED(calendar_freep) struct calendar *calendar = open_daily();
	SCOPED(state_keeper_freep) struct state_keeper *keeper = state_keeper_new();
	SCOPED(state_done) struct state state;
	const struct overview_expectation expected = daily(calendar);
	struct wall_time due;
	char strip[STATE_STRIP_CELLS + 1];

	(void)unused;
	fixture_init(&fixture);
	due = last_due(&fixture, calendar);
	add_run(&fixture, "backup", due, RUN_OK);
	/* One day without any run: the machine was off. */
	add_run(&fixture, "backup", (struct wall_time){ due.us - 2 * DAY_US }, RUN_FAILED);
	add_run(&fixture, "backup", (struct wall_time){ due.us - 2 * DAY_US + HOUR_US }, RUN_OK);
	add_run(&fixture, "backup", (struct wall_time){ due.us - 3 * DAY_US }, RUN_FAILED);
	add_run(&fixture, "backup", (struct wall_time){ due.us - 4 * DAY_US }, RUN_WARNING);
	make(&fixture, keeper, &expected, 1, noon, &state);
	strip_of(&state, strip);
	assert_string_equal(strip, "-------------------------wfomo");
	assert_int_equal(state.jobs.items[0].due[29].us, due.us);
	assert_int_equal(state.jobs.items[0].due[24].us, 0);
	fixture_done(&fixture);
}

static void
test_the_newest_has_half_an_interval_to_begin(void **unused)
{
	struct fixture fixture;
	SCOPED(calendar_freep) struct calendar *calendar = open_daily();
	SCOPED(state_keeper_freep) struct state_keeper *keeper = state_keeper_new();
	const struct overview_expectation expected = daily(calendar);
	struct wall_time due;
	char strip[STATE_STRIP_CELLS + 1];

	(void)unused;
	fixture_init(&fixture);
	due = last_due(&fixture, calendar);
	add_run(&fixture, "backup", (struct wall_time){ due.us - DAY_US }, RUN_OK);
	for (int late = 0; late < 2; late++) {
		SCOPED(state_done) struct state state;
		struct wall_time now = { .us = due.us + (late ? 13 : 11) * HOUR_US };

		make(&fixture, keeper, &expected, 1, now, &state);
		strip_of(&state, strip);
		assert_string_equal(strip + 28, late ? "om" : "o-");
	}
	fixture_done(&fixture);
}

/* ---- the days ------------------------------------------------------------------------------ */

static void
expect_same_days(struct fixture *fixture, struct state_keeper *keeper, struct wall_time now,
    struct wall_time today)
{
	const struct overview_expectation expected = daily(NULL);
	SCOPED(state_keeper_freep) struct state_keeper *fresh = state_keeper_new();
	SCOPED(state_done) struct state kept;
	SCOPED(state_done) struct state read;

	make(fixture, keeper, &expected, 1, now, &kept);
	make(fixture, fresh, &expected, 1, now, &read);
	assert_memory_equal(kept.jobs.items[0].days, read.jobs.items[0].days,
	    sizeof(kept.jobs.items[0].days));
	assert_int_equal(kept.jobs.items[0].days[STATE_DAYS - 1].started.us, today.us);
}

/* Looked at twice a day, with a run in between, and now and then not for a week. */
static void
test_days_are_the_same_whether_kept_or_read(void **unused)
{
	struct fixture fixture;
	SCOPED(state_keeper_freep) struct state_keeper *keeper = state_keeper_new();

	(void)unused;
	fixture_init(&fixture);
	for (int day = 0; day < 40; day++) {
		struct wall_time first = { .us = noon.us + day * DAY_US };
		struct wall_time second = { .us = first.us + 2 * HOUR_US };
		struct wall_time look = { .us = first.us + HOUR_US };
		struct wall_time today = { .us = day % 5 != 2 ? first.us : 0 };

		add_run(&fixture, "backup", first, day % 5 == 2 ? RUN_FAILED : RUN_OK);
		if (day < 12 || day > 20)
			expect_same_days(&fixture, keeper, look, today);
		if (day % 3 == 0) {
			add_run(&fixture, "backup", second, RUN_OK);
			today = second;
		}
		look.us += 4 * HOUR_US;
		if (day < 12 || day > 20)
			expect_same_days(&fixture, keeper, look, today);
	}
	fixture_done(&fixture);
}

/* ---- the answer ---------------------------------------------------------------------------- */

static void
expect_answer(struct fixture *fixture, const struct overview_expectation *expected, size_t count,
    enum answer_verdict verdict, const char *text)
{
	SCOPED(state_keeper_freep) struct state_keeper *keeper = state_keeper_new();
	SCOPED(state_done) struct state state;

	make(fixture, keeper, expected, count, noon, &state);
	assert_int_equal(state.answer.verdict, verdict);
	if (strstr(state.answer.text, text) == NULL)
		fail_msg("'%s' is not in '%s'", text, state.answer.text);
}

static void
test_the_answer(void **unused)
{
	struct fixture fixture;
	struct overview_expectation expected[2] = { daily(NULL), daily(NULL) };

	(void)unused;
	fixture_init(&fixture);
	expected[1].job = "redis-6h";
	expected[1].source = "redis";
	expect_answer(&fixture, expected, 1, ANSWER_NO, "there is no good backup in");
	add_backup(&fixture, "plant", before(3 * HOUR_US), -1);
	expect_answer(&fixture, expected, 1, ANSWER_YES, "(never restored yet)");
	expect_answer(&fixture, expected, 1, ANSWER_YES, "'plant' as it was at 20 Nov ");
	/* A proof of level 2 is a restore; its run tells how long it took. */
	add_backup(&fixture, "plant", before(3 * DAY_US), 2);
	add_run(&fixture, "verify", before(3 * DAY_US), RUN_OK);
	expect_answer(&fixture, expected, 1, ANSWER_YES, ", in about 9 min (restored 3 d ago)");
	expect_answer(&fixture, expected, 2, ANSWER_BUT, "not 'redis': there is no good backup");
	expected[0].max_age_us = HOUR_US;
	expect_answer(&fixture, expected, 1, ANSWER_BUT, "that is 3 h ago, the limit is 60 min");
	fixture_done(&fixture);
}

static void
test_the_answer_of_a_stream(void **unused)
{
	struct fixture fixture;
	struct overview_expectation expected = daily(NULL);
	struct lane lane = { .has_arrived = true };

	(void)unused;
	fixture_init(&fixture);
	vec_push(&lane.report.spans,
	    ((struct window_span){
		.is_current = true,
		.from = { .us = before(5 * DAY_US).us + US_PER_S },
		.to = before(60 * US_PER_S),
	    }));
	expected.stream = &lane;
	expect_answer(&fixture, &expected, 1, ANSWER_YES, "'plant' to any second since 15 Nov ");
	/* A backup of just now does not hide the window, one that is much newer does. */
	add_backup(&fixture, "plant", before(10 * US_PER_S), -1);
	expect_answer(&fixture, &expected, 1, ANSWER_YES, "to any second since 15 Nov ");
	lane.report.spans.items[0].to = before(DAY_US);
	expect_answer(&fixture, &expected, 1, ANSWER_YES, "as it was at 20 Nov ");
	vec_done(&lane.report.spans);
	fixture_done(&fixture);
}

static void
test_a_window_that_cannot_be_read_is_said(void **unused)
{
	struct fixture fixture;
	SCOPED(state_keeper_freep) struct state_keeper *keeper = state_keeper_new();
	SCOPED(state_done) struct state state;
	struct overview_expectation expected = daily(NULL);
	const struct lane lane = { .has_arrived = true, .failure = lent("no such folder") };

	(void)unused;
	fixture_init(&fixture);
	expected.stream = &lane;
	make(&fixture, keeper, &expected, 1, noon, &state);
	assert_non_null(strstr(state.overview.jobs.items[0].abnormal, "no such folder"));
	assert_int_equal(state.answer.verdict, ANSWER_NO);
	fixture_done(&fixture);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_due_run_has_its_cell),
		cmocka_unit_test(test_the_newest_has_half_an_interval_to_begin),
		cmocka_unit_test(test_days_are_the_same_whether_kept_or_read),
		cmocka_unit_test(test_the_answer),
		cmocka_unit_test(test_the_answer_of_a_stream),
		cmocka_unit_test(test_a_window_that_cannot_be_read_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
