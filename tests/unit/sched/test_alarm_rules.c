#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/zone.h"
#include "sched/alarm_rules.h"

#define HOUR (3600 * US_PER_S)
#define DAY (24 * HOUR)
#define START (INT64_C(1790000000) * US_PER_S)

static struct zone *zone;
static struct alarm_conditions found;

static const struct alarm_limits usual = {
	.storage_warn_percent = 80,
	.storage_critical_percent = 90,
	.storage_clear_percent = 75,
	.suspicious_percent = 50,
};

static int
group_setup(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	zone = zone_open("UTC", &err);

	return zone != NULL ? 0 : -1;
}

static int
group_teardown(void **state)
{
	(void)state;
	zone_close(zone);
	alarm_conditions_done(&found);

	return 0;
}

static void
apply(const struct alarm_facts *facts, const struct alarm_limits *limits, int64_t now_us)
{
	alarm_conditions_done(&found);
	alarm_rules_apply(facts, limits, zone, (struct wall_time){ now_us }, &found);
}

static const struct alarm_condition *
of_rule(enum alarm_rule rule)
{
	for (size_t i = 0; i < found.items.count; i++) {
		if (found.items.items[i].rule == rule)
			return &found.items.items[i];
	}

	return NULL;
}

static void
apply_job(const struct job_facts *job, int64_t now_us)
{
	apply(&(struct alarm_facts){ .jobs = job, .jobs_count = 1 }, &usual, now_us);
}

static struct job_facts
a_job(void)
{
	return (struct job_facts){
		.job = "pg-daily",
		.known_since = { START },
		.max_age_us = 2 * DAY,
		.newest_id = "pg-daily-1",
		.last_good = { START },
		.verify_level = -1,
	};
}

static void
assert_well_but(int except)
{
	for (size_t i = 0; i < found.items.count; i++) {
		if ((int)found.items.items[i].rule != except &&
		    found.items.items[i].severity != ALARM_WELL)
			fail_msg("'%s': %s", alarm_rule_name(found.items.items[i].rule),
			    found.items.items[i].text);
	}
}

static void
test_failed(void **state)
{
	struct job_facts job = a_job();

	(void)state;
	apply_job(&job, START + DAY);
	assert_well_but(ALARM_RULES_COUNT);
	job.failures_in_a_row = 1;
	job.failed_run = "pg-daily-2";
	job.failure = "no space left";
	apply_job(&job, START + DAY);
	assert_int_equal(of_rule(ALARM_JOB_FAILED)->severity, ALARM_WARNING);
	assert_string_equal(of_rule(ALARM_JOB_FAILED)->cause, "no space left");
	assert_string_equal(of_rule(ALARM_JOB_FAILED)->next_command, "blackstart log pg-daily-2");
	assert_well_but(ALARM_JOB_FAILED);
	job.failures_in_a_row = 2;
	apply_job(&job, START + DAY);
	assert_int_equal(of_rule(ALARM_JOB_FAILED)->severity, ALARM_CRITICAL);
}

static void
test_lost_is_its_own_alarm_and_counts_as_failed(void **state)
{
	struct job_facts job = a_job();

	(void)state;
	job.failures_in_a_row = 1;
	job.is_last_lost = true;
	apply_job(&job, START + DAY);
	assert_int_equal(of_rule(ALARM_LOST)->severity, ALARM_WARNING);
	assert_well_but(ALARM_LOST);
	job.failures_in_a_row = 2;
	apply_job(&job, START + DAY);
	assert_int_equal(of_rule(ALARM_JOB_FAILED)->severity, ALARM_CRITICAL);
	assert_int_equal(of_rule(ALARM_LOST)->severity, ALARM_WARNING);
}

static void
test_too_old(void **state)
{
	struct job_facts job = a_job();

	(void)state;
	apply_job(&job, START + 2 * DAY);
	assert_well_but(ALARM_RULES_COUNT);
	apply_job(&job, START + 2 * DAY + 1);
	assert_int_equal(of_rule(ALARM_TOO_OLD)->severity, ALARM_CRITICAL);
	assert_int_equal(of_rule(ALARM_TOO_OLD)->since.us, START + 2 * DAY);
	job.last_good.us = 0; /* never: it counts from when we began to expect one */
	job.newest_id = NULL;
	apply_job(&job, START + 2 * DAY);
	assert_well_but(ALARM_RULES_COUNT);
	apply_job(&job, START + 2 * DAY + 1);
	assert_non_null(strstr(of_rule(ALARM_TOO_OLD)->text, "no good backup yet"));
	job.max_age_us = 0;
	apply_job(&job, START + 200 * DAY);
	assert_null(of_rule(ALARM_TOO_OLD));
}

