#include "stream/expand.h"

#include <inttypes.h>
#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/stop.h"
#include "stream/blob.h"
#include "stream/digest_internal.h"
#include "stream/pool.h"
#include "stream/seek_table.h"
#include "stream/sink.h"

enum {
	CHUNK_BYTES = 1024 * 1024, /* read at once where there are no frames to go by */
	CHUNK_SLOTS = 4,
	SPARE_SLOTS = 2, /* beside one in each worker: one being read, one being written */
	FRAME_MAX_PLAIN_BYTES = 64 * 1024 * 1024,
	SLOTS_AIM_BYTES = 256 * 1024 * 1024, /* fewer slots where frames are huge */
};

/* What a slot holds: stored bytes, and, when we go by frames, what they expand to. */
struct piece {
	uint8_t *stored;
	size_t stored_size;
	uint64_t offset; /* of the stored bytes in the blob */
	uint8_t *plain;
	size_t plain_size;
};

/* The decoder of a file that must be read as one stream. */
struct decoder {
	ZSTD_DCtx *context;
	uint8_t *plain;       /* CHUNK_BYTES */
	uint64_t frame_begin; /* offset of the frame in work */
	bool is_in_frame;
};

enum way {
	WAY_PLAIN,  /* not compressed: pass on */
	WAY_STREAM, /* compressed, without a table */
	WAY_FRAMES, /* compressed, with a table */
};

/*
 * The pool's filler reads and hashes, its workers expand frames, the caller writes into the
 * sink.  Without workers the caller does all three with a single slot.
 */
struct expansion {
	enum way way;
	struct blob *blob;
	struct sink *to;
	unsigned workers;
	struct piece *pieces;
	unsigned pieces_count;
	bool wants_digest;
	struct hasher hasher;
	uint64_t read_bytes; /* read and hashed so far */
	struct seek_table table;
	size_t next_frame;
	struct decoder decoder;
	ZSTD_DCtx **contexts; /* one for each worker */
	unsigned contexts_count;
};

/* ---- reading ---- */

/* Read the next `size` bytes of the blob into a piece, and hash them. */
static int
read_piece(struct expansion *expansion, struct piece *piece, size_t size, struct err *err)
{
	piece->offset = expansion->read_bytes;
	piece->stored_size = size;
	if (stop_check(err) < 0 ||
	    blob_read_at(expansion->blob, piece->offset, piece->stored, size, err) < 0)
		return -1;
	if (expansion->wants_digest)
		hasher_add(&expansion->hasher, piece->stored, size);
	expansion->read_bytes += size;

	return 0;
}

static int
read_chunk(struct expansion *expansion, struct piece *piece, bool *ret_is_end, struct err *err)
{
	uint64_t left = expansion->blob->size_bytes - expansion->read_bytes;

	*ret_is_end = left == 0;

	return read_piece(expansion, piece, left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES, err);
}

static int
fill(void *context, unsigned slot, bool *ret_is_end, struct err *err)
{
	struct expansion *expansion = context;
	struct piece *piece = &expansion->pieces[slot];
	const struct seek_frame *frame;

	if (expansion->way != WAY_FRAMES)
		return read_chunk(expansion, piece, ret_is_end, err);

	*ret_is_end = expansion->next_frame == expansion->table.frames.count;
	if (*ret_is_end)
		return 0;
	frame = &expansion->table.frames.items[expansion->next_frame++];
	piece->plain_size = frame->plain_bytes;

	return read_piece(expansion, piece, frame->stored_bytes, err);
}

/* Hash what was not read yet: the seek table, or all that follows a damaged frame. */
static int
read_rest(struct expansion *expansion, struct err *err)
{
	SCOPED(freep) uint8_t *data = xmalloc(CHUNK_BYTES);
	struct piece piece = { .stored = data };
	bool is_end = false;

	while (!is_end) {
		if (read_chunk(expansion, &piece, &is_end, err) < 0)
			return -1;
	}

	return 0;
}

/* ---- expanding ---- */

static int
fail_frame(const struct expansion *expansion, uint64_t offset, size_t result, struct err *err)
{
	bool is_too_large = ZSTD_getErrorCode(result) == ZSTD_error_frameParameter_windowTooLarge;

	return err_set(err, is_too_large ? ERR_LIMIT : ERR_DATA,
	    "'%s' cannot be expanded: frame at offset %" PRIu64 ": %s", expansion->blob->name,
	    offset, ZSTD_getErrorName(result));
}

