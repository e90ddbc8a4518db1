#include "engine/overview.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "catalog/catalog_history.h"
#include "engine/engine.h"
#include "engine/lane.h"

enum {
	LEVEL_RESTORED = 2, /* from here on a proof is a restore */
	RESTORES_SEEN = 200,
};

/* A daemon tells four times a minute how its streams are connected. */
#define LINK_FRESH_US (60 * US_PER_S)

static void
job_done(struct overview_job *job)
{
	free(job->job);
	free(job->source);
	free(job->kind);
	run_row_done(&job->last);
	backup_row_done(&job->newest);
	link_row_done(&job->link);
	free(job->abnormal);
	free(job->next_command);
}

void
overview_done(struct overview *overview)
{
	for (size_t i = 0; i < overview->jobs.count; i++)
		job_done(&overview->jobs.items[i]);
	vec_done(&overview->jobs);
	vec_done(&overview->points);
	for (size_t i = 0; i < overview->restores.count; i++) {
		free(overview->restores.items[i].source);
		free(overview->restores.items[i].backup_id);
	}
	vec_done(&overview->restores);
	*overview = (struct overview){ .abnormal_count = 0 };
}

/* The job's line, made when it is not there yet: jobs of the config first, then what the store has. */
static struct overview_job *
job_line(struct overview *overview, const char *name, const char *source)
{
	struct overview_job *job;

	for (size_t i = 0; i < overview->jobs.count; i++) {
		if (str_equals(overview->jobs.items[i].job, name))
			return &overview->jobs.items[i];
	}
	job = vec_add(&overview->jobs);
	job->job = xstrdup(name);
	job->source = xstrdup(source);
	job->proved_level = -1;

	return job;
}

const struct overview_restore *
overview_restore_of(const struct overview *overview, const char *source)
{
	for (size_t i = 0; i < overview->restores.count; i++) {
		if (str_equals(overview->restores.items[i].source, source))
			return &overview->restores.items[i];
	}

	return NULL;
}

/* Is this restore of a source later than what is known of it; then it takes that one's place. */
static void
note_restore(struct overview *overview, const char *source, const char *backup_id,
    struct wall_time at, int64_t took_us)
{
	struct overview_restore *known = NULL;

	for (size_t i = 0; i < overview->restores.count; i++) {
		if (str_equals(overview->restores.items[i].source, source))
			known = &overview->restores.items[i];
	}
	if (known != NULL && known->at.us > at.us)
		return;
	if (known == NULL) {
		known = vec_add(&overview->restores);
		known->source = xstrdup(source);
	}
	free(known->backup_id);
	known->backup_id = xstrdup(backup_id);
	known->at = at;
	known->took_us = took_us;
}

struct backup_counter {
	struct backup_viewer viewer;
	struct overview *overview;
};

/* They come newest first. */
static void
count_backup(struct backup_viewer *viewer, const struct backup_point *point)
{
	struct overview *overview = ((struct backup_counter *)viewer)->overview;
	bool is_good = !point->is_damaged && !point->is_unproven;
	struct overview_job *job;

	overview->unproven_count += point->is_unproven ? 1 : 0;
	overview->damaged_count += point->is_damaged ? 1 : 0;
	if (point->job == NULL || point->job[0] == '\0')
		return;
	job = job_line(overview, point->job, point->source);
	if (job->kind == NULL)
		job->kind = xstrdup(point->kind);
	job->backups_count++;
	job->stored_bytes += point->stored_bytes;
	vec_push(&overview->points,
	    ((struct overview_point){
		.job = (size_t)(job - overview->jobs.items),
		.started = point->started,
		.consistent_at = point->consistent_at,
		.stored_bytes = point->stored_bytes,
		.level = point->level,
		.is_good = is_good,
	    }));
	if (point->level > job->proved_level && is_good) {
		job->proved_level = point->level;
		job->proved_at = point->level_at;
	}
	if (point->level >= LEVEL_RESTORED && is_good)
		note_restore(overview, point->source, point->id, point->level_at, 0);
}

static int
add_backups(struct engine *engine, struct overview *overview, struct err *err)
{
	struct backup_counter counter = { { .see = count_backup }, overview };

	if (catalog_backup_each(engine->catalog, &counter.viewer, err) < 0)
		return -1;
	for (size_t i = 0; i < overview->jobs.count; i++) {
		struct overview_job *job = &overview->jobs.items[i];
		const struct backup_filter newest = { .job = job->job,
			.is_good = true,
			.limit = 1 };
		SCOPED(backup_rows_done) struct backup_rows rows = { .rows = { .count = 0 } };

		if (catalog_backup_list(engine->catalog, &newest, &rows, err) < 0)
			return -1;
		if (rows.rows.count == 0)
			continue;
		job->newest = rows.rows.items[0];
		rows.rows.items[0] = (struct backup_row){ .id = NULL };
	}

	return 0;
}

