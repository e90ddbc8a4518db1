#include "engine/sync.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "engine/engine.h"
#include "engine/sync_internal.h"
#include "repo/manifest.h"
#include "repo/names.h"
#include "repo/record.h"
#include "source/source.h"
#include "store/store.h"

/*
 * What one pass over the store found, and the rows there were before.  What is to change in the
 * catalog is put down here first: a store may hang at any look, and whoever hangs must not hold
 * the catalog's lock, for which the daemon then waits in vain.
 */
struct sync {
	struct engine *engine;
	struct store_listing listing;
	struct backup_rows old;
	VEC(bool) is_seen; /* per old row */
	VEC(struct proof_mark) proofs;
	VEC(char *) pins;        /* backup ids */
	char *unfinished_folder; /* the one that `unfinished` is of, or NULL */
	struct store_names unfinished;
	VEC(struct backup_row) changed; /* to be put into the catalog */
	VEC(char *) removed;            /* ids of rows that go before */
	struct sync_result result;
};

static void
sync_done(struct sync *sync)
{
	store_listing_done(&sync->listing);
	backup_rows_done(&sync->old);
	vec_done(&sync->is_seen);
	for (size_t i = 0; i < sync->proofs.count; i++)
		free(sync->proofs.items[i].backup_id);
	vec_done(&sync->proofs);
	for (size_t i = 0; i < sync->pins.count; i++)
		free(sync->pins.items[i]);
	vec_done(&sync->pins);
	free(sync->unfinished_folder);
	store_names_done(&sync->unfinished);
	for (size_t i = 0; i < sync->changed.count; i++)
		backup_row_done(&sync->changed.items[i]);
	vec_done(&sync->changed);
	for (size_t i = 0; i < sync->removed.count; i++)
		free(sync->removed.items[i]);
	vec_done(&sync->removed);
}

/* Sort records under ".blackstart/" into proofs and pins. */
static void
collect_records(struct sync *sync)
{
	for (size_t i = 0; i < sync->listing.objects.count; i++) {
		const char *name = sync->listing.objects.items[i].name;
		struct proof_mark mark;
		char *pinned;

		if (proof_mark_parse(name, &mark))
			vec_push(&sync->proofs, mark);
		else if (pin_name_parse(name, &pinned))
			vec_push(&sync->pins, pinned);
	}
}

static int
compare_rows(const void *a, const void *b)
{
	const struct backup_row *left = a;
	const struct backup_row *right = b;

	return strcmp(left->manifest_name, right->manifest_name);
}

static int
compare_proofs(const void *a, const void *b)
{
	const struct proof_mark *left = a;
	const struct proof_mark *right = b;

	return strcmp(left->backup_id, right->backup_id);
}

/* Everything is looked up once for each object, so it is sorted first. */
static void
sort_all(struct sync *sync)
{
	if (sync->old.rows.count > 0)
		qsort(sync->old.rows.items, sync->old.rows.count, sizeof(struct backup_row),
		    compare_rows);
	if (sync->proofs.count > 0)
		qsort(sync->proofs.items, sync->proofs.count, sizeof(struct proof_mark),
		    compare_proofs);
}

/* The old row of this object, or NULL; marks it as seen. */
static const struct backup_row *
find_old(struct sync *sync, const char *object_name)
{
	const struct backup_row key = { .manifest_name = (char *)(uintptr_t)object_name };
	const struct backup_row *row = NULL;

	if (sync->old.rows.count > 0)
		row = bsearch(&key, sync->old.rows.items, sync->old.rows.count, sizeof(key),
		    compare_rows);
	if (row != NULL)
		sync->is_seen.items[row - sync->old.rows.items] = true;

	return row;
}

/* The first of the proofs of this backup; they stand together. */
static size_t
first_proof(const struct sync *sync, const char *id)
{
	size_t low = 0;
	size_t high = sync->proofs.count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(sync->proofs.items[middle].backup_id, id) < 0)
			low = middle + 1;
		else
			high = middle;
	}

	return low;
}

/* Text of a small record, or NULL where it cannot be read: a record is a remark, not the data. */
static char *
record_field(struct sync *sync, const char *name, char *(*field)(const char *, size_t))
{
	SCOPED(str_done) struct str text = STR_INIT_MAX(RECORD_MAX_BYTES);
	struct err ignored = ERR_INIT;

	if (store_get_text(sync->engine->store, name, RECORD_MAX_BYTES, &text, &ignored) < 0)
		return NULL;

	return field(str_text(&text), text.size);
}

