#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "world.h"

#define HOUR_US (3600 * US_PER_S)
#define DAY_US (24 * HOUR_US)
#define MINUTE_US (60 * US_PER_S)

static struct wall_time
at(const char *text)
{
	struct wall_time time = { .us = 0 };
	struct err err = ERR_INIT;

	if (clock_parse(text, &time, &err) < 0)
		fail_msg("%s", err.msg);

	return time;
}

static void
run_until(struct world *world, const char *text)
{
	world_run_until(world, at(text));
}

/* "run 1 2025-11-25T02:00:00", "missed 3 FIRST..LAST", one line for each record. */
static char *
told(const struct world *world)
{
	struct str text = STR_INIT;

	for (size_t i = 0; i < world->records.count; i++) {
		const struct world_record *record = &world->records.items[i];
		char first[CLOCK_TEXT_SIZE], last[CLOCK_TEXT_SIZE];

		(void)clock_format(record->first, first);
		(void)clock_format(record->last, last);
		if (record->is_run)
			str_addf(&text, "%s: run %u %.16s\n", world->jobs[record->job].name,
			    record->attempt, first);
		else
			str_addf(&text, "%s: %s %llu %.16s..%.16s\n", world->jobs[record->job].name,
			    record->fate == AGENDA_MISSED ? "missed" : "skipped",
			    (unsigned long long)record->count, first, last);
	}

	return str_take(&text);
}

static void
assert_told(const struct world *world, const char *expected)
{
	char *text = told(world);

	assert_string_equal(text != NULL ? text : "", expected);
	free(text);
}

/* ---- one thing at a time ---- */

static void
test_what_is_due_is_begun_in_time(void **state)
{
	struct world world;

	(void)state;
	world_init(&world, "Europe/Berlin", "2026-10-24T00:00:00Z", 1);
	world_add(&world, "daily", "pg", "at: 02:30", 12 * HOUR_US);
	world_start(&world);
	run_until(&world, "2026-10-24T00:00:01Z");
	assert_int_equal(world_next(&world).us, at("2026-10-24T00:30:00Z").us);
	/* The second night has 02:30 twice. */
	run_until(&world, "2026-10-26T12:00:00Z");
	assert_told(&world,
	    "daily: run 1 2026-10-24T00:30\ndaily: run 1 2026-10-25T00:30\ndaily: run 1 2026-10-26T01:30\n");
	world_done(&world);
}

/* Down for a while: the newest is caught up once, if it is not too late; the others are missed. */
static void
test_a_restart_catches_up_once(void **state)
{
	struct world world;

	(void)state;
	world_init(&world, "UTC", "2026-03-01T00:00:00Z", 1);
	world_add(&world, "daily", "pg", "at: 02:00", 12 * HOUR_US);
	world_start(&world);
	run_until(&world, "2026-03-01T12:00:00Z");
	world_kill(&world);
	world.now = at("2026-03-05T13:00:00Z");
	world_start(&world);
	run_until(&world, "2026-03-05T20:00:00Z");
	assert_told(&world,
	    "daily: run 1 2026-03-01T02:00\ndaily: missed 3 2026-03-02T02:00..2026-03-04T02:00\ndaily: run 1 2026-03-05T02:00\n");
	world_kill(&world);
	world.now = at("2026-03-06T14:00:01Z");
	world_start(&world);
	world_forget(&world);
	run_until(&world, "2026-03-06T20:00:00Z");
	assert_told(&world, "daily: missed 1 2026-03-06T02:00..2026-03-06T02:00\n");
	world_done(&world);
}

static void
test_a_month_off_is_one_row_per_job(void **state)
{
	struct world world;

	(void)state;
	world_init(&world, "UTC", "2026-03-01T00:00:00Z", 1);
	world_add(&world, "often", "pg", "every: 60", 30 * US_PER_S);
	world_start(&world);
	run_until(&world, "2026-03-01T00:00:30Z");
	world_kill(&world);
	world.now = at("2026-03-31T00:00:40Z");
	world_start(&world);
	world_forget(&world);
	run_until(&world, "2026-03-31T00:00:50Z");
	assert_told(&world, "often: missed 43200 2026-03-01T00:01..2026-03-31T00:00\n");
	world_done(&world);
}

