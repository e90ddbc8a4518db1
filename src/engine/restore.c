#include "engine/restore.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "engine/archive.h"
#include "engine/backup.h"
#include "engine/engine.h"
#include "engine/prune.h"
#include "engine/run.h"
#include "engine/view.h"
#include "repo/manifest.h"
#include "store/store.h"

/* The order with the archive of its source, if there is one. */
struct equipped {
	struct restore_request request;
	struct archive *archive;
};

static void
equipped_done(struct equipped *equipped)
{
	engine_archive_close(equipped->archive);
}

static int
equip(struct engine *engine, const struct restore_order *order, struct equipped *equipped,
    struct err *err)
{
	const struct source_ops *ops = order->source->ops;
	const char *label = order->backup->source;

	equipped->request = order->request;
	if (order->request.archive != NULL ||
	    !engine_archive_exists_of(engine, ops, label, order->backup->identity))
		return 0;
	equipped->archive = engine_archive_open_of(engine, ops, label, order->backup->identity,
	    "restore", err);
	equipped->request.archive = equipped->archive;

	return equipped->archive != NULL ? 0 : -1;
}

int
restore_plan(struct engine *engine, const struct restore_order *order,
    struct restore_plan *ret_plan, struct err *err)
{
	SCOPED(view_done) struct view view = { .engine = NULL };
	SCOPED(equipped_done) struct equipped equipped = { .archive = NULL };
	struct restore_plan plan = { .what = NULL };

	if (view_open(engine, order->backup->manifest_name, &view, err) < 0 ||
	    equip(engine, order, &equipped, err) < 0)
		return -1;
	plan.read_bytes = manifest_stored_bytes(view.manifest);
	if (order->source->ops->plan(order->source, &view.base, &equipped.request, &plan, err) <
	    0) {
		restore_plan_done(&plan);
		return -1;
	}
	if (order->backup->is_damaged) {
		vec_push(&plan.warnings,
		    xasprintf("the last verification found this backup damaged: %s",
			order->backup->check_message != NULL ? order->backup->check_message
							     : "see its proof"));
	}
	*ret_plan = plan;

	return 0;
}

int
restore_refuse(const struct restore_plan *plan, struct err *err)
{
	size_t more = plan->obstacles.count > 0 ? plan->obstacles.count - 1 : 0;

	if (plan->obstacles.count == 0)
		return 0;
	(void)err_set(err, ERR_REFUSED, "cannot restore: %s", plan->obstacles.items[0]);
	if (more > 0)
		(void)err_wrap(err, "%zu obstacles, the first", more + 1);

	return err_hint(err, "%s",
	    plan->hint != NULL
		? plan->hint
		: "Take away what stands against it, or choose another target: restore --help");
}

/* Live data goes only when its name was typed, and a copy of it is in the store. */
static int
check_confirmed(const struct restore_plan *plan, const struct restore_order *order,
    const struct engine *engine, struct err *err)
{
	const char *confirm = order->request.confirm;

	if (plan->replaces == NULL) {
		if (confirm == NULL)
			return 0;
		(void)err_set(err, ERR_USAGE,
		    "nothing live would be replaced: there is nothing to confirm");
		return err_hint(err, "Leave out --confirm.");
	}
	if (confirm == NULL) {
		(void)err_set(err, ERR_REFUSED, "what %s holds now would be replaced",
		    plan->replaces);
		return err_hint(err,
		    "Type the same again with --confirm=%s; a copy of what is there goes into the store first.",
		    plan->replaces);
	}
	if (!str_equals(confirm, plan->replaces))
		return err_set(err, ERR_USAGE,
		    "--confirm=%s is not what would be replaced, which is %s", confirm,
		    plan->replaces);
	if (order->replaced == NULL || engine->store->is_read_only) {
		(void)err_set(err, ERR_REFUSED,
		    "the store cannot be written, so that no copy of what is there can be kept");
		return err_hint(err, "Mount it for writing, or restore into an empty server.");
	}

	return 0;
}

struct engine_keeper {
	struct keeper base;
	struct engine *engine;
	const struct restore_order *order;
	struct backup_outcome outcome;
};

