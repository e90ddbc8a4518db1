/* What the files of the daemon share: one struct, and the calls between its parts. */
#ifndef APP_DAEMON_DAEMON_INTERNAL_H
#define APP_DAEMON_DAEMON_INTERNAL_H

#include <stdbool.h>

#include "app/timetable.h"
#include "app/web/web.h"
#include "app/wire.h"
#include "base/clock.h"
#include "base/link.h"
#include "base/scope.h"
#include "base/vec.h"
#include "catalog/catalog_schedule.h"

struct args;
struct err;
struct loop;
struct loop_timer;
struct loop_watch;
struct notify;
struct worker;

#define DAEMON_TICK_US (15 * US_PER_S)

/* A run that goes on: of the schedule, or started from the page. */
struct daemon_run {
	struct daemon *daemon;
	char *job;
	char *source;
	char *verb;
	struct worker *worker; /* NULL: begun by an earlier process, only its locks are known */
	struct wall_time due;  /* 0: not by the schedule */
	unsigned attempt;
	char *run_id; /* NULL: not begun yet */
	char *phase;
	uint64_t done_bytes;
	uint64_t total_bytes;
	struct wall_time stalled_since; /* 0: it speaks */
	bool may_retry;
	bool is_pre_empted; /* stopped, because a restore goes first */
};

/* A job that never ends. */
struct daemon_keeper {
	struct daemon *daemon;
	char *job;
	struct worker *worker; /* NULL: it waits to be started again */
	struct loop_timer *again;
	int64_t backoff_us;
	struct mono_time started;
	struct link_state link; /* as it said last, or as we know when it does not run */
	char *why;              /* owned, and link.why */
	bool is_unwanted;       /* the configuration names it no more */
};

struct daemon {
	const struct args *args;
	struct loop *loop;
	struct wire wire;
	char *store_failure;  /* why there is no store; NULL: there is one */
	bool is_hung;         /* because it does not answer, and must not be touched */
	struct worker *probe; /* touches it first, since what hangs there hangs for ever */
	struct loop_timer *probe_limit;
	int lock_fd;

	/* ---- made of the configuration, and made again with each one ---- */
	struct timetable table;
	struct schedule_rows known;
	struct agenda *agenda;
	struct agenda_host host;
	struct notify *notify;
	struct web *web;
	struct web_host web_host;
	struct loop_watch *web_watch;
	bool is_page_missing; /* it should be there, and cannot listen */

	/* ---- what goes on, whatever the configuration ---- */
	VEC(struct daemon_run *) runs;
	VEC(struct daemon_keeper *) keepers;
	VEC(char *) restored;   /* sources that a restore goes on for */
	struct worker *rebuild; /* brings the catalog up to the store */

	struct loop_timer *step; /* the agenda's next */
	struct loop_timer *tick; /* every 15 s */
	struct loop_timer *poll; /* runs of an earlier process */
	struct loop_timer *beat; /* the service manager's watchdog */
	struct loop_timer *page; /* what the page waits for */
	struct loop_timer *grace;

	/* ---- news for the alarms ---- */
	char *config_failure;
	struct wall_time config_failed_at;
	int64_t clock_offset_us; /* the wall clock minus the time since the start */
	int64_t clock_jump_us;
	char *catalog_failure; /* why nothing can be recorded, NULL: it can */
	struct wall_time catalog_failed_at;
	bool is_catalog_full; /* its disk is what fails */
	unsigned ticks;

	bool is_stopping;
	bool wants_rebuild;
};

/* ---- jobs.c ---- */

/* Make the agenda of the present configuration, and find out what became of what was begun. */
int daemon_open_agenda(struct daemon *daemon, struct err *err) MUST_CHECK;
void daemon_close_agenda(struct daemon *daemon);

/* Do what is due, and set the timer for what comes. */
void daemon_step(struct daemon *daemon);
void daemon_poll_runs(struct daemon *daemon);

/* Begin a job by hand, as the page asks for. */
int daemon_run_now(struct daemon *daemon, const char *job, struct err *err) MUST_CHECK;
struct daemon_run *daemon_find_run(const struct daemon *daemon, const char *job);
void daemon_stop_runs(struct daemon *daemon);
void daemon_leave_runs(struct daemon *daemon);

/* ---- restores.c ---- */

/* Which restores go on; stops what they pre-empt, and tells the agenda. */
void daemon_look_at_restores(struct daemon *daemon);
bool daemon_is_restored(const struct daemon *daemon, const char *source);
void daemon_forget_restores(struct daemon *daemon);

/* ---- keepers.c ---- */
void daemon_update_keepers(struct daemon *daemon);
/* Put how they are connected into the catalog, for `status`. */
void daemon_note_keepers(struct daemon *daemon);
void daemon_stop_keepers(struct daemon *daemon);
void daemon_free_keepers(struct daemon *daemon);

/* ---- probe.c ---- */

/* Before the loop runs: false when the store does not answer, with *ret_failure, yours. */
bool daemon_probe_first(const struct daemon *daemon, char **ret_failure);
/* Ask, and call daemon_store_answers or daemon_store_hangs; while it is asked already, nothing. */
void daemon_probe(struct daemon *daemon);
void daemon_leave_probe(struct daemon *daemon);

/* ---- news.c ---- */
void daemon_tick(struct daemon *daemon);
void daemon_check_clock(struct daemon *daemon);

/* ---- page.c ---- */
void daemon_open_page(struct daemon *daemon);
void daemon_close_page(struct daemon *daemon);

/* ---- daemon.c ---- */

/* argv of a command of our own with the same configuration, NULL-terminated, into `argv` of 8. */
void daemon_argv(const struct daemon *daemon, const char *verb, const char *word,
    const char **argv);

/* What the probe found: it came back, `failure` of kind ERR_NONE if the store can be used ... */
void daemon_store_answers(struct daemon *daemon, const struct err *failure);
/* ... or it did not come back. */
void daemon_store_hangs(struct daemon *daemon, char *failure); /* takes it over */

/* The last run has ended while stopping: look whether that was all. */
void daemon_look_whether_done(struct daemon *daemon);

/*
 * Damaged: it is set aside and begun anew, when the callbacks are done.  Any other failure is told
 * once, and on the page until daemon_catalog_works.
 */
void daemon_catalog_failed(struct daemon *daemon, const struct err *err);
void daemon_catalog_works(struct daemon *daemon);

#endif
