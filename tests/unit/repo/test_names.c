#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/zone.h"
#include "repo/names.h"

static const struct layout daily = { .subfolder = "daily", .stem_prefix = "backup-" };
static const struct layout rdb = { .subfolder = "", .stem_prefix = "dump-", .has_time = true };
static const struct layout base = { .subfolder = "base" };

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
zone(const char *name)
{
	struct err err = ERR_INIT;
	struct zone *zone = zone_open(name, &err);

	if (zone == NULL)
		fail_msg("%s", err.msg);

	return zone;
}

static void
assert_name(char *owned, const char *expected)
{
	assert_string_equal(owned, expected);
	free(owned);
}

/* The names of a part and of the manifest of a backup made at that time. */
static void
assert_place(const struct layout *layout, const char *zone_name, const char *time, unsigned attempt,
    const char *part, const char *expected, const char *expected_manifest)
{
	struct zone *site = zone(zone_name);
	struct place place;

	place_make("redis", layout, site, at(time), attempt, &place);
	assert_name(place_part_name(&place, part), expected);
	assert_name(place_manifest_name(&place), expected_manifest);
	place_done(&place);
	assert_null(place.folder);
	zone_close(site);
}

static void
test_places(void **state)
{
	(void)state;
	assert_place(&daily, "UTC", "2025-11-25T02:00:00Z", 0, "dump",
	    "redis/daily/backup-2025-11-25.dump", "redis/daily/backup-2025-11-25.manifest.json");
	assert_place(&rdb, "UTC", "2025-11-25T12:00:59Z", 0, "rdb",
	    "redis/dump-2025-11-25-12-00.rdb", "redis/dump-2025-11-25-12-00.manifest.json");
	assert_place(&base, "UTC", "2025-11-25T01:00:00Z", 0, "base.tar.zst",
	    "redis/base/2025-11-25T010000Z/base.tar.zst",
	    "redis/base/2025-11-25T010000Z/manifest.json");
}

static void
test_stems_are_in_the_sites_zone_and_folders_in_utc(void **state)
{
	(void)state;
	/* Half past midnight in Berlin is still the day before in UTC. */
	assert_place(&daily, "Europe/Berlin", "2025-11-24T23:30:00Z", 0, "dump",
	    "redis/daily/backup-2025-11-25.dump", "redis/daily/backup-2025-11-25.manifest.json");
	assert_place(&rdb, "Europe/Berlin", "2025-07-01T23:30:00Z", 0, "rdb",
	    "redis/dump-2025-07-02-01-30.rdb", "redis/dump-2025-07-02-01-30.manifest.json");
	assert_place(&base, "Europe/Berlin", "2025-11-24T23:30:00Z", 0, "x",
	    "redis/base/2025-11-24T233000Z/x", "redis/base/2025-11-24T233000Z/manifest.json");
}

static void
test_attempts_never_give_the_same_name(void **state)
{
	(void)state;
	assert_place(&daily, "Europe/Berlin", "2025-11-25T02:03:04Z", 1, "dump",
	    "redis/daily/backup-2025-11-25-030304.dump",
	    "redis/daily/backup-2025-11-25-030304.manifest.json");
	assert_place(&daily, "UTC", "2025-11-25T02:03:04Z", 2, "dump",
	    "redis/daily/backup-2025-11-25-020304-2.dump",
	    "redis/daily/backup-2025-11-25-020304-2.manifest.json");
	assert_place(&rdb, "UTC", "2025-11-25T02:03:04Z", 1, "rdb",
	    "redis/dump-2025-11-25-02-03-020304.rdb",
	    "redis/dump-2025-11-25-02-03-020304.manifest.json");
	assert_place(&base, "UTC", "2025-11-25T01:00:00Z", 1, "x",
	    "redis/base/2025-11-25T010000Z-1/x", "redis/base/2025-11-25T010000Z-1/manifest.json");
	assert_place(&base, "UTC", "2025-11-25T01:00:00Z", 12, "x",
	    "redis/base/2025-11-25T010000Z-12/x", "redis/base/2025-11-25T010000Z-12/manifest.json");
}

static void
test_place_at_the_top_of_the_store(void **state)
{
	struct place flat = { .folder = xstrdup(""), .stem = xstrdup("backup-2025-11-25") };

	(void)state;
	assert_name(place_part_name(&flat, "dump"), "backup-2025-11-25.dump");
	assert_name(place_part_name(&flat, "dir/toc.dat"), "backup-2025-11-25.dir/toc.dat");
	place_done(&flat);
}

