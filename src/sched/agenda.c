#include "sched/agenda.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"
#include "sched/agenda_internal.h"
#include "sched/calendar.h"

#define MINUTE_US (60 * US_PER_S)
#define STEP_BACK_US (60 * MINUTE_US) /* less is not worth to be called that */
#define SAVE_AGAIN_US (10 * US_PER_S)

static const int64_t retry_after_us[AGENDA_RETRIES] = {
	1 * MINUTE_US,
	5 * MINUTE_US,
	15 * MINUTE_US,
};

struct agenda *
agenda_new(const struct agenda_options *options)
{
	struct agenda *agenda = xcalloc(1, sizeof(*agenda));

	agenda->options = *options;

	return agenda;
}

void
agenda_free(struct agenda *agenda)
{
	if (agenda == NULL)
		return;
	vec_done(&agenda->entries);
	free(agenda);
}

/* ---- the clock was set back ---------------------------------------------------------------- */

/* What lies ahead again may have its record already: that is asked before it is begun. */
static void
go_back(const struct agenda *agenda, struct agenda_entry *entry, struct wall_time now)
{
	struct agenda_state *state = &entry->state;
	int64_t retry_max_us = now.us + 2 * retry_after_us[AGENDA_RETRIES - 1];

	if (state->not_before.us > retry_max_us)
		state->not_before.us = retry_max_us;
	if (entry->try_again.us > now.us + SAVE_AGAIN_US)
		entry->try_again = now;
	if (state->considered.us <= now.us + STEP_BACK_US)
		return;
	if (state->considered.us > state->recorded.us)
		state->recorded = state->considered;
	state->considered = now;
	if (state->settled_due.us > now.us)
		state->settled_due = now;
	agenda_renew(agenda, entry);
}

void
agenda_add(struct agenda *agenda, const struct agenda_job *job, const struct agenda_state *saved,
    bool is_at_once, struct wall_time now)
{
	struct agenda_entry *entry = vec_add(&agenda->entries);

	entry->job = *job;
	entry->is_new = saved == NULL;
	if (saved != NULL)
		entry->state = *saved;
	else
		entry->state.considered.us = is_at_once ? now.us - 1 : now.us;
	agenda_renew(agenda, entry);
	go_back(agenda, entry, now);
}

void
agenda_set_maintenance(struct agenda *agenda, const struct agenda_maintenance *maintenance)
{
	agenda->maintenance = *maintenance;
}

void
agenda_set_restored(struct agenda *agenda, const char *const *sources, size_t count)
{
	agenda->restored = sources;
	agenda->restored_count = count;
}

void
agenda_close(struct agenda *agenda)
{
	agenda->is_closed = true;
}

/* ---- changes ------------------------------------------------------------------------------- */

/* Save the new state of an entry, with a note; as it was, and tried again, if that fails. */
static bool
save(struct agenda *agenda, struct agenda_entry *entry, const struct agenda_state *state,
    const struct agenda_note *note, struct wall_time now)
{
	const struct agenda_host *host = agenda->options.host;

	if (!host->save(host->context, entry->job.name, state, note)) {
		entry->try_again.us = now.us + SAVE_AGAIN_US;
		return false;
	}
	entry->state = *state;
	entry->is_new = false;
	entry->try_again.us = 0;
	agenda_renew(agenda, entry);

	return true;
}

static void
clear_due(struct agenda_state *state)
{
	state->due.us = 0;
	state->is_begun = false;
	state->attempt = 0;
	state->not_before.us = 0;
}

/* What was due has ended in runs that were begun. */
static void
settle(struct agenda_state *state, bool is_good)
{
	state->settled_due = state->due;
	state->is_settled_good = is_good;
	clear_due(state);
}

