#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "catalog/catalog_outbox.h"
#include "catalog/catalog_watch.h"
#include "fixture.h"

static char *
literal(const char *text)
{
	return (char *)(uintptr_t)text;
}

static void
add(struct fixture *f, const char *channel, const char *event, int64_t due_us)
{
	const struct outbox_row row = {
		.channel = literal(channel),
		.event = literal(event),
		.due_at = { due_us },
		.expires_at = { due_us + 1000 },
	};
	struct err err = ERR_INIT;

	assert_int_equal(catalog_outbox_add(f->catalog, &row, &err), 0);
}

/* Ids that are due, in their order: "1 2 ". */
static char *
due(struct fixture *f, int64_t now_us)
{
	SCOPED(outbox_rows_done) struct outbox_rows rows = { .rows = { .count = 0 } };
	struct str text = STR_INIT;
	struct err err = ERR_INIT;
	bool has_due;

	assert_int_equal(catalog_outbox_due(f->catalog, (struct wall_time){ now_us }, &rows, &err),
	    0);
	assert_int_equal(catalog_outbox_has_due(f->catalog, (struct wall_time){ now_us }, &has_due,
			     &err),
	    0);
	assert_int_equal(has_due, rows.rows.count > 0);
	str_add(&text, " ");
	for (size_t i = 0; i < rows.rows.count; i++)
		str_addf(&text, "%lld ", (long long)rows.rows.items[i].id);

	return str_take(&text);
}

static void
assert_due(struct fixture *f, int64_t now_us, const char *expected)
{
	SCOPED(freep) char *found = due(f, now_us);

	assert_string_equal(found, expected);
}

