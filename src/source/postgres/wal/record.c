#include <string.h>

#include "source/postgres/lsn.h"
#include "source/postgres/wal/reader_internal.h"
#include "stream/crc32c.h"

/*
 * Records lie end to end at multiples of eight bytes, cut by the headers of pages.  u32 size,
 * u32 xid, u64 where the previous one began, u8 info, u8 manager, 2 bytes of padding, u32 CRC32C
 * of the bytes from 24 on and then of the first 20 (access/xlogrecord.h).
 */
enum {
	AT_PREVIOUS = 8,
	AT_INFO = 16,
	AT_MANAGER = 17,
	AT_CRC = 20,
	SIZE_BYTES = 4,
	RECORD_MAX_BYTES = 1024 * 1024 * 1024,

	MANAGER_XLOG = 0,
	INFO_MASK = 0xF0,
	INFO_SWITCH = 0x40, /* XLOG_SWITCH */
	INFO_OVERWRITE =
	    0xD0, /* XLOG_OVERWRITE_CONTRECORD: u64 where the lost one began, i64 time */
};

static uint64_t
align(uint64_t value)
{
	return (value + WAL_ALIGN_BYTES - 1) & ~(uint64_t)(WAL_ALIGN_BYTES - 1);
}

static bool
is_xlog(const uint8_t *header, unsigned info)
{
	return header[AT_MANAGER] == MANAGER_XLOG && (header[AT_INFO] & INFO_MASK) == info;
}

/* ---- a record that is complete ----------------------------------------------------------- */

/*
 * A server that crashed with half a record written, and lost the rest, goes on with a page that
 * says so and a record that names the lost one.
 */
static int
check_overwrite(struct wal_reader *reader, uint64_t lsn, const uint8_t *prefix, size_t prefix_bytes,
    struct err *err)
{
	bool is_overwrite = is_xlog(prefix, INFO_OVERWRITE);
	const uint8_t *data;

	if (reader->is_overwrite_due != is_overwrite)
		return wal_fail(reader, lsn, err,
		    is_overwrite ? "the record replaces another, but the page does not say so"
				 : "the page replaces a record, but its first one does not say so");
	if (!is_overwrite)
		return 0;
	data = wal_facts_main(prefix, prefix_bytes, 8);
	if (data == NULL || (reader->overwritten != 0 && wal_u64(data) != reader->overwritten))
		return wal_fail(reader, lsn, err, "the record replaces another one than is lost");
	reader->is_overwrite_due = false;

	return 0;
}

static int
fail_link(const struct wal_reader *reader, uint64_t lsn, uint64_t previous, struct err *err)
{
	bool is_known = reader->previous != 0;
	char text[LSN_TEXT_SIZE], known[LSN_TEXT_SIZE];

	return wal_fail(reader, lsn, err, "the record says that the one before began at %s%s%s",
	    lsn_format(previous, text), is_known ? ", not at " : "",
	    is_known ? lsn_format(reader->previous, known) : "");
}

static void
end_segment(struct wal_reader *reader)
{
	uint64_t segment_bytes = reader->options.segment_bytes;
	uint64_t *end = &reader->summary.end_lsn;

	reader->place = WAL_SWITCHED;
	*end = (*end + segment_bytes - 1) & ~(segment_bytes - 1);
}

/*
 * Its checksum is `crc`, `end` the aligned position behind it.  Millions of small records pass
 * here: what is rare stands in functions of its own.
 */
__attribute__((always_inline)) static inline int
complete(struct wal_reader *reader, uint64_t lsn, uint64_t end, const uint8_t *prefix,
    size_t prefix_bytes, uint32_t crc, struct err *err)
{
	struct wal_summary *summary = &reader->summary;
	uint64_t previous = wal_u64(prefix + AT_PREVIOUS);
	bool is_of_xlog = prefix[AT_MANAGER] == MANAGER_XLOG;

	if (crc != wal_u32(prefix + AT_CRC))
		return wal_fail(reader, lsn, err, "the record's checksum is wrong");
	if (reader->previous != 0 ? previous != reader->previous : previous >= lsn)
		return fail_link(reader, lsn, previous, err);
	if ((is_of_xlog || reader->is_overwrite_due) &&
	    check_overwrite(reader, lsn, prefix, prefix_bytes, err) < 0)
		return -1;
	reader->previous = lsn;
	reader->place = WAL_BETWEEN;
	if (summary->records == 0)
		summary->first_lsn = lsn;
	summary->records++;
	summary->last_lsn = lsn;
	summary->end_lsn = end;
	summary->open_lsn = 0;
	if (wal_facts_has(prefix[AT_MANAGER]))
		wal_facts_add(summary, lsn, prefix, prefix_bytes);
	if (is_xlog(prefix, INFO_SWITCH))
		end_segment(reader);

	return 0;
}

/* ---- where pages begin -------------------------------------------------------------------- */

