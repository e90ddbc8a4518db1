#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "catalog/catalog_alarm.h"
#include "catalog/catalog_outbox.h"
#include "engine/alarm_desk.h"
#include "engine/watch.h"
#include "fixture.h"
#include "os/file.h"
#include "sched/calendar.h"

#define HOUR (3600 * US_PER_S)
#define DAY (24 * HOUR)
#define START (INT64_C(1790000000) * US_PER_S) /* 2026-09-21 14:13:20 UTC */
#define TICK (15 * US_PER_S)

static const struct watch_job jobs[] = {
	{ .job = "pg-daily", .source = "plant", .max_age_us = 2 * DAY, .verify_level = -1 },
};

static const struct watch_channel channels[] = {
	{ .name = "mail", .least = ALARM_WARNING, .wants_digest = true },
	{ .name = "phone", .least = ALARM_CRITICAL },
	{ .name = "am", .kind = WATCH_CHANNEL_STATE },
	{ .name = "dead-man", .kind = WATCH_CHANNEL_BEAT },
	{ .name = "hc-daily", .kind = WATCH_CHANNEL_BEAT, .beat_job = "pg-daily" },
};

struct site {
	struct fixture fixture;
	struct watch_settings settings;
	struct calendar *digest;
	struct watch *watch;
	struct wall_time now;
	int64_t last_id; /* of the messages that were read */
};

static int
setup(void **state)
{
	struct site *site = xcalloc(1, sizeof(*site));
	const char *const at[] = { "07:00" };
	struct err err = ERR_INIT;

	fixture_init(&site->fixture);
	site->now.us = START;
	site->digest = calendar_at(at, 1, &err);
	assert_non_null(site->digest);
	site->settings = (struct watch_settings){
		.jobs = jobs,
		.jobs_count = ARRAY_SIZE(jobs),
		.channels = channels,
		.channels_count = 1,
		.limits = { 80, 90, 75, 50, { false } },
		.policy = { .repeat_us = DAY },
		.beat_us = 60 * US_PER_S,
	};
	site->settings.limits.is_off[ALARM_STORAGE_ABOVE] = true; /* the test's own disk */
	site->watch = watch_new(&site->fixture.engine, &site->settings, NULL);
	*state = site;

	return 0;
}

static int
teardown(void **state)
{
	struct site *site = *state;

	watch_free(site->watch);
	calendar_free(site->digest);
	fixture_done(&site->fixture);
	free(site);

	return 0;
}

/* As after a restart: nothing is known but what the catalog has. */
static void
restart(struct site *site)
{
	watch_free(site->watch);
	site->watch = watch_new(&site->fixture.engine, &site->settings, NULL);
}

static struct watch_result
tick(struct site *site)
{
	struct watch_result result;
	struct err err = ERR_INIT;

	if (watch_tick(site->watch, NULL, site->now, &result, &err) < 0)
		fail_msg("%s", err.msg);

	return result;
}

static void
add_run(struct site *site, const char *id, enum run_state state, const char *message)
{
	struct run_row row = {
		.id = xstrdup(id),
		.job = xstrdup("pg-daily"),
		.source = xstrdup("plant"),
		.verb = xstrdup("backup"),
		.state = state,
		.started = site->now,
		.finished = { state == RUN_RUNNING ? 0 : site->now.us },
		.message = xstrdup(message),
	};
	struct err err = ERR_INIT;

	assert_int_equal(catalog_run_insert(site->fixture.engine.catalog, &row, &err), 0);
	run_row_done(&row);
}

static void
add_backup(struct site *site, const char *id, uint64_t content_bytes)
{
	struct backup_row row = {
		.id = xstrdup(id),
		.job = xstrdup("pg-daily"),
		.source = xstrdup("plant"),
		.manifest_name = xstrdup("none"),
		.started = site->now,
		.finished = site->now,
		.consistent_at = site->now,
		.content_bytes = content_bytes,
		.level = -1,
	};
	struct err err = ERR_INIT;

	assert_int_equal(catalog_backup_put(site->fixture.engine.catalog, &row, &err), 0);
	backup_row_done(&row);
}

/* The messages since the last call: "mail:raised:job_failed/pg-daily ". */
static char *
messages(struct site *site)
{
	SCOPED(outbox_rows_done) struct outbox_rows rows = { .rows = { .count = 0 } };
	struct str text = STR_INIT;
	struct err err = ERR_INIT;
	int64_t newest = site->last_id;

	assert_int_equal(catalog_outbox_list(site->fixture.engine.catalog, 0, &rows, &err), 0);
	for (size_t i = rows.rows.count; i > 0; i--) {
		const struct outbox_row *row = &rows.rows.items[i - 1];

		if (row->id <= site->last_id)
			continue;
		newest = row->id;
		str_addf(&text, "%s:%s%s%s%s%s ", row->channel, row->event,
		    row->rule != NULL ? ":" : "", row->rule != NULL ? row->rule : "",
		    row->subject != NULL ? "/" : "", row->subject != NULL ? row->subject : "");
	}
	site->last_id = newest;
	str_add(&text, "");

	return text.data != NULL ? str_take(&text) : xstrdup("");
}

