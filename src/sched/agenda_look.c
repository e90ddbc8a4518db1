/* What the agenda finds out without changing anything. */
#include "base/str.h"
#include "sched/agenda_internal.h"
#include "sched/calendar.h"

enum {
	COUNTED_MAX = 50000, /* due times; a clock that jumps over decades must not hold us up */
	HOLDS_IN_A_ROW_MAX = 16,
};

struct agenda_entry *
agenda_find(const struct agenda *agenda, const char *name)
{
	for (size_t i = 0; i < agenda->entries.count; i++) {
		if (str_equals(agenda->entries.items[i].job.name, name))
			return &agenda->entries.items[i];
	}

	return NULL;
}

void
agenda_renew(const struct agenda *agenda, struct agenda_entry *entry)
{
	if (entry->job.calendar == NULL ||
	    !calendar_next(entry->job.calendar, agenda->options.zone, entry->state.considered,
		&entry->next_due))
		entry->next_due.us = AGENDA_NEVER;
}

struct agenda_span
agenda_due(const struct agenda *agenda, const struct agenda_entry *entry, struct wall_time now)
{
	const struct calendar *calendar = entry->job.calendar;
	const struct zone *zone = agenda->options.zone;
	struct agenda_span span = { .first = entry->next_due };
	struct wall_time at = entry->next_due;

	while (at.us <= now.us && span.count < COUNTED_MAX) {
		span.last = at;
		span.count++;
		if (!calendar_next(calendar, zone, at, &at))
			return span;
	}
	if (at.us <= now.us && calendar_previous(calendar, zone, now, &at))
		span.last = at;

	return span;
}

/* ---- what holds a job ---------------------------------------------------------------------- */

static bool
is_meant(const struct agenda_blackout *blackout, const char *job)
{
	for (size_t i = 0; blackout->jobs != NULL && blackout->jobs[i] != NULL; i++) {
		if (str_equals(blackout->jobs[i], job))
			return true;
	}

	return blackout->jobs == NULL;
}

/* One hold after the other; the next may begin before this one ends. */
static struct wall_time
hold_end_once(const struct agenda *agenda, const struct agenda_entry *entry, struct wall_time at)
{
	struct wall_time end = at;

	for (size_t i = 0; i < agenda->options.blackouts_count; i++) {
		const struct agenda_blackout *blackout = &agenda->options.blackouts[i];
		struct wall_time began;

		if (is_meant(blackout, entry->job.name) &&
		    calendar_previous(blackout->begins, agenda->options.zone, at, &began) &&
		    began.us + blackout->lasts_us > end.us)
			end.us = began.us + blackout->lasts_us;
	}
	if (agenda->maintenance.from.us <= at.us && agenda->maintenance.until.us > end.us)
		end = agenda->maintenance.until;

	return end;
}

struct wall_time
agenda_hold_end(const struct agenda *agenda, const struct agenda_entry *entry, struct wall_time at)
{
	for (int i = 0; i < HOLDS_IN_A_ROW_MAX; i++) {
		struct wall_time end = hold_end_once(agenda, entry, at);

		if (end.us == at.us)
			break;
		at = end;
	}

	return at;
}

/* Maintenance that began while it was waiting counts too. */
struct wall_time
agenda_late_from(const struct agenda *agenda, const struct agenda_entry *entry)
{
	struct wall_time from = agenda_hold_end(agenda, entry, entry->state.due);

	if (agenda->maintenance.from.us >= from.us &&
	    agenda->maintenance.from.us - from.us <= entry->job.deadline_us)
		from = agenda->maintenance.until;

	return from;
}

/* ---- what stands in the way of a run ------------------------------------------------------- */

static bool
is_active(const struct agenda_entry *entry)
{
	return entry->state.due.us != 0;
}

static const char *
obstacle_before(const struct agenda *agenda, const struct agenda_entry *entry,
    bool *ret_is_hopeless)
{
	for (size_t i = 0; entry->job.after != NULL && entry->job.after[i] != NULL; i++) {
		const struct agenda_entry *before = agenda_find(agenda, entry->job.after[i]);

		if (before == NULL)
			continue;
		if (is_active(before) && before->state.due.us <= entry->state.due.us)
			return "a job that it comes after has not ended";
		/* One that never ran says nothing. */
		if (before->state.settled_due.us == 0 || before->state.is_settled_good)
			continue;
		*ret_is_hopeless = true;
		return "a job that it comes after has failed";
	}

	return NULL;
}

static const char *
obstacle_beside(const struct agenda *agenda, const struct agenda_entry *entry)
{
	unsigned running = 0;

	for (size_t i = 0; i < agenda->entries.count; i++) {
		const struct agenda_entry *other = &agenda->entries.items[i];

		if (!other->state.is_begun)
			continue;
		running++;
		if (other != entry && entry->job.source != NULL &&
		    str_equals(other->job.source, entry->job.source))
			return "another job of its source is running";
	}
	if (agenda->options.running_max > 0 && running >= agenda->options.running_max)
		return "as many jobs as may run at once are running";

	return NULL;
}

static bool
is_restored(const struct agenda *agenda, const struct agenda_entry *entry)
{
	for (size_t i = 0; i < agenda->restored_count; i++) {
		if (str_equals(agenda->restored[i], entry->job.source))
			return true;
	}

	return false;
}

const char *
agenda_obstacle(const struct agenda *agenda, const struct agenda_entry *entry, struct wall_time now,
    bool *ret_is_hopeless)
{
	const char *before;

	*ret_is_hopeless = false;
	if (entry->state.not_before.us > now.us)
		return "it is tried again later";
	if (agenda_hold_end(agenda, entry, now).us > now.us)
		return agenda->maintenance.from.us <= now.us &&
			agenda->maintenance.until.us > now.us
		    ? "the plant is in maintenance"
		    : "a blackout lasts";
	if (is_restored(agenda, entry))
		return "a restore of its source goes on";
	before = obstacle_before(agenda, entry, ret_is_hopeless);

	return before != NULL ? before : obstacle_beside(agenda, entry);
}

bool
agenda_is_triggered(const struct agenda *agenda, const struct agenda_entry *entry,
    struct wall_time *ret_due)
{
	struct wall_time due = { .us = 0 };

	if (entry->job.calendar != NULL || entry->job.after == NULL)
		return false;
	for (size_t i = 0; entry->job.after[i] != NULL; i++) {
		const struct agenda_entry *before = agenda_find(agenda, entry->job.after[i]);

		if (before == NULL || !before->state.is_settled_good ||
		    before->state.settled_due.us <= entry->state.considered.us)
			return false;
		if (before->state.settled_due.us > due.us)
			due = before->state.settled_due;
	}
	*ret_due = due;

	return due.us != 0;
}
