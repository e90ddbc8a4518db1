/*
 * The page checksums of one relation file after the other, fed in pieces of any size.  Bad pages
 * are counted, and the first of them named.
 */
#ifndef SOURCE_POSTGRES_BASE_PAGE_SCAN_H
#define SOURCE_POSTGRES_BASE_PAGE_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "source/postgres/base/page.h"

enum { PAGE_SCAN_NAMED_MAX = 20, PAGE_SCAN_PATH_MAX = 300 };

struct bad_page {
	char path[PAGE_SCAN_PATH_MAX];
	uint32_t block;
};

struct page_scan {
	/* Pages changed between these positions may be torn; 0 and 0: judge all. */
	uint64_t start_lsn;
	uint64_t end_lsn;

	uint64_t pages;         /* judged */
	uint64_t pages_skipped; /* changed during the backup */
	uint64_t bad_count;
	struct bad_page bad[PAGE_SCAN_NAMED_MAX];
	bool is_known_damaged; /* set by the caller for a file: bad pages are counted apart */
	uint64_t known_bad_count;

	bool is_active; /* the file at hand has checksums */
	const char *path;
	uint32_t block;
	size_t partial_bytes;
	uint8_t partial[PAGE_BYTES];
};

/* `path` is a loan until page_scan_end.  True when the file has page checksums. */
bool page_scan_begin(struct page_scan *scan, const char *path);
void page_scan_data(struct page_scan *scan, const void *data, size_t size);

/* A piece of a page at the end of a file counts as bad. */
void page_scan_end(struct page_scan *scan);

#endif
