/* Runs of the schedule: begun as children, recorded, and settled when they end. */
#include <stdlib.h>

#include "app/daemon/daemon_internal.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "config/config.h"
#include "engine/run.h"
#include "os/lockfile.h"
#include "os/loop.h"
#include "os/random.h"
#include "repo/names.h"
#include "work/worker.h"

#define SILENCE_US (5 * 60 * US_PER_S)
#define POLL_US (2 * US_PER_S)

static const char *
verb_of(const struct config_job *job)
{
	return config_job_is_stream(job) ? "wal" : "backup";
}

/* ---- the list of runs ---------------------------------------------------------------------- */

struct daemon_run *
daemon_find_run(const struct daemon *daemon, const char *job)
{
	for (size_t i = 0; i < daemon->runs.count; i++) {
		if (str_equals(daemon->runs.items[i]->job, job))
			return daemon->runs.items[i];
	}

	return NULL;
}

static struct daemon_run *
add_run(struct daemon *daemon, const struct config_job *job)
{
	struct daemon_run *run = xcalloc(1, sizeof(*run));

	run->daemon = daemon;
	run->job = xstrdup(job->name);
	run->source = xstrdup(job->source);
	run->verb = xstrdup(verb_of(job));
	run->may_retry = job->may_retry;
	vec_push(&daemon->runs, run);

	return run;
}

static void
remove_run(struct daemon_run *run)
{
	struct daemon *daemon = run->daemon;

	for (size_t i = 0; i < daemon->runs.count; i++) {
		if (daemon->runs.items[i] == run)
			daemon->runs.items[i] = daemon->runs.items[--daemon->runs.count];
	}
	free(run->job);
	free(run->source);
	free(run->verb);
	free(run->run_id);
	free(run->phase);
	free(run);
}

void
daemon_stop_runs(struct daemon *daemon)
{
	for (size_t i = 0; i < daemon->runs.count; i++) {
		if (daemon->runs.items[i]->worker != NULL)
			worker_stop(daemon->runs.items[i]->worker);
	}
}

void
daemon_leave_runs(struct daemon *daemon)
{
	while (daemon->runs.count > 0) {
		worker_leave(daemon->runs.items[0]->worker);
		remove_run(daemon->runs.items[0]);
	}
	vec_done(&daemon->runs);
}

/* ---- how a run ended ----------------------------------------------------------------------- */

/* One that ended before it could make its own record gets one here: it was due, and it failed. */
static void
record_failure(struct daemon_run *run, const struct err *failure)
{
	SCOPED(run_row_done) struct run_row row = { .id = NULL };
	struct wall_time now = clock_wall();
	struct err err = ERR_INIT;
	char hex[5];

	random_hex(hex, 4);
	row.id = backup_id_make(run->job, now, hex);
	row.job = xstrdup(run->job);
	row.source = xstrdup(run->source);
	row.verb = xstrdup(run->verb);
	row.state = RUN_FAILED;
	row.started = now;
	row.finished = now;
	row.message = xstrdup(failure->msg);
	row.hint = failure->hint[0] != '\0' ? xstrdup(failure->hint) : NULL;
	row.due = run->due;
	row.due_last = run->due;
	row.due_count = run->due.us != 0;
	row.may_pass = err_kind_is_transient(failure->kind);
	row.attempt = run->attempt;
	if (catalog_run_insert(run->daemon->wire.engine.catalog, &row, &err) < 0)
		daemon_catalog_failed(run->daemon, &err);
}

static enum agenda_outcome
outcome_of_failure(const struct daemon_run *run, bool may_pass)
{
	return run->may_retry && may_pass ? AGENDA_TRANSIENT : AGENDA_BAD;
}

/* By its row; `failure` is what its process said last. */
static enum agenda_outcome
judge(struct daemon_run *run, const struct run_row *row, const struct err *failure)
{
	bool may_pass = err_kind_is_transient(failure->kind);

	if (row->id == NULL) {
		if (failure->kind == ERR_BUSY)
			return AGENDA_BUSY;
		record_failure(run, failure);
		return outcome_of_failure(run, may_pass);
	}
	switch (row->state) {
	case RUN_OK:
	case RUN_WARNING:
		/* Made, but what was made is bad: that does not pass by itself. */
		return failure->kind == ERR_MISMATCH ? AGENDA_BAD : AGENDA_GOOD;
	case RUN_LOST:
		return outcome_of_failure(run, true);
	case RUN_CANCELLED:
		if (run->is_pre_empted)
			return AGENDA_PRE_EMPTED;
		/* By us, because we end, or because it took too long; or by somebody's kill. */
		return outcome_of_failure(run, failure->kind != ERR_TIMEOUT);
	case RUN_FAILED:
		/* Its row tells it also of a run whose daemon was gone when it ended. */
		return outcome_of_failure(run, may_pass || row->may_pass);
	case RUN_RUNNING:
	case RUN_MISSED:
	case RUN_SKIPPED:
		break;
	}

	return outcome_of_failure(run, may_pass);
}

