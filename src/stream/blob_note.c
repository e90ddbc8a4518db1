#include "stream/blob_note.h"

#include <inttypes.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "stream/blob.h"
#include "stream/crc32c.h"
#include "stream/seek_table.h"

enum {
	NOTE_MAGIC = 0x184D2A50,
	HEADER_BYTES = 8, /* magic, size */
	CHECKSUM_BYTES = 4,
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
blob_note_format(const char *text, size_t size, struct str *to)
{
	add_u32(to, NOTE_MAGIC);
	add_u32(to, (uint32_t)(CHECKSUM_BYTES + size));
	add_u32(to, crc32c(0, text, size));
	str_add_bytes(to, text, size);
}

/* The frame that may be a note: the last one, if it expands to nothing. */
static int
find_frame(struct blob *blob, struct seek_frame *ret_frame, struct err *err)
{
	SCOPED(seek_table_done) struct seek_table table = { .stored_bytes = 0 };
	size_t count;

	if (seek_table_read(blob, &table, err) < 0)
		return -1;
	count = table.frames.count;
	if (count == 0 || table.frames.items[count - 1].plain_bytes != 0 ||
	    table.frames.items[count - 1].stored_bytes < HEADER_BYTES + CHECKSUM_BYTES)
		return err_set(err, ERR_NOT_FOUND, "'%s' has no note", blob->name);
	*ret_frame = table.frames.items[count - 1];

	return 0;
}

int
blob_note_read(struct blob *blob, size_t max_bytes, struct str *to, struct err *err)
{
	struct seek_frame frame = { .stored_bytes = 0 };
	SCOPED(freep) uint8_t *data = NULL;
	size_t size;

	if (find_frame(blob, &frame, err) < 0)
		return -1;
	size = frame.stored_bytes - HEADER_BYTES - CHECKSUM_BYTES;
	if (size > max_bytes)
		return err_set(err, ERR_LIMIT, "the note of '%s' has %zu bytes, more than %zu",
		    blob->name, size, max_bytes);
	data = xmalloc(frame.stored_bytes);
	if (blob_read_at(blob, frame.stored_offset, data, frame.stored_bytes, err) < 0)
		return -1;
	if (load_u32(data) != NOTE_MAGIC)
		return err_set(err, ERR_NOT_FOUND, "'%s' has no note", blob->name);
	if (load_u32(data + 4) != CHECKSUM_BYTES + size ||
	    load_u32(data + HEADER_BYTES) != crc32c(0, data + HEADER_BYTES + CHECKSUM_BYTES, size))
		return err_set(err, ERR_DATA, "the note at offset %" PRIu64 " of '%s' is damaged",
		    frame.stored_offset, blob->name);
	str_add_bytes(to, data + HEADER_BYTES + CHECKSUM_BYTES, size);
	if (str_is_full(to))
		return err_set(err, ERR_LIMIT, "the note of '%s' does not fit into %zu bytes",
		    blob->name, to->max);

	return 0;
}