static void
test_a_clock_that_was_wrong_by_decades_starts_no_herd(void **state)
{
	struct world world;

	(void)state;
	world_init(&world, "UTC", "1980-01-06T00:00:00Z", 1);
	world_add(&world, "often", "pg", "cron: * * * * *", 30 * US_PER_S);
	world_add(&world, "daily", "redis", "at: 02:00", 12 * HOUR_US);
	world_start(&world);
	world.now = at("2026-03-31T09:00:00Z");
	run_until(&world, "2026-03-31T09:00:59Z");
	assert_int_equal(world.records.count, 4);
	assert_true(world.records.items[0].count >= 49999);
	assert_int_equal(world.records.items[1].count, 16886);
	assert_true(world.records.items[2].is_run);
	assert_true(world.records.items[3].is_run);
	world_done(&world);
}

static void
test_what_comes_during_a_run_is_skipped(void **state)
{
	struct world world;

	(void)state;
	world_init(&world, "UTC", "2026-03-01T00:00:30Z", 1);
	world_add(&world, "often", "pg", "cron: */10 * * * *", 5 * MINUTE_US);
	world_start(&world);
	world.luck.run_max_us = 1;
	run_until(&world, "2026-03-01T00:10:00Z");
	world.runs.items[0].ends = at("2026-03-01T00:35:00Z");
	run_until(&world, "2026-03-01T00:45:00Z");
	assert_told(&world,
	    "often: run 1 2026-03-01T00:10\noften: skipped 1 2026-03-01T00:20..2026-03-01T00:20\n"
	    "often: skipped 1 2026-03-01T00:30..2026-03-01T00:30\noften: run 1 2026-03-01T00:40\n");
	world_done(&world);
}

static void
test_transient_failures_are_tried_again(void **state)
{
	struct world world;
	struct wall_time begun[5];
	size_t count = 0;

	(void)state;
	world_init(&world, "UTC", "2026-03-01T00:00:00Z", 7);
	world_add(&world, "daily", "pg", "at: 02:00", 12 * HOUR_US);
	world.luck = (struct world_luck){ .run_max_us = 1, .transient = 1000 };
	world_start(&world);
	while (world.now.us < at("2026-03-01T12:00:00Z").us) {
		size_t before = world.records.count;

		world_run_until(&world, (struct wall_time){ world.now.us + 10 * US_PER_S });
		if (world.records.count > before)
			begun[count++] = world.now;
	}
	assert_told(&world,
	    "daily: run 1 2026-03-01T02:00\ndaily: run 2 2026-03-01T02:00\ndaily: run 3 2026-03-01T02:00\ndaily: run 4 2026-03-01T02:00\n");
	assert_in_range(begun[1].us - begun[0].us, 48 * US_PER_S, 82 * US_PER_S);
	assert_in_range(begun[2].us - begun[1].us, 240 * US_PER_S, 370 * US_PER_S);
	assert_in_range(begun[3].us - begun[2].us, 720 * US_PER_S, 1090 * US_PER_S);
	assert_false(agenda_state_of(world.agenda, "daily")->is_settled_good);
	world_done(&world);
}

/* However much time there is: a job that comes after another has no deadline. */
static void
test_retries_are_used_up(void **state)
{
	const struct agenda_state *known;
	struct world world;

	(void)state;
	world_init(&world, "UTC", "2026-03-01T00:00:00Z", 7);
	world_add(&world, "dump", "pg", "cron: 0 2 1 * *", 12 * HOUR_US);
	world_add(&world, "copy", NULL, "after: dump", 0);
	world_start(&world);
	run_until(&world, "2026-03-01T02:00:00Z");
	world.luck = (struct world_luck){ .run_max_us = 1, .transient = 1000 };
	run_until(&world, "2026-03-31T00:00:00Z");
	assert_told(&world,
	    "dump: run 1 2026-03-01T02:00\ncopy: run 1 2026-03-01T02:00\ncopy: run 2 2026-03-01T02:00\n"
	    "copy: run 3 2026-03-01T02:00\ncopy: run 4 2026-03-01T02:00\n");
	/* Nor is a fifth planned, be it for next year. */
	known = agenda_state_of(world.agenda, "copy");
	assert_int_equal(known->due.us, 0);
	assert_int_equal(known->not_before.us, 0);
	assert_int_equal(known->settled_due.us, at("2026-03-01T02:00:00Z").us);
	assert_false(known->is_settled_good);
	world_done(&world);
}

