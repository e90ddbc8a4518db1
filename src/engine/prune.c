#include "engine/prune.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/engine.h"
#include "engine/run.h"
#include "engine/sync.h"
#include "engine/view.h"
#include "os/stop.h"
#include "repo/manifest.h"
#include "repo/names.h"
#include "repo/record.h"
#include "store/store.h"

void
prune_outcome_done(struct prune_outcome *outcome)
{
	for (size_t i = 0; i < outcome->verdicts.count; i++) {
		free(outcome->verdicts.items[i].id);
		free(outcome->verdicts.items[i].source);
		free(outcome->verdicts.items[i].reason);
	}
	vec_done(&outcome->verdicts);
	*outcome = (struct prune_outcome){ .removed_count = 0 };
}

/* Remove what an intent names, the manifest (first in it) first, then the intent itself. */
static int
carry_out(struct engine *engine, const char *intent_name, const struct name_list *objects,
    struct err *err)
{
	for (size_t i = 0; i < objects->names.count; i++) {
		if (store_remove(engine->store, objects->names.items[i], err) < 0)
			return -1;
	}

	return store_remove(engine->store, intent_name, err);
}

/* What the intent's file names is then pruned again, or stays: nothing that is whole is lost. */
static int
cannot_finish(const struct engine *engine, const char *name, struct err *err)
{
	(void)err_wrap(err, "unfinished prune '%s'", name);
	if (err->kind != ERR_DATA)
		return -1;

	return err_hint(err, "Look at it, move '%s/%s' out of the store, then try again.",
	    engine->store->location, name);
}

int
prune_finish_pending(struct engine *engine, struct err *err)
{
	SCOPED(store_listing_done) struct store_listing listing = { .objects = { .count = 0 } };
	struct sync_result synced;

	if (store_list(engine->store, RECORD_PRUNE_PREFIX, &listing, err) < 0)
		return -1;
	for (size_t i = 0; i < listing.objects.count; i++) {
		const char *name = listing.objects.items[i].name;
		SCOPED(str_done) struct str text = STR_INIT_MAX(RECORD_MAX_BYTES);
		SCOPED(name_list_done) struct name_list objects = { .names = { .count = 0 } };

		if (store_get_text(engine->store, name, RECORD_MAX_BYTES, &text, err) < 0 ||
		    prune_parse(str_text(&text), text.size, &objects, err) < 0)
			return cannot_finish(engine, name, err);
		log_info("finishing the removal that a killed prune began ('%s')", name);
		if (carry_out(engine, name, &objects, err) < 0)
			return -1;
	}

	/* The catalog may still list what has just gone. */
	return listing.objects.count > 0 ? sync_catalog(engine, false, &synced, err) : 0;
}

/* The objects of one backup: its manifest, its files (not those kept by an earlier one), its records. */
static int
list_objects(struct engine *engine, const struct backup_row *row, struct name_list *objects,
    struct err *err)
{
	SCOPED(view_done) struct view view = { .engine = NULL };
	SCOPED(store_listing_done) struct store_listing proofs = { .objects = { .count = 0 } };
	SCOPED(freep) char *encoded = name_encode(row->id);
	SCOPED(freep) char *prefix = xasprintf(RECORD_PROOF_PREFIX "/%s", encoded);

	if (view_open(engine, row->manifest_name, &view, err) < 0 ||
	    store_list(engine->store, prefix, &proofs, err) < 0)
		return -1;
	vec_push(&objects->names, xstrdup(row->manifest_name));
	for (size_t i = 0; i < view.manifest->files.count; i++) {
		const struct manifest_file *file = &view.manifest->files.items[i];

		if (file->of == NULL)
			vec_push(&objects->names, view_object_name(&view, file));
	}
	for (size_t i = 0; i < proofs.objects.count; i++)
		vec_push(&objects->names, xstrdup(proofs.objects.items[i].name));

	return 0;
}

static int
remove_backup(struct engine *engine, const struct backup_row *row, const char *run_id,
    struct err *err)
{
	SCOPED(name_list_done) struct name_list objects = { .names = { .count = 0 } };
	SCOPED(freep) char *intent = prune_name(row->id);
	SCOPED(freep) char *text = NULL;

	if (list_objects(engine, row, &objects, err) < 0)
		return err_wrap(err, "cannot remove backup '%s'", row->id);
	text = prune_format(row->id, &objects);
	if (store_put_text(engine->store, intent, run_id, text, err) < 0 ||
	    carry_out(engine, intent, &objects, err) < 0)
		return err_wrap(err, "cannot remove backup '%s'", row->id);
	log_debug("removed backup '%s'", row->id);

	return 0;
}

/* Is a restore, a verification or another run working with this backup now. */
static bool
is_in_use(const struct run_rows *running, const char *id)
{
	for (size_t i = 0; i < running->rows.count; i++) {
		if (str_equals(running->rows.items[i].backup_id, id))
			return true;
	}

	return false;
}

/* The rows retention may judge: those of the job that have a readable manifest. */
static bool
is_judged(const struct backup_row *row)
{
	return !row->is_unproven && !str_equals(row->kind, "unreadable");
}

