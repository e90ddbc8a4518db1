#include "engine/watch_seen.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/engine.h"
#include "engine/run.h"
#include "engine/view.h"
#include "os/file.h"
#include "repo/emptied.h"
#include "repo/manifest.h"
#include "sched/alarm_forecast.h"
#include "sched/alarm_rules.h"
#include "source/source.h"
#include "store/store.h"

enum {
	EARLIER_MAX = 10,                    /* backups that the newest is compared with */
	MANIFEST_READ_MAX = 8 * 1024 * 1024, /* a larger one is not read only to compare */
};
#define LANE_MAX_AGE_US (5 * US_PER_S)
#define STREAM_RECOVERED_US (5 * 60 * US_PER_S)
#define FORECAST_FROM_US (INT64_C(14) * 24 * 3600 * US_PER_S)

void
watch_seen_done(struct watch_seen *seen)
{
	for (size_t i = 0; i < seen->jobs.count; i++) {
		struct seen_job *job = &seen->jobs.items[i];

		run_outcome_done(&job->outcome);
		run_row_done(&job->last);
		run_row_done(&job->running);
		backup_row_done(&job->newest);
		free(job->emptied);
		free(job->gap);
	}
	vec_done(&seen->jobs);
	vec_done(&seen->drills);
	channel_rows_done(&seen->channels);
	free(seen->catalog_aside);
	free(seen->store_failure);
	*seen = (struct watch_seen){ .at = { 0 } };
}

void
watch_memory_done(struct watch_memory *memory)
{
	for (size_t i = 0; i < memory->items.count; i++) {
		free(memory->items.items[i].job);
		free(memory->items.items[i].newest_id);
		free(memory->items.items[i].emptied);
	}
	vec_done(&memory->items);
	lanes_done(&memory->lanes);
}

struct seeing {
	struct engine *engine;
	const struct watch_look *look;
	struct wall_time now;
	bool has_store;
	struct watch_seen *seen;
};

/* ---- backups ------------------------------------------------------------------------------- */

static int
compare_bytes(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a;
	uint64_t right = *(const uint64_t *)b;

	return (left > right) - (left < right);
}

/* Good backups only, the newest first; the first is the one that is compared. */
static uint64_t
median_of_earlier(const struct backup_rows *rows, const struct backup_row *newest)
{
	uint64_t bytes[EARLIER_MAX];
	size_t count = 0;

	for (size_t i = 0; i < rows->rows.count && count < EARLIER_MAX; i++) {
		const struct backup_row *row = &rows->rows.items[i];

		if (row != newest && !row->is_damaged && !row->is_unproven)
			bytes[count++] = row->content_bytes;
	}
	if (count < ALARM_SIZES_MIN)
		return 0;
	qsort(bytes, count, sizeof(*bytes), compare_bytes);

	return bytes[count / 2];
}

static bool
holds_tables(const struct backup_row *row)
{
	return !row->is_damaged && !row->is_unproven && row->manifest_bytes <= MANIFEST_READ_MAX;
}

/* NULL also when the newest cannot be read: `verify` is there to find that out. */
static char *
find_emptied(struct seeing *seeing, const struct backup_rows *rows, const struct backup_row *newest)
{
	SCOPED(emptied_freep) struct emptied *emptied = emptied_new();
	SCOPED(view_done) struct view view = { .engine = NULL };
	struct err err = ERR_INIT;
	unsigned count = 0;

	if (!holds_tables(newest) ||
	    view_open(seeing->engine, newest->manifest_name, &view, &err) < 0)
		return NULL;
	for (size_t i = 0; i < rows->rows.count && count < EARLIER_MAX; i++) {
		const struct backup_row *row = &rows->rows.items[i];
		SCOPED(view_done) struct view earlier = { .engine = NULL };

		if (row == newest || !holds_tables(row) ||
		    view_open(seeing->engine, row->manifest_name, &earlier, &err) < 0)
			continue;
		emptied_remember(emptied, earlier.manifest);
		count++;
	}

	return emptied_find(emptied, view.manifest);
}

/* Manifests are read once for each new backup, not at every look. */
static char *
remember_emptied(struct seeing *seeing, const char *job, const struct backup_rows *rows,
    const struct backup_row *newest)
{
	struct watch_memory *memory = seeing->look->memory;
	size_t at = 0;

	if (!seeing->look->wants_manifests || !seeing->has_store)
		return NULL;
	while (at < memory->items.count && !str_equals(memory->items.items[at].job, job))
		at++;
	if (at == memory->items.count)
		vec_add(&memory->items)->job = xstrdup(job);
	if (!str_equals(memory->items.items[at].newest_id, newest->id)) {
		free(memory->items.items[at].newest_id);
		free(memory->items.items[at].emptied);
		memory->items.items[at].newest_id = xstrdup(newest->id);
		memory->items.items[at].emptied = find_emptied(seeing, rows, newest);
	}

	return xstrdup(memory->items.items[at].emptied);
}