/* Each process dies during the run it began: the count goes on with the next one. */
static void
test_retries_outlive_the_process(void **state)
{
	struct world world;

	(void)state;
	world_init(&world, "UTC", "2026-03-01T00:00:00Z", 7);
	world_add(&world, "daily", "pg", "at: 02:00", 12 * HOUR_US);
	world.luck = (struct world_luck){ .run_max_us = 1, .transient = 1000 };
	world_start(&world);
	for (unsigned attempt = 1; attempt <= AGENDA_RETRIES + 1; attempt++) {
		struct wall_time died;

		while (world.records.count < attempt) {
			world.now = world_next(&world);
			agenda_step(world.agenda, world.now);
		}
		assert_int_equal(world.records.items[attempt - 1].attempt, attempt);
		world_kill(&world);
		world.now.us += MINUTE_US;
		died = world.now;
		world_start(&world);
		world_run_until(&world, world.now);
		if (attempt <= AGENDA_RETRIES)
			assert_true(world_next(&world).us >= died.us + 48 * US_PER_S);
	}
	run_until(&world, "2026-03-01T20:00:00Z");
	assert_int_equal(world.records.count, AGENDA_RETRIES + 1);
	assert_int_equal(world.twice_count, 0);
	assert_int_equal(agenda_state_of(world.agenda, "daily")->due.us, 0);
	assert_false(agenda_state_of(world.agenda, "daily")->is_settled_good);
	world_done(&world);
}

static void
test_no_retry_behind_the_deadline(void **state)
{
	struct world world;

	(void)state;
	world_init(&world, "UTC", "2026-03-01T00:00:00Z", 7);
	world_add(&world, "daily", "pg", "at: 02:00", 3 * MINUTE_US);
	world.luck = (struct world_luck){ .run_max_us = 1, .transient = 1000 };
	world_start(&world);
	run_until(&world, "2026-03-01T12:00:00Z");
	assert_told(&world, "daily: run 1 2026-03-01T02:00\ndaily: run 2 2026-03-01T02:00\n");
	world_done(&world);
}

static void
test_a_restore_goes_first(void **state)
{
	static const char *const sources[] = { "pg" };
	struct world world;

	(void)state;
	world_init(&world, "UTC", "2026-03-01T00:00:00Z", 1);
	world_add(&world, "dump", "pg", "at: 02:00", 12 * HOUR_US);
	world_add(&world, "short", "pg", "at: 02:01", 5 * MINUTE_US);
	world_add(&world, "other", "redis", "at: 02:02", 12 * HOUR_US);
	world_start(&world);
	agenda_set_restored(world.agenda, sources, 1);
	run_until(&world, "2026-03-01T02:30:00Z");
	assert_told(&world,
	    "other: run 1 2026-03-01T02:02\nshort: missed 1 2026-03-01T02:01..2026-03-01T02:01\n");
	assert_string_equal(agenda_waits_for(world.agenda, "dump", world.now),
	    "a restore of its source goes on");
	agenda_set_restored(world.agenda, NULL, 0);
	world_forget(&world);
	run_until(&world, "2026-03-01T02:31:00Z");
	assert_told(&world, "dump: run 1 2026-03-01T02:00\n");
	world_done(&world);
}

