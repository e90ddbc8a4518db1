/* A file of a Redis stream: refused or read, the same however it is cut, and so is its note. */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "source/archive.h"
#include "source/redis/stream/piece.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Without a head it is the stream itself, as a server sends it. */
static int
scan_in_pieces(const uint8_t *data, size_t size, size_t step, struct scan *ret_scan)
{
	struct err err = ERR_INIT;

	scan_init(ret_scan, 0);
	for (size_t at = 0; at < size;) {
		enum scan_event event;
		size_t used = 0;

		if (scan_feed(ret_scan, data + at, size - at < step ? size - at : step, &used,
			&event, &err) < 0) {
			assert(err.kind == ERR_DATA);
			return -1;
		}
		assert(used > 0 && used <= step);
		at += used;
	}

	return 0;
}

static int
read_in_pieces(const uint8_t *data, size_t size, size_t step, struct piece_reader *ret_reader)
{
	struct err err = ERR_INIT;

	piece_reader_init(ret_reader);
	for (size_t at = 0; at < size;) {
		enum scan_event event;
		size_t used = 0;

		if (piece_reader_feed(ret_reader, data + at, size - at < step ? size - at : step,
			&used, &event, &err) < 0) {
			assert(err.kind == ERR_DATA);
			return -1;
		}
		at += used;
		assert(ret_reader->safe <= ret_reader->offset && ret_reader->file_at <= at);
	}

	return 0;
}

static void
see_note(const struct piece_reader *reader)
{
	SCOPED(archive_marks_done) struct archive_marks marks = { .items = { .count = 0 } };
	SCOPED(str_done) struct str note = STR_INIT;
	struct err err = ERR_INIT;
	struct piece piece;
	unsigned db;

	piece_note_format(reader, &note);
	if (piece_note_parse(note.data, note.size, &piece, &db, &marks, &err) < 0)
		return;
	assert(piece.number == reader->head.offset && piece.end_position == reader->safe);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct piece_reader whole, pieces;
	struct scan scan, steps;

	if (scan_in_pieces(data, size, size + 1, &scan) == 0) {
		assert(scan_in_pieces(data, size, 3, &steps) == 0);
		assert(scan.bytes == steps.bytes && scan.commands_count == steps.commands_count);
		assert(scan.db == steps.db && scan.is_in_multi == steps.is_in_multi);
		assert(scan.bytes <= size);
	}
	if (read_in_pieces(data, size, size + 1, &whole) == 0) {
		assert(read_in_pieces(data, size, 3, &pieces) == 0);
		assert(whole.offset == pieces.offset && whole.safe == pieces.safe);
		assert(whole.file_at == pieces.file_at && whole.commands == pieces.commands);
		if (whole.has_select && whole.head.offset < INT64_MAX - size)
			see_note(&whole);
		piece_reader_done(&pieces);
	}
	piece_reader_done(&whole);

	return 0;
}
