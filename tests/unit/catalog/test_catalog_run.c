#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "fixture.h"

enum { RANDOM_RUNS = 400, JOBS = 3 };

/* A run with every field set, made of a number; run_row_done frees it. */
static struct run_row
make_run(unsigned number, const char *job, const char *verb, enum run_state state)
{
	return (struct run_row){
		.id = xasprintf("run-%u", number),
		.job = xstrdup(job),
		.source = xasprintf("source-of-%s", job),
		.verb = xstrdup(verb),
		.state = state,
		.started = { .us = INT64_C(1764032400000000) + number / 2 },
		.finished = { .us = state == RUN_RUNNING ? 0 : INT64_C(1764032500000000) },
		.backup_id = xasprintf("backup-%u", number),
		.source_bytes = UINT64_C(1) << 40,
		.stored_bytes = 17,
		.message = xstrdup("it's \"quoted\"; \xc3\xb6"),
		.hint = xstrdup("try"),
		.may_pass = true,
		.log_path = xstrdup("/var/log/x"),
		.lock_path = xstrdup("/run/lock"),
	};
}

static void
insert(struct fixture *f, unsigned number, const char *job, const char *verb, enum run_state state)
{
	struct run_row run = make_run(number, job, verb, state);
	struct err err = ERR_INIT;

	if (catalog_run_insert(f->catalog, &run, &err) < 0)
		fail_msg("%s", err.msg);
	run_row_done(&run);
}

static void
assert_same_run(const struct run_row *a, const struct run_row *b)
{
	assert_string_equal(a->id, b->id);
	assert_string_equal(a->job, b->job);
	assert_string_equal(a->source, b->source);
	assert_string_equal(a->verb, b->verb);
	assert_int_equal(a->state, b->state);
	assert_int_equal(a->started.us, b->started.us);
	assert_int_equal(a->finished.us, b->finished.us);
	assert_true(str_equals(a->backup_id, b->backup_id));
	assert_true(a->source_bytes == b->source_bytes);
	assert_true(a->stored_bytes == b->stored_bytes);
	assert_true(str_equals(a->message, b->message));
	assert_true(str_equals(a->hint, b->hint));
	assert_int_equal(a->may_pass, b->may_pass);
	assert_true(str_equals(a->log_path, b->log_path));
	assert_true(str_equals(a->lock_path, b->lock_path));
}

static void
test_a_run_comes_back_as_it_was(void **state)
{
	struct fixture *f = *state;
	struct run_row run = make_run(1, "pg-daily", "backup", RUN_RUNNING);
	struct run_row found = { .id = NULL };
	struct err err = ERR_INIT;

	run.source_bytes = UINT64_C(1) << 62;
	assert_int_equal(catalog_run_insert(f->catalog, &run, &err), 0);
	assert_int_equal(catalog_run_get(f->catalog, run.id, &found, &err), 0);
	assert_same_run(&found, &run);
	run_row_done(&found);
	run_row_done(&run);
}

static void
test_only_the_outcome_is_updated(void **state)
{
	struct fixture *f = *state;
	struct run_row run = make_run(1, "pg-daily", "backup", RUN_RUNNING);
	struct run_row ended = make_run(1, "another", "verify", RUN_WARNING);
	struct run_row found = { .id = NULL };
	struct err err = ERR_INIT;

	assert_int_equal(catalog_run_insert(f->catalog, &run, &err), 0);
	ended.stored_bytes = 99;
	freep(&ended.message);
	ended.message = NULL;
	assert_int_equal(catalog_run_update(f->catalog, &ended, &err), 0);
	assert_int_equal(catalog_run_get(f->catalog, run.id, &found, &err), 0);
	assert_string_equal(found.job, "pg-daily");
	assert_string_equal(found.verb, "backup");
	assert_int_equal(found.state, RUN_WARNING);
	assert_int_equal(found.finished.us, ended.finished.us);
	assert_int_equal(found.stored_bytes, 99);
	assert_null(found.message);
	run_row_done(&found);
	run_row_done(&ended);
	run_row_done(&run);
}