static void
test_an_attempt_is_counted_before_it_is_made(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;

	add(f, "mail", "raised", 10);
	add(f, "hook", "raised", 10);
	assert_due(f, 9, " ");
	assert_due(f, 10, " 1 2 ");
	assert_int_equal(catalog_outbox_begin(f->catalog, 1, (struct wall_time){ 100 }, &err), 0);
	fixture_reopen(f); /* as after a kill in the middle of it */
	assert_due(f, 10, " 2 ");
	assert_due(f, 100, " 1 2 ");
	assert_int_equal(catalog_outbox_done(f->catalog, 1, (struct wall_time){ 101 }, &err), 0);
	assert_due(f, 200, " 2 ");
	assert_int_equal(catalog_outbox_begin(f->catalog, 1, (struct wall_time){ 300 }, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
}

static void
test_a_clock_that_was_set_back_holds_nothing_up(void **state)
{
	struct fixture *f = *state;
	const int64_t hour_us = 3600 * US_PER_S;

	add(f, "mail", "raised", 100 * hour_us);
	assert_due(f, 99 * hour_us, " ");
	assert_due(f, 97 * hour_us, " 1 ");
}

static void
test_what_is_always_refused_lets_others_by(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;

	add(f, "mail", "raised", 0);
	add(f, "mail", "cleared", 0);
	for (int i = 0; i < 5; i++) {
		assert_due(f, 10, " 1 2 ");
		assert_int_equal(catalog_outbox_begin(f->catalog, 1, (struct wall_time){ 0 }, &err),
		    0);
		assert_int_equal(catalog_outbox_failed(f->catalog, 1, "554 no", false,
				     (struct wall_time){ 1 }, &err),
		    0);
	}
	assert_due(f, 10, " 2 1 ");
	assert_int_equal(catalog_outbox_postpone(f->catalog, "mail", (struct wall_time){ 50 },
			     &err),
	    0);
	assert_due(f, 49, " ");
	assert_int_equal(catalog_outbox_failed(f->catalog, 1, "554 no", true,
			     (struct wall_time){ 1 }, &err),
	    0);
	assert_due(f, 50, " 2 ");
}

static void
test_withdrawn_ids_are_never_used_again(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;

	add(f, "am", "state", 0);
	add(f, "am", "raised", 0);
	assert_int_equal(catalog_outbox_withdraw(f->catalog, "am", "state", &err), 0);
	assert_due(f, 0, " 2 ");
	assert_int_equal(catalog_outbox_withdraw(f->catalog, "am", "raised", &err), 0);
	add(f, "am", "state", 0);
	assert_due(f, 0, " 3 ");
}

static void
test_trim_leaves_what_waits(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;

	add(f, "mail", "raised", 0);
	add(f, "mail", "raised", 0);
	add(f, "mail", "raised", 0);
	assert_int_equal(catalog_outbox_done(f->catalog, 1, (struct wall_time){ 10 }, &err), 0);
	assert_int_equal(catalog_outbox_done(f->catalog, 2, (struct wall_time){ 20 }, &err), 0);
	assert_int_equal(catalog_outbox_trim(f->catalog, (struct wall_time){ 20 }, &err), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM outbox"), 2);
	assert_due(f, 0, " 3 ");
}

static void
test_channels_count(void **state)
{
	struct fixture *f = *state;
	SCOPED(channel_rows_done) struct channel_rows rows = { .rows = { .count = 0 } };
	const struct channel_row *row;
	struct err err = ERR_INIT;

	for (int64_t at = 1; at <= 3; at++)
		assert_int_equal(catalog_channel_count(f->catalog, "mail", "refused",
				     (struct wall_time){ at }, &err),
		    0);
	assert_int_equal(catalog_channel_list(f->catalog, &rows, &err), 0);
	row = &rows.rows.items[0];
	assert_int_equal(row->failures_in_a_row, 3);
	assert_int_equal(row->failing_since.us, 1);
	assert_string_equal(row->failure, "refused");
	assert_int_equal(catalog_channel_count(f->catalog, "mail", NULL, (struct wall_time){ 4 },
			     &err),
	    0);
	assert_int_equal(catalog_channel_count(f->catalog, "mail", "again", (struct wall_time){ 5 },
			     &err),
	    0);
	channel_rows_done(&rows);
	rows = (struct channel_rows){ .rows = { .count = 0 } };
	assert_int_equal(catalog_channel_list(f->catalog, &rows, &err), 0);
	row = &rows.rows.items[0];
	assert_int_equal(row->failures_in_a_row, 1);
	assert_int_equal(row->failing_since.us, 5);
	assert_int_equal(row->failures_total, 4);
	assert_int_equal(row->sent_total, 1);
	assert_int_equal(row->sent_at.us, 4);
}

/* ---- what the watch asks ---- */

static void
add_run(struct fixture *f, const char *job, const char *verb, enum run_state state, int number)
{
	SCOPED(freep) char *id = xasprintf("%s-%d", job, number);
	const struct run_row row = {
		.id = id,
		.job = literal(job),
		.source = literal("pg"),
		.verb = literal(verb),
		.state = state,
		.started = { 1000 - number }, /* the clock is being set back all the time */
		.finished = { 1000 - number },
	};
	struct err err = ERR_INIT;

	assert_int_equal(catalog_run_insert(f->catalog, &row, &err), 0);
}

static unsigned
failures(struct fixture *f, const char *verb, const char *expected_last)
{
	SCOPED(run_outcome_done) struct run_outcome outcome = { .failures_in_a_row = 0 };
	struct err err = ERR_INIT;

	assert_int_equal(catalog_run_outcome(f->catalog, "a", verb, &outcome, &err), 0);
	if (expected_last == NULL)
		assert_null(outcome.last_failure.id);
	else
		assert_string_equal(outcome.last_failure.id, expected_last);

	return outcome.failures_in_a_row;
}

static void
test_failures_in_a_row(void **state)
{
	struct fixture *f = *state;
	static const char *const verbs[] = { "backup", "wal" };

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		int base = (int)i * 100;
		SCOPED(freep) char *lost = xasprintf("a-%d", base + 5);

		assert_int_equal(failures(f, verbs[i], NULL), 0);
		add_run(f, "a", verbs[i], RUN_FAILED, base + 1);
		add_run(f, "a", verbs[i], RUN_WARNING, base + 2);
		assert_int_equal(failures(f, verbs[i], NULL), 0);
		add_run(f, "a", verbs[i], RUN_FAILED, base + 3);
		add_run(f, "a", verbs[i], RUN_CANCELLED, base + 4);
		add_run(f, "a", verbs[i], RUN_LOST, base + 5);
		add_run(f, "a", verbs[i], RUN_MISSED, base + 6);
		add_run(f, "a", verbs[i], RUN_RUNNING, base + 7);
		add_run(f, "b", verbs[i], RUN_OK, base + 8);
		add_run(f, "a", "verify", RUN_OK, base + 9);
		assert_int_equal(failures(f, verbs[i], lost), 2);
	}
}

static void
test_attempts_at_one_due_time_are_one_failure(void **state)
{
	struct fixture *f = *state;

	add_run(f, "a", "backup", RUN_FAILED, 1);
	add_run(f, "a", "backup", RUN_FAILED, 2);
	fixture_sql(f, "UPDATE run SET due = 500, attempt = seq");
	fixture_sql(f, "INSERT INTO schedule VALUES ('a', '', 0, 0, 500, 0, 2, 900, 0, 0, 0)");
	assert_int_equal(failures(f, "backup", NULL), 0); /* a third one is to come */
	fixture_sql(f, "UPDATE schedule SET due = 0");
	assert_int_equal(failures(f, "backup", "a-2"), 1);
	add_run(f, "a", "backup", RUN_FAILED, 3); /* by hand */
	assert_int_equal(failures(f, "backup", "a-3"), 2);
}

static void
test_the_stamp_moves_with_every_change(void **state)
{
	struct fixture *f = *state;
	struct catalog *other;
	struct err err = ERR_INIT;
	uint64_t before, after;

	assert_int_equal(catalog_stamp(f->catalog, &before, &err), 0);
	assert_int_equal(catalog_stamp(f->catalog, &after, &err), 0);
	assert_int_equal(before, after);
	add(f, "mail", "raised", 0);
	assert_int_equal(catalog_stamp(f->catalog, &after, &err), 0);
	assert_int_not_equal(before, after);
	other = catalog_open(f->path, &err);
	assert_non_null(other);
	assert_int_equal(catalog_mark_put(other, "x", (struct wall_time){ 1 }, "y", &err), 0);
	catalog_close(other);
	assert_int_equal(catalog_stamp(f->catalog, &before, &err), 0);
	assert_int_not_equal(before, after);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_an_attempt_is_counted_before_it_is_made,
		    fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_a_clock_that_was_set_back_holds_nothing_up,
		    fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_what_is_always_refused_lets_others_by,
		    fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_withdrawn_ids_are_never_used_again,
		    fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_trim_leaves_what_waits, fixture_setup,
		    fixture_teardown),
		cmocka_unit_test_setup_teardown(test_channels_count, fixture_setup,
		    fixture_teardown),
		cmocka_unit_test_setup_teardown(test_failures_in_a_row, fixture_setup,
		    fixture_teardown),
		cmocka_unit_test_setup_teardown(test_attempts_at_one_due_time_are_one_failure,
		    fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_the_stamp_moves_with_every_change,
		    fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
