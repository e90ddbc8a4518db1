#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "sched/alarm.h"
#include "sched/alarm_forecast.h"

#define HOUR (3600 * US_PER_S)
#define DAY (24 * HOUR)
#define START (INT64_C(1790000000) * US_PER_S)

/* One subject through time: what its rule says, and what was told of it. */
struct plant {
	struct alarm_states states;
	struct alarm_policy policy;
	struct wall_time now;
	struct str told; /* an event and a space for each message */
	unsigned changes_count;
};

static int
setup(void **state)
{
	struct plant *plant = xcalloc(1, sizeof(*plant));

	plant->policy.repeat_us = DAY;
	plant->now.us = START;
	*state = plant;

	return 0;
}

static int
teardown(void **state)
{
	struct plant *plant = *state;

	alarm_states_done(&plant->states);
	str_done(&plant->told);
	free(plant);

	return 0;
}

/* Put the states as the catalog would, so that each tick begins like a new process. */
static void
keep(struct plant *plant, struct alarm_changes *changes)
{
	for (size_t i = 0; i < changes->items.count; i++) {
		struct alarm_change *change = &changes->items.items[i];
		struct alarm_state *known = alarm_state_find(&plant->states, change->state.rule,
		    change->state.subject);

		plant->changes_count += change->event != ALARM_REWORDED;
		if (change->is_told)
			str_addf(&plant->told, "%s ", alarm_event_name(change->event));
		if (known == NULL)
			known = vec_add(&plant->states.items);
		else
			alarm_state_done(known);
		*known = change->state;
		change->state = (struct alarm_state){ .subject = NULL };
	}
	alarm_changes_done(changes);
}

static void
tick_with(struct plant *plant, const struct alarm_condition *like)
{
	struct alarm_conditions conditions = { .items = { .count = 0 } };
	struct alarm_changes changes;

	if (like != NULL) {
		struct alarm_condition *condition = vec_add(&conditions.items);

		*condition = *like;
		condition->subject = xstrdup(like->subject != NULL ? like->subject : "pg-daily");
		condition->text = xstrdup(like->text);
		condition->cause = xstrdup(like->cause);
		condition->next_command = xstrdup(like->next_command);
	}
	alarm_judge(&conditions, &plant->states, &plant->policy, plant->now, &changes);
	alarm_conditions_done(&conditions);
	keep(plant, &changes);
}

static void
tick(struct plant *plant, enum alarm_severity severity)
{
	const struct alarm_condition condition = {
		.rule = ALARM_JOB_FAILED,
		.severity = severity,
		.text = severity == ALARM_WELL ? NULL : (char *)(uintptr_t) "the last run failed",
	};

	tick_with(plant, &condition);
}

static void
assert_told(struct plant *plant, const char *expected)
{
	assert_string_equal(str_text(&plant->told), expected);
	str_cut(&plant->told, 0);
}

static struct alarm_state *
only(struct plant *plant)
{
	assert_int_equal(plant->states.items.count, 1);

	return &plant->states.items.items[0];
}

/* ---- what is told ---- */

static void
test_raise_and_clear_are_told_once(void **state)
{
	struct plant *plant = *state;

	for (int i = 0; i < 10; i++, plant->now.us += 15 * US_PER_S)
		tick(plant, ALARM_WELL);
	assert_told(plant, "");
	for (int i = 0; i < 10; i++, plant->now.us += 15 * US_PER_S)
		tick(plant, ALARM_WARNING);
	assert_told(plant, "raised ");
	assert_int_equal(only(plant)->raised_at.us, START + 150 * US_PER_S);
	for (int i = 0; i < 10; i++, plant->now.us += 15 * US_PER_S)
		tick(plant, ALARM_WELL);
	assert_told(plant, "cleared ");
	assert_int_equal(only(plant)->cleared_at.us, START + 300 * US_PER_S);
	assert_string_equal(only(plant)->text, "the last run failed");
	assert_int_equal(plant->changes_count, 2);
}

static void
test_worse_is_told_easing_is_not(void **state)
{
	struct plant *plant = *state;

	tick(plant, ALARM_WARNING);
	tick(plant, ALARM_CRITICAL);
	assert_told(plant, "raised worse ");
	tick(plant, ALARM_WARNING);
	assert_told(plant, "");
	assert_int_equal(only(plant)->severity, ALARM_WARNING);
	assert_int_equal(only(plant)->peak, ALARM_CRITICAL);
	tick(plant, ALARM_WELL);
	assert_told(plant, "cleared ");
}

