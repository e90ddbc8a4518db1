#include "source/postgres/wal/settle.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/str.h"
#include "os/stop.h"
#include "source/postgres/lsn.h"
#include "source/postgres/wal/settle_internal.h"
#include "stream/blob.h"
#include "stream/blob_note.h"

enum {
	ROWS_AT_ONCE = 64,
	ITEMS_AT_ONCE = 1024,   /* looked up in the index together */
	DAMAGED_NAMED_MAX = 20, /* in warnings; the others are counted */
	COPY_QUIET_S = 60,      /* a short file that is this old will not grow any more */
};

/* ---- what all of it uses ---- */

void
settle_warn(struct settle *settle, const char *format, ...)
{
	char text[480];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	vec_push(&settle->report->warnings, xstrdup(text));
}

static void
forget_rows(struct settle *settle)
{
	for (size_t i = 0; i < settle->rows.count; i++)
		piece_done(&settle->rows.items[i]);
	for (size_t i = 0; i < settle->marks.count; i++)
		free(settle->marks.items[i].name);
	settle->rows.count = 0;
	settle->marks.count = 0;
}

int
settle_flush(struct settle *settle, struct err *err)
{
	int result = 0;

	if (settle->rows.count > 0)
		result = archive_index_put(settle->archive, settle->rows.items, settle->rows.count,
		    settle->marks.items, settle->marks.count, err);
	forget_rows(settle);

	return result;
}

int
settle_add_row(struct settle *settle, const struct piece *piece, const struct wal_note *note,
    struct err *err)
{
	vec_push(&settle->rows, *piece);
	for (size_t i = 0; note != NULL && i < note->points.count; i++) {
		struct archive_mark *mark = vec_add(&settle->marks);

		wal_note_to_mark(note, i, mark);
		mark->name = xstrdup(mark->name);
	}
	if (piece->state == PIECE_SOUND)
		settle->sound_count++;
	if (piece->state == PIECE_DAMAGED)
		settle_count_damaged(settle, piece);

	return settle->rows.count >= ROWS_AT_ONCE ? settle_flush(settle, err) : 0;
}

const char *
settle_name(const struct settle *settle, const struct wal_item *item, enum wal_form form,
    char *ret_stored)
{
	char name[WAL_NAME_SIZE];

	(void)wal_name_format(item->timeline, item->number, settle->inventory.segment_bytes, name);

	return wal_stored_name(name, form, ret_stored);
}

int
settle_find_row(struct settle *settle, const struct wal_item *item, struct piece *ret_row,
    struct err *err)
{
	struct pieces found = { .items = { .count = 0 } };

	if (archive_index_list(settle->archive, item->timeline, item->number, item->number, &found,
		err) < 0)
		return -1;
	if (found.items.count == 0)
		return 0;
	*ret_row = found.items.items[0];
	vec_done(&found.items);

	return 1;
}

bool
settle_is_same_file(const struct piece *row, const struct archive_entry *entry)
{
	return row->stored_bytes == entry->bytes && row->modified.us == entry->modified.us;
}

void
settle_count_damaged(struct settle *settle, const struct piece *row)
{
	settle->report->damaged_count++;
	if (settle->seen_damaged_count++ < DAMAGED_NAMED_MAX)
		settle_warn(settle, "%s", row->message != NULL ? row->message : "damaged");
}

/* ---- one segment and its row ---- */

/* What is known of a compressed one without reading it; false: nothing that can be relied on. */
static bool
read_note(struct settle *settle, const struct wal_item *item, struct wal_note *ret_note)
{
	char stored[WAL_STORED_NAME_SIZE];
	struct err ignored = ERR_INIT;
	SCOPED(blob_freep)
	struct blob *blob = archive_get(settle->archive,
	    settle_name(settle, item, WAL_FORM_PACKED, stored), &ignored);
	SCOPED(str_done) struct str text = STR_INIT_MAX(WAL_NOTE_MAX_BYTES);

	if (blob == NULL || blob_note_read(blob, WAL_NOTE_MAX_BYTES, &text, &ignored) < 0 ||
	    wal_note_parse(str_text(&text), text.size, ret_note, &ignored) < 0)
		return false;
	if (ret_note->timeline == item->timeline && ret_note->segment == item->number &&
	    ret_note->segment_bytes == settle->inventory.segment_bytes &&
	    ret_note->system_identifier == settle->inventory.system_identifier)
		return true;
	wal_note_done(ret_note);

	return false;
}

