#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/engine.h"
#include "engine/sync_internal.h"
#include "engine/systems.h"
#include "source/source.h"
#include "store/store.h"

struct lister {
	struct engine *engine;
	struct store_listing listing;
};

/* The folders below one, and the files in it. */
struct folder_view {
	struct store_visitor base;
	VEC(char *) folders;
	VEC(char *) files;
};

static int
view_entry(struct store_visitor *visitor, const struct store_entry *entry, struct err *err)
{
	struct folder_view *view = (struct folder_view *)visitor;

	(void)err;
	if (entry->is_folder)
		vec_push(&view->folders, xstrdup(entry->name));
	else
		vec_push(&view->files, xstrdup(entry->name));

	return 0;
}

static void
folder_view_done(struct folder_view *view)
{
	for (size_t i = 0; i < view->folders.count; i++)
		free(view->folders.items[i]);
	for (size_t i = 0; i < view->files.count; i++)
		free(view->files.items[i]);
	vec_done(&view->folders);
	vec_done(&view->files);
}

static int
add_file(struct lister *lister, const char *name, struct err *err)
{
	struct err gone = ERR_INIT;
	struct store_object object;

	/* One that went since it was seen is not in the store. */
	if (store_stat(lister->engine->store, name, &object, &gone) < 0)
		return gone.kind == ERR_NOT_FOUND ? 0 : err_set(err, gone.kind, "%s", gone.msg);
	vec_push(&lister->listing.objects, object);

	return 0;
}

static int
add_all_below(struct lister *lister, const char *folder, struct err *err)
{
	struct store_listing below = { .objects = { .count = 0 } };

	if (store_list(lister->engine->store, folder, &below, err) < 0)
		return -1;
	for (size_t i = 0; i < below.objects.count; i++)
		vec_push(&lister->listing.objects, below.objects.items[i]);
	vec_done(&below.objects);

	return 0;
}

/* Is it the folder of a continuous stream: it has an index of its own, and a million files. */
static bool
is_stream_folder(const struct engine *engine, const char *name)
{
	for (size_t i = 0; engine->drivers[i] != NULL; i++) {
		const struct stream_kind *stream = engine->drivers[i]->stream;

		if (stream != NULL && systems_is_folder(stream, name))
			return true;
	}

	return false;
}

/* The folder of a source, or ".blackstart": everything in it but its streams. */
static int
list_source(struct lister *lister, const char *folder, struct err *err)
{
	SCOPED(folder_view_done) struct folder_view view = { .base = { .visit = view_entry } };

	if (store_scan(lister->engine->store, folder, &view.base, err) < 0)
		return -1;
	for (size_t i = 0; i < view.files.count; i++) {
		SCOPED(freep) char *name = xasprintf("%s/%s", folder, view.files.items[i]);

		if (add_file(lister, name, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < view.folders.count; i++) {
		SCOPED(freep) char *below = xasprintf("%s/%s", folder, view.folders.items[i]);

		if (!is_stream_folder(lister->engine, view.folders.items[i]) &&
		    add_all_below(lister, below, err) < 0)
			return -1;
	}

	return 0;
}

static int
compare_objects(const void *a, const void *b)
{
	const struct store_object *left = a;
	const struct store_object *right = b;

	return strcmp(left->name, right->name);
}

static int
list_store(struct lister *lister, struct err *err)
{
	SCOPED(folder_view_done) struct folder_view root = { .base = { .visit = view_entry } };

	if (store_scan(lister->engine->store, "", &root.base, err) < 0)
		return -1;
	for (size_t i = 0; i < root.files.count; i++) {
		if (add_file(lister, root.files.items[i], err) < 0)
			return -1;
	}
	for (size_t i = 0; i < root.folders.count; i++) {
		if (list_source(lister, root.folders.items[i], err) < 0)
			return -1;
	}

	return 0;
}

int
sync_list(struct engine *engine, struct store_listing *ret_listing, struct err *err)
{
	struct lister lister = { .engine = engine };

	if (list_store(&lister, err) < 0) {
		store_listing_done(&lister.listing);
		return -1;
	}
	if (lister.listing.objects.count > 0)
		qsort(lister.listing.objects.items, lister.listing.objects.count,
		    sizeof(*lister.listing.objects.items), compare_objects);
	*ret_listing = lister.listing;

	return 0;
}
