/*
 * The inside of a wal_reader: pages in wal_page.c, records in wal_record.c, what records tell in
 * wal_facts.c.
 */
#ifndef SOURCE_POSTGRES_WAL_READER_INTERNAL_H
#define SOURCE_POSTGRES_WAL_READER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "source/postgres/wal/reader.h"

enum {
	WAL_SHORT_HEADER_BYTES = 24,
	WAL_LONG_HEADER_BYTES = 40,
	WAL_RECORD_HEADER_BYTES = 24,
	WAL_RECORD_PREFIX_BYTES = 128, /* of a record: enough for all that is told */
	WAL_ALIGN_BYTES = 8,
};

/*
 * A page begins with u16 magic, u16 info, u32 timeline, u64 address, u32 rest of the record that
 * goes on here, 4 bytes of padding; the first one of a segment has u64 system identifier,
 * u32 segment size, u32 page size after that (access/xlog_internal.h).
 */
struct wal_page {
	unsigned magic;
	unsigned info;
	uint32_t timeline;
	uint64_t address;
	uint32_t rest_bytes;
};

enum {
	WAL_PAGE_CONTINUES = 0x0001,  /* XLP_FIRST_IS_CONTRECORD */
	WAL_PAGE_LONG = 0x0002,       /* XLP_LONG_HEADER */
	WAL_PAGE_OVERWRITES = 0x0008, /* XLP_FIRST_IS_OVERWRITE_CONTRECORD, up to 18 */
	WAL_PAGE_FLAGS = 0x000F,
};

enum wal_place {
	WAL_BEFORE,    /* start_lsn is not reached, or no page was seen */
	WAL_BETWEEN,   /* two records, or padding */
	WAL_IN_RECORD, /* that began here */
	WAL_IN_REST,   /* of a record that began before the first segment */
	WAL_SWITCHED,  /* the rest of the segment is empty */
	WAL_ENDED,     /* the rest of all is empty */
};

struct wal_reader {
	struct wal_options options;
	struct wal_summary summary;
	uint64_t at;       /* of the next byte */
	uint32_t timeline; /* of the segment's name */
	bool is_known;     /* the magic is, so records can be read */
	bool is_empty;     /* zeros to the end of the segment */
	struct err failed; /* the first failure, for ever */
	uint8_t header[WAL_LONG_HEADER_BYTES];

	/* the record at hand */
	enum wal_place place;
	uint64_t start;
	uint32_t total_bytes; /* known from its fourth byte on */
	uint32_t got_bytes;
	uint32_t rest_bytes; /* to come, WAL_IN_REST */
	uint32_t crc;
	uint8_t prefix[WAL_RECORD_PREFIX_BYTES];
	uint64_t previous;     /* where the record before began, 0: not known */
	bool is_overwrite_due; /* the next record must say that it replaces one ... */
	uint64_t overwritten;  /* ... that began here, 0: any */
};

static inline unsigned
wal_u16(const uint8_t *data)
{
	return (unsigned)data[0] | (unsigned)data[1] << 8;
}

static inline uint32_t
wal_u32(const uint8_t *data)
{
	return (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 |
	    (uint32_t)data[3] << 24;
}

static inline uint64_t
wal_u64(const uint8_t *data)
{
	return (uint64_t)wal_u32(data + 4) << 32 | wal_u32(data);
}

/* ERR_DATA about the byte at `lsn`. */
int wal_fail(const struct wal_reader *reader, uint64_t lsn, struct err *err, const char *format,
    ...) MUST_CHECK PRINTF_LIKE(4, 5);

/* How many bytes the header of the page at `lsn` has. */
static inline size_t
wal_page_header_bytes(const struct wal_reader *reader, uint64_t lsn)
{
	return (lsn & (reader->options.segment_bytes - 1)) == 0 ? WAL_LONG_HEADER_BYTES
								: WAL_SHORT_HEADER_BYTES;
}

/* reader->header is complete, and of the page at `lsn`. */
int wal_page_begin(struct wal_reader *reader, uint64_t lsn, struct err *err) MUST_CHECK;

/* `size` bytes where nothing but zeros may be. */
int wal_page_empty(const struct wal_reader *reader, const uint8_t *data, size_t size,
    struct err *err) MUST_CHECK;

/* A page with this header begins. */
int wal_record_page(struct wal_reader *reader, const struct wal_page *page, uint64_t lsn,
    struct err *err) MUST_CHECK;

/* An empty page begins. */
int wal_record_no_page(struct wal_reader *reader, uint64_t lsn, struct err *err) MUST_CHECK;

/* The next bytes of a page's body. */
int wal_record_feed(struct wal_reader *reader, const uint8_t *data, size_t size, struct err *err)
    MUST_CHECK;

/* Can a record of this manager tell something: of the log itself, 0, of transactions, 1? */
static inline bool
wal_facts_has(uint8_t manager)
{
	return manager <= 1;
}

/* A whole record with these first bytes (all, or WAL_RECORD_PREFIX_BYTES): remember what it tells. */
void wal_facts_add(struct wal_summary *summary, uint64_t lsn, const uint8_t *prefix,
    size_t prefix_bytes);

/* Where the main data of a record with these first bytes begins, NULL when it is not there. */
const uint8_t *wal_facts_main(const uint8_t *prefix, size_t prefix_bytes, size_t need_bytes);

#endif
