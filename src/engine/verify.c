#include "engine/verify.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "catalog/catalog.h"
#include "engine/adopt.h"
#include "engine/archive.h"
#include "engine/engine.h"
#include "engine/run.h"
#include "engine/scratch.h"
#include "engine/sync.h"
#include "engine/view.h"
#include "repo/manifest.h"
#include "repo/record.h"
#include "store/store.h"

/* What one verification holds. */
struct climb {
	struct engine *engine;
	const struct verify_order *order;
	struct run run;
	struct scratch_dir scratch;
	struct view view;
	char *manifest_name;
	struct verify_outcome *outcome;
};

void
verify_outcome_done(struct verify_outcome *outcome)
{
	free(outcome->backup_id);
	verify_report_done(&outcome->report);
	*outcome = (struct verify_outcome){ .level = -1 };
}

static void
climb_done(struct climb *climb)
{
	view_done(&climb->view);
	scratch_dir_done(&climb->scratch);
	free(climb->manifest_name);
}

static int
open_backup(struct climb *climb, struct err *err)
{
	const struct backup_row *row = climb->order->backup;

	if (!row->is_unproven)
		climb->manifest_name = xstrdup(row->manifest_name);
	else if (adopt_file(climb->engine, row, climb->order->source, climb->run.row.id,
		     &climb->manifest_name, err) < 0)
		return -1;
	if (view_open(climb->engine, climb->manifest_name, &climb->view, err) < 0)
		return -1;
	climb->view.progress = climb->order->progress;
	free(climb->outcome->backup_id);
	climb->outcome->backup_id = xstrdup(climb->view.manifest->id);

	return 0;
}

/* Levels 1 and up.  What the driver's reading proved whole need not be read again for level 0. */
static int
climb_with_driver(struct climb *climb, struct err *err)
{
	const struct verify_order *order = climb->order;
	struct source *source = order->source;
	SCOPED(engine_archive_closep) struct archive *archive = NULL;
	struct verify_request request = {
		.level = order->level,
		.smoke = order->smoke,
		.smoke_count = order->smoke_count,
		.progress = order->progress,
	};

	if (order->level >= 2) {
		if (scratch_dir_sweep(climb->engine, err) < 0 ||
		    scratch_dir_make(climb->engine, climb->run.row.id, &climb->scratch, err) < 0)
			return -1;
		request.scratch_dir = climb->scratch.path;
	}
	if (engine_archive_exists_of(climb->engine, source->ops, order->backup->source,
		order->backup->identity)) {
		archive = engine_archive_open_of(climb->engine, source->ops, order->backup->source,
		    order->backup->identity, climb->run.row.id, err);
		if (archive == NULL)
			return -1;
		request.archive = archive;
	}
	climb->outcome->report.level = -1;
	if (source->ops->verify(source, &climb->view.base, &request, &climb->outcome->report, err) <
	    0) {
		climb->outcome->level = climb->outcome->report.level;
		return -1;
	}
	if (view_check_rest(&climb->view, err) < 0) {
		climb->outcome->level = -1;
		return -1;
	}
	climb->outcome->level = climb->outcome->report.level;

	return 0;
}

static int
climb_ladder(struct climb *climb, struct err *err)
{
	if (open_backup(climb, err) < 0)
		return -1;
	if (climb->order->level >= 1)
		return climb_with_driver(climb, err);
	progress_phase(climb->order->progress, "checking hashes",
	    manifest_stored_bytes(climb->view.manifest));
	if (view_check_rest(&climb->view, err) < 0)
		return -1;
	climb->outcome->level = 0;

	return 0;
}

/* Damage is what was found in the backup; everything else says only that we could not look. */
static bool
is_damage(const struct err *err)
{
	return err->kind == ERR_MISMATCH || err->kind == ERR_DATA;
}

static int
write_proof(struct climb *climb, const struct err *failure, struct err *err)
{
	const struct verify_report *report = &climb->outcome->report;
	struct proof proof = {
		.backup_id = climb->outcome->backup_id,
		.is_good = failure == NULL || !is_damage(failure),
		.level = climb->outcome->level,
		.at = clock_wall(),
		.duration_us = climb->outcome->duration_us,
		.message = failure != NULL ? failure->msg : NULL,
		.notes = (const char *const *)report->notes.items,
		.notes_count = report->notes.count,
		.details = report->details,
	};
	SCOPED(freep) char *name = NULL;
	SCOPED(freep) char *text = NULL;

	if (proof.is_good && proof.level < 0)
		return 0; /* nothing was proved and nothing found */
	name = proof_name(&proof);
	text = proof_format(&proof);
	if (store_has(climb->engine->store, name))
		return 0; /* the same verdict in the same second */

	return store_put_text(climb->engine->store, name, climb->run.row.id, text, err);
}

/* The verdict goes to the store and the catalog; on failure the first error stays the one told. */
static int
conclude(struct climb *climb, const struct err *failure, struct err *err)
{
	struct sync_result synced;

	climb->outcome->duration_us = clock_elapsed_us(climb->run.began);
	if (write_proof(climb, failure, err) < 0)
		return err_wrap(err, "cannot write the proof");

	return sync_catalog(climb->engine, false, &synced, err);
}

int
verify_run(struct engine *engine, const struct verify_order *order,
    struct verify_outcome *ret_outcome, struct err *err)
{
	SCOPED(climb_done)
	struct climb climb = {
		.engine = engine,
		.order = order,
		.scratch = { .lock_fd = -1 },
		.outcome = ret_outcome,
	};
	SCOPED(freep) char *job = xasprintf("verify-%s", order->backup->source);
	const struct run_options options = {
		.verb = "verify",
		.job = job,
		.source = order->backup->source,
		.backup_id = order->backup->id,
	};
	struct err last = ERR_INIT;
	unsigned warnings;

	*ret_outcome = (struct verify_outcome){ .level = -1 };
	ret_outcome->backup_id = xstrdup(order->backup->id);
	if (run_begin(engine, &options, &climb.run, err) < 0)
		return -1;
	if (climb_ladder(&climb, err) < 0) {
		if (conclude(&climb, err, &last) < 0)
			log_warning("%s, continuing", last.msg);
		if (is_damage(err))
			err->kind = ERR_MISMATCH;
		(void)err_wrap(err, "backup '%s'", ret_outcome->backup_id);
		run_end(&climb.run, err, 0, NULL);
		return -1;
	}
	if (conclude(&climb, NULL, err) < 0) {
		run_end(&climb.run, err, 0, NULL);
		return -1;
	}
	warnings = (unsigned)ret_outcome->report.warnings.count;
	run_end(&climb.run, NULL, warnings,
	    warnings > 0 ? ret_outcome->report.warnings.items[0] : NULL);

	return 0;
}