static void
fill_file(struct piece *piece, const struct archive_entry *entry, enum wal_form form)
{
	piece->stored_bytes = entry->bytes;
	piece->modified = entry->modified;
	piece->is_stored_plain = form == WAL_FORM_PLAIN;
}

/* The row says what was found again: a million of them are not written for nothing. */
static bool
is_confirmed(const struct settle *settle, const struct piece *row, const struct piece *found,
    const struct archive_entry *entry)
{
	return settle->report->is_again && row != NULL && row->state == found->state &&
	    settle_is_same_file(row, entry);
}

/* Who reads part after part would say the same each time; who asks for all wants to hear all. */
static void
count_confirmed(struct settle *settle, const struct piece *found)
{
	if (found->state == PIECE_DAMAGED && settle->report->parts == 0)
		settle_count_damaged(settle, found);
}

int
settle_check(struct settle *settle, const struct wal_item *item, const struct piece *row,
    enum wal_form form, const struct archive_entry *entry, struct err *err)
{
	SCOPED(wal_note_done) struct wal_note note = { .segment_bytes = 0 };
	SCOPED(freep) char *damage = NULL;
	struct piece piece = { .branch = item->timeline, .number = item->number };

	if (settle_read(settle, item, form, NULL, &note, &damage, err) < 0)
		return -1;
	if (damage == NULL)
		wal_note_to_piece(&note, &piece);
	if (damage == NULL && !note.is_checked)
		piece.message =
		    xstrdup("its records are of a version of PostgreSQL that is not known here");
	if (damage != NULL) {
		piece.state = PIECE_DAMAGED;
		piece.message = TAKE(damage);
	}
	fill_file(&piece, entry, form);
	if (form == WAL_FORM_PACKED && settle_compare_copies(settle, item, err) < 0) {
		piece_done(&piece);
		return -1;
	}
	if (is_confirmed(settle, row, &piece, entry)) {
		count_confirmed(settle, &piece);
		piece_done(&piece);
		return 0;
	}

	return settle_add_row(settle, &piece, &note, err);
}

/* A file that the index does not know: from its note, if that is all that is wanted of it. */
static int
index_item(struct settle *settle, const struct wal_item *item, enum wal_form form,
    const struct archive_entry *entry, bool *ret_is_done, struct err *err)
{
	SCOPED(wal_note_done) struct wal_note note = { .segment_bytes = 0 };
	struct piece piece;

	*ret_is_done = false;
	if (form == WAL_FORM_PLAIN) {
		settle->report->adopted_count++;
		return 0;
	}
	settle->report->indexed_count++;
	if (!read_note(settle, item, &note) || (!note.is_checked && !settle->report->is_index_only))
		return 0;
	wal_note_to_piece(&note, &piece);
	fill_file(&piece, entry, form);
	*ret_is_done = true;

	return settle_add_row(settle, &piece, &note, err);
}

/*
 * A segment that came late was read just now, and a record is open that goes on in this one: it
 * was read before without that record's beginning.
 */
static bool
is_continued(const struct settle *settle, const struct wal_item *item)
{
	const struct wal_chain *chain = &settle->chain;

	return settle->is_late && chain->reader != NULL && chain->timeline == item->timeline &&
	    chain->next == item->number && wal_reader_summary(chain->reader)->open_lsn != 0;
}

/* This one was read: must the next one be read again, although it is sound? */
static void
remember_late(struct settle *settle, const struct wal_item *item, const struct piece *row)
{
	uint64_t begin = item->number * settle->inventory.segment_bytes;
	const struct wal_chain *chain = &settle->chain;

	/* One that was only read again hands it on while the same record is open. */
	settle->is_late = row == NULL || row->state != PIECE_SOUND ||
	    (chain->reader != NULL && wal_reader_summary(chain->reader)->open_lsn < begin);
}

/* Nothing is to be done about it: 1; it must be looked at: 0. */
static int
is_settled(struct settle *settle, const struct wal_item *item, const struct piece *row,
    const struct archive_entry *entry, enum wal_form form)
{
	if (row == NULL || row->is_stored_plain != (form == WAL_FORM_PLAIN) ||
	    !settle_is_same_file(row, entry))
		return 0;
	if (row->state == PIECE_SOUND)
		return is_continued(settle, item) ? 0 : 1;
	if (row->state == PIECE_DAMAGED)
		settle_count_damaged(settle, row);

	return row->state == PIECE_DAMAGED || row->message != NULL;
}

