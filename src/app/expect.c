#include "app/expect.h"

#include <stddef.h>

#include "base/err.h"
#include "config/config.h"
#include "sched/calendar.h"

enum { AGE_IN_INTERVALS = 2 };

void
expectations_done(struct expectations *expectations)
{
	vec_done(&expectations->rows);
}

/* The job's calendar, or NULL for one without times (manual, continuous, on change). */
static int
open_calendar(const struct config_job *job, struct wall_time now, struct calendar **ret_calendar,
    struct err *err)
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
		calendar = calendar_every(job->every_us, now);
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

int
expect_interval(const struct config_job *job, struct wall_time now, int64_t *ret_interval_us,
    struct err *err)
{
	SCOPED(calendar_freep) struct calendar *calendar = NULL;

	if (open_calendar(job, now, &calendar, err) < 0)
		return -1;
	*ret_interval_us = calendar != NULL ? calendar_interval_us(calendar) : 0;

	return 0;
}

static int
expect_job(const struct config *config, const struct config_job *job, struct wall_time now,
    struct overview_expectation *row, struct err *err)
{
	SCOPED(calendar_freep) struct calendar *calendar = NULL;

	if (open_calendar(job, now, &calendar, err) < 0)
		return -1;
	row->job = job->name;
	row->source = job->source;
	row->kind = job->kind;
	row->max_age_us = job->max_age_us;
	row->is_continuous = job->schedule == CONFIG_CONTINUOUS;
	if (calendar == NULL)
		return 0;
	if (row->max_age_us == 0)
		row->max_age_us = AGE_IN_INTERVALS * calendar_interval_us(calendar);
	if (!calendar_next(calendar, config->zone, now, &row->next_run))
		row->next_run.us = 0;

	return 0;
}

int
expectations_make(const struct config *config, struct wall_time now,
    struct expectations *ret_expectations, struct err *err)
{
	struct expectations expectations = { .rows = { .count = 0 } };

	for (size_t i = 0; config != NULL && i < config->jobs.count; i++) {
		const struct config_job *job = &config->jobs.items[i];

		if (job->is_supported &&
		    expect_job(config, job, now, vec_add(&expectations.rows), err) < 0) {
			expectations_done(&expectations);
			return -1;
		}
	}
	*ret_expectations = expectations;

	return 0;
}
