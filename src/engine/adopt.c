#include "engine/adopt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/version.h"
#include "catalog/catalog.h"
#include "engine/engine.h"
#include "repo/manifest.h"
#include "repo/names.h"
#include "source/source.h"
#include "store/store.h"
#include "stream/blob.h"
#include "stream/digest.h"
#include "stream/expand.h"
#include "stream/links.h"
#include "stream/sink.h"

static int
hash_file(struct engine *engine, const char *object_name, struct manifest *draft, struct err *err)
{
	SCOPED(blob_freep) struct blob *blob = store_get(engine->store, object_name, err);
	SCOPED(sink_freep) struct sink *nowhere = null_sink_new();
	SCOPED(digest_done) struct digest digest = DIGEST_INIT;
	const struct expand_options options = { .ret_digest = &digest };
	struct manifest_file *file;

	if (blob == NULL || expand(blob, &options, nowhere, err) < 0)
		return -1;
	file = vec_add(&draft->files);
	file->name = xstrdup(name_base(object_name));
	file->bytes = file->content_bytes = digest.bytes;
	file->compression = xstrdup("none");
	digest_sha256_hex(&digest, file->sha256);
	for (size_t i = 0; i < digest.block_crc32c.count; i++)
		vec_push(&file->block_crc32c, digest.block_crc32c.items[i]);

	return 0;
}

/*
 * "<folder>/backup-2025-11-25.dump" to "<folder>/backup-2025-11-25.manifest.json": named as the
 * file itself, so that the dumps of several databases of one day have one each.
 */
static char *
manifest_name_of(const char *object_name, const struct backup_kind *kind)
{
	size_t size = strlen(object_name);
	size_t extension_size = kind->adopts != NULL ? strlen(kind->adopts) + 1 : 0;

	if (extension_size == 0 || size <= extension_size)
		return NULL;

	return xasprintf("%.*s.manifest.json", (int)(size - extension_size), object_name);
}

int
adopt_file(struct engine *engine, const struct backup_row *row, struct source *source,
    const char *run_id, char **ret_manifest_name, struct err *err)
{
	const struct backup_kind *kind = source_kind(source, row->kind);
	SCOPED(manifest_freep) struct manifest *draft = manifest_new();
	SCOPED(freep) char *path = store_local_path(engine->store, row->id);
	SCOPED(freep) char *name = kind != NULL ? manifest_name_of(row->id, kind) : NULL;
	SCOPED(freep) char *text = NULL;
	char hex[5];

	if (name == NULL || path == NULL || source->ops->adopt == NULL)
		return err_set(err, ERR_UNSUPPORTED, "file '%s' cannot be adopted", row->id);
	if (hash_file(engine, row->id, draft, err) < 0 ||
	    source->ops->adopt(source, row->kind, path, draft, err) < 0)
		return -1;

	(void)snprintf(hex, sizeof(hex), "%.4s", draft->files.items[0].sha256);
	if (draft->consistent_at.us == 0)
		draft->consistent_at = row->consistent_at;
	draft->id = backup_id_make(row->job, draft->consistent_at, hex);
	draft->job = xstrdup(row->job);
	draft->kind = xstrdup(row->kind);
	draft->source_name = xstrdup(row->source);
	draft->source_type = xstrdup(row->source_type);
	draft->tool_name = xstrdup("blackstart");
	draft->tool_version = xstrdup(BLACKSTART_VERSION);
	draft->started = draft->finished = draft->consistent_at;
	draft->is_adopted = true;
	if (draft->source_identity == NULL)
		draft->source_identity = xstrdup("");
	if (draft->source_version == NULL)
		draft->source_version = xstrdup("");

	text = manifest_format(draft);
	if (store_put_text(engine->store, name, run_id, text, err) < 0)
		return -1;
	*ret_manifest_name = TAKE(name);

	return 0;
}
