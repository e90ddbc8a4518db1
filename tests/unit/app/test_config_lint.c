#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/config_open.h"
#include "app/config_show.h"
#include "base/err.h"
#include "base/str.h"
#include "config/config.h"

#define HEAD                                                                                       \
	"site: north\n"                                                                            \
	"timezone: Europe/Berlin\n"                                                                \
	"store: { path: /backups }\n"                                                              \
	"sources:\n"                                                                               \
	"  pg: { type: postgres, host: db1, user: backup }\n"                                      \
	"jobs:\n"

#define HEAD_REDIS                                                                                 \
	"site: north\n"                                                                            \
	"timezone: Europe/Berlin\n"                                                                \
	"store: { path: /backups }\n"                                                              \
	"sources:\n"                                                                               \
	"  cache: { type: redis, host: cache1 }\n"                                                 \
	"jobs:\n"

static struct wall_time
noon(void)
{
	struct wall_time time = { .us = 0 };
	struct err err = ERR_INIT;

	assert_int_equal(clock_parse("2026-01-15T12:00:00Z", &time, &err), 0);

	return time;
}

/* Open the text as a file on disk; problems as "LINE text", warnings with '!'. */
static struct config *
open_text(const char *text, struct str *problems_text)
{
	char path[] = "/tmp/test_lint.XXXXXX";
	int fd = mkstemp(path);
	struct config_problems problems = { .errors_count = 0 };
	struct err err = ERR_INIT;
	struct config *config;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
	config = config_open(path, noon(), &problems, &err);
	(void)unlink(path);
	for (size_t i = 0; i < problems.items.count; i++)
		str_addf(problems_text, "%s%u %s\n", problems.items.items[i].is_warning ? "!" : "",
		    problems.items.items[i].line, problems.items.items[i].text);
	if (config == NULL)
		assert_int_equal(err.kind, ERR_CONFIG);
	assert_true((config == NULL) == (problems.errors_count > 0));
	config_problems_done(&problems);

	return config;
}

static void
assert_lint(const char *text, const char *expected)
{
	SCOPED(str_done) struct str found = STR_INIT;

	config_free(open_text(text, &found));
	assert_string_equal(str_text(&found), expected);
}

static void
test_nothing_to_say(void **state)
{
	(void)state;
	assert_lint(HEAD
	    "  a: { source: pg, do: dump, at: '04:00', keep: 30d }\n"
	    "  b: { source: pg, do: base, cron: '0 5 * * sun', keep: 30d }\n"
	    "  c: { source: pg, do: dump, every: 6h, keep: { daily: 3 }, folder: often }\n"
	    "  d: { source: pg, do: dump, folder: byhand }\n",
	    "");
}

static void
test_times_that_cannot_be(void **state)
{
	(void)state;
	assert_lint(HEAD "  a: { source: pg, do: dump, at: '24:00' }\n"
			 "  b: { source: pg, do: base, cron: '0 2 * *' }\n"
			 "  c: { source: pg, do: dump, folder: c, cron: '0 0 30 2 *' }\n"
			 "  d: { source: pg, do: dump, folder: d, cron: '0 25 * * *', port: 3 }\n",
	    "7 job 'a': at: '24:00' is not a time of day\n"
	    "8 job 'b': cron: '0 2 * *' does not have the five fields of cron\n"
	    "9 job 'c': this time never comes\n"
	    "10 job 'd': cron: the hour of '0 25 * * *' cannot be read\n"
	    "10 job 'd': unknown key 'port'\n");
}

static void
test_times_that_a_clock_change_skips(void **state)
{
	(void)state;
	assert_lint(HEAD "  a: { source: pg, do: dump, at: '02:00' }\n"
			 "  b: { source: pg, do: base, cron: '*/10 * * * *' }\n",
	    "!7 job 'a': 2026-03-29 02:00 does not exist in Europe/Berlin, because the clock is set forward; it runs at 2026-03-29 03:00:00 +02:00 then\n");
}

static void
test_what_does_not_fit_the_interval(void **state)
{
	(void)state;
	assert_lint(HEAD
	    "  a: { source: pg, do: dump, at: 'Sun 04:00', keep: 3d, max_age: 2d, start_deadline: 9d }\n",
	    "!7 job 'a': backups are kept for 3 d 0 h but made only every 7 d 0 h, so there would be only one\n"
	    "!7 job 'a': max_age is shorter than the 7 d 0 h between two runs\n"
	    "!7 job 'a': start_deadline is longer than the 7 d 0 h between two runs\n");
	assert_lint(HEAD "  a: { source: pg, do: dump, verify: { level: 3, smoke: SELECT 1 } }\n",
	    "!7 job 'a': the smoke queries are never asked, because verify stops at level 3\n");
}

