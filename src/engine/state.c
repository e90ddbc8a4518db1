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
	STRIP_RUNS_MAX = 2 * STATE_STRIP_CELLS, /* some by hand, and retries, for one due */
	OPEN_DAYS = 2,                          /* a run that began yesterday may end today */
};
#define US_PER_DAY (86400 * US_PER_S)

/* What is known of a job: the days before the open ones do not change any more. */
struct kept_job {
	char *job;
	struct wall_time first; /* when days[0] began */
	struct state_day days[STATE_DAYS];
	struct wall_time due[STATE_STRIP_CELLS]; /* the last due times, oldest first; 0: none */
	struct wall_time next_due;               /* until then they are; 0: not known */
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

/* To look for them in the calendar takes longer than all the rest: they are kept until the next. */
static void
find_due(struct kept_job *kept, const struct calendar *calendar, const struct zone *zone,
    struct wall_time now)
{
	struct wall_time until = now;

	if (kept->next_due.us > now.us && kept->due[STATE_STRIP_CELLS - 1].us <= now.us)
		return;
	for (size_t i = STATE_STRIP_CELLS; i > 0; i--) {
		struct wall_time *due = &kept->due[i - 1];

		if (until.us == 0 || !calendar_previous(calendar, zone, until, due))
			due->us = 0;
		until.us = due->us > 0 ? due->us - 1 : 0;
	}
	if (!calendar_next(calendar, zone, now, &kept->next_due))
		kept->next_due.us = INT64_MAX;
}

/*
 * The last run that began between two due times stands for the first of them: the retry that
 * went well, not the attempt that failed.  None, though the job had run before: missed; but the
 * newest may still begin for half an interval.
 */
static void
strip_by_calendar(struct state_job *job, const struct kept_job *kept, const struct run_points *runs,
    struct wall_time now)
{
	struct wall_time next = kept->next_due;
	size_t run = 0;

	for (size_t i = STATE_STRIP_CELLS; i > 0 && kept->due[i - 1].us != 0; i--) {
		struct wall_time due = kept->due[i - 1];
		bool may_begin = i == STATE_STRIP_CELLS &&
		    now.us - due.us <= (next.us - due.us) / 2;

		while (run < runs->items.count && runs->items.items[run].started.us >= next.us)
			run++;
		if (run == runs->items.count)
			return;
		if (runs->items.items[run].started.us >= due.us)
			job->cells[i - 1] = cell_of(runs->items.items[run].state);
		else if (!may_begin)
			job->cells[i - 1] = STATE_CELL_MISSED;
		job->due[i - 1] = due;
		next = due;
	}
}

static int
make_strip(struct engine *engine, struct kept_job *kept, const struct overview_job *from,
    struct wall_time now, struct state_job *job, struct err *err)
{
	const char *verb = from->stream != NULL ? "wal" : "backup";
	SCOPED(run_points_done) struct run_points runs = { .items = { .count = 0 } };

	if (catalog_run_points(engine->catalog, from->job, verb, STRIP_RUNS_MAX, &runs, err) < 0)
		return -1;
	if (from->calendar == NULL) {
		strip_by_runs(job, &runs);
		return 0;
	}
	find_due(kept, from->calendar, engine->zone, now);
	strip_by_calendar(job, kept, &runs, now);

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
keep(struct state_keeper *keeper, const char *name)
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
make_days(struct engine *engine, struct kept_job *job, const struct wall_time *bounds,
    struct state_job *to, struct err *err)
{
	size_t known = keep_known(job, bounds);
	const struct run_spans spans = {
		.job = job->job,
		.verb = "backup",
		.bounds = bounds + known,
		.count = STATE_DAYS + 1 - known,
	};
	struct run_point points[STATE_DAYS];

	job->first.us = 0; /* nothing is known if this fails */
	if (catalog_run_span_points(engine->catalog, &spans, points, err) < 0)
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
		struct kept_job *kept = keep(keeper, from->job);
		struct state_job *job = vec_add(&state.jobs);

		if (make_strip(engine, kept, from, request->now, job, err) < 0 ||
		    make_days(engine, kept, bounds, job, err) < 0)
			return -1;
	}
	*ret_state = state;
	state = (struct state){ .days_from = { .us = 0 } };

	return 0;
}