static void
test_too_old_while_the_next_run_goes_on(void **state)
{
	struct job_facts job = a_job();

	(void)state;
	job.running_since.us = START + 2 * DAY;
	apply_job(&job, START + 2 * DAY + HOUR);
	assert_well_but(ALARM_RULES_COUNT);
	assert_int_equal(of_rule(ALARM_TOO_OLD)->held, ALARM_CRITICAL); /* what stands stays */
	apply_job(&job, START + 2 * DAY + 6 * HOUR);
	assert_well_but(ALARM_RULES_COUNT);
	apply_job(&job, START + 2 * DAY + 6 * HOUR + 1);
	assert_int_equal(of_rule(ALARM_TOO_OLD)->severity, ALARM_CRITICAL);
}

static void
test_missed_and_stalled(void **state)
{
	struct job_facts job = a_job();

	(void)state;
	job.missed_at.us = START + HOUR;
	apply_job(&job, START + DAY);
	assert_int_equal(of_rule(ALARM_MISSED_RUN)->severity, ALARM_WARNING);
	assert_well_but(ALARM_MISSED_RUN);
	job.missed_at.us = 0;
	job.stalled_at.us = START + HOUR;
	job.stalled_run = "pg-daily-3";
	apply_job(&job, START + DAY);
	assert_int_equal(of_rule(ALARM_STALLED)->severity, ALARM_WARNING);
	assert_well_but(ALARM_STALLED);
}

static void
test_suspicious(void **state)
{
	struct job_facts job = a_job();

	(void)state;
	job.newest_bytes = 500;
	job.median_bytes = 1000;
	apply_job(&job, START + HOUR);
	assert_well_but(ALARM_RULES_COUNT);
	job.newest_bytes = 499;
	apply_job(&job, START + HOUR);
	assert_int_equal(of_rule(ALARM_SUSPICIOUS)->severity, ALARM_WARNING);
	assert_string_equal(of_rule(ALARM_SUSPICIOUS)->next_command, "blackstart show pg-daily-1");
	job.newest_bytes = 2000;
	job.emptied = "a table is empty now: webscada: public.devices";
	apply_job(&job, START + HOUR);
	assert_string_equal(of_rule(ALARM_SUSPICIOUS)->text, job.emptied);
}

static void
test_verify(void **state)
{
	struct job_facts job = a_job();

	(void)state;
	job.verify_level = 3;
	job.verify_max_age_us = 8 * DAY;
	job.max_age_us = 0;
	job.unverified_since.us = START;
	apply_job(&job, START + 8 * DAY);
	assert_well_but(ALARM_RULES_COUNT);
	apply_job(&job, START + 8 * DAY + 1);
	assert_string_equal(of_rule(ALARM_VERIFY_OVERDUE)->next_command,
	    "blackstart verify pg-daily-1 --level 3");
	job.verified_at.us = START + DAY;
	apply_job(&job, START + 8 * DAY + 1);
	assert_well_but(ALARM_RULES_COUNT);
	apply_job(&job, START + 9 * DAY + 1);
	assert_int_equal(of_rule(ALARM_VERIFY_OVERDUE)->severity, ALARM_WARNING);
}