static const char *const outcome_words[] = {
	[AGENDA_GOOD] = "ended well",
	[AGENDA_BAD] = "failed",
	[AGENDA_TRANSIENT] = "failed, which may pass",
	[AGENDA_BUSY] = "was running already, by hand",
	[AGENDA_NEVER_BEGAN] = "never began",
	[AGENDA_PRE_EMPTED] = "comes again after the restore",
};

static void
tell_failure(const char *job, const char *how, const struct err *failure)
{
	log_warning("job '%s' %s: %s", job, how, failure->msg);
	if (failure->hint[0] != '\0')
		log_info("hint: %s", failure->hint);
}

/* Settle a run whose process is gone; a row that says it runs is of one that died. */
static void
settle(struct daemon_run *run, const struct err *failure)
{
	struct daemon *daemon = run->daemon;
	SCOPED(run_row_done) struct run_row row = { .id = NULL };
	enum agenda_outcome outcome;
	struct err err = ERR_INIT;
	unsigned lost;

	if (run_sweep(&daemon->wire.engine, &lost, &err) < 0 ||
	    (run->due.us != 0 &&
		catalog_run_of_due(daemon->wire.engine.catalog, run->job, run->due, run->attempt,
		    &row, &err) < 0))
		daemon_catalog_failed(daemon, &err);
	if (run->due.us == 0) {
		if (run->run_id == NULL && failure->kind != ERR_NONE && failure->kind != ERR_BUSY)
			record_failure(run, failure);
		remove_run(run);
		return;
	}
	outcome = judge(run, &row, failure);
	if (failure->kind != ERR_NONE)
		tell_failure(run->job, outcome_words[outcome], failure);
	else
		log_info("job '%s' %s", run->job, outcome_words[outcome]);
	agenda_ended(daemon->agenda, run->job, outcome, clock_wall());
	remove_run(run);
}

static void
on_ended(const struct worker_end *end, void *context)
{
	struct daemon_run *run = context;
	struct daemon *daemon = run->daemon;

	run->worker = NULL;
	settle(run, &end->failure);
	daemon_step(daemon);
	daemon_look_whether_done(daemon);
}

static void
on_frame(const struct frame *frame, void *context)
{
	struct daemon_run *run = context;

	run->stalled_since.us = 0;
	if (frame->kind == FRAME_STARTED) {
		free(run->run_id);
		run->run_id = xstrdup(frame->text);
	} else if (frame->kind == FRAME_PROGRESS) {
		if (!str_equals(run->phase, frame->text)) {
			free(run->phase);
			run->phase = xstrdup(frame->text);
		}
		run->done_bytes = frame->done_bytes;
		run->total_bytes = frame->total_bytes;
	}
}

static void
on_stalled(void *context)
{
	struct daemon_run *run = context;

	if (run->stalled_since.us != 0)
		return;
	run->stalled_since.us = clock_wall().us - SILENCE_US;
	log_warning("job '%s' has said nothing for 5 min", run->job);
}

/* ---- beginning ----------------------------------------------------------------------------- */

static int
start_worker(struct daemon_run *run, const struct config_job *job, struct err *err)
{
	const char *argv[8];
	const struct worker_options options = {
		.argv = argv,
		.order = { .due = run->due,
		    .attempt = run->attempt,
		    .nice = (int)job->nice,
		    .is_idle_io = str_equals(job->io, "idle") },
		.timeout_us = job->timeout_us,
		.silence_us = SILENCE_US,
		.events = { on_frame, on_stalled, on_ended, run },
	};

	daemon_argv(run->daemon, "run", run->job, argv);
	run->worker = worker_start(run->daemon->loop, &options, err);

	return run->worker != NULL ? 0 : -1;
}

/* What could not even be started is told like an end, but not from within the agenda. */
static void
settle_unstarted(void *context)
{
	struct daemon_run *run = context;
	struct daemon *daemon = run->daemon;
	struct err failure = ERR_INIT;

	(void)err_set(&failure, ERR_TIMEOUT, "its process could not be started");
	settle(run, &failure);
	daemon_step(daemon);
}

