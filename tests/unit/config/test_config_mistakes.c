#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "config/config.h"

/* What the file is told to be wrong, a line each: "LINE:COLUMN text [hint]", warnings with '!'. */
static char *
list_problems(const char *data, size_t size)
{
	struct config_problems problems = { .errors_count = 0 };
	struct str list = STR_INIT;
	struct err err = ERR_INIT;
	struct config *config = config_parse(data, size, "x.yaml", &problems, &err);

	if (config == NULL) {
		assert_int_equal(err.kind, ERR_CONFIG);
		assert_true(problems.errors_count > 0);
	}
	config_problems_sort(&problems);
	for (size_t i = 0; i < problems.items.count; i++) {
		const struct config_problem *problem = &problems.items.items[i];

		str_addf(&list, "%s%u:%u %s%s%s%s\n", problem->is_warning ? "!" : "", problem->line,
		    problem->column, problem->text, problem->hint != NULL ? " [" : "",
		    problem->hint != NULL ? problem->hint : "", problem->hint != NULL ? "]" : "");
	}
	assert_true(problems.items.count <= CONFIG_PROBLEMS_MAX);
	config_problems_done(&problems);
	config_free(config);

	return str_take(&list);
}

static void
assert_problems(const char *text, const char *expected)
{
	char *found = list_problems(text, strlen(text));

	assert_string_equal(found, expected);
	free(found);
}

/* One of the problems, and perhaps others that follow from it. */
static void
assert_problem(const char *text, const char *expected)
{
	char *found = list_problems(text, strlen(text));

	if (strstr(found, expected) == NULL)
		fail_msg("for:\n%s\nnot '%s' but:\n%s", text, expected, found);
	free(found);
}

#define HEAD "site: north\ntimezone: UTC\nstore: {path: /b}\n"
#define PG HEAD "sources:\n  pg: {type: postgres, host: h, user: u}\njobs:\n  j: "

static void
test_all_at_once(void **state)
{
	(void)state;
	assert_problems("site: web scada\n"
			"timezone: Europe/Berln\n"
			"stat_dir: /x\n"
			"store: { path: backups, warn: 195% }\n"
			"sources:\n"
			"  pg: { type: postgres, host: [a], user: webscada, port: 99999 }\n"
			"jobs:\n"
			"  a: { source: pgg, do: dmp, at: \"02:00\", every: 6h, keep: 30 }\n"
			"  pg daily: {}\n",
	    "1:7 site: 'web scada' is not a name [Use letters, digits, '_', '.' and '-', at most 63, with a letter or digit first.]\n"
	    "2:11 timezone: unknown time zone 'Europe/Berln' [Use an IANA name like Europe/Berlin; the package tzdata brings them to /usr/share/zoneinfo.]\n"
	    "3:1 unknown key 'stat_dir' [Did you mean 'state_dir'?]\n"
	    "4:16 store: path: 'backups' must be a path from the root ('/...')\n"
	    "4:31 store: warn: '195%' is not a percentage from 0% to 100%\n"
	    "6:31 source 'pg': host must be one value, not a list\n"
	    "6:58 source 'pg': port: 99999 is not in the range 1 to 65535\n"
	    "8:16 job 'a': there is no source 'pgg' [Did you mean 'pg'?]\n"
	    "8:25 job 'a': do: 'dmp' is not known here [Did you mean 'dump'?]\n"
	    "8:43 job 'a': 'at' and 'every' cannot both be its schedule\n"
	    "8:60 job 'a': keep: '30' is not a duration [Write a duration like 30d, or unlimited, or counts like { daily: 30, weekly: 12 }.]\n"
	    "9:3 'pg daily' is not a name for a job [Use letters, digits, '_', '.' and '-', at most 63, with a letter or digit first.]\n");
}

static void
test_what_is_missing(void **state)
{
	(void)state;
	assert_problems("jobs: {}\n",
	    "1:1 'site' is missing\n"
	    "1:1 'timezone' is missing\n"
	    "1:1 'store' is missing\n"
	    "1:1 'sources' is missing\n");
	assert_problems(HEAD "sources:\n  pg: {}\njobs:\n  j: {verify: {smoke: [{expect: 1}]}}\n",
	    "5:3 source 'pg': 'type' is missing\n"
	    "5:3 source 'pg': 'host' is missing\n"
	    "7:3 job 'j': 'source' is missing\n"
	    "7:3 job 'j': 'do' is missing\n"
	    "7:24 job 'j': verify: 'sql' is missing\n");
	assert_problem(HEAD "sources: {pg: {type: postgres, host: h}}\n",
	    "4:11 source 'pg': 'user' is missing");
	assert_problem(HEAD "sources: {cache: {type: redis, host: h, databases: [a]}}\n",
	    "4:41 source 'cache': 'databases' is for sources of type postgres [Leave it away.]");
	assert_problem("site: x\nstore:\n", "2:1 store must be a mapping of keys, not nothing\n");
	assert_problem("site:\n", "1:1 site must be one value, not nothing\n");
	assert_problem("site: ''\n", "1:7 site: must not be empty\n");
}