/* It waits for the restore alone: not as after a failure, and as often as it must. */
static void
test_what_a_restore_stopped_comes_again(void **state)
{
	static const char *const sources[] = { "pg" };
	struct world world;

	(void)state;
	world_init(&world, "UTC", "2026-03-01T00:00:00Z", 1);
	world_add(&world, "dump", "pg", "at: 02:00", 12 * HOUR_US);
	world_start(&world);
	run_until(&world, "2026-03-01T02:00:00Z");
	for (unsigned attempt = 1; attempt <= AGENDA_RETRIES + 2; attempt++) {
		assert_int_equal(world.runs.count, 1);
		assert_int_equal(world.runs.items[0].attempt, attempt);
		world.runs.items[0].outcome = AGENDA_PRE_EMPTED;
		agenda_set_restored(world.agenda, sources, 1);
		world_run_until(&world, (struct wall_time){ world.now.us + HOUR_US });
		assert_int_equal(world.runs.count, 0);
		agenda_set_restored(world.agenda, NULL, 0);
		world_run_until(&world, world.now);
	}
	assert_int_equal(world.twice_count, 0);
	world_done(&world);
}

static void
test_what_comes_after_waits(void **state)
{
	struct world world;

	(void)state;
	world_init(&world, "UTC", "2026-03-01T00:00:00Z", 1);
	world_add(&world, "copy", NULL, "after: dump", 0);
	world_add(&world, "dump", "pg", "at: 02:00", 12 * HOUR_US);
	world_add(&world, "report", NULL, "at: 02:01", 12 * HOUR_US);
	world.jobs[2].after = world.jobs[0].after;
	world_start(&world);
	run_until(&world, "2026-03-01T02:00:00Z");
	world.runs.items[0].ends = at("2026-03-01T03:00:00Z");
	run_until(&world, "2026-03-01T02:59:59Z");
	assert_told(&world, "dump: run 1 2026-03-01T02:00\n");
	assert_string_equal(agenda_waits_for(world.agenda, "report", world.now),
	    "a job that it comes after has not ended");
	run_until(&world, "2026-03-01T12:00:00Z");
	assert_told(&world,
	    "dump: run 1 2026-03-01T02:00\ncopy: run 1 2026-03-01T02:00\nreport: run 1 2026-03-01T02:01\n");
	/* Nothing is made of what failed. */
	world_forget(&world);
	world.luck.bad = 1000;
	run_until(&world, "2026-03-02T12:00:00Z");
	assert_told(&world,
	    "dump: run 1 2026-03-02T02:00\nreport: skipped 1 2026-03-02T02:01..2026-03-02T02:01\n");
	world_done(&world);
}

static void
test_one_run_of_a_source_and_so_many_at_all(void **state)
{
	struct world world;

	(void)state;
	world_init(&world, "UTC", "2026-03-01T00:00:00Z", 1);
	world_add(&world, "a", "pg", "at: 02:00", 12 * HOUR_US);
	world_add(&world, "b", "pg", "at: 02:00", HOUR_US);
	world_add(&world, "c", "redis", "at: 02:00", 12 * HOUR_US);
	world_add(&world, "d", "other", "at: 02:00", 12 * HOUR_US);
	world.running_max = 2;
	world_start(&world);
	run_until(&world, "2026-03-01T02:00:00Z");
	assert_told(&world, "a: run 1 2026-03-01T02:00\nc: run 1 2026-03-01T02:00\n");
	world.runs.items[0].ends = at("2026-03-01T03:30:00Z");
	world.runs.items[1].ends = at("2026-03-01T02:20:00Z");
	run_until(&world, "2026-03-01T12:00:00Z");
	assert_told(&world,
	    "a: run 1 2026-03-01T02:00\nc: run 1 2026-03-01T02:00\nd: run 1 2026-03-01T02:00\nb: missed 1 2026-03-01T02:00..2026-03-01T02:00\n");
	world_done(&world);
}

