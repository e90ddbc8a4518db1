#include "engine/state.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/zone.h"
#include "catalog/catalog_history.h"
#include "engine/engine.h"
#include "sched/calendar.h"
#include "store/store.h"

enum {
	STRIP_RUNS_MAX = 4 * STATE_STRIP_CELLS, /* several by hand, and retries, for one due */
	OPEN_DAYS = 2,                          /* a run that began yesterday may end today */
};
#define US_PER_DAY (86400 * US_PER_S)

/* What is known of a job's days: those before the open ones do not change any more. */
struct kept_job {
	char *job;
	struct wall_time first; /* when days[0] began */
	struct state_day days[STATE_DAYS];
};

struct state_keeper {
	VEC(struct kept_job) jobs;
};

char
state_cell_letter(enum state_cell cell)
{
	static const char letters[] = "-owfmscr";

	return letters[cell];
}

struct state_keeper *
state_keeper_new(void)
{
	return xcalloc(1, sizeof(struct state_keeper));
}

void
state_keeper_free(struct state_keeper *keeper)
{
	if (keeper == NULL)
		return;
	for (size_t i = 0; i < keeper->jobs.count; i++)
		free(keeper->jobs.items[i].job);
	vec_done(&keeper->jobs);
	free(keeper);
}

void
state_done(struct state *state)
{
	answer_done(&state->answer);
	overview_done(&state->overview);
	vec_done(&state->jobs);
}

/* ---- the strip ---------------------------------------------------------------------------------- */

static enum state_cell
cell_of(enum run_state state)
{
	switch (state) {
	case RUN_RUNNING:
		return STATE_CELL_RUNNING;
	case RUN_OK:
		return STATE_CELL_OK;
	case RUN_WARNING:
		return STATE_CELL_WARNING;
	case RUN_MISSED:
		return STATE_CELL_MISSED;
	case RUN_SKIPPED:
		return STATE_CELL_SKIPPED;
	case RUN_CANCELLED:
		return STATE_CELL_CANCELLED;
	case RUN_FAILED:
	case RUN_LOST:
		break;
	}

	return STATE_CELL_FAILED;
}

/* Of a job without fixed times every run has its cell. */
static void
strip_by_runs(struct state_job *job, const struct run_points *runs)
{
	for (size_t i = 0; i < runs->items.count && i < STATE_STRIP_CELLS; i++) {
		size_t at = STATE_STRIP_CELLS - 1 - i;

		job->cells[at] = cell_of(runs->items.items[i].state);
		job->due[at] = runs->items.items[i].started;
	}
}

/* Half the way to the next due time has gone. */
static bool
is_too_late(const struct calendar *calendar, const struct zone *zone, struct wall_time due,
    struct wall_time now)
{
	struct wall_time next;

	return calendar_next(calendar, zone, due, &next) &&
	    now.us - due.us > (next.us - due.us) / 2;
}

/*
 * The last run that began between two due times stands for the first of them: the retry that
 * went well, not the attempt that failed.  None, though the job had run before: missed; but the
 * newest may still begin for half an interval.
 */
static void
strip_by_calendar(struct state_job *job, const struct calendar *calendar, const struct zone *zone,
    const struct run_points *runs, struct wall_time now)
{
	struct wall_time until = now;
	struct wall_time next = { .us = INT64_MAX };
	size_t run = 0;

	for (size_t i = STATE_STRIP_CELLS; i > 0 && run < runs->items.count; i--) {
		struct wall_time due;

		if (!calendar_previous(calendar, zone, until, &due))
			return;
		while (run < runs->items.count && runs->items.items[run].started.us >= next.us)
			run++;
		if (run == runs->items.count)
			return;
		if (runs->items.items[run].started.us >= due.us)
			job->cells[i - 1] = cell_of(runs->items.items[run].state);
		else if (next.us != INT64_MAX || is_too_late(calendar, zone, due, now))
			job->cells[i - 1] = STATE_CELL_MISSED;
		job->due[i - 1] = due;
		next = due;
		until.us = due.us - 1;
	}
}

static int
make_strip(struct engine *engine, const struct overview_job *from, struct wall_time now,
    struct state_job *job, struct err *err)
{
	const char *verb = from->stream != NULL ? "wal" : "backup";
	SCOPED(run_points_done) struct run_points runs = { .items = { .count = 0 } };