static void
keeper_done(struct engine_keeper *keeper)
{
	backup_outcome_done(&keeper->outcome);
}

static int
keep_replaced(struct keeper *base, const char *kind, struct err *err)
{
	struct engine_keeper *keeper = (struct engine_keeper *)base;
	const struct restore_request *request = &keeper->order->request;
	const struct backup_job job = {
		.name = "before-restore",
		.source = keeper->order->replaced,
		.kind = kind,
		.parallel = request->parallel,
		.progress = request->progress,
	};

	if (backup_run(keeper->engine, &job, &keeper->outcome, err) < 0 ||
	    prune_pin(keeper->engine, keeper->outcome.id, "what a restore has replaced", err) < 0)
		return err_wrap(err, "a copy of what is there cannot be kept");
	base->id = keeper->outcome.id;
	log_info("what %s holds is kept as backup %s", request->confirm, base->id);

	return 0;
}

static int
do_restore(struct engine *engine, const struct restore_order *order, struct restore_report *report,
    struct err *err)
{
	SCOPED(view_done) struct view view = { .engine = NULL };
	SCOPED(restore_plan_done) struct restore_plan plan = { .what = NULL };
	SCOPED(equipped_done) struct equipped equipped = { .archive = NULL };
	SCOPED(keeper_done)
	struct engine_keeper keeper = {
		.base = { .keep = keep_replaced },
		.engine = engine,
		.order = order,
	};

	if (restore_plan(engine, order, &plan, err) < 0 || restore_refuse(&plan, err) < 0 ||
	    check_confirmed(&plan, order, engine, err) < 0)
		return -1;
	if (view_open(engine, order->backup->manifest_name, &view, err) < 0 ||
	    equip(engine, order, &equipped, err) < 0)
		return -1;
	if (plan.replaces != NULL)
		equipped.request.keeper = &keeper.base;

	return order->source->ops->restore(order->source, &view.base, &equipped.request, report,
	    err);
}

/* Run one of the verbs of this file with a record around it. */
static int
recorded(struct engine *engine, const struct run_options *options,
    int (*work)(struct engine *, const void *, struct restore_report *, struct err *),
    const void *order, struct restore_report *ret_report, struct err *err)
{
	struct restore_report report = { .target = NULL };
	struct run run;
	unsigned warnings;

	if (run_begin(engine, options, &run, err) < 0)
		return -1;
	if (work(engine, order, &report, err) < 0) {
		restore_report_done(&report);
		run_end(&run, err, 0, NULL);
		return -1;
	}
	warnings = (unsigned)report.warnings.count;
	run_end(&run, NULL, warnings, warnings > 0 ? report.warnings.items[0] : NULL);
	*ret_report = report;

	return 0;
}

static int
restore_work(struct engine *engine, const void *order, struct restore_report *report,
    struct err *err)
{
	return do_restore(engine, order, report, err);
}

int
restore_run(struct engine *engine, const struct restore_order *order,
    struct restore_report *ret_report, struct err *err)
{
	SCOPED(freep) char *job = xasprintf("restore-%s", order->backup->source);
	const struct run_options options = {
		.verb = "restore",
		.job = job,
		.source = order->backup->source,
		.backup_id = order->backup->id,
	};

	return recorded(engine, &options, restore_work, order, ret_report, err);
}

struct promote_order {
	struct source *source;
	const struct promote_request *request;
};

static int
promote_work(struct engine *engine, const void *untyped, struct restore_report *report,
    struct err *err)
{
	const struct promote_order *order = untyped;

	(void)engine;

	return order->source->ops->promote(order->source, order->request, report, err);
}

int
restore_promote(struct engine *engine, struct source *source, const struct promote_request *request,
    struct restore_report *ret_report, struct err *err)
{
	SCOPED(freep) char *job = xasprintf("promote-%s", source->label);
	const struct run_options options = {
		.verb = "promote",
		.job = job,
		.source = source->label,
		.is_exclusive = true,
	};
	const struct promote_order order = { .source = source, .request = request };

	return recorded(engine, &options, promote_work, &order, ret_report, err);
}
