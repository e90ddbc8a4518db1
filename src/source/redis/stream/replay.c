#include "source/redis/stream/replay.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "os/stop.h"
#include "repo/manifest.h"
#include "source/archive.h"
#include "source/source.h"
#include "stream/blob.h"
#include "stream/expand.h"
#include "stream/sink.h"

void
replay_done(struct replay *replay)
{
	vec_done(&replay->stretches);
}

/* ---- a piece, read up to a point ------------------------------------------------------------------ */

/* What is looked for while a piece is read, and what is found. */
struct reading {
	struct sink base;
	struct piece_reader reader;
	const struct stretch *stretch;
	struct replay_taker *taker; /* NULL: only to find the point */
	struct wall_time until;     /* 0: not by time */
	uint64_t until_offset;
	uint64_t found; /* behind the last command before the point, outside of a transaction */
	struct wall_time found_time;
	uint64_t given; /* up to this offset it was handed on */
	bool is_over;
};

/* The bytes of commands, without our own lines: what the reader's offset advances by. */
static int
hand_on(struct reading *reading, const uint8_t *data, size_t size, uint64_t before, struct err *err)
{
	const struct stretch *stretch = reading->stretch;
	uint64_t after = before + size;
	uint64_t from = before > stretch->from ? before : stretch->from;
	uint64_t to = after < stretch->to ? after : stretch->to;

	if (reading->taker == NULL || from >= to)
		return 0;

	return reading->taker->bytes(reading->taker, data + (from - before), (size_t)(to - from),
	    err);
}

static bool
is_in_stretch(const struct reading *reading)
{
	return reading->reader.offset >= reading->stretch->from &&
	    reading->reader.offset < reading->stretch->to;
}

static int
see_event(struct reading *reading, enum scan_event event, struct err *err)
{
	struct piece_reader *reader = &reading->reader;

	if (event == SCAN_NOTE) {
		if (reading->until.us != 0 && reader->time.us > reading->until.us)
			reading->is_over = true;
		if (reading->taker != NULL && reader->time.us != 0 && is_in_stretch(reading))
			return reading->taker->time(reading->taker, reader->time, err);
		return 0;
	}
	if (event == SCAN_COMMAND && reader->safe == reader->offset &&
	    reader->offset <= reading->until_offset) {
		reading->found = reader->offset;
		reading->found_time = reader->time;
	}
	if (reader->offset >= reading->until_offset)
		reading->is_over = true;

	return 0;
}

/*
 * Stream bytes seen so far, also those of a command that is not whole: our own lines and the
 * SELECT at the beginning do not count.
 */
static uint64_t
bytes_seen(const struct piece_reader *reader)
{
	const struct scan *scan = &reader->scan;

	if (!reader->has_select)
		return reader->head.offset;

	return reader->head.offset + scan->bytes + scan_command_so_far(scan);
}

static int
reading_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	struct reading *reading = (struct reading *)sink;
	const uint8_t *bytes = data;

	if (stop_check(err) < 0)
		return -1;
	for (size_t at = 0; at < size && !reading->is_over;) {
		uint64_t before = bytes_seen(&reading->reader);
		bool was_stream = reading->reader.has_select;
		enum scan_event event;
		size_t used;
		uint64_t grown;

		if (piece_reader_feed(&reading->reader, bytes + at, size - at, &used, &event, err) <
		    0)
			return -1;
		grown = bytes_seen(&reading->reader) - before;
		/* Notes come before the bytes of a command in what was used, never behind them. */
		if (was_stream && grown > 0 &&
		    hand_on(reading, bytes + at + used - grown, (size_t)grown, before, err) < 0)
			return -1;
		if (event != SCAN_NOTHING && see_event(reading, event, err) < 0)
			return -1;
		at += used;
	}

	return 0;
}

static int
reading_finish(struct sink *sink, struct err *err)
{
	(void)sink;
	(void)err;

	return 0;
}

static void
reading_free(struct sink *sink)
{
	(void)sink; /* it lives on the stack of who reads */
}

static int
read_piece(struct archive *archive, struct reading *reading, struct err *err)
{
	static const struct sink_ops ops = {
		.name = "replay",
		.write = reading_write,
		.finish = reading_finish,
		.free = reading_free,
	};
	const struct stretch *stretch = reading->stretch;
	const struct expand_options options = { .is_zstd = stretch->form == PIECE_PACKED };
	char name[PIECE_NAME_SIZE];
	struct err why = ERR_INIT;

	(void)piece_name(stretch->branch, stretch->piece, stretch->form, name);
	SCOPED(blob_freep) struct blob *blob = archive_get(archive, name, err);
	if (blob == NULL)
		return -1;
	reading->base.ops = &ops;
	piece_reader_init(&reading->reader);
	/* Behind the point nothing is looked at, nor is what a crash has left. */
	if (expand(blob, &options, &reading->base, &why) < 0 &&
	    (why.kind != ERR_DATA || stretch->form != PIECE_TAIL ||
		reading->reader.safe < stretch->to)) {
		*err = why;
		return err_wrap(err, "'%s'", name);
	}

	return 0;
}