/* It is short, and its copying may not have come to its end yet. */
static bool
is_arriving(const struct settle *settle, const struct archive_entry *entry, enum wal_form form)
{
	return form == WAL_FORM_PLAIN && entry->bytes < settle->inventory.segment_bytes &&
	    clock_wall().us - entry->modified.us < COPY_QUIET_S * US_PER_S;
}

int
settle_skip_if_gone(struct err *err)
{
	if (err->kind != ERR_NOT_FOUND)
		return -1;
	err_clear(err);

	return 0;
}

static int
look_at_file(struct settle *settle, const struct wal_item *item, const struct piece *row,
    enum wal_form form, struct err *err)
{
	char stored[WAL_STORED_NAME_SIZE];
	struct archive_entry entry = { .name = stored };
	bool is_done = false;

	(void)settle_name(settle, item, form, stored);
	if (archive_stat(settle->archive, &entry, err) < 0)
		return settle_skip_if_gone(err);
	if (is_settled(settle, item, row, &entry, form) == 1)
		return 0;
	if (is_arriving(settle, &entry, form) ||
	    (settle->report->check_max > 0 &&
		settle->report->checked_count >= settle->report->check_max)) {
		settle->report->left_count++;
		return 0;
	}
	if (row == NULL && index_item(settle, item, form, &entry, &is_done, err) < 0)
		return -1;

	if (is_done)
		return 0;
	if (settle_check(settle, item, row, form, &entry, err) < 0)
		return settle_skip_if_gone(err);
	remember_late(settle, item, row);

	return 0;
}

static int
settle_item(struct settle *settle, const struct wal_item *item, const struct piece *row,
    struct err *err)
{
	enum wal_form form = wal_item_form(item);

	if (stop_check(err) < 0)
		return -1;
	if (form == WAL_FORM_TAIL) {
		size_t index = (size_t)(item - settle->inventory.items.items);

		/* A tail is no piece, but where it should be whole and is damaged. */
		if (row != NULL &&
		    (row->state != PIECE_DAMAGED ||
			!wal_inventory_is_finished(&settle->inventory, index)))
			return archive_index_remove(settle->archive, item->timeline, item->number,
			    err);
		return 0;
	}
	/* What we wrote ourselves, once and for ever, and know to be sound. */
	if (row != NULL && row->state == PIECE_SOUND && form == WAL_FORM_PACKED &&
	    !row->is_stored_plain && !is_continued(settle, item))
		return 0;

	return look_at_file(settle, item, row, form, err);
}

/* ---- all of them ---- */

/* Rows and items of one timeline in one range of numbers, side by side; a row without a file goes. */
static int
settle_range(struct settle *settle, const struct wal_item *items, size_t count,
    const struct pieces *rows, struct err *err)
{
	size_t at = 0;

	for (size_t i = 0; i < count; i++) {
		const struct piece *row = NULL;

		for (; at < rows->items.count && rows->items.items[at].number < items[i].number;
		     at++) {
			if (archive_index_remove(settle->archive, items[i].timeline,
				rows->items.items[at].number, err) < 0)
				return -1;
		}
		if (at < rows->items.count && rows->items.items[at].number == items[i].number)
			row = &rows->items.items[at++];
		if (settle_item(settle, &items[i], row, err) < 0)
			return -1;
	}
	for (; at < rows->items.count; at++) {
		if (archive_index_remove(settle->archive, rows->items.items[at].branch,
			rows->items.items[at].number, err) < 0)
			return -1;
	}

	return 0;
}

/* The items from `first` on that are looked up together: of one timeline, and not too many. */
static size_t
count_together(const struct wal_inventory *inventory, size_t first, size_t end)
{
	size_t count = 1;

	while (count < ITEMS_AT_ONCE && first + count < end &&
	    inventory->items.items[first + count].timeline ==
		inventory->items.items[first].timeline)
		count++;

	return count;
}

/*
 * Which items this pass is about: all, or a part that is read again.  Both the log and its parts move
 * on, each against the other, so that everything has its turn.
 */
static void
choose_items(const struct settle *settle, size_t *ret_first, size_t *ret_end)
{
	size_t count = settle->inventory.items.count;
	size_t wanted = settle->report->parts < count ? settle->report->parts : count;
	size_t parts = wanted > 0 ? wanted : 1;
	size_t part = settle->report->part % parts;

	*ret_first = count * part / parts;
	*ret_end = count * (part + 1) / parts;
}

