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
#include "fixture.h"

/* A backup with every field set to something else; backup_row_done frees it. */
static struct backup_row
make_backup(const char *id, const char *job, int64_t consistent_us)
{
	return (struct backup_row){
		.id = xstrdup(id),
		.job = xstrdup(job),
		.source = xasprintf("source-of-%s", job),
		.source_type = xstrdup("postgres"),
		.kind = xstrdup("dump"),
		.manifest_name = xasprintf("postgresql/daily/%s.manifest.json", id),
		.manifest_bytes = 11,
		.manifest_modified = { .us = 12 },
		.identity = xstrdup("7312"),
		.version = xstrdup("16.4"),
		.started = { .us = 13 },
		.finished = { .us = 14 },
		.consistent_at = { .us = consistent_us },
		.content_bytes = UINT64_C(1) << 50,
		.stored_bytes = 16,
		.warnings_count = 17,
		.is_unproven = true,
		.is_damaged = false,
		.is_pinned = true,
		.pin_reason = xstrdup("before the upgrade"),
		.level = 3,
		.level_at = { .us = 18 },
		.checked_at = { .us = 19 },
		.check_message = xstrdup("it was \xc3\xb6"),
	};
}

static void
put(struct fixture *f, const char *id, const char *job, int64_t consistent_us)
{
	struct backup_row backup = make_backup(id, job, consistent_us);
	struct err err = ERR_INIT;

	if (catalog_backup_put(f->catalog, &backup, &err) < 0)
		fail_msg("%s", err.msg);
	backup_row_done(&backup);
}

static void
assert_same_backup(const struct backup_row *a, const struct backup_row *b)
{
	assert_string_equal(a->id, b->id);
	assert_true(str_equals(a->job, b->job));
	assert_true(str_equals(a->source, b->source));
	assert_true(str_equals(a->source_type, b->source_type));
	assert_true(str_equals(a->kind, b->kind));
	assert_string_equal(a->manifest_name, b->manifest_name);
	assert_true(a->manifest_bytes == b->manifest_bytes);
	assert_int_equal(a->manifest_modified.us, b->manifest_modified.us);
	assert_true(str_equals(a->identity, b->identity));
	assert_true(str_equals(a->version, b->version));
	assert_int_equal(a->started.us, b->started.us);
	assert_int_equal(a->finished.us, b->finished.us);
	assert_int_equal(a->consistent_at.us, b->consistent_at.us);
	assert_true(a->content_bytes == b->content_bytes);
	assert_true(a->stored_bytes == b->stored_bytes);
	assert_int_equal(a->warnings_count, b->warnings_count);
	assert_int_equal(a->is_unproven, b->is_unproven);
	assert_int_equal(a->is_damaged, b->is_damaged);
	assert_int_equal(a->is_pinned, b->is_pinned);
	assert_true(str_equals(a->pin_reason, b->pin_reason));
	assert_int_equal(a->level, b->level);
	assert_int_equal(a->level_at.us, b->level_at.us);
	assert_int_equal(a->checked_at.us, b->checked_at.us);
	assert_true(str_equals(a->check_message, b->check_message));
}

static void
assert_comes_back(struct fixture *f, const struct backup_row *backup)
{
	struct backup_row found = { .id = NULL };
	struct err err = ERR_INIT;

	assert_int_equal(catalog_backup_put(f->catalog, backup, &err), 0);
	assert_int_equal(catalog_backup_get(f->catalog, backup->id, &found, &err), 0);
	assert_same_backup(&found, backup);
	backup_row_done(&found);
}

static void
test_a_backup_comes_back_as_it_was_put_last(void **state)
{
	struct fixture *f = *state;
	struct backup_row full = make_backup("pg-1", "pg-daily", 15);
	char id[] = "pg-1", name[] = "x";
	const struct backup_row bare = { .id = id,
		.manifest_name = name,
		.is_damaged = true,
		.level = -1 };

	assert_comes_back(f, &full);
	assert_comes_back(f, &bare);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM backup"), 1);
	backup_row_done(&full);
}

/* The id that `id` stands for, or the error's kind. */
static void
assert_found(struct fixture *f, const char *id, const char *expected, enum err_kind kind)
{
	struct backup_row found = { .id = NULL };
	struct err err = ERR_INIT;
	int result = catalog_backup_get(f->catalog, id, &found, &err);

	if ((result == 0) != (expected != NULL))
		fail_msg("'%s': %s", id, result == 0 ? found.id : err.msg);
	if (expected != NULL)
		assert_string_equal(found.id, expected);
	else
		assert_int_equal(err.kind, kind);
	backup_row_done(&found);
}