/* What is due but never began gets its note; one that was tried has its records. */
static void
give_up(struct agenda *agenda, struct agenda_entry *entry, enum agenda_fate fate,
    const char *reason, struct wall_time now)
{
	struct agenda_state state = entry->state;
	const struct agenda_note note = {
		.fate = fate,
		.first = state.due,
		.last = state.due,
		.count = 1,
		.reason = reason,
	};
	bool was_tried = state.attempt > 0;

	if (was_tried)
		settle(&state, false);
	clear_due(&state);
	(void)save(agenda, entry, &state, was_tried ? NULL : &note, now);
}

/* ---- what became due ----------------------------------------------------------------------- */

/* The due time before the last of a span. */
static struct wall_time
before_last(const struct agenda *agenda, const struct agenda_entry *entry,
    const struct agenda_span *span)
{
	struct wall_time before = { .us = span->last.us - 1 };

	if (!calendar_previous(entry->job.calendar, agenda->options.zone, before, &before))
		return span->first;

	return before;
}

/* The run that was begun goes on: those that come meanwhile are skipped. */
static void
meet_begun(struct agenda *agenda, struct agenda_entry *entry, const struct agenda_span *span,
    struct wall_time now)
{
	struct agenda_state state = entry->state;
	const struct agenda_note note = {
		.fate = AGENDA_SKIPPED,
		.first = span->first,
		.last = span->last,
		.count = span->count,
		.reason = "the run before it had not ended",
	};

	state.considered = span->last;
	(void)save(agenda, entry, &state, &note, now);
}

/* Of what became due while nothing was going on, the newest may still be caught up, once. */
static void
meet_idle(struct agenda *agenda, struct agenda_entry *entry, const struct agenda_span *span,
    struct wall_time now)
{
	struct agenda_state state = entry->state;
	struct agenda_note note = {
		.fate = AGENDA_MISSED,
		.first = span->first,
		.last = span->last,
		.count = span->count,
		.reason =
		    "it could not start in time: blackstart was not running, or the clock jumped",
	};

	state.considered = span->last;
	state.due = span->last;
	entry->state.due = span->last; /* for the question below */
	if (agenda_late_from(agenda, entry).us + entry->job.deadline_us < now.us)
		clear_due(&state);
	else
		note.count--;
	entry->state.due.us = 0;
	if (state.due.us != 0 && note.count > 0)
		note.last = before_last(agenda, entry, span);
	(void)save(agenda, entry, &state, note.count > 0 ? &note : NULL, now);
}

static void
consider(struct agenda *agenda, struct agenda_entry *entry, struct wall_time now)
{
	struct agenda_span span = agenda_due(agenda, entry, now);
	struct agenda_state state = entry->state;

	if (span.count == 0)
		return;
	if (entry->job.is_paused) {
		const struct agenda_note note = {
			.fate = AGENDA_SKIPPED,
			.first = span.first,
			.last = span.last,
			.count = span.count,
			.reason = "the job is paused",
		};

		state.considered = span.last;
		(void)save(agenda, entry, &state, &note, now);
		return;
	}
	if (state.is_begun) {
		meet_begun(agenda, entry, &span, now);
		return;
	}
	/* One that still waits makes way for the newest. */
	if (state.due.us != 0)
		give_up(agenda, entry, AGENDA_SKIPPED, "it had to wait until the next one was due",
		    now);
	if (entry->state.due.us == 0)
		meet_idle(agenda, entry, &span, now);
}

/* A job without times of its own. */
static void
trigger(struct agenda *agenda, struct agenda_entry *entry, struct wall_time now)
{
	struct agenda_state state = entry->state;
	struct wall_time due;

	if (state.due.us != 0 || entry->job.is_paused || !agenda_is_triggered(agenda, entry, &due))
		return;
	state.considered = due;
	state.due = due;
	(void)save(agenda, entry, &state, NULL, now);
}

/* ---- beginning ----------------------------------------------------------------------------- */

