#include "engine/intake.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "engine/engine.h"
#include "repo/manifest.h"
#include "repo/names.h"
#include "store/store.h"
#include "stream/digest.h"
#include "stream/links.h"
#include "stream/sink.h"

/* The front link of a part's chain: when it is finished, the part is written down. */
struct part_sink {
	struct sink base;
	struct engine_intake *intake;
	char *object_name;
	bool is_compressed;
	uint64_t content_bytes;
	/* Of what is stored; the intake's, so that it outlives the chain's threads. */
	struct digest *digest;
};

static int
part_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	return sink_write(sink->next, data, size, err);
}

static void
write_down(struct part_sink *part)
{
	struct engine_intake *intake = part->intake;
	struct manifest_file *file = vec_add(&intake->draft->files);
	size_t folder_size = strlen(intake->place->folder);

	file->name = xstrdup(part->object_name + (folder_size > 0 ? folder_size + 1 : 0));
	file->bytes = part->digest->bytes;
	digest_sha256_hex(part->digest, file->sha256);
	file->content_bytes = part->content_bytes;
	file->compression = xstrdup(part->is_compressed ? "zstd" : "none");
	for (size_t i = 0; i < part->digest->block_crc32c.count; i++)
		vec_push(&file->block_crc32c, part->digest->block_crc32c.items[i]);
}

static int
part_finish(struct sink *sink, struct err *err)
{
	struct part_sink *part = (struct part_sink *)sink;

	if (sink_finish(sink->next, err) < 0)
		return -1;
	write_down(part);

	return 0;
}

static void
part_free(struct sink *sink)
{
	struct part_sink *part = (struct part_sink *)sink;

	free(part->object_name);
	free(part);
}

/* The link before the store: at its finish the store's sink is set aside, or finished at once. */
struct hold_sink {
	struct sink base;
	struct engine_intake *intake;
	char *object_name;
};

static int
hold_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	return sink_write(sink->next, data, size, err);
}

static int
hold_finish(struct sink *sink, struct err *err)
{
	struct hold_sink *hold = (struct hold_sink *)sink;
	struct engine_intake *intake = hold->intake;

	if (intake->held.count < INTAKE_HELD_MAX) {
		vec_push(&intake->held,
		    ((struct held_part){ .sink = TAKE(sink->next),
			.object_name = TAKE(hold->object_name) }));
		return 0;
	}
	if (sink_finish(sink->next, err) < 0)
		return -1;
	vec_push(&intake->finished, TAKE(hold->object_name));

	return 0;
}

static void
hold_free(struct sink *sink)
{
	struct hold_sink *hold = (struct hold_sink *)sink;

	free(hold->object_name);
	free(hold);
}

static const struct sink_ops hold_ops = {
	.name = "hold",
	.write = hold_write,
	.finish = hold_finish,
	.free = hold_free,
};

static struct sink *
hold_sink_new(struct engine_intake *intake, struct sink *next, const char *object_name)
{
	struct hold_sink *hold = xcalloc(1, sizeof(*hold));

	hold->base.ops = &hold_ops;
	hold->base.next = next;
	hold->intake = intake;
	hold->object_name = xstrdup(object_name);

	return &hold->base;
}

static const struct sink_ops part_ops = {
	.name = "part",
	.write = part_write,
	.finish = part_finish,
	.free = part_free,
};

/* The part's chain from the store upwards; takes over `store_sink`. */
static struct sink *
build_chain(struct part_sink *part, struct sink *store_sink, const struct part *request,
    struct err *err)
{
	struct engine_intake *intake = part->intake;
	const struct zstd_options zstd = {
		.level = intake->compression_level,
		.workers = intake->engine->cores,
	};
	const struct meter_options meter = {
		.progress = intake->progress,
		.rate_limit_bytes_per_s = intake->rate_limit_bytes_per_s,
		.ret_bytes = &part->content_bytes,
	};
	struct sink *chain = hold_sink_new(intake, store_sink, part->object_name);

	chain = digest_sink_new(chain, part->digest, err);
	if (chain == NULL)
		return NULL;
	/* Hashing and writing leave the source's thread: by the compressors, or by a handoff. */
	if (part->is_compressed)
		chain = zstd_sink_new(chain, &zstd, err);
	else if (request->compression == PART_COMPRESSED)
		chain = handoff_sink_new(chain, err);

	return chain != NULL ? meter_sink_new(chain, &meter) : NULL;
}

static struct sink *
open_part(struct intake *base, const struct part *request, struct err *err)
{
	struct engine_intake *intake = (struct engine_intake *)base;
	bool is_compressed = request->compression == PART_COMPRESSED &&
	    intake->compression_level > 0;
	SCOPED(freep) char *name = xasprintf("%s%s", request->name, is_compressed ? ".zst" : "");
	SCOPED(sink_freep) struct sink *sink = NULL;
	struct part_sink *part = xcalloc(1, sizeof(*part));
	struct sink *store_sink;

	part->base.ops = &part_ops;
	part->intake = intake;
	part->object_name = place_part_name(intake->place, name);
	part->is_compressed = is_compressed;
	part->digest = xcalloc(1, sizeof(*part->digest));
	vec_push(&intake->digests, part->digest);
	sink = &part->base;

	store_sink = store_put(intake->engine->store, part->object_name, intake->run_id, err);
	if (store_sink == NULL)
		return NULL;
	part->base.next = build_chain(part, store_sink, request, err);

	return part->base.next != NULL ? TAKE(sink) : NULL;
}

void
intake_init(struct engine_intake *intake)
{
	intake->base.open = open_part;
}

int
intake_commit(struct engine_intake *intake, struct err *err)
{
	for (size_t i = 0; i < intake->held.count; i++) {
		struct held_part *held = &intake->held.items[i];

		if (sink_finish(held->sink, err) < 0)
			return err_wrap(err, "cannot store '%s'", held->object_name);
		vec_push(&intake->finished, TAKE(held->object_name));
		sink_free(TAKE(held->sink));
	}

	return 0;
}

void
intake_abandon(struct engine_intake *intake)
{
	for (size_t i = intake->finished.count; i > 0; i--) {
		struct err err = ERR_INIT;

		if (store_remove(intake->engine->store, intake->finished.items[i - 1], &err) < 0)
			log_warning("cannot remove what a failed run left: %s, continuing",
			    err.msg);
	}
}

void
intake_done(struct engine_intake *intake)
{
	for (size_t i = 0; i < intake->finished.count; i++)
		free(intake->finished.items[i]);
	vec_done(&intake->finished);
	for (size_t i = 0; i < intake->held.count; i++) {
		sink_free(intake->held.items[i].sink);
		free(intake->held.items[i].object_name);
	}
	vec_done(&intake->held);
	for (size_t i = 0; i < intake->digests.count; i++) {
		digest_done(intake->digests.items[i]);
		free(intake->digests.items[i]);
	}
	vec_done(&intake->digests);
}