/* Level, check and pin of a row, from the names of the records. */
static void
apply_records(struct sync *sync, struct backup_row *row)
{
	const struct proof_mark *newest = NULL;

	row->level = -1;
	for (size_t i = first_proof(sync, row->id); i < sync->proofs.count; i++) {
		const struct proof_mark *mark = &sync->proofs.items[i];

		if (!str_equals(mark->backup_id, row->id))
			break;
		if (newest == NULL || mark->at.us >= newest->at.us)
			newest = mark;
		if (mark->level > row->level ||
		    (mark->level == row->level && mark->at.us > row->level_at.us)) {
			row->level = mark->level;
			row->level_at = mark->at;
		}
	}
	if (newest != NULL) {
		row->checked_at = newest->at;
		row->is_damaged = row->is_damaged || !newest->is_good;
	}
	if (newest != NULL && !newest->is_good) {
		const struct proof proof = { .backup_id = row->id, .at = newest->at };
		SCOPED(freep) char *name = proof_name(&proof);

		row->check_message = record_field(sync, name, proof_message);
	}
	for (size_t i = 0; i < sync->pins.count; i++) {
		SCOPED(freep) char *name = NULL;

		if (!str_equals(sync->pins.items[i], row->id))
			continue;
		name = pin_name(row->id);
		row->is_pinned = true;
		row->pin_reason = record_field(sync, name, pin_reason);
	}
}

static void
fill_from_manifest(struct backup_row *row, const struct manifest *manifest)
{
	row->id = xstrdup(manifest->id);
	row->job = xstrdup(manifest->job);
	row->source = xstrdup(manifest->source_name);
	row->source_type = xstrdup(manifest->source_type);
	row->kind = xstrdup(manifest->kind);
	row->identity = xstrdup(manifest->source_identity);
	row->version = xstrdup(manifest->source_version);
	row->started = manifest->started;
	row->finished = manifest->finished;
	row->consistent_at = manifest->consistent_at;
	row->content_bytes = manifest_content_bytes(manifest);
	row->stored_bytes = manifest_stored_bytes(manifest);
	row->warnings_count = (unsigned)manifest->warnings.count;
	row->is_damaged = manifest_has_warning(manifest, "damaged_at_source");
}

static void
fill_from_row(struct backup_row *row, const struct backup_row *old)
{
	row->id = xstrdup(old->id);
	row->job = xstrdup(old->job);
	row->source = xstrdup(old->source);
	row->source_type = xstrdup(old->source_type);
	row->kind = xstrdup(old->kind);
	row->identity = xstrdup(old->identity);
	row->version = xstrdup(old->version);
	row->started = old->started;
	row->finished = old->finished;
	row->consistent_at = old->consistent_at;
	row->content_bytes = old->content_bytes;
	row->stored_bytes = old->stored_bytes;
	row->warnings_count = old->warnings_count;
	row->is_unproven = old->is_unproven;
}

/* A manifest that cannot be read is shown, not passed over. */
static void
fill_damaged(struct sync *sync, struct backup_row *row, const struct store_object *object,
    const char *why)
{
	const char *slash = strchr(object->name, '/');

	sync->result.damaged_count++;
	row->id = xstrdup(object->name);
	row->job = xstrdup("");
	row->source = slash != NULL ? xstrndup(object->name, (size_t)(slash - object->name))
				    : xstrdup("");
	row->source_type = xstrdup("");
	row->kind = xstrdup("unreadable");
	row->identity = xstrdup("");
	row->version = xstrdup("");
	row->started = row->finished = row->consistent_at = object->modified;
	row->is_damaged = true;
	row->check_message = xstrdup(why);
}

static int
read_manifest(struct sync *sync, const struct store_object *object, struct backup_row *row)
{
	SCOPED(str_done) struct str text = STR_INIT_MAX(MANIFEST_MAX_BYTES);
	SCOPED(manifest_freep) struct manifest *manifest = NULL;
	struct err err = ERR_INIT;

	if (store_get_text(sync->engine->store, object->name, MANIFEST_MAX_BYTES, &text, &err) == 0)
		manifest = manifest_parse(str_text(&text), text.size, &err);
	if (manifest == NULL) {
		fill_damaged(sync, row, object, err.msg);
		return -1;
	}
	fill_from_manifest(row, manifest);

	return 0;
}

/* A damaged one is read again: whether its manifest or a proof says so is not in the row. */
static bool
is_same_object(const struct backup_row *old, const struct store_object *object)
{
	return old != NULL && old->manifest_bytes == object->bytes &&
	    old->manifest_modified.us == object->modified.us &&
	    !str_equals(old->kind, "unreadable") && !old->is_damaged;
}