static int
settle_items(struct settle *settle, struct err *err)
{
	const struct wal_inventory *inventory = &settle->inventory;
	size_t first, end;
	uint64_t from;

	choose_items(settle, &first, &end);
	from = first > 0 ? inventory->items.items[first].number : 0;
	for (size_t i = first; i < end;) {
		const struct wal_item *items = &inventory->items.items[i];
		size_t count = count_together(inventory, i, end);
		bool is_last = i + count == inventory->items.count ||
		    items[count].timeline != items->timeline;
		uint64_t to = is_last ? INT64_MAX : items[count - 1].number;
		SCOPED(pieces_done) struct pieces rows = { .items = { .count = 0 } };

		if (archive_index_list(settle->archive, items->timeline, from, to, &rows, err) < 0)
			return -1;
		if ((settle->report->is_again ? settle_items_again : settle_range)(settle, items,
			count, &rows, err) < 0)
			return -1;
		from = is_last ? 0 : to + 1;
		i += count;
	}

	return settle_flush(settle, err);
}

static bool
has_timeline(const struct wal_inventory *inventory, uint32_t timeline)
{
	size_t low = 0;
	size_t high = inventory->items.count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (inventory->items.items[middle].timeline < timeline)
			low = middle + 1;
		else
			high = middle;
	}

	return low < inventory->items.count && inventory->items.items[low].timeline == timeline;
}

/* Timelines of which no file is left at all. */
static int
forget_timelines(struct settle *settle, struct err *err)
{
	struct archive_spans spans = { .items = { .count = 0 } };
	int result = archive_index_spans(settle->archive, &spans, err);

	for (size_t i = 0; i < spans.items.count && result == 0; i++) {
		const struct archive_span *span = &spans.items.items[i];

		if (has_timeline(&settle->inventory, span->branch))
			continue;
		for (uint64_t n = span->first; n <= span->last && result == 0; n++)
			result = archive_index_remove(settle->archive, span->branch, n, err);
	}
	archive_spans_done(&spans);

	return result;
}

static int
settle_tails(struct settle *settle, struct err *err)
{
	for (size_t i = 0; i < settle->inventory.items.count; i++) {
		if ((settle->inventory.items.items[i].has & WAL_HAS_TAIL) == 0)
			continue;
		if (stop_check(err) < 0 || settle_tail(settle, i, err) < 0)
			return -1;
	}

	return settle_flush(settle, err);
}

/*
 * Nobody has said yet whose archive it is: if all segments are of one system and sound, it is
 * that one's.
 */
static int
claim(struct settle *settle, struct err *err)
{
	SCOPED(freep) char *identity = NULL;

	if (settle->archive->identity != NULL || settle->report->is_index_only ||
	    settle->sound_count == 0 || settle->report->damaged_count > 0)
		return 0;
	identity = xasprintf("%" PRIu64, settle->inventory.system_identifier);

	return archive_claim(settle->archive, identity, err);
}

static int
settle_all(struct settle *settle, struct err *err)
{
	struct settle_report *report = settle->report;

	if (wal_inventory_read(settle->archive, &settle->inventory, err) < 0)
		return -1;
	settle->chain.archive = settle->archive;
	settle->chain.segment_bytes = settle->inventory.segment_bytes;
	settle->chain.system_identifier = settle->inventory.system_identifier;
	for (size_t i = 0; report->parts == 0 && i < settle->inventory.warnings.count; i++)
		settle_warn(settle, "%s", settle->inventory.warnings.items[i]);
	if (report->is_again)
		progress_phase(report->progress, "reading the log",
		    settle->inventory.items.count * settle->inventory.segment_bytes);
	if (!report->is_index_only && !report->is_again && settle_tails(settle, err) < 0)
		return -1;
	if (settle_items(settle, err) < 0)
		return -1;
	if (!report->is_again && (forget_timelines(settle, err) < 0 || claim(settle, err) < 0))
		return -1;
	if (settle->seen_damaged_count > DAMAGED_NAMED_MAX)
		settle_warn(settle, "%" PRIu64 " more segments are damaged",
		    settle->seen_damaged_count - DAMAGED_NAMED_MAX);

	return 0;
}

int
wal_settle(struct archive *archive, struct settle_report *report, struct err *err)
{
	struct settle settle = { .archive = archive, .report = report };
	struct err removal = ERR_INIT;
	int result = settle_all(&settle, err);

	if (wal_remover_wait(&settle.remover, &removal) < 0 && result == 0) {
		*err = removal;
		result = -1;
	}
	forget_rows(&settle);
	vec_done(&settle.rows);
	vec_done(&settle.marks);
	wal_chain_done(&settle.chain);
	wal_inventory_done(&settle.inventory);

	return result;
}
