/*
 * The agenda: which due run is waiting, begun, to be tried again, or will never be.  Pure: the
 * clock is a parameter, and whatever must last is handed to a host that writes it down.
 *
 * The promise: every due time of a job ends in exactly one record.  Either a run is begun for it
 * (and perhaps tried again), or it is noted as missed or skipped; never both, never twice, whenever
 * the process is killed and whatever is done to the clock.  It is kept by the order of things: the
 * state is saved before a run is begun, and with the note in one transaction.
 *
 * One run per job, one per source, at most so many at all.  While a job is held (a blackout, the
 * maintenance of the plant) what is due waits; its deadline counts from the end of that.
 */
#ifndef SCHED_AGENDA_H
#define SCHED_AGENDA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"

struct agenda;
struct calendar;
struct zone;

/* How long until a failure that may pass by itself is tried again; plus or minus a fifth. */
enum { AGENDA_RETRIES = 3 };

/* What lasts of a job. */
struct agenda_state {
	struct wall_time considered; /* due times up to here are recorded, or are `due` */
	struct wall_time due;        /* what is waiting or begun; 0: nothing */
	bool is_begun;
	unsigned attempt;             /* of `due`: how often it was begun */
	struct wall_time not_before;  /* when to try again; 0: now */
	struct wall_time settled_due; /* the last due time that ended in a run; 0: none */
	bool is_settled_good;
	struct wall_time recorded; /* the clock was set back: up to here records may be there */
};

struct agenda_job {
	const char *name;
	const char *source;              /* its runs and those of this source exclude each other */
	const struct calendar *calendar; /* NULL: due when all of `after` have ended well */
	int64_t deadline_us;             /* how late it may still start */
	const char *const *after;        /* NULL-terminated names, or NULL: none */
	bool is_paused;                  /* what is due is skipped */
};

/* Nothing starts while it lasts.  `jobs`: NULL-terminated, NULL: all. */
struct agenda_blackout {
	const struct calendar *begins;
	int64_t lasts_us;
	const char *const *jobs;
};

/* The maintenance of the plant that is going on or was last; until 0: there was none. */
struct agenda_maintenance {
	struct wall_time from;
	struct wall_time until;
};

enum agenda_fate { AGENDA_MISSED, AGENDA_SKIPPED };

/* Due times that became no run: `count` of them from `first` to `last`. */
struct agenda_note {
	enum agenda_fate fate;
	struct wall_time first;
	struct wall_time last;
	uint64_t count;
	const char *reason;
};

struct agenda_host {
	void *context;
	/*
	 * Make the state last, with the note (NULL: none): both or neither.  false when it cannot,
	 * which the host tells whoever should know; it is tried again.
	 */
	bool (*save)(void *context, const char *job, const struct agenda_state *state,
	    const struct agenda_note *note);
	/*
	 * Begin the run of state->due; the state is saved.  How it ended, also that it could not
	 * begin, is told by agenda_ended later, never from here.
	 */
	void (*start)(void *context, const char *job, const struct agenda_state *state);
	/* Is there a record of this due time.  Asked only after the clock was set back. */
	bool (*is_recorded)(void *context, const char *job, struct wall_time due);
	uint32_t (*random)(void *context);
};

/* All loans: zone, host, blackouts, and the texts and calendars of jobs. */
struct agenda_options {
	const struct zone *zone;
	const struct agenda_host *host;
	const struct agenda_blackout *blackouts;
	size_t blackouts_count;
	unsigned running_max; /* 0: as many as there are */
};

struct agenda *agenda_new(const struct agenda_options *options) MUST_CHECK;
void agenda_free(struct agenda *agenda);
SCOPED_FREE(struct agenda, agenda_free)

/*
 * Add a job with what is known of it.  `saved` NULL: it is new, and nothing before `now` counts;
 * one that is due every so often (is_at_once) is due now for the first time.
 */
void agenda_add(struct agenda *agenda, const struct agenda_job *job,
    const struct agenda_state *saved, bool is_at_once, struct wall_time now);

void agenda_set_maintenance(struct agenda *agenda, const struct agenda_maintenance *maintenance);

/* Jobs of these sources do not begin; a loan until the next call. */
void agenda_set_restored(struct agenda *agenda, const char *const *sources, size_t count);

/* Begin nothing more; what is due is not considered, so that the next process finds it. */
void agenda_close(struct agenda *agenda);

/* Do everything that is due at `now`. */
void agenda_step(struct agenda *agenda, struct wall_time now);

/* When agenda_step has something to do again at the latest; false: never. */
bool agenda_next(const struct agenda *agenda, struct wall_time now, struct wall_time *ret_at);

enum agenda_outcome {
	AGENDA_GOOD,
	AGENDA_BAD,
	AGENDA_TRANSIENT,   /* bad, but it may pass by itself */
	AGENDA_BUSY,        /* the job was running already, by hand: it is skipped */
	AGENDA_NEVER_BEGAN, /* no trace of it: begin it again */
	AGENDA_PRE_EMPTED,  /* something went first: begin it again when that has ended */
};
/* The run that was begun has ended.  The caller steps afterwards. */
void agenda_ended(struct agenda *agenda, const char *job, enum agenda_outcome outcome,
    struct wall_time now);

/* Loans; NULL: no such job. */
const struct agenda_state *agenda_state_of(const struct agenda *agenda, const char *job);

/* When the job is due again; false: never, or not by the clock. */
bool agenda_due_next(const struct agenda *agenda, const char *job, struct wall_time *ret_due);

/* Why what is due of this job does not begin now, for people; NULL: nothing waits. */
const char *agenda_waits_for(const struct agenda *agenda, const char *job, struct wall_time now);

#endif
