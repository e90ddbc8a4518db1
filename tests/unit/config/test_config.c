#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "base/zone.h"
#include "config/config.h"

#define HOUR_US (3600 * US_PER_S)
#define DAY_US (24 * HOUR_US)

/* A config that must be without errors. */
static struct config *
parse(const char *text, struct config_problems *problems)
{
	struct err err = ERR_INIT;
	struct config *config = config_parse(text, strlen(text), "/etc/x.yaml", problems, &err);

	if (config == NULL)
		fail_msg("%s", err.msg);
	for (size_t i = 0; i < problems->items.count; i++) {
		if (!problems->items.items[i].is_warning)
			fail_msg("line %u: %s", problems->items.items[i].line,
			    problems->items.items[i].text);
	}

	return config;
}

#define HEAD                                                                                       \
	"site: north\n"                                                                            \
	"timezone: Europe/Berlin\n"                                                                \
	"store: { path: /backups }\n"                                                              \
	"sources:\n"                                                                               \
	"  pg: { type: postgres, host: db1, user: backup }\n"

static void
test_defaults(void **state)
{
	struct config_problems problems = { .errors_count = 0 };
	struct config *config = parse(HEAD "jobs:\n  j: { source: pg, do: dump }\n", &problems);
	const struct config_source *source = config_find_source(config, "pg");
	const struct config_job *job = config_find_job(config, "j");

	(void)state;
	assert_int_equal(problems.warnings_count, 0);
	assert_string_equal(config->path, "/etc/x.yaml");
	assert_string_equal(config->site, "north");
	assert_string_equal(zone_name(config->zone), "Europe/Berlin");
	assert_string_equal(config->state_dir, "/var/lib/blackstart");
	assert_string_equal(config->store.path, "/backups");
	assert_int_equal(config->store.warn_percent, 80);
	assert_int_equal(config->store.critical_percent, 90);
	assert_false(config->store.require_mount);
	assert_null(config->store.group);

	assert_non_null(source);
	assert_true(source->is_supported);
	assert_false(source->is_broken);
	assert_string_equal(source->type, "postgres");
	assert_int_equal(source->port, 5432);
	assert_string_equal(source->sslmode, "prefer");
	assert_int_equal(source->databases.count, 0);
	assert_non_null(source->databases.items);
	assert_null(source->databases.items[0]);
	assert_int_equal(source->bin_dirs.count, 0);
	assert_null(source->password_file);

	assert_non_null(job);
	assert_true(job->is_supported);
	assert_int_equal(job->schedule, CONFIG_MANUAL);
	assert_string_equal(job->kind, "dump");
	assert_true(job->keep.is_unlimited);
	assert_string_equal(job->format, "custom");
	assert_int_equal(job->parallel, 0);
	assert_int_equal(job->rate_limit_bytes_per_s, 0);
	assert_int_equal(job->compression, 1);
	assert_int_equal(job->start_deadline_us, 0);
	assert_int_equal(job->max_age_us, 0);
	assert_int_equal(job->verify.level, -1);
	assert_int_equal(job->verify.every_us, 0);
	assert_int_equal(job->verify.smoke.count, 0);
	config_free(config);
	config_problems_done(&problems);
}

