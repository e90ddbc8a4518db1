#include "engine/systems.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "catalog/catalog_piece.h"
#include "engine/engine.h"
#include "os/file.h"
#include "repo/record.h"
#include "source/source.h"
#include "store/store.h"

void
systems_done(struct systems *systems)
{
	free(systems->current);
	for (size_t i = 0; i < systems->formers.count; i++)
		free(systems->formers.items[i]);
	vec_done(&systems->formers);
}

char *
systems_folder(const struct stream_kind *stream, const char *label, const char *former)
{
	if (former == NULL)
		return xasprintf("%s/%s", label, stream->folder);

	return xasprintf("%s/%s@%s", label, stream->folder, former);
}

bool
systems_is_folder(const struct stream_kind *stream, const char *name)
{
	size_t size = strlen(stream->folder);

	return strncmp(name, stream->folder, size) == 0 &&
	    (name[size] == '\0' || name[size] == '@');
}

/* Its path on this machine, yours; NULL when the store is none, or there is no such folder. */
static char *
former_path(struct engine *engine, const struct source_ops *ops, const char *label,
    const char *identity)
{
	SCOPED(freep) char *folder = NULL;
	SCOPED(freep) char *path = NULL;

	if (ops->stream == NULL)
		return NULL;
	folder = systems_folder(ops->stream, label, identity);
	path = store_local_path(engine->store, folder);

	return path != NULL && dir_exists(path) ? TAKE(path) : NULL;
}

/* Of several that were accepted one after the other, the last one counts that was not set aside. */
int
systems_read(struct engine *engine, const struct source_ops *ops, const char *label,
    struct systems *ret_systems, struct err *err)
{
	SCOPED(freep) char *prefix = xasprintf(RECORD_SOURCE_PREFIX "/%s", label);
	SCOPED(store_listing_done) struct store_listing listing = { .objects = { .count = 0 } };
	struct systems systems = { .current = NULL };
	int64_t newest_us = 0;

	if (store_list(engine->store, prefix, &listing, err) < 0)
		return -1;
	for (size_t i = 0; i < listing.objects.count; i++) {
		const struct store_object *object = &listing.objects.items[i];
		SCOPED(freep) char *identity = source_record_identity(object->name);
		SCOPED(freep)
		char *path = identity != NULL ? former_path(engine, ops, label, identity) : NULL;

		if (path != NULL) {
			vec_push(&systems.formers, TAKE(identity));
		} else if (systems.current == NULL || object->modified.us >= newest_us) {
			free(systems.current);
			systems.current = TAKE(identity);
			newest_us = object->modified.us;
		}
	}
	*ret_systems = systems;

	return 0;
}

bool
systems_was(const struct systems *systems, const char *identity)
{
	for (size_t i = 0; i < systems->formers.count; i++) {
		if (str_equals(systems->formers.items[i], identity))
			return true;
	}

	return false;
}

int
systems_accept(struct engine *engine, const char *label, const char *identity, const char *version,
    struct err *err)
{
	SCOPED(freep) char *name = source_record_name(label, identity);
	SCOPED(freep) char *text = source_record_format(label, identity, version, clock_wall());

	/* Not every system has one that outlives a restart. */
	if (identity[0] == '\0' || store_has(engine->store, name))
		return 0;

	return store_put_text(engine->store, name, "identity", text, err);
}

/* ---- setting aside --------------------------------------------------------------------------- */

static int
rename_folder(struct engine *engine, const char *label, const char *from, const char *to,
    struct err *err)
{
	SCOPED(freep) char *from_path = store_local_path(engine->store, from);
	SCOPED(freep) char *to_path = store_local_path(engine->store, to);
	SCOPED(freep) char *parent = store_local_path(engine->store, label);

	if (from_path == NULL || to_path == NULL || parent == NULL)
		return err_set(err, ERR_UNSUPPORTED, "store '%s' is no folder of this machine",
		    engine->store->location);
	/* An empty one gives way; what is in any other stays. */
	if (rename(from_path, to_path) < 0)
		return err_sys(err, "cannot rename '%s' to '%s'", from_path, to_path);

	return dir_sync(parent, err);
}

/* One that never had a stream gets a folder all the same: it tells that it is a former one. */
static int
set_aside(struct engine *engine, const struct source_ops *ops, const char *label,
    const char *identity, struct err *err)
{
	SCOPED(freep) char *now = systems_folder(ops->stream, label, NULL);
	SCOPED(freep) char *aside = systems_folder(ops->stream, label, identity);
	SCOPED(freep) char *path = store_local_path(engine->store, now);

	if (path == NULL || !dir_exists(path))
		return store_make_folder(engine->store, aside, err);

	return rename_folder(engine, label, now, aside, err);
}

static int
take_back(struct engine *engine, const struct source_ops *ops, const char *label,
    const char *identity, struct err *err)
{
	SCOPED(freep) char *now = systems_folder(ops->stream, label, NULL);
	SCOPED(freep) char *aside = systems_folder(ops->stream, label, identity);

	return rename_folder(engine, label, aside, now, err);
}

/*
 * Killed between the steps, the source is of no system that is known, and the same command goes
 * on: what was set aside says by its name whose it is.
 */
int
systems_change(struct engine *engine, const struct source_ops *ops, const char *label,
    const char *identity, const char *version, char **ret_aside, struct err *err)
{
	SCOPED(systems_done) struct systems systems = { .current = NULL };
	bool is_other;

	if (systems_read(engine, ops, label, &systems, err) < 0)
		return -1;
	is_other = ops->stream != NULL && systems.current != NULL &&
	    !str_equals(systems.current, identity);
	if (is_other && set_aside(engine, ops, label, systems.current, err) < 0)
		return -1;
	if (systems_was(&systems, identity) && take_back(engine, ops, label, identity, err) < 0)
		return -1;
	/* The index knows the pieces by their source: it is made again when it is asked for. */
	if (is_other && engine->catalog != NULL &&
	    catalog_piece_clear(engine->catalog, label, err) < 0)
		return -1;
	if (systems_accept(engine, label, identity, version, err) < 0)
		return -1;
	*ret_aside = is_other ? TAKE(systems.current) : NULL;

	return 0;
}