static void
test_storage(void **state)
{
	struct store_facts store = { .name = "store", .capacity_bytes = 1000 };
	const struct alarm_facts facts = { .store = &store };
	static const struct {
		uint64_t used;
		enum alarm_severity severity;
		enum alarm_severity held;
	} cases[] = {
		{ 740, ALARM_WELL, ALARM_WELL },
		{ 750, ALARM_WELL, ALARM_WARNING },
		{ 799, ALARM_WELL, ALARM_WARNING },
		{ 800, ALARM_WARNING, ALARM_WARNING },
		{ 849, ALARM_WARNING, ALARM_WARNING },
		{ 850, ALARM_WARNING, ALARM_CRITICAL },
		{ 900, ALARM_CRITICAL, ALARM_CRITICAL },
		{ 1000, ALARM_CRITICAL, ALARM_CRITICAL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		store.used_bytes = cases[i].used;
		apply(&facts, &usual, START);
		assert_int_equal(of_rule(ALARM_STORAGE_ABOVE)->severity, cases[i].severity);
		assert_int_equal(of_rule(ALARM_STORAGE_ABOVE)->held, cases[i].held);
	}
	store.full_at.us = START;
	apply(&facts, &usual, START);
	assert_non_null(strstr(of_rule(ALARM_STORAGE_ABOVE)->cause, "2026-09-21"));
	store.failure = "'/backups' is not mounted";
	store.used_bytes = 0;
	apply(&facts, &usual, START);
	assert_int_equal(of_rule(ALARM_STORAGE_ABOVE)->severity, ALARM_CRITICAL);
	assert_string_equal(of_rule(ALARM_STORAGE_ABOVE)->cause, store.failure);
}

static void
test_store_without_a_limit(void **state)
{
	const struct store_facts store = { .name = "store", .used_bytes = 1000 };

	(void)state;
	apply(&(struct alarm_facts){ .store = &store }, &usual, START);
	assert_int_equal(of_rule(ALARM_STORAGE_ABOVE)->severity, ALARM_WELL);
}

static void
test_streams(void **state)
{
	struct stream_facts stream = {
		.source = "postgresql",
		.job = "pg-wal",
		.max_age_us = HOUR,
		.newest = { START },
		.known_since = { START },
	};
	const struct alarm_facts facts = { .streams = &stream, .streams_count = 1 };

	(void)state;
	apply(&facts, &usual, START + HOUR);
	assert_well_but(ALARM_RULES_COUNT);
	assert_int_equal(of_rule(ALARM_WAL_STALLED)->held, ALARM_CRITICAL);
	apply(&facts, &usual, START + HOUR / 2);
	assert_int_equal(of_rule(ALARM_WAL_STALLED)->held, ALARM_WELL);
	apply(&facts, &usual, START + HOUR + 1);
	assert_int_equal(of_rule(ALARM_WAL_STALLED)->severity, ALARM_CRITICAL);
	assert_string_equal(of_rule(ALARM_WAL_STALLED)->next_command, "blackstart run pg-wal");
	stream.is_receiving = true;
	apply(&facts, &usual, START + HOUR + 1);
	assert_string_equal(of_rule(ALARM_WAL_STALLED)->next_command,
	    "blackstart check postgresql");
	stream.gaps_count = 1;
	stream.gap = "3 segments from 0000000100000000000000A3";
	apply(&facts, &usual, START);
	assert_int_equal(of_rule(ALARM_WAL_GAP)->severity, ALARM_CRITICAL);
	assert_string_equal(of_rule(ALARM_WAL_GAP)->cause, stream.gap);
	stream.is_unknown = true;
	apply(&facts, &usual, START);
	assert_true(of_rule(ALARM_WAL_GAP)->is_unknown);
	assert_true(of_rule(ALARM_WAL_STALLED)->is_unknown);
}

static void
test_drills_channels_and_the_daemon(void **state)
{
	const struct drill_facts drill = { .source = "postgresql",
		.max_age_us = 90 * DAY,
		.known_since = { START } };
	struct channel_facts channel = { .name = "mail", .failures_in_a_row = 3 };
	const struct daemon_facts daemon = { .config_path = "/etc/b.yaml",
		.config_failure = "line 3: unknown key",
		.clock_jump_us = -2 * HOUR };
	const struct alarm_facts facts = {
		.drills = &drill,
		.drills_count = 1,
		.channels = &channel,
		.channels_count = 1,
		.daemon = &daemon,
	};

	(void)state;
	apply(&facts, &usual, START + 90 * DAY + 1);
	assert_int_equal(of_rule(ALARM_DRILL_OVERDUE)->severity, ALARM_WARNING);
	assert_int_equal(of_rule(ALARM_NOTIFY_FAILING)->severity, ALARM_WELL);
	assert_string_equal(of_rule(ALARM_CLOCK_JUMP)->text, "the clock was set back by 2 h 0 min");
	assert_string_equal(of_rule(ALARM_CONFIG_RELOAD_FAILED)->next_command,
	    "blackstart config check -c /etc/b.yaml");
	channel.failures_in_a_row = ALARM_CHANNEL_FAILURES_MAX;
	apply(&facts, &usual, START);
	assert_int_equal(of_rule(ALARM_NOTIFY_FAILING)->severity, ALARM_WARNING);
}

static void
test_who_is_no_daemon_leaves_its_alarms(void **state)
{
	(void)state;
	apply(&(struct alarm_facts){ .jobs_count = 0 }, &usual, START);
	assert_true(of_rule(ALARM_CLOCK_JUMP)->is_unknown);
	assert_true(of_rule(ALARM_CONFIG_RELOAD_FAILED)->is_unknown);
}

static void
test_a_rule_that_is_off_says_nothing(void **state)
{
	struct alarm_limits limits = usual;
	struct job_facts job = a_job();

	(void)state;
	job.failures_in_a_row = 1;
	limits.is_off[ALARM_JOB_FAILED] = true;
	apply(&(struct alarm_facts){ .jobs = &job, .jobs_count = 1 }, &limits, START);
	assert_null(of_rule(ALARM_JOB_FAILED));
	assert_non_null(of_rule(ALARM_LOST));
}

/*
 * Four weeks of a daily job, judged every 15 minutes: it fails on two nights in a row in the first
 * week, after which the last good backup is older than 48 hours as well, and is switched off from
 * the 15th day on.  Each alarm comes once and goes once, with a reminder a day.
 */
static void
test_simulated_weeks(void **state)
{
	SCOPED(str_done) struct str story = STR_INIT;
	struct alarm_states states = { .items = { .count = 0 } };
	const struct alarm_policy policy = { .repeat_us = DAY };
	struct job_facts job = a_job();

	(void)state;
	for (int64_t at = 0; at < 28 * DAY; at += HOUR / 4) {
		struct alarm_changes changes;

		if (at % DAY == 2 * HOUR && at < 15 * DAY) {
			int64_t day = at / DAY;

			job.failures_in_a_row = day == 3 || day == 4 ? job.failures_in_a_row + 1
								     : 0;
			if (job.failures_in_a_row == 0)
				job.last_good.us = START + at;
		}
		apply_job(&job, START + at);
		alarm_judge(&found, &states, &policy, (struct wall_time){ START + at }, &changes);
		for (size_t i = 0; i < changes.items.count; i++) {
			struct alarm_change *change = &changes.items.items[i];
			struct alarm_state *known = alarm_state_find(&states, change->state.rule,
			    change->state.subject);

			if (change->is_told)
				str_addf(&story, "%d:%s:%s ", (int)(at / DAY),
				    alarm_rule_name(change->state.rule),
				    alarm_event_name(change->event));
			if (known == NULL)
				known = vec_add(&states.items);
			else
				alarm_state_done(known);
			*known = change->state;
			change->state = (struct alarm_state){ .subject = NULL };
		}
		alarm_changes_done(&changes);
	}
	alarm_states_done(&states);
	assert_string_equal(str_text(&story),
	    "3:job_failed:raised 4:job_failed:worse 4:too_old:raised 5:job_failed:cleared "
	    "5:too_old:cleared "
	    "16:too_old:raised 17:too_old:repeated 18:too_old:repeated 19:too_old:repeated "
	    "20:too_old:repeated 21:too_old:repeated 22:too_old:repeated 23:too_old:repeated "
	    "24:too_old:repeated 25:too_old:repeated 26:too_old:repeated 27:too_old:repeated ");
}

/* Its limits are the store's; what is on the store's own disk is not looked at twice. */
static void
test_state_folder(void **state)
{
	struct state_facts facts = { .folder = "/var/lib/x",
		.used_bytes = 91,
		.capacity_bytes = 100 };
	const struct alarm_facts all = { .state = &facts };
	const struct alarm_condition *condition;

	(void)state;
	apply(&all, &usual, START);
	condition = of_rule(ALARM_STORAGE_ABOVE);
	assert_non_null(condition);
	assert_string_equal(condition->subject, "state_dir");
	assert_int_equal(condition->severity, ALARM_CRITICAL);
	assert_string_equal(condition->next_command, "df -h /var/lib/x");
	assert_int_equal(of_rule(ALARM_CATALOG_DAMAGED)->severity, ALARM_WELL);
	facts.used_bytes = 10;
	facts.catalog_aside = "/var/lib/x/catalog.db.damaged-1";
	apply(&all, &usual, START);
	assert_int_equal(of_rule(ALARM_STORAGE_ABOVE)->severity, ALARM_WELL);
	condition = of_rule(ALARM_CATALOG_DAMAGED);
	assert_int_equal(condition->severity, ALARM_WARNING);
	assert_string_equal(condition->next_command, "rm /var/lib/x/catalog.db.damaged-1");
	facts.capacity_bytes = 0;
	apply(&all, &usual, START);
	assert_null(of_rule(ALARM_STORAGE_ABOVE));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_failed),
		cmocka_unit_test(test_lost_is_its_own_alarm_and_counts_as_failed),
		cmocka_unit_test(test_too_old),
		cmocka_unit_test(test_too_old_while_the_next_run_goes_on),
		cmocka_unit_test(test_missed_and_stalled),
		cmocka_unit_test(test_suspicious),
		cmocka_unit_test(test_verify),
		cmocka_unit_test(test_storage),
		cmocka_unit_test(test_state_folder),
		cmocka_unit_test(test_store_without_a_limit),
		cmocka_unit_test(test_streams),
		cmocka_unit_test(test_drills_channels_and_the_daemon),
		cmocka_unit_test(test_who_is_no_daemon_leaves_its_alarms),
		cmocka_unit_test(test_a_rule_that_is_off_says_nothing),
		cmocka_unit_test(test_simulated_weeks),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