static int
see_backups(struct seeing *seeing, struct seen_job *job, struct err *err)
{
	const struct backup_filter filter = { .job = job->of->job, .limit = 2 * EARLIER_MAX };
	SCOPED(backup_rows_done) struct backup_rows rows = { .rows = { .count = 0 } };
	struct backup_row *newest = NULL;

	if (catalog_backup_list(seeing->engine->catalog, &filter, &rows, err) < 0 ||
	    catalog_backup_proofs(seeing->engine->catalog, job->of->job, &job->proofs, err) < 0)
		return -1;
	for (size_t i = 0; i < rows.rows.count && newest == NULL; i++) {
		if (!rows.rows.items[i].is_damaged && !rows.rows.items[i].is_unproven)
			newest = &rows.rows.items[i];
	}
	if (newest == NULL)
		return 0;
	job->median_bytes = median_of_earlier(&rows, newest);
	job->emptied = remember_emptied(seeing, job->of->job, &rows, newest);
	job->newest = *newest;
	*newest = (struct backup_row){ .id = NULL };

	return 0;
}

/* ---- streams ------------------------------------------------------------------------------- */

static void
note_window(struct seen_job *job, const struct window_report *report)
{
	for (size_t i = 0; i < report->spans.count; i++) {
		const struct window_span *span = &report->spans.items[i];

		if (job->window_to.us != 0 && !span->is_current)
			continue;
		job->window_from = span->from;
		job->window_to = span->to;
	}
	job->gaps_count = (unsigned)report->gaps.count;
	if (report->gaps.count > 0)
		job->gap = xstrdup(report->gaps.items[report->gaps.count - 1].text);
}

/* A window that is older than what may be missing would raise alarms of its own. */
static int64_t
lane_age_us(const struct watch_job *of)
{
	int64_t quarter_us = of->stream_max_age_us / 4;

	return quarter_us > 0 && quarter_us < LANE_MAX_AGE_US ? quarter_us : LANE_MAX_AGE_US;
}

static void
see_stream(struct seeing *seeing, struct seen_job *job)
{
	const struct lane *lane;

	job->is_receiving = run_is_held(seeing->engine, job->of->job);
	if (!seeing->has_store) {
		job->is_window_unknown = true;
		return;
	}
	lane = lanes_get(&seeing->look->memory->lanes, seeing->engine, job->of->stream,
	    lane_age_us(job->of));
	if (lane->failure != NULL) {
		log_debug("watch: window of '%s': %s", job->of->source, lane->failure);
		job->is_window_unknown = true;
		return;
	}
	note_window(job, &lane->report);
}

/* The last run of a job that keeps a stream: it makes no backup, so no summary has it. */
static int
see_stream_run(struct seeing *seeing, struct seen_job *job, struct err *err)
{
	const struct run_filter of_job = { .job = job->of->job, .verb = "wal", .limit = 1 };
	SCOPED(run_rows_done) struct run_rows runs = { .rows = { .count = 0 } };

	if (catalog_run_list(seeing->engine->catalog, &of_job, &runs, err) < 0)
		return -1;
	if (runs.rows.count > 0) {
		struct run_row *to = runs.rows.items[0].state == RUN_RUNNING ? &job->running
									     : &job->last;

		*to = runs.rows.items[0];
		runs.rows.items[0] = (struct run_row){ .id = NULL };
	}

	return 0;
}

/*
 * A run that keeps a stream does not end while all is well, so that no good one follows a failed
 * one.  It has recovered when something arrived since, or when it runs for a while: a keeper that
 * is started again and again must not make the alarm come and go.
 */
static void
forgive_stream(struct seen_job *job, struct wall_time now)
{
	const struct run_row *failure = &job->outcome.last_failure;
	int64_t failed_us = failure->finished.us != 0 ? failure->finished.us : failure->started.us;

	if (job->running.id != NULL &&
	    (job->window_to.us > failed_us ||
		now.us - job->running.started.us >= STREAM_RECOVERED_US))
		job->outcome.failures_in_a_row = 0;
}

/* ---- all ----------------------------------------------------------------------------------- */

/* Since when something is expected of it: the first time that it was seen. */
static int
see_since(struct seeing *seeing, const char *what, const char *name, struct wall_time *ret_since,
    struct err *err)
{
	SCOPED(freep) char *mark = xasprintf("%s:%s", what, name);
	SCOPED(freep) char *value = NULL;

	if (catalog_mark_get(seeing->engine->catalog, mark, ret_since, &value, err) < 0)
		return -1;
	if (ret_since->us != 0)
		return 0;
	*ret_since = seeing->now;

	return catalog_mark_put(seeing->engine->catalog, mark, seeing->now, NULL, err);
}

