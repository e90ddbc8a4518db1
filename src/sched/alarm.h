/*
 * Alarms: what was found wrong (conditions) against what is known already (states) gives what
 * changes (raised, worse, eased, told again, cleared), and of which change people are told.
 *
 * An alarm is one rule for one subject: a job, a source, a store, a channel.  It stays one alarm
 * from its raising to its clearing, whatever is acknowledged, shelved or restarted meanwhile.
 * Pure: no clock, no catalog.  Which conditions hold is sched/alarm_rules.
 */
#ifndef SCHED_ALARM_H
#define SCHED_ALARM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"

/* Their names are in the catalog and in messages: never renamed. */
enum alarm_rule {
	ALARM_JOB_FAILED,
	ALARM_TOO_OLD,
	ALARM_MISSED_RUN,
	ALARM_STORAGE_ABOVE,
	ALARM_UPLOAD_FAILED,
	ALARM_WAL_STALLED,
	ALARM_WAL_GAP,
	ALARM_SUSPICIOUS,
	ALARM_VERIFY_OVERDUE,
	ALARM_DRILL_OVERDUE,
	ALARM_NOTIFY_FAILING,
	ALARM_CONFIG_RELOAD_FAILED,
	ALARM_CLOCK_JUMP,
	ALARM_STALLED,
	ALARM_LOST,
	ALARM_CATALOG_DAMAGED,
};
enum { ALARM_RULES_COUNT = ALARM_CATALOG_DAMAGED + 1 };

enum alarm_severity {
	ALARM_WELL,
	ALARM_WARNING,
	ALARM_CRITICAL,
};

const char *alarm_rule_name(enum alarm_rule rule); /* "job_failed" */
bool alarm_rule_find(const char *name, enum alarm_rule *ret_rule);
const char *alarm_severity_name(enum alarm_severity severity); /* "well", "warning", "critical" */

/* What a rule found of one subject at one moment.  Texts are owned; cause and next may be NULL. */
struct alarm_condition {
	enum alarm_rule rule;
	char *subject;
	bool is_unknown; /* it could not be looked at: a standing alarm stays as it is */
	enum alarm_severity severity;
	enum alarm_severity held; /* what is kept of an alarm that stands already: hysteresis */
	struct wall_time since;   /* when it began, 0: now */
	char *text;               /* "the last run failed": does not change while nothing happens */
	char *cause;
	char *next_command;
};
struct alarm_conditions {
	VEC(struct alarm_condition) items;
};

/* What is known of one alarm.  A cleared one is kept for its shelf. */
struct alarm_state {
	enum alarm_rule rule;
	char *subject;
	enum alarm_severity severity;   /* ALARM_WELL: cleared */
	enum alarm_severity peak;       /* the worst since it was raised: who was told of it */
	struct wall_time since;         /* when what is wrong began */
	struct wall_time raised_at;     /* when it was noticed; names this occurrence */
	struct wall_time changed_at;    /* the last change of its severity */
	struct wall_time cleared_at;    /* 0: it stands */
	struct wall_time told_at;       /* the last message, 0: nobody was told */
	bool is_acknowledged;           /* somebody looks after it: no more reminders */
	struct wall_time shelved_until; /* no messages until then, 0: not shelved */
	char *text;
	char *cause;
	char *next_command;
};
struct alarm_states {
	VEC(struct alarm_state) items;
};

enum alarm_event {
	ALARM_RAISED,
	ALARM_WORSE,
	ALARM_EASED,
	ALARM_REPEATED, /* it still stands */
	ALARM_CLEARED,
	ALARM_REWORDED, /* only its texts changed */
};
const char *alarm_event_name(enum alarm_event event); /* "raised", ... */

struct alarm_change {
	enum alarm_event event;
	bool is_told;             /* a message goes out */
	struct alarm_state state; /* as it is from now on; owned */
};
struct alarm_changes {
	VEC(struct alarm_change) items;
};

struct alarm_policy {
	int64_t repeat_us; /* a reminder for what nobody acknowledged; 0: none */
};

/*
 * What changes at `now`.  A state for which there is no condition at all is of something that is
 * watched no more, and is cleared.  Conditions are of distinct (rule, subject).
 */
void alarm_judge(const struct alarm_conditions *conditions, const struct alarm_states *states,
    const struct alarm_policy *policy, struct wall_time now, struct alarm_changes *ret_changes);

bool alarm_is_standing(const struct alarm_state *state);
bool alarm_is_shelved(const struct alarm_state *state, struct wall_time now);

/* "raised", "acknowledged", "shelved" or "cleared", for people and programs. */
const char *alarm_state_name(const struct alarm_state *state, struct wall_time now);

struct alarm_state *alarm_state_find(const struct alarm_states *states, enum alarm_rule rule,
    const char *subject); /* NULL: none; a loan */

void alarm_conditions_done(struct alarm_conditions *conditions);
void alarm_state_done(struct alarm_state *state);
void alarm_states_done(struct alarm_states *states);
void alarm_changes_done(struct alarm_changes *changes);

#endif
