#include "app/config_lint.h"

#include <stdio.h>

#include "app/config_lint_times.h"
#include "app/config_lint_web.h"
#include "app/notify/alert_lint.h"
#include "base/err.h"
#include "base/scope.h"
#include "base/str.h"
#include "base/zone.h"
#include "config/config.h"
#include "sched/calendar.h"

enum {
	GAP_LOOKAHEAD_DAYS = 366,
	/* Jobs that run more often than this lose nothing by a clock change. */
	GAP_INTERVAL_MIN_S = 2 * 3600,
};

struct lint {
	const struct config *config;
	struct wall_time now;
	struct config_problems *problems;
};

/* The job's calendar; NULL when it has none, or when *err says why it cannot be read. */
static struct calendar *
make_calendar(const struct config_job *job, struct wall_time now, struct err *err)
{
	switch (job->schedule) {
	case CONFIG_AT:
		return calendar_at((const char *const *)job->at.items, job->at.count, err);
	case CONFIG_CRON:
		return calendar_cron(job->cron, err);
	case CONFIG_EVERY:
		return calendar_every(job->every_us, now);
	default:
		return NULL;
	}
}

static const char *
schedule_key(const struct config_job *job)
{
	return job->schedule == CONFIG_AT ? "at" : job->schedule == CONFIG_CRON ? "cron" : "every";
}

static struct config_place
place_of(const struct lint *lint, const struct config_job *job, const char *key)
{
	return config_job_place(lint->config, job, key);
}

/* ---- one job ------------------------------------------------------------------------------ */

static void
lint_keep(const struct lint *lint, const struct config_job *job, int64_t interval_us)
{
	char keep[CLOCK_TEXT_SIZE];
	char interval[CLOCK_TEXT_SIZE];

	(void)clock_format_duration(interval_us, interval);
	if (!config_job_is_stream(job) && job->keep.keep_us != 0 && job->keep.keep_us < interval_us)
		config_problems_warning(lint->problems, place_of(lint, job, "keep"),
		    "Keep them longer, or run it more often.",
		    "job '%s': backups are kept for %s but made only every %s, so there would be only one",
		    job->name, clock_format_duration(job->keep.keep_us, keep), interval);
	if (job->max_age_us != 0 && job->max_age_us < interval_us)
		config_problems_warning(lint->problems, place_of(lint, job, "max_age"),
		    "Leave it away: twice the interval is the default.",
		    "job '%s': max_age is shorter than the %s between two runs", job->name,
		    interval);
	if (job->start_deadline_us > interval_us)
		config_problems_warning(lint->problems, place_of(lint, job, "start_deadline"), NULL,
		    "job '%s': start_deadline is longer than the %s between two runs", job->name,
		    interval);
}

static void
lint_clock_change(const struct lint *lint, const struct config_job *job,
    const struct calendar *calendar)
{
	struct civil skipped;
	struct wall_time due;
	char then[CLOCK_TEXT_SIZE];

	if (!calendar_find_gap(calendar, lint->config->zone, lint->now, GAP_LOOKAHEAD_DAYS,
		&skipped, &due))
		return;
	config_problems_warning(lint->problems, place_of(lint, job, schedule_key(job)),
	    "Choose another time of day if that matters.",
	    "job '%s': %04d-%02d-%02d %02d:%02d does not exist in %s, because the clock is set forward; it runs at %s then",
	    job->name, skipped.year, skipped.month, skipped.day, skipped.hour, skipped.minute,
	    lint->config->timezone, zone_format(lint->config->zone, due, then));
}

static void
lint_schedule(const struct lint *lint, const struct config_job *job)
{
	struct err err = ERR_INIT;
	SCOPED(calendar_freep) struct calendar *calendar = make_calendar(job, lint->now, &err);
	int64_t interval_us;

	if (calendar == NULL) {
		if (err.kind != ERR_NONE)
			config_problems_error(lint->problems,
			    place_of(lint, job, schedule_key(job)), err.hint, "job '%s': %s: %s",
			    job->name, schedule_key(job), err.msg);
		return;
	}
	interval_us = calendar_interval_us(calendar);
	if (interval_us == 0) {
		config_problems_error(lint->problems, place_of(lint, job, schedule_key(job)), NULL,
		    "job '%s': this time never comes", job->name);
		return;
	}
	if (job->is_broken || lint->problems->is_without_warnings)
		return;
	lint_keep(lint, job, interval_us);
	if (interval_us >= GAP_INTERVAL_MIN_S * US_PER_S && lint->config->zone != NULL)
		lint_clock_change(lint, job, calendar);
}

/* Each type of source has backups of its own kinds. */
static void
lint_kind(const struct lint *lint, const struct config_job *job)
{
	static const struct {
		const char *type;
		const char *kind;
	} pairs[] = {
		{ "postgres", "dump" },
		{ "postgres", "base" },
		{ "postgres", "wal" },
		{ "redis", "rdb" },
		{ "redis", "aof" },
		{ "redis", "stream" },
	};
	const struct config_source *source = config_find_source(lint->config, job->source);
	const char *fitting = NULL;

	if (source == NULL || source->type == NULL || job->kind == NULL)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		if (!str_equals(pairs[i].type, source->type))
			continue;
		if (str_equals(pairs[i].kind, job->kind))
			return;
		if (fitting == NULL)
			fitting = pairs[i].kind;
	}
	if (fitting == NULL)
		return;
	SCOPED(str_done) struct str hint = STR_INIT;
	str_addf(&hint, "Write 'do: %s'.", fitting);
	config_problems_error(lint->problems, place_of(lint, job, "do"), str_text(&hint),
	    "job '%s': a %s has no backups of kind '%s'", job->name, source->type, job->kind);
}

