#include "sched/alarm.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

/* How long what happened at one moment stays to be seen, unless somebody acknowledges it. */
#define EVENT_STANDS_US (24 * 3600 * US_PER_S)

/* Nobody may shelve for longer: it is the clock that was set back. */
#define SHELF_MAX_US (INT64_C(100) * 24 * 3600 * US_PER_S)

static const struct rule_traits {
	const char *name;
	bool is_event; /* it happens at a moment: nothing will be seen of it a tick later */
} rules[ALARM_RULES_COUNT] = {
	[ALARM_JOB_FAILED] = { .name = "job_failed" },
	[ALARM_TOO_OLD] = { .name = "too_old" },
	[ALARM_MISSED_RUN] = { .name = "missed_run" },
	[ALARM_STORAGE_ABOVE] = { .name = "storage_above" },
	[ALARM_UPLOAD_FAILED] = { .name = "upload_failed" },
	[ALARM_WAL_STALLED] = { .name = "wal_stalled" },
	[ALARM_WAL_GAP] = { .name = "wal_gap" },
	[ALARM_SUSPICIOUS] = { .name = "suspicious" },
	[ALARM_VERIFY_OVERDUE] = { .name = "verify_overdue" },
	[ALARM_DRILL_OVERDUE] = { .name = "drill_overdue" },
	[ALARM_NOTIFY_FAILING] = { .name = "notify_failing" },
	[ALARM_CONFIG_RELOAD_FAILED] = { .name = "config_reload_failed" },
	[ALARM_CLOCK_JUMP] = { .name = "clock_jump", .is_event = true },
	[ALARM_STALLED] = { .name = "stalled" },
	[ALARM_LOST] = { .name = "lost" },
	[ALARM_CATALOG_DAMAGED] = { .name = "catalog_damaged" },
};

static const char *const severity_names[] = {
	[ALARM_WELL] = "well",
	[ALARM_WARNING] = "warning",
	[ALARM_CRITICAL] = "critical",
};

static const char *const event_names[] = {
	[ALARM_RAISED] = "raised",
	[ALARM_WORSE] = "worse",
	[ALARM_EASED] = "eased",
	[ALARM_REPEATED] = "repeated",
	[ALARM_CLEARED] = "cleared",
	[ALARM_REWORDED] = "reworded",
};

const char *
alarm_rule_name(enum alarm_rule rule)
{
	return rules[rule].name;
}

bool
alarm_rule_find(const char *name, enum alarm_rule *ret_rule)
{
	for (size_t i = 0; i < ALARM_RULES_COUNT; i++) {
		if (strcmp(rules[i].name, name) == 0) {
			*ret_rule = (enum alarm_rule)i;
			return true;
		}
	}

	return false;
}

const char *
alarm_severity_name(enum alarm_severity severity)
{
	return severity_names[severity];
}

const char *
alarm_event_name(enum alarm_event event)
{
	return event_names[event];
}

bool
alarm_is_standing(const struct alarm_state *state)
{
	return state->severity > ALARM_WELL;
}

bool
alarm_is_shelved(const struct alarm_state *state, struct wall_time now)
{
	int64_t left_us = state->shelved_until.us - now.us;

	return left_us > 0 && left_us <= SHELF_MAX_US;
}

const char *
alarm_state_name(const struct alarm_state *state, struct wall_time now)
{
	if (!alarm_is_standing(state))
		return "cleared";
	if (alarm_is_shelved(state, now))
		return "shelved";

	return state->is_acknowledged ? "acknowledged" : "raised";
}

struct alarm_state *
alarm_state_find(const struct alarm_states *states, enum alarm_rule rule, const char *subject)
{
	for (size_t i = 0; i < states->items.count; i++) {
		struct alarm_state *state = &states->items.items[i];

		if (state->rule == rule && str_equals(state->subject, subject))
			return state;
	}

	return NULL;
}

/* ---- what is owned ------------------------------------------------------------------------- */

void
alarm_conditions_done(struct alarm_conditions *conditions)
{
	for (size_t i = 0; i < conditions->items.count; i++) {
		struct alarm_condition *condition = &conditions->items.items[i];

		free(condition->subject);
		free(condition->text);
		free(condition->cause);
		free(condition->next_command);
	}
	vec_done(&conditions->items);
}

void
alarm_state_done(struct alarm_state *state)
{
	free(state->subject);
	free(state->text);
	free(state->cause);
	free(state->next_command);
	*state = (struct alarm_state){ .subject = NULL };
}

void
alarm_states_done(struct alarm_states *states)
{
	for (size_t i = 0; i < states->items.count; i++)
		alarm_state_done(&states->items.items[i]);
	vec_done(&states->items);
}

void
alarm_changes_done(struct alarm_changes *changes)
{
	for (size_t i = 0; i < changes->items.count; i++)
		alarm_state_done(&changes->items.items[i].state);
	vec_done(&changes->items);
}

/* ---- judging ------------------------------------------------------------------------------- */

struct judging {
	const struct alarm_policy *policy;
	struct wall_time now;
	struct alarm_changes *changes;
};

/* A new change for the alarm `state` (NULL: a new one), with a copy of what is known of it. */
static struct alarm_change *
add_change(const struct judging *judging, enum alarm_event event, const struct alarm_state *state,
    const struct alarm_condition *condition)
{
	struct alarm_change *change = vec_add(&judging->changes->items);
	struct alarm_state *to = &change->state;

	change->event = event;
	if (state != NULL)
		*to = *state;
	to->subject = xstrdup(state != NULL ? state->subject : condition->subject);
	to->text = xstrdup(condition != NULL ? condition->text : state->text);
	to->cause = xstrdup(condition != NULL ? condition->cause : state->cause);
	to->next_command = xstrdup(condition != NULL ? condition->next_command
						     : state->next_command);

	return change;
}