static void
test_a_week_of_reminders(void **state)
{
	struct plant *plant = *state;

	for (int64_t at = 0; at < 7 * DAY; at += 15 * US_PER_S) {
		plant->now.us = START + at;
		tick(plant, ALARM_CRITICAL);
	}
	assert_told(plant, "raised repeated repeated repeated repeated repeated repeated ");
	plant->policy.repeat_us = 0;
	plant->now.us += 30 * DAY;
	tick(plant, ALARM_CRITICAL);
	assert_told(plant, "");
}

static void
test_acknowledged_is_quiet_until_worse(void **state)
{
	struct plant *plant = *state;

	tick(plant, ALARM_WARNING);
	assert_told(plant, "raised ");
	only(plant)->is_acknowledged = true;
	plant->now.us += 10 * DAY;
	tick(plant, ALARM_WARNING);
	assert_told(plant, "");
	tick(plant, ALARM_CRITICAL);
	assert_told(plant, "worse ");
	assert_false(only(plant)->is_acknowledged);
	only(plant)->is_acknowledged = true;
	tick(plant, ALARM_WELL);
	assert_told(plant, "cleared ");
	tick(plant, ALARM_WARNING);
	assert_told(plant, "raised ");
	assert_false(only(plant)->is_acknowledged);
}

static void
test_shelved_is_quiet_and_comes_back(void **state)
{
	struct plant *plant = *state;

	tick(plant, ALARM_WARNING);
	only(plant)->shelved_until.us = plant->now.us + 2 * DAY;
	plant->now.us += DAY + HOUR;
	tick(plant, ALARM_WARNING);
	tick(plant, ALARM_CRITICAL);
	assert_told(plant, "raised ");
	plant->now.us += DAY;
	tick(plant, ALARM_CRITICAL);
	assert_told(plant, "repeated ");
	assert_int_equal(only(plant)->shelved_until.us, 0);
}

static void
test_what_comes_and_goes_while_shelved_is_not_told(void **state)
{
	struct plant *plant = *state;

	tick(plant, ALARM_WARNING);
	only(plant)->shelved_until.us = plant->now.us + DAY;
	tick(plant, ALARM_WELL);
	assert_told(plant, "raised cleared "); /* somebody was told of the first one */
	for (int i = 0; i < 5; i++) {
		plant->now.us += HOUR;
		tick(plant, ALARM_WARNING);
		plant->now.us += HOUR;
		tick(plant, ALARM_WELL);
	}
	assert_told(plant, "");
	plant->now.us += HOUR;
	tick(plant, ALARM_WARNING);
	plant->now.us += DAY;
	tick(plant, ALARM_WARNING);
	assert_told(plant, "repeated ");
	tick(plant, ALARM_WELL);
	assert_told(plant, "cleared ");
}

/* ---- hysteresis and what is not known ---- */

static void
test_held(void **state)
{
	struct plant *plant = *state;
	const struct alarm_condition held = { .rule = ALARM_JOB_FAILED, .held = ALARM_WARNING };

	tick_with(plant, &held);
	assert_int_equal(plant->states.items.count, 0); /* it raises nothing */
	tick(plant, ALARM_CRITICAL);
	tick_with(plant, &held);
	assert_int_equal(only(plant)->severity, ALARM_WARNING);
	tick_with(plant, &held);
	tick(plant, ALARM_WELL);
	assert_told(plant, "raised cleared ");
}

static void
test_unknown_neither_raises_nor_clears(void **state)
{
	struct plant *plant = *state;
	const struct alarm_condition unknown = {
		.rule = ALARM_JOB_FAILED,
		.is_unknown = true,
		.severity = ALARM_CRITICAL,
	};

	tick_with(plant, &unknown);
	assert_told(plant, "");
	tick(plant, ALARM_WARNING);
	tick_with(plant, &unknown);
	assert_told(plant, "raised ");
	assert_int_equal(only(plant)->severity, ALARM_WARNING);
	plant->now.us += DAY;
	tick_with(plant, &unknown);
	assert_told(plant, "repeated ");
}

static void
test_what_is_watched_no_more_is_cleared(void **state)
{
	struct plant *plant = *state;

	tick(plant, ALARM_WARNING);
	tick_with(plant, NULL);
	assert_told(plant, "raised cleared ");
	tick_with(plant, NULL);
	assert_told(plant, "");
}

static void
test_one_rule_does_not_touch_another(void **state)
{
	struct plant *plant = *state;
	const struct alarm_condition old = {
		.rule = ALARM_TOO_OLD,
		.severity = ALARM_CRITICAL,
		.subject = (char *)(uintptr_t) "redis-6h",
	};

	tick(plant, ALARM_WARNING);
	tick_with(plant, &old); /* the first one is watched no more here, and is cleared */
	assert_told(plant, "raised raised cleared ");
	assert_int_equal(plant->states.items.count, 2);
}

