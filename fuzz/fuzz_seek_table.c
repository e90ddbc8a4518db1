/* The seek table: what is accepted adds up to the file, and is written again the same way. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "stream/seek_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const uint8_t *tail, size_t size, const struct seek_table *table, uint64_t file_bytes)
{
	struct str text = STR_INIT_MAX(1 << 26);
	uint64_t stored_bytes = 0;

	for (size_t i = 0; i < table->frames.count; i++) {
		assert(table->frames.items[i].stored_offset == stored_bytes);
		stored_bytes += table->frames.items[i].stored_bytes;
	}
	assert(stored_bytes == table->stored_bytes && stored_bytes < file_bytes);
	seek_table_format(table, &text);
	/* A table with checksums, or with bits we do not use, is longer or differs there. */
	if (text.size <= size && tail[size - 5] == 0 && file_bytes - stored_bytes == text.size)
		assert(memcmp(text.data, tail + size - text.size, text.size) == 0);
	str_done(&text);
}

/* The first two bytes say how much of the file lies before the tail. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seek_table table;
	struct err err = ERR_INIT;
	uint64_t file_bytes;
	size_t needed = 0;

	if (size < 2)
		return 0;
	file_bytes = size - 2 + (uint64_t)data[0] * 256 + data[1];
	if (seek_table_parse(data + 2, size - 2, file_bytes, &table, &needed, &err) < 0)
		return 0;
	if (needed > 0)
		assert(table.frames.count == 0 && needed > size - 2 && needed <= file_bytes);
	else
		check(data + 2, size - 2, &table, file_bytes);
	seek_table_done(&table);

	return 0;
}
