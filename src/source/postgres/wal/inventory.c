#include "source/postgres/wal/inventory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "source/archive.h"
#include "source/postgres/lsn.h"
#include "source/postgres/wal/head.h"
#include "stream/blob.h"

enum {
	DEFAULT_SEGMENT_BYTES = 16 * 1024 * 1024,
	PROBES_MAX = 64, /* files that are opened to learn the size of segments */
	NUMBER_DIGITS = 8,
};
#define WAL_FILE_SPACE (UINT64_C(1) << 32)

void
wal_inventory_done(struct wal_inventory *inventory)
{
	vec_done(&inventory->items);
	for (size_t i = 0; i < inventory->histories.count; i++)
		wal_history_done(&inventory->histories.items[i]);
	vec_done(&inventory->histories);
	for (size_t i = 0; i < inventory->warnings.count; i++)
		free(inventory->warnings.items[i]);
	vec_done(&inventory->warnings);
}

/* ---- names ---- */

struct name_scan {
	struct archive_visitor base;
	struct wal_inventory *inventory;
	VEC(uint32_t) histories;
};

static unsigned
has_of(enum wal_form form)
{
	switch (form) {
	case WAL_FORM_PACKED:
		return WAL_HAS_PACKED;
	case WAL_FORM_PLAIN:
		return WAL_HAS_PLAIN;
	case WAL_FORM_TAIL:
		return WAL_HAS_TAIL;
	case WAL_FORM_NONE:
	case WAL_FORM_END:
	default:
		return 0;
	}
}

static uint32_t
digits_at(const char *name, size_t number)
{
	char text[NUMBER_DIGITS + 1];
	struct err ignored = ERR_INIT;
	uint64_t value = 0;

	(void)snprintf(text, sizeof(text), "%.*s", NUMBER_DIGITS, name + number * NUMBER_DIGITS);
	if (parse_hex_u64(text, NUMBER_DIGITS, &value, &ignored) < 0)
		return 0; /* names were seen to have digits there */

	return (uint32_t)value;
}

/* The size of segments is not known yet: `number` is the two last numbers of the name for now. */
static int
see_name(struct archive_visitor *visitor, const char *stored, struct err *err)
{
	struct name_scan *scan = (struct name_scan *)visitor;
	char name[WAL_NAME_SIZE];
	unsigned has = has_of(wal_form_of(stored, name));

	(void)err;
	if (has != 0)
		vec_push(&scan->inventory->items,
		    ((struct wal_item){
			.number = (uint64_t)digits_at(name, 1) << 32 | digits_at(name, 2),
			.timeline = digits_at(name, 0),
			.has = has,
		    }));
	else if (wal_file_of(stored) == WAL_FILE_HISTORY)
		vec_push(&scan->histories, digits_at(stored, 0));

	return 0;
}

static int
compare_items(const void *a, const void *b)
{
	const struct wal_item *left = a;
	const struct wal_item *right = b;

	if (left->timeline != right->timeline)
		return left->timeline < right->timeline ? -1 : 1;

	return left->number < right->number ? -1 : left->number > right->number;
}

/* One item for all files of a segment. */
static void
sort_items(struct wal_inventory *inventory)
{
	struct wal_item *items = inventory->items.items;
	size_t kept = 0;

	if (inventory->items.count == 0)
		return;
	qsort(items, inventory->items.count, sizeof(*items), compare_items);
	for (size_t i = 1; i < inventory->items.count; i++) {
		if (compare_items(&items[kept], &items[i]) == 0)
			items[kept].has |= items[i].has;
		else
			items[++kept] = items[i];
	}
	inventory->items.count = kept + 1;
}

/* Now that the size is known, numbers; names that cannot be of this size are left out. */
static void
number_items(struct wal_inventory *inventory)
{
	uint64_t per_file = WAL_FILE_SPACE / inventory->segment_bytes;
	size_t kept = 0;

	for (size_t i = 0; i < inventory->items.count; i++) {
		struct wal_item item = inventory->items.items[i];
		uint64_t high = item.number >> 32;
		uint64_t low = item.number & UINT32_MAX;

		if (low >= per_file) {
			vec_push(&inventory->warnings,
			    xasprintf("%08X%08X%08X cannot be a segment of %" PRIu64
				      " bytes, as the others are",
				item.timeline, (unsigned)high, (unsigned)low,
				inventory->segment_bytes));
			continue;
		}
		item.number = high * per_file + low;
		inventory->items.items[kept++] = item;
	}
	inventory->items.count = kept;
}

/* ---- the size of segments, and the system ---- */

