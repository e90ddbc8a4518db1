/*
 * The configuration as the agenda takes it: calendars of jobs and blackouts, deadlines, and what
 * comes after what.  Texts are loans from the configuration.
 */
#ifndef APP_TIMETABLE_H
#define APP_TIMETABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"
#include "sched/agenda.h"

struct agenda;
struct config;
struct config_job;
struct err;
struct schedule_row;
struct schedule_rows;

struct timetable_job {
	const struct config_job *of;
	struct agenda_job job;
	char *times;            /* the schedule as text: another one counts anew */
	struct wall_time begun; /* since when it counts */
	bool is_known;          /* the catalog has its state, of these times */
};

struct timetable {
	VEC(struct timetable_job) jobs;
	VEC(struct agenda_blackout) blackouts;
	VEC(struct calendar *) calendars; /* owned */
};

/* Jobs that run by times or after others; continuous and manual ones are not in it. */
int timetable_make(const struct config *config, const struct schedule_rows *known,
    struct wall_time now, struct timetable *ret_table, struct err *err) MUST_CHECK;
void timetable_done(struct timetable *table);

/* *ret_calendar is yours; NULL for a job without times (manual, continuous, on change). */
int timetable_calendar(const struct config_job *job, struct wall_time anchor,
    struct calendar **ret_calendar, struct err *err) MUST_CHECK;

struct agenda_state timetable_state(const struct schedule_row *row);

/* The agenda of it; table, known and host are loans.  Gives what was known to each job. */
struct agenda *timetable_agenda(const struct timetable *table, const struct config *config,
    const struct schedule_rows *known, const struct agenda_host *host, struct wall_time now)
    MUST_CHECK;

#endif
