/*
 * Alarms in the catalog: how each stands, and every change with who and why.  What a rule means
 * is not known here: rules are names, severities are 0 (well), 1 (warning), 2 (critical).
 * Errors are those of catalog/catalog.h.
 */
#ifndef CATALOG_CATALOG_ALARM_H
#define CATALOG_CATALOG_ALARM_H

#include <stdbool.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"

struct catalog;
struct err;

/* Texts are owned by the row; rule and subject are never NULL. */
struct alarm_row {
	char *rule;
	char *subject;
	int severity; /* 0: cleared */
	int peak;
	struct wall_time since;
	struct wall_time raised_at;
	struct wall_time changed_at;
	struct wall_time cleared_at;
	struct wall_time told_at;
	bool is_acknowledged;
	struct wall_time shelved_until;
	char *text;
	char *cause;
	char *next_command;
};
struct alarm_rows {
	VEC(struct alarm_row) rows;
};

struct alarm_change_row {
	char *rule;
	char *subject;
	struct wall_time at;
	char *event; /* "raised", "acknowledged", ... */
	int severity;
	char *who; /* a login name; NULL: the watch itself */
	char *why;
};
struct alarm_change_rows {
	VEC(struct alarm_change_row) rows;
};

/* All, also the cleared ones, the worst first, then the latest. */
int catalog_alarm_list(struct catalog *catalog, struct alarm_rows *ret_rows, struct err *err)
    MUST_CHECK;

/* Insert or replace. */
int catalog_alarm_put(struct catalog *catalog, const struct alarm_row *row, struct err *err)
    MUST_CHECK;

int catalog_alarm_change_add(struct catalog *catalog, const struct alarm_change_row *row,
    struct err *err) MUST_CHECK;

/* The newest first; `rule` and `subject` NULL: of all alarms. */
int catalog_alarm_change_list(struct catalog *catalog, const char *rule, const char *subject,
    unsigned limit, struct alarm_change_rows *ret_rows, struct err *err) MUST_CHECK;

/* Forget changes before `before`, and alarms that were cleared before it and are not shelved. */
int catalog_alarm_trim(struct catalog *catalog, struct wall_time before, struct err *err)
    MUST_CHECK;

void alarm_row_done(struct alarm_row *row);
void alarm_rows_done(struct alarm_rows *rows);
void alarm_change_rows_done(struct alarm_change_rows *rows);

#endif