static void
test_a_unique_prefix_is_enough(void **state)
{
	struct fixture *f = *state;

	assert_found(f, "", NULL, ERR_NOT_FOUND);
	put(f, "pg-daily-20251125-020000-7f3a", "pg-daily", 1);
	assert_found(f, "pg", "pg-daily-20251125-020000-7f3a", ERR_NONE);
	assert_found(f, "", NULL, ERR_NOT_FOUND);
	put(f, "pg-daily-20251126-020000-1111", "pg-daily", 2);
	put(f,
	    "postgresql/daily/gr\xc3\xb6\xc3\x9f"
	    "e.dump",
	    "pg-daily", 3);
	put(f, "pg-daily-20251126", "pg-daily", 4);
	assert_found(f, "pg-daily-20251125", "pg-daily-20251125-020000-7f3a", ERR_NONE);
	assert_found(f, "pg-daily-20251125-020000-7f3a", "pg-daily-20251125-020000-7f3a", ERR_NONE);
	assert_found(f, "pg-daily-20251126", "pg-daily-20251126", ERR_NONE);
	assert_found(f, "postgresql/daily/gr",
	    "postgresql/daily/gr\xc3\xb6\xc3\x9f"
	    "e.dump",
	    ERR_NONE);
	assert_found(f, "pg-daily", NULL, ERR_USAGE);
	assert_found(f, "pg-daily-20251126-", "pg-daily-20251126-020000-1111", ERR_NONE);
	assert_found(f, "pg-daily-20251127", NULL, ERR_NOT_FOUND);
	assert_found(f, "pg-daily-20251125-020000-7f3ab", NULL, ERR_NOT_FOUND);
	assert_found(f, "%", NULL, ERR_NOT_FOUND);
	assert_found(f, "PG-daily-20251125", NULL, ERR_NOT_FOUND);
}

static void
test_remove_and_clear(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;

	put(f, "a", "j", 1);
	put(f, "ab", "j", 2);
	put(f, "c", "j", 3);
	assert_int_equal(catalog_backup_remove(f->catalog, "a", &err), 0);
	assert_int_equal(catalog_backup_remove(f->catalog, "a", &err), 0);
	assert_found(f, "a", "ab", ERR_NONE);
	assert_int_equal(catalog_backup_clear(f->catalog, &err), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM backup"), 0);
}

static void
assert_list(struct fixture *f, const struct backup_filter *filter, const char *expected)
{
	struct backup_rows rows = { .rows = { .count = 0 } };
	struct str ids = STR_INIT;
	struct err err = ERR_INIT;

	assert_int_equal(catalog_backup_list(f->catalog, filter, &rows, &err), 0);
	for (size_t i = 0; i < rows.rows.count; i++)
		str_add(&ids, rows.rows.items[i].id);
	assert_string_equal(str_text(&ids), expected);
	str_done(&ids);
	backup_rows_done(&rows);
}

static void
test_lists_are_filtered_and_newest_first(void **state)
{
	struct fixture *f = *state;

	put(f, "a", "j", 10);
	put(f, "b", "k", 30);
	put(f, "c", "j", 20);
	assert_list(f, &(struct backup_filter){ .limit = 0 }, "bca");
	assert_list(f, &(struct backup_filter){ .limit = 1 }, "b");
	assert_list(f, &(struct backup_filter){ .job = "j" }, "ca");
	assert_list(f, &(struct backup_filter){ .source = "source-of-k" }, "b");
	assert_list(f, &(struct backup_filter){ .kind = "dump", .job = "j", .limit = 1 }, "c");
	assert_list(f, &(struct backup_filter){ .kind = "base" }, "");
}

static void
test_lists_and_searches_use_an_index(void **state)
{
	struct fixture *f = *state;

	for (unsigned bits = 0; bits < 8; bits++) {
		const struct backup_filter filter = {
			.job = (bits & 1) != 0 ? "a" : NULL,
			.source = (bits & 2) != 0 ? "s" : NULL,
			.kind = (bits & 4) != 0 ? "dump" : NULL,
			.limit = 20,
		};
		char *sql, *plan;

		fixture_trace_begin(f);
		assert_list(f, &filter, "");
		sql = fixture_trace_end(f);
		plan = fixture_plan(f, sql);
		if (strstr(plan, "USING INDEX") == NULL || strstr(plan, "TEMP B-TREE") != NULL)
			fail_msg("%s\n%s", sql, plan);
		free(plan);
		free(sql);
	}
}

static void
test_a_prefix_is_searched_in_the_index(void **state)
{
	struct fixture *f = *state;
	char *sql, *plan;

	fixture_trace_begin(f);
	assert_found(f, "x", NULL, ERR_NOT_FOUND);
	sql = fixture_trace_end(f);
	plan = fixture_plan(f, sql);
	assert_non_null(strstr(plan, "SEARCH backup USING INDEX"));
	assert_non_null(strstr(plan, "(id>? AND id<?)"));
	free(plan);
	free(sql);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_backup_comes_back_as_it_was_put_last,
		    fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_a_unique_prefix_is_enough, fixture_setup,
		    fixture_teardown),
		cmocka_unit_test_setup_teardown(test_remove_and_clear, fixture_setup,
		    fixture_teardown),
		cmocka_unit_test_setup_teardown(test_lists_are_filtered_and_newest_first,
		    fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_lists_and_searches_use_an_index, fixture_setup,
		    fixture_teardown),
		cmocka_unit_test_setup_teardown(test_a_prefix_is_searched_in_the_index,
		    fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
