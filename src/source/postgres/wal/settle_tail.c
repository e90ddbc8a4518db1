#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"
#include "source/postgres/wal/settle_internal.h"
#include "source/postgres/wal/stored.h"
#include "source/postgres/wal/twin.h"
#include "stream/sink.h"

enum { COMPRESSION_LEVEL = 1 };

/* ---- a tail beside the whole segment ---- */

/* Out of the way and kept: it may be the only trace of a second server, or of what one has lost. */
static int
set_aside(struct settle *settle, const char *tail, struct err *err)
{
	char stamp[CLOCK_TEXT_SIZE];
	SCOPED(freep) char *from = path_join(settle->archive->path, tail);
	SCOPED(freep) char *to = NULL;

	(void)clock_format_compact(clock_wall(), stamp);
	to = xasprintf("%s.diverged-%s", from, stamp);
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) < 0)
		return err_sys(err, "cannot rename '%s' to '%s'", from, to);

	return dir_sync(settle->archive->path, err);
}

static int
note_conflict(struct settle *settle, const struct wal_item *item, const char *tail,
    const char *packed, struct err *err)
{
	char stored[WAL_STORED_NAME_SIZE];
	struct archive_entry entry = { .name = stored };
	struct archive_event event = {
		.kind = "conflict",
		.branch = item->timeline,
		.from_position = item->number * settle->inventory.segment_bytes,
		.is_once = true,
	};
	SCOPED(freep) char *text = NULL;

	(void)snprintf(stored, sizeof(stored), "%s", tail);
	if (archive_stat(settle->archive, &entry, err) < 0)
		return -1;
	text = xasprintf("'%s' and '%s' hold different WAL: both are kept, the first as "
			 "'%s.diverged-...'; two servers write one archive, or one was promoted",
	    tail, packed, tail);
	event.at = entry.modified;
	event.text = text;
	if (archive_note_event(settle->archive, &event, err) < 0)
		return -1;
	settle_warn(settle, "%s", text);
	settle->report->damaged_count++;

	return set_aside(settle, tail, err);
}

/* The segment is there already: the tail has nothing more than it, or something else. */
static int
put_away(struct settle *settle, const struct wal_item *item, const char *tail, struct err *err)
{
	char packed[WAL_STORED_NAME_SIZE];
	enum wal_twin twin = WAL_TWIN_SAME;
	struct err why = ERR_INIT;

	(void)settle_name(settle, item, WAL_FORM_PACKED, packed);
	if (wal_twin_compare(settle->archive, tail, packed, &twin, &why) < 0) {
		/* The whole one is damaged: the tail stays, it may be needed yet. */
		if (why.kind == ERR_DATA || why.kind == ERR_NOT_FOUND) {
			settle_warn(settle, "'%s' stays: %s", tail, why.msg);
			return 0;
		}
		*err = why;
		return -1;
	}
	if (twin == WAL_TWIN_OTHER)
		return note_conflict(settle, item, tail, packed, err);

	return archive_remove(settle->archive, tail, err);
}

/* ---- the user's copy beside ours ---- */

int
settle_compare_copies(struct settle *settle, const struct wal_item *item, struct err *err)
{
	char plain[WAL_STORED_NAME_SIZE];
	char packed[WAL_STORED_NAME_SIZE];
	enum wal_twin twin = WAL_TWIN_SAME;
	struct err why = ERR_INIT;
	struct archive_entry entry = { .name = plain };
	struct archive_event event = {
		.kind = "conflict",
		.branch = item->timeline,
		.from_position = item->number * settle->inventory.segment_bytes,
		.is_once = true,
	};
	SCOPED(freep) char *text = NULL;

	if ((item->has & WAL_HAS_PLAIN) == 0)
		return 0;
	(void)settle_name(settle, item, WAL_FORM_PLAIN, plain);
	(void)settle_name(settle, item, WAL_FORM_PACKED, packed);
	if (archive_stat(settle->archive, &entry, &why) < 0 ||
	    wal_twin_compare(settle->archive, plain, packed, &twin, &why) < 0) {
		if (why.kind == ERR_DATA || why.kind == ERR_NOT_FOUND)
			return 0;
		*err = why;
		return -1;
	}
	if (twin != WAL_TWIN_OTHER)
		return 0;
	event.at = entry.modified;
	event.text = text =
	    xasprintf("'%s' and '%s' hold different WAL: do two servers archive into one folder?",
		plain, packed);
	settle_warn(settle, "%s", text);
	settle->report->damaged_count++;

	return archive_note_event(settle->archive, &event, err);
}

/* ---- a tail that becomes a segment ---- */

static struct sink *
open_target(struct settle *settle, const struct wal_item *item, const struct str *note,
    struct err *err)
{
	char packed[WAL_STORED_NAME_SIZE];
	struct sink *file = archive_put(settle->archive,
	    settle_name(settle, item, WAL_FORM_PACKED, packed), err);

