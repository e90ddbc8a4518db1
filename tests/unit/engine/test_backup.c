#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "engine/backup.h"
#include "engine/run.h"
#include "engine/sync.h"
#include "fixture.h"

static struct backup_job
job_of(struct fixture *fixture, const char *kind)
{
	return (struct backup_job){
		.name = "plant-job",
		.source = &fixture->source,
		.kind = kind,
		.compression_level = 1,
	};
}

static int
make(struct fixture *fixture, const char *kind, struct err *err)
{
	SCOPED(backup_outcome_done) struct backup_outcome outcome = { .id = NULL };
	const struct backup_job job = job_of(fixture, kind);

	return backup_run(&fixture->engine, &job, &outcome, err);
}

static unsigned
rows_count(struct fixture *fixture)
{
	SCOPED(backup_rows_done) struct backup_rows rows = { .rows = { .count = 0 } };
	const struct backup_filter all = { .limit = 0 };
	struct err err = ERR_INIT;

	assert_int_equal(catalog_backup_list(fixture->engine.catalog, &all, &rows, &err), 0);

	return (unsigned)rows.rows.count;
}

static void
test_a_backup_is_whole_and_listed(void **state)
{
	struct fixture fixture;
	struct err err = ERR_INIT;

	(void)state;
	fixture_init(&fixture);
	assert_int_equal(make(&fixture, "dump", &err), 0);
	assert_int_equal(make(&fixture, "dump", &err), 0);
	assert_int_equal(make(&fixture, "base", &err), 0);
	assert_int_equal(rows_count(&fixture), 3);
	assert_int_equal(fixture_count(&fixture, "plant"), 12);
	fixture_assert_whole(&fixture);
	fixture_done(&fixture);
}

/* Make the n-th call of the store fail, for every n: nothing of the backup may be left. */
static void
fail_each_call(const char *kind)
{
	unsigned survived = 0;

	for (unsigned n = 1; survived == 0; n++) {
		struct fixture fixture;
		struct err err = ERR_INIT;
		int result;

		fixture_init(&fixture);
		fixture_faulty(&fixture)->fail_at = n;
		result = make(&fixture, kind, &err);
		if (fixture_faulty(&fixture)->calls < n)
			survived = n; /* there is no n-th call */
		fixture_assert_whole(&fixture);
		if (result < 0) {
			assert_true(fixture_count(&fixture, "plant") == 0);
			assert_int_equal(rows_count(&fixture), 0);
			assert_int_equal(make(&fixture, kind, &err), 0);
		}
		assert_int_equal(fixture_count(&fixture, "plant"), 4);
		fixture_done(&fixture);
		assert_true(n < 200);
	}
	assert_true(survived > 12); /* it was not the first call that ended the search */
}

static void
test_each_failing_call_leaves_nothing_flat(void **state)
{
	(void)state;
	fail_each_call("dump");
}

static void
test_each_failing_call_leaves_nothing_in_a_folder(void **state)
{
	(void)state;
	fail_each_call("base");
}

static void
test_a_failing_source_leaves_nothing_and_is_recorded(void **state)
{
	struct fixture fixture;
	struct err err = ERR_INIT;
	SCOPED(job_summaries_done) struct job_summaries jobs = { .rows = { .count = 0 } };

	(void)state;
	fixture_init(&fixture);
	fixture.source_fails = true;
	assert_int_equal(make(&fixture, "dump", &err), -1);
	assert_int_equal(err.kind, ERR_NET);
	assert_non_null(strstr(err.msg, "the source went away"));
	assert_int_equal(fixture_count(&fixture, "plant"), 0);
	assert_int_equal(catalog_job_summaries(fixture.engine.catalog, &jobs, &err), 0);
	assert_int_equal(jobs.rows.count, 1);
	assert_int_equal(jobs.rows.items[0].last.state, RUN_FAILED);
	assert_non_null(strstr(jobs.rows.items[0].last.message, "the source went away"));
	fixture_done(&fixture);
}

static void
test_another_identity_is_refused_until_adopted(void **state)
{
	struct fixture fixture;
	struct err err = ERR_INIT;
	SCOPED(freep) char *identity = NULL;
	SCOPED(freep) char *aside = NULL;

	(void)state;
	fixture_init(&fixture);
	assert_int_equal(make(&fixture, "dump", &err), 0);
	fixture.identity = "second";
	assert_int_equal(make(&fixture, "dump", &err), -1);
	assert_int_equal(err.kind, ERR_REFUSED);
	assert_non_null(strstr(err.hint, "source adopt plant"));
	assert_int_equal(rows_count(&fixture), 1);
	assert_int_equal(backup_adopt_identity(&fixture.engine, &fixture.source, &identity, &aside,
			     &err),
	    0);
	assert_string_equal(identity, "second");
	assert_string_equal(aside, "first");
	assert_int_equal(make(&fixture, "dump", &err), 0);
	fixture_done(&fixture);
}