/* What falls into a blackout or maintenance is deferred, and not late by that. */
static void
test_holds_defer(void **state)
{
	static const char *const only[] = { "often", NULL };
	const char *shift = "01:30";
	struct err err = ERR_INIT;
	struct world world;

	(void)state;
	world_init(&world, "UTC", "2026-03-01T00:00:00Z", 1);
	world.blackouts[0] = (struct agenda_blackout){ calendar_at(&shift, 1, &err), 2 * HOUR_US,
		NULL };
	world.blackouts[1] = (struct agenda_blackout){ calendar_cron("0 6 * * *", &err), HOUR_US,
		only };
	world.blackouts_count = 2;
	world_add(&world, "daily", "pg", "at: 02:00", HOUR_US);
	world_add(&world, "often", "redis", "cron: 30 * * * *", 29 * MINUTE_US);
	world_start(&world);
	run_until(&world, "2026-03-01T03:29:59Z");
	assert_told(&world,
	    "often: run 1 2026-03-01T00:30\noften: skipped 1 2026-03-01T01:30..2026-03-01T01:30\n");
	run_until(&world, "2026-03-01T03:45:00Z");
	assert_told(&world,
	    "often: run 1 2026-03-01T00:30\noften: skipped 1 2026-03-01T01:30..2026-03-01T01:30\n"
	    "often: skipped 1 2026-03-01T02:30..2026-03-01T02:30\n"
	    "daily: run 1 2026-03-01T02:00\noften: run 1 2026-03-01T03:30\n");
	/* Maintenance, from a moment before it is due, ended early by hand. */
	world_forget(&world);
	agenda_set_maintenance(world.agenda,
	    &(struct agenda_maintenance){ at("2026-03-02T01:00:00Z"), at("2026-03-02T20:00:00Z") });
	run_until(&world, "2026-03-02T04:00:00Z");
	assert_string_equal(agenda_waits_for(world.agenda, "daily", world.now),
	    "the plant is in maintenance");
	agenda_set_maintenance(world.agenda,
	    &(struct agenda_maintenance){ at("2026-03-02T01:00:00Z"), at("2026-03-02T04:00:00Z") });
	for (size_t i = 0; i < world.records.count; i++)
		assert_true(world.records.items[i].job == 1);
	world_forget(&world);
	run_until(&world, "2026-03-02T04:10:00Z");
	assert_told(&world, "daily: run 1 2026-03-02T02:00\noften: run 1 2026-03-02T03:30\n");
	world_done(&world);
}

static void
test_paused_is_skipped_and_busy_too(void **state)
{
	struct world world;

	(void)state;
	world_init(&world, "UTC", "2026-03-01T00:00:00Z", 1);
	world_add(&world, "daily", "pg", "at: 02:00", 12 * HOUR_US);
	world.jobs[0].is_paused = true;
	world_start(&world);
	run_until(&world, "2026-03-01T12:00:00Z");
	assert_told(&world, "daily: skipped 1 2026-03-01T02:00..2026-03-01T02:00\n");
	world_kill(&world);
	world.jobs[0].is_paused = false;
	world_start(&world);
	run_until(&world, "2026-03-02T02:00:00Z");
	world_forget(&world);
	world.runs.items[0].outcome = AGENDA_BUSY;
	run_until(&world, "2026-03-02T12:00:00Z");
	assert_told(&world, "daily: skipped 1 2026-03-02T02:00..2026-03-02T02:00\n");
	world_done(&world);
}

static void
test_a_clock_set_back_runs_nothing_twice(void **state)
{
	struct world world;

	(void)state;
	world_init(&world, "UTC", "2026-03-01T00:00:00Z", 1);
	world_add(&world, "daily", "pg", "at: 02:00", 12 * HOUR_US);
	world_add(&world, "hourly", "redis", "cron: 0 * * * *", 30 * MINUTE_US);
	world_start(&world);
	run_until(&world, "2026-03-01T02:30:00Z");
	/* By less than an hour: as if nothing had happened. */
	world.now = at("2026-03-01T01:50:00Z");
	run_until(&world, "2026-03-01T03:30:00Z");
	assert_int_equal(world.records.count, 5 - 1);
	/* By a year: what is due then runs, although another "later" one has run. */
	world.now = at("2025-03-01T01:30:00Z");
	world_forget(&world);
	run_until(&world, "2025-03-01T02:30:00Z");
	assert_told(&world, "daily: run 1 2025-03-01T02:00\nhourly: run 1 2025-03-01T02:00\n");
	world.now = at("2025-03-01T00:30:00Z");
	run_until(&world, "2025-03-01T02:30:00Z");
	assert_told(&world,
	    "daily: run 1 2025-03-01T02:00\nhourly: run 1 2025-03-01T02:00\nhourly: run 1 2025-03-01T01:00\n");
	assert_int_equal(world.twice_count, 0);
	world_done(&world);
}