/* ---- time ---- */

static void
test_an_event_stands_a_day_or_until_acknowledged(void **state)
{
	struct plant *plant = *state;
	const struct alarm_condition jump = { .rule = ALARM_CLOCK_JUMP, .severity = ALARM_WARNING };
	const struct alarm_condition none = { .rule = ALARM_CLOCK_JUMP };

	tick_with(plant, &jump);
	plant->now.us += DAY - HOUR;
	tick_with(plant, &none);
	assert_told(plant, "raised ");
	plant->now.us += HOUR;
	tick_with(plant, &none);
	assert_told(plant, "cleared ");
	tick_with(plant, &jump);
	only(plant)->is_acknowledged = true;
	tick_with(plant, &none);
	assert_told(plant, "raised cleared ");
}

static void
test_a_clock_that_was_set_back_does_not_silence(void **state)
{
	struct plant *plant = *state;

	tick(plant, ALARM_WARNING);
	plant->now.us -= 365 * DAY;
	tick(plant, ALARM_WARNING);
	assert_told(plant, "raised repeated ");
	tick(plant, ALARM_WARNING);
	assert_told(plant, "");
	plant->now.us += DAY;
	tick(plant, ALARM_WARNING);
	assert_told(plant, "repeated ");
	only(plant)->shelved_until.us = plant->now.us + DAY;
	plant->now.us -= 365 * DAY;
	tick(plant, ALARM_WARNING);
	assert_told(plant, "repeated ");
}

static void
test_rewording_is_kept_but_not_told(void **state)
{
	struct plant *plant = *state;
	struct alarm_condition condition = { .rule = ALARM_STORAGE_ABOVE,
		.severity = ALARM_WARNING,
		.text = (char *)(uintptr_t) "81% is used" };

	tick_with(plant, &condition);
	condition.text = (char *)(uintptr_t) "82% is used";
	tick_with(plant, &condition);
	assert_told(plant, "raised ");
	assert_string_equal(only(plant)->text, "82% is used");
	assert_int_equal(plant->changes_count, 1);
}

static void
test_names(void **state)
{
	enum alarm_rule found;

	(void)state;
	for (size_t i = 0; i < ALARM_RULES_COUNT; i++) {
		assert_true(alarm_rule_find(alarm_rule_name((enum alarm_rule)i), &found));
		assert_int_equal(found, i);
	}
	assert_false(alarm_rule_find("job_faile", &found));
}

/* ---- forecast ---- */

static void
test_forecast(void **state)
{
	struct space_sample samples[100];
	struct wall_time now = { START };
	struct wall_time at;

	(void)state;
	for (size_t i = 0; i < 100; i++) {
		samples[i].at.us = START - (int64_t)(99 - i) * HOUR;
		samples[i].used_bytes = 1000000 + i * 1000 + (i % 2) * 300;
	}
	assert_true(alarm_forecast(samples, 100, 1099150 + 24000, now, &at));
	assert_in_range(at.us - START, 23 * HOUR, 25 * HOUR);
	assert_true(alarm_forecast(samples, 100, 500, now, &at)); /* it is full already */
	assert_int_equal(at.us, START);
	assert_false(alarm_forecast(samples, 7, 2000000, now, &at));
	assert_false(alarm_forecast(samples, 20, 2000000, now, &at)); /* less than a day */
	assert_false(alarm_forecast(samples, 100, UINT64_C(1) << 50, now, &at));
	for (size_t i = 0; i < 100; i++)
		samples[i].used_bytes = 1000000 - i * 10;
	assert_false(alarm_forecast(samples, 100, 2000000, now, &at));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_raise_and_clear_are_told_once, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_worse_is_told_easing_is_not, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_week_of_reminders, setup, teardown),
		cmocka_unit_test_setup_teardown(test_acknowledged_is_quiet_until_worse, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_shelved_is_quiet_and_comes_back, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_what_comes_and_goes_while_shelved_is_not_told,
		    setup, teardown),
		cmocka_unit_test_setup_teardown(test_held, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unknown_neither_raises_nor_clears, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_what_is_watched_no_more_is_cleared, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_one_rule_does_not_touch_another, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_an_event_stands_a_day_or_until_acknowledged,
		    setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_clock_that_was_set_back_does_not_silence,
		    setup, teardown),
		cmocka_unit_test_setup_teardown(test_rewording_is_kept_but_not_told, setup,
		    teardown),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_forecast),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
