#include "app/timetable.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/str.h"
#include "catalog/catalog_schedule.h"
#include "config/config.h"
#include "sched/calendar.h"

/* For what comes after others and has no times of its own. */
#define AFTER_DEADLINE_US (INT64_C(12) * 3600 * US_PER_S)

void
timetable_done(struct timetable *table)
{
	for (size_t i = 0; i < table->jobs.count; i++)
		free(table->jobs.items[i].times);
	for (size_t i = 0; i < table->calendars.count; i++)
		calendar_free(table->calendars.items[i]);
	vec_done(&table->jobs);
	vec_done(&table->blackouts);
	vec_done(&table->calendars);
}

int
timetable_calendar(const struct config_job *job, struct wall_time anchor,
    struct calendar **ret_calendar, struct err *err)
{
	struct calendar *calendar = NULL;

	switch (job->schedule) {
	case CONFIG_AT:
		calendar = calendar_at((const char *const *)job->at.items, job->at.count, err);
		break;
	case CONFIG_CRON:
		calendar = calendar_cron(job->cron, err);
		break;
	case CONFIG_EVERY:
		calendar = calendar_every(job->every_us, anchor);
		break;
	case CONFIG_MANUAL:
	case CONFIG_CONTINUOUS:
	case CONFIG_ON_CHANGE:
		*ret_calendar = NULL;
		return 0;
	}
	if (calendar == NULL)
		return err_wrap(err, "job '%s'", job->name);
	*ret_calendar = calendar;

	return 0;
}

static char *
times_text(const struct config_job *job)
{
	struct str text = STR_INIT;

	if (job->schedule == CONFIG_EVERY)
		str_addf(&text, "every %lld us", (long long)job->every_us);
	else if (job->schedule == CONFIG_CRON)
		str_addf(&text, "cron %s", job->cron);
	else
		str_add(&text, job->schedule == CONFIG_AT ? "at" : "after");
	for (size_t i = 0; job->schedule == CONFIG_AT && i < job->at.count; i++)
		str_addf(&text, " %s", job->at.items[i]);

	return str_take(&text);
}

static const struct schedule_row *
find_row(const struct schedule_rows *known, const char *job)
{
	for (size_t i = 0; known != NULL && i < known->rows.count; i++) {
		if (str_equals(known->rows.items[i].job, job))
			return &known->rows.items[i];
	}

	return NULL;
}

static bool
is_scheduled(const struct config_job *job)
{
	if (!job->is_supported || job->is_broken)
		return false;
	if (job->schedule == CONFIG_MANUAL)
		return job->after.count > 0;

	return job->schedule == CONFIG_AT || job->schedule == CONFIG_CRON ||
	    job->schedule == CONFIG_EVERY;
}

static int
add_job(struct timetable *table, const struct config_job *from, const struct schedule_rows *known,
    struct wall_time now, struct err *err)
{
	const struct schedule_row *row = find_row(known, from->name);
	struct timetable_job *to = vec_add(&table->jobs);
	struct calendar *calendar;

	to->of = from;
	to->times = times_text(from);
	to->is_known = row != NULL && str_equals(row->times, to->times);
	to->begun = to->is_known ? row->begun : now;
	if (timetable_calendar(from, to->begun, &calendar, err) < 0)
		return -1;
	if (calendar != NULL)
		vec_push(&table->calendars, calendar);
	to->job = (struct agenda_job){
		.name = from->name,
		/* Looking after a log that has arrived does not touch the server. */
		.source = config_job_is_stream(from) ? NULL : from->source,
		.calendar = calendar,
		.deadline_us = from->start_deadline_us,
		.after = from->after.count > 0 ? (const char *const *)from->after.items : NULL,
		.is_paused = from->is_paused,
	};
	if (to->job.deadline_us == 0)
		to->job.deadline_us = calendar != NULL ? calendar_interval_us(calendar) / 2
						       : AFTER_DEADLINE_US;

	return 0;
}

static int
add_blackout(struct timetable *table, const struct config_blackout *from, struct err *err)
{
	struct calendar *begins = calendar_at((const char *const *)from->at.items, from->at.count,
	    err);

	if (begins == NULL)
		return err_wrap(err, "blackout '%s'", from->name);
	vec_push(&table->calendars, begins);
	vec_push(&table->blackouts,
	    ((struct agenda_blackout){ .begins = begins,
		.lasts_us = from->lasts_us,
		.jobs = from->jobs.count > 0 ? (const char *const *)from->jobs.items : NULL }));

	return 0;
}

int
timetable_make(const struct config *config, const struct schedule_rows *known, struct wall_time now,
    struct timetable *ret_table, struct err *err)
{
	SCOPED(timetable_done) struct timetable table = { .jobs = { .count = 0 } };

	for (size_t i = 0; i < config->jobs.count; i++) {
		if (is_scheduled(&config->jobs.items[i]) &&
		    add_job(&table, &config->jobs.items[i], known, now, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < config->blackouts.count; i++) {
		if (add_blackout(&table, &config->blackouts.items[i], err) < 0)
			return -1;
	}
	*ret_table = table;
	table = (struct timetable){ .jobs = { .count = 0 } };

	return 0;
}

struct agenda_state
timetable_state(const struct schedule_row *row)
{
	return (struct agenda_state){
		.considered = row->considered,
		.due = row->due,
		.is_begun = row->is_begun,
		.attempt = row->attempt,
		.not_before = row->not_before,
		.settled_due = row->settled_due,
		.is_settled_good = row->is_settled_good,
		.recorded = row->recorded,
	};
}

/* Under other times what was considered says nothing; what is going on still does. */
static struct agenda_state
state_under_new_times(const struct schedule_row *row, struct wall_time now)
{
	struct agenda_state state = timetable_state(row);

	state.considered = now;
	if (!state.is_begun)
		state.due.us = 0;

	return state;
}

struct agenda *
timetable_agenda(const struct timetable *table, const struct config *config,
    const struct schedule_rows *known, const struct agenda_host *host, struct wall_time now)
{
	const struct agenda_options options = {
		.zone = config->zone,
		.host = host,
		.blackouts = table->blackouts.items,
		.blackouts_count = table->blackouts.count,
		.running_max = config->parallel_jobs,
	};
	struct agenda *agenda = agenda_new(&options);

	for (size_t i = 0; i < table->jobs.count; i++) {
		const struct timetable_job *job = &table->jobs.items[i];
		const struct schedule_row *row = find_row(known, job->job.name);
		bool is_at_once = job->of->schedule == CONFIG_EVERY;
		struct agenda_state state;

		if (row == NULL) {
			agenda_add(agenda, &job->job, NULL, is_at_once, now);
			continue;
		}
		state = job->is_known ? timetable_state(row) : state_under_new_times(row, now);
		agenda_add(agenda, &job->job, &state, is_at_once, now);
	}

	return agenda;
}
