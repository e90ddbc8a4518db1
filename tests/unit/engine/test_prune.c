#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "engine/backup.h"
#include "engine/prune.h"
#include "engine/sync.h"
#include "engine/verify.h"
#include "fixture.h"
#include "repo/record.h"

enum { BACKUPS = 3 };

static void
make_backups(struct fixture *fixture)
{
	const struct backup_job job = {
		.name = "plant-job",
		.source = &fixture->source,
		.kind = "dump",
	};

	for (unsigned i = 0; i < BACKUPS; i++) {
		SCOPED(backup_outcome_done) struct backup_outcome outcome = { .id = NULL };
		struct err err = ERR_INIT;

		assert_int_equal(backup_run(&fixture->engine, &job, &outcome, &err), 0);
	}
}

static int
keep_one(struct fixture *fixture, bool is_dry_run, struct prune_outcome *outcome, struct err *err)
{
	const struct prune_order order = {
		.job = "plant-job",
		.policy = { .last = 1 },
		.is_dry_run = is_dry_run,
	};

	return prune_run(&fixture->engine, &order, outcome, err);
}

static void
test_a_dry_run_removes_nothing(void **state)
{
	struct fixture fixture;
	struct err err = ERR_INIT;
	SCOPED(prune_outcome_done) struct prune_outcome outcome = { .removed_count = 0 };

	(void)state;
	fixture_init(&fixture);
	make_backups(&fixture);
	assert_int_equal(keep_one(&fixture, true, &outcome, &err), 0);
	assert_int_equal(outcome.verdicts.count, BACKUPS);
	assert_int_equal(outcome.removed_count, 0);
	assert_int_equal(fixture_count(&fixture, "plant"), BACKUPS * 4);
	fixture_done(&fixture);
}

/* Whatever call fails, no manifest is left whose files are gone, and the next prune ends the work. */
static void
test_each_failing_call_leaves_no_half_backup(void **state)
{
	bool has_survived = false;

	(void)state;
	for (unsigned n = 1; !has_survived; n++) {
		struct fixture fixture;
		struct err err = ERR_INIT;
		SCOPED(prune_outcome_done) struct prune_outcome first = { .removed_count = 0 };
		SCOPED(prune_outcome_done) struct prune_outcome second = { .removed_count = 0 };
		struct sync_result synced;

		fixture_init(&fixture);
		make_backups(&fixture);
		fixture_faulty(&fixture)->calls = 0;
		fixture_faulty(&fixture)->fail_at = n;
		has_survived = keep_one(&fixture, false, &first, &err) == 0;
		fixture_assert_whole(&fixture);
		assert_int_equal(sync_catalog(&fixture.engine, false, &synced, &err), 0);
		if (keep_one(&fixture, false, &second, &err) < 0)
			fail_msg("call %u: %s", n, err.msg);
		assert_int_equal(fixture_count(&fixture, "plant"), 4);
		assert_int_equal(fixture_count(&fixture, RECORD_PRUNE_PREFIX), 0);
		fixture_assert_whole(&fixture);
		fixture_done(&fixture);
		assert_true(n < 200);
	}
}

static void
test_a_pinned_backup_stays(void **state)
{
	struct fixture fixture;
	struct err err = ERR_INIT;
	SCOPED(prune_outcome_done) struct prune_outcome planned = { .removed_count = 0 };
	SCOPED(prune_outcome_done) struct prune_outcome outcome = { .removed_count = 0 };
	struct sync_result synced;

	(void)state;
	fixture_init(&fixture);
	make_backups(&fixture);
	assert_int_equal(keep_one(&fixture, true, &planned, &err), 0);
	assert_false(planned.verdicts.items[BACKUPS - 1].is_kept);
	assert_int_equal(prune_pin(&fixture.engine, planned.verdicts.items[BACKUPS - 1].id,
			     "before work", &err),
	    0);
	assert_int_equal(sync_catalog(&fixture.engine, false, &synced, &err), 0);
	assert_int_equal(keep_one(&fixture, false, &outcome, &err), 0);
	assert_int_equal(outcome.removed_count, BACKUPS - 2);
	assert_int_equal(fixture_count(&fixture, "plant"), 8);
	fixture_done(&fixture);
}