/* ---- the plan ----------------------------------------------------------------------------------- */

static void
add_stretch(struct replay *replay, const struct link *link, uint64_t from, uint64_t to)
{
	vec_push(&replay->stretches,
	    ((struct stretch){
		.branch = link->branch,
		.piece = link->from,
		.form = link->form,
		.from = from,
		.to = to,
		.stored_bytes = link->stored_bytes,
	    }));
	replay->stored_bytes += link->stored_bytes;
	replay->end = (struct chain_place){ .branch = link->branch, .offset = to };
	if (link->last.us > replay->reached.us)
		replay->reached = link->last;
}

/* The point lies in this piece, or before its first command. */
static int
cut_in(struct replay *replay, struct archive *archive, const struct link *link, uint64_t from,
    uint64_t until, const struct restore_target *target, struct err *err)
{
	const struct stretch whole = {
		.branch = link->branch,
		.piece = link->from,
		.form = link->form,
		.from = from,
		.to = until,
	};
	struct reading reading = {
		.stretch = &whole,
		.until = target->kind == TARGET_TIME ? target->time : (struct wall_time){ .us = 0 },
		.until_offset = target->kind == TARGET_POSITION && target->position < until
		    ? target->position
		    : until,
		.found = from,
	};
	int result = read_piece(archive, &reading, err);

	piece_reader_done(&reading.reader);
	if (result < 0)
		return -1;
	replay->is_cut = true;
	if (reading.found <= from)
		return 0;
	add_stretch(replay, link, from, reading.found);
	replay->reached = reading.found_time;

	return 0;
}

static bool
is_point_in(const struct link *link, uint64_t until, const struct restore_target *target)
{
	if (target->kind == TARGET_TIME)
		return link->last.us > target->time.us;

	return target->kind == TARGET_POSITION && target->position < until;
}

static int
walk(struct replay *replay, const struct chain *chain, struct archive *archive,
    const struct restore_target *target, struct err *err)
{
	struct chain_place at = replay->end;
	const struct link *link;
	uint64_t until;

	while ((link = chain_step(chain, target->branch, &at, &until)) != NULL) {
		/* Where a branch was left within a piece the last command may be cut: look. */
		if (is_point_in(link, until, target) || until < link->to)
			if (cut_in(replay, archive, link, at.offset, until, target, err) < 0)
				return -1;
		if (is_point_in(link, until, target))
			return 0;
		if (until >= link->to)
			add_stretch(replay, link, at.offset, until);
		at.offset = until;
	}
	if (target->kind == TARGET_POSITION && at.offset < target->position)
		return err_set(err, ERR_REFUSED, "the stream ends at offset %" PRIu64, at.offset);

	return 0;
}

static unsigned
stream_db(const struct manifest *base)
{
	const char *text = json_string_value(json_object_get(base->content, "stream_db"));
	struct err ignored = ERR_INIT;
	uint64_t db;

	return text != NULL && parse_u64(text, 0, INT32_MAX, &db, &ignored) == 0 ? (unsigned)db : 0;
}

int
replay_plan(struct archive *archive, const struct manifest *base,
    const struct restore_target *target, struct replay *ret_replay, struct err *err)
{
	SCOPED(chain_done) struct chain chain = { .stored_bytes = 0 };
	SCOPED(replay_done) struct replay replay = { .reached = base->consistent_at };

	if (chain_read(archive, &chain, err) < 0)
		return -1;
	if (!chain_place_of(&chain, base, &replay.end) ||
	    !chain_is_on(&chain, target->branch, replay.end))
		return err_set(err, ERR_REFUSED,
		    "backup '%s' is no base of timeline %" PRIu32 " of the stream", base->id,
		    target->branch);
	replay.db = stream_db(base);
	if (walk(&replay, &chain, archive, target, err) < 0)
		return -1;
	*ret_replay = replay;
	replay = (struct replay){ .db = 0 };

	return 0;
}

int
replay_run(const struct replay *replay, struct archive *archive, struct replay_taker *taker,
    struct err *err)
{
	for (size_t i = 0; i < replay->stretches.count; i++) {
		const struct stretch *stretch = &replay->stretches.items[i];
		struct reading reading = {
			.stretch = stretch,
			.taker = taker,
			.until_offset = stretch->to,
		};
		int result = read_piece(archive, &reading, err);
		uint64_t got = reading.reader.offset;

		piece_reader_done(&reading.reader);
		if (result < 0)
			return -1;
		if (got < stretch->to)
			return err_set(err, ERR_DATA,
			    "the piece at %" PRIu64 " of timeline %" PRIu32 " has less than it had",
			    stretch->piece, stretch->branch);
	}

	return 0;
}