static void
lint_verify(const struct lint *lint, const struct config_job *job)
{
	if (job->verify.smoke.count > 0 && job->verify.level >= 0 && job->verify.level < 4)
		config_problems_warning(lint->problems, place_of(lint, job, "verify"),
		    "Set its level to 4.",
		    "job '%s': the smoke queries are never asked, because verify stops at level %d",
		    job->name, job->verify.level);
}

/* ---- several jobs ------------------------------------------------------------------------- */

/* Two jobs that put their backups side by side: told once, at the later one. */
static void
lint_same_folder(const struct lint *lint, const struct config_job *job)
{
	for (const struct config_job *other = lint->config->jobs.items; other < job; other++) {
		bool is_same_folder = job->folder != NULL || other->folder != NULL
		    ? str_equals(job->folder, other->folder)
		    : str_equals(job->kind, other->kind);

		if (!other->is_supported || !is_same_folder ||
		    !str_equals(job->source, other->source) || config_job_is_stream(job))
			continue;
		config_problems_warning(lint->problems, job->place,
		    "Give one of them a 'folder' of its own, like weekly.",
		    "jobs '%s' and '%s' put their backups of '%s' into the same folder",
		    other->name, job->name, job->source);
		return;
	}
}

/* One archive, one receiver: a second one would only wait for the first one's lock, for ever. */
static void
lint_same_stream(const struct lint *lint, const struct config_job *job)
{
	for (const struct config_job *other = lint->config->jobs.items; other < job; other++) {
		if (!job->is_continuous || !other->is_continuous || !other->is_supported ||
		    !str_equals(job->source, other->source) || !str_equals(job->kind, other->kind))
			continue;
		config_problems_error(lint->problems, job->place, "Remove one of them.",
		    "jobs '%s' and '%s' both receive the stream of '%s'", other->name, job->name,
		    job->source);
		return;
	}
}

/* 0: it has no schedule that tells. */
static int64_t
interval_of(const struct lint *lint, const struct config_job *job)
{
	struct err err = ERR_INIT;
	SCOPED(calendar_freep) struct calendar *calendar = make_calendar(job, lint->now, &err);

	return calendar != NULL ? calendar_interval_us(calendar) : 0;
}

/* WAL brings nothing back without a base from before it. */
static void
lint_wal(const struct lint *lint, const struct config_job *wal)
{
	bool has_base = false;
	bool has_base_in_window = false;

	if (!str_equals(wal->kind, "wal"))
		return;
	for (size_t i = 0; i < lint->config->jobs.count; i++) {
		const struct config_job *base = &lint->config->jobs.items[i];

		if (!str_equals(base->kind, "base") || !str_equals(base->source, wal->source))
			continue;
		has_base = true;
		if (wal->keep.keep_us == 0 || interval_of(lint, base) <= wal->keep.keep_us)
			has_base_in_window = true;
	}
	if (!has_base)
		config_problems_warning(lint->problems, wal->place,
		    "Add a job with 'do: base' for the same source.",
		    "job '%s': there is no base job for '%s', and WAL is of no use without a base",
		    wal->name, wal->source != NULL ? wal->source : "");
	else if (!has_base_in_window)
		config_problems_warning(lint->problems, wal->place,
		    "Make base backups more often, or keep the WAL longer.",
		    "job '%s': no base job of '%s' runs within the time that WAL is kept",
		    wal->name, wal->source != NULL ? wal->source : "");
}

/* A stream begins with a copy, and without later ones all that came since would be replayed. */
static void
lint_stream(const struct lint *lint, const struct config_job *stream)
{
	if (!str_equals(stream->kind, "stream") || stream->base_every_us > 0)
		return;
	for (size_t i = 0; i < lint->config->jobs.count; i++) {
		const struct config_job *base = &lint->config->jobs.items[i];

		if (str_equals(base->kind, "rdb") && str_equals(base->source, stream->source))
			return;
	}
	config_problems_warning(lint->problems, stream->place,
	    "Leave base_every on, or add a job with 'do: rdb' for the same source.",
	    "job '%s': there is no rdb job for '%s': a recovery would replay all since the stream began",
	    stream->name, stream->source != NULL ? stream->source : "");
}

void
config_lint(const struct config *config, struct wall_time now, struct config_problems *problems)
{
	const struct lint lint = { .config = config, .now = now, .problems = problems };

	for (size_t i = 0; i < config->jobs.count; i++) {
		const struct config_job *job = &config->jobs.items[i];

		if (!job->is_supported)
			continue;
		lint_schedule(&lint, job);
		if (!problems->is_without_warnings) {
			lint_wal(&lint, job);
			lint_stream(&lint, job);
		}
		if (job->is_broken)
			continue;
		lint_kind(&lint, job);
		lint_verify(&lint, job);
		lint_same_folder(&lint, job);
		lint_same_stream(&lint, job);
	}
	config_lint_times(config, now, problems);
	config_lint_web(config, problems);
	alert_lint(config, problems);
}