static bool
is_same_row(const struct backup_row *old, const struct backup_row *row)
{
	return old != NULL && old->manifest_modified.us == row->manifest_modified.us &&
	    old->manifest_bytes == row->manifest_bytes && old->level == row->level &&
	    old->level_at.us == row->level_at.us && old->checked_at.us == row->checked_at.us &&
	    old->is_damaged == row->is_damaged && old->is_pinned == row->is_pinned &&
	    str_equals(old->id, row->id) && str_equals(old->job, row->job) &&
	    str_equals(old->pin_reason, row->pin_reason) &&
	    str_equals(old->check_message, row->check_message);
}

/* Takes the row over if it is to change. */
static void
put_row(struct sync *sync, const struct backup_row *old, struct backup_row *row)
{
	apply_records(sync, row);
	if (is_same_row(old, row))
		return;
	sync->result.changed_count++;
	if (old != NULL && !str_equals(old->id, row->id))
		vec_push(&sync->removed, xstrdup(old->id));
	vec_push(&sync->changed, *row);
	*row = (struct backup_row){ .level = -1 };
}

static void
sync_manifest(struct sync *sync, const struct store_object *object)
{
	const struct backup_row *old = find_old(sync, object->name);
	SCOPED(backup_row_done) struct backup_row row = { .level = -1 };

	row.manifest_name = xstrdup(object->name);
	row.manifest_bytes = object->bytes;
	row.manifest_modified = object->modified;
	if (is_same_object(old, object))
		fill_from_row(&row, old);
	else if (read_manifest(sync, object, &row) < 0)
		log_warning("manifest '%s' cannot be read: %s, continuing", object->name,
		    row.check_message);
	if (!str_equals(row.kind, "unreadable"))
		sync->result.backups_count++;

	put_row(sync, old, &row);
}

/* The job and the source that a file of the user's own in `folder` belongs to. */
static bool
owner_of(const struct engine *engine, const char *folder, const struct source_ops *driver,
    const struct backup_kind *kind, struct backup_row *row)
{
	const char *slash = strchr(folder, '/');
	SCOPED(freep)
	char *source = slash != NULL ? xstrndup(folder, (size_t)(slash - folder)) : xstrdup(folder);

	if (slash != NULL && strcmp(slash + 1, kind->layout.subfolder) != 0)
		return false;
	for (size_t i = 0; i < engine->jobs_count; i++) {
		const struct known_job *job = &engine->jobs[i];

		if (str_equals(job->source_type, driver->type) &&
		    str_equals(job->kind, kind->name) &&
		    (source[0] == '\0' || str_equals(job->source, source))) {
			row->source = xstrdup(job->source);
			row->job = xstrdup(job->name);
			return true;
		}
	}
	if (source[0] == '.' || engine->jobs_count > 0)
		return false;
	row->source = xstrdup(source[0] != '\0' ? source : "postgresql");
	row->job = xasprintf("%s-%s", row->source, kind->name);

	return true;
}

static int
compare_objects(const void *a, const void *b)
{
	const struct store_object *left = a;
	const struct store_object *right = b;

	return strcmp(left->name, right->name);
}

/* In the listing, or since then: a run may have ended after its files were listed. */
static bool
is_in_store(const struct sync *sync, char *name)
{
	const struct store_object key = { .name = name };

	return bsearch(&key, sync->listing.objects.items, sync->listing.objects.count, sizeof(key),
		   compare_objects) != NULL ||
	    store_has(sync->engine->store, name);
}

/*
 * A file of ours shares its stem's manifest; one of the user's own that was adopted has a manifest
 * named as itself ("backup-2025-11-25.plant.manifest.json").
 */
static bool
has_manifest(const struct sync *sync, const char *object_name, const char *stem,
    const char *extension)
{
	SCOPED(freep) char *folder = name_folder(object_name);
	SCOPED(freep)
	char *of_stem = xasprintf("%s%s%s.manifest.json", folder, folder[0] != '\0' ? "/" : "",
	    stem);
	SCOPED(freep)
	char *of_file = xasprintf("%.*s.manifest.json",
	    (int)(strlen(object_name) - strlen(extension) - 1), object_name);

	return is_in_store(sync, of_stem) || is_in_store(sync, of_file);
}

/*
 * Is it a file of a run of ours that goes on, or died before its manifest.  Looked up once for each
 * folder: what is listed stands sorted.
 */