/* After a step back: what has its record is done. */
static bool
is_done_already(struct agenda *agenda, struct agenda_entry *entry, struct wall_time now)
{
	const struct agenda_host *host = agenda->options.host;
	struct agenda_state state = entry->state;

	if (state.due.us > state.recorded.us || state.attempt > 0 ||
	    !host->is_recorded(host->context, entry->job.name, state.due))
		return false;
	clear_due(&state);
	(void)save(agenda, entry, &state, NULL, now);

	return true;
}

/*
 * A job without times is due since the other one was, which may have run for long: it is never
 * too late for it.
 */
static bool
is_too_late(const struct agenda *agenda, const struct agenda_entry *entry, struct wall_time now)
{
	return entry->job.calendar != NULL &&
	    agenda_late_from(agenda, entry).us + entry->job.deadline_us < now.us;
}

static void
begin(struct agenda *agenda, struct agenda_entry *entry, struct wall_time now)
{
	const struct agenda_host *host = agenda->options.host;
	struct agenda_state state = entry->state;
	bool is_hopeless;
	const char *obstacle;

	if (is_done_already(agenda, entry, now))
		return;
	obstacle = agenda_obstacle(agenda, entry, now, &is_hopeless);
	if (is_hopeless) {
		give_up(agenda, entry, AGENDA_SKIPPED, obstacle, now);
		return;
	}
	if (is_too_late(agenda, entry, now)) {
		give_up(agenda, entry, AGENDA_MISSED,
		    obstacle != NULL ? obstacle : "it could not start in time", now);
		return;
	}
	if (obstacle != NULL)
		return;
	state.is_begun = true;
	state.attempt++;
	state.not_before.us = 0;
	if (save(agenda, entry, &state, NULL, now))
		host->start(host->context, entry->job.name, &entry->state);
}

/* The one that has waited longest goes first: sources are few, and everybody gets a turn. */
static struct agenda_entry *
next_to_begin(const struct agenda *agenda, struct wall_time behind, size_t behind_index)
{
	struct agenda_entry *best = NULL;

	for (size_t i = 0; i < agenda->entries.count; i++) {
		struct agenda_entry *entry = &agenda->entries.items[i];
		int64_t due = entry->state.due.us;

		if (due == 0 || entry->state.is_begun || due < behind.us ||
		    (due == behind.us && i <= behind_index))
			continue;
		if (best == NULL || due < best->state.due.us)
			best = entry;
	}

	return best;
}

void
agenda_step(struct agenda *agenda, struct wall_time now)
{
	struct wall_time behind = { .us = INT64_MIN };
	size_t behind_index = 0;
	struct agenda_entry *entry;

	if (agenda->is_closed)
		return;
	for (size_t i = 0; i < agenda->entries.count; i++) {
		entry = &agenda->entries.items[i];
		if (now.us < agenda->stepped.us - STEP_BACK_US)
			go_back(agenda, entry, now);
		if (entry->try_again.us > now.us)
			continue;
		if (entry->is_new && !save(agenda, entry, &entry->state, NULL, now))
			continue;
		consider(agenda, entry, now);
		trigger(agenda, entry, now);
	}
	agenda->stepped = now;
	while ((entry = next_to_begin(agenda, behind, behind_index)) != NULL) {
		behind = entry->state.due;
		behind_index = (size_t)(entry - agenda->entries.items);
		if (entry->try_again.us <= now.us)
			begin(agenda, entry, now);
	}
}

/* ---- ends ---------------------------------------------------------------------------------- */

/* A fifth more or less, so that many that failed together do not come again together. */
static int64_t
jittered(const struct agenda_host *host, int64_t us)
{
	return us - us / 5 + us * 2 / 5 * (host->random(host->context) % 1000) / 1000;
}

static bool
plan_retry(const struct agenda *agenda, const struct agenda_entry *entry,
    struct agenda_state *state, struct wall_time now)
{
	int64_t after_us;