/* A process that ends in the middle: the next run finds it lost and removes what it left. */
static void
die_in_the_middle(const char *kind)
{
	struct fixture fixture;
	struct err err = ERR_INIT;
	SCOPED(run_rows_done) struct run_rows runs = { .rows = { .count = 0 } };
	const enum run_state lost_state = RUN_LOST;
	const struct run_filter lost_runs = { .state = &lost_state };
	unsigned lost = 0;
	int status = 0;
	pid_t child;

	fixture_init(&fixture);
	child = fork();
	if (child == 0) {
		/* A connection to SQLite may not cross a fork. */
		SCOPED(freep) char *path = xasprintf("%s/catalog.db", fixture.folder);

		fixture.engine.catalog = catalog_open(path, &err);
		fixture.source_dies = true;
		(void)make(&fixture, kind, &err);
		_exit(9);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(run_sweep(&fixture.engine, &lost, &err), 0);
	assert_int_equal(lost, 1);
	assert_int_equal(catalog_run_list(fixture.engine.catalog, &lost_runs, &runs, &err), 0);
	assert_int_equal(runs.rows.count, 1);
	assert_int_equal(make(&fixture, kind, &err), 0);
	assert_int_equal(fixture_count(&fixture, "plant"), 4);
	fixture_assert_whole(&fixture);
	fixture_done(&fixture);
}

static void
test_a_run_that_died_is_found_and_swept(void **state)
{
	(void)state;
	die_in_the_middle("dump");
	die_in_the_middle("base");
}

static void
test_the_same_job_twice_is_busy(void **state)
{
	struct fixture fixture;
	struct err err = ERR_INIT;
	const struct run_options options = {
		.verb = "backup",
		.job = "plant-job",
		.source = "plant",
		.is_exclusive = true,
	};
	struct run run;

	(void)state;
	fixture_init(&fixture);
	assert_int_equal(run_begin(&fixture.engine, &options, &run, &err), 0);
	assert_int_equal(make(&fixture, "dump", &err), -1);
	assert_int_equal(err.kind, ERR_BUSY);
	run_end(&run, NULL, 0, NULL);
	assert_int_equal(make(&fixture, "dump", &err), 0);
	fixture_done(&fixture);
}

/* Half of all ids of some seconds are taken: each of twenty runs in them finds one that is not. */
static void
test_an_id_that_is_taken(void **state)
{
	struct fixture fixture;
	struct err err = ERR_INIT;
	const struct run_options options = { .verb = "verify",
		.job = "plant-job",
		.source = "plant" };
	/* To write them takes a second, and under a sanitizer three. */
	struct wall_time from = { (clock_wall().us / US_PER_S + 6) * US_PER_S };

	(void)state;
	fixture_init(&fixture);
	assert_int_equal(catalog_begin(fixture.engine.catalog, &err), 0);
	for (unsigned n = 0; n < 2 * 0x8000; n++) {
		char hex[5];
		struct run_row row = { .job = (char *)(uintptr_t) "plant-job",
			.source = (char *)(uintptr_t) "plant",
			.verb = (char *)(uintptr_t) "verify",
			.started = { from.us + n / 0x8000 * US_PER_S } };

		(void)snprintf(hex, sizeof(hex), "%04x", n % 0x8000);
		row.id = backup_id_make("plant-job", row.started, hex);
		assert_int_equal(catalog_run_insert(fixture.engine.catalog, &row, &err), 0);
		free(row.id);
	}
	assert_int_equal(catalog_commit(fixture.engine.catalog, &err), 0);
	while (clock_wall().us < from.us)
		(void)usleep(1000);
	for (unsigned n = 0; n < 20; n++) {
		struct run run;

		assert_int_equal(run_begin(&fixture.engine, &options, &run, &err), 0);
		run_end(&run, NULL, 0, NULL);
	}
	assert_true(clock_wall().us < from.us + 2 * US_PER_S);
	fixture_done(&fixture);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_backup_is_whole_and_listed),
		cmocka_unit_test(test_each_failing_call_leaves_nothing_flat),
		cmocka_unit_test(test_each_failing_call_leaves_nothing_in_a_folder),
		cmocka_unit_test(test_a_failing_source_leaves_nothing_and_is_recorded),
		cmocka_unit_test(test_another_identity_is_refused_until_adopted),
		cmocka_unit_test(test_a_run_that_died_is_found_and_swept),
		cmocka_unit_test(test_the_same_job_twice_is_busy),
		cmocka_unit_test(test_an_id_that_is_taken),
	};

	log_set_level(LOG_LEVEL_ERROR);

	return cmocka_run_group_tests(tests, NULL, NULL);
}
