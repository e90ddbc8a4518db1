/* The inside of settle: what one pass holds. */
#ifndef SOURCE_POSTGRES_WAL_SETTLE_INTERNAL_H
#define SOURCE_POSTGRES_WAL_SETTLE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "source/archive.h"
#include "source/postgres/wal/chain.h"
#include "source/postgres/wal/inventory.h"
#include "source/postgres/wal/note.h"
#include "source/postgres/wal/remover.h"
#include "source/source.h"

struct settle {
	struct archive *archive;
	struct settle_report *report;
	struct wal_inventory inventory;
	struct wal_chain chain;
	struct wal_remover remover; /* of the tails that are compressed */
	VEC(struct piece) rows;     /* for the index, not written yet; they own their messages */
	VEC(struct archive_mark) marks; /* theirs; they own their names */
	bool is_late; /* what was read last was not there when the next one was read */
	uint64_t sound_count;
	uint64_t seen_damaged_count; /* of those that were named in a warning */
};

void settle_warn(struct settle *settle, const char *format, ...) PRINTF_LIKE(2, 3);

/* A row for the index; takes over piece->message.  `note` (NULL: none) has its marks. */
int settle_add_row(struct settle *settle, const struct piece *piece, const struct wal_note *note,
    struct err *err) MUST_CHECK;
int settle_flush(struct settle *settle, struct err *err) MUST_CHECK;

/* The name of a segment's file in this form; `ret_stored` has WAL_STORED_NAME_SIZE bytes. */
const char *settle_name(const struct settle *settle, const struct wal_item *item,
    enum wal_form form, char *ret_stored);

/* The index's row of a segment; 1: it is there and yours, 0: none, -1: failed. */
int settle_find_row(struct settle *settle, const struct wal_item *item, struct piece *ret_row,
    struct err *err) MUST_CHECK;

/* Does this row speak of this file, as it is now. */
bool settle_is_same_file(const struct piece *row, const struct archive_entry *entry);

/* Say once more that a segment is damaged. */
void settle_count_damaged(struct settle *settle, const struct piece *row);

/*
 * Read a segment through the chain and judge it.  0: *ret_note is filled and *ret_damage is NULL,
 * or *ret_damage says what is wrong with it (yours).  -1: it could not be read to an end.
 */
int settle_read(struct settle *settle, const struct wal_item *item, enum wal_form form,
    struct sink *also, struct wal_note *ret_note, char **ret_damage, struct err *err) MUST_CHECK;

/*
 * Read a file and write down what was found; `row` is what the index has of it, NULL: nothing.
 * `entry` is the file as it was just before.
 */
int settle_check(struct settle *settle, const struct wal_item *item, const struct piece *row,
    enum wal_form form, const struct archive_entry *entry, struct err *err) MUST_CHECK;

/* A file that went since the folder was read, as a retention removes it, is no failure. */
int settle_skip_if_gone(struct err *err) MUST_CHECK;

/*
 * Read again what lies there long since: a bit of it may have changed, and nobody has looked.
 * Items of one timeline, and the rows of their numbers.  It goes on for long, beside the settling
 * of what arrives: rows without an item are newer than the list of files, and stay.
 */
int settle_items_again(struct settle *settle, const struct wal_item *items, size_t count,
    const struct pieces *rows, struct err *err) MUST_CHECK;

/* The user's copy beside ours, if there is one: the same, or a second server's. */
int settle_compare_copies(struct settle *settle, const struct wal_item *item, struct err *err)
    MUST_CHECK;

/* The tail of item `index`, if it is finished: compressed, or put away. */
int settle_tail(struct settle *settle, size_t index, struct err *err) MUST_CHECK;

#endif
