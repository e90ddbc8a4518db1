#include "source/postgres/base/page_scan.h"

#include <stdio.h>
#include <string.h>

static void
add_bad(struct page_scan *scan)
{
	if (scan->is_known_damaged) {
		scan->known_bad_count++;
		return;
	}
	if (scan->bad_count < PAGE_SCAN_NAMED_MAX) {
		struct bad_page *bad = &scan->bad[scan->bad_count];

		(void)snprintf(bad->path, sizeof(bad->path), "%s", scan->path);
		bad->block = scan->block;
	}
	scan->bad_count++;
}

static void
scan_page(struct page_scan *scan, const uint8_t *page)
{
	switch (page_check(page, scan->block, scan->start_lsn, scan->end_lsn)) {
	case PAGE_BAD:
		scan->pages++;
		add_bad(scan);
		break;
	case PAGE_NOT_JUDGED:
		scan->pages_skipped++;
		break;
	default:
		scan->pages++;
		break;
	}
	scan->block++;
}

bool
page_scan_begin(struct page_scan *scan, const char *path)
{
	scan->path = path;
	scan->partial_bytes = 0;
	scan->is_known_damaged = false;
	scan->is_active = page_file_has_checksums(path, &scan->block);

	return scan->is_active;
}

/* Whole pages are looked at where they lie; only what is cut by a piece's edge is copied. */
void
page_scan_data(struct page_scan *scan, const void *data, size_t size)
{
	const uint8_t *at = data;

	if (!scan->is_active)
		return;
	if (scan->partial_bytes > 0) {
		size_t take = PAGE_BYTES - scan->partial_bytes;

		if (take > size)
			take = size;
		memcpy(scan->partial + scan->partial_bytes, at, take);
		scan->partial_bytes += take;
		at += take;
		size -= take;
		if (scan->partial_bytes < PAGE_BYTES)
			return;
		scan_page(scan, scan->partial);
		scan->partial_bytes = 0;
	}
	for (; size >= PAGE_BYTES; size -= PAGE_BYTES, at += PAGE_BYTES)
		scan_page(scan, at);
	memcpy(scan->partial, at, size);
	scan->partial_bytes = size;
}

void
page_scan_end(struct page_scan *scan)
{
	if (scan->is_active && scan->partial_bytes > 0)
		add_bad(scan);
	scan->is_active = false;
}