static void
test_values(void **state)
{
	(void)state;
	assert_problem(PG "{source: pg, do: dump, continuous: true}\n",
	    "7:29 job 'j': a dump cannot be 'continuous' [Give it a time with at, every or cron.]");
	assert_problem(PG "{source: pg, do: base, format: custom}\n", "'format' is for dumps");
	assert_problem(PG "{source: pg, do: dump, slot: s}\n",
	    "job 'j': 'slot' is for wal jobs, not for a dump [Leave it away.]");
	assert_problem(PG "{source: pg, do: base, heartbeat: 60s}\n",
	    "'heartbeat' is for wal jobs");
	assert_problem(PG "{source: pg, do: wal, standby_name: s}\n",
	    "'standby_name' needs 'continuous: true'");
	assert_problem(PG "{source: pg, do: wal, folder: x}\n", "'folder' cannot be chosen");
	assert_problem(PG "{source: pg, do: wal, verify: {level: 1}}\n", "'verify' is for backups");
	assert_problem(PG "{source: pg, do: wal, on_change: true}\n",
	    "a wal cannot be 'on_change'");
	assert_problem(PG "{source: pg, do: wal, continuous: true, at: '04:00'}\n",
	    "'at' and 'continuous' cannot both be its schedule");
	assert_problem(PG "{source: pg, do: wal, continuous: true, heartbeat: 1ms}\n",
	    "'1ms' is too short");
	assert_problem(PG "{source: pg, do: dump, keep: 0d}\n", "'0d' is too short");
	assert_problem(PG "{source: pg, do: dump, keep: 900y}\n", "'900y' is too long");
	assert_problem(PG "{source: pg, do: dump, keep: {dayly: 3}}\n",
	    "unknown key 'dayly' [Did you mean 'daily'?]");
	assert_problem(PG "{source: pg, do: dump, keep: {daily: 0}}\n",
	    "0 is not in the range 1 to");
	assert_problem(PG "{source: pg, do: dump, keep: []}\n", "keep must be a duration");
	assert_problem(PG "{source: pg, do: dump, keep: {}}\n", "keep must be a duration");
	assert_problem(PG "{source: pg, do: dump, every: 5s}\n", "'5s' is too short");
	assert_problem(PG "{source: pg, do: dump, folder: ../x}\n", "folder: '../x' is not a name");
	assert_problem(PG "{source: pg, do: dump, folder: .hidden}\n", "is not a name");
	assert_problem(PG "{source: pg, do: dump, rate_limit: 1KiB}\n", "'1KiB' is too small");
	assert_problem(PG "{source: pg, do: dump, rate_limit: fast}\n", "'fast' is not a size");
	assert_problem(PG "{source: pg, do: dump, compression: 20}\n",
	    "20 is not in the range 0 to 19");
	assert_problem(PG "{source: pg, do: dump, parallel: many}\n",
	    "'many' is not a whole number");
	assert_problem(PG "{source: pg, do: dump, verify: {level: 5}}\n",
	    "verify: level: 5 is not in");
	assert_problem(PG "{source: pg, do: dump, verify: {smoke: [[a]]}}\n",
	    "smoke must be one value");
	assert_problem(PG "{source: pg, do: dump, verify: {smoke: [{sqll: a}]}}\n",
	    "unknown key 'sqll' [Did you mean 'sql'?]");
	assert_problem(PG "{source: pg, do: dump, at: []}\n", "at must have 1 to 1000 items");
	assert_problem(PG "{source: pg, do: dump, at: [{a: b}]}\n", "at must be one value");
	assert_problem(PG "[source, pg]\n", "job 'j': must be a mapping of keys, not a list");
	assert_problem(HEAD "sources: {pg: {type: postgrs, host: h, user: u}}\n",
	    "type: 'postgrs' is not known here [Did you mean 'postgres'?]");
	assert_problem(HEAD "sources: {pg: {type: mysql, host: h, user: u}}\n",
	    "'mysql' is not known here [Write one of: postgres, redis.]");
	assert_problem(HEAD "sources: {pg: {database: a, databases: b}}\n",
	    "are the same, write one");
	assert_problem(HEAD "sources: {pg: {bin_dir: [auto, bin]}}\n", "'bin' must be a path");
	assert_problem("store: {path: /b, warn: 90, critical: 80}\n",
	    "1:1 store: 'warn' (90%) must not be above 'critical' (80%)");
	assert_problem("store: {require_mount: maybe}\n", "'maybe' is neither true nor false");
	assert_problem("timezone: ../../etc/passwd\n", "unknown time zone");
}

