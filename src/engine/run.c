#include "engine/run.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "os/file.h"
#include "os/lockfile.h"
#include "os/random.h"
#include "repo/names.h"

/* An id has four random digits, which two of one job and one second may share. */
enum { IDS_MAX = 32 };

static int
open_log(const struct engine *engine, struct run *run, struct err *err)
{
	SCOPED(freep) char *folder = path_join(engine->state_dir, "log");

	if (dir_make_all(folder, 0700, err) < 0)
		return -1;
	run->row.log_path = xasprintf("%s/%s.log", folder, run->row.id);
	run->log_fd = open(run->row.log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (run->log_fd < 0)
		return err_sys(err, "cannot open log file '%s'", run->row.log_path);

	return 0;
}

static int
take_locks(const struct engine *engine, const struct run_options *options, struct run *run,
    struct err *err)
{
	SCOPED(freep) char *folder = path_join(engine->state_dir, "lock");

	if (dir_make_all(folder, 0700, err) < 0)
		return -1;
	if (options->is_exclusive) {
		SCOPED(freep) char *path = xasprintf("%s/job-%s.lock", folder, options->job);

		if (lockfile_take(path, run->row.id, &run->job_lock_fd, err) < 0) {
			if (err->kind != ERR_BUSY)
				return -1;
			(void)err_wrap(err, "job '%s' is running already", options->job);
			return err_hint(err,
			    "Wait for it to end; 'blackstart status' shows how far it is.");
		}
	}
	run->row.lock_path = xasprintf("%s/run-%s.lock", folder, run->row.id);

	return lockfile_take(run->row.lock_path, options->verb, &run->lock_fd, err);
}

bool
run_is_held(const struct engine *engine, const char *job)
{
	SCOPED(freep) char *path = xasprintf("%s/lock/job-%s.lock", engine->state_dir, job);

	return lockfile_is_held(path);
}

static void
let_go(struct run *run)
{
	log_set_run(-1, NULL);
	if (run->row.lock_path != NULL && run->lock_fd >= 0)
		(void)unlink(run->row.lock_path);
	closep(&run->lock_fd);
	closep(&run->job_lock_fd);
	closep(&run->log_fd);
	run_row_done(&run->row);
}

/* The run that was ordered is the first that has the job's lock; verifying and pruning follow it. */
static struct run_order *
take_order(struct engine *engine, const struct run_options *options, struct run_row *row)
{
	struct run_order *order = engine->order;

	if (order == NULL || order->is_taken || !options->is_exclusive)
		return NULL;
	if (order->due.us != 0) {
		row->due = order->due;
		row->due_last = order->due;
		row->due_count = 1;
		row->attempt = order->attempt;
	}

	return order;
}

/* One that no run has, as far as is known; yours. */
static char *
draw_id(const struct engine *engine, const char *job, struct wall_time now)
{
	char *id = NULL;

	for (unsigned tries = 0; tries < IDS_MAX; tries++) {
		SCOPED(run_row_done) struct run_row other = { .id = NULL };
		struct err err = ERR_INIT;
		char hex[5];

		free(id);
		random_hex(hex, 4);
		id = backup_id_make(job, now, hex);
		if (catalog_run_get(engine->catalog, id, &other, &err) < 0)
			break;
	}

	return id;
}

int
run_begin(struct engine *engine, const struct run_options *options, struct run *ret_run,
    struct err *err)
{
	struct run run = {
		.engine = engine,
		.lock_fd = -1,
		.job_lock_fd = -1,
		.log_fd = -1,
		.began = clock_mono(),
	};
	struct run_order *order;

	order = take_order(engine, options, &run.row);
	run.row.started = clock_wall();
	run.row.id = draw_id(engine, options->job, run.row.started);
	run.row.job = xstrdup(options->job);
	run.row.source = xstrdup(options->source != NULL ? options->source : "");
	run.row.verb = xstrdup(options->verb);
	run.row.backup_id = xstrdup(options->backup_id);
	run.row.state = RUN_RUNNING;

	if (take_locks(engine, options, &run, err) < 0 || open_log(engine, &run, err) < 0 ||
	    catalog_run_insert(engine->catalog, &run.row, err) < 0) {
		let_go(&run);
		return -1;
	}
	if (order != NULL) {
		order->is_taken = true;
		order->begun(order->context, run.row.id);
	}
	*ret_run = run;
	log_set_run(ret_run->log_fd, ret_run->row.id);
	log_debug("%s of job '%s' begins", options->verb, options->job);

	return 0;
}

static enum run_state
final_state(const struct err *failure, unsigned warnings_count)
{
	if (failure == NULL)
		return warnings_count > 0 ? RUN_WARNING : RUN_OK;

	return failure->kind == ERR_CANCELLED ? RUN_CANCELLED : RUN_FAILED;
}

void
run_end(struct run *run, const struct err *failure, unsigned warnings_count,
    const char *first_warning)
{
	struct err err = ERR_INIT;
	char elapsed[CLOCK_TEXT_SIZE];

	run->row.state = final_state(failure, warnings_count);
	run->row.finished = clock_wall();
	free(run->row.message);
	run->row.message = xstrdup(failure != NULL ? failure->msg : first_warning);
	free(run->row.hint);
	run->row.hint = failure != NULL && failure->hint[0] != '\0' ? xstrdup(failure->hint) : NULL;
	run->row.may_pass = failure != NULL && err_kind_is_transient(failure->kind);
	if (failure != NULL)
		log_debug("failed: %s", failure->msg);
	log_debug("ended %s after %s", run_state_name(run->row.state),
	    clock_format_duration(clock_elapsed_us(run->began), elapsed));
	if (run->log_fd >= 0)
		(void)fdatasync(run->log_fd);

	if (catalog_run_update(run->engine->catalog, &run->row, &err) < 0)
		log_warning("cannot record the end of run '%s': %s, continuing", run->row.id,
		    err.msg);
	let_go(run);
}

int
run_sweep(struct engine *engine, unsigned *ret_count, struct err *err)
{
	const enum run_state running = RUN_RUNNING;
	const struct run_filter filter = { .state = &running };
	SCOPED(run_rows_done) struct run_rows rows = { .rows = { .count = 0 } };
	unsigned count = 0;

	if (catalog_run_list(engine->catalog, &filter, &rows, err) < 0)
		return -1;
	for (size_t i = 0; i < rows.rows.count; i++) {
		struct run_row *row = &rows.rows.items[i];

		if (row->lock_path != NULL && lockfile_is_held(row->lock_path))
			continue;
		row->state = RUN_LOST;
		row->finished = clock_wall();
		free(row->message);
		row->message =
		    xstrdup("its process ended without a word (killed, or the machine stopped)");
		if (catalog_run_update(engine->catalog, row, err) < 0)
			return -1;
		if (row->lock_path != NULL)
			(void)unlink(row->lock_path);
		count++;
	}
	*ret_count = count;

	return 0;
}