static void
test_nothing_begins_when_it_cannot_be_recorded(void **state)
{
	struct world world;

	(void)state;
	world_init(&world, "UTC", "2026-03-01T00:00:00Z", 1);
	world_add(&world, "daily", "pg", "at: 02:00", 12 * HOUR_US);
	world.luck.save_fails = 1000;
	world_start(&world);
	run_until(&world, "2026-03-01T02:30:00Z");
	assert_int_equal(world.records.count, 0);
	world.luck.save_fails = 0;
	run_until(&world, "2026-03-01T02:31:00Z");
	assert_told(&world, "daily: run 1 2026-03-01T02:00\n");
	world_done(&world);
}

static void
test_closed_it_leaves_the_rest_to_the_next(void **state)
{
	struct world world;

	(void)state;
	world_init(&world, "UTC", "2026-03-01T00:00:00Z", 1);
	world_add(&world, "daily", "pg", "at: 02:00", 12 * HOUR_US);
	world_start(&world);
	agenda_close(world.agenda);
	run_until(&world, "2026-03-01T02:10:00Z");
	assert_int_equal(world.records.count, 0);
	world_kill(&world);
	world_start(&world);
	run_until(&world, "2026-03-01T02:20:00Z");
	/* Not even that there is such a job was saved. */
	assert_int_equal(world.records.count, 0);
	run_until(&world, "2026-03-02T02:00:00Z");
	agenda_close(world.agenda);
	world.runs.items[0].ends = world.now;
	run_until(&world, "2026-03-03T02:10:00Z");
	world_kill(&world);
	world_start(&world);
	run_until(&world, "2026-03-03T02:20:00Z");
	assert_told(&world, "daily: run 1 2026-03-02T02:00\ndaily: run 1 2026-03-03T02:00\n");
	world_done(&world);
}

/* ---- years ---- */

static void
add_plant(struct world *world)
{
	static const char *const weekly = "Sun 03:30";
	struct err err = ERR_INIT;

	world_add(world, "pg-daily", "pg", "at: 02:00", 12 * HOUR_US);
	world_add(world, "pg-base", "pg", "at: 01:00", 12 * HOUR_US);
	world_add(world, "pg-wal", "pg", "every: 3600", 30 * MINUTE_US);
	world_add(world, "redis-6h", "redis", "cron: 0 */6 * * *", 3 * HOUR_US);
	world_add(world, "redis-night", "redis", "cron: 30 2,3 * * *", HOUR_US);
	world_add(world, "copy", NULL, "after: pg-daily", 0);
	world_add(world, "often", "plc", "cron: */20 * * * *", 10 * MINUTE_US);
	world_add(world, "weekly", "files", "at: Sun 04:00", 84 * HOUR_US);
	world_add(world, "monthly", "files", "cron: 0 2 1 * *", 300 * HOUR_US);
	world_add(world, "yearly", "files", "cron: 30 2 29 3 *", 1000 * HOUR_US);
	world->blackouts[0] = (struct agenda_blackout){ calendar_at(&weekly, 1, &err), HOUR_US,
		NULL };
	world->blackouts_count = 1;
	world->running_max = 3;
}

/* A due time, and how many records there are of it; several tries are one. */
struct tally {
	struct wall_time due;
	unsigned count;
};
struct tallies {
	VEC(struct tally) items;
};

static size_t
first_from(const struct tallies *tallies, struct wall_time due)
{
	size_t low = 0, high = tallies->items.count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (tallies->items.items[middle].due.us < due.us)
			low = middle + 1;
		else
			high = middle;
	}

	return low;
}

static void
fail_records(const struct world *world, size_t job, const struct tally *tally)
{
	char text[CLOCK_TEXT_SIZE];

	for (size_t i = 0; i < world->records.count; i++) {
		const struct world_record *record = &world->records.items[i];
		char first[CLOCK_TEXT_SIZE], last[CLOCK_TEXT_SIZE];

		if (record->job == job && record->last.us > tally->due.us - 2 * HOUR_US &&
		    record->first.us < tally->due.us + 2 * HOUR_US)
			print_message("%s %u %s..%s %llu %s\n", record->is_run ? "run" : "note",
			    record->attempt, clock_format(record->first, first),
			    clock_format(record->last, last), (unsigned long long)record->count,
			    record->is_run ? "" : record->reason);
	}
	fail_msg("%s: %u records of %s", world->jobs[job].name, tally->count,
	    clock_format(tally->due, text));
}