static int
work(void *context, unsigned worker, unsigned slot, struct err *err)
{
	struct expansion *expansion = context;
	struct piece *piece = &expansion->pieces[slot];
	size_t size;

	if (expansion->way != WAY_FRAMES)
		return 0;
	size = ZSTD_decompressDCtx(expansion->contexts[worker], piece->plain, piece->plain_size,
	    piece->stored, piece->stored_size);
	if (ZSTD_getErrorCode(size) == ZSTD_error_dstSize_tooSmall)
		return err_set(err, ERR_DATA,
		    "'%s' cannot be expanded: frame at offset %" PRIu64
		    ": it has more than the %zu bytes that the seek table says",
		    expansion->blob->name, piece->offset, piece->plain_size);
	if (ZSTD_isError(size))
		return fail_frame(expansion, piece->offset, size, err);
	if (size != piece->plain_size)
		return err_set(err, ERR_DATA,
		    "'%s' cannot be expanded: frame at offset %" PRIu64
		    ": it has %zu bytes, the seek table says %zu",
		    expansion->blob->name, piece->offset, size, piece->plain_size);

	return 0;
}

/* Expand one chunk of a stream into the sink. */
static int
decode(struct expansion *expansion, const struct piece *piece, struct err *err)
{
	struct decoder *decoder = &expansion->decoder;
	ZSTD_inBuffer in = { .src = piece->stored, .size = piece->stored_size };
	bool has_more = false; /* the decoder holds back what did not fit */

	while (in.pos < in.size || has_more) {
		ZSTD_outBuffer out = { .dst = decoder->plain, .size = CHUNK_BYTES };
		size_t left = ZSTD_decompressStream(decoder->context, &out, &in);

		if (ZSTD_isError(left))
			return fail_frame(expansion, decoder->frame_begin, left, err);
		if (sink_write(expansion->to, out.dst, out.pos, err) < 0)
			return -1;
		decoder->is_in_frame = left != 0;
		if (left == 0)
			decoder->frame_begin = piece->offset + in.pos;
		has_more = left != 0 && out.pos == out.size;
	}

	return 0;
}

static int
drain(struct expansion *expansion, unsigned slot, struct err *err)
{
	const struct piece *piece = &expansion->pieces[slot];

	switch (expansion->way) {
	case WAY_PLAIN:
		return sink_write(expansion->to, piece->stored, piece->stored_size, err);
	case WAY_STREAM:
		return decode(expansion, piece, err);
	case WAY_FRAMES:
	default:
		return sink_write(expansion->to, piece->plain, piece->plain_size, err);
	}
}

/* ---- the whole ---- */

static int
run_alone(struct expansion *expansion, struct err *err)
{
	bool is_end = false;

	for (;;) {
		if (fill(expansion, 0, &is_end, err) < 0)
			return -1;
		if (is_end)
			return 0;
		if (work(expansion, 0, 0, err) < 0 || drain(expansion, 0, err) < 0)
			return -1;
	}
}

static int
run_pool(struct expansion *expansion, struct err *err)
{
	const struct pool_options options = {
		.slots = expansion->pieces_count,
		.workers = expansion->workers,
		.context = expansion,
		.fill = fill,
		.work = expansion->way == WAY_FRAMES ? work : NULL,
	};
	SCOPED(pool_freep) struct pool *pool = pool_start(&options, err);
	bool is_end = false;
	unsigned slot;

	if (pool == NULL)
		return -1;
	for (;;) {
		if (pool_take(pool, &slot, &is_end, err) < 0)
			return -1;
		if (is_end)
			return 0;
		if (drain(expansion, slot, err) < 0)
			return -1;
		pool_release(pool);
	}
}

static int
run(struct expansion *expansion, struct err *err)
{
	int result = expansion->workers > 0 ? run_pool(expansion, err) : run_alone(expansion, err);

	if (result < 0)
		return -1;
	if (expansion->way == WAY_STREAM &&
	    (expansion->decoder.is_in_frame || expansion->blob->size_bytes == 0))
		return err_set(err, ERR_DATA, "'%s' is cut short in the frame at offset %" PRIu64,
		    expansion->blob->name, expansion->decoder.frame_begin);

	return 0;
}

/* A table is input from outside: what it makes us allocate is bounded. */
static int
check_frames(const struct expansion *expansion, size_t *ret_stored_max, size_t *ret_plain_max,
    struct err *err)
{
	size_t stored_limit = ZSTD_compressBound(FRAME_MAX_PLAIN_BYTES);