static void
test_every_key(void **state)
{
	static const char
	    text[] = "site: 'webscada-north'\n"
		     "timezone: UTC\n"
		     "state_dir: /srv/state\n"
		     "store:\n"
		     "  path: /mnt/backups\n"
		     "  warn: 70\n"
		     "  critical: 85%\n"
		     "  require_mount: yes\n"
		     "  group: backup\n"
		     "sources:\n"
		     "  pg.1:\n"
		     "    type: postgres\n"
		     "    host: /run/postgresql\n"
		     "    port: 05433\n"
		     "    user: \"b\\u00e4ckup\"\n"
		     "    databases: [webscada, 'my db']\n"
		     "    maintenance_database: template1\n"
		     "    password_file: pg\n"
		     "    sslmode: verify-full\n"
		     "    sslrootcert: /ca.pem\n"
		     "    bin_dir: [/usr/lib/postgresql/15/bin, /opt/pg/bin]\n"
		     "    scratch_user: pgtest\n"
		     "jobs:\n"
		     "  a:\n"
		     "    source: pg.1\n"
		     "    do: dump\n"
		     "    at: [02:00, Sun 14:00]\n"
		     "    keep: { last: 7, daily: 30, weekly: 12, monthly: 11, yearly: 5 }\n"
		     "    folder: hourly\n"
		     "    format: directory\n"
		     "    parallel: 4\n"
		     "    rate_limit: 50MiB\n"
		     "    compression: 19\n"
		     "    start_deadline: 1h30min\n"
		     "    max_age: 2d\n"
		     "    verify:\n"
		     "      level: 4\n"
		     "      every: 7d\n"
		     "      smoke:\n"
		     "        - SELECT count(*) FROM devices\n"
		     "        - { database: webscada, sql: 'SELECT 1', expect: 1 }\n"
		     "  b: { source: pg.1, do: base, every: 6h, keep: 7d }\n"
		     "  c: { source: pg.1, do: base, cron: '0 2 * * *', folder: c }\n";
	struct config_problems problems = { .errors_count = 0 };
	struct config *config = parse(text, &problems);
	const struct config_source *source;
	const struct config_job *job;

	(void)state;
	assert_int_equal(config->store.warn_percent, 70);
	assert_int_equal(config->store.critical_percent, 85);
	assert_true(config->store.require_mount);
	assert_string_equal(config->store.group, "backup");
	assert_string_equal(config->state_dir, "/srv/state");

	source = config_find_source(config, "pg.1");
	assert_int_equal(source->port, 5433);
	assert_string_equal(source->user,
	    "b\xc3\xa4"
	    "ckup");
	assert_int_equal(source->databases.count, 2);
	assert_string_equal(source->databases.items[1], "my db");
	assert_null(source->databases.items[2]);
	assert_string_equal(source->maintenance_database, "template1");
	assert_string_equal(source->password_file, "pg");
	assert_string_equal(source->sslmode, "verify-full");
	assert_string_equal(source->sslrootcert, "/ca.pem");
	assert_int_equal(source->bin_dirs.count, 2);
	assert_string_equal(source->bin_dirs.items[1], "/opt/pg/bin");
	assert_string_equal(source->scratch_user, "pgtest");

	job = config_find_job(config, "a");
	assert_int_equal(job->schedule, CONFIG_AT);
	assert_string_equal(job->at.items[0], "02:00");
	assert_string_equal(job->at.items[1], "Sun 14:00");
	assert_false(job->keep.is_unlimited);
	assert_int_equal(job->keep.keep_us, 0);
	assert_int_equal(job->keep.last, 7);
	assert_int_equal(job->keep.daily, 30);
	assert_int_equal(job->keep.weekly, 12);
	assert_int_equal(job->keep.monthly, 11);
	assert_int_equal(job->keep.yearly, 5);
	assert_string_equal(job->folder, "hourly");
	assert_string_equal(job->format, "directory");
	assert_int_equal(job->parallel, 4);
	assert_int_equal(job->rate_limit_bytes_per_s, 50 * 1024 * 1024);
	assert_int_equal(job->compression, 19);
	assert_int_equal(job->start_deadline_us, HOUR_US + HOUR_US / 2);
	assert_int_equal(job->max_age_us, 2 * DAY_US);
	assert_int_equal(job->verify.level, 4);
	assert_int_equal(job->verify.every_us, 7 * DAY_US);
	assert_int_equal(job->verify.smoke.count, 2);
	assert_string_equal(job->verify.smoke.items[0].sql, "SELECT count(*) FROM devices");
	assert_null(job->verify.smoke.items[0].database);
	assert_string_equal(job->verify.smoke.items[1].database, "webscada");
	assert_string_equal(job->verify.smoke.items[1].expect, "1");

	assert_int_equal(config_find_job(config, "b")->schedule, CONFIG_EVERY);
	assert_int_equal(config_find_job(config, "b")->every_us, 6 * HOUR_US);
	assert_int_equal(config_find_job(config, "b")->keep.keep_us, 7 * DAY_US);
	assert_int_equal(config_find_job(config, "c")->schedule, CONFIG_CRON);
	assert_string_equal(config_find_job(config, "c")->cron, "0 2 * * *");
	assert_null(config_find_job(config, "d"));
	config_free(config);
	config_problems_done(&problems);
}