/* What was due, but for what still waits. */
static void
list_due(const struct world *world, size_t job, struct tallies *tallies)
{
	const struct agenda_state *state = &world->states[job];
	struct wall_time due = { .us = world->began.us - (world->is_every[job] ? 1 : 0) };

	while (calendar_next(world->calendars[job], world->zone, due, &due) &&
	    due.us <= state->considered.us) {
		if (due.us != state->due.us || state->is_begun || state->attempt > 0)
			vec_push(&tallies->items, ((struct tally){ .due = due }));
	}
}

/* All that became due has one record, and the counts of notes are true. */
static void
check_job(const struct world *world, size_t job)
{
	struct tallies tallies = { .items = { .count = 0 } };
	uint64_t counted = 0;

	list_due(world, job, &tallies);
	for (size_t i = 0; i < world->records.count; i++) {
		const struct world_record *record = &world->records.items[i];
		size_t at = first_from(&tallies, record->first);

		if (record->job != job || (record->is_run && record->attempt > 1))
			continue;
		counted += record->count;
		for (;
		     at < tallies.items.count && tallies.items.items[at].due.us <= record->last.us;
		     at++)
			tallies.items.items[at].count++;
	}
	for (size_t i = 0; i < tallies.items.count; i++) {
		if (tallies.items.items[i].count != 1)
			fail_records(world, job, &tallies.items.items[i]);
	}
	assert_int_equal(counted, tallies.items.count);
	vec_done(&tallies.items);
}

static void
live_years(struct world *world, int64_t lasts_us, int64_t back_max_us)
{
	int64_t end_us = world->began.us + lasts_us;
	int64_t newest_us = 0; /* what the clock ever said */
	int64_t back_us;

	world_start(world);
	while (world->now.us < end_us) {
		int64_t next_us = world->now.us +
		    (int64_t)world_random(world, (uint64_t)(9 * DAY_US));
		struct wall_time now = { .us = next_us < end_us ? next_us : end_us };

		world_run_until(world, now);
		switch (world_random(world, 8)) {
		case 0: /* off for days, or for seconds */
		case 1:
			world_kill(world);
			world->now.us += (int64_t)world_random(world,
			    (uint64_t)(world_random(world, 2) == 0 ? 6 * DAY_US : MINUTE_US));
			break;
		case 2: /* the clock is set forward */
			world->now.us += (int64_t)world_random(world, (uint64_t)(30 * HOUR_US));
			break;
		case 3: /* and back a little, as a time server would */
			if (world->now.us > newest_us)
				newest_us = world->now.us;
			back_us = (int64_t)world_random(world, (uint64_t)(50 * MINUTE_US));
			if (world->now.us - back_us > newest_us - 50 * MINUTE_US)
				world->now.us -= back_us;
			break;
		case 4:
			if (back_max_us > 0)
				world->now.us -= (int64_t)world_random(world,
				    (uint64_t)back_max_us);
			break;
		case 5:
			agenda_set_maintenance(world->agenda != NULL
				? world->agenda
				: (world_start(world), world->agenda),
			    &(struct agenda_maintenance){ world->now,
				{ world->now.us + 5 * HOUR_US } });
			break;
		default:
			break;
		}
		if (world->agenda == NULL)
			world_start(world);
	}
}