static int
find_unfinished(struct sync *sync, const char *folder, const char *base_name, bool *ret_is_one,
    struct err *err)
{
	if (!str_equals(sync->unfinished_folder, folder)) {
		store_names_done(&sync->unfinished);
		free(TAKE(sync->unfinished_folder));
		if (store_unfinished(sync->engine->store, folder, &sync->unfinished, err) < 0)
			return -1;
		sync->unfinished_folder = xstrdup(folder);
	}
	*ret_is_one = false;
	for (size_t i = 0; i < sync->unfinished.items.count; i++) {
		if (str_equals(sync->unfinished.items.items[i], base_name))
			*ret_is_one = true;
	}

	return 0;
}

static int
sync_flat_file(struct sync *sync, const struct store_object *object,
    const struct source_ops *driver, const struct backup_kind *kind, struct err *err)
{
	const struct backup_row *old;
	SCOPED(backup_row_done) struct backup_row row = { .level = -1, .is_unproven = true };
	SCOPED(freep) char *folder = name_folder(object->name);
	SCOPED(freep) char *stem = NULL;
	bool is_unfinished = false;

	if (!name_parse_flat(name_base(object->name), &kind->layout, kind->adopts,
		sync->engine->zone, &row.consistent_at, &stem) ||
	    !owner_of(sync->engine, folder, driver, kind, &row))
		return 0;
	/* In this order: a run that has taken away its mark has its manifest. */
	if (find_unfinished(sync, folder, name_base(object->name), &is_unfinished, err) < 0)
		return -1;
	if (is_unfinished || has_manifest(sync, object->name, stem, kind->adopts))
		return 0;

	old = find_old(sync, object->name);
	row.id = xstrdup(object->name);
	row.source_type = xstrdup(driver->type);
	row.kind = xstrdup(kind->name);
	row.manifest_name = xstrdup(object->name);
	row.manifest_bytes = object->bytes;
	row.manifest_modified = object->modified;
	row.identity = xstrdup("");
	row.version = xstrdup("");
	row.started = row.finished = row.consistent_at;
	row.content_bytes = row.stored_bytes = object->bytes;
	sync->result.unproven_count++;
	put_row(sync, old, &row);

	return 0;
}

/* Does the object look like a backup that was there before us, of any driver's kind. */
static int
sync_candidate(struct sync *sync, const struct store_object *object, struct err *err)
{
	for (size_t d = 0; sync->engine->drivers[d] != NULL; d++) {
		const struct source_ops *driver = sync->engine->drivers[d];

		for (size_t k = 0; k < driver->kinds_count; k++) {
			if (driver->kinds[k].adopts != NULL &&
			    sync_flat_file(sync, object, driver, &driver->kinds[k], err) < 0)
				return -1;
		}
	}

	return 0;
}

static int
sync_objects(struct sync *sync, struct err *err)
{
	for (size_t i = 0; i < sync->listing.objects.count; i++) {
		const struct store_object *object = &sync->listing.objects.items[i];

		if (str_starts_with(object->name, ".blackstart/"))
			continue;
		if (name_is_manifest(object->name))
			sync_manifest(sync, object);
		else if (sync_candidate(sync, object, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < sync->old.rows.count; i++) {
		if (sync->is_seen.items[i])
			continue;
		sync->result.removed_count++;
		sync->result.changed_count++;
		vec_push(&sync->removed, xstrdup(sync->old.rows.items[i].id));
	}

	return 0;
}

static int
write_rows(const struct sync *sync, struct err *err)
{
	struct catalog *catalog = sync->engine->catalog;

	for (size_t i = 0; i < sync->removed.count; i++) {
		if (catalog_backup_remove(catalog, sync->removed.items[i], err) < 0)
			return -1;
	}
	for (size_t i = 0; i < sync->changed.count; i++) {
		if (catalog_backup_put(catalog, &sync->changed.items[i], err) < 0)
			return -1;
	}

	return 0;
}

int
sync_catalog(struct engine *engine, bool is_full, struct sync_result *ret_result, struct err *err)
{
	SCOPED(sync_done) struct sync sync = { .engine = engine };
	const struct backup_filter all = { .limit = 0 };

	if (sync_list(engine, &sync.listing, err) < 0)
		return -1;
	if (is_full && catalog_backup_clear(engine->catalog, err) < 0)
		return -1;
	if (catalog_backup_list(engine->catalog, &all, &sync.old, err) < 0)
		return -1;
	for (size_t i = 0; i < sync.old.rows.count; i++)
		vec_push(&sync.is_seen, false);
	collect_records(&sync);
	sort_all(&sync);

	if (sync_objects(&sync, err) < 0 || catalog_begin(engine->catalog, err) < 0)
		return -1;
	if (write_rows(&sync, err) < 0 || catalog_commit(engine->catalog, err) < 0) {
		catalog_rollback(engine->catalog);
		return -1;
	}
	*ret_result = sync.result;

	return 0;
}