static void
test_jobs_in_one_folder(void **state)
{
	(void)state;
	assert_lint(HEAD "  a: { source: pg, do: dump }\n"
			 "  b: { source: pg, do: dump, at: 'Sun 04:00' }\n"
			 "  c: { source: pg, do: base, folder: x }\n"
			 "  d: { source: pg, do: dump, folder: x }\n"
			 "  e: { source: pg, do: base }\n"
			 "  f: { source: pg, do: wal }\n"
			 "  g: { source: pg, do: wal, at: '04:00' }\n",
	    "!8 jobs 'a' and 'b' put their backups of 'pg' into the same folder\n"
	    "!10 jobs 'c' and 'd' put their backups of 'pg' into the same folder\n");
}

static void
test_what_comes_after_what(void **state)
{
	(void)state;
	assert_lint(HEAD "  a: { source: pg, do: dump, folder: a, after: [b] }\n"
			 "  b: { source: pg, do: dump, folder: b, after: [c] }\n"
			 "  c: { source: pg, do: dump, folder: c, after: [a, x] }\n"
			 "  w: { source: pg, do: wal, continuous: true, after: c }\n"
			 "  v: { source: pg, do: base, after: w }\n",
	    "7 job 'a' comes after itself\n"
	    "8 job 'b' comes after itself\n"
	    "9 job 'c': after: there is no job 'x'\n"
	    "9 job 'c' comes after itself\n"
	    "10 job 'w': what runs all the time comes after nothing\n"
	    "11 job 'v': after: job 'w' never ends\n");
	assert_lint(HEAD "  a: { source: pg, do: dump, folder: a, at: '04:00' }\n"
			 "  b: { source: pg, do: base, after: [a] }\n"
			 "  c: { source: pg, do: dump, folder: c, at: '05:00', after: [a, b] }\n",
	    "");
}

static void
test_two_at_the_same_time(void **state)
{
	(void)state;
	assert_lint(HEAD "  a: { source: pg, do: dump, at: '04:00' }\n"
			 "  b: { source: pg, do: base, cron: '0 4 * * sun' }\n",
	    "!8 jobs 'a' and 'b' are both due at 2026-01-18 04:00:00 +01:00; of one source they run one after the other\n");
	assert_lint(HEAD "  a: { source: pg, do: dump, at: '04:00' }\n"
			 "  b: { source: pg, do: base, at: '05:00' }\n",
	    "");
}

static void
test_blackouts(void **state)
{
	(void)state;
	assert_lint(HEAD "  a: { source: pg, do: dump, at: '04:00' }\n"
			 "blackouts:\n"
			 "  shift: { at: '5:45', for: 30min, jobs: [a] }\n"
			 "  long: { at: ['5:45', '17:45'], for: 12h }\n"
			 "  odd: { at: '25:00', for: 1h, jobs: [a, z] }\n",
	    "10 blackout 'long' lasts longer than until it begins again: nothing could ever run\n"
	    "11 blackout 'odd': at: '25:00' is not a time of day\n"
	    "11 blackout 'odd': there is no job 'z'\n");
}

static void
test_wal_without_a_base(void **state)
{
	(void)state;
	assert_lint(HEAD "  w: { source: pg, do: wal, continuous: true, keep: 7d }\n",
	    "!7 job 'w': there is no base job for 'pg', and WAL is of no use without a base\n");
	assert_lint(HEAD "  w: { source: pg, do: wal, continuous: true, keep: 7d }\n"
			 "  b: { source: pg, do: base, cron: '0 4 1 * *', keep: 90d }\n",
	    "!7 job 'w': no base job of 'pg' runs within the time that WAL is kept\n");
	assert_lint(HEAD "  w: { source: pg, do: wal, continuous: true, keep: 7d }\n"
			 "  b: { source: pg, do: base, at: 'Sun 04:00', keep: 7d }\n",
	    "");
}

static void
test_a_stream_that_nothing_bounds(void **state)
{
	(void)state;
	assert_lint(HEAD_REDIS "  s: { source: cache, do: stream, continuous: true }\n", "");
	assert_lint(HEAD_REDIS
	    "  s: { source: cache, do: stream, continuous: true, base_every: off }\n"
	    "  r: { source: cache, do: rdb, every: 6h }\n",
	    "");
	assert_lint(HEAD_REDIS
	    "  s: { source: cache, do: stream, continuous: true, base_every: off }\n",
	    "!7 job 's': there is no rdb job for 'cache': a recovery would replay all since the stream began\n");
}

static void
test_two_receivers_of_one_source(void **state)
{
	(void)state;
	assert_lint(HEAD "  b: { source: pg, do: base, at: '04:00', keep: 7d }\n"
			 "  v: { source: pg, do: wal, continuous: true }\n"
			 "  w: { source: pg, do: wal, at: '04:00' }\n"
			 "  x: { source: pg, do: wal, continuous: true }\n",
	    "10 jobs 'v' and 'x' both receive the stream of 'pg'\n");
}