/* One flipped byte: the verdict names the file, stays in the store, and survives the catalog. */
static void
test_damage_is_found_named_and_remembered(void **state)
{
	struct fixture fixture;
	struct err err = ERR_INIT;
	const struct backup_filter all = { .limit = 0 };
	SCOPED(backup_rows_done) struct backup_rows rows = { .rows = { .count = 0 } };
	SCOPED(backup_rows_done) struct backup_rows after = { .rows = { .count = 0 } };
	SCOPED(verify_outcome_done) struct verify_outcome outcome = { .level = -1 };
	SCOPED(freep) char *path = NULL;
	struct verify_order order = { .source = &fixture.source };
	struct sync_result synced;
	FILE *file;

	(void)state;
	fixture_init(&fixture);
	make_backups(&fixture);
	assert_int_equal(catalog_backup_list(fixture.engine.catalog, &all, &rows, &err), 0);
	path = xasprintf("%s/store/%s", fixture.folder, rows.rows.items[0].manifest_name);
	(void)memcpy(strstr(path, ".manifest.json"), ".dump", sizeof(".dump"));
	file = fopen(path, "r+");
	assert_non_null(file);
	assert_int_equal(fputc('X', file), 'X');
	assert_int_equal(fclose(file), 0);

	order.backup = &rows.rows.items[0];
	assert_int_equal(verify_run(&fixture.engine, &order, &outcome, &err), -1);
	assert_int_equal(err.kind, ERR_MISMATCH);
	assert_non_null(strstr(err.msg,
	    ".dump' is damaged: the first difference lies between byte 0"));
	assert_int_equal(sync_catalog(&fixture.engine, true, &synced, &err), 0);
	assert_int_equal(catalog_backup_list(fixture.engine.catalog, &all, &after, &err), 0);
	assert_true(after.rows.items[0].is_damaged);
	assert_non_null(strstr(after.rows.items[0].check_message, "is damaged"));
	assert_false(after.rows.items[1].is_damaged);
	fixture_done(&fixture);
}

static void
test_a_level_survives_the_catalog(void **state)
{
	struct fixture fixture;
	struct err err = ERR_INIT;
	const struct backup_filter all = { .limit = 0 };
	SCOPED(backup_rows_done) struct backup_rows rows = { .rows = { .count = 0 } };
	SCOPED(backup_rows_done) struct backup_rows after = { .rows = { .count = 0 } };
	SCOPED(verify_outcome_done) struct verify_outcome outcome = { .level = -1 };
	struct verify_order order = { .source = &fixture.source, .level = 1 };
	struct sync_result synced;

	(void)state;
	fixture_init(&fixture);
	make_backups(&fixture);
	assert_int_equal(catalog_backup_list(fixture.engine.catalog, &all, &rows, &err), 0);
	assert_int_equal(rows.rows.items[0].level, -1);
	order.backup = &rows.rows.items[0];
	assert_int_equal(verify_run(&fixture.engine, &order, &outcome, &err), 0);
	assert_int_equal(outcome.level, 1);
	assert_int_equal(sync_catalog(&fixture.engine, true, &synced, &err), 0);
	assert_int_equal(catalog_backup_list(fixture.engine.catalog, &all, &after, &err), 0);
	assert_int_equal(after.rows.items[0].level, 1);
	assert_true(after.rows.items[0].level_at.us > 0);
	fixture_done(&fixture);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_dry_run_removes_nothing),
		cmocka_unit_test(test_each_failing_call_leaves_no_half_backup),
		cmocka_unit_test(test_a_pinned_backup_stays),
		cmocka_unit_test(test_damage_is_found_named_and_remembered),
		cmocka_unit_test(test_a_level_survives_the_catalog),
	};

	log_set_level(LOG_LEVEL_ERROR);

	return cmocka_run_group_tests(tests, NULL, NULL);
}
