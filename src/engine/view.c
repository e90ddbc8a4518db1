#include "engine/view.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/str.h"
#include "engine/engine.h"
#include "repo/manifest.h"
#include "repo/names.h"
#include "store/store.h"
#include "stream/blob.h"
#include "stream/digest.h"
#include "stream/expand.h"
#include "stream/links.h"
#include "stream/sink.h"

char *
view_object_name(const struct view *view, const struct manifest_file *file)
{
	return xasprintf("%s%s", view->folder, file->name);
}

/* Where the stored bytes first differ from what was written, as far as block checksums tell. */
static int
explain_damage(const struct manifest_file *file, const struct digest *digest, struct err *err)
{
	size_t known = file->block_crc32c.count;
	size_t i = 0;

	while (i < known && i < digest->block_crc32c.count &&
	    file->block_crc32c.items[i] == digest->block_crc32c.items[i])
		i++;
	if (known == 0 || i >= digest->block_crc32c.count)
		return err_set(err, ERR_MISMATCH,
		    "file '%s' is damaged: its SHA-256 is not the one in the manifest", file->name);

	(void)err_set(err, ERR_MISMATCH,
	    "file '%s' is damaged: the first difference lies between byte %llu and byte %llu",
	    file->name, (unsigned long long)i * MANIFEST_BLOCK_BYTES,
	    (unsigned long long)((uint64_t)(i + 1) * MANIFEST_BLOCK_BYTES < digest->bytes
		    ? (uint64_t)(i + 1) * MANIFEST_BLOCK_BYTES
		    : digest->bytes) -
		1);

	return err_hint(err, "Use another backup: 'blackstart list' shows them, newest first.");
}

static int
check_digest(const struct manifest_file *file, const struct digest *digest, struct err *err)
{
	char hex[DIGEST_SHA256_HEX_SIZE];

	digest_sha256_hex(digest, hex);
	if (strcmp(hex, file->sha256) == 0)
		return 0;

	return explain_damage(file, digest, err);
}

static struct blob *
open_file(const struct view *view, const struct manifest_file *file, struct err *err)
{
	SCOPED(freep) char *name = view_object_name(view, file);
	SCOPED(blob_freep) struct blob *blob = store_get(view->engine->store, name, err);

	if (blob == NULL) {
		if (err->kind != ERR_NOT_FOUND)
			return NULL;
		(void)err_set(err, ERR_MISMATCH, "file '%s' is missing from the store", file->name);
		(void)err_hint(err,
		    "Use another backup: 'blackstart list' shows them, newest first.");
		return NULL;
	}
	if (blob->size_bytes != file->bytes) {
		(void)err_set(err, ERR_MISMATCH,
		    "file '%s' is damaged: it has %llu bytes, the manifest says %llu", file->name,
		    (unsigned long long)blob->size_bytes, (unsigned long long)file->bytes);
		(void)err_hint(err,
		    "Use another backup: 'blackstart list' shows them, newest first.");
		return NULL;
	}

	return TAKE(blob);
}

static int
read_file(const struct view *view, const struct manifest_file *file, bool is_expanded,
    struct sink *to, struct err *err)
{
	SCOPED(blob_freep) struct blob *blob = open_file(view, file, err);
	SCOPED(digest_done) struct digest digest = DIGEST_INIT;
	struct err expand_err = ERR_INIT;
	struct expand_options options = {
		.is_zstd = is_expanded && str_equals(file->compression, "zstd"),
		.workers = view->engine->cores,
		.ret_digest = &digest,
	};
	int result;

	if (blob == NULL)
		return -1;
	result = expand(blob, &options, to, &expand_err);
	/* Damage of the stored bytes explains any failure to expand them, and comes first. */
	if (digest.bytes == file->bytes && check_digest(file, &digest, err) < 0)
		return -1;
	if (result < 0) {
		*err = expand_err;
		return -1;
	}
	view->whole.items[file - view->manifest->files.items] = true;

	return 0;
}

static int
read_for_driver(const struct backup_view *base, const struct manifest_file *file, struct sink *to,
    struct err *err)
{
	return read_file((const struct view *)base, file, true, to, err);
}

static char *
local_path(const struct backup_view *base, const struct manifest_file *file)
{
	const struct view *view = (const struct view *)base;
	SCOPED(freep) char *name = view_object_name(view, file);

	return store_local_path(view->engine->store, name);
}

int
view_open(struct engine *engine, const char *manifest_name, struct view *ret_view, struct err *err)
{
	SCOPED(str_done) struct str text = STR_INIT_MAX(MANIFEST_MAX_BYTES);
	SCOPED(freep) char *folder = name_folder(manifest_name);
	struct view view = { .engine = engine };

	if (store_get_text(engine->store, manifest_name, MANIFEST_MAX_BYTES, &text, err) < 0)
		return -1;
	view.manifest = manifest_parse(str_text(&text), text.size, err);
	if (view.manifest == NULL) {
		(void)err_wrap(err, "manifest '%s'", manifest_name);
		if (err->kind == ERR_DATA)
			err->kind = ERR_MISMATCH;
		return -1;
	}
	view.base.manifest = view.manifest;
	view.base.read = read_for_driver;
	view.base.local_path = local_path;
	view.folder = folder[0] != '\0' ? xasprintf("%s/", folder) : xstrdup("");
	for (size_t i = 0; i < view.manifest->files.count; i++)
		vec_push(&view.whole, false);
	*ret_view = view;

	return 0;
}

void
view_done(struct view *view)
{
	manifest_free(view->manifest);
	free(view->folder);
	vec_done(&view->whole);
	*view = (struct view){ .engine = NULL };
}

int
view_check_rest(struct view *view, struct err *err)
{
	for (size_t i = 0; i < view->manifest->files.count; i++) {
		SCOPED(sink_freep) struct sink *to = NULL;

		if (view->whole.items[i])
			continue;
		to = meter_sink_new(null_sink_new(),
		    &(struct meter_options){ .progress = view->progress });
		if (read_file(view, &view->manifest->files.items[i], false, to, err) < 0)
			return -1;
	}

	return 0;
}
