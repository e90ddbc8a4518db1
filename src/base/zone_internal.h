/* What the three files of a zone share: the compiled table, and the rule for the time after it. */
#ifndef BASE_ZONE_INTERNAL_H
#define BASE_ZONE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct err;

enum zone_day_form {
	ZONE_DAY_WEEKDAY,   /* M3.5.0: the last Sunday of March */
	ZONE_DAY_JULIAN,    /* J60: 1 March in every year */
	ZONE_DAY_ZERO_BASED /* 59: day 59 from 0, leap days counted */
};

struct zone_rule_day {
	enum zone_day_form form;
	int month;   /* 1..12 */
	int week;    /* 1..5, 5 is the last */
	int weekday; /* 0..6, 0 is Sunday */
	int day;     /* of the year, for the other forms */
	int time_s;  /* after midnight by the clock before the change; may be negative */
};

/* A POSIX TZ text as in the footer of a zone file: "CET-1CEST,M3.5.0,M10.5.0/3". */
struct zone_rule {
	int standard_offset_s; /* east of UTC */
	int summer_offset_s;
	bool has_summer;
	struct zone_rule_day summer_begin;
	struct zone_rule_day summer_end;
};

/* false: not a rule that we understand. */
bool zone_rule_parse(const char *text, struct zone_rule *ret_rule);
int zone_rule_offset_s(const struct zone_rule *rule, int64_t unix_s);

/* The first change after `unix_s`; false when there is none. */
bool zone_rule_next(const struct zone_rule *rule, int64_t unix_s, int64_t *ret_unix_s);

struct zone {
	char *name;
	size_t count; /* changes in the table, strictly increasing */
	int64_t *at_s;
	int32_t *offset_s; /* in force from at_s on */
	int first_offset_s;
	bool has_rule; /* in force from the last change of the table on */
	struct zone_rule rule;
};

/* Fill in the tables of `zone` from a TZif file of version 2 or later (RFC 8536). */
int zone_file_parse(const uint8_t *data, size_t size, struct zone *zone, struct err *err)
    MUST_CHECK;

#endif