enum wal_form
wal_item_form(const struct wal_item *item)
{
	return (item->has & WAL_HAS_PACKED) != 0 ? WAL_FORM_PACKED
	    : (item->has & WAL_HAS_PLAIN) != 0   ? WAL_FORM_PLAIN
						 : WAL_FORM_TAIL;
}

static int
probe_item(struct archive *archive, const struct wal_item *item, struct wal_head *ret_head,
    struct err *err)
{
	char name[WAL_NAME_SIZE];
	char stored[WAL_STORED_NAME_SIZE];

	(void)snprintf(name, sizeof(name), "%08X%08X%08X", item->timeline,
	    (unsigned)(item->number >> 32), (unsigned)(item->number & UINT32_MAX));
	(void)wal_stored_name(name, wal_item_form(item), stored);

	return wal_head_read(archive, stored, ret_head, err);
}

/* The first segment that can be read, and is of the source's own system, decides. */
static int
probe(struct archive *archive, struct wal_inventory *inventory, struct err *err)
{
	uint64_t identifier = 0;
	struct wal_head head;

	if (archive->identity != NULL &&
	    parse_u64(archive->identity, 1, UINT64_MAX, &identifier, err) < 0)
		return err_wrap(err, "the source's identity");
	inventory->system_identifier = identifier;
	inventory->segment_bytes = DEFAULT_SEGMENT_BYTES;
	for (size_t i = 0; i < inventory->items.count && i < PROBES_MAX; i++) {
		struct err why = ERR_INIT;

		if (probe_item(archive, &inventory->items.items[i], &head, &why) < 0) {
			if (why.kind == ERR_DATA || why.kind == ERR_NOT_FOUND)
				continue;
			*err = why;
			return -1;
		}
		if (identifier != 0 && head.system_identifier != identifier)
			continue;
		inventory->system_identifier = head.system_identifier;
		inventory->segment_bytes = head.segment_bytes;
		return 0;
	}

	return 0;
}

/* ---- histories ---- */

static int
read_history(struct archive *archive, uint32_t timeline, struct wal_inventory *inventory,
    struct err *err)
{
	SCOPED(freep) char *name = xasprintf("%08X.history", timeline);
	SCOPED(blob_freep) struct blob *blob = archive_get(archive, name, err);
	SCOPED(freep) char *text = NULL;
	struct wal_history history;

	if (blob == NULL)
		return -1;
	if (blob->size_bytes > WAL_HISTORY_MAX_BYTES)
		return err_set(err, ERR_DATA, "'%s' is too large for a history of timelines", name);
	text = xmalloc((size_t)blob->size_bytes + 1);
	if (blob_read_at(blob, 0, text, (size_t)blob->size_bytes, err) < 0 ||
	    wal_history_parse(timeline, text, (size_t)blob->size_bytes, &history, err) < 0)
		return err_wrap(err, "'%s'", name);
	vec_push(&inventory->histories, history);

	return 0;
}

static int
read_histories(struct archive *archive, const struct name_scan *scan,
    struct wal_inventory *inventory, struct err *err)
{
	for (size_t i = 0; i < scan->histories.count; i++) {
		struct err why = ERR_INIT;

		if (read_history(archive, scan->histories.items[i], inventory, &why) == 0 ||
		    why.kind == ERR_NOT_FOUND)
			continue;
		if (why.kind != ERR_DATA) {
			*err = why;
			return -1;
		}
		vec_push(&inventory->warnings, xstrdup(why.msg));
	}

	return 0;
}

int
wal_inventory_read(struct archive *archive, struct wal_inventory *ret_inventory, struct err *err)
{
	struct wal_inventory inventory = { .segment_bytes = 0 };
	struct name_scan scan = { .base = { .visit = see_name }, .inventory = &inventory };
	int result = archive_scan(archive, &scan.base, err);

	if (result == 0) {
		sort_items(&inventory);
		result = probe(archive, &inventory, err);
	}
	if (result == 0) {
		number_items(&inventory);
		result = read_histories(archive, &scan, &inventory, err);
	}
	vec_done(&scan.histories);
	if (result < 0) {
		wal_inventory_done(&inventory);
		return -1;
	}
	*ret_inventory = inventory;

	return 0;
}

bool
wal_inventory_is_finished(const struct wal_inventory *inventory, size_t index)
{
	const struct wal_item *item = &inventory->items.items[index];
	uint64_t end = (item->number + 1) * inventory->segment_bytes;
	uint64_t left_at;

	if (index + 1 < inventory->items.count &&
	    inventory->items.items[index + 1].timeline == item->timeline)
		return true;
	for (size_t i = 0; i < inventory->histories.count; i++) {
		if (wal_history_switch(&inventory->histories.items[i], item->timeline, &left_at) &&
		    left_at >= end)
			return true;
	}

	return false;
}
