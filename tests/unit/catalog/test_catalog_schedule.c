#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "catalog/catalog_schedule.h"
#include "fixture.h"

static struct wall_time
second(int64_t s)
{
	return (struct wall_time){ s * US_PER_S };
}

#define OK(call)                                                                                   \
	do {                                                                                       \
		if ((call) < 0)                                                                    \
			fail_msg("%s", err.msg);                                                   \
	} while (0)

static void
test_what_is_put_is_listed(void **state)
{
	struct fixture *fixture = *state;
	struct err err = ERR_INIT;
	char job[] = "a", times[] = "at 02:00";
	const struct schedule_row row = { .job = job,
		.times = times,
		.begun = second(1),
		.considered = second(2),
		.due = second(3),
		.is_begun = true,
		.attempt = 4,
		.not_before = second(5),
		.settled_due = second(6),
		.is_settled_good = true,
		.recorded = second(7) };
	struct schedule_rows rows;

	OK(catalog_schedule_put(fixture->catalog, &row, &err));
	OK(catalog_schedule_put(fixture->catalog, &row, &err));
	fixture_reopen(fixture);
	OK(catalog_schedule_list(fixture->catalog, &rows, &err));
	assert_int_equal(rows.rows.count, 1);
	assert_string_equal(rows.rows.items[0].times, "at 02:00");
	assert_int_equal(rows.rows.items[0].begun.us, second(1).us);
	assert_int_equal(rows.rows.items[0].considered.us, second(2).us);
	assert_int_equal(rows.rows.items[0].due.us, second(3).us);
	assert_true(rows.rows.items[0].is_begun);
	assert_int_equal(rows.rows.items[0].attempt, 4);
	assert_int_equal(rows.rows.items[0].not_before.us, second(5).us);
	assert_int_equal(rows.rows.items[0].settled_due.us, second(6).us);
	assert_true(rows.rows.items[0].is_settled_good);
	assert_int_equal(rows.rows.items[0].recorded.us, second(7).us);
	schedule_rows_done(&rows);
	OK(catalog_schedule_remove(fixture->catalog, "a", &err));
	OK(catalog_schedule_list(fixture->catalog, &rows, &err));
	assert_int_equal(rows.rows.count, 0);
	schedule_rows_done(&rows);
}

static void
note(struct fixture *fixture, enum run_state state, int64_t first_s, int64_t last_s, uint64_t count,
    const char *message)
{
	const struct run_note note = { .job = "a",
		.source = "pg",
		.verb = "backup",
		.state = state,
		.first = second(first_s),
		.last = second(last_s),
		.count = count,
		.message = message };
	struct err err = ERR_INIT;

	OK(catalog_run_note(fixture->catalog, &note, &err));
}

static struct run_rows
list(struct fixture *fixture)
{
	struct run_rows rows;
	struct err err = ERR_INIT;

	OK(catalog_run_list(fixture->catalog, &(struct run_filter){ .job = "a" }, &rows, &err));

	return rows;
}

/* Thousands that missed for one reason are one row; another reason or a run ends it. */
static void
test_notes_of_one_kind_are_one_row(void **state)
{
	struct fixture *fixture = *state;
	struct run_rows rows;

	note(fixture, RUN_MISSED, 100, 500, 5, "off");
	note(fixture, RUN_MISSED, 600, 600, 1, "off");
	note(fixture, RUN_SKIPPED, 700, 700, 1, "off");
	note(fixture, RUN_SKIPPED, 800, 800, 1, "paused");
	rows = list(fixture);
	assert_int_equal(rows.rows.count, 3);
	assert_int_equal(rows.rows.items[2].due.us, second(100).us);
	assert_int_equal(rows.rows.items[2].due_last.us, second(600).us);
	assert_int_equal(rows.rows.items[2].due_count, 6);
	assert_int_equal(rows.rows.items[2].started.us, second(600).us);
	assert_int_equal(rows.rows.items[0].due_count, 1);
	run_rows_done(&rows);
}

static int
insert(struct fixture *fixture, const char *id, int64_t due_s, unsigned attempt, struct err *err)
{
	struct run_row row = { .id = xstrdup(id),
		.job = xstrdup("a"),
		.source = xstrdup("pg"),
		.verb = xstrdup("backup"),
		.started = second(due_s + 1),
		.due = second(due_s),
		.due_last = second(due_s),
		.due_count = 1,
		.attempt = attempt };
	int result = catalog_run_insert(fixture->catalog, &row, err);

	run_row_done(&row);

	return result;
}

static void
test_a_due_time_is_begun_once_at_each_attempt(void **state)
{
	struct fixture *fixture = *state;
	struct err err = ERR_INIT;
	struct run_row row;
	bool has;

	OK(insert(fixture, "one", 100, 1, &err));
	OK(insert(fixture, "two", 100, 2, &err));
	assert_int_equal(insert(fixture, "three", 100, 2, &err), -1);
	assert_int_equal(err.kind, ERR_EXISTS);
	/* By hand there may be as many as one likes. */
	OK(insert(fixture, "four", 0, 0, &err));
	OK(insert(fixture, "five", 0, 0, &err));
	OK(catalog_run_of_due(fixture->catalog, "a", second(100), 1, &row, &err));
	assert_string_equal(row.id, "one");
	run_row_done(&row);
	OK(catalog_run_of_due(fixture->catalog, "a", second(100), 0, &row, &err));
	assert_string_equal(row.id, "two");
	assert_int_equal(row.attempt, 2);
	run_row_done(&row);
	OK(catalog_run_of_due(fixture->catalog, "a", second(101), 0, &row, &err));
	assert_null(row.id);
	OK(catalog_run_of_due(fixture->catalog, "a", second(0), 0, &row, &err));
	assert_null(row.id);
	note(fixture, RUN_MISSED, 200, 400, 3, "off");
	for (int64_t s = 100; s <= 500; s += 100) {
		OK(catalog_run_has_due(fixture->catalog, "a", second(s), &has, &err));
		assert_int_equal(has, s < 500);
	}
}

static void
test_maintenance(void **state)
{
	struct fixture *fixture = *state;
	struct err err = ERR_INIT;
	char who[] = "ada", why[] = "new switch";
	struct maintenance_row row;

	OK(catalog_maintenance_get(fixture->catalog, &row, &err));
	assert_int_equal(row.until.us, 0);
	OK(catalog_maintenance_begin(fixture->catalog,
	    &(struct maintenance_row){ second(100), second(200), who, why }, &err));
	OK(catalog_maintenance_end(fixture->catalog, second(150), &err));
	OK(catalog_maintenance_end(fixture->catalog, second(170), &err));
	fixture_reopen(fixture);
	OK(catalog_maintenance_get(fixture->catalog, &row, &err));
	assert_int_equal(row.from.us, second(100).us);
	assert_int_equal(row.until.us, second(150).us);
	assert_string_equal(row.who, "ada");
	assert_string_equal(row.why, "new switch");
	maintenance_row_done(&row);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_is_put_is_listed, fixture_setup,
		    fixture_teardown),
		cmocka_unit_test_setup_teardown(test_notes_of_one_kind_are_one_row, fixture_setup,
		    fixture_teardown),
		cmocka_unit_test_setup_teardown(test_a_due_time_is_begun_once_at_each_attempt,
		    fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_maintenance, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
