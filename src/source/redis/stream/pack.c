#include "source/redis/stream/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"
#include "os/stop.h"
#include "source/archive.h"
#include "source/source.h"
#include "stream/blob.h"
#include "stream/blob_note.h"
#include "stream/expand.h"
#include "stream/links.h"
#include "stream/sink.h"

enum { COMPRESSION_LEVEL = 1 };

/* ---- a sink that reads ---------------------------------------------------------------------------- */

struct reader_sink {
	struct sink base;
	struct piece_reader *reader;
};

static int
reader_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	struct piece_reader *reader = ((struct reader_sink *)sink)->reader;
	const uint8_t *bytes = data;

	for (size_t at = 0; at < size;) {
		enum scan_event event;
		size_t used;

		if (piece_reader_feed(reader, bytes + at, size - at, &used, &event, err) < 0)
			return -1;
		at += used;
	}

	return 0;
}

static int
reader_finish(struct sink *sink, struct err *err)
{
	struct piece_reader *reader = ((struct reader_sink *)sink)->reader;

	if (!reader->has_select || !scan_is_between(&reader->scan))
		return err_set(err, ERR_DATA,
		    "it ends in the middle of a command, behind byte %llu",
		    (unsigned long long)reader->file_at);

	return 0;
}

static void
reader_free(struct sink *sink)
{
	free(sink);
}

static struct sink *
reader_sink_new(struct piece_reader *reader)
{
	static const struct sink_ops ops = {
		.name = "piece",
		.write = reader_write,
		.finish = reader_finish,
		.free = reader_free,
	};
	struct reader_sink *sink = xcalloc(1, sizeof(*sink));

	sink->base.ops = &ops;
	sink->reader = reader;

	return &sink->base;
}

int
pack_expand(struct archive *archive, const char *name, enum piece_form form, struct sink *to,
    struct err *err)
{
	const struct expand_options options = { .is_zstd = form == PIECE_PACKED };
	SCOPED(blob_freep) struct blob *blob = archive_get(archive, name, err);

	return blob != NULL ? expand(blob, &options, to, err) : -1;
}

static int
read_piece(struct archive *archive, const char *name, enum piece_form form, bool is_open,
    struct piece_reader *ret_reader, struct err *err)
{
	SCOPED(sink_freep) struct sink *sink = NULL;

	piece_reader_init(ret_reader);
	sink = reader_sink_new(ret_reader);
	if (pack_expand(archive, name, form, sink, err) == 0 &&
	    (is_open || sink_finish(sink, err) == 0))
		return 0;
	/* What a crash left behind the last whole command is no command. */
	if (is_open && err->kind == ERR_DATA && ret_reader->has_select) {
		err_clear(err);
		return 0;
	}
	piece_reader_done(ret_reader);

	return err_wrap(err, "'%s'", name);
}

int
pack_read(struct archive *archive, const char *name, enum piece_form form,
    struct piece_reader *ret_reader, struct err *err)
{
	return read_piece(archive, name, form, false, ret_reader, err);
}

int
pack_read_open(struct archive *archive, const char *name, struct piece_reader *ret_reader,
    struct err *err)
{
	return read_piece(archive, name, PIECE_TAIL, true, ret_reader, err);
}

/* ---- the index ------------------------------------------------------------------------------------- */

static int
put_row(struct archive *archive, struct piece *piece, const struct archive_marks *marks,
    struct err *err)
{
	char name[PIECE_NAME_SIZE];
	struct archive_entry entry = { .name = name };

	(void)piece_name(piece->branch, piece->number, PIECE_PACKED, name);
	if (archive_stat(archive, &entry, err) < 0)
		return -1;
	piece->stored_bytes = entry.bytes;
	piece->modified = entry.modified;

	return archive_index_put(archive, piece, 1, marks->items.items, marks->items.count, err);
}

/* By way of the note, so that both ways into the index are one. */
static int
index_reader(struct archive *archive, const struct piece_reader *reader, struct err *err)
{
	SCOPED(archive_marks_done) struct archive_marks marks = { .items = { .count = 0 } };
	SCOPED(str_done) struct str note = STR_INIT;
	struct piece piece;
	unsigned db;

	piece_note_format(reader, &note);
	if (piece_note_parse(note.data, note.size, &piece, &db, &marks, err) < 0)
		return -1;

	return put_row(archive, &piece, &marks, err);
}

/* ---- packing --------------------------------------------------------------------------------------- */

static bool
is_empty(const struct piece_reader *reader)
{
	return reader->has_select && reader->commands == 0;
}