	if (state->attempt == 0 || state->attempt > AGENDA_RETRIES)
		return false;
	after_us = jittered(agenda->options.host, retry_after_us[state->attempt - 1]);
	if (entry->job.calendar != NULL &&
	    now.us + after_us > agenda_late_from(agenda, entry).us + entry->job.deadline_us)
		return false;
	state->not_before.us = now.us + after_us;
	state->is_begun = false;

	return true;
}

void
agenda_ended(struct agenda *agenda, const char *job, enum agenda_outcome outcome,
    struct wall_time now)
{
	struct agenda_entry *entry = agenda_find(agenda, job);
	struct agenda_state state;

	if (entry == NULL || !entry->state.is_begun)
		return;
	state = entry->state;
	switch (outcome) {
	case AGENDA_GOOD:
		settle(&state, true);
		break;
	case AGENDA_TRANSIENT:
		if (!plan_retry(agenda, entry, &state, now))
			settle(&state, false);
		break;
	case AGENDA_BAD:
		settle(&state, false);
		break;
	case AGENDA_BUSY:
		if (state.attempt > 1) {
			settle(&state, false);
			break;
		}
		entry->state.attempt = 0;
		give_up(agenda, entry, AGENDA_SKIPPED, "the job was running already, by hand", now);
		entry->state
		    .is_begun = false; /* also when that was not saved: then it comes again */
		return;
	case AGENDA_NEVER_BEGAN:
		state.is_begun = false;
		state.attempt--;
		break;
	case AGENDA_PRE_EMPTED:
		/* What it waits for is known; a failure it is not, so it needs no leave to retry. */
		state.is_begun = false;
		break;
	}
	/* What cannot be saved now is found again by the next process; this one goes on. */
	if (!save(agenda, entry, &state, NULL, now)) {
		entry->state = state;
		agenda_renew(agenda, entry);
	}
}

/* ---- questions ----------------------------------------------------------------------------- */

static int64_t
sooner(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* When something of this entry changes by the clock alone. */
static int64_t
next_of(const struct agenda *agenda, const struct agenda_entry *entry, struct wall_time now)
{
	int64_t at = entry->next_due.us;
	int64_t opens;

	if (entry->try_again.us > now.us)
		return entry->try_again.us;
	if (entry->is_new)
		return now.us;
	if (entry->state.due.us == 0 || entry->state.is_begun)
		return at;
	opens = agenda_hold_end(agenda, entry, now).us;
	if (entry->state.not_before.us > opens)
		opens = entry->state.not_before.us;
	if (opens > now.us)
		return sooner(at, opens);
	if (entry->job.calendar == NULL)
		return at;

	return sooner(at, agenda_late_from(agenda, entry).us + entry->job.deadline_us + 1);
}

bool
agenda_next(const struct agenda *agenda, struct wall_time now, struct wall_time *ret_at)
{
	int64_t at = AGENDA_NEVER;

	for (size_t i = 0; i < agenda->entries.count && !agenda->is_closed; i++)
		at = sooner(at, next_of(agenda, &agenda->entries.items[i], now));
	ret_at->us = at;

	return at != AGENDA_NEVER;
}

const struct agenda_state *
agenda_state_of(const struct agenda *agenda, const char *job)
{
	const struct agenda_entry *entry = agenda_find(agenda, job);

	return entry != NULL ? &entry->state : NULL;
}

const char *
agenda_waits_for(const struct agenda *agenda, const char *job, struct wall_time now)
{
	const struct agenda_entry *entry = agenda_find(agenda, job);
	bool ignored;

	if (entry == NULL || entry->state.due.us == 0 || entry->state.is_begun)
		return NULL;

	return agenda_obstacle(agenda, entry, now, &ignored);
}

bool
agenda_due_next(const struct agenda *agenda, const char *job, struct wall_time *ret_due)
{
	const struct agenda_entry *entry = agenda_find(agenda, job);

	if (entry == NULL || entry->next_due.us == AGENDA_NEVER)
		return false;
	*ret_due = entry->next_due;

	return true;
}