static void
test_years_pass_and_every_due_time_has_one_record(void **state)
{
	static const char *const zones[] = { "Europe/Berlin", "America/St_Johns",
		"Australia/Lord_Howe", "Africa/Cairo", "UTC", "America/Asuncion" };
	size_t records = 0;

	(void)state;
	for (unsigned seed = 1; seed <= ARRAY_SIZE(zones); seed++) {
		struct world world;

		world_init(&world, zones[seed - 1], "2025-11-25T10:00:00Z", seed);
		world.luck = (struct world_luck){ 20, 10, 20, 100, 50, 90 * MINUTE_US };
		add_plant(&world);
		live_years(&world, 400 * DAY_US, 0);
		for (size_t job = 0; job < world.jobs_count; job++) {
			if (world.calendars[job] != NULL)
				check_job(&world, job);
		}
		assert_int_equal(world.twice_count, 0);
		records += world.records.count;
		world_done(&world);
	}
	assert_true(records > 50000);
	print_message("%zu records\n", records);
}

static void
test_months_with_a_clock_that_goes_back(void **state)
{
	(void)state;
	for (unsigned seed = 11; seed <= 14; seed++) {
		struct world world;

		world_init(&world, "Europe/Berlin", "2025-11-25T10:00:00Z", seed);
		world.luck = (struct world_luck){ 20, 10, 20, 100, 50, 90 * MINUTE_US };
		add_plant(&world);
		live_years(&world, 60 * DAY_US, 2 * DAY_US);
		assert_int_equal(world.twice_count, 0);
		world_done(&world);
	}
}

/* A thousand jobs due in the same second, on time: one step is quick. */
static void
test_a_thousand_jobs(void **state)
{
	static char names[1000][16];
	struct err err = ERR_INIT;
	struct world world;
	struct calendar *calendar = calendar_cron("0 * * * *", &err);
	struct mono_time began;
	struct wall_time next;
	struct agenda *agenda;

	(void)state;
	world_init(&world, "Europe/Berlin", "2026-03-01T00:00:30Z", 1);
	world_add(&world, "all", NULL, "at: 12:00", HOUR_US);
	/* One row is enough for the host; the agenda knows a thousand. */
	agenda = agenda_new(&(struct agenda_options){ .zone = world.zone, .host = &world.host });
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(names[i], sizeof(names[i]), "job-%03zu", i);
		agenda_add(agenda,
		    &(struct agenda_job){ .name = "all",
			.source = names[i],
			.calendar = calendar,
			.deadline_us = HOUR_US },
		    NULL, false, world.now);
	}
	agenda_step(agenda, world.now);
	assert_true(agenda_next(agenda, world.now, &next));
	world.now = next;
	began = clock_mono();
	agenda_step(agenda, next);
	assert_int_equal(world.records.count, 1000);
	print_message("1,000 jobs begun after %lld us\n", (long long)clock_elapsed_us(began));
	assert_true(clock_elapsed_us(began) < 100 * US_PER_MS);
	agenda_free(agenda);
	calendar_free(calendar);
	world_done(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_due_is_begun_in_time),
		cmocka_unit_test(test_a_restart_catches_up_once),
		cmocka_unit_test(test_a_month_off_is_one_row_per_job),
		cmocka_unit_test(test_a_clock_that_was_wrong_by_decades_starts_no_herd),
		cmocka_unit_test(test_what_comes_during_a_run_is_skipped),
		cmocka_unit_test(test_transient_failures_are_tried_again),
		cmocka_unit_test(test_retries_are_used_up),
		cmocka_unit_test(test_retries_outlive_the_process),
		cmocka_unit_test(test_no_retry_behind_the_deadline),
		cmocka_unit_test(test_a_restore_goes_first),
		cmocka_unit_test(test_what_a_restore_stopped_comes_again),
		cmocka_unit_test(test_what_comes_after_waits),
		cmocka_unit_test(test_one_run_of_a_source_and_so_many_at_all),
		cmocka_unit_test(test_holds_defer),
		cmocka_unit_test(test_paused_is_skipped_and_busy_too),
		cmocka_unit_test(test_a_clock_set_back_runs_nothing_twice),
		cmocka_unit_test(test_nothing_begins_when_it_cannot_be_recorded),
		cmocka_unit_test(test_closed_it_leaves_the_rest_to_the_next),
		cmocka_unit_test(test_years_pass_and_every_due_time_has_one_record),
		cmocka_unit_test(test_months_with_a_clock_that_goes_back),
		cmocka_unit_test(test_a_thousand_jobs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
