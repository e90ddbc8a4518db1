/*
 * What people do about alarms: look, acknowledge, shelve.  Each is a row with who and why, in one
 * transaction with the alarm itself.
 */
#ifndef ENGINE_ALARM_DESK_H
#define ENGINE_ALARM_DESK_H

#include "base/clock.h"
#include "base/scope.h"
#include "sched/alarm.h"

struct catalog;
struct err;

/* All alarms that are known, the worst first, also the cleared ones. */
int alarm_desk_list(struct catalog *catalog, struct alarm_states *ret_states, struct err *err)
    MUST_CHECK;

/* Write one state; for the watch. */
int alarm_desk_put(struct catalog *catalog, const struct alarm_state *state, struct err *err)
    MUST_CHECK;

struct alarm_order {
	const char *alarm; /* "job_failed/pg-daily" */
	const char *who;
	const char *why;
	struct wall_time now;
};

/* No more reminders until it is worse.  ERR_NOT_FOUND: no such alarm stands. */
int alarm_desk_acknowledge(struct catalog *catalog, const struct alarm_order *order,
    struct err *err) MUST_CHECK;

/* No messages at all until `until`, also if it clears and comes back. */
int alarm_desk_shelve(struct catalog *catalog, const struct alarm_order *order,
    struct wall_time until, struct err *err) MUST_CHECK;

int alarm_desk_unshelve(struct catalog *catalog, const struct alarm_order *order, struct err *err)
    MUST_CHECK;

#endif