static void
assert_messages(struct site *site, const char *expected)
{
	SCOPED(freep) char *text = messages(site);

	assert_string_equal(text, expected);
}

static unsigned
count_changes(struct site *site)
{
	SCOPED(alarm_change_rows_done) struct alarm_change_rows rows = { .rows = { .count = 0 } };
	struct err err = ERR_INIT;

	assert_int_equal(catalog_alarm_change_list(site->fixture.engine.catalog, NULL, NULL, 0,
			     &rows, &err),
	    0);

	return (unsigned)rows.rows.count;
}

/* ---- alarms -------------------------------------------------------------------------------- */

static void
test_a_failure_is_told_once_across_restarts(void **state)
{
	struct site *site = *state;

	add_backup(site, "b1", 1000);
	add_run(site, "r1", RUN_OK, NULL);
	assert_int_equal(tick(site).changes_count, 0);
	add_run(site, "r2", RUN_FAILED, "no space left");
	site->now.us += TICK;
	assert_int_equal(tick(site).changes_count, 1);
	assert_messages(site, "mail:raised:job_failed/pg-daily ");
	for (int i = 0; i < 20; i++) {
		site->now.us += TICK;
		if (i % 3 == 0)
			restart(site);
		assert_int_equal(tick(site).changes_count, 0);
	}
	add_run(site, "r3", RUN_RUNNING, NULL);
	site->now.us += TICK;
	(void)tick(site);
	assert_messages(site, ""); /* a running job hides nothing */
	add_run(site, "r4", RUN_OK, NULL);
	site->now.us += TICK;
	assert_int_equal(tick(site).changes_count, 1);
	assert_messages(site, "mail:cleared:job_failed/pg-daily ");
	assert_int_equal(count_changes(site), 2);
}

static void
test_what_is_skipped_or_cancelled_neither_raises_nor_clears(void **state)
{
	struct site *site = *state;

	add_backup(site, "b1", 1000);
	add_run(site, "r1", RUN_FAILED, "x");
	(void)tick(site);
	add_run(site, "r2", RUN_CANCELLED, NULL);
	add_run(site, "r3", RUN_SKIPPED, NULL);
	site->now.us += TICK;
	(void)tick(site);
	assert_messages(site, "mail:raised:job_failed/pg-daily ");
	add_run(site, "r4", RUN_LOST, NULL);
	site->now.us += TICK;
	(void)tick(site);
	assert_messages(site, "mail:worse:job_failed/pg-daily mail:raised:lost/pg-daily ");
}

static void
test_missed_until_one_is_begun(void **state)
{
	struct site *site = *state;

	add_backup(site, "b1", 1000);
	add_run(site, "r1", RUN_MISSED, NULL);
	(void)tick(site);
	assert_messages(site, "mail:raised:missed_run/pg-daily ");
	site->now.us += TICK;
	add_run(site, "r2", RUN_RUNNING, NULL);
	(void)tick(site);
	assert_messages(site, "mail:cleared:missed_run/pg-daily ");
}

static void
test_routes_by_severity(void **state)
{
	struct site *site = *state;

	site->settings.channels_count = 2;
	add_backup(site, "b1", 1000);
	add_run(site, "r1", RUN_FAILED, "x");
	(void)tick(site);
	assert_messages(site, "mail:raised:job_failed/pg-daily ");
	site->now.us += TICK;
	add_run(site, "r2", RUN_FAILED, "x");
	(void)tick(site);
	assert_messages(site, "mail:worse:job_failed/pg-daily phone:worse:job_failed/pg-daily ");
	site->now.us += TICK;
	add_run(site, "r3", RUN_OK, NULL);
	(void)tick(site);
	assert_messages(site,
	    "mail:cleared:job_failed/pg-daily phone:cleared:job_failed/pg-daily ");
}

static void
test_a_half_size_backup_is_suspicious(void **state)
{
	struct site *site = *state;
	static const uint64_t sizes[] = { 1000, 1010, 990, 1005, 400, 1000 };
	char id[16];

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		(void)snprintf(id, sizeof(id), "b%zu", i);
		add_backup(site, id, sizes[i]);
		(void)tick(site);
		site->now.us += HOUR;
	}
	assert_messages(site, "mail:raised:suspicious/pg-daily mail:cleared:suspicious/pg-daily ");
}

