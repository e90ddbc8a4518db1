/*
 * A restore goes before the schedule: somebody waits for it.  What runs for its source is stopped,
 * and begun again when it has ended; what is due waits.  What runs all the time goes on.
 */
#include <stdlib.h>

#include "app/daemon/daemon_internal.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "os/lockfile.h"
#include "work/worker.h"

bool
daemon_is_restored(const struct daemon *daemon, const char *source)
{
	for (size_t i = 0; i < daemon->restored.count; i++) {
		if (str_equals(daemon->restored.items[i], source))
			return true;
	}

	return false;
}

void
daemon_forget_restores(struct daemon *daemon)
{
	for (size_t i = 0; i < daemon->restored.count; i++)
		free(daemon->restored.items[i]);
	vec_done(&daemon->restored);
}

static void
stop_runs(const struct daemon *daemon)
{
	for (size_t i = 0; i < daemon->runs.count; i++) {
		struct daemon_run *run = daemon->runs.items[i];

		if (run->worker == NULL || run->is_pre_empted ||
		    !daemon_is_restored(daemon, run->source))
			continue;
		run->is_pre_empted = true;
		log_warning("job '%s' is stopped: a restore of '%s' goes first", run->job,
		    run->source);
		worker_stop(run->worker);
	}
}

void
daemon_look_at_restores(struct daemon *daemon)
{
	static const enum run_state running = RUN_RUNNING;
	const struct run_filter filter = { .verb = "restore", .state = &running };
	SCOPED(run_rows_done) struct run_rows rows = { .rows = { .count = 0 } };
	struct err err = ERR_INIT;

	if (catalog_run_list(daemon->wire.engine.catalog, &filter, &rows, &err) < 0) {
		daemon_catalog_failed(daemon, &err);
		return;
	}
	daemon_forget_restores(daemon);
	for (size_t i = 0; i < rows.rows.count; i++) {
		const struct run_row *row = &rows.rows.items[i];

		/* One that was killed says for ever that it runs, but holds no lock. */
		if (row->lock_path != NULL && lockfile_is_held(row->lock_path) &&
		    !daemon_is_restored(daemon, row->source))
			vec_push(&daemon->restored, xstrdup(row->source));
	}
	stop_runs(daemon);
	if (daemon->agenda != NULL)
		agenda_set_restored(daemon->agenda, (const char *const *)daemon->restored.items,
		    daemon->restored.count);
}
