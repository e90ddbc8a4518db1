#include "store/store.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "repo/names.h"
#include "stream/blob.h"
#include "stream/sink.h"

enum {
	NAME_MAX_BYTES = 1024,
	COMPONENT_MAX_BYTES = 255,
};

/* ---- names ---- */

/* One part of a name, between two '/'. */
static const char *
component_fault(const char *at, size_t size)
{
	if (size == 0)
		return "it has an empty part";
	if ((size == 1 && at[0] == '.') || (size == 2 && memcmp(at, "..", 2) == 0))
		return "it has a part '.' or '..'";
	if (size > COMPONENT_MAX_BYTES)
		return "it has a part of more than 255 bytes";
	/* Such a name would be taken for a temporary file, and swept. */
	if (size >= 5 && memcmp(at, ".tmp-", 5) == 0)
		return "it has a part '.tmp-'";
	for (size_t i = 0; i < size; i++) {
		if ((unsigned char)at[i] < ' ' || at[i] == 0x7f || at[i] == '\\')
			return "it has a control character or a backslash";
	}

	return NULL;
}

static const char *
name_fault(const char *name)
{
	const char *at = name;

	if (strnlen(name, NAME_MAX_BYTES + 1) > NAME_MAX_BYTES)
		return "it is too long";
	for (;;) {
		size_t size = strcspn(at, "/");
		const char *fault = component_fault(at, size);

		if (fault != NULL || at[size] == '\0')
			return fault;
		at += size + 1;
	}
}

static int
check_name(const char *name, struct err *err)
{
	const char *fault = name_fault(name);

	if (fault != NULL)
		return err_set(err, ERR_REFUSED, "'%.200s' cannot be a name in the store: %s", name,
		    fault);

	return 0;
}

/* ---- objects ---- */

struct sink *
store_put(struct store *store, const char *name, const char *run_id, struct err *err)
{
	if (check_name(name, err) < 0)
		return NULL;
	if (component_fault(run_id, strlen(run_id)) != NULL || strchr(run_id, '/') != NULL) {
		(void)err_set(err, ERR_BUG, "'%.200s' cannot be the id of a run", run_id);
		return NULL;
	}

	return store->ops->put(store, name, run_id, err);
}

int
store_put_text(struct store *store, const char *name, const char *run_id, const char *text,
    struct err *err)
{
	SCOPED(sink_freep) struct sink *sink = store_put(store, name, run_id, err);

	if (sink == NULL || sink_write(sink, text, strlen(text), err) < 0)
		return -1;

	return sink_finish(sink, err);
}

struct blob *
store_get(struct store *store, const char *name, struct err *err)
{
	return check_name(name, err) == 0 ? store->ops->get(store, name, err) : NULL;
}

int
store_get_text(struct store *store, const char *name, size_t max_bytes, struct str *to,
    struct err *err)
{
	SCOPED(blob_freep) struct blob *blob = store_get(store, name, err);
	SCOPED(freep) char *text = NULL;

	if (blob == NULL)
		return -1;
	if (blob->size_bytes > max_bytes)
		return err_set(err, ERR_LIMIT, "'%s' is larger than the %zu bytes expected of it",
		    name, max_bytes);
	text = xmalloc((size_t)blob->size_bytes);
	if (blob_read_at(blob, 0, text, (size_t)blob->size_bytes, err) < 0)
		return -1;
	str_add_bytes(to, text, (size_t)blob->size_bytes);
	if (str_is_full(to))
		return err_set(err, ERR_LIMIT, "'%s' does not fit into %zu bytes", name, to->max);

	return 0;
}

bool
store_has(struct store *store, const char *name)
{
	struct err ignored = ERR_INIT;
	struct store_object object;

	if (store_stat(store, name, &object, &ignored) < 0)
		return false;
	free(object.name);

	return true;
}

int
store_stat(struct store *store, const char *name, struct store_object *ret_object, struct err *err)
{
	return check_name(name, err) == 0 ? store->ops->stat(store, name, ret_object, err) : -1;
}

int
store_remove(struct store *store, const char *name, struct err *err)
{
	return check_name(name, err) == 0 ? store->ops->remove(store, name, err) : -1;
}

/* ---- all objects ---- */

int
store_list(struct store *store, const char *prefix, struct store_listing *ret_listing,
    struct err *err)
{
	if (prefix[0] != '\0' && check_name(prefix, err) < 0)
		return -1;

	return store->ops->list(store, prefix, ret_listing, err);
}

int
store_scan(struct store *store, const char *folder, struct store_visitor *visitor, struct err *err)
{
	if (folder[0] != '\0' && check_name(folder, err) < 0)
		return -1;

	return store->ops->scan(store, folder, visitor, err);
}

int
store_make_folder(struct store *store, const char *folder, struct err *err)
{
	return check_name(folder, err) == 0 ? store->ops->make_folder(store, folder, err) : -1;
}

void
store_listing_done(struct store_listing *listing)
{
	for (size_t i = 0; i < listing->objects.count; i++)
		free(listing->objects.items[i].name);
	vec_done(&listing->objects);
}

int
store_sweep(struct store *store, unsigned *ret_removed, struct err *err)
{
	return store->ops->sweep(store, ret_removed, err);
}

int
store_unfinished(struct store *store, const char *folder, struct store_names *ret_names,
    struct err *err)
{
	if (folder[0] != '\0' && check_name(folder, err) < 0)
		return -1;

	return store->ops->unfinished(store, folder, ret_names, err);
}

void
store_names_done(struct store_names *names)
{
	for (size_t i = 0; i < names->items.count; i++)
		free(names->items.items[i]);
	vec_done(&names->items);
}

/* ---- the store ---- */

int
store_space(struct store *store, struct store_space *ret_space, struct err *err)
{
	return store->ops->space(store, ret_space, err);
}

char *
store_local_path(struct store *store, const char *name)
{
	return name_fault(name) == NULL ? store->ops->local_path(store, name) : NULL;
}

void
store_close(struct store *store)
{
	if (store == NULL)
		return;
	free(store->location);
	free(store->id);
	free(store->site);
	store->ops->free(store);
}
