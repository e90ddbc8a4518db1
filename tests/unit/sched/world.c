#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "world.h"

uint64_t
world_random(struct world *world, uint64_t below)
{
	uint64_t x = world->random;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	world->random = x;

	return (x >> 11) % below;
}

static bool
is_unlucky(struct world *world, unsigned of_thousand)
{
	return of_thousand > 0 && world_random(world, 1000) < of_thousand;
}

static size_t
index_of(const struct world *world, const char *job)
{
	for (size_t i = 0; i < world->jobs_count; i++) {
		if (str_equals(world->jobs[i].name, job))
			return i;
	}
	fail_msg("no job %s", job);

	return 0;
}

static const struct world_record *
find_run(const struct world *world, size_t job, struct wall_time due, unsigned attempt)
{
	for (size_t i = world->of_job[job].count; i > 0; i--) {
		const struct world_record *record = &world->records
							 .items[world->of_job[job].items[i - 1]];

		if (record->is_run && record->first.us == due.us &&
		    (attempt == 0 || record->attempt == attempt))
			return record;
	}

	return NULL;
}

/* ---- the host ---- */

static void
add_record(struct world *world, struct world_record record)
{
	vec_push(&world->of_job[record.job], world->records.count);
	vec_push(&world->records, record);
}

static bool
save(void *context, const char *job, const struct agenda_state *state,
    const struct agenda_note *note)
{
	struct world *world = context;
	size_t index = index_of(world, job);

	if (world->is_dying || is_unlucky(world, world->luck.save_fails))
		return false;
	world->states[index] = *state;
	world->is_saved[index] = true;
	if (note != NULL)
		add_record(world,
		    ((struct world_record){ .job = index,
			.first = note->first,
			.last = note->last,
			.count = note->count,
			.fate = note->fate,
			.reason = note->reason }));
	if (is_unlucky(world, world->luck.dies_after_save))
		world->is_dying = true;

	return true;
}

static void
start(void *context, const char *job, const struct agenda_state *state)
{
	struct world *world = context;
	size_t index = index_of(world, job);
	struct world_run run = { .job = index, .due = state->due, .attempt = state->attempt };

	if (world->is_dying)
		return;
	run.ends.us = world->now.us + 1 +
	    (int64_t)world_random(world, (uint64_t)world->luck.run_max_us);
	run.outcome = is_unlucky(world, world->luck.transient) ? AGENDA_TRANSIENT
	    : is_unlucky(world, world->luck.bad)               ? AGENDA_BAD
							       : AGENDA_GOOD;
	if (is_unlucky(world, world->luck.killed_before_record)) {
		run.outcome = AGENDA_NEVER_BEGAN;
		vec_push(&world->runs, run);
		return;
	}
	world->twice_count += find_run(world, index, state->due, state->attempt) != NULL ||
	    (state->attempt == 1 && find_run(world, index, state->due, 0) != NULL);
	add_record(world,
	    ((struct world_record){ .job = index,
		.is_run = true,
		.first = state->due,
		.last = state->due,
		.count = 1,
		.attempt = state->attempt,
		.outcome = run.outcome }));
	vec_push(&world->runs, run);
}

static bool
is_recorded(void *context, const char *job, struct wall_time due)
{
	struct world *world = context;

	size_t index = index_of(world, job);

	for (size_t i = world->of_job[index].count; i > 0; i--) {
		const struct world_record *record = &world->records
							 .items[world->of_job[index].items[i - 1]];

		if (due.us >= record->first.us && due.us <= record->last.us)
			return true;
	}

	return false;
}

static uint32_t
random_of(void *context)
{
	return (uint32_t)world_random(context, UINT32_MAX);
}

/* ---- making ---- */

void
world_init(struct world *world, const char *zone, const char *now, uint64_t seed)
{
	struct err err = ERR_INIT;

	*world = (struct world){
		.random = seed * 2654435761U + 88172645463325252U,
		.host = { world, save, start, is_recorded, random_of },
		.luck = { .run_max_us = 600 * US_PER_S },
	};
	world->zone = zone_open(zone, &err);
	if (world->zone == NULL || clock_parse(now, &world->now, &err) < 0)
		fail_msg("%s", err.msg);
	world->began = world->now;
}

void
world_done(struct world *world)
{
	agenda_free(world->agenda);
	for (size_t i = 0; i < world->jobs_count; i++) {
		calendar_free(world->calendars[i]);
		if (world->calendars[i] == NULL)
			free((void *)(uintptr_t)world->jobs[i].after);
	}
	for (size_t i = 0; i < world->blackouts_count; i++)
		calendar_free((struct calendar *)(uintptr_t)world->blackouts[i].begins);
	for (size_t i = 0; i < WORLD_JOBS_MAX; i++)
		vec_done(&world->of_job[i]);
	vec_done(&world->records);
	vec_done(&world->runs);
	zone_close(world->zone);
}