static void
test_yaml_that_is_refused(void **state)
{
	(void)state;
	assert_problems("", "0:0 the file is empty\n");
	assert_problems("# nothing\n", "0:0 the file is empty\n");
	assert_problems("- a\n", "1:1 the file must be a mapping of keys, not a list\n");
	assert_problems("hello\n", "1:1 the file must be a mapping of keys, not a text\n");
	assert_problem("site: a\nsite: b\n", "2:1 key 'site' is already set in line 1\n");
	assert_problem("store: {path: /a, warn: 1, path: /b}\n",
	    "1:28 key 'path' is already set in line 1\n");
	assert_problem("site: a: b\n", "1:8 not YAML: mapping values are not allowed");
	assert_problem("site: [a\n", "not YAML: ");
	assert_problem("site: 'a\n", "not YAML: ");
	assert_problem("site: a\n---\nsite: b\n", "2:1 a second document begins here");
	assert_problem("site: &a b\n", "1:7 anchors ('&a') are not accepted");
	assert_problem("site: *a\n", "1:7 aliases ('*name') are not accepted");
	assert_problem("site: !!str b\n", "1:7 tags ('tag:yaml.org,2002:str') are not accepted");
	assert_problem("<<: {a: b}\n", "unknown key '<<'");
	assert_problem("? [a]\n: b\n", "a key must be a plain word");
	assert_problem("site: a\n\tstate_dir: b\n",
	    "2:1 a tab is used as indentation [Indent with");
	assert_problem("site: \xff\n", "1:7 byte 0xff is not UTF-8 [Save the file as UTF-8.]");
	assert_problem("a\xc3\xa4: \xc0\x80\n", "1:5 byte 0xc0 is not UTF-8");
	assert_problem("x: \xed\xa0\x80\n", "byte 0xed is not UTF-8");
	assert_problem("x: \xf5\x80\x80\x80\n", "byte 0xf5 is not UTF-8");
	assert_problem("x: \xe2\x82", "byte 0xe2 is not UTF-8");
	assert_problem("x: \x07\n", "1:4 control character U+0007");
	assert_problem("x: a\xe2\x80\xa8 b\n", "control character U+2028");
	assert_problem("site: \"a\\0b\"\n", "a text with a NUL character");
}

static void
test_nul_bytes(void **state)
{
	static const char text[] = "site: a\n\0b: c\n";
	char *found = list_problems(text, sizeof(text) - 1);

	(void)state;
	assert_string_equal(found, "2:1 control character U+0000\n");
	free(found);
}

static void
test_bombs(void **state)
{
	SCOPED(str_done) struct str deep = STR_INIT;
	SCOPED(str_done) struct str wide = STR_INIT;
	SCOPED(str_done) struct str same = STR_INIT;
	char *found;

	(void)state;
	str_add(&deep, "a: ");
	for (int i = 0; i < 20000; i++)
		str_add(&deep, "[");
	assert_problem(str_text(&deep), "1:19 the file is nested too deeply\n");
	str_add(&wide, "a: [");
	for (int i = 0; i < 200000; i++)
		str_add(&wide, "x,");
	str_add(&wide, "]\n");
	assert_problem(str_text(&wide), "the file has too many values\n");
	/* As many errors as one likes: a bounded list of them. */
	for (int i = 0; i < 30000; i++)
		str_add(&same, "same: x\n");
	found = list_problems(str_text(&same), same.size);
	assert_non_null(strstr(found, "key 'same' is already set in line"));
	free(found);
	/* Billion laughs: the first anchor is told, the first alias ends it. */
	assert_problem("a: &a [x,x]\nb: &b [*a,*a]\n", "1:4 anchors ('&a') are not accepted");
}