/* ---- config show -------------------------------------------------------------------------- */

static const char shown_text[] =
    "site: north\n"
    "timezone: UTC\n"
    "store: { path: /backups }\n"
    "sources:\n"
    "  pg: { type: postgres, host: '::1', user: \"a \\\"b\\\"\", databases: [x, 'y: z'] }\n"
    "jobs:\n"
    "  a:\n"
    "    source: pg\n"
    "    do: dump\n"
    "    keep: { daily: 3 }\n"
    "    verify: { smoke: [SELECT 1, { sql: SELECT 2, expect: '2' }] }\n"
    "  b: { source: pg, do: base }\n"
    "  c: { source: pg, do: wal, continuous: true, slot: s }\n"
    "  d: { source: pg, do: wal, at: '04:00' }\n";

static char *
show(const struct config *config, bool is_effective)
{
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);

	config_show_print(config, is_effective, to);
	(void)fclose(to);

	return text;
}

static void
test_what_is_shown_can_be_read_again(void **state)
{
	SCOPED(str_done) struct str problems = STR_INIT;
	struct config *config = open_text(shown_text, &problems);
	char *plain = show(config, false);
	char *effective = show(config, true);
	struct config *again;

	(void)state;
	assert_string_equal(str_text(&problems), "");
	assert_non_null(strstr(plain, "host: \"::1\""));
	assert_non_null(strstr(plain, "# line 5\n"));
	assert_null(strstr(plain, "# default\n"));
	assert_non_null(strstr(effective, "port: auto"));
	assert_non_null(strstr(effective, "# default\n"));
	for (int i = 0; i < 2; i++) {
		again = open_text(i == 0 ? plain : effective, &problems);
		assert_string_equal(str_text(&problems), "");
		assert_string_equal(again->sources.items[0].user, "a \"b\"");
		assert_string_equal(again->sources.items[0].databases.items[1], "y: z");
		assert_int_equal(again->jobs.items[0].keep.daily, 3);
		assert_int_equal(again->jobs.items[2].schedule, CONFIG_CONTINUOUS);
		assert_string_equal(again->jobs.items[2].slot, "s");
		assert_string_equal(again->jobs.items[2].standby_name, "blackstart");
		assert_int_equal(again->jobs.items[2].heartbeat_us, 60 * US_PER_S);
		assert_int_equal(again->jobs.items[0].verify.smoke.count, 2);
		assert_string_equal(again->jobs.items[0].verify.smoke.items[1].expect, "2");
		config_free(again);
	}
	free(plain);
	free(effective);
	config_free(config);
}

static void
test_as_json(void **state)
{
	SCOPED(str_done) struct str problems = STR_INIT;
	struct config *config = open_text(shown_text, &problems);
	json_t *json = config_show_json(config, false);
	const char *user, *key, *sql, *count;
	int line;
	json_error_t error;

	(void)state;
	assert_int_equal(json_unpack_ex(json, &error, 0,
			     "{s:i, s:{s:{s:{s:s}}, s:{s:{s:{s:s}, s:{s:[s, {s:s}]}}}}}", "schema",
			     &line, "settings", "sources", "pg", "user", &user, "jobs", "a", "keep",
			     "daily", &count, "verify", "smoke", &key, "sql", &sql),
	    0);
	assert_string_equal(user, "a \"b\"");
	assert_string_equal(count, "3");
	assert_string_equal(sql, "SELECT 2");
	assert_null(json_object_get(json_object_get(json, "settings"), "state_dir"));
	assert_int_equal(json_unpack(json, "{s:[{s:[s], s:i}]}", "origins", "key", &key, "line",
			     &line),
	    0);
	assert_string_equal(key, "site");
	assert_int_equal(line, 1);
	json_decref(json);
	json = config_show_json(config, true);
	assert_non_null(json_object_get(json_object_get(json, "settings"), "state_dir"));
	json_decref(json);
	config_free(config);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_to_say),
		cmocka_unit_test(test_times_that_cannot_be),
		cmocka_unit_test(test_times_that_a_clock_change_skips),
		cmocka_unit_test(test_what_does_not_fit_the_interval),
		cmocka_unit_test(test_jobs_in_one_folder),
		cmocka_unit_test(test_what_comes_after_what),
		cmocka_unit_test(test_two_at_the_same_time),
		cmocka_unit_test(test_blackouts),
		cmocka_unit_test(test_wal_without_a_base),
		cmocka_unit_test(test_a_stream_that_nothing_bounds),
		cmocka_unit_test(test_two_receivers_of_one_source),
		cmocka_unit_test(test_what_is_shown_can_be_read_again),
		cmocka_unit_test(test_as_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
