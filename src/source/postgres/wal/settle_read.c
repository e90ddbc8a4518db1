#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "source/postgres/lsn.h"
#include "source/postgres/wal/settle_internal.h"

/* The segments from where the record begins up to this one: one of them is damaged. */
static int
blame_crossing(struct settle *settle, const struct wal_item *item, uint64_t crossing,
    const char *message, struct err *err)
{
	uint64_t first = crossing / settle->inventory.segment_bytes;
	struct pieces before = { .items = { .count = 0 } };
	int result = 0;

	if (settle_flush(settle, err) < 0 || first >= item->number)
		return first >= item->number ? 0 : -1;
	if (archive_index_list(settle->archive, item->timeline, first, item->number - 1, &before,
		err) < 0)
		return -1;
	for (size_t i = 0; i < before.items.count && result == 0; i++) {
		struct piece row = before.items.items[i];

		row.state = PIECE_DAMAGED;
		row.message = xstrdup(message);
		result = settle_add_row(settle, &row, NULL, err);
	}
	pieces_done(&before);

	return result;
}

/*
 * It failed behind the one before it, in which a record was open.  If it is right on its own, the
 * record is damaged, in whichever of the two.
 */
static int
read_alone(struct settle *settle, const struct wal_item *item, enum wal_form form,
    uint64_t crossing, char **damage, struct err *err)
{
	const struct wal_link link = {
		.timeline = item->timeline,
		.number = item->number,
		.form = form,
	};
	SCOPED(wal_note_done) struct wal_note note = { .segment_bytes = 0 };
	struct err why = ERR_INIT;

	if (wal_chain_read_alone(&settle->chain, &link, &note, &why) == 0) {
		char at[LSN_TEXT_SIZE];
		char *text = xasprintf("%s (the record at %s begins in an earlier segment)",
		    *damage, lsn_format(crossing, at));

		free(*damage);
		*damage = text;
		return blame_crossing(settle, item, crossing, text, err);
	}
	if (why.kind != ERR_DATA) {
		*err = why;
		return -1;
	}
	free(*damage);
	*damage = xstrdup(why.msg);

	return 0;
}

int
settle_read(struct settle *settle, const struct wal_item *item, enum wal_form form,
    struct sink *also, struct wal_note *ret_note, char **ret_damage, struct err *err)
{
	const struct wal_link link = {
		.timeline = item->timeline,
		.number = item->number,
		.form = form,
	};
	struct err why = ERR_INIT;
	uint64_t crossing;
	char stored[WAL_STORED_NAME_SIZE];

	*ret_damage = NULL;
	settle->report->checked_count++;
	if (settle->chain.reader == NULL && settle_flush(settle, err) < 0)
		return -1;
	if (wal_chain_read(&settle->chain, &link, also, ret_note, &crossing, &why) == 0)
		return 0;
	if (why.kind != ERR_DATA) {
		*err = why;
		return -1;
	}
	(void)settle_name(settle, item, form, stored);
	*ret_damage = strstr(why.msg, "WAL segment") != NULL || strstr(why.msg, stored) != NULL
	    ? xstrdup(why.msg)
	    : xasprintf("'%s': %s", stored, why.msg);
	if (crossing != 0 && read_alone(settle, item, form, crossing, ret_damage, err) < 0) {
		free(TAKE(*ret_damage));
		return -1;
	}

	return 0;
}