/* One value where a list may stand, under either name. */
static void
test_single_values_for_lists(void **state)
{
	static const char *const texts[] = { "databases: webscada", "database: webscada",
		"databases: [webscada]", "database: [webscada]" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct config_problems problems = { .errors_count = 0 };
		char text[512];
		struct config *config;

		(void)snprintf(text, sizeof(text),
		    "site: n\ntimezone: UTC\nstore: {path: /b}\nsources:\n  pg: {type: postgres, host: h, user: u, bin_dir: auto, %s}\n",
		    texts[i]);
		config = parse(text, &problems);
		assert_int_equal(config->sources.items[0].databases.count, 1);
		assert_string_equal(config->sources.items[0].databases.items[0], "webscada");
		assert_int_equal(config->sources.items[0].bin_dirs.count, 0);
		config_free(config);
	}
}

/* What YAML elsewhere makes a number, a boolean, a time or nothing is a text here. */
static void
test_values_stay_texts(void **state)
{
	struct config_problems problems = { .errors_count = 0 };
	struct config *
	    config = parse("site: 0x10\ntimezone: UTC\nstore: {path: /b}\n"
			   "sources:\n  pg: {type: postgres, host: 1e3, user: null, database: no}\n"
			   "jobs:\n  1.0: {source: pg, do: dump, at: 02:00, keep: 1y}\n",
		&problems);

	(void)state;
	assert_string_equal(config->site, "0x10");
	assert_string_equal(config->sources.items[0].host, "1e3");
	assert_string_equal(config->sources.items[0].user, "null");
	assert_string_equal(config->sources.items[0].databases.items[0], "no");
	assert_string_equal(config->jobs.items[0].name, "1.0");
	assert_string_equal(config->jobs.items[0].at.items[0], "02:00");
	config_free(config);
	config_problems_done(&problems);
}

/* The example of the documentation, with what belongs to later versions. */
static void
test_what_later_versions_will_do_is_a_warning(void **state)
{
	struct config_problems problems = { .errors_count = 0 };
	struct config *config = parse(
	    "site: webscada-north\n"
	    "timezone: Europe/Berlin            # required: no silent UTC\n"
	    "state_dir: /var/lib/blackstart     # catalog, spool, locks\n"
	    "store: { path: /backups, warn: 80%, critical: 90% }\n"
	    "sources:\n"
	    "  postgresql: { type: postgres, host: postgresql, port: 5432, user: webscada, databases: [webscada],\n"
	    "                password_file: /run/secrets/postgresql, sslmode: prefer, bin_dir: auto }\n"
	    "  redis:      { type: redis, host: redis, port: 6379, password_file: /run/secrets/redis }\n"
	    "  influxdb:   { type: influx, host: influx, org: plant }\n"
	    "jobs:\n"
	    "  pg-daily: { source: postgresql, do: dump, at: \"02:00\",          keep: 30d }\n"
	    "  pg-base:  { source: postgresql, do: base, at: \"01:00\",          keep: 7d }\n"
	    "  pg-wal:   { source: postgresql, do: wal,  continuous: true,     keep: 7d }\n"
	    "  redis-6h: { source: redis,      do: rdb,  cron: \"0 */6 * * *\",  keep: 7d }\n"
	    "  influx-w: { source: influxdb,   do: snapshot, every: 7d, buckets: all }\n"
	    "alerts: { digest: \"07:00\" }\n"
	    "web: { listen: 127.0.0.1:8480 }\n",
	    &problems);
	const struct config_job *wal = config_find_job(config, "pg-wal");
	const struct config_job *rdb = config_find_job(config, "redis-6h");

	(void)state;
	assert_int_equal(problems.warnings_count, 3);
	assert_false(config_find_source(config, "influxdb")->is_supported);
	assert_string_equal(config_find_source(config, "influxdb")->type, "influx");
	assert_true(config_find_source(config, "redis")->is_supported);
	assert_null(config_find_source(config, "redis")->user);
	assert_true(config_find_job(config, "pg-daily")->is_supported);
	assert_true(wal->is_supported);
	assert_int_equal(wal->schedule, CONFIG_CONTINUOUS);
	assert_int_equal(wal->keep.keep_us, 7 * DAY_US);
	assert_false(config_find_job(config, "influx-w")->is_supported);
	assert_true(rdb->is_supported);
	assert_string_equal(rdb->kind, "rdb");
	assert_int_equal(rdb->schedule, CONFIG_CRON);
	assert_string_equal(config->web.listen, "127.0.0.1:8480");
	assert_null(config->web.token_file);
	assert_false(config->web.is_insecure);
	config_free(config);
	config_problems_done(&problems);
}

