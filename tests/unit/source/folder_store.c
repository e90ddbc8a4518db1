#include "folder_store.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"
#include "repo/manifest.h"
#include "stream/blob.h"
#include "stream/digest.h"
#include "stream/expand.h"
#include "stream/links.h"
#include "stream/sink.h"

struct part_sink {
	struct sink base;
	struct folder_store *store;
	char *name;
	bool is_compressed;
	uint64_t content_bytes;
	struct digest *digest; /* the store's: the chain behind this link uses it to its end */
};

static int
part_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	((struct part_sink *)sink)->content_bytes += size;
	return sink_write(sink->next, data, size, err);
}

static int
part_finish(struct sink *sink, struct err *err)
{
	struct part_sink *part = (struct part_sink *)sink;
	struct manifest_file *file;

	if (sink_finish(sink->next, err) < 0)
		return -1;
	file = vec_add(&part->store->draft->files);
	file->name = xstrdup(part->name);
	file->bytes = part->digest->bytes;
	digest_sha256_hex(part->digest, file->sha256);
	file->content_bytes = part->content_bytes;
	file->compression = xstrdup(part->is_compressed ? "zstd" : "none");

	return 0;
}

static void
part_free(struct sink *sink)
{
	struct part_sink *part = (struct part_sink *)sink;

	free(part->name);
	free(part);
}

static const struct sink_ops part_ops = {
	.name = "part",
	.write = part_write,
	.finish = part_finish,
	.free = part_free,
};

static struct sink *
open_part(struct intake *intake, const struct part *request, struct err *err)
{
	struct folder_store *store = (struct folder_store *)intake;
	bool is_compressed = request->compression == PART_COMPRESSED && store->level > 0;
	SCOPED(freep) char *name = xasprintf("%s%s", request->name, is_compressed ? ".zst" : "");
	const struct file_sink_options file_options = {
		.folder = store->folder,
		.name = name,
		.run_id = "test",
		.mode = 0600,
		.gid = -1,
	};
	struct part_sink *part;

	if (++store->opened == store->open_fails_at) {
		(void)err_set(err, ERR_SPACE, "the test's store is full");
		return NULL;
	}
	part = xcalloc(1, sizeof(*part));
	part->base.ops = &part_ops;
	part->store = store;
	part->is_compressed = is_compressed;
	part->name = xstrdup(name);
	part->digest = xcalloc(1, sizeof(*part->digest));
	vec_push(&store->digests, part->digest);
	SCOPED(sink_freep) struct sink *sink = &part->base;

	part->base.next = file_sink_new(&file_options, err);
	if (part->base.next == NULL)
		return NULL;
	part->base.next = digest_sink_new(part->base.next, part->digest, err);
	if (part->base.next == NULL)
		return NULL;
	if (is_compressed) {
		const struct zstd_options options = { .level = store->level,
			.workers = store->workers };

		part->base.next = zstd_sink_new(part->base.next, &options, err);
		if (part->base.next == NULL)
			return NULL;
	}

	return TAKE(sink);
}

static int
read_part(const struct backup_view *view, const struct manifest_file *file, struct sink *to,
    struct err *err)
{
	const struct folder_store *store = (const struct folder_store *)((const char *)view -
	    offsetof(struct folder_store, view));
	SCOPED(freep) char *path = path_join(store->folder, file->name);
	SCOPED(digest_done) struct digest digest = { .bytes = 0 };
	const struct expand_options options = {
		.is_zstd = strcmp(file->compression, "zstd") == 0,
		.workers = store->workers,
		.ret_digest = &digest,
	};
	char hex[DIGEST_SHA256_HEX_SIZE];

	SCOPED(blob_freep) struct blob *blob = blob_open_file(path, file->name, err);
	if (blob == NULL || expand(blob, &options, to, err) < 0)
		return -1;
	digest_sha256_hex(&digest, hex);

	return strcmp(hex, file->sha256) == 0
	    ? 0
	    : err_set(err, ERR_MISMATCH, "file '%s' is damaged", file->name);
}

static char *
local_path(const struct backup_view *view, const struct manifest_file *file)
{
	const struct folder_store *store = (const struct folder_store *)((const char *)view -
	    offsetof(struct folder_store, view));

	return path_join(store->folder, file->name);
}

void
folder_store_init(struct folder_store *store, const char *folder)
{
	memset(store, 0, sizeof(*store));
	store->intake.open = open_part;
	store->folder = folder;
	store->draft = manifest_new();
	store->draft->kind = xstrdup("base");
	store->draft->id = xstrdup("pg-base-test");
	store->draft->job = xstrdup("pg-base");
	store->draft->source_name = xstrdup("postgresql");
	store->draft->source_type = xstrdup("postgres");
	store->draft->tool_name = xstrdup("blackstart");
	store->draft->tool_version = xstrdup("test");
	store->draft->started = clock_wall();
	store->draft->finished = store->draft->started;
	store->level = 1;
	store->workers = 2;
	store->view.read = read_part;
	store->view.local_path = local_path;
	store->view.manifest = store->draft;
}

void
folder_store_done(struct folder_store *store)
{
	for (size_t i = 0; i < store->digests.count; i++) {
		digest_done(store->digests.items[i]);
		free(store->digests.items[i]);
	}
	vec_done(&store->digests);
	manifest_free(store->draft);
	store->draft = NULL;
}
