#include "source/postgres/wal/torn.h"

#include "base/err.h"
#include "base/mem.h"
#include "source/postgres/wal/reader_internal.h"
#include "stream/blob.h"

enum {
	BLOCK_BYTES = 4096, /* what a disk takes or leaves whole */
	RECORD_REACH_BYTES = 1024 * 1024,
	REST_SIZE_AT = 16, /* in a page's header: xlp_rem_len */
};

/* The record that was to follow what is good: where it begins, and ends if there is one. */
struct torn {
	uint64_t from;
	uint64_t end;   /* not before this; `from` when nothing says how long it is */
	uint64_t reach; /* not behind this, page headers included */
};

static int
read_size(struct blob *blob, uint64_t at, uint64_t *ret_bytes, struct err *err)
{
	uint8_t size[4] = { 0 };

	if (at + sizeof(size) <= blob->size_bytes &&
	    blob_read_at(blob, at, size, sizeof(size), err) < 0)
		return -1;
	*ret_bytes = wal_u32(size);
	if (*ret_bytes > RECORD_REACH_BYTES)
		*ret_bytes = 0;

	return 0;
}

/* At the begin of a segment the rest of a record may stand, which its first page tells the size of. */
static int
measure_record(struct blob *blob, uint64_t from, struct torn *ret_torn, struct err *err)
{
	uint64_t header = from % WAL_PAGE_BYTES == 0 ? WAL_SHORT_HEADER_BYTES : 0;
	uint64_t bytes = 0;

	if (from == 0) {
		header = WAL_LONG_HEADER_BYTES;
		if (read_size(blob, REST_SIZE_AT, &bytes, err) < 0)
			return -1;
	}
	if (bytes == 0 && read_size(blob, from + header, &bytes, err) < 0)
		return -1;
	*ret_torn = (struct torn){
		.from = from,
		.end = from + bytes,
		.reach = from + bytes + bytes / 256 + 2 * (uint64_t)WAL_PAGE_BYTES,
	};

	return 0;
}

/*
 * Does a block end in zeros within reach, with something behind it, or does nothing at all stand
 * behind a block that the record does not end in: the marks of a power failure, which takes what
 * was not yet synced block by block, and nothing before that.
 */
static int
find_hole(struct blob *blob, const struct torn *torn, bool *ret_has_hole, struct err *err)
{
	uint8_t block[BLOCK_BYTES];
	uint64_t at = torn->from - torn->from % BLOCK_BYTES;
	uint64_t behind = at; /* the last block that has something */
	bool is_open = false;

	*ret_has_hole = true;
	for (; at + BLOCK_BYTES <= blob->size_bytes; at += BLOCK_BYTES) {
		bool is_zero;

		if (blob_read_at(blob, at, block, sizeof(block), err) < 0)
			return -1;
		is_zero = mem_is_zero(block, sizeof(block));
		if (is_open && !is_zero)
			return 0;
		if (!is_zero)
			behind = at + BLOCK_BYTES;
		is_open |= at < torn->reach && wal_u64(block + BLOCK_BYTES - 8) == 0;
	}
	*ret_has_hole = behind < torn->end;

	return 0;
}

int
wal_torn_look(struct blob *blob, uint64_t from, bool *ret_is_torn, struct err *err)
{
	struct torn torn;

	return measure_record(blob, from, &torn, err) < 0
	    ? -1
	    : find_hole(blob, &torn, ret_is_torn, err);
}