static void
host_start(void *context, const char *name, const struct agenda_state *state)
{
	struct daemon *daemon = context;
	const struct config_job *job = config_find_job(daemon->wire.config, name);
	struct daemon_run *run = add_run(daemon, job);
	struct err err = ERR_INIT;

	run->due = state->due;
	run->attempt = state->attempt;
	log_info("job '%s' begins%s", name, state->attempt > 1 ? " again" : "");
	if (start_worker(run, job, &err) == 0)
		return;
	log_warning("job '%s': %s, continuing", name, err.msg);
	loop_defer(daemon->loop, settle_unstarted, run);
}

int
daemon_run_now(struct daemon *daemon, const char *name, struct err *err)
{
	const struct config_job *job = config_find_job(daemon->wire.config, name);
	struct daemon_run *run;

	if (job == NULL || !job->is_supported)
		return err_set(err, ERR_NOT_FOUND, "there is no job '%s'", name);
	if (daemon->is_stopping)
		return err_set(err, ERR_BUSY, "blackstart is stopping");
	if (job->is_continuous || daemon_find_run(daemon, name) != NULL ||
	    run_is_held(&daemon->wire.engine, name))
		return err_set(err, ERR_BUSY, "job '%s' is running already", name);
	daemon_look_at_restores(daemon);
	if (daemon_is_restored(daemon, job->source))
		return err_set(err, ERR_BUSY, "a restore of '%s' goes on", job->source);
	run = add_run(daemon, job);
	if (start_worker(run, job, err) < 0) {
		remove_run(run);
		return -1;
	}

	return 0;
}

/* ---- the host of the agenda ---------------------------------------------------------------- */

static const struct timetable_job *
find_job(const struct daemon *daemon, const char *name)
{
	for (size_t i = 0; i < daemon->table.jobs.count; i++) {
		if (str_equals(daemon->table.jobs.items[i].job.name, name))
			return &daemon->table.jobs.items[i];
	}

	return NULL;
}

static int
save_both(struct daemon *daemon, const struct timetable_job *job, const struct agenda_state *state,
    const struct agenda_note *note, struct err *err)
{
	struct catalog *catalog = daemon->wire.engine.catalog;
	SCOPED(freep) char *name = xstrdup(job->job.name);
	const struct schedule_row row = {
		.job = name,
		.times = job->times,
		.begun = job->begun,
		.considered = state->considered,
		.due = state->due,
		.is_begun = state->is_begun,
		.attempt = state->attempt,
		.not_before = state->not_before,
		.settled_due = state->settled_due,
		.is_settled_good = state->is_settled_good,
		.recorded = state->recorded,
	};

	if (catalog_schedule_put(catalog, &row, err) < 0)
		return -1;
	if (note == NULL)
		return 0;

	return catalog_run_note(catalog,
	    &(struct run_note){ .job = name,
		.source = job->of->source,
		.verb = verb_of(job->of),
		.state = note->fate == AGENDA_MISSED ? RUN_MISSED : RUN_SKIPPED,
		.first = note->first,
		.last = note->last,
		.count = note->count,
		.message = note->reason },
	    err);
}

static bool
host_save(void *context, const char *name, const struct agenda_state *state,
    const struct agenda_note *note)
{
	struct daemon *daemon = context;
	struct catalog *catalog = daemon->wire.engine.catalog;
	const struct timetable_job *job = find_job(daemon, name);
	struct err err = ERR_INIT;

	if (catalog_begin(catalog, &err) == 0 && save_both(daemon, job, state, note, &err) == 0 &&
	    catalog_commit(catalog, &err) == 0) {
		if (note != NULL)
			log_warning("job '%s': %llu due %s: %s", name,
			    (unsigned long long)note->count,
			    note->fate == AGENDA_MISSED ? "missed" : "skipped", note->reason);
		return true;
	}
	catalog_rollback(catalog);
	daemon_catalog_failed(daemon, &err);

	return false;
}

static bool
host_is_recorded(void *context, const char *job, struct wall_time due)
{
	struct daemon *daemon = context;
	struct err err = ERR_INIT;
	bool has = true;

	if (catalog_run_has_due(daemon->wire.engine.catalog, job, due, &has, &err) < 0)
		daemon_catalog_failed(daemon, &err);

	return has;
}

static uint32_t
host_random(void *context)
{
	char hex[8];

	(void)context;
	random_hex(hex, 7);

	return (uint32_t)strtoul(hex, NULL, 16);
}

/* ---- what an earlier process had begun ----------------------------------------------------- */

/* Does it go on: by its own lock, or, before it has a row, by the lock of its job. */
static bool
goes_on(const struct daemon *daemon, const struct daemon_run *run, const struct run_row *row)
{
	if (row->id == NULL)
		return run_is_held(&daemon->wire.engine, run->job);

	return row->state == RUN_RUNNING && row->lock_path != NULL &&
	    lockfile_is_held(row->lock_path);
}

