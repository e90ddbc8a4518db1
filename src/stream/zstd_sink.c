#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "stream/blob_note.h"
#include "stream/links.h"
#include "stream/pool.h"
#include "stream/seek_table.h"
#include "stream/sink.h"

/* Beside one frame in each worker: one that is being filled, one that is being written out. */
enum { SPARE_SLOTS = 2 };

/* One frame on its way: plain in, compressed out. */
struct zstd_slot {
	uint8_t *in;
	size_t in_size;
	uint8_t *out;
	size_t out_size;
};

/*
 * The caller fills a slot, a worker compresses it, the pool's drainer writes the frames in order
 * into the next link.  Without workers the caller does all three with a single slot.
 */
struct zstd_sink {
	struct sink base;
	struct pool *pool; /* NULL: without workers */
	struct zstd_slot *slots;
	unsigned slots_count;
	struct zstd_slot *filling; /* NULL: none is claimed */
	bool has_input;
	ZSTD_CCtx **contexts; /* one for each worker */
	unsigned contexts_count;
	size_t frame_bytes; /* of input */
	size_t out_max;
	const struct str *note;  /* NULL: none */
	struct seek_table table; /* written by the drainer until the pool has settled */
};

static int
compress(void *context, unsigned worker, unsigned number, struct err *err)
{
	struct zstd_sink *zstd = context;
	struct zstd_slot *slot = &zstd->slots[number];
	size_t size = ZSTD_compress2(zstd->contexts[worker], slot->out, zstd->out_max, slot->in,
	    slot->in_size);

	if (ZSTD_isError(size))
		return err_set(err, ERR_BUG, "zstd cannot compress: %s", ZSTD_getErrorName(size));
	slot->out_size = size;

	return 0;
}

static int
emit(void *context, unsigned number, struct err *err)
{
	struct zstd_sink *zstd = context;
	const struct zstd_slot *slot = &zstd->slots[number];

	if (zstd->table.frames.count == SEEK_TABLE_MAX_FRAMES)
		return err_set(err, ERR_LIMIT, "more data than one compressed file can hold");
	seek_table_add(&zstd->table, (uint32_t)slot->out_size, (uint32_t)slot->in_size);

	return sink_write(zstd->base.next, slot->out, slot->out_size, err);
}

static int
claim(struct zstd_sink *zstd, struct err *err)
{
	unsigned number = 0;

	if (zstd->pool != NULL && pool_claim(zstd->pool, &number, err) < 0)
		return -1;
	zstd->filling = &zstd->slots[number];
	zstd->filling->in_size = 0;

	return 0;
}

static int
submit(struct zstd_sink *zstd, struct err *err)
{
	zstd->filling = NULL;
	if (zstd->pool == NULL)
		return compress(zstd, 0, 0, err) < 0 ? -1 : emit(zstd, 0, err);
	pool_submit(zstd->pool);

	return 0;
}

static int
zstd_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	struct zstd_sink *zstd = (struct zstd_sink *)sink;
	const uint8_t *at = data;

	zstd->has_input = true;
	while (size > 0) {
		struct zstd_slot *slot;
		size_t piece;

		if (zstd->filling == NULL && claim(zstd, err) < 0)
			return -1;
		slot = zstd->filling;
		piece = zstd->frame_bytes - slot->in_size;
		if (piece > size)
			piece = size;
		/* It may have been put there, see zstd_room(). */
		if (at != slot->in + slot->in_size)
			memcpy(slot->in + slot->in_size, at, piece);
		slot->in_size += piece;
		if (slot->in_size == zstd->frame_bytes && submit(zstd, err) < 0)
			return -1;
		at += piece;
		size -= piece;
	}

	return 0;
}

static int
zstd_room(struct sink *sink, void **ret_room, size_t *ret_size, struct err *err)
{
	struct zstd_sink *zstd = (struct zstd_sink *)sink;

	if (zstd->filling == NULL && claim(zstd, err) < 0)
		return -1;
	*ret_room = zstd->filling->in + zstd->filling->in_size;
	*ret_size = zstd->frame_bytes - zstd->filling->in_size;

	return 0;
}

/* The last frame: short, or, when nothing came at all, empty, so that it is a zstd file. */
static int
submit_last(struct zstd_sink *zstd, struct err *err)
{
	bool is_filled = zstd->filling != NULL && zstd->filling->in_size > 0;

	if (!is_filled && zstd->has_input)
		return 0;
	if (zstd->filling == NULL && claim(zstd, err) < 0)
		return -1;

	return submit(zstd, err);
}