static void
test_two_before_are_too_few_to_suspect(void **state)
{
	struct site *site = *state;

	add_backup(site, "b1", 1000);
	site->now.us += HOUR;
	add_backup(site, "b2", 1000);
	site->now.us += HOUR;
	add_backup(site, "b3", 1);
	(void)tick(site);
	assert_messages(site, "");
}

static void
test_a_channel_that_fails_is_told_to_the_others(void **state)
{
	struct site *site = *state;
	static const struct watch_channel two[] = {
		{ .name = "mail", .least = ALARM_WARNING },
		{ .name = "hook", .least = ALARM_WARNING },
	};
	struct err err = ERR_INIT;

	site->settings.channels = two;
	site->settings.channels_count = 2;
	add_backup(site, "b1", 1000);
	for (int i = 0; i < ALARM_CHANNEL_FAILURES_MAX; i++) {
		(void)tick(site);
		assert_messages(site, "");
		assert_int_equal(catalog_channel_count(site->fixture.engine.catalog, "hook",
				     "no route to host", site->now, &err),
		    0);
		site->now.us += TICK;
	}
	(void)tick(site);
	assert_messages(site, "mail:raised:notify_failing/hook ");
	assert_int_equal(catalog_channel_count(site->fixture.engine.catalog, "hook", NULL,
			     site->now, &err),
	    0);
	(void)tick(site);
	assert_messages(site, "mail:cleared:notify_failing/hook ");
}

static void
test_a_store_that_is_gone_is_told(void **state)
{
	struct site *site = *state;

	site->settings.limits.is_off[ALARM_STORAGE_ABOVE] = false;
	watch_free(site->watch);
	site->watch = watch_new(&site->fixture.engine, &site->settings,
	    "'/backups' is not mounted");
	add_backup(site, "b1", 1000);
	(void)tick(site);
	assert_messages(site, "mail:raised:storage_above/store ");
}

/* ---- people -------------------------------------------------------------------------------- */

