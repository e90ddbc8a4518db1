#include "stream/seek_table.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "stream/blob.h"

enum {
	SKIPPABLE_MAGIC = 0x184D2A5E,
	ENTRY_BYTES = 8,
	ENTRY_CHECKSUM_BYTES = 4,
	DESCRIPTOR_HAS_CHECKSUM = 0x80,
	DESCRIPTOR_RESERVED = 0x7c,
};
#define SEEKABLE_MAGIC UINT32_C(0x8F92EAB1)

/* Where the table stands in the file and how it is made, from its footer. */
struct layout {
	uint32_t frames;
	uint32_t entry_bytes;
	uint64_t table_bytes; /* the whole skippable frame */
};

static uint32_t
load_u32(const uint8_t *at)
{
	return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
	    (uint32_t)at[3] << 24;
}

static void
add_u32(struct str *to, uint32_t value)
{
	const uint8_t bytes[4] = {
		(uint8_t)value,
		(uint8_t)(value >> 8),
		(uint8_t)(value >> 16),
		(uint8_t)(value >> 24),
	};

	str_add_bytes(to, bytes, sizeof(bytes));
}

void
seek_table_add(struct seek_table *table, uint32_t stored_bytes, uint32_t plain_bytes)
{
	struct seek_frame frame = {
		.stored_offset = table->stored_bytes,
		.plain_offset = table->plain_bytes,
		.stored_bytes = stored_bytes,
		.plain_bytes = plain_bytes,
	};

	vec_push(&table->frames, frame);
	table->stored_bytes += stored_bytes;
	table->plain_bytes += plain_bytes;
}

void
seek_table_format(const struct seek_table *table, struct str *to)
{
	size_t count = table->frames.count;

	assert(count <= SEEK_TABLE_MAX_FRAMES);
	add_u32(to, SKIPPABLE_MAGIC);
	add_u32(to, (uint32_t)(count * ENTRY_BYTES + SEEK_TABLE_FOOTER_BYTES));
	for (size_t i = 0; i < count; i++) {
		add_u32(to, table->frames.items[i].stored_bytes);
		add_u32(to, table->frames.items[i].plain_bytes);
	}
	add_u32(to, (uint32_t)count);
	str_add_char(to, 0);
	add_u32(to, SEEKABLE_MAGIC);
}

static int
parse_footer(const uint8_t *footer, uint64_t file_bytes, struct layout *ret_layout, struct err *err)
{
	struct layout layout = { .frames = load_u32(footer) };
	uint8_t descriptor = footer[4];
	bool has_checksum = (descriptor & DESCRIPTOR_HAS_CHECKSUM) != 0;

	if (load_u32(footer + 5) != SEEKABLE_MAGIC)
		return err_set(err, ERR_DATA, "there is no seek table");
	if ((descriptor & DESCRIPTOR_RESERVED) != 0)
		return err_set(err, ERR_DATA, "the seek table is of an unknown kind (0x%02x)",
		    descriptor);
	if (layout.frames > SEEK_TABLE_MAX_FRAMES)
		return err_set(err, ERR_DATA, "the seek table claims %" PRIu32 " frames",
		    layout.frames);
	layout.entry_bytes = ENTRY_BYTES + (has_checksum ? ENTRY_CHECKSUM_BYTES : 0);
	layout.table_bytes = SEEK_TABLE_HEADER_BYTES + SEEK_TABLE_FOOTER_BYTES +
	    (uint64_t)layout.frames * layout.entry_bytes;
	if (layout.table_bytes > file_bytes)
		return err_set(err, ERR_DATA,
		    "the seek table claims %" PRIu64 " bytes in a file of %" PRIu64,
		    layout.table_bytes, file_bytes);

	*ret_layout = layout;

	return 0;
}

/* Read the table, which begins at `at`, into `to`, which the caller frees in any case. */
static int
parse_entries(const uint8_t *at, const struct layout *layout, uint64_t file_bytes,
    struct seek_table *to, struct err *err)
{
	uint64_t frame_bytes = layout->table_bytes - SEEK_TABLE_HEADER_BYTES;

	if (load_u32(at) != SKIPPABLE_MAGIC || load_u32(at + 4) != frame_bytes)
		return err_set(err, ERR_DATA, "the seek table's head and foot do not fit together");
	at += SEEK_TABLE_HEADER_BYTES;
	for (uint32_t i = 0; i < layout->frames; i++, at += layout->entry_bytes)
		seek_table_add(to, load_u32(at), load_u32(at + 4));
	if (to->stored_bytes != file_bytes - layout->table_bytes)
		return err_set(err, ERR_DATA,
		    "the seek table speaks of %" PRIu64 " bytes, the file has %" PRIu64,
		    to->stored_bytes, file_bytes - layout->table_bytes);

	return 0;
}

int
seek_table_parse(const uint8_t *tail, size_t tail_size, uint64_t file_bytes,
    struct seek_table *ret_table, size_t *ret_needed, struct err *err)
{
	struct layout layout = { .frames = 0 };
	struct seek_table table = { .stored_bytes = 0 };

	if (file_bytes < SEEK_TABLE_HEADER_BYTES + SEEK_TABLE_FOOTER_BYTES)
		return err_set(err, ERR_DATA, "there is no seek table");
	if (tail_size < SEEK_TABLE_FOOTER_BYTES) {
		*ret_needed = SEEK_TABLE_FOOTER_BYTES;
		*ret_table = table;
		return 0;
	}
	if (parse_footer(tail + tail_size - SEEK_TABLE_FOOTER_BYTES, file_bytes, &layout, err) < 0)
		return -1;
	if (tail_size < layout.table_bytes) {
		*ret_needed = (size_t)layout.table_bytes;
		*ret_table = table;
		return 0;
	}
	if (parse_entries(tail + tail_size - layout.table_bytes, &layout, file_bytes, &table, err) <
	    0) {
		seek_table_done(&table);
		return -1;
	}
	*ret_needed = 0;
	*ret_table = table;

	return 0;
}

int
seek_table_read(struct blob *blob, struct seek_table *ret_table, struct err *err)
{
	uint8_t footer[SEEK_TABLE_FOOTER_BYTES];
	SCOPED(freep) uint8_t *tail = NULL;
	size_t needed = 0;

	if (blob->size_bytes < SEEK_TABLE_HEADER_BYTES + SEEK_TABLE_FOOTER_BYTES)
		return err_set(err, ERR_NOT_FOUND, "'%s' has no seek table", blob->name);
	if (blob_read_at(blob, blob->size_bytes - sizeof(footer), footer, sizeof(footer), err) < 0)
		return -1;
	if (load_u32(footer + 5) != SEEKABLE_MAGIC)
		return err_set(err, ERR_NOT_FOUND, "'%s' has no seek table", blob->name);
	if (seek_table_parse(footer, sizeof(footer), blob->size_bytes, ret_table, &needed, err) < 0)
		return err_wrap(err, "'%s'", blob->name);

	/* Bounded by SEEK_TABLE_MAX_FRAMES and by the file. */
	tail = xmalloc(needed);
	if (blob_read_at(blob, blob->size_bytes - needed, tail, needed, err) < 0)
		return -1;
	if (seek_table_parse(tail, needed, blob->size_bytes, ret_table, &needed, err) < 0)
		return err_wrap(err, "'%s'", blob->name);

	return 0;
}

void
seek_table_done(struct seek_table *table)
{
	vec_done(&table->frames);
	*table = (struct seek_table){ .stored_bytes = 0 };
}