static int
write_note(struct zstd_sink *zstd, struct err *err)
{
	SCOPED(str_done) struct str frame = STR_INIT_MAX(BLOB_NOTE_MAX_BYTES + 64);

	if (zstd->note == NULL || zstd->note->size == 0)
		return 0;
	if (zstd->note->size > BLOB_NOTE_MAX_BYTES ||
	    zstd->table.frames.count == SEEK_TABLE_MAX_FRAMES)
		return err_set(err, ERR_LIMIT, "the note does not fit into a compressed file");
	blob_note_format(str_text(zstd->note), zstd->note->size, &frame);
	seek_table_add(&zstd->table, (uint32_t)frame.size, 0);

	return sink_write(zstd->base.next, str_text(&frame), frame.size, err);
}

static int
write_table(struct zstd_sink *zstd, struct err *err)
{
	SCOPED(str_done) struct str text = STR_INIT_MAX((size_t)SEEK_TABLE_MAX_FRAMES * 8 + 64);

	seek_table_format(&zstd->table, &text);

	return sink_write(zstd->base.next, str_text(&text), text.size, err);
}

static int
zstd_finish(struct sink *sink, struct err *err)
{
	struct zstd_sink *zstd = (struct zstd_sink *)sink;

	if (submit_last(zstd, err) < 0)
		return -1;
	if (zstd->pool != NULL && pool_settle(zstd->pool, err) < 0)
		return -1;
	if (write_note(zstd, err) < 0 || write_table(zstd, err) < 0)
		return -1;

	return sink_finish(sink->next, err);
}

static void
zstd_free(struct sink *sink)
{
	struct zstd_sink *zstd = (struct zstd_sink *)sink;

	pool_free(zstd->pool);
	for (unsigned i = 0; i < zstd->contexts_count; i++)
		(void)ZSTD_freeCCtx(zstd->contexts[i]);
	for (unsigned i = 0; i < zstd->slots_count; i++) {
		free(zstd->slots[i].in);
		free(zstd->slots[i].out);
	}
	free(zstd->contexts);
	free(zstd->slots);
	seek_table_done(&zstd->table);
	free(zstd);
}

static const struct sink_ops zstd_ops = {
	.name = "zstd",
	.write = zstd_write,
	.room = zstd_room,
	.finish = zstd_finish,
	.free = zstd_free,
};

static int
make_context(struct zstd_sink *zstd, const struct zstd_options *options, struct err *err)
{
	ZSTD_CCtx *context = ZSTD_createCCtx();
	size_t result;

	if (context == NULL)
		return err_set(err, ERR_BUG, "zstd has no memory");
	zstd->contexts[zstd->contexts_count++] = context;
	result = ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, options->level);
	if (!ZSTD_isError(result))
		result = ZSTD_CCtx_setParameter(context, ZSTD_c_hashLog, (int)options->hash_log);
	if (!ZSTD_isError(result))
		result = ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
	if (ZSTD_isError(result))
		return err_set(err, ERR_BUG, "zstd: %s", ZSTD_getErrorName(result));

	return 0;
}

/* All memory is got here, once. */
static int
zstd_prepare(struct zstd_sink *zstd, const struct zstd_options *options, struct err *err)
{
	unsigned contexts = options->workers > 0 ? options->workers : 1;

	zstd->frame_bytes = options->frame_bytes > 0 ? options->frame_bytes : ZSTD_FRAME_BYTES;
	zstd->out_max = ZSTD_compressBound(zstd->frame_bytes);
	zstd->slots_count = options->workers > 0 ? options->workers + SPARE_SLOTS : 1;
	zstd->slots = xcalloc(zstd->slots_count, sizeof(*zstd->slots));
	for (unsigned i = 0; i < zstd->slots_count; i++) {
		zstd->slots[i].in = xmalloc(zstd->frame_bytes);
		zstd->slots[i].out = xmalloc(zstd->out_max);
	}
	zstd->contexts = xcalloc(contexts, sizeof(*zstd->contexts));
	for (unsigned i = 0; i < contexts; i++) {
		if (make_context(zstd, options, err) < 0)
			return -1;
	}

	return 0;
}

static int
start_pool(struct zstd_sink *zstd, unsigned workers, struct err *err)
{
	const struct pool_options options = {
		.slots = zstd->slots_count,
		.workers = workers,
		.context = zstd,
		.work = compress,
		.drain = emit,
	};

	if (workers > 0)
		zstd->pool = pool_start(&options, err);

	return workers == 0 || zstd->pool != NULL ? 0 : -1;
}

struct sink *
zstd_sink_new(struct sink *next, const struct zstd_options *options, struct err *err)
{
	struct zstd_sink *zstd = xcalloc(1, sizeof(*zstd));

	zstd->base.ops = &zstd_ops;
	zstd->base.next = next;
	zstd->note = options->note;
	if (zstd_prepare(zstd, options, err) < 0 || start_pool(zstd, options->workers, err) < 0) {
		sink_free(&zstd->base);
		return NULL;
	}

	return &zstd->base;
}