static void
say(struct overview_job *job, char *abnormal, char *next_command)
{
	if (job->abnormal != NULL) {
		free(abnormal);
		free(next_command);
		return;
	}
	job->abnormal = abnormal;
	job->next_command = next_command;
}

static void
judge_link(struct overview_job *job, struct wall_time now)
{
	const struct link_state *link = &job->link.state;
	char text[CLOCK_TEXT_SIZE];

	if (job->link.told.us == 0 || link->phase != LINK_WAITING)
		return;
	clock_format_duration(now.us - link->since.us, text);
	say(job, xasprintf("not connected for %s: %s", text, link->why),
	    xasprintf("blackstart check %s", job->source));
}

static void
judge_stream(struct overview_job *job, struct wall_time now)
{
	char age[CLOCK_TEXT_SIZE];
	char limit[CLOCK_TEXT_SIZE];

	judge_link(job, now);

	if (job->stream->failure != NULL)
		say(job,
		    xasprintf("it cannot be told what can be brought back: %s",
			job->stream->failure),
		    xasprintf("blackstart window %s", job->source));
	if (job->is_continuous && !job->is_running)
		say(job, xstrdup("it is not running: nothing is received"),
		    xasprintf("blackstart run %s", job->job));
	if (job->window_to.us == 0)
		say(job, xstrdup("no second can be chosen yet: it takes a base backup"),
		    xasprintf("blackstart window %s", job->source));
	else if (job->max_age_us > 0 && now.us - job->window_to.us > job->max_age_us)
		say(job,
		    xasprintf("the last commit is %s old, the limit is %s",
			clock_format_duration(now.us - job->window_to.us, age),
			clock_format_duration(job->max_age_us, limit)),
		    xasprintf("blackstart window %s", job->source));
}

/* The worst first: a job that failed is said before one that is merely old. */
static void
judge(struct overview_job *job, struct wall_time now)
{
	char age[CLOCK_TEXT_SIZE];
	char limit[CLOCK_TEXT_SIZE];

	if (job->last.id != NULL && (job->last.state == RUN_FAILED || job->last.state == RUN_LOST))
		say(job,
		    xasprintf("the last run %s: %s",
			job->last.state == RUN_LOST ? "was lost" : "failed",
			job->last.message != NULL ? job->last.message : "no message"),
		    xasprintf("blackstart log %s", job->last.id));
	if (job->stream != NULL)
		judge_stream(job, now);
	else if (job->newest.id == NULL && (job->last.id != NULL || job->max_age_us > 0))
		say(job, xstrdup("there is no good backup"),
		    xasprintf("blackstart run %s", job->job));
	if (job->newest.id != NULL && job->max_age_us > 0 &&
	    now.us - job->newest.consistent_at.us > job->max_age_us)
		say(job,
		    xasprintf("the last good backup is %s old, the limit is %s",
			clock_format_duration(now.us - job->newest.consistent_at.us, age),
			clock_format_duration(job->max_age_us, limit)),
		    xasprintf("blackstart run %s", job->job));
	if (job->newest.id != NULL && job->newest.warnings_count > 0)
		say(job, xstrdup("the newest backup has warnings"),
		    xasprintf("blackstart show %s", job->newest.id));
}

static int
add_runs(struct engine *engine, struct overview *overview, struct err *err)
{
	SCOPED(job_summaries_done) struct job_summaries summaries = { .rows = { .count = 0 } };

	if (catalog_job_summaries(engine->catalog, &summaries, err) < 0)
		return -1;
	for (size_t i = 0; i < summaries.rows.count; i++) {
		struct job_summary *summary = &summaries.rows.items[i];
		struct overview_job *job = job_line(overview, summary->job, summary->source);

		job->last = summary->last;
		summary->last = (struct run_row){ .id = NULL };
		job->is_running = summary->running.id != NULL;
	}

	return 0;
}

/* The last run of a job that keeps a stream: it makes no backup, so the summaries pass it over. */
static int
find_stream_run(struct engine *engine, struct overview_job *job, struct err *err)
{
	const struct run_filter of_job = { .job = job->job, .verb = "wal", .limit = 1 };
	SCOPED(run_rows_done) struct run_rows runs = { .rows = { .count = 0 } };

	if (catalog_run_list(engine->catalog, &of_job, &runs, err) < 0)
		return -1;
	if (runs.rows.count == 0)
		return 0;
	run_row_done(&job->last);
	job->last = runs.rows.items[0];
	runs.rows.items[0] = (struct run_row){ .id = NULL };
	job->is_running = job->last.state == RUN_RUNNING;

	return 0;
}