static int
judge(struct engine *engine, const struct prune_order *order, struct backup_rows *rows,
    struct prune_outcome *outcome, struct err *err)
{
	const enum run_state running_state = RUN_RUNNING;
	const struct backup_filter mine = { .job = order->job };
	const struct run_filter busy = { .state = &running_state };
	SCOPED(run_rows_done) struct run_rows running = { .rows = { .count = 0 } };
	VEC(struct retention_item) items = { .count = 0 };

	if (catalog_backup_list(engine->catalog, &mine, rows, err) < 0 ||
	    catalog_run_list(engine->catalog, &busy, &running, err) < 0)
		return -1;
	for (size_t i = 0; i < rows->rows.count; i++) {
		const struct backup_row *row = &rows->rows.items[i];

		if (is_judged(row))
			vec_push(&items,
			    ((struct retention_item){ .id = row->id,
				.at = row->consistent_at,
				.is_good = !row->is_damaged,
				.is_pinned = row->is_pinned,
				.is_used = is_in_use(&running, row->id),
				.is_window_base = order->is_window_base,
				.proved_level = row->level }));
	}
	retention_apply(&order->policy, engine->zone, clock_wall(), items.items, items.count);
	for (size_t i = 0, j = 0; i < rows->rows.count; i++) {
		const struct backup_row *row = &rows->rows.items[i];
		struct prune_verdict *verdict;

		if (!is_judged(row))
			continue;
		verdict = vec_add(&outcome->verdicts);
		verdict->id = xstrdup(row->id);
		verdict->source = xstrdup(row->source);
		verdict->at = row->consistent_at;
		verdict->stored_bytes = row->stored_bytes;
		verdict->is_kept = items.items[j].is_kept;
		verdict->reason = xstrdup(items.items[j].reason);
		j++;
	}
	vec_done(&items);

	return 0;
}

static const struct backup_row *
find_row(const struct backup_rows *rows, const char *id)
{
	for (size_t i = 0; i < rows->rows.count; i++) {
		if (str_equals(rows->rows.items[i].id, id))
			return &rows->rows.items[i];
	}

	return NULL;
}

/* Oldest first, so that an interrupted prune leaves the newer ones. */
static int
remove_judged(struct engine *engine, const struct backup_rows *rows, const char *run_id,
    struct prune_outcome *outcome, struct err *err)
{
	for (size_t i = outcome->verdicts.count; i > 0; i--) {
		const struct prune_verdict *verdict = &outcome->verdicts.items[i - 1];

		if (verdict->is_kept)
			continue;
		if (stop_check(err) < 0 ||
		    remove_backup(engine, find_row(rows, verdict->id), run_id, err) < 0)
			return -1;
		outcome->removed_count++;
		outcome->removed_bytes += verdict->stored_bytes;
	}

	return 0;
}

static int
prune_for_real(struct engine *engine, const struct prune_order *order,
    const struct backup_rows *rows, struct prune_outcome *outcome, struct err *err)
{
	SCOPED(freep) char *job = xasprintf("prune-%s", order->job);
	const struct run_options options = { .verb = "prune", .job = job, .is_exclusive = true };
	struct sync_result synced;
	struct run run;

	if (run_begin(engine, &options, &run, err) < 0)
		return -1;
	if (remove_judged(engine, rows, run.row.id, outcome, err) < 0 ||
	    sync_catalog(engine, false, &synced, err) < 0) {
		run_end(&run, err, 0, NULL);
		return -1;
	}
	run_end(&run, NULL, 0, NULL);

	return 0;
}

int
prune_run(struct engine *engine, const struct prune_order *order, struct prune_outcome *ret_outcome,
    struct err *err)
{
	SCOPED(backup_rows_done) struct backup_rows rows = { .rows = { .count = 0 } };
	struct prune_outcome outcome = { .removed_count = 0 };
	unsigned swept;

	if (!order->is_dry_run &&
	    (store_sweep(engine->store, &swept, err) < 0 || prune_finish_pending(engine, err) < 0))
		return -1;
	if (judge(engine, order, &rows, &outcome, err) < 0 ||
	    (!order->is_dry_run && prune_for_real(engine, order, &rows, &outcome, err) < 0)) {
		prune_outcome_done(&outcome);
		return -1;
	}
	*ret_outcome = outcome;

	return 0;
}

int
prune_pin(struct engine *engine, const char *backup_id, const char *reason, struct err *err)
{
	SCOPED(freep) char *name = pin_name(backup_id);
	SCOPED(freep) char *text = pin_format(backup_id, clock_wall(), reason);

	if (store_has(engine->store, name)) {
		(void)err_set(err, ERR_EXISTS, "backup '%s' is pinned already", backup_id);
		return err_hint(err, "Type 'blackstart unpin %s' first to give another reason.",
		    backup_id);
	}

	return store_put_text(engine->store, name, "pin", text, err);
}

int
prune_unpin(struct engine *engine, const char *backup_id, struct err *err)
{
	SCOPED(freep) char *name = pin_name(backup_id);

	if (!store_has(engine->store, name))
		return err_set(err, ERR_NOT_FOUND, "backup '%s' is not pinned", backup_id);

	return store_remove(engine->store, name, err);
}