/* The first page from which records are read: at what is it cut in? */
static int
enter(struct wal_reader *reader, const struct wal_page *page, uint64_t lsn, struct err *err)
{
	if (lsn + wal_page_header_bytes(reader, lsn) < reader->options.start_lsn)
		return 0;
	reader->place = WAL_BETWEEN;
	reader->is_overwrite_due = (page->info & WAL_PAGE_OVERWRITES) != 0;
	if ((page->info & WAL_PAGE_CONTINUES) == 0)
		return 0;
	if (page->rest_bytes == 0 || page->rest_bytes > RECORD_MAX_BYTES)
		return wal_fail(reader, lsn, err, "the page continues a record with %u bytes",
		    page->rest_bytes);
	reader->place = WAL_IN_REST;
	reader->rest_bytes = page->rest_bytes;

	return 0;
}

/* `rest` bytes of a record are to come. */
static int
resume(struct wal_reader *reader, const struct wal_page *page, uint64_t lsn, uint32_t rest,
    struct err *err)
{
	if ((page->info & WAL_PAGE_OVERWRITES) != 0) {
		reader->is_overwrite_due = true;
		reader->overwritten = reader->place == WAL_IN_RECORD ? reader->start : 0;
		reader->place = WAL_BETWEEN;
		reader->summary.open_lsn = 0;
		return 0;
	}
	if ((page->info & WAL_PAGE_CONTINUES) == 0)
		return wal_fail(reader, lsn, err,
		    "the page does not continue the record before it");
	if (page->rest_bytes != rest)
		return wal_fail(reader, lsn, err,
		    "the page continues a record with %u bytes, %u are missing of the one before it",
		    page->rest_bytes, rest);

	return 0;
}

static int
follow(struct wal_reader *reader, const struct wal_page *page, uint64_t lsn, struct err *err)
{
	if (reader->is_overwrite_due)
		return wal_fail(reader, lsn, err, "no record follows where one was to be replaced");
	if ((page->info & WAL_PAGE_CONTINUES) != 0)
		return wal_fail(reader, lsn, err, "the page continues a record that is not there");
	if ((page->info & WAL_PAGE_OVERWRITES) != 0) {
		reader->is_overwrite_due = true;
		reader->overwritten = 0;
	}

	return 0;
}

int
wal_record_page(struct wal_reader *reader, const struct wal_page *page, uint64_t lsn,
    struct err *err)
{
	bool is_first = wal_page_header_bytes(reader, lsn) == WAL_LONG_HEADER_BYTES;
	bool continues = (page->info & WAL_PAGE_CONTINUES) != 0;

	if (continues ? (page->info & WAL_PAGE_OVERWRITES) != 0 : page->rest_bytes != 0)
		return wal_fail(reader, lsn, err, "the page's header contradicts itself");
	if (reader->place == WAL_SWITCHED && is_first)
		reader->place = WAL_BETWEEN;
	switch (reader->place) {
	case WAL_BEFORE:
		return enter(reader, page, lsn, err);
	case WAL_IN_RECORD:
		return resume(reader, page, lsn, reader->total_bytes - reader->got_bytes, err);
	case WAL_IN_REST:
		return resume(reader, page, lsn, reader->rest_bytes, err);
	case WAL_BETWEEN:
		return follow(reader, page, lsn, err);
	case WAL_SWITCHED:
	case WAL_ENDED:
		break;
	}

	return wal_fail(reader, lsn, err, "a page follows the end of its WAL");
}

int
wal_record_no_page(struct wal_reader *reader, uint64_t lsn, struct err *err)
{
	if (reader->place == WAL_SWITCHED || reader->place == WAL_ENDED)
		return 0;
	if (!reader->options.is_unfinished)
		return wal_fail(reader, lsn, err,
		    "zeros follow, and no record says that its WAL ends here");
	reader->place = WAL_ENDED;

	return 0;
}

/* ---- bytes of records --------------------------------------------------------------------- */

/* Records that lie in one piece: the common case, checked where they are. */
static int
take_whole(struct wal_reader *reader, const uint8_t *data, size_t size, size_t *ret_used,
    struct err *err)
{
	size_t used = 0;

	while (reader->place == WAL_BETWEEN && size - used >= WAL_RECORD_HEADER_BYTES) {
		const uint8_t *record = data + used;
		uint64_t lsn = reader->at + used;
		uint32_t total = wal_u32(record);
		uint32_t crc;
		size_t step;

		if (total < WAL_RECORD_HEADER_BYTES || total > size - used)
			break;
		step = (size_t)align(total);
		crc = crc32c_two(record + WAL_RECORD_HEADER_BYTES, total - WAL_RECORD_HEADER_BYTES,
		    record, AT_CRC);
		if (complete(reader, lsn, lsn + step, record,
			total < WAL_RECORD_PREFIX_BYTES ? total : WAL_RECORD_PREFIX_BYTES, crc,
			err) < 0)
			return -1;
		used += step < size - used ? step : size - used;
	}
	*ret_used = used;