/* What nobody keeps up to date is not known any more. */
static int
find_link(struct engine *engine, struct overview_job *job, struct wall_time now, struct err *err)
{
	if (catalog_link_get(engine->catalog, job->job, &job->link, err) < 0)
		return -1;
	if (now.us - job->link.told.us > LINK_FRESH_US)
		link_row_done(&job->link);

	return 0;
}

static int
look_at_stream(struct engine *engine, struct overview_job *job, struct wall_time now,
    struct err *err)
{
	const struct window_report *report = &job->stream->report;

	if (find_stream_run(engine, job, err) < 0 || find_link(engine, job, now, err) < 0)
		return -1;
	job->stored_bytes = report->stored_bytes;
	for (size_t i = 0; i < report->spans.count; i++) {
		const struct window_span *span = &report->spans.items[i];

		if (job->window_to.us != 0 && !span->is_current)
			continue;
		job->window_from = span->from;
		job->window_to = span->to;
	}
	if (report->gaps.count > 0)
		say(job,
		    xasprintf("%zu %s in the log", report->gaps.count,
			report->gaps.count == 1 ? "gap" : "gaps"),
		    xasprintf("blackstart window %s", job->source));

	return 0;
}

static int
look_at_streams(struct engine *engine, struct overview *overview, struct wall_time now,
    struct err *err)
{
	for (size_t i = 0; i < overview->jobs.count; i++) {
		struct overview_job *job = &overview->jobs.items[i];

		if (job->stream != NULL && look_at_stream(engine, job, now, err) < 0)
			return -1;
	}

	return 0;
}

static bool
is_good_run(const struct run_row *run)
{
	return run->state == RUN_OK || run->state == RUN_WARNING;
}

/* The level of a backup says when it was restored last; its run says how long that took. */
static int
time_trials(struct engine *engine, struct overview *overview, struct err *err)
{
	const struct run_filter trials = { .verb = "verify", .limit = RESTORES_SEEN };
	SCOPED(run_rows_done) struct run_rows runs = { .rows = { .count = 0 } };

	if (overview->restores.count == 0)
		return 0;
	if (catalog_run_list(engine->catalog, &trials, &runs, err) < 0)
		return -1;
	for (size_t i = runs.rows.count; i > 0; i--) {
		const struct run_row *run = &runs.rows.items[i - 1];

		for (size_t j = 0; j < overview->restores.count && is_good_run(run); j++) {
			struct overview_restore *restore = &overview->restores.items[j];

			if (str_equals(restore->backup_id, run->backup_id))
				restore->took_us = run->finished.us - run->started.us;
		}
	}

	return 0;
}

static int
add_restores(struct engine *engine, struct overview *overview, struct err *err)
{
	const struct run_filter restores = { .verb = "restore", .limit = RESTORES_SEEN };
	SCOPED(run_rows_done) struct run_rows runs = { .rows = { .count = 0 } };

	if (time_trials(engine, overview, err) < 0 ||
	    catalog_run_list(engine->catalog, &restores, &runs, err) < 0)
		return -1;
	for (size_t i = 0; i < runs.rows.count; i++) {
		const struct run_row *run = &runs.rows.items[i];

		if (is_good_run(run))
			note_restore(overview, run->source, run->backup_id, run->finished,
			    run->finished.us - run->started.us);
	}

	return 0;
}

/* A job of the configuration has its line, whether it ever ran or not. */
static void
expect(struct overview *overview, const struct overview_expectation *expected)
{
	struct overview_job *job = job_line(overview, expected->job, expected->source);

	job->kind = xstrdup(expected->kind);
	job->max_age_us = expected->max_age_us;
	job->next_run = expected->next_run;
	job->is_continuous = expected->is_continuous;
	job->is_manual = expected->is_manual;
	job->is_expected = true;
	job->stream = expected->stream;
	job->calendar = expected->calendar;
}

int
overview_make(struct engine *engine, const struct overview_expectation *expected,
    size_t expected_count, struct wall_time now, struct overview *ret_overview, struct err *err)
{
	SCOPED(overview_done) struct overview overview = { .abnormal_count = 0 };

	for (size_t i = 0; i < expected_count; i++)
		expect(&overview, &expected[i]);
	if (add_runs(engine, &overview, err) < 0 ||
	    look_at_streams(engine, &overview, now, err) < 0 ||
	    add_backups(engine, &overview, err) < 0 || add_restores(engine, &overview, err) < 0 ||
	    store_space(engine->store, &overview.space, err) < 0)
		return -1;
	for (size_t i = 0; i < overview.jobs.count; i++) {
		judge(&overview.jobs.items[i], now);
		overview.abnormal_count += overview.jobs.items[i].abnormal != NULL ? 1 : 0;
	}
	overview.abnormal_count += overview.damaged_count;
	*ret_overview = overview;
	overview = (struct overview){ .abnormal_count = 0 };

	return 0;
}
