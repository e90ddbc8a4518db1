#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "all_zones.h"

#include "base/err.h"
#include "base/str.h"
#include "base/zone.h"

static struct zone *
open_zone(const char *name)
{
	struct err err = ERR_INIT;
	struct zone *zone = zone_open(name, &err);

	if (zone == NULL)
		fail_msg("%s", err.msg);

	return zone;
}

static struct wall_time
at(const char *text)
{
	struct wall_time time = { .us = 0 };
	struct err err = ERR_INIT;

	if (clock_parse(text, &time, &err) < 0)
		fail_msg("%s", err.msg);

	return time;
}

static struct wall_time
at_s(int64_t unix_s)
{
	return (struct wall_time){ .us = unix_s * US_PER_S };
}

/* Values of Python's zoneinfo. */
static void
test_known_times(void **state)
{
	static const struct {
		const char *zone, *time, *expected;
	} rows[] = {
		{ "UTC", "2025-11-25T02:00:00Z", "2025-11-25 02:00:00 +00:00" },
		{ "Europe/Berlin", "2025-11-25T02:00:00Z", "2025-11-25 03:00:00 +01:00" },
		{ "Europe/Berlin", "2025-07-01T12:00:00Z", "2025-07-01 14:00:00 +02:00" },
		{ "Europe/Berlin", "2026-03-29T00:59:59.999999Z", "2026-03-29 01:59:59 +01:00" },
		{ "Europe/Berlin", "2026-03-29T01:00:00Z", "2026-03-29 03:00:00 +02:00" },
		{ "Europe/Berlin", "2026-10-25T00:59:59Z", "2026-10-25 02:59:59 +02:00" },
		{ "Europe/Berlin", "2026-10-25T01:00:00Z", "2026-10-25 02:00:00 +01:00" },
		{ "Europe/Berlin", "2060-06-01T00:00:00Z", "2060-06-01 02:00:00 +02:00" },
		{ "Europe/Berlin", "1890-01-01T00:00:00Z", "1890-01-01 00:53:28 +00:53:28" },
		{ "America/New_York", "2040-12-25T12:00:00Z", "2040-12-25 07:00:00 -05:00" },
		{ "America/St_Johns", "2031-07-04T03:15:00Z", "2031-07-04 00:45:00 -02:30" },
		{ "Australia/Lord_Howe", "2027-04-03T14:59:59Z", "2027-04-04 01:59:59 +11:00" },
		{ "Australia/Lord_Howe", "2027-04-03T15:00:00Z", "2027-04-04 01:30:00 +10:30" },
		{ "Pacific/Apia", "2011-12-30T09:59:59Z", "2011-12-29 23:59:59 -10:00" },
		{ "Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-31 00:00:00 +14:00" },
		{ "Asia/Kathmandu", "2050-01-01T00:00:00Z", "2050-01-01 05:45:00 +05:45" },
		{ "Europe/Dublin", "2041-01-15T00:00:00Z", "2041-01-15 00:00:00 +00:00" },
		{ "America/Sao_Paulo", "2018-11-04T02:59:59Z", "2018-11-03 23:59:59 -03:00" },
		{ "Antarctica/Troll", "2045-07-01T00:00:00Z", "2045-07-01 02:00:00 +02:00" },
		{ "Asia/Tehran", "2021-06-01T00:00:00Z", "2021-06-01 04:30:00 +04:30" },
		{ "Etc/GMT+12", "2026-02-28T23:59:59Z", "2026-02-28 11:59:59 -12:00" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct zone *zone = open_zone(rows[i].zone);
		char text[CLOCK_TEXT_SIZE];

		assert_string_equal(zone_name(zone), rows[i].zone);
		assert_string_equal(zone_format(zone, at(rows[i].time), text), rows[i].expected);
		zone_close(zone);
	}
}

/* The C library reads the same files by other code. */
static void
compare_with_libc(const struct zone *zone, void *context)
{
	const int64_t begin_s = -70 * INT64_C(31556952);
	const int64_t end_s = 130 * INT64_C(31556952);

	(void)context;
	setenv("TZ", zone_name(zone), 1);
	tzset();
	for (int64_t unix_s = begin_s; unix_s < end_s; unix_s += 19 * 86400 + 12345) {
		time_t time = unix_s;
		struct tm tm;

		assert_non_null(localtime_r(&time, &tm));
		if (zone_offset_s(zone, at_s(unix_s)) != tm.tm_gmtoff)
			fail_msg("%s at %lld: %d, the C library says %ld", zone_name(zone),
			    (long long)unix_s, zone_offset_s(zone, at_s(unix_s)), tm.tm_gmtoff);
	}
}

static void
test_all_zones_as_the_c_library_has_them(void **state)
{
	(void)state;
	assert_true(all_zones_visit(compare_with_libc, NULL) > 300);
	unsetenv("TZ");
}

/* The civil time of an instant leads back to it, or to its twin in an overlap. */
static void
check_way_back(const struct zone *zone, int64_t unix_s)
{
	struct civil civil = zone_civil(zone, at_s(unix_s));
	struct wall_time first, second;
	enum zone_match match = zone_resolve(zone, &civil, &first, &second);

	assert_int_not_equal(match, ZONE_GAP);
	if (match == ZONE_UNIQUE) {
		assert_int_equal(first.us, unix_s * US_PER_S);
		return;
	}
	assert_true(first.us < second.us);
	assert_true(first.us == unix_s * US_PER_S || second.us == unix_s * US_PER_S);
}

/* Every civil time that a change skips resolves to the change. */
static void
check_gap(const struct zone *zone, struct wall_time change, int before_s, int after_s)
{
	int64_t change_s = change.us / US_PER_S;

	for (int64_t civil_s = change_s + before_s; civil_s < change_s + after_s; civil_s += 421) {
		struct civil civil = civil_from_unix_s(civil_s);
		struct wall_time resolved;

		assert_int_equal(zone_resolve(zone, &civil, &resolved, NULL), ZONE_GAP);
		assert_int_equal(resolved.us, change.us);
	}
}

static void
check_overlap(const struct zone *zone, struct wall_time change, int before_s, int after_s)
{
	int64_t change_s = change.us / US_PER_S;

	for (int64_t civil_s = change_s + after_s; civil_s < change_s + before_s; civil_s += 421) {
		struct civil civil = civil_from_unix_s(civil_s);
		struct wall_time first, second;

		assert_int_equal(zone_resolve(zone, &civil, &first, &second), ZONE_OVERLAP);
		assert_int_equal(first.us, (civil_s - before_s) * US_PER_S);
		assert_int_equal(second.us, (civil_s - after_s) * US_PER_S);
	}
}

static void
check_changes(const struct zone *zone, void *context)
{
	struct wall_time from = at("2020-01-01T00:00:00Z");
	struct wall_time until = at("2036-01-01T00:00:00Z");
	size_t *changes = context;
	struct wall_time change;

	for (int64_t t = from.us / US_PER_S; t < until.us / US_PER_S; t += 5 * 86400 + 4321)
		check_way_back(zone, t);
	for (; all_zones_next_change(zone, from, until, &change); from = change) {
		int before_s = zone_offset_s(zone, (struct wall_time){ .us = change.us - 1 });
		int after_s = zone_offset_s(zone, change);

		for (int64_t d = -4 * 3600; d <= 4 * 3600; d += 599)
			check_way_back(zone, change.us / US_PER_S + d);
		for (int64_t d = -2; d <= 2; d++)
			check_way_back(zone, change.us / US_PER_S + d);
		if (after_s > before_s)
			check_gap(zone, change, before_s, after_s);
		else
			check_overlap(zone, change, before_s, after_s);
		(*changes)++;
	}
}

static void
test_there_and_back_in_all_zones(void **state)
{
	size_t changes = 0;

	(void)state;
	assert_true(all_zones_visit(check_changes, &changes) > 300);
	assert_true(changes > 3000);
}

static void
test_a_skipped_day(void **state)
{
	struct zone *zone = open_zone("Pacific/Apia");
	const struct civil noon = { .year = 2011, .month = 12, .day = 30, .hour = 12 };
	struct wall_time resolved;

	(void)state;
	assert_int_equal(zone_resolve(zone, &noon, &resolved, NULL), ZONE_GAP);
	assert_int_equal(resolved.us, at("2011-12-30T10:00:00Z").us);
	zone_close(zone);
}

static void
test_names_that_are_refused(void **state)
{
	static const char *const names[] = { "", "/", "/etc/localtime", "../zoneinfo/UTC",
		"Europe/../UTC", "Europe/", "Europe//Berlin", "Europe", "Europe/Berln", "Berlin",
		"europe/berlin ", "Europe/Berlin\n", "a.b", "zone.tab",
		"Europe/Berlin/Berlin/Berlin/Berlin/Berlin/Berlin/Berlin/Berlin/Berlin" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct err err = ERR_INIT;

		assert_null(zone_open(names[i], &err));
		assert_int_equal(err.kind, ERR_NOT_FOUND);
		assert_true(err.hint[0] != '\0');
	}
}

static void
assert_parses(const struct zone *zone, const char *text, const char *expected)
{
	struct wall_time time = { .us = 0 };
	struct err err = ERR_INIT;
	char utc[CLOCK_TEXT_SIZE];

	if (zone_parse(zone, text, &time, &err) < 0)
		fail_msg("%s", err.msg);
	assert_string_equal(clock_format(time, utc), expected);
}

static void
assert_refused(const struct zone *zone, const char *text, const char *in_message,
    const char *in_hint)
{
	struct wall_time time = { .us = 42 };
	struct err err = ERR_INIT;

	assert_int_equal(zone_parse(zone, text, &time, &err), -1);
	assert_int_equal(time.us, 42);
	assert_int_equal(err.kind, ERR_USAGE);
	assert_non_null(strstr(err.msg, in_message));
	assert_non_null(strstr(err.hint, in_hint));
}

static void
test_times_as_people_type_them(void **state)
{
	struct zone *zone = open_zone("Europe/Berlin");

	(void)state;
	assert_parses(zone, "2025-11-25 14:05:09", "2025-11-25T13:05:09.000000Z");
	assert_parses(zone, "2025-11-25 14:05:09.25", "2025-11-25T13:05:09.250000Z");
	assert_parses(zone, "2025-11-25T14:05", "2025-11-25T13:05:00.000000Z");
	assert_parses(zone, "2025-11-25 14:05:09Z", "2025-11-25T14:05:09.000000Z");
	assert_parses(zone, "2025-11-25 14:05:09-03:30", "2025-11-25T17:35:09.000000Z");
	assert_parses(zone, "1969-12-31 23:59:59.999999", "1969-12-31T22:59:59.999999Z");
	assert_refused(zone, "2026-03-29 02:30:00", "does not exist", "2026-03-29 03:00:00 +02:00");
	assert_refused(zone, "2026-10-25 02:30:00", "exists twice", "02:30:00+02:00' is the first");
	assert_parses(zone, "2026-10-25 02:30:00+02:00", "2026-10-25T00:30:00.000000Z");
	assert_parses(zone, "2026-10-25 02:30:00+01:00", "2026-10-25T01:30:00.000000Z");
	assert_refused(zone, "2025-02-30 00:00:00", "not a time", "2025-11-25 14:05:09");
	assert_refused(zone, "", "not a time", "Write it");
	assert_refused(zone, "yesterday", "not a time", "Write it");
	assert_refused(zone, "2025-11-25 14:05:09 CET", "not a time", "Write it");
	zone_close(zone);
}

/* ---- damaged files ------------------------------------------------------------------------ */

struct damage {
	char folder[64];
	char path[128];
	uint8_t good[16384];
	size_t size;
};

static void
damage_begin(struct damage *damage)
{
	FILE *file = fopen("/usr/share/zoneinfo/Europe/Berlin", "rbe");

	assert_non_null(file);
	damage->size = fread(damage->good, 1, sizeof(damage->good), file);
	(void)fclose(file);
	assert_true(damage->size > 100);
	(void)snprintf(damage->folder, sizeof(damage->folder), "/tmp/test_zone.XXXXXX");
	assert_non_null(mkdtemp(damage->folder));
	(void)snprintf(damage->path, sizeof(damage->path), "%s/Zone", damage->folder);
	setenv("TZDIR", damage->folder, 1);
}

static void
damage_end(struct damage *damage)
{
	unsetenv("TZDIR");
	(void)unlink(damage->path);
	(void)rmdir(damage->folder);
}

/* Open the file with this content; if it is accepted, using it must be harmless. */
static bool
is_accepted(struct damage *damage, const uint8_t *data, size_t size)
{
	static const struct civil civil = { .year = 2026, .month = 3, .day = 29, .hour = 2 };
	struct err err = ERR_INIT;
	struct wall_time time;
	struct zone *zone;
	FILE *file;

	/* A new file each time: some file systems write one that is cut and refilled to disk at once. */
	(void)unlink(damage->path);
	file = fopen(damage->path, "wbe");
	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
	zone = zone_open("Zone", &err);
	if (zone == NULL) {
		assert_int_not_equal(err.kind, ERR_NONE);
		return false;
	}
	(void)zone_resolve(zone, &civil, &time, NULL);
	for (int64_t year = -9000; year < 20000; year += 777)
		(void)zone_offset_s(zone, at_s(year * INT64_C(31556952)));
	zone_close(zone);

	return true;
}

static void
test_cut_files(void **state)
{
	struct damage damage;

	(void)state;
	damage_begin(&damage);
	assert_true(is_accepted(&damage, damage.good, damage.size));
	for (size_t size = 0; size < damage.size; size++)
		assert_false(is_accepted(&damage, damage.good, size));
	damage_end(&damage);
}

static void
test_damaged_files(void **state)
{
	struct damage damage;
	uint8_t *bad;
	uint64_t random = 88172645463325252u;

	(void)state;
	damage_begin(&damage);
	bad = malloc(damage.size);
	assert_non_null(bad);
	for (size_t i = 0; i < 4000; i++) {
		memcpy(bad, damage.good, damage.size);
		for (size_t n = 0; n <= i % 3; n++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			bad[random % damage.size] = (uint8_t)(random >> 32);
		}
		(void)is_accepted(&damage, bad, damage.size);
	}
	free(bad);
	damage_end(&damage);
}

/* A file with one type of offset 0, no transitions, then the footer; the old block likewise. */
static void
add_rule_file(struct str *data, const char *rule)
{
	uint8_t header[44] = "TZif2";
	const uint8_t type[6] = { 0 };

	header[39] = 1; /* types */
	header[43] = 4; /* characters */
	for (int i = 0; i < 2; i++) {
		str_add_bytes(data, header, sizeof(header));
		str_add_bytes(data, type, sizeof(type));
		str_add_bytes(data, "UTC", 4);
	}
	str_addf(data, "\n%s\n", rule);
}

static void
assert_rule(struct damage *damage, const char *rule, bool is_good)
{
	SCOPED(str_done) struct str data = STR_INIT;

	add_rule_file(&data, rule);
	if (is_accepted(damage, (const uint8_t *)str_text(&data), data.size) != is_good)
		fail_msg("rule '%s'", rule);
}

static void
test_rules(void **state)
{
	static const char *const good[] = { "", "UTC0", "CET-1CEST,M3.5.0,M10.5.0/3",
		"<+0330>-3:30", "<-03>3<-02>,M3.5.0/-2,M10.5.0/-1", "EST5EDT,0/0,J365/25",
		"IST-1GMT0,M10.5.0,M3.5.0/1", "AAA-24BBB-24,J1,365/167:59:59" };
	static const char *const bad[] = { "U", "UTC", "UTC25", "UTC0 ", "CET-1CEST",
		"CET-1CEST,M3.5.0", "CET-1CEST,M13.1.0,M10.5.0", "CET-1CEST,M0.1.0,M10.5.0",
		"CET-1CEST,M3.6.0,M10.5.0", "CET-1CEST,M3.0.0,M10.5.0", "CET-1CEST,M3.5.7,M10.5.0",
		"CET-1CEST,J0,J3", "CET-1CEST,J366,J3", "CET-1CEST,366,3",
		"CET-1CEST,M3.5.0/168,M10.5.0", "<+03-3", "CET-1:60", "CET-99999999999999999999",
		"CET-1CEST,M3.5.0,M10.5.0,M1.1.1", "A-B0" };
	struct damage damage;

	(void)state;
	damage_begin(&damage);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_rule(&damage, good[i], true);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_rule(&damage, bad[i], false);
	damage_end(&damage);
}

/* The C library takes a rule in TZ itself. */
static void
compare_rule(struct damage *damage, const char *rule)
{
	SCOPED(str_done) struct str data = STR_INIT;
	struct zone *zone;

	add_rule_file(&data, rule);
	assert_true(is_accepted(damage, (const uint8_t *)str_text(&data), data.size));
	zone = open_zone("Zone");
	setenv("TZ", rule, 1);
	tzset();
	for (int64_t unix_s = at("2019-12-30T00:00:00Z").us / US_PER_S;
	     unix_s < at("2033-01-03T00:00:00Z").us / US_PER_S; unix_s += 1799) {
		time_t time = unix_s;
		struct tm tm;

		assert_non_null(localtime_r(&time, &tm));
		if (zone_offset_s(zone, at_s(unix_s)) != tm.tm_gmtoff)
			fail_msg("%s at %lld: %d, the C library says %ld", rule, (long long)unix_s,
			    zone_offset_s(zone, at_s(unix_s)), tm.tm_gmtoff);
	}
	unsetenv("TZ");
	zone_close(zone);
}

static void
test_rules_as_the_c_library_reads_them(void **state)
{
	static const char *const rules[] = { "CET-1CEST,M3.5.0,M10.5.0/3",
		"NZST-12NZDT,M9.5.0,M4.1.0/3", "IST-1GMT0,M10.5.0,M3.5.0/1", "AAA3BBB,J59,J60/0",
		"AAA-5BBB,J60/0,J300", "AAA0BBB-1:30,58,59/12", "AAA0BBB,M2.1.1/0,M2.5.6/0",
		"<-03>3<-02>,M3.5.0/-2,M10.5.0/-1" };
	struct damage damage;

	(void)state;
	damage_begin(&damage);
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		compare_rule(&damage, rules[i]);
	damage_end(&damage);
}

/* Summer time that ends in the instant in which the next one begins. */
static void
test_summer_all_year(void **state)
{
	SCOPED(str_done) struct str data = STR_INIT;
	struct damage damage;
	struct zone *zone;

	(void)state;
	damage_begin(&damage);
	add_rule_file(&data, "EST5EDT,0/0,J365/25");
	assert_true(is_accepted(&damage, (const uint8_t *)str_text(&data), data.size));
	zone = open_zone("Zone");
	for (int64_t unix_s = at("2023-12-30T00:00:00Z").us / US_PER_S;
	     unix_s < at("2026-01-03T00:00:00Z").us / US_PER_S; unix_s += 900)
		assert_int_equal(zone_offset_s(zone, at_s(unix_s)), -4 * 3600);
	zone_close(zone);
	damage_end(&damage);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_times),
		cmocka_unit_test(test_all_zones_as_the_c_library_has_them),
		cmocka_unit_test(test_there_and_back_in_all_zones),
		cmocka_unit_test(test_a_skipped_day),
		cmocka_unit_test(test_names_that_are_refused),
		cmocka_unit_test(test_times_as_people_type_them),
		cmocka_unit_test(test_cut_files),
		cmocka_unit_test(test_damaged_files),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_rules_as_the_c_library_reads_them),
		cmocka_unit_test(test_summer_all_year),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