	return 0;
}

/* Between two records: padding, then the next one begins, or several lie there whole. */
static int
take_between(struct wal_reader *reader, const uint8_t *data, size_t size, size_t *ret_used,
    struct err *err)
{
	size_t padding = (size_t)(align(reader->at) - reader->at);

	if (padding > 0) {
		*ret_used = padding < size ? padding : size;
		return 0;
	}
	if (take_whole(reader, data, size, ret_used, err) < 0)
		return -1;
	if (*ret_used > 0)
		return 0;
	reader->place = WAL_IN_RECORD;
	reader->start = reader->at;
	reader->total_bytes = 0;
	reader->got_bytes = 0;
	reader->crc = 0;
	reader->summary.open_lsn = reader->at;

	return 0;
}

/* The first four bytes are there: how long is it, and is it one at all? */
static int
begin_record(struct wal_reader *reader, struct err *err)
{
	uint32_t total = wal_u32(reader->prefix);

	if (total == 0) {
		if (!reader->options.is_unfinished)
			return wal_fail(reader, reader->start, err,
			    "zeros follow, and no record says that its WAL ends here");
		reader->place = WAL_ENDED;
		reader->summary.open_lsn = 0;
		return 0;
	}
	if (total < WAL_RECORD_HEADER_BYTES || total > RECORD_MAX_BYTES)
		return wal_fail(reader, reader->start, err, "a record of %u bytes is not possible",
		    total);
	reader->total_bytes = total;

	return 0;
}

/* Keep the first bytes, sum up those that follow the header. */
static void
add_to_record(struct wal_reader *reader, const uint8_t *data, size_t size)
{
	size_t got = reader->got_bytes;
	size_t header = got < WAL_RECORD_HEADER_BYTES ? WAL_RECORD_HEADER_BYTES - got : 0;

	if (got < sizeof(reader->prefix))
		memcpy(reader->prefix + got, data,
		    size < sizeof(reader->prefix) - got ? size : sizeof(reader->prefix) - got);
	if (size > header)
		reader->crc = crc32c(reader->crc, data + header, size - header);
	reader->got_bytes += (uint32_t)size;
}

static int
take_in_record(struct wal_reader *reader, const uint8_t *data, size_t size, size_t *ret_used,
    struct err *err)
{
	bool is_size_known = reader->got_bytes >= SIZE_BYTES;
	size_t missing = (is_size_known ? reader->total_bytes : SIZE_BYTES) - reader->got_bytes;
	size_t take = size < missing ? size : missing;

	add_to_record(reader, data, take);
	*ret_used = take;
	if (take < missing)
		return 0;
	if (!is_size_known)
		return begin_record(reader, err);

	return complete(reader, reader->start, align(reader->at + take), reader->prefix,
	    reader->total_bytes < sizeof(reader->prefix) ? reader->total_bytes
							 : sizeof(reader->prefix),
	    crc32c(reader->crc, reader->prefix, AT_CRC), err);
}

static void
take_rest(struct wal_reader *reader, size_t size, size_t *ret_used)
{
	size_t take = size < reader->rest_bytes ? size : reader->rest_bytes;

	reader->rest_bytes -= (uint32_t)take;
	if (reader->rest_bytes == 0)
		reader->place = WAL_BETWEEN;
	*ret_used = take;
}

static void
take_before(struct wal_reader *reader, size_t size, size_t *ret_used)
{
	uint64_t start = align(reader->options.start_lsn);

	*ret_used = start - reader->at < size ? (size_t)(start - reader->at) : size;
	/* A start that is also the start of a page is for `enter`. */
	if (reader->at + *ret_used == start && start % WAL_PAGE_BYTES != 0)
		reader->place = WAL_BETWEEN;
}

static int
take_some(struct wal_reader *reader, const uint8_t *data, size_t size, size_t *ret_used,
    struct err *err)
{
	switch (reader->place) {
	case WAL_BEFORE:
		take_before(reader, size, ret_used);
		return 0;
	case WAL_BETWEEN:
		return take_between(reader, data, size, ret_used, err);
	case WAL_IN_RECORD:
		return take_in_record(reader, data, size, ret_used, err);
	case WAL_IN_REST:
		take_rest(reader, size, ret_used);
		return 0;
	case WAL_SWITCHED:
	case WAL_ENDED:
		break;
	}
	*ret_used = size;

	return wal_page_empty(reader, data, size, err);
}

int
wal_record_feed(struct wal_reader *reader, const uint8_t *data, size_t size, struct err *err)
{
	while (size > 0) {
		size_t used = 0;

		if (take_some(reader, data, size, &used, err) < 0)
			return -1;
		reader->at += used;
		data += used;
		size -= used;
	}

	return 0;
}
