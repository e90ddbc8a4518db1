#include "base/mem.h"
#include "source/postgres/wal/reader_internal.h"

enum {
	AT_INFO = 2,
	AT_TIMELINE = 4,
	AT_ADDRESS = 8,
	AT_REST = 16,
	AT_SYSTEM_IDENTIFIER = 24,
	AT_SEGMENT_BYTES = 32,
	AT_PAGE_BYTES = 36,
};

/* XLOG_PAGE_MAGIC of the majors whose records are known here; it changes with every major. */
static const struct {
	int major;
	unsigned magic;
} magics[] = {
	{ 13, 0xD106 },
	{ 14, 0xD10D },
	{ 15, 0xD110 },
	{ 16, 0xD113 },
	{ 17, 0xD116 },
	{ 18, 0xD118 },
};

int
wal_page_empty(const struct wal_reader *reader, const uint8_t *data, size_t size, struct err *err)
{
	size_t zeros = 0;

	if (mem_is_zero(data, size))
		return 0;
	while (data[zeros] == 0)
		zeros++;

	return wal_fail(reader, reader->at + zeros, err,
	    "there is more after the zeros that end its WAL");
}

/* The first page of all decides which magic the others must have, and whether it is known. */
static int
check_magic(struct wal_reader *reader, const struct wal_page *page, uint64_t lsn, struct err *err)
{
	int major = 0;

	if (reader->summary.magic == page->magic)
		return 0;
	if (reader->summary.magic != 0)
		return wal_fail(reader, lsn, err, "the page has magic %04X, those before have %04X",
		    page->magic, reader->summary.magic);
	for (size_t i = 0; i < ARRAY_SIZE(magics); i++) {
		if (magics[i].magic == page->magic)
			major = magics[i].major;
		if (magics[i].major == reader->options.server_major &&
		    magics[i].magic != page->magic)
			return wal_fail(reader, lsn, err,
			    "its magic is %04X, that of PostgreSQL %d is %04X", page->magic,
			    magics[i].major, magics[i].magic);
	}
	reader->summary.magic = page->magic;
	reader->is_known = major != 0;
	if (major == 0 && reader->summary.depth > WAL_DEPTH_PAGES)
		reader->summary.depth = WAL_DEPTH_PAGES;

	return 0;
}

/* The part of the header that only the first page of a segment has. */
static int
check_long(struct wal_reader *reader, uint64_t lsn, struct err *err)
{
	const uint8_t *header = reader->header;
	uint64_t identifier = wal_u64(header + AT_SYSTEM_IDENTIFIER);

	if (reader->summary.system_identifier == 0)
		reader->summary.system_identifier = identifier;
	if (reader->summary.system_identifier != identifier)
		return wal_fail(reader, lsn + AT_SYSTEM_IDENTIFIER, err,
		    "it is of another system, %llu and not %llu", (unsigned long long)identifier,
		    (unsigned long long)reader->summary.system_identifier);
	if (wal_u32(header + AT_SEGMENT_BYTES) != reader->options.segment_bytes)
		return wal_fail(reader, lsn + AT_SEGMENT_BYTES, err,
		    "it says that segments have %u bytes, not %llu",
		    wal_u32(header + AT_SEGMENT_BYTES),
		    (unsigned long long)reader->options.segment_bytes);
	if (wal_u32(header + AT_PAGE_BYTES) != WAL_PAGE_BYTES)
		return wal_fail(reader, lsn + AT_PAGE_BYTES, err,
		    "it says that pages have %u bytes, not %d", wal_u32(header + AT_PAGE_BYTES),
		    WAL_PAGE_BYTES);

	return 0;
}

/*
 * A segment begins with pages of its parent's timeline when the timeline switches in it; going
 * back, or beyond the name, is not possible.
 */
static int
check_fields(struct wal_reader *reader, const struct wal_page *page, uint64_t lsn, struct err *err)
{
	bool is_first = wal_page_header_bytes(reader, lsn) == WAL_LONG_HEADER_BYTES;

	if (page->address != lsn)
		return wal_fail(reader, lsn, err, "the page is of another place in the log");
	if (((page->info & WAL_PAGE_LONG) != 0) != is_first ||
	    (reader->is_known && (page->info & ~(unsigned)WAL_PAGE_FLAGS) != 0))
		return wal_fail(reader, lsn, err, "the page's header has impossible flags %04X",
		    page->info);
	if (page->timeline == 0 || page->timeline < reader->summary.timeline ||
	    page->timeline > reader->timeline)
		return wal_fail(reader, lsn, err, "the page is of timeline %u", page->timeline);

	return is_first ? check_long(reader, lsn, err) : 0;
}

static int
begin_empty(struct wal_reader *reader, uint64_t lsn, struct err *err)
{
	if (reader->is_empty)
		return 0;
	if (wal_page_header_bytes(reader, lsn) == WAL_LONG_HEADER_BYTES &&
	    !reader->options.is_unfinished)
		return wal_fail(reader, lsn, err, "it begins with zeros");
	reader->is_empty = true;
	if (reader->summary.depth < WAL_DEPTH_RECORDS)
		return 0;

	return wal_record_no_page(reader, lsn, err);
}

int
wal_page_begin(struct wal_reader *reader, uint64_t lsn, struct err *err)
{
	size_t header_bytes = wal_page_header_bytes(reader, lsn);
	const uint8_t *header = reader->header;
	const struct wal_page page = {
		.magic = wal_u16(header),
		.info = wal_u16(header + AT_INFO),
		.timeline = wal_u32(header + AT_TIMELINE),
		.address = wal_u64(header + AT_ADDRESS),
		.rest_bytes = wal_u32(header + AT_REST),
	};

	if (header_bytes == WAL_LONG_HEADER_BYTES)
		reader->is_empty = false;
	else if (reader->summary.depth < WAL_DEPTH_PAGES)
		return 0;
	if (mem_is_zero(header, header_bytes))
		return begin_empty(reader, lsn, err);
	if (reader->is_empty)
		return wal_fail(reader, lsn, err, "a page follows the zeros that end its WAL");
	if (check_magic(reader, &page, lsn, err) < 0 || check_fields(reader, &page, lsn, err) < 0)
		return -1;
	reader->summary.timeline = page.timeline;
	reader->summary.page_lsn = lsn;
	if (reader->summary.depth < WAL_DEPTH_RECORDS)
		return 0;

	return wal_record_page(reader, &page, lsn, err);
}