static void
take_summary(struct seen_job *job, struct job_summaries *summaries)
{
	for (size_t i = 0; i < summaries->rows.count; i++) {
		struct job_summary *summary = &summaries->rows.items[i];

		if (!str_equals(summary->job, job->of->job))
			continue;
		job->last = summary->last;
		job->running = summary->running;
		summary->last = (struct run_row){ .id = NULL };
		summary->running = (struct run_row){ .id = NULL };
	}
}

static int
see_job(struct seeing *seeing, const struct watch_job *of, struct job_summaries *summaries,
    struct err *err)
{
	struct seen_job *job = vec_add(&seeing->seen->jobs);
	bool is_stream = of->stream != NULL;

	job->of = of;
	if (see_since(seeing, "job", of->job, &job->known_since, err) < 0 ||
	    catalog_run_outcome(seeing->engine->catalog, of->job, is_stream ? "wal" : "backup",
		&job->outcome, err) < 0)
		return -1;
	if (is_stream) {
		see_stream(seeing, job);
		if (see_stream_run(seeing, job, err) < 0)
			return -1;
		forgive_stream(job, seeing->now);
		return 0;
	}
	take_summary(job, summaries);

	return see_backups(seeing, job, err);
}

static int
see_drill(struct seeing *seeing, const char *source, struct err *err)
{
	struct seen_drill *drill;

	for (size_t i = 0; i < seeing->seen->drills.count; i++) {
		if (str_equals(seeing->seen->drills.items[i].source, source))
			return 0;
	}
	drill = vec_add(&seeing->seen->drills);
	drill->source = source;
	if (catalog_run_good_at(seeing->engine->catalog, source, "restore", &drill->last, err) < 0)
		return -1;

	return see_since(seeing, "source", source, &drill->known_since, err);
}

static int
see_space(struct seeing *seeing, const char *store_failure, struct err *err)
{
	SCOPED(space_rows_done) struct space_rows rows = { .rows = { .count = 0 } };
	VEC(struct space_sample) samples = { .count = 0 };
	struct watch_seen *seen = seeing->seen;
	struct err unusable = ERR_INIT;

	if (!seeing->has_store || store_space(seeing->engine->store, &seen->space, &unusable) < 0) {
		seen->store_failure = xstrdup(store_failure != NULL ? store_failure : unusable.msg);
		return 0;
	}
	if (catalog_space_list(seeing->engine->catalog,
		(struct wall_time){ seeing->now.us - FORECAST_FROM_US }, &rows, err) < 0)
		return -1;
	for (size_t i = 0; i < rows.rows.count; i++)
		vec_push(&samples,
		    ((struct space_sample){ rows.rows.items[i].at,
			rows.rows.items[i].used_bytes }));
	if (!alarm_forecast(samples.items, samples.count, seen->space.capacity_bytes, seeing->now,
		&seen->full_at))
		seen->full_at.us = 0;
	vec_done(&samples);

	return 0;
}

/* What cannot be found out there is no reason to keep quiet about the rest. */
static void
see_state(struct seeing *seeing)
{
	const struct engine *engine = seeing->engine;
	struct watch_seen *seen = seeing->seen;
	struct err err = ERR_INIT;
	SCOPED(freep) char *store_path = NULL;
	struct disk_space space;

	if (seeing->has_store)
		store_path = store_local_path(engine->store, "");
	if (disk_space_of(engine->state_dir, &space, &err) < 0)
		log_debug("%s", err.msg);
	/* A store with a quota may be full long before its disk, and a disk long before the store. */
	else if (store_path == NULL || !dir_is_same_device(store_path, engine->state_dir) ||
	    space.capacity_bytes != seen->space.capacity_bytes)
		seen->state_space = (struct store_space){ .used_bytes = space.used_bytes,
			.capacity_bytes = space.capacity_bytes };
	seen->catalog_aside = catalog_find_aside(engine->catalog);
}

int
watch_see(struct engine *engine, const struct watch_look *look, const char *store_failure,
    struct wall_time now, struct watch_seen *ret_seen, struct err *err)
{
	SCOPED(watch_seen_done) struct watch_seen seen = { .at = now };
	SCOPED(job_summaries_done) struct job_summaries summaries = { .rows = { .count = 0 } };
	struct seeing seeing = {
		.engine = engine,
		.look = look,
		.now = now,
		.has_store = engine->store != NULL && store_failure == NULL,
		.seen = &seen,
	};

	if (catalog_job_summaries(engine->catalog, &summaries, err) < 0)
		return -1;
	for (size_t i = 0; i < look->jobs_count; i++) {
		if (see_job(&seeing, &look->jobs[i], &summaries, err) < 0 ||
		    (look->wants_drills && see_drill(&seeing, look->jobs[i].source, err) < 0))
			return -1;
	}
	if (see_space(&seeing, store_failure, err) < 0 ||
	    catalog_channel_list(engine->catalog, &seen.channels, err) < 0)
		return -1;
	see_state(&seeing);
	*ret_seen = seen;
	seen = (struct watch_seen){ .at = { 0 } };

	return 0;
}
