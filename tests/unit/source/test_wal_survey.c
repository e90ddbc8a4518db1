#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "repo/manifest.h"
#include "source/archive.h"
#include "source/postgres/wal/survey.h"
#include "wal_plot.h"

static char system_ours[] = "7312";
static struct archive archive = { .identity = system_ours };

static struct manifest *
a_base(const char *id, const char *identity)
{
	static const char *const parts[] = { "base.tar.zst", "backup_manifest.zst" };
	struct manifest *manifest = manifest_new();

	manifest->id = xstrdup(id);
	manifest->source_identity = xstrdup(identity);
	json_decref(manifest->content);
	manifest->content = json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:s}", "start_lsn",
	    "0/5000028", "end_lsn", "0/5000100", "start_timeline", 1, "end_timeline", 1,
	    "wal_segment_size", 1024 * 1024, "server_version_num", 150004, "system_identifier",
	    "7312");
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		vec_push(&manifest->files,
		    ((struct manifest_file){ .name = xstrdup(parts[i]),
			.compression = xstrdup("zstd") }));

	return manifest;
}

/* As wal_survey_read leaves it, `age_us` ago. */
static struct wal_survey
read_before(int64_t age_us)
{
	struct wal_survey survey;

	plot_begin(&survey);
	plot_base(&survey, "other", 1, 12, 12, 500, false);
	plot_span(&survey, 1, 3, 20, 50, 800);
	survey.read_at.us = clock_mono().us - age_us;

	return survey;
}

static void
test_what_was_just_read_is_not_read_again(void **state)
{
	SCOPED(manifest_freep) struct manifest *base = a_base("mine", "7312");
	SCOPED(wal_survey_done) struct wal_survey known = read_before(0);
	SCOPED(wal_survey_done) struct wal_survey way = { .segment_bytes = 0 };

	(void)state;
	assert_true(wal_survey_take_way(&known, &archive, base, &way));
	/* Of the bases only the one that is asked for; all that lies in the archive. */
	assert_int_equal(way.bases.count, 1);
	assert_string_equal(way.bases.items[0].id, "mine");
	assert_int_equal(way.spans.count, 1);
	assert_int_equal(way.spans.items[0].first, 3);
	/* It is empty now, and taken once only. */
	assert_int_equal(known.spans.count, 0);
	assert_false(wal_survey_take_way(&known, &archive, base, &way));
}

static void
test_what_is_old_is_read_again(void **state)
{
	SCOPED(manifest_freep) struct manifest *base = a_base("mine", "7312");
	SCOPED(wal_survey_done) struct wal_survey known = read_before(6 * US_PER_S);
	SCOPED(wal_survey_done) struct wal_survey way = { .segment_bytes = 0 };

	(void)state;
	assert_false(wal_survey_take_way(&known, &archive, base, &way));
	assert_int_equal(way.spans.count, 0);
	assert_int_equal(known.spans.count, 0);
	assert_false(wal_survey_take_way(NULL, &archive, base, &way));
}

/* The archive is of one system; a base of another has no way through it. */
static void
test_a_base_of_another_system_is_not_in_it(void **state)
{
	SCOPED(manifest_freep) struct manifest *base = a_base("foreign", "9999");
	SCOPED(wal_survey_done) struct wal_survey known = read_before(0);
	SCOPED(wal_survey_done) struct wal_survey way = { .segment_bytes = 0 };

	(void)state;
	assert_true(wal_survey_take_way(&known, &archive, base, &way));
	assert_int_equal(way.bases.count, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_just_read_is_not_read_again),
		cmocka_unit_test(test_what_is_old_is_read_again),
		cmocka_unit_test(test_a_base_of_another_system_is_not_in_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