	return file != NULL ? wal_compress(file, COMPRESSION_LEVEL, 0, note, err) : NULL;
}

/* Index the tail as damaged: it is left as it is, and the log has a hole there. */
static int
keep_damaged(struct settle *settle, const struct wal_item *item, const char *tail, char *damage,
    struct err *err)
{
	SCOPED(freep) char *name = xstrdup(tail);
	struct archive_entry entry = { .name = name };
	struct piece piece = {
		.branch = item->timeline,
		.number = item->number,
		.state = PIECE_DAMAGED,
		.message = damage,
	};

	if (archive_stat(settle->archive, &entry, err) < 0) {
		free(damage);
		return -1;
	}
	piece.stored_bytes = entry.bytes;
	piece.modified = entry.modified;

	return settle_add_row(settle, &piece, NULL, err);
}

/* Make its row: the file is durable. */
static int
index_packed(struct settle *settle, const struct wal_item *item, const struct wal_note *note,
    struct err *err)
{
	char packed[WAL_STORED_NAME_SIZE];
	struct archive_entry entry = { .name = packed };
	struct piece piece;

	(void)settle_name(settle, item, WAL_FORM_PACKED, packed);
	if (archive_stat(settle->archive, &entry, err) < 0)
		return -1;
	wal_note_to_piece(note, &piece);
	piece.stored_bytes = entry.bytes;
	piece.modified = entry.modified;

	return settle_add_row(settle, &piece, note, err);
}

/* 0: *ret_damage NULL and the segment is durable, or what is wrong with the tail. */
static int
pack(struct settle *settle, const struct wal_item *item, struct wal_note *note, char **ret_damage,
    struct err *err)
{
	SCOPED(str_done) struct str text = STR_INIT_MAX(WAL_NOTE_MAX_BYTES);
	SCOPED(sink_freep) struct sink *to = open_target(settle, item, &text, err);

	if (to == NULL)
		return -1;
	if (settle_read(settle, item, WAL_FORM_TAIL, to, note, ret_damage, err) < 0)
		return -1;
	if (*ret_damage != NULL)
		return 0;
	wal_note_format(note, &text);

	return sink_finish(to, err);
}

static int
finish_tail(struct settle *settle, struct wal_item *item, const char *tail, struct err *err)
{
	SCOPED(wal_note_done) struct wal_note note = { .segment_bytes = 0 };
	char *damage = NULL;

	if (pack(settle, item, &note, &damage, err) < 0) {
		if (err->kind != ERR_EXISTS)
			return -1;
		/* Somebody else was first. */
		err_clear(err);
		item->has |= WAL_HAS_PACKED;
		return put_away(settle, item, tail, err);
	}
	if (damage != NULL)
		return keep_damaged(settle, item, tail, damage, err);
	item->has |= WAL_HAS_PACKED;
	if (index_packed(settle, item, &note, err) < 0 ||
	    settle_compare_copies(settle, item, err) < 0)
		return -1;
	settle->report->settled_count++;

	return wal_remover_begin(&settle->remover, settle->archive, tail, err);
}

/* Was it read before, found damaged, and not touched since. */
static int
is_known_damaged(struct settle *settle, const struct wal_item *item, const char *tail,
    struct err *err)
{
	SCOPED(piece_done) struct piece row = { .branch = 0 };
	SCOPED(freep) char *name = xstrdup(tail);
	struct archive_entry entry = { .name = name };
	int found = settle_find_row(settle, item, &row, err);

	if (found <= 0 || row.state != PIECE_DAMAGED)
		return found < 0 ? -1 : 0;
	if (archive_stat(settle->archive, &entry, err) < 0)
		return -1;
	if (!settle_is_same_file(&row, &entry))
		return 0;
	settle_count_damaged(settle, &row);

	return 1;
}

int
settle_tail(struct settle *settle, size_t index, struct err *err)
{
	struct wal_item *item = &settle->inventory.items.items[index];
	char tail[WAL_STORED_NAME_SIZE];
	int known;

	if (!wal_inventory_is_finished(&settle->inventory, index))
		return 0;
	(void)settle_name(settle, item, WAL_FORM_TAIL, tail);
	if ((item->has & WAL_HAS_PACKED) != 0)
		return put_away(settle, item, tail, err);
	known = is_known_damaged(settle, item, tail, err);
	if (known != 0)
		return known < 0 ? -1 : 0;
	if (finish_tail(settle, item, tail, err) < 0) {
		/* Another settle has finished it meanwhile. */
		if (err->kind != ERR_NOT_FOUND)
			return err_wrap(err, "'%s'", tail);
		err_clear(err);
	}

	return 0;
}