static int
compress(struct archive *archive, const char *name, struct piece_reader *reader, struct err *err)
{
	SCOPED(str_done) struct str note = STR_INIT;
	const struct zstd_options options = { .level = COMPRESSION_LEVEL, .note = &note };
	uint32_t branch;
	uint64_t offset;
	enum piece_form form;
	char packed[PIECE_NAME_SIZE];
	struct sink *file;

	if (!piece_name_parse(name, &branch, &offset, &form))
		return err_set(err, ERR_BUG, "'%s' is no name of a tail", name);
	file = archive_put(archive, piece_name(branch, offset, PIECE_PACKED, packed), err);
	if (file == NULL)
		return -1;
	file = zstd_sink_new(file, &options, err);
	if (file == NULL)
		return -1;
	SCOPED(sink_freep) struct sink *to = tee_sink_new(reader_sink_new(reader), file);
	if (pack_expand(archive, name, PIECE_TAIL, to, err) < 0)
		return -1;
	if (reader->head.branch != branch || reader->head.offset != offset)
		return err_set(err, ERR_DATA, "it is named for another place than it says");
	if (is_empty(reader))
		return 0;
	piece_note_format(reader, &note);

	return sink_finish(to, err);
}

int
pack_tail(struct archive *archive, const char *name, bool *ret_is_packed, struct err *err)
{
	SCOPED(piece_reader_done) struct piece_reader reader;
	int result;

	piece_reader_init(&reader);
	if (ret_is_packed != NULL)
		*ret_is_packed = false;
	result = compress(archive, name, &reader, err);
	/* Killed between the two names: the packed one is whole, as it has its name. */
	if (result < 0 && err->kind == ERR_EXISTS) {
		err_clear(err);
		return archive_remove(archive, name, err);
	}
	if (result < 0)
		return err_wrap(err, "'%s'", name);
	if (!is_empty(&reader)) {
		if (index_reader(archive, &reader, err) < 0)
			return -1;
		if (ret_is_packed != NULL)
			*ret_is_packed = true;
	}

	return archive_remove(archive, name, err);
}

/* ---- the whole folder ------------------------------------------------------------------------------- */

struct spot {
	uint32_t branch;
	uint64_t offset;
	enum piece_form form;
};

struct spots {
	struct archive_visitor base;
	VEC(struct spot) places;
	struct spot last; /* of a tail: it may go on */
};

static bool
is_behind(const struct spot *a, const struct spot *b)
{
	return a->branch != b->branch ? a->branch > b->branch : a->offset > b->offset;
}

static int
visit(struct archive_visitor *visitor, const char *name, struct err *err)
{
	struct spots *folder = (struct spots *)visitor;
	struct spot place;

	(void)err;
	if (!piece_name_parse(name, &place.branch, &place.offset, &place.form))
		return 0;
	vec_push(&folder->places, place);
	if (folder->last.branch == 0 || is_behind(&place, &folder->last))
		folder->last = place;

	return 0;
}