static void
poll_run(struct daemon_run *run)
{
	struct daemon *daemon = run->daemon;
	SCOPED(run_row_done) struct run_row row = { .id = NULL };
	struct err err = ERR_INIT;

	if (catalog_run_of_due(daemon->wire.engine.catalog, run->job, run->due, run->attempt, &row,
		&err) < 0) {
		daemon_catalog_failed(daemon, &err);
		return;
	}
	if (goes_on(daemon, run, &row))
		return;
	if (row.id == NULL) {
		agenda_ended(daemon->agenda, run->job, AGENDA_NEVER_BEGAN, clock_wall());
		remove_run(run);
		return;
	}
	if (row.state != RUN_OK && row.state != RUN_WARNING)
		(void)err_set(&err, ERR_PEER, "%s",
		    row.message != NULL ? row.message : run_state_name(row.state));
	settle(run, &err);
}

void
daemon_poll_runs(struct daemon *daemon)
{
	bool is_left = false;

	for (size_t i = daemon->runs.count; i > 0; i--) {
		struct daemon_run *run = daemon->runs.items[i - 1];

		if (run->worker == NULL && run->due.us != 0 && daemon->agenda != NULL)
			poll_run(run);
	}
	for (size_t i = 0; i < daemon->runs.count; i++)
		is_left |= daemon->runs.items[i]->worker == NULL;
	if (is_left)
		loop_timer_start(daemon->poll, POLL_US);
}

/* What the catalog says is begun, and none of our own children is. */
static void
adopt_runs(struct daemon *daemon)
{
	for (size_t i = 0; i < daemon->table.jobs.count; i++) {
		const struct timetable_job *job = &daemon->table.jobs.items[i];
		const struct agenda_state *state = agenda_state_of(daemon->agenda, job->job.name);
		const struct daemon_run *known = daemon_find_run(daemon, job->job.name);
		struct daemon_run *run;

		if (!state->is_begun || (known != NULL && known->due.us == state->due.us))
			continue;
		run = add_run(daemon, job->of);
		run->due = state->due;
		run->attempt = state->attempt;
	}
	daemon_poll_runs(daemon);
}

static int
forget_jobs(struct daemon *daemon, struct err *err)
{
	for (size_t i = 0; i < daemon->known.rows.count; i++) {
		const char *job = daemon->known.rows.items[i].job;

		if (find_job(daemon, job) == NULL &&
		    catalog_schedule_remove(daemon->wire.engine.catalog, job, err) < 0)
			return -1;
	}

	return 0;
}

int
daemon_open_agenda(struct daemon *daemon, struct err *err)
{
	struct wall_time now = clock_wall();

	if (catalog_schedule_list(daemon->wire.engine.catalog, &daemon->known, err) < 0 ||
	    timetable_make(daemon->wire.config, &daemon->known, now, &daemon->table, err) < 0 ||
	    forget_jobs(daemon, err) < 0)
		return -1;
	daemon->host = (struct agenda_host){ daemon, host_save, host_start, host_is_recorded,
		host_random };
	daemon->agenda = timetable_agenda(&daemon->table, daemon->wire.config, &daemon->known,
	    &daemon->host, now);
	adopt_runs(daemon);

	return 0;
}

void
daemon_close_agenda(struct daemon *daemon)
{
	agenda_free(TAKE(daemon->agenda));
	timetable_done(&daemon->table);
	schedule_rows_done(&daemon->known);
	daemon->table = (struct timetable){ .jobs = { .count = 0 } };
	daemon->known = (struct schedule_rows){ .rows = { .count = 0 } };
}

/* Somebody may have begun or ended it with the command. */
static void
look_at_maintenance(struct daemon *daemon)
{
	SCOPED(maintenance_row_done) struct maintenance_row row = { .who = NULL };
	struct err err = ERR_INIT;

	if (catalog_maintenance_get(daemon->wire.engine.catalog, &row, &err) < 0) {
		daemon_catalog_failed(daemon, &err);
		return;
	}
	agenda_set_maintenance(daemon->agenda, &(struct agenda_maintenance){ row.from, row.until });
}

void
daemon_step(struct daemon *daemon)
{
	struct wall_time now = clock_wall();
	struct wall_time next;

	if (daemon->agenda == NULL)
		return;
	look_at_maintenance(daemon);
	daemon_look_at_restores(daemon);
	agenda_step(daemon->agenda, now);
	if (agenda_next(daemon->agenda, now, &next))
		loop_timer_start(daemon->step, next.us - clock_wall().us);
	else
		loop_timer_stop(daemon->step);
}
