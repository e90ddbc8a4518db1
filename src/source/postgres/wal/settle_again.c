#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "os/stop.h"
#include "source/postgres/wal/ranges.h"
#include "source/postgres/wal/settle_internal.h"

/* `is_confirmed`: it was just read from one end to the other, and is right. */
static int
look_again(struct settle *settle, const struct wal_item *item, const struct piece *row,
    bool is_confirmed, struct err *err)
{
	enum wal_form form = wal_item_form(item);
	char stored[WAL_STORED_NAME_SIZE];
	struct archive_entry entry = { .name = stored };
	int result = 0;

	if (stop_check(err) < 0)
		return -1;
	progress_add(settle->report->progress, settle->inventory.segment_bytes);
	if (row == NULL || form == WAL_FORM_TAIL)
		return 0;
	(void)settle_name(settle, item, form, stored);
	if (archive_stat(settle->archive, &entry, err) < 0)
		return settle_skip_if_gone(err);
	if (!is_confirmed || !settle_is_same_file(row, &entry)) {
		result = settle_check(settle, item, row, form, &entry, err);
	} else {
		settle->report->checked_count++;
		wal_chain_break(&settle->chain);
		if (form == WAL_FORM_PACKED)
			result = settle_compare_copies(settle, item, err);
	}

	return result < 0 ? settle_skip_if_gone(err) : 0;
}

/* ---- several at once ---- */

/* Of the plain log, in a range; one segment at least, whatever its size. */
enum { RANGE_BYTES = 32 * 1024 * 1024 };

/* How many there are from the first on that are known to be sound, number after number. */
static size_t
count_run(const struct wal_item *items, const struct piece *const *rows, size_t count)
{
	size_t run = 0;

	while (run < count && rows[run] != NULL && rows[run]->state == PIECE_SOUND &&
	    wal_item_form(&items[run]) != WAL_FORM_TAIL &&
	    items[run].number == items[0].number + run)
		run++;

	return run;
}

static bool
has_before(const struct settle *settle, const struct wal_item *item)
{
	return item > settle->inventory.items.items && item[-1].timeline == item->timeline &&
	    item[-1].number + 1 == item->number;
}

static int
read_run(struct settle *settle, const struct wal_item *items, const struct piece *const *rows,
    size_t count, struct err *err)
{
	SCOPED(freep) struct wal_link *links = xcalloc(count, sizeof(*links));
	SCOPED(wal_ranges_freep) struct wal_ranges *ranges = NULL;
	const struct wal_ranges_options options = {
		.archive = settle->archive,
		.segment_bytes = settle->inventory.segment_bytes,
		.system_identifier = settle->inventory.system_identifier,
		.workers = settle->report->workers,
		.step = settle->inventory.segment_bytes < RANGE_BYTES
		    ? (size_t)(RANGE_BYTES / settle->inventory.segment_bytes)
		    : 1,
		.links = links,
		.count = count,
		.has_before = has_before(settle, items),
	};

	for (size_t i = 0; i < count; i++)
		links[i] = (struct wal_link){
			.timeline = items[i].timeline,
			.number = items[i].number,
			.form = wal_item_form(&items[i]),
		};
	ranges = wal_ranges_start(&options, err);
	if (ranges == NULL)
		return -1;
	for (size_t i = 0; i < count; i++) {
		bool is_sound;

		if (wal_ranges_next(ranges, &is_sound, err) < 0 ||
		    look_again(settle, &items[i], rows[i], is_sound, err) < 0)
			return -1;
	}

	return 0;
}

/* For each item its row, NULL where there is none.  Yours; the rows are a loan. */
static const struct piece **
pair(const struct wal_item *items, size_t count, const struct pieces *rows)
{
	const struct piece **paired = xcalloc(count, sizeof(const struct piece *));
	size_t at = 0;

	for (size_t i = 0; i < count; i++) {
		while (at < rows->items.count && rows->items.items[at].number < items[i].number)
			at++;
		if (at < rows->items.count && rows->items.items[at].number == items[i].number)
			paired[i] = &rows->items.items[at];
	}

	return paired;
}

int
settle_items_again(struct settle *settle, const struct wal_item *items, size_t count,
    const struct pieces *rows, struct err *err)
{
	SCOPED(freep) const struct piece **paired = pair(items, count, rows);
	size_t run;

	for (size_t i = 0; i < count; i += run) {
		int result;

		run = settle->report->workers > 0 ? count_run(&items[i], &paired[i], count - i) : 0;
		if (run > 1) {
			result = read_run(settle, &items[i], &paired[i], run, err);
		} else {
			run = 1;
			result = look_again(settle, &items[i], paired[i], false, err);
		}
		if (result < 0)
			return -1;
	}

	return 0;
}
