#include "engine/expire.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "engine/archive.h"
#include "engine/engine.h"
#include "engine/run.h"
#include "engine/systems.h"
#include "engine/view.h"
#include "repo/manifest.h"
#include "source/archive.h"
#include "source/source.h"

/* The manifests of the bases that are kept. */
struct kept_bases {
	struct view *views;
	const struct manifest **manifests;
	size_t count;
	size_t good_count;  /* they come first */
	const char *former; /* only those of this system; NULL: of the present one */
	const struct systems *systems;
};

static void
kept_bases_done(struct kept_bases *bases)
{
	for (size_t i = 0; i < bases->count; i++)
		view_done(&bases->views[i]);
	free(bases->views);
	free(bases->manifests);
}

static bool
is_gone(const struct expire_order *order, const char *id)
{
	for (size_t i = 0; i < order->removed_count; i++) {
		if (str_equals(order->removed[i], id))
			return true;
	}

	return false;
}

static bool
is_base(const struct expire_order *order, const struct backup_row *row)
{
	const struct backup_kind *kind = source_kind(order->source, row->kind);

	return kind != NULL && kind->is_window_base && !row->is_unproven &&
	    !is_gone(order, row->id);
}

/* What a manifest that cannot be read would need is not known. */
static int
refuse_unreadable(const struct backup_row *row, struct err *err)
{
	(void)err_set(err, ERR_DATA,
	    "'%s' cannot be read, so nobody can say which log it needs: none is removed",
	    row->manifest_name);

	return err_hint(err, "'blackstart show %s' tells more; move the file out of the store.",
	    row->id);
}

/* Whose archive: a former system's, or the present one's, for all that have none of their own. */
static bool
needs_archive(const struct backup_row *row, const char *former, const struct systems *systems)
{
	return former != NULL ? str_equals(row->identity, former)
			      : !systems_was(systems, row->identity);
}

static int
add_bases(struct engine *engine, const struct expire_order *order, const struct backup_rows *rows,
    bool is_damaged, struct kept_bases *bases, struct err *err)
{
	for (size_t i = 0; i < rows->rows.count; i++) {
		const struct backup_row *row = &rows->rows.items[i];

		if (str_equals(row->kind, "unreadable"))
			return refuse_unreadable(row, err);
		if (row->is_damaged != is_damaged || !is_base(order, row) ||
		    !needs_archive(row, bases->former, bases->systems))
			continue;
		if (view_open(engine, row->manifest_name, &bases->views[bases->count], err) < 0)
			return -1;
		bases->manifests[bases->count] = bases->views[bases->count].manifest;
		bases->count++;
	}

	return 0;
}

static int
open_bases(struct engine *engine, const struct expire_order *order, struct kept_bases *bases,
    struct err *err)
{
	const struct backup_filter mine = { .source = order->source->label };
	SCOPED(backup_rows_done) struct backup_rows rows = { .rows = { .count = 0 } };

	if (catalog_backup_list(engine->catalog, &mine, &rows, err) < 0)
		return -1;
	bases->views = xcalloc(rows.rows.count + 1, sizeof(*bases->views));
	bases->manifests = xcalloc(rows.rows.count + 1, sizeof(*bases->manifests));
	if (add_bases(engine, order, &rows, false, bases, err) < 0)
		return -1;
	bases->good_count = bases->count;

	return add_bases(engine, order, &rows, true, bases, err);
}

/* A base that is being restored may need the log from it up to the end: the window reaches to it. */
static int
reach_to_used(struct engine *engine, const struct kept_bases *bases, struct expire_request *request,
    struct err *err)
{
	const enum run_state running_state = RUN_RUNNING;
	const struct run_filter busy = { .state = &running_state };
	SCOPED(run_rows_done) struct run_rows running = { .rows = { .count = 0 } };

	if (catalog_run_list(engine->catalog, &busy, &running, err) < 0)
		return -1;
	for (size_t i = 0; i < bases->count * running.rows.count; i++) {
		const struct manifest *base = bases->manifests[i / running.rows.count];
		const struct run_row *run = &running.rows.items[i % running.rows.count];

		if (str_equals(run->backup_id, base->id) &&
		    base->consistent_at.us < request->since.us)
			request->since = base->consistent_at;
	}

	return 0;
}

/* One archive, by the bases that may need it: those of a former system have one of their own. */
static int
expire_archive(struct engine *engine, const struct expire_order *order, const char *former,
    const struct systems *systems, const char *run_id, struct expire_report *report,
    struct err *err)
{
	SCOPED(kept_bases_done) struct kept_bases bases = { .former = former, .systems = systems };
	SCOPED(engine_archive_closep) struct archive *archive = NULL;
	struct expire_request request = {
		.since = { clock_wall().us - order->keep_us },
		.is_dry_run = order->is_dry_run,
	};

	if (open_bases(engine, order, &bases, err) < 0)
		return -1;
	archive = engine_archive_open_of(engine, order->source->ops, order->source->label, former,
	    run_id, err);
	if (archive == NULL)
		return -1;
	request.kept = bases.manifests;
	request.kept_count = bases.count;
	request.good_count = bases.good_count;
	if (former != NULL && bases.count == 0)
		log_warning("source '%s': no base backup is left of its former system %s: its log "
			    "in '%s' is of no use any more, remove that folder",
		    order->source->label, former, archive->path);
	if (reach_to_used(engine, &bases, &request, err) < 0)
		return -1;

	return order->source->ops->expire(order->source, archive, &request, report, err);
}

static int
expire(struct engine *engine, const struct expire_order *order, const char *run_id,
    struct expire_report *report, struct err *err)
{
	SCOPED(systems_done) struct systems systems = { .current = NULL };

	if (systems_read(engine, order->source->ops, order->source->label, &systems, err) < 0 ||
	    expire_archive(engine, order, NULL, &systems, run_id, report, err) < 0)
		return -1;
	for (size_t i = 0; i < systems.formers.count; i++) {
		struct expire_report more = { .count = 0 };

		if (expire_archive(engine, order, systems.formers.items[i], &systems, run_id, &more,
			err) < 0)
			return -1;
		report->count += more.count;
		report->bytes += more.bytes;
	}

	return 0;
}

static int
expire_for_real(struct engine *engine, const struct expire_order *order,
    struct expire_report *report, struct err *err)
{
	SCOPED(freep) char *job = xasprintf("prune-%s", order->job);
	const struct run_options options = {
		.verb = "prune",
		.job = job,
		.source = order->source->label,
		.is_exclusive = true,
	};
	struct run run;
	int result;

	if (run_begin(engine, &options, &run, err) < 0)
		return -1;
	result = expire(engine, order, run.row.id, report, err);
	run_end(&run, result < 0 ? err : NULL, 0, NULL);

	return result;
}

int
expire_run(struct engine *engine, const struct expire_order *order,
    struct expire_report *ret_report, struct err *err)
{
	struct expire_report report = { .count = 0 };

	if (order->source->ops->expire == NULL ||
	    !engine_archive_exists(engine, order->source->ops, order->source->label)) {
		*ret_report = report;
		return 0;
	}
	if ((order->is_dry_run ? expire(engine, order, "prune", &report, err)
			       : expire_for_real(engine, order, &report, err)) < 0)
		return err_wrap(err, "log of source '%s'", order->source->label);
	*ret_report = report;

	return 0;
}