static void
test_unknown_and_taken_ids(void **state)
{
	struct fixture *f = *state;
	struct run_row run = make_run(1, "pg-daily", "backup", RUN_OK);
	struct run_row found = { .id = NULL };
	struct err err = ERR_INIT;

	assert_int_equal(catalog_run_update(f->catalog, &run, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_int_equal(catalog_run_get(f->catalog, "run-1", &found, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_null(found.id);
	assert_int_equal(catalog_run_insert(f->catalog, &run, &err), 0);
	assert_int_equal(catalog_run_insert(f->catalog, &run, &err), -1);
	assert_int_equal(err.kind, ERR_EXISTS);
	run_row_done(&run);
}

/* The numbers of the runs that a filter gives, in order: "3 1". */
static void
assert_list(struct fixture *f, const struct run_filter *filter, const char *expected)
{
	struct run_rows rows = { .rows = { .count = 0 } };
	struct str numbers = STR_INIT;
	struct err err = ERR_INIT;

	assert_int_equal(catalog_run_list(f->catalog, filter, &rows, &err), 0);
	for (size_t i = 0; i < rows.rows.count; i++)
		str_addf(&numbers, "%s%s", i > 0 ? " " : "",
		    rows.rows.items[i].id + strlen("run-"));
	assert_string_equal(str_text(&numbers), expected);
	str_done(&numbers);
	run_rows_done(&rows);
}

static void
test_lists_are_filtered_and_newest_first(void **state)
{
	struct fixture *f = *state;
	const enum run_state failed = RUN_FAILED;

	insert(f, 1, "a", "backup", RUN_OK);
	insert(f, 4, "b", "backup", RUN_FAILED);
	insert(f, 3, "a", "verify", RUN_FAILED);
	insert(f, 2, "a", "backup", RUN_FAILED);
	insert(f, 5, "a", "backup", RUN_OK); /* as old as 4: the later recorded one is newer */
	assert_list(f, &(struct run_filter){ .limit = 0 }, "5 4 2 3 1");
	assert_list(f, &(struct run_filter){ .limit = 2 }, "5 4");
	assert_list(f, &(struct run_filter){ .job = "a" }, "5 2 3 1");
	assert_list(f, &(struct run_filter){ .source = "source-of-b" }, "4");
	assert_list(f, &(struct run_filter){ .verb = "verify" }, "3");
	assert_list(f, &(struct run_filter){ .state = &failed }, "4 2 3");
	assert_list(f,
	    &(struct run_filter){ .job = "a",
		.source = "source-of-a",
		.verb = "backup",
		.state = &failed,
		.limit = 9 },
	    "2");
	assert_list(f, &(struct run_filter){ .job = "a' OR true --" }, "");
}

static void
test_state_names_are_distinct_and_come_back(void **state)
{
	struct fixture *f = *state;

	for (unsigned s = RUN_RUNNING; s <= RUN_LOST; s++) {
		struct run_row found = { .id = NULL };
		struct err err = ERR_INIT;
		char *id = xasprintf("run-%u", s);

		insert(f, s, "a", "backup", (enum run_state)s);
		assert_int_equal(catalog_run_get(f->catalog, id, &found, &err), 0);
		assert_int_equal(found.state, s);
		run_row_done(&found);
		free(id);
	}
	assert_string_equal(run_state_name(RUN_CANCELLED), "cancelled");
}

static uint64_t
draw(uint64_t *random, uint64_t below)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;

	return *random % below;
}

/* The newest of the list's runs in one of the states (a bit each), or NULL. */
static const struct run_row *
newest(const struct run_rows *rows, const char *job, unsigned states)
{
	for (size_t i = 0; i < rows->rows.count; i++) {
		const struct run_row *run = &rows->rows.items[i];

		if (strcmp(run->job, job) == 0 && strcmp(run->verb, "backup") == 0 &&
		    (states >> run->state & 1) != 0)
			return run;
	}

	return NULL;
}

static void
assert_run_is(const struct run_row *found, const struct run_row *expected)
{
	if (expected == NULL)
		assert_null(found->id);
	else
		assert_same_run(found, expected);
}

static void
check_summary(const struct job_summary *summary, const struct run_rows *all)
{
	const unsigned good = 1U << RUN_OK | 1U << RUN_WARNING;

	assert_run_is(&summary->last, newest(all, summary->job, ~(1U << RUN_RUNNING)));
	assert_run_is(&summary->last_good, newest(all, summary->job, good));
	assert_run_is(&summary->running, newest(all, summary->job, 1U << RUN_RUNNING));
	assert_non_null(summary->source);
}

/* What ended well tomorrow, by a clock that was set back, is not the last run. */
static void
test_the_last_run_is_the_one_begun_last(void **state)
{
	struct job_summaries summaries = { .rows = { .count = 0 } };
	struct fixture *f = *state;
	struct err err = ERR_INIT;

	insert(f, 9, "a", "backup", RUN_OK);
	insert(f, 5, "a", "backup", RUN_FAILED);
	assert_int_equal(catalog_job_summaries(f->catalog, &summaries, &err), 0);
	assert_int_equal(summaries.rows.count, 1);
	assert_int_equal(summaries.rows.items[0].last.state, RUN_FAILED);
	assert_int_equal(summaries.rows.items[0].last_good.state, RUN_OK);
	job_summaries_done(&summaries);
}

/* Against the plain truth: the whole list, looked through. */
static void
test_summaries_equal_a_look_through_the_list(void **state)
{
	static const char *const verbs[] = { "backup", "backup", "verify" };
	struct fixture *f = *state;
	const struct run_filter any = { .limit = 0 };
	uint64_t random = 0x1234567;
	struct err err = ERR_INIT;

	for (unsigned i = 0; i < RANDOM_RUNS; i++) {
		struct job_summaries summaries = { .rows = { .count = 0 } };
		struct run_rows all = { .rows = { .count = 0 } };
		char job[] = { (char)('a' + draw(&random, JOBS)), '\0' };

		insert(f, i, job, verbs[draw(&random, 3)],
		    (enum run_state)draw(&random, RUN_LOST + 1));
		if (i % 7 != 0)
			continue;
		assert_int_equal(catalog_run_list(f->catalog, &any, &all, &err), 0);
		assert_int_equal(catalog_job_summaries(f->catalog, &summaries, &err), 0);
		for (size_t n = 0; n < summaries.rows.count; n++) {
			check_summary(&summaries.rows.items[n], &all);
			assert_true(n == 0 ||
			    strcmp(summaries.rows.items[n - 1].job, summaries.rows.items[n].job) <
				0);
		}
		assert_true(i < 100 || summaries.rows.count == JOBS);
		job_summaries_done(&summaries);
		run_rows_done(&all);
	}
}

static void
test_summaries_of_nothing(void **state)
{
	struct fixture *f = *state;
	struct job_summaries summaries = { .rows = { .count = 0 } };
	struct err err = ERR_INIT;

	insert(f, 1, "a", "verify", RUN_OK);
	assert_int_equal(catalog_job_summaries(f->catalog, &summaries, &err), 0);
	assert_int_equal(summaries.rows.count, 0);
	job_summaries_done(&summaries);
}

/* The plan of what the catalog ran since the trace began touches only rows that it shows. */
static void
assert_indexed(struct fixture *f)
{
	char *sql = fixture_trace_end(f);
	char *plan = fixture_plan(f, sql);

	assert_non_null(strstr(sql, "SELECT"));
	if (strstr(plan, "TEMP B-TREE") != NULL || strstr(plan, "AUTOMATIC") != NULL)
		fail_msg("it sorts or builds an index:\n%s\n%s", sql, plan);
	/* A scan of the whole list is right only where all of it, in order, was asked for. */
	if (strstr(plan, "SCAN run") != NULL &&
	    strstr(plan, "SCAN run USING INDEX run_by_started") == NULL)
		fail_msg("it goes through the table:\n%s\n%s", sql, plan);
	free(plan);
	free(sql);
}

static void
test_lists_use_an_index(void **state)
{
	struct fixture *f = *state;
	const enum run_state failed = RUN_FAILED;

	for (unsigned bits = 0; bits < 16; bits++) {
		const struct run_filter filter = {
			.job = (bits & 1) != 0 ? "a" : NULL,
			.source = (bits & 2) != 0 ? "s" : NULL,
			.verb = (bits & 4) != 0 ? "backup" : NULL,
			.state = (bits & 8) != 0 ? &failed : NULL,
			.limit = 20,
		};

		fixture_trace_begin(f);
		assert_list(f, &filter, "");
		assert_indexed(f);
	}
}

static void
test_summaries_use_the_indexes(void **state)
{
	struct fixture *f = *state;
	struct job_summaries summaries = { .rows = { .count = 0 } };
	struct err err = ERR_INIT;
	char *sql, *plan;

	fixture_trace_begin(f);
	assert_int_equal(catalog_job_summaries(f->catalog, &summaries, &err), 0);
	job_summaries_done(&summaries);
	sql = fixture_trace_end(f);
	plan = fixture_plan(f, sql);
	assert_null(strstr(plan, "SCAN run"));
	assert_null(strstr(plan, "TEMP B-TREE"));
	assert_non_null(strstr(plan,
	    "SEARCH run USING COVERING INDEX run_by_verb_job (verb=? AND job>?)"));
	assert_non_null(strstr(plan, "SEARCH run USING INDEX run_backup_finished (job=?)"));
	assert_non_null(strstr(plan, "SEARCH run USING INDEX run_backup_good (job=?)"));
	assert_non_null(strstr(plan, "SEARCH run USING INDEX run_backup_running (job=?)"));
	assert_non_null(strstr(plan, "SEARCH last USING INTEGER PRIMARY KEY (rowid=?)"));
	free(plan);
	free(sql);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_run_comes_back_as_it_was, fixture_setup,
		    fixture_teardown),
		cmocka_unit_test_setup_teardown(test_only_the_outcome_is_updated, fixture_setup,
		    fixture_teardown),
		cmocka_unit_test_setup_teardown(test_unknown_and_taken_ids, fixture_setup,
		    fixture_teardown),
		cmocka_unit_test_setup_teardown(test_lists_are_filtered_and_newest_first,
		    fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_state_names_are_distinct_and_come_back,
		    fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_summaries_equal_a_look_through_the_list,
		    fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_the_last_run_is_the_one_begun_last,
		    fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_summaries_of_nothing, fixture_setup,
		    fixture_teardown),
		cmocka_unit_test_setup_teardown(test_lists_use_an_index, fixture_setup,
		    fixture_teardown),
		cmocka_unit_test_setup_teardown(test_summaries_use_the_indexes, fixture_setup,
		    fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