static void
test_alerts(void **state)
{
	struct config_problems problems = { .errors_count = 0 };
	struct config *config = parse(HEAD
	    "alerts:\n"
	    "  repeat: never\n"
	    "  digest: \"07:00\"\n"
	    "  rules: { wal_max_age: 5min, drill_max_age: 90d, disable: [lost, missed_run] }\n"
	    "  channels:\n"
	    "    mail: { type: email, host: mx, from: b@plant, to: [a@plant, c@plant],\n"
	    "            user: b, password_file: smtp }\n"
	    "    phone: { type: ntfy, url: https://ntfy.plant/x, severity: critical }\n"
	    "    hc: { type: heartbeat, url_file: hc, job: pg-daily }\n",
	    &problems);
	const struct config_alerts *alerts = &config->alerts;

	(void)state;
	assert_int_equal(problems.items.count, 0);
	assert_int_equal(alerts->repeat_us, 0);
	assert_int_equal(alerts->rules.wal_max_age_us, 300 * US_PER_S);
	assert_int_equal(alerts->rules.drill_max_age_us, 90 * DAY_US);
	assert_int_equal(alerts->rules.storage_clear_percent, 75);
	assert_int_equal(alerts->rules.disable.count, 2);
	assert_int_equal(alerts->channels.count, 3);
	assert_int_equal(alerts->channels.items[0].port, 587);
	assert_string_equal(alerts->channels.items[0].to.items[1], "c@plant");
	assert_string_equal(alerts->channels.items[1].severity, "critical");
	assert_string_equal(alerts->channels.items[2].job, "pg-daily");
	config_free(config);
	config_problems_done(&problems);
}

/* ---- where values come from --------------------------------------------------------------- */

static const struct config_entry *
find_entry(const struct config *config, unsigned depth, const char *key)
{
	for (size_t i = 0; i < config->entries.count; i++) {
		if (config->entries.items[i].depth == depth &&
		    str_equals(config->entries.items[i].key, key))
			return &config->entries.items[i];
	}
	fail_msg("no entry '%s'", key);

	return NULL;
}

static void
test_origins(void **state)
{
	struct config_problems problems = { .errors_count = 0 };
	struct config *config = parse(HEAD "jobs:\n"
					   "  j:\n"
					   "    source: pg\n"
					   "    do: dump\n"
					   "    keep: { daily: 3 }\n"
					   "  k: { source: pg, do: base, keep: 3d }\n",
	    &problems);
	const struct config_job *j = config_find_job(config, "j");
	const struct config_job *k = config_find_job(config, "k");

	(void)state;
	assert_int_equal(find_entry(config, 0, "site")->place.line, 1);
	assert_string_equal(find_entry(config, 0, "site")->value, "north");
	assert_int_equal(find_entry(config, 0, "state_dir")->place.line, 0);
	assert_string_equal(find_entry(config, 0, "state_dir")->value, "/var/lib/blackstart");
	assert_int_equal(find_entry(config, 1, "warn")->place.line, 0);
	assert_int_equal(find_entry(config, 2, "do")->place.line, 9);
	assert_int_equal(find_entry(config, 2, "keep")->kind, CONFIG_ENTRY_SECTION);
	assert_int_equal(find_entry(config, 3, "daily")->place.line, 10);
	assert_int_equal(j->place.line, 7);
	assert_int_equal(config_job_place(config, j, "keep").line, 10);
	assert_int_equal(config_job_place(config, j, "keep").column, 5);
	assert_int_equal(config_job_place(config, j, "max_age").line, 7);
	assert_int_equal(config_job_place(config, k, "keep").line, 11);
	assert_int_equal(config_job_place(config, k, "keep").column, 30);
	config_free(config);
	config_problems_done(&problems);
}

static void
assert_secret(const struct config *config, const char *name, const char *expected)
{
	char *path = config_secret_path(config, name);

	assert_string_equal(path, expected);
	free(path);
}

