/*
 * Pages of PostgreSQL's relation files: their checksums, and which files have them.
 * Algorithm and layout: PostgreSQL, storage/checksum_impl.h and storage/bufpage.h.  A page has
 * 8192 bytes (other BLCKSZ are not checked): pd_lsn at 0 (two u32, high first), pd_checksum u16
 * at 8, pd_upper u16 at 14.
 */
#ifndef SOURCE_POSTGRES_BASE_PAGE_H
#define SOURCE_POSTGRES_BASE_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/scope.h"

enum { PAGE_BYTES = 8192, PAGES_PER_SEGMENT = 131072 };

/* The checksum that the page should carry as block `block` of its relation fork. */
uint16_t page_checksum(const uint8_t *page, uint32_t block);

enum page_state {
	PAGE_GOOD,
	PAGE_NEW,        /* all zero: never written */
	PAGE_NOT_JUDGED, /* changed during the backup: recovery replaces it */
	PAGE_BAD,
};

/*
 * Judge one page.  A page that changed during the backup, which its LSN between `start_lsn` and
 * `end_lsn` tells, may be torn and is not judged; 0 and 0: judge all.  A wrong checksum together
 * with an LSN from beyond the backup's end is damage.
 */
enum page_state page_check(const uint8_t *page, uint32_t block, uint64_t start_lsn,
    uint64_t end_lsn);

uint64_t page_lsn(const uint8_t *page);

/*
 * Is `path` ("base/5/16384", "global/1262_vm", "pg_tblspc/16401/PG_15_.../5/16402.3") a relation
 * file with checksums?  *ret_first_block is the number of its first page in the fork.
 */
bool page_file_has_checksums(const char *path, uint32_t *ret_first_block);

#endif
