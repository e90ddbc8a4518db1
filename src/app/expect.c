#include "app/expect.h"

#include <stddef.h>

#include "app/timetable.h"
#include "app/wire.h"
#include "base/err.h"
#include "base/str.h"
#include "config/config.h"
#include "engine/lane.h"
#include "sched/calendar.h"
#include "source/source.h"

enum { AGE_IN_INTERVALS = 2 };

void
expectations_done(struct expectations *expectations)
{
	for (size_t i = 0; i < expectations->calendars.count; i++)
		calendar_free(expectations->calendars.items[i]);
	vec_done(&expectations->calendars);
	vec_done(&expectations->rows);
}

int
expect_interval(const struct config_job *job, struct wall_time now, int64_t *ret_interval_us,
    struct err *err)
{
	SCOPED(calendar_freep) struct calendar *calendar = NULL;

	if (timetable_calendar(job, now, &calendar, err) < 0)
		return -1;
	*ret_interval_us = calendar != NULL ? calendar_interval_us(calendar) : 0;

	return 0;
}

/* An interval is counted from some run, so it says nothing about the times that are over. */
static int
expect_times(const struct config *config, const struct config_job *job, struct wall_time now,
    struct expectations *to, struct overview_expectation *row, struct err *err)
{
	struct calendar *calendar = NULL;

	if (timetable_calendar(job, now, &calendar, err) < 0)
		return -1;
	if (calendar == NULL)
		return 0;
	vec_push(&to->calendars, calendar);
	row->calendar = job->schedule != CONFIG_EVERY ? calendar : NULL;
	if (row->max_age_us == 0)
		row->max_age_us = AGE_IN_INTERVALS * calendar_interval_us(calendar);
	if (!calendar_next(calendar, config->zone, now, &row->next_run))
		row->next_run.us = 0;

	return 0;
}

static int
expect_job(const struct config *config, const struct config_job *job, struct wall_time now,
    struct expectations *to, struct err *err)
{
	struct overview_expectation *row = vec_add(&to->rows);

	row->job = job->name;
	row->source = job->source;
	row->kind = job->kind;
	row->max_age_us = job->max_age_us;
	row->is_continuous = job->schedule == CONFIG_CONTINUOUS;
	row->is_manual = job->schedule == CONFIG_MANUAL;

	return expect_times(config, job, now, to, row, err);
}

int
expectations_make(const struct config *config, struct wall_time now,
    struct expectations *ret_expectations, struct err *err)
{
	struct expectations expectations = { .rows = { .count = 0 } };

	for (size_t i = 0; config != NULL && i < config->jobs.count; i++) {
		const struct config_job *job = &config->jobs.items[i];

		if (job->is_supported && expect_job(config, job, now, &expectations, err) < 0) {
			expectations_done(&expectations);
			return -1;
		}
	}
	*ret_expectations = expectations;

	return 0;
}

void
expectations_move_on(struct expectations *expectations, const struct config *config,
    struct wall_time now)
{
	for (size_t i = 0; i < expectations->rows.count; i++) {
		struct overview_expectation *row = &expectations->rows.items[i];

		if (row->calendar == NULL || row->next_run.us > now.us)
			continue;
		if (!calendar_next(row->calendar, config->zone, now, &row->next_run))
			row->next_run.us = 0;
	}
}

int
expectations_find_streams(struct expectations *expectations, struct wire *wire, struct lanes *lanes,
    int64_t max_age_us, struct err *err)
{
	VEC(struct source *) sources = { .count = 0 };
	int result = 0;

	/* First every source, then the loans: they are good until the next one is read. */
	for (size_t i = 0; i < expectations->rows.count && result == 0; i++) {
		const struct overview_expectation *row = &expectations->rows.items[i];
		const struct config_source *from = config_find_source(wire->config, row->source);
		struct source *source = wire_source_offline(wire, from->name, from->type, err);
		bool is_stream;

		result = source != NULL ? 0 : -1;
		is_stream = source != NULL && source->ops->stream != NULL &&
		    str_equals(source->ops->stream->name, row->kind);
		vec_push(&sources, is_stream ? source : NULL);
		if (is_stream)
			(void)lanes_get(lanes, &wire->engine, source, max_age_us);
	}
	for (size_t i = 0; i < sources.count && result == 0; i++) {
		if (sources.items[i] != NULL)
			expectations->rows.items[i].stream = lanes_get(lanes, &wire->engine,
			    sources.items[i], INT64_MAX);
	}
	vec_done(&sources);

	return result;
}