	for (size_t i = 0; i < expansion->table.frames.count; i++) {
		const struct seek_frame *frame = &expansion->table.frames.items[i];

		if (frame->plain_bytes > FRAME_MAX_PLAIN_BYTES ||
		    frame->stored_bytes > stored_limit)
			return err_set(err, ERR_DATA,
			    "'%s': the seek table claims a frame of %" PRIu32
			    " bytes at offset %" PRIu64 ", more than %u",
			    expansion->blob->name, frame->plain_bytes, frame->stored_offset,
			    (unsigned)FRAME_MAX_PLAIN_BYTES);
		if (frame->stored_bytes > *ret_stored_max)
			*ret_stored_max = frame->stored_bytes;
		if (frame->plain_bytes > *ret_plain_max)
			*ret_plain_max = frame->plain_bytes;
	}

	return 0;
}

static void
make_pieces(struct expansion *expansion, size_t stored_max, size_t plain_max)
{
	size_t fitting = SLOTS_AIM_BYTES / (stored_max + plain_max + 1);
	unsigned count = expansion->way == WAY_FRAMES ? expansion->workers + SPARE_SLOTS
						      : CHUNK_SLOTS;

	if (count > fitting)
		count = fitting > 2 ? (unsigned)fitting : 2;
	expansion->pieces_count = expansion->workers > 0 ? count : 1;
	expansion->pieces = xcalloc(expansion->pieces_count, sizeof(*expansion->pieces));
	for (unsigned i = 0; i < expansion->pieces_count; i++) {
		expansion->pieces[i].stored = xmalloc(stored_max);
		expansion->pieces[i].plain = plain_max > 0 ? xmalloc(plain_max) : NULL;
	}
}

static int
make_contexts(struct expansion *expansion, unsigned count, struct err *err)
{
	expansion->contexts = xcalloc(count, sizeof(ZSTD_DCtx *));
	for (unsigned i = 0; i < count; i++) {
		expansion->contexts[i] = ZSTD_createDCtx();
		if (expansion->contexts[i] == NULL)
			return err_set(err, ERR_BUG, "zstd has no memory");
		expansion->contexts_count++;
	}

	return 0;
}

/* Look how the blob is to be read, and get all memory for it. */
static int
prepare(struct expansion *expansion, struct err *err)
{
	size_t stored_max = CHUNK_BYTES;
	size_t plain_max = 0;

	if (expansion->way != WAY_PLAIN) {
		expansion->way = WAY_FRAMES;
		if (seek_table_read(expansion->blob, &expansion->table, err) < 0) {
			if (err->kind != ERR_NOT_FOUND)
				return -1;
			expansion->way = WAY_STREAM;
		}
	}
	if (expansion->way == WAY_STREAM)
		expansion->decoder.plain = xmalloc(CHUNK_BYTES);
	if (expansion->way == WAY_FRAMES) {
		stored_max = 0;
		if (check_frames(expansion, &stored_max, &plain_max, err) < 0)
			return -1;
	}
	make_pieces(expansion, stored_max, plain_max);
	if (make_contexts(expansion, expansion->workers > 0 ? expansion->workers : 1, err) < 0)
		return -1;
	expansion->decoder.context = expansion->contexts[0];

	return 0;
}

static void
expansion_done(struct expansion *expansion)
{
	for (unsigned i = 0; i < expansion->contexts_count; i++)
		(void)ZSTD_freeDCtx(expansion->contexts[i]);
	for (unsigned i = 0; i < expansion->pieces_count; i++) {
		free(expansion->pieces[i].stored);
		free(expansion->pieces[i].plain);
	}
	free(expansion->contexts);
	free(expansion->pieces);
	free(expansion->decoder.plain);
	seek_table_done(&expansion->table);
	hasher_done(&expansion->hasher);
}

int
expand(struct blob *blob, const struct expand_options *options, struct sink *to, struct err *err)
{
	SCOPED(expansion_done)
	struct expansion expansion = {
		.way = options->is_zstd ? WAY_STREAM : WAY_PLAIN,
		.blob = blob,
		.to = to,
		.workers = options->workers,
		.wants_digest = options->ret_digest != NULL,
	};
	struct err rest = ERR_INIT;
	int result;

	if (expansion.wants_digest && hasher_init(&expansion.hasher, err) < 0)
		return -1;
	result = prepare(&expansion, err) < 0 ? -1 : run(&expansion, err);
	if (options->ret_digest == NULL || (result < 0 && err->kind != ERR_DATA))
		return result;

	if (read_rest(&expansion, result < 0 ? &rest : err) < 0)
		return -1;
	hasher_finish(&expansion.hasher, options->ret_digest);

	return result;
}