static void
tell(const struct judging *judging, struct alarm_change *change)
{
	change->is_told = true;
	change->state.told_at = judging->now;
}

static void
raise_alarm(const struct judging *judging, const struct alarm_state *state,
    const struct alarm_condition *condition, enum alarm_severity severity)
{
	struct alarm_change *change = add_change(judging, ALARM_RAISED, state, condition);
	struct alarm_state *to = &change->state;

	to->rule = condition->rule;
	to->severity = severity;
	to->peak = severity;
	to->raised_at = judging->now;
	to->changed_at = judging->now;
	to->since = condition->since.us != 0 ? condition->since : judging->now;
	to->cleared_at.us = 0;
	to->told_at.us = 0;
	to->is_acknowledged = false;
	if (!alarm_is_shelved(to, judging->now)) {
		to->shelved_until.us = 0;
		tell(judging, change);
	}
}

/* Texts stay as they were: the message says what it is that is over. */
static void
clear_alarm(const struct judging *judging, const struct alarm_state *state)
{
	struct alarm_change *change = add_change(judging, ALARM_CLEARED, state, NULL);

	change->state.severity = ALARM_WELL;
	change->state.changed_at = judging->now;
	change->state.cleared_at = judging->now;
	change->is_told = state->told_at.us != 0;
}

static void
change_severity(const struct judging *judging, const struct alarm_state *state,
    const struct alarm_condition *condition, enum alarm_severity severity)
{
	bool is_worse = severity > state->severity;
	struct alarm_change *change = add_change(judging, is_worse ? ALARM_WORSE : ALARM_EASED,
	    state, condition);

	change->state.severity = severity;
	change->state.changed_at = judging->now;
	if (!is_worse)
		return;
	if (severity > change->state.peak)
		change->state.peak = severity;
	change->state.is_acknowledged = false; /* what was acknowledged was less than this */
	if (!alarm_is_shelved(state, judging->now))
		tell(judging, change);
}

/* A clock that was set back must not silence a reminder for years. */
static bool
is_reminder_due(const struct judging *judging, const struct alarm_state *state)
{
	int64_t age_us = judging->now.us - state->told_at.us;

	if (state->is_acknowledged || alarm_is_shelved(state, judging->now))
		return false;
	if (state->told_at.us == 0 || state->shelved_until.us != 0)
		return true; /* its shelf time is over */

	return judging->policy->repeat_us > 0 &&
	    (age_us >= judging->policy->repeat_us || age_us < 0);
}

/* The same severity as before; `condition` NULL: nothing new is known. */
static void
go_on(const struct judging *judging, const struct alarm_state *state,
    const struct alarm_condition *condition)
{
	if (is_reminder_due(judging, state)) {
		struct alarm_change *change = add_change(judging, ALARM_REPEATED, state, condition);

		change->state.shelved_until.us = 0;
		tell(judging, change);
	} else if (condition != NULL &&
	    (!str_equals(condition->text, state->text) ||
		!str_equals(condition->cause, state->cause) ||
		!str_equals(condition->next_command, state->next_command))) {
		(void)add_change(judging, ALARM_REWORDED, state, condition);
	}
}

/* What of a condition counts for an alarm that stands already. */
static enum alarm_severity
severity_for(const struct judging *judging, const struct alarm_state *state,
    const struct alarm_condition *condition)
{
	enum alarm_severity severity = condition->severity;
	int64_t age_us = judging->now.us - state->raised_at.us;

	if (severity < state->severity && condition->held > severity)
		severity = condition->held < state->severity ? condition->held : state->severity;
	if (severity == ALARM_WELL && rules[state->rule].is_event && !state->is_acknowledged &&
	    age_us >= 0 && age_us < EVENT_STANDS_US)
		severity = state->severity;

	return severity;
}

static void
judge_condition(const struct judging *judging, const struct alarm_state *state,
    const struct alarm_condition *condition)
{
	bool is_standing = state != NULL && alarm_is_standing(state);
	enum alarm_severity severity = condition->severity;

	if (!is_standing) {
		if (!condition->is_unknown && severity > ALARM_WELL)
			raise_alarm(judging, state, condition, severity);
		return;
	}
	if (condition->is_unknown) {
		go_on(judging, state, NULL);
		return;
	}
	severity = severity_for(judging, state, condition);
	if (severity == ALARM_WELL)
		clear_alarm(judging, state);
	else if (severity != state->severity)
		change_severity(judging, state, condition, severity);
	else
		go_on(judging, state, condition->severity > ALARM_WELL ? condition : NULL);
}

static bool
is_watched(const struct alarm_conditions *conditions, const struct alarm_state *state)
{
	for (size_t i = 0; i < conditions->items.count; i++) {
		const struct alarm_condition *condition = &conditions->items.items[i];

		if (condition->rule == state->rule &&
		    str_equals(condition->subject, state->subject))
			return true;
	}

	return false;
}

void
alarm_judge(const struct alarm_conditions *conditions, const struct alarm_states *states,
    const struct alarm_policy *policy, struct wall_time now, struct alarm_changes *ret_changes)
{
	struct alarm_changes changes = { .items = { .count = 0 } };
	const struct judging judging = { .policy = policy, .now = now, .changes = &changes };

	for (size_t i = 0; i < conditions->items.count; i++) {
		const struct alarm_condition *condition = &conditions->items.items[i];

		judge_condition(&judging,
		    alarm_state_find(states, condition->rule, condition->subject), condition);
	}
	for (size_t i = 0; i < states->items.count; i++) {
		const struct alarm_state *state = &states->items.items[i];

		if (alarm_is_standing(state) && !is_watched(conditions, state))
			clear_alarm(&judging, state);
	}
	*ret_changes = changes;
}