	if (catalog_run_points(engine->catalog, from->job, verb, STRIP_RUNS_MAX, &runs, err) < 0)
		return -1;
	if (from->calendar != NULL)
		strip_by_calendar(job, from->calendar, engine->zone, &runs, now);
	else
		strip_by_runs(job, &runs);

	return 0;
}

/* ---- the days ----------------------------------------------------------------------------------- */

/* When the site's day began that many days before the one of `now`. */
static struct wall_time
day_begin(const struct zone *zone, struct wall_time now, int days_before)
{
	struct civil today = zone_civil(zone, now);
	struct civil day;
	struct wall_time begin;

	today.hour = today.minute = today.second = 0;
	day = civil_from_unix_s(civil_to_unix_s(&today) - (int64_t)days_before * 86400);
	(void)zone_resolve(zone, &day, &begin, NULL);

	return begin;
}

static struct kept_job *
kept(struct state_keeper *keeper, const char *name)
{
	struct kept_job *job;

	for (size_t i = 0; i < keeper->jobs.count; i++) {
		if (str_equals(keeper->jobs.items[i].job, name))
			return &keeper->jobs.items[i];
	}
	job = vec_add(&keeper->jobs);
	job->job = xstrdup(name);

	return job;
}

/* How many of the days, from the first on, are known already; they are brought to their place. */
static size_t
keep_known(struct kept_job *job, const struct wall_time *bounds)
{
	size_t passed = 0;

	if (job->first.us == 0)
		return 0;
	for (; passed < STATE_DAYS; passed++) {
		if (bounds[0].us < job->first.us + (int64_t)passed * US_PER_DAY + US_PER_DAY / 2)
			break;
	}
	for (size_t i = 0; i + passed < STATE_DAYS; i++)
		job->days[i] = job->days[i + passed];

	return passed + OPEN_DAYS < STATE_DAYS ? STATE_DAYS - passed - OPEN_DAYS : 0;
}

static int
make_days(struct state_keeper *keeper, struct engine *engine, const char *name,
    const struct wall_time *bounds, struct state_job *to, struct err *err)
{
	struct kept_job *job = kept(keeper, name);
	size_t known = keep_known(job, bounds);
	const struct run_spans spans = {
		.job = name,
		.verb = "backup",
		.bounds = bounds + known,
		.count = STATE_DAYS + 1 - known,
	};
	struct run_point points[STATE_DAYS];

	job->first.us = 0; /* nothing is known if this fails */
	if (catalog_run_last_good(engine->catalog, &spans, points, err) < 0)
		return -1;
	for (size_t i = known; i < STATE_DAYS; i++) {
		const struct run_point *point = &points[i - known];

		job->days[i] = (struct state_day){
			.started = point->started,
			.stored_bytes = point->stored_bytes,
			.took_us = point->started.us != 0 ? point->finished.us - point->started.us
							  : 0,
		};
	}
	job->first = bounds[0];
	for (size_t i = 0; i < STATE_DAYS; i++)
		to->days[i] = job->days[i];

	return 0;
}

/* ---- all ---------------------------------------------------------------------------------------- */

int
state_make(struct state_keeper *keeper, struct engine *engine, const struct state_request *request,
    struct state *ret_state, struct err *err)
{
	SCOPED(state_done) struct state state = { .days_from = { .us = 0 } };
	struct wall_time bounds[STATE_DAYS + 1];

	for (int i = 0; i <= STATE_DAYS; i++)
		bounds[i] = day_begin(engine->zone, request->now, STATE_DAYS - 1 - i);
	state.days_from = bounds[0];
	if (overview_make(engine, request->expected, request->expected_count, request->now,
		&state.overview, err) < 0)
		return -1;
	answer_make(&state.overview, engine->zone, engine->store->location, request->now,
	    &state.answer);
	for (size_t i = 0; i < state.overview.jobs.count; i++) {
		const struct overview_job *from = &state.overview.jobs.items[i];
		struct state_job *job = vec_add(&state.jobs);

		if (make_strip(engine, from, request->now, job, err) < 0 ||
		    make_days(keeper, engine, from->job, bounds, job, err) < 0)
			return -1;
	}
	*ret_state = state;
	state = (struct state){ .days_from = { .us = 0 } };

	return 0;
}