static void
test_parts_of_names(void **state)
{
	(void)state;
	assert_name(name_folder("a/b/c"), "a/b");
	assert_name(name_folder("c"), "");
	assert_string_equal(name_base("a/b/c"), "c");
	assert_string_equal(name_base("c"), "c");
	assert_true(name_is_manifest("postgresql/base/2025-11-25T010000Z/manifest.json"));
	assert_true(name_is_manifest("manifest.json"));
	assert_true(name_is_manifest("redis/dump-2025-11-25-12-00.manifest.json"));
	assert_false(name_is_manifest("postgresql/base/x/backup_manifest"));
	assert_false(name_is_manifest("x/notamanifest.json"));
	assert_false(name_is_manifest("x/manifest.json/y"));
	assert_false(name_is_manifest("x/.tmp-run-backup.manifest.json"));
	assert_true(name_is_temporary("x/.tmp-run-backup.manifest.json"));
	assert_true(name_is_temporary(".tmp-run-x"));
	assert_true(name_is_temporary("x/.tmp-run-dir/toc.dat"));
	assert_false(name_is_temporary("x/y.tmp-run"));
}

static void
test_encoding(void **state)
{
	static const struct {
		const char *plain;
		const char *encoded;
	} cases[] = {
		{ "webscada", "webscada" },
		{ "Web_scada-2.0", "Web_scada-2.0" },
		{ ".hidden", "%2Ehidden" },
		{ "..", "%2E." },
		{ "a/b", "a%2Fb" },
		{ "my db", "my%20db" },
		{ "100%", "100%25" },
		{ "gr\xc3\xb6\xc3\x9f"
		  "e",
		    "gr%C3%B6%C3%9Fe" },
		{ "\xff\x01\n\"'", "%FF%01%0A%22%27" },
		{ "", "" },
	};
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_name(name_encode(cases[i].plain), cases[i].encoded);
		assert_name(name_decode(cases[i].encoded, &err), cases[i].plain);
	}
	assert_name(name_decode("%c3%b6", &err), "\xc3\xb6");
}

static void
test_decoding_refuses_what_encoding_never_makes(void **state)
{
	static const char *const bad[] = { "%", "a%", "a%4", "%4g", "%g4", "%00", "%%", "% 1" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = ERR_INIT;

		assert_null(name_decode(bad[i], &err));
		assert_int_equal(err.kind, ERR_DATA);
	}
}

static void
test_ids(void **state)
{
	(void)state;
	assert_name(backup_id_make("pg-daily", at("2025-11-25T02:00:00.999999Z"), "7f3a"),
	    "pg-daily-20251125-020000-7f3a");
	assert_name(backup_id_make("j", (struct wall_time){ .us = -1 }, "0000"),
	    "j-19691231-235959-0000");
}

static void
assert_parsed(const char *name, const struct layout *layout, const char *extension,
    const char *time, const char *stem)
{
	struct zone *site = zone("Europe/Berlin");
	struct wall_time found;
	char *found_stem = NULL;

	if (!name_parse_flat(name, layout, extension, site, &found, &found_stem))
		fail_msg("'%s' was not recognised", name);
	assert_int_equal(found.us, at(time).us);
	assert_string_equal(found_stem, stem);
	free(found_stem);
	zone_close(site);
}

static void
test_the_users_files_are_recognised(void **state)
{
	(void)state;
	assert_parsed("postgresql/daily/backup-2025-11-25.dump", &daily, "dump",
	    "2025-11-25T00:00:00+01:00", "backup-2025-11-25");
	assert_parsed("backup-2025-07-01.dump", &daily, "dump", "2025-07-01T00:00:00+02:00",
	    "backup-2025-07-01");
	assert_parsed("postgresql/backup-2025-11-25.webscada.dump", &daily, "dump",
	    "2025-11-25T00:00:00+01:00", "backup-2025-11-25");
	assert_parsed("d/backup-2025-11-25.my.db.dump", &daily, "dump", "2025-11-25T00:00:00+01:00",
	    "backup-2025-11-25");
	assert_parsed("d/backup-2025-11-25.dump.dump", &daily, "dump", "2025-11-25T00:00:00+01:00",
	    "backup-2025-11-25");
	assert_parsed("redis/dump-2025-11-25-12-05.rdb", &rdb, "rdb", "2025-11-25T12:05:00+01:00",
	    "dump-2025-11-25-12-05");
	assert_parsed("d/backup-2025-11-20.tar.gz", &daily, "tar.gz", "2025-11-20T00:00:00+01:00",
	    "backup-2025-11-20");
}