/* Does a receiver write to it. */
static bool
is_locked(const struct archive *archive, const char *name)
{
	SCOPED(freep) char *path = path_join(archive->path, name);
	SCOPED(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

static int
settle_one_tail(struct archive *archive, const struct spots *folder, const struct spot *place,
    struct settle_report *report, struct err *err)
{
	char name[PIECE_NAME_SIZE];
	bool is_packed = false;
	struct err why = ERR_INIT;

	(void)piece_name(place->branch, place->offset, PIECE_TAIL, name);
	/* The last one is where the next receiver goes on. */
	if (!is_behind(&folder->last, place) || is_locked(archive, name))
		return 0;
	if (pack_tail(archive, name, &is_packed, &why) == 0) {
		report->settled_count += is_packed;
		return 0;
	}
	if (why.kind != ERR_DATA) {
		*err = why;
		return -1;
	}
	report->damaged_count++;
	vec_push(&report->warnings, xasprintf("%s; it is left as it is", why.msg));

	return 0;
}

/* Its note if it has one, else all of it. */
static int
learn(struct archive *archive, const char *name, struct settle_report *report, struct err *err)
{
	SCOPED(archive_marks_done) struct archive_marks marks = { .items = { .count = 0 } };
	SCOPED(str_done) struct str note = STR_INIT_MAX(PIECE_NOTE_MAX_BYTES);
	SCOPED(blob_freep) struct blob *blob = archive_get(archive, name, err);
	struct piece piece;
	unsigned db;

	if (blob == NULL)
		return -1;
	if (blob_note_read(blob, PIECE_NOTE_MAX_BYTES, &note, err) < 0 ||
	    piece_note_parse(note.data, note.size, &piece, &db, &marks, err) < 0)
		return -1;
	piece.state = PIECE_FOUND;
	report->indexed_count++;

	return put_row(archive, &piece, &marks, err);
}

/* Damaged in which way, beside all that the index knew of it (`row`, NULL: nothing). */
static int
note_damage(struct archive *archive, const struct spot *place, const struct piece *row,
    struct err *why, struct err *err)
{
	struct piece damaged = { .branch = place->branch, .number = place->offset };

	if (row != NULL)
		damaged = *row;
	damaged.state = PIECE_DAMAGED;
	damaged.message = why->msg;

	return archive_index_put(archive, &damaged, 1, NULL, 0, err);
}

static int
check(struct archive *archive, const char *name, const struct spot *place, const struct piece *row,
    struct settle_report *report, struct err *err)
{
	struct piece_reader reader;
	struct err why = ERR_INIT;
	int result = 0;

	if (pack_read(archive, name, place->form, &reader, &why) == 0) {
		report->checked_count++;
		if (row == NULL || row->state != PIECE_SOUND)
			result = index_reader(archive, &reader, err);
		piece_reader_done(&reader);
		return result;
	}
	/* A retention removes it while all is read again. */
	if (why.kind == ERR_NOT_FOUND && report->is_again)
		return 0;
	if (why.kind != ERR_DATA) {
		*err = why;
		return -1;
	}
	report->damaged_count++;
	vec_push(&report->warnings, xstrdup(why.msg));

	return note_damage(archive, place, row, &why, err);
}

/* One that the index does not know; what its note cannot say its bytes will. */
static int
meet(struct archive *archive, const char *name, struct settle_report *report, struct err *err)
{
	struct err why = ERR_INIT;

	if (learn(archive, name, report, &why) == 0 || why.kind == ERR_DATA ||
	    why.kind == ERR_NOT_FOUND)
		return 0;
	*err = why;

	return -1;
}

static int
settle_one_piece(struct archive *archive, const struct spot *place, struct settle_report *report,
    struct err *err)
{
	SCOPED(pieces_done) struct pieces known = { .items = { .count = 0 } };
	char name[PIECE_NAME_SIZE];
	const struct piece *row;

	(void)piece_name(place->branch, place->offset, PIECE_PACKED, name);
	if (archive_index_list(archive, place->branch, place->offset, place->offset, &known, err) <
	    0)
		return -1;
	row = known.items.count > 0 ? &known.items.items[0] : NULL;
	if (report->is_again)
		return row != NULL ? check(archive, name, place, row, report, err) : 0;
	if (row == NULL && meet(archive, name, report, err) < 0)
		return -1;
	if (row != NULL && row->state == PIECE_DAMAGED)
		report->damaged_count++;
	if (report->is_index_only || (row != NULL && row->state != PIECE_FOUND))
		return 0;
	if (report->check_max > 0 && report->checked_count >= report->check_max) {
		report->left_count++;
		return 0;
	}

	return check(archive, name, place, row, report, err);
}

/* Rows of files that are no more. */
static int
forget_removed(struct archive *archive, struct err *err)
{
	SCOPED(archive_spans_done) struct archive_spans spans = { .items = { .count = 0 } };

	if (archive_index_spans(archive, &spans, err) < 0)
		return -1;
	for (size_t i = 0; i < spans.items.count; i++) {
		const struct archive_span *span = &spans.items.items[i];
		char name[PIECE_NAME_SIZE];
		struct archive_entry entry = { .name = name };

		(void)piece_name(span->branch, span->first, PIECE_PACKED, name);
		if (archive_stat(archive, &entry, err) == 0)
			continue;
		if (err->kind != ERR_NOT_FOUND)
			return -1;
		err_clear(err);
		if (archive_index_remove(archive, span->branch, span->first, err) < 0)
			return -1;
	}

	return 0;
}

static int
settle_all(struct archive *archive, const struct spots *folder, struct settle_report *report,
    struct err *err)
{
	for (size_t i = 0; i < folder->places.count; i++) {
		const struct spot *place = &folder->places.items[i];

		if (stop_check(err) < 0)
			return -1;
		if (place->form == PIECE_TAIL && !report->is_index_only && !report->is_again &&
		    settle_one_tail(archive, folder, place, report, err) < 0)
			return -1;
		if (place->form == PIECE_PACKED &&
		    settle_one_piece(archive, place, report, err) < 0)
			return -1;
	}

	return report->is_again ? 0 : forget_removed(archive, err);
}

int
pack_settle(struct archive *archive, struct settle_report *report, struct err *err)
{
	struct spots folder = { .base = { .visit = visit } };
	int result = archive_scan(archive, &folder.base, err);

	if (result == 0)
		result = settle_all(archive, &folder, report, err);
	vec_done(&folder.places);

	return result;
}

static int
settle_tails(struct archive *archive, const struct spots *folder, struct settle_report *report,
    struct err *err)
{
	for (size_t i = 0; i < folder->places.count; i++) {
		if (folder->places.items[i].form == PIECE_TAIL &&
		    settle_one_tail(archive, folder, &folder->places.items[i], report, err) < 0)
			return -1;
	}

	return 0;
}

int
pack_settle_tails(struct archive *archive, struct err *err)
{
	SCOPED(settle_report_done) struct settle_report report = { .check_max = 0 };
	struct spots folder = { .base = { .visit = visit } };
	int result = archive_scan(archive, &folder.base, err);

	if (result == 0)
		result = settle_tails(archive, &folder, &report, err);
	vec_done(&folder.places);
	for (size_t i = 0; i < report.warnings.count; i++)
		log_warning("%s", report.warnings.items[i]);

	return result;
}
