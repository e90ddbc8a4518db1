/* What the files of the agenda share. */
#ifndef SCHED_AGENDA_INTERNAL_H
#define SCHED_AGENDA_INTERNAL_H

#include "base/vec.h"
#include "sched/agenda.h"

#define AGENDA_NEVER INT64_MAX

struct agenda_entry {
	struct agenda_job job;
	struct agenda_state state;
	struct wall_time next_due; /* the first due time behind `considered` */
	bool is_new; /* never saved: another process would not know since when it counts */
	struct wall_time try_again; /* what could not be saved is tried then */
};

struct agenda {
	struct agenda_options options;
	struct agenda_maintenance maintenance;
	const char *const *restored; /* a loan */
	size_t restored_count;
	VEC(struct agenda_entry) entries;
	struct wall_time stepped; /* the last step */
	bool is_closed;
};

struct agenda_entry *agenda_find(const struct agenda *agenda, const char *name);

/* The due times behind `considered` up to `now`; count 0: none. */
struct agenda_span {
	struct wall_time first;
	struct wall_time last;
	uint64_t count; /* at least so many */
};
struct agenda_span agenda_due(const struct agenda *agenda, const struct agenda_entry *entry,
    struct wall_time now);

/* Set next_due by the calendar. */
void agenda_renew(const struct agenda *agenda, struct agenda_entry *entry);

/* When the hold that covers `at` ends; `at` itself when nothing holds this job then. */
struct wall_time agenda_hold_end(const struct agenda *agenda, const struct agenda_entry *entry,
    struct wall_time at);

/* From when the lateness of what waits is counted. */
struct wall_time agenda_late_from(const struct agenda *agenda, const struct agenda_entry *entry);

/* What what waits is waiting for; NULL: it can begin.  *ret_is_hopeless: it never will. */
const char *agenda_obstacle(const struct agenda *agenda, const struct agenda_entry *entry,
    struct wall_time now, bool *ret_is_hopeless);

/* Is everything there that a job without times of its own is due after; *ret_due: its due time. */
bool agenda_is_triggered(const struct agenda *agenda, const struct agenda_entry *entry,
    struct wall_time *ret_due);

#endif