static void
test_the_list_of_problems_is_bounded_and_prefers_errors(void **state)
{
	struct config_problems problems = { .errors_count = 0 };
	const struct config_place place = { .line = 1, .column = 1 };

	(void)state;
	for (unsigned i = 0; i < 150; i++)
		config_problems_warning(&problems, place, NULL, "warning %u", i);
	for (unsigned i = 0; i < 30; i++)
		config_problems_error(&problems, place, "hint", "error %u", i);
	assert_int_equal(problems.items.count, CONFIG_PROBLEMS_MAX);
	assert_int_equal(problems.warnings_count, 150);
	assert_int_equal(problems.errors_count, 30);
	for (size_t i = 0; i < 30; i++)
		assert_false(problems.items.items[CONFIG_PROBLEMS_MAX - 1 - i].is_warning);
	config_problems_done(&problems);
	assert_int_equal(problems.errors_count, 0);
}

static void
test_how_a_problem_is_written(void **state)
{
	struct config_problem problem = { .line = 3, .column = 5, .text = NULL };
	char text[] = "unknown key 'x'";
	char *line;

	(void)state;
	problem.text = text;
	line = config_problem_format(&problem, "/etc/x.yaml");
	assert_string_equal(line, "/etc/x.yaml:3:5: error: unknown key 'x'");
	free(line);
	problem.line = 0;
	problem.is_warning = true;
	line = config_problem_format(&problem, "/etc/x.yaml");
	assert_string_equal(line, "/etc/x.yaml: warning: unknown key 'x'");
	free(line);
}

#define CHANNEL(text) HEAD "alerts: { channels: { x: { " text " } } }\n"

static void
test_channels(void **state)
{
	(void)state;
	assert_problem(CHANNEL("type: email, host: mx, to: a@b"), "channel 'x': 'from' is missing");
	assert_problem(CHANNEL("type: email, host: mx, from: a@b, to: [\"a@b\\r\\nBcc: c@d\"]"),
	    "is not an address");
	assert_problem(CHANNEL("type: email, host: mx, from: a@b, to: \"\xc3\xbc@b\""),
	    "is not an address");
	assert_problem(CHANNEL("type: email, host: mx, from: \"Plant <a@b>\", to: a@b"),
	    "from: 'Plant <a@b>' is not an address");
	assert_problem(
	    CHANNEL(
		"type: email, host: mx, from: a@b, to: a@b, user: u, password_file: p, security: none"),
	    "a password is never sent over a plain connection");
	assert_problem(CHANNEL("type: email, host: mx, from: a@b, to: a@b, user: u"),
	    "'user' and 'password_file' belong together");
	assert_problem(CHANNEL("type: webhook"), "channel 'x': 'url' is missing");
	assert_problem(CHANNEL("type: webhook, url: \"ftp://h\""),
	    "url must begin with https:// or http://");
	assert_problem(CHANNEL("type: webhook, url: \"https://me:secret@h/\""),
	    "url must not hold a password");
	assert_problem(CHANNEL("type: webhook, url: \"https://h\", url_file: f"),
	    "'url' and 'url_file' are the same");
	assert_problem(CHANNEL("type: ntfy, url: \"https://h/t\", host: mx"),
	    "'host' says nothing for a channel of type ntfy");
	assert_problem(CHANNEL("type: heartbeat, url: \"https://h/t\", severity: critical"),
	    "'severity' says nothing for a channel of type heartbeat");
	assert_problem(CHANNEL("type: pager, url: \"https://h/t\""), "'pager' is not known here");
	assert_problem(CHANNEL("type: ntfy, url: \"https://h/t\", tokenfile: x"),
	    "unknown key 'tokenfile' [Did you mean 'token_file'?]");
	assert_problem(HEAD "alerts: { repaet: 1d }\n", "Did you mean 'repeat'?");
	assert_problem(HEAD
	    "alerts: { channels: { x: { type: ntfy, url: \"https://h/@t\" } }, x: 1 }\n",
	    "alerts: unknown key 'x'");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_channels),
		cmocka_unit_test(test_all_at_once),
		cmocka_unit_test(test_what_is_missing),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_yaml_that_is_refused),
		cmocka_unit_test(test_nul_bytes),
		cmocka_unit_test(test_bombs),
		cmocka_unit_test(test_the_list_of_problems_is_bounded_and_prefers_errors),
		cmocka_unit_test(test_how_a_problem_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
