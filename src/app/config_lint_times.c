#include "app/config_lint_times.h"

#include <stddef.h>

#include "app/timetable.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/str.h"
#include "base/vec.h"
#include "base/zone.h"
#include "config/config.h"
#include "sched/calendar.h"

#define COLLIDES_FROM_US (INT64_C(12) * 3600 * US_PER_S)
#define LOOK_AHEAD_US (INT64_C(8) * 24 * 3600 * US_PER_S)

struct lint_times {
	const struct config *config;
	struct wall_time now;
	struct config_problems *problems;
};

/* ---- after --------------------------------------------------------------------------------- */

/* Does `from` come after `to`, over however many steps; `is_seen` has a place for each job. */
static bool
comes_after(const struct config *config, const struct config_job *from, const char *to,
    bool *is_seen)
{
	size_t place = (size_t)(from - config->jobs.items);

	if (is_seen[place])
		return false;
	is_seen[place] = true;
	for (size_t i = 0; i < from->after.count; i++) {
		const struct config_job *before = config_find_job(config, from->after.items[i]);

		if (str_equals(from->after.items[i], to) ||
		    (before != NULL && comes_after(config, before, to, is_seen)))
			return true;
	}

	return false;
}

static void
lint_after(const struct lint_times *lint, const struct config_job *job)
{
	SCOPED(freep) bool *is_seen = NULL;
	struct config_place place;

	if (job->after.count == 0)
		return;
	is_seen = xcalloc(lint->config->jobs.count, sizeof(*is_seen));
	place = config_job_place(lint->config, job, "after");
	for (size_t i = 0; i < job->after.count; i++) {
		const char *name = job->after.items[i];
		const struct config_job *before = config_find_job(lint->config, name);

		if (before == NULL)
			config_problems_error(lint->problems, place, NULL,
			    "job '%s': after: there is no job '%s'", job->name, name);
		else if (before->is_continuous)
			config_problems_error(lint->problems, place, NULL,
			    "job '%s': after: job '%s' never ends", job->name, name);
	}
	if (comes_after(lint->config, job, job->name, is_seen))
		config_problems_error(lint->problems, place, NULL, "job '%s' comes after itself",
		    job->name);
	if (job->is_continuous)
		config_problems_error(lint->problems, place, NULL,
		    "job '%s': what runs all the time comes after nothing", job->name);
}

/* ---- at the same time ---------------------------------------------------------------------- */

/* The first instant of the next days at which both are due. */
static bool
find_collision(const struct lint_times *lint, const struct calendar *a, const struct calendar *b,
    struct wall_time *ret_at)
{
	const struct zone *zone = lint->config->zone;
	struct wall_time until = { .us = lint->now.us + LOOK_AHEAD_US };
	struct wall_time at = lint->now;
	struct wall_time other;

	while (calendar_next(a, zone, at, &at) && at.us <= until.us) {
		if (calendar_next(b, zone, (struct wall_time){ at.us - 1 }, &other) &&
		    other.us == at.us) {
			*ret_at = at;
			return true;
		}
	}

	return false;
}

static bool
is_at_fixed_times(const struct config_job *job)
{
	return job->is_supported && !job->is_broken && job->source != NULL &&
	    !config_job_is_stream(job) &&
	    (job->schedule == CONFIG_AT || job->schedule == CONFIG_CRON);
}

/*
 * NULL for a job that cannot collide: what runs many times a day meets everything some time, and a
 * calendar that cannot be made is told of elsewhere.
 */
static struct calendar *
rare_calendar(const struct lint_times *lint, const struct config_job *job)
{
	struct err err = ERR_INIT;
	SCOPED(calendar_freep) struct calendar *calendar = NULL;

	if (!is_at_fixed_times(job) || timetable_calendar(job, lint->now, &calendar, &err) < 0 ||
	    calendar_interval_us(calendar) < COLLIDES_FROM_US)
		return NULL;

	return TAKE(calendar);
}

static void
lint_pair(const struct lint_times *lint, const struct config_job *job, const struct calendar *a,
    const struct config_job *other, const struct calendar *b)
{
	struct wall_time at;
	char text[CLOCK_TEXT_SIZE];

	if (b == NULL || !str_equals(job->source, other->source) ||
	    !find_collision(lint, a, b, &at))
		return;
	config_problems_warning(lint->problems, job->place,
	    "Give one of them another time, or 'after' the other.",
	    "jobs '%s' and '%s' are both due at %s; of one source they run one after the other",
	    other->name, job->name, zone_format(lint->config->zone, at, text));
}

static void
lint_collisions(const struct lint_times *lint)
{
	const struct config_job *jobs = lint->config->jobs.items;
	size_t count = lint->config->jobs.count;
	SCOPED(freep) struct calendar **calendars = xcalloc(count, sizeof(struct calendar *));

	for (size_t i = 0; i < count; i++) {
		calendars[i] = rare_calendar(lint, &jobs[i]);
		for (size_t j = 0; j < i && calendars[i] != NULL; j++)
			lint_pair(lint, &jobs[i], calendars[i], &jobs[j], calendars[j]);
	}
	for (size_t i = 0; i < count; i++)
		calendar_free(calendars[i]);
}

/* ---- blackouts ----------------------------------------------------------------------------- */

static void
lint_blackout(const struct lint_times *lint, const struct config_blackout *blackout)
{
	struct err err = ERR_INIT;
	SCOPED(calendar_freep)
	struct calendar *begins = calendar_at((const char *const *)blackout->at.items,
	    blackout->at.count, &err);
	int64_t interval_us = begins != NULL ? calendar_interval_us(begins) : 0;

	if (begins == NULL && blackout->at.count > 0)
		config_problems_error(lint->problems, blackout->place, err.hint,
		    "blackout '%s': at: %s", blackout->name, err.msg);
	if (interval_us > 0 && blackout->lasts_us >= interval_us)
		config_problems_error(lint->problems, blackout->place, NULL,
		    "blackout '%s' lasts longer than until it begins again: nothing could ever run",
		    blackout->name);
	for (size_t i = 0; i < blackout->jobs.count; i++) {
		if (config_find_job(lint->config, blackout->jobs.items[i]) == NULL)
			config_problems_error(lint->problems, blackout->place, NULL,
			    "blackout '%s': there is no job '%s'", blackout->name,
			    blackout->jobs.items[i]);
	}
}

void
config_lint_times(const struct config *config, struct wall_time now,
    struct config_problems *problems)
{
	const struct lint_times lint = { config, now, problems };

	for (size_t i = 0; i < config->jobs.count; i++)
		lint_after(&lint, &config->jobs.items[i]);
	if (config->zone != NULL && !problems->is_without_warnings)
		lint_collisions(&lint);
	for (size_t i = 0; i < config->blackouts.count; i++)
		lint_blackout(&lint, &config->blackouts.items[i]);
}