void
world_add(struct world *world, const char *name, const char *source, const char *schedule,
    int64_t deadline_us)
{
	size_t index = world->jobs_count++;
	struct agenda_job *job = &world->jobs[index];
	const char *text = strchr(schedule, ' ') + 1;
	struct err err = ERR_INIT;

	assert_true(index < WORLD_JOBS_MAX);
	*job = (struct agenda_job){ .name = name, .source = source, .deadline_us = deadline_us };
	if (str_starts_with(schedule, "after:")) {
		const char **after = calloc(2, sizeof(*after));

		after[0] = text;
		job->after = after;
		return;
	}
	world->is_every[index] = str_starts_with(schedule, "every:");
	if (world->is_every[index])
		world->calendars[index] = calendar_every(strtoll(text, NULL, 10) * US_PER_S,
		    world->now);
	else if (str_starts_with(schedule, "at:"))
		world->calendars[index] = calendar_at(&text, 1, &err);
	else
		world->calendars[index] = calendar_cron(text, &err);
	if (world->calendars[index] == NULL)
		fail_msg("%s", err.msg);
	job->calendar = world->calendars[index];
}

/* ---- living and dying ---- */

/* What became of a run that the last process had begun. */
static void
reconcile(struct world *world, size_t job)
{
	const struct agenda_state *state = &world->states[job];
	const struct world_record *record;

	if (!world->is_saved[job] || !state->is_begun)
		return;
	for (size_t i = 0; i < world->runs.count; i++) {
		const struct world_run *run = &world->runs.items[i];

		if (run->job == job && run->due.us == state->due.us &&
		    run->attempt == state->attempt)
			return; /* its end will be told */
	}
	record = find_run(world, job, state->due, state->attempt);
	agenda_ended(world->agenda, world->jobs[job].name,
	    record != NULL ? record->outcome : AGENDA_NEVER_BEGAN, world->now);
}

void
world_start(struct world *world)
{
	const struct agenda_options options = {
		.zone = world->zone,
		.host = &world->host,
		.blackouts = world->blackouts,
		.blackouts_count = world->blackouts_count,
		.running_max = world->running_max,
	};

	world->is_dying = false;
	world->agenda = agenda_new(&options);
	for (size_t i = 0; i < world->jobs_count; i++)
		agenda_add(world->agenda, &world->jobs[i],
		    world->is_saved[i] ? &world->states[i] : NULL, world->is_every[i], world->now);
	for (size_t i = 0; i < world->jobs_count; i++)
		reconcile(world, i);
}

void
world_kill(struct world *world)
{
	agenda_free(world->agenda);
	world->agenda = NULL;
}

/* ---- time ---- */

/* Tell the ends that there were, and forget them. */
static void
tell_ends(struct world *world)
{
	size_t kept = 0;

	for (size_t i = 0; i < world->runs.count; i++) {
		struct world_run run = world->runs.items[i];

		if (world->agenda != NULL && !world->is_dying && run.ends.us <= world->now.us)
			agenda_ended(world->agenda, world->jobs[run.job].name, run.outcome,
			    world->now);
		else
			world->runs.items[kept++] = run;
	}
	world->runs.count = kept;
}

struct wall_time
world_next(const struct world *world)
{
	struct wall_time next = { .us = INT64_MAX };

	if (world->agenda != NULL && !world->is_dying)
		(void)agenda_next(world->agenda, world->now, &next);
	for (size_t i = 0; i < world->runs.count && world->agenda != NULL; i++) {
		if (world->runs.items[i].ends.us < next.us)
			next = world->runs.items[i].ends;
	}

	return next;
}

void
world_run_until(struct world *world, struct wall_time until)
{
	unsigned still = 0;

	for (;;) {
		struct wall_time next;

		tell_ends(world);
		if (world->agenda != NULL)
			agenda_step(world->agenda, world->now);
		if (world->agenda == NULL || world->is_dying)
			break;
		next = world_next(world);
		if (next.us > until.us)
			break;
		still = next.us > world->now.us ? 0 : still + 1;
		if (still > 1000)
			fail_msg("time stands still");
		if (next.us > world->now.us)
			world->now = next;
	}
	if (world->is_dying) {
		world_kill(world);
		return;
	}
	world->now = until;
}

void
world_forget(struct world *world)
{
	world->records.count = 0;
	for (size_t i = 0; i < WORLD_JOBS_MAX; i++)
		world->of_job[i].count = 0;
}