static void
test_people_and_the_record_of_it(void **state)
{
	struct site *site = *state;
	SCOPED(alarm_change_rows_done) struct alarm_change_rows rows = { .rows = { .count = 0 } };
	struct catalog *catalog = site->fixture.engine.catalog;
	struct alarm_order order = { .alarm = "job_failed/pg-daily",
		.who = "operator",
		.why = "disk ordered",
		.now = site->now };
	struct err err = ERR_INIT;

	assert_int_equal(alarm_desk_acknowledge(catalog, &order, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	add_backup(site, "b1", 1000);
	add_run(site, "r1", RUN_FAILED, "x");
	(void)tick(site);
	assert_int_equal(alarm_desk_acknowledge(catalog, &order, &err), 0);
	site->now.us += DAY + HOUR;
	(void)tick(site);
	assert_messages(site, "mail:raised:job_failed/pg-daily ");
	assert_int_equal(catalog_alarm_change_list(catalog, "job_failed", "pg-daily", 1, &rows,
			     &err),
	    0);
	assert_string_equal(rows.rows.items[0].event, "acknowledged");
	assert_string_equal(rows.rows.items[0].who, "operator");
	assert_string_equal(rows.rows.items[0].why, "disk ordered");
	order.now = site->now;
	assert_int_equal(alarm_desk_shelve(catalog, &order,
			     (struct wall_time){ site->now.us + DAY }, &err),
	    0);
	add_run(site, "r2", RUN_FAILED, "x"); /* worse, but shelved; and the acknowledgement ends */
	(void)tick(site);
	assert_messages(site, "");
	assert_int_equal(alarm_desk_unshelve(catalog, &order, &err), 0);
	site->now.us += TICK;
	(void)tick(site);
	assert_messages(site, "mail:repeated:job_failed/pg-daily ");
}

/* ---- by the clock -------------------------------------------------------------------------- */

static void
test_state_is_sent_while_something_stands_and_a_little_longer(void **state)
{
	struct site *site = *state;
	unsigned count = 0;

	site->settings.channels = &channels[2];
	site->settings.channels_count = 1;
	add_backup(site, "b1", 1000);
	(void)tick(site);
	assert_messages(site, "");
	add_run(site, "r1", RUN_FAILED, "x");
	for (int i = 0; i < 40; i++, site->now.us += TICK) { /* ten minutes */
		SCOPED(freep) char *text = NULL;

		(void)tick(site);
		text = messages(site);
		count += str_equals(text, "am:state ");
	}
	assert_int_equal(count, 10);
	add_run(site, "r2", RUN_OK, NULL);
	count = 0;
	for (int i = 0; i < 80; i++, site->now.us += TICK) {
		SCOPED(freep) char *text = NULL;

		(void)tick(site);
		text = messages(site);
		count += str_equals(text, "am:state ");
	}
	assert_int_equal(count, 5);
}

static void
test_heartbeats(void **state)
{
	struct site *site = *state;

	site->settings.channels = &channels[3];
	site->settings.channels_count = 2;
	add_backup(site, "b1", 1000);
	add_run(site, "r0", RUN_OK, NULL);
	(void)tick(site);
	assert_messages(site, "dead-man:beat "); /* what was before is no news */
	site->now.us += TICK;
	add_run(site, "r1", RUN_RUNNING, NULL);
	(void)tick(site);
	assert_messages(site, "hc-daily:start/pg-daily ");
	site->now.us += TICK;
	add_run(site, "r2", RUN_FAILED, "x");
	(void)tick(site);
	restart(site);
	(void)tick(site);
	assert_messages(site, "hc-daily:fail/pg-daily ");
	site->now.us += 2 * TICK;
	add_run(site, "r3", RUN_WARNING, NULL);
	(void)tick(site);
	assert_messages(site, "dead-man:beat hc-daily:success/pg-daily ");
}

static void
test_digest_once_a_day(void **state)
{
	struct site *site = *state;
	SCOPED(outbox_rows_done) struct outbox_rows rows = { .rows = { .count = 0 } };
	struct err err = ERR_INIT;
	unsigned count = 0;

	site->settings.digest = site->digest;
	add_backup(site, "b1", 1000);
	for (int i = 0; i < 3 * 24 * 4; i++, site->now.us += HOUR / 4) {
		SCOPED(freep) char *text = NULL;

		if (i % 7 == 0)
			restart(site);
		if (i % 96 == 90)
			add_backup(site, "b2", 1000);
		(void)tick(site);
		text = messages(site);
		if (text[0] == '\0')
			continue;
		assert_string_equal(text, "mail:digest ");
		assert_in_range((site->now.us / US_PER_S) % (24 * 3600), 7 * 3600,
		    7 * 3600 + 15 * 60);
		count++;
	}
	assert_int_equal(count, 3);
	assert_int_equal(catalog_outbox_list(site->fixture.engine.catalog, 1, &rows, &err), 0);
	assert_non_null(strstr(rows.rows.items[0].text, "No alarm stands."));
	assert_non_null(strstr(rows.rows.items[0].text, "pg-daily"));
}

/* ---- killed -------------------------------------------------------------------------------- */

/*
 * A child ticks and is killed at some moment, again and again, while the plant fails and
 * recovers.  For every change there is exactly one message, whatever was cut off.
 */
static void
test_killed_at_any_moment(void **state)
{
	struct site *site = *state;
	SCOPED(freep) char *text = NULL;
	SCOPED(freep) char *path = path_join(site->fixture.folder, "catalog.db");
	struct str expected = STR_INIT;
	struct err err = ERR_INIT;
	char id[16];

	add_backup(site, "b1", 1000);
	for (int i = 0; i < 60; i++) {
		pid_t child;

		(void)snprintf(id, sizeof(id), "r%d", i);
		add_run(site, id, i % 2 == 0 ? RUN_FAILED : RUN_OK, "x");
		catalog_close(TAKE(site->fixture.engine.catalog));
		child = fork();
		if (child == 0) {
			site->fixture.engine.catalog = catalog_open(path, &err);
			restart(site);
			for (int j = 0; j < 3; j++)
				(void)tick(site);
			_exit(0);
		}
		(void)usleep((unsigned)(i * 97 % 4000));
		(void)kill(child, SIGKILL);
		(void)waitpid(child, NULL, 0);
		site->fixture.engine.catalog = catalog_open(path, &err);
		assert_non_null(site->fixture.engine.catalog);
		restart(site);
		site->now.us += TICK;
		(void)tick(site);
		str_addf(&expected, "mail:%s:job_failed/pg-daily ",
		    i % 2 == 0 ? "raised" : "cleared");
	}
	text = messages(site);
	assert_string_equal(text, str_text(&expected));
	assert_int_equal(count_changes(site), 60);
	str_done(&expected);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_failure_is_told_once_across_restarts, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(
		    test_what_is_skipped_or_cancelled_neither_raises_nor_clears, setup, teardown),
		cmocka_unit_test_setup_teardown(test_missed_until_one_is_begun, setup, teardown),
		cmocka_unit_test_setup_teardown(test_routes_by_severity, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_half_size_backup_is_suspicious, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_two_before_are_too_few_to_suspect, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_a_channel_that_fails_is_told_to_the_others,
		    setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_store_that_is_gone_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(test_people_and_the_record_of_it, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    test_state_is_sent_while_something_stands_and_a_little_longer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_heartbeats, setup, teardown),
		cmocka_unit_test_setup_teardown(test_digest_once_a_day, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed_at_any_moment, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