static void
test_our_suffixes_are_recognised(void **state)
{
	(void)state;
	assert_parsed("d/backup-2025-11-25-030405.dump", &daily, "dump",
	    "2025-11-25T03:04:05+01:00", "backup-2025-11-25-030405");
	assert_parsed("d/backup-2025-11-25-030405-12.dump", &daily, "dump",
	    "2025-11-25T03:04:05+01:00", "backup-2025-11-25-030405-12");
	assert_parsed("dump-2025-11-25-12-05-120559.rdb", &rdb, "rdb", "2025-11-25T12:05:59+01:00",
	    "dump-2025-11-25-12-05-120559");
	/* 02:30 does not exist on this day: the first instant after the gap stands for it. */
	assert_parsed("dump-2025-03-30-02-30.rdb", &rdb, "rdb", "2025-03-30T01:00:00Z",
	    "dump-2025-03-30-02-30");
}

static void
test_other_files_are_not_recognised(void **state)
{
	static const char *const others[] = {
		"backup-2025-11-25.sql",
		"backup-2025-11-25dump",
		"backup-2025-11-25..dump",
		"backup-2025-11-25",
		"backup-2025-11-25.",
		"backup-2025-13-01.dump",
		"backup-2025-02-29.dump",
		"backup-25-11-25.dump",
		"backup-2025-11-25-12-00.dump",
		"backup-2025-11-25-250000.dump",
		"backup-2025-11-25-03040.dump",
		"backup-2025-11-25-030405-.dump",
		"backup-2025-11-25-030405-0.dump",
		"xbackup-2025-11-25.dump",
		"backup-2025-11-25.dump/x",
		".tmp-r-backup-2025-11-25.dump",
		"backup-2025-11-25.dump.tmp",
		"backup-2025-11-25.adump",
		"",
		"backup-",
	};
	struct zone *site = zone("UTC");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		struct wall_time time;
		char *stem;

		if (name_parse_flat(others[i], &daily, "dump", site, &time, &stem))
			fail_msg("'%s' was taken for a backup", others[i]);
		assert_false(name_parse_flat(others[i], &base, "dump", site, &time, &stem));
	}
	zone_close(site);
}

/* What place_make names, name_parse_flat finds again. */
static void
test_names_made_are_recognised(void **state)
{
	const struct layout *const layouts[] = { &daily, &rdb };
	struct zone *site = zone("Europe/Berlin");

	(void)state;
	for (int64_t hour = 0; hour < 24 * 400; hour += 5) {
		const struct layout *layout = layouts[hour % 2];
		struct wall_time start = { .us = (at("2025-01-01T00:00:07Z").us +
					       hour * 3600 * US_PER_S) };
		struct wall_time found;
		struct place place;
		char *name, *stem;

		place_make("s", layout, site, start, (unsigned)(hour % 4), &place);
		name = place_part_name(&place, "dump");
		assert_true(name_parse_flat(name, layout, "dump", site, &found, &stem));
		assert_string_equal(stem, place.stem);
		assert_true(found.us <= start.us);
		assert_true(start.us - found.us < INT64_C(25) * 3600 * US_PER_S);
		free(stem);
		free(name);
		place_done(&place);
	}
	zone_close(site);
}

static void
test_labels(void **state)
{
	(void)state;
	assert_true(name_is_valid_label("pg-daily"));
	assert_true(name_is_valid_label("7"));
	assert_true(name_is_valid_label("A.b_c-D"));
	assert_true(
	    name_is_valid_label("a23456789012345678901234567890123456789012345678901234567890123"));
	assert_false(name_is_valid_label(
	    "a234567890123456789012345678901234567890123456789012345678901234"));
	assert_false(name_is_valid_label(""));
	assert_false(name_is_valid_label(".a"));
	assert_false(name_is_valid_label("-a"));
	assert_false(name_is_valid_label("_a"));
	assert_false(name_is_valid_label("a/b"));
	assert_false(name_is_valid_label("a b"));
	assert_false(name_is_valid_label("gr\xc3\xb6"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_stems_are_in_the_sites_zone_and_folders_in_utc),
		cmocka_unit_test(test_attempts_never_give_the_same_name),
		cmocka_unit_test(test_place_at_the_top_of_the_store),
		cmocka_unit_test(test_parts_of_names),
		cmocka_unit_test(test_encoding),
		cmocka_unit_test(test_decoding_refuses_what_encoding_never_makes),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_the_users_files_are_recognised),
		cmocka_unit_test(test_our_suffixes_are_recognised),
		cmocka_unit_test(test_other_files_are_not_recognised),
		cmocka_unit_test(test_names_made_are_recognised),
		cmocka_unit_test(test_labels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