static void
test_where_secrets_are(void **state)
{
	struct config_problems problems = { .errors_count = 0 };
	struct config *config = parse(HEAD, &problems);
	char folder[] = "/tmp/test_config.XXXXXX";
	char path[64];
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/pg", folder);
	file = fopen(path, "we");
	assert_non_null(file);
	(void)fclose(file);

	unsetenv("CREDENTIALS_DIRECTORY");
	assert_secret(config, "/run/secrets/pg", "/run/secrets/pg");
	assert_secret(config, "pg", "/etc/pg");
	setenv("CREDENTIALS_DIRECTORY", folder, 1);
	assert_secret(config, "/run/secrets/pg", "/run/secrets/pg");
	assert_secret(config, "pg", path);
	assert_secret(config, "other", "/etc/other");
	unsetenv("CREDENTIALS_DIRECTORY");
	(void)unlink(path);
	(void)rmdir(folder);
	config_free(config);
	config_problems_done(&problems);
}

static void
test_the_example_has_no_problem(void **state)
{
	struct config_problems problems = { .errors_count = 0 };
	struct config *config = parse(config_example_text(), &problems);

	(void)state;
	assert_int_equal(problems.warnings_count, 0);
	assert_int_equal(config->jobs.count, 3);
	assert_non_null(strstr(config_schema_text(), "\"$schema\""));
	config_free(config);
	config_problems_done(&problems);
}

/*
 * Taking the comment off any key of the example leaves a good file; but for a second schedule, and
 * for "last:", which is a line of prose.
 */
static void
test_each_commented_key_of_the_example_is_good(void **state)
{
	const char *example = config_example_text();
	size_t tried = 0;

	(void)state;
	for (const char *line = example; *line != '\0'; line = strchr(line, '\n') + 1) {
		size_t indent = strspn(line, " ");
		size_t key_size = strspn(line + indent + 2, "abcdefghijklmnopqrstuvwxyz_");
		SCOPED(str_done) struct str text = STR_INIT;
		struct config_problems problems = { .errors_count = 0 };

		if (strncmp(line + indent, "# ", 2) != 0 || key_size == 0 ||
		    strncmp(line + indent + 2 + key_size, ": ", 2) != 0 ||
		    str_starts_with(line + indent, "# every: ") ||
		    str_starts_with(line + indent, "# cron: ") ||
		    str_starts_with(line + indent, "# last: "))
			continue;
		str_add_bytes(&text, example, (size_t)(line - example) + indent);
		str_add(&text, line + indent + 2);
		config_free(parse(str_text(&text), &problems));
		config_problems_done(&problems);
		tried++;
	}
	assert_true(tried > 15);
}

static void
test_reading_a_file(void **state)
{
	char path[] = "/tmp/test_config.XXXXXX";
	int fd = mkstemp(path);
	struct config_problems problems = { .errors_count = 0 };
	struct err err = ERR_INIT;
	struct config *config;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, HEAD, strlen(HEAD)), strlen(HEAD));
	(void)close(fd);
	config = config_read(path, &problems, &err);
	assert_non_null(config);
	assert_string_equal(config->path, path);
	config_free(config);

	assert_int_equal(truncate(path, 1024 * 1024 + 1), 0);
	assert_null(config_read(path, &problems, &err));
	assert_int_equal(err.kind, ERR_CONFIG);
	(void)unlink(path);
	assert_null(config_read(path, &problems, &err));
	assert_int_equal(err.kind, ERR_CONFIG);
	assert_non_null(strstr(err.hint, "config init"));
	assert_null(config_read("/tmp", &problems, &err));
	assert_int_equal(err.kind, ERR_IO);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_every_key),
		cmocka_unit_test(test_single_values_for_lists),
		cmocka_unit_test(test_values_stay_texts),
		cmocka_unit_test(test_what_later_versions_will_do_is_a_warning),
		cmocka_unit_test(test_alerts),
		cmocka_unit_test(test_origins),
		cmocka_unit_test(test_where_secrets_are),
		cmocka_unit_test(test_the_example_has_no_problem),
		cmocka_unit_test(test_each_commented_key_of_the_example_is_good),
		cmocka_unit_test(test_reading_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
