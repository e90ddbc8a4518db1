#include "source/postgres/base/page.h"

#include <ctype.h>
#include <string.h>

#include "base/err.h"
#include "base/parse.h"
#include "base/str.h"

enum {
	LANES = 32,
	ROW_BYTES = 4 * LANES,
	ROWS = PAGE_BYTES / ROW_BYTES,
	CHECKSUM_AT = 8,
	UPPER_AT = 14,
	SEGMENTS_MAX = 32768, /* 2^32 blocks */
};

#define PRIME 16777619u

static const uint32_t first_sums[LANES] = {
	0x5B1F36E9,
	0xB8525960,
	0x02AB50AA,
	0x1DE66D2A,
	0x79FF467A,
	0x9BB9F8A3,
	0x217E7CD2,
	0x83E13D2C,
	0xF8D4474F,
	0xE39EB970,
	0x42C6AE16,
	0x993216FA,
	0x7B093B5D,
	0x98DAFF3C,
	0xF718902A,
	0x0B1C9CDB,
	0xE58F764B,
	0x187636BC,
	0x5D7B3BB1,
	0xE73DE7DE,
	0x92BEC979,
	0xCCA6C0B2,
	0x304A0979,
	0x85AA43D4,
	0x783125BB,
	0x6CA8EAA2,
	0xE407EAC6,
	0x4B5CFC3E,
	0x9FBF8C76,
	0x15CA20BE,
	0xF2CA9FD3,
	0x959BD756,
};

/*
 * The page as 64 rows of 32 columns, each column an FNV-like hash of its own: four vectors of
 * eight columns, which the compiler turns into whatever the CPU has.  Inlined into functions for
 * different CPUs.
 */
typedef uint32_t lanes __attribute__((vector_size(32)));

enum { VECTORS = LANES / 8 };

static inline __attribute__((always_inline)) void
hash_row(lanes *sums, const uint8_t *row)
{
	lanes words[VECTORS];

	memcpy(words, row, sizeof(words));
	for (unsigned i = 0; i < VECTORS; i++) {
		lanes mixed = sums[i] ^ words[i];

		sums[i] = mixed * PRIME ^ mixed >> 17;
	}
}

static inline __attribute__((always_inline)) uint32_t
hash_page(const uint8_t *page, const uint8_t *first_row)
{
	static const uint8_t zeros[ROW_BYTES];
	uint32_t columns[LANES];
	uint32_t folded = 0;
	lanes sums[VECTORS];

	memcpy(sums, first_sums, sizeof(sums));
	hash_row(sums, first_row);
	for (unsigned row = 1; row < ROWS; row++)
		hash_row(sums, page + row * ROW_BYTES);
	/* Two more rounds mix the last row in. */
	hash_row(sums, zeros);
	hash_row(sums, zeros);
	memcpy(columns, sums, sizeof(columns));
	for (unsigned i = 0; i < LANES; i++)
		folded ^= columns[i];

	return folded;
}

static uint32_t
hash_page_plain(const uint8_t *page, const uint8_t *first_row)
{
	return hash_page(page, first_row);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static uint32_t
hash_page_avx2(const uint8_t *page, const uint8_t *first_row)
{
	return hash_page(page, first_row);
}
#endif

static uint32_t
hash_page_best(const uint8_t *page, const uint8_t *first_row)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2"))
		return hash_page_avx2(page, first_row);
#endif
	return hash_page_plain(page, first_row);
}

uint16_t
page_checksum(const uint8_t *page, uint32_t block)
{
	uint8_t first_row[ROW_BYTES];
	uint32_t hash;

	/* The checksum does not cover itself. */
	memcpy(first_row, page, sizeof(first_row));
	first_row[CHECKSUM_AT] = 0;
	first_row[CHECKSUM_AT + 1] = 0;
	hash = hash_page_best(page, first_row) ^ block;

	return (uint16_t)(hash % 65535 + 1);
}

static uint32_t
get_u32(const uint8_t *data)
{
	return (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 |
	    (uint32_t)data[3] << 24;
}

static unsigned
get_u16(const uint8_t *data)
{
	return (unsigned)data[0] | (unsigned)data[1] << 8;
}

uint64_t
page_lsn(const uint8_t *page)
{
	return (uint64_t)get_u32(page) << 32 | get_u32(page + 4);
}

static bool
is_all_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, PAGE_BYTES - 1) == 0;
}

enum page_state
page_check(const uint8_t *page, uint32_t block, uint64_t start_lsn, uint64_t end_lsn)
{
	uint64_t lsn;

	if (get_u16(page + UPPER_AT) == 0 && is_all_zero(page))
		return PAGE_NEW;
	if (page_checksum(page, block) == get_u16(page + CHECKSUM_AT))
		return PAGE_GOOD;
	lsn = page_lsn(page);

	return end_lsn != 0 && lsn >= start_lsn && lsn <= end_lsn ? PAGE_NOT_JUDGED : PAGE_BAD;
}

/* ---- names -------------------------------------------------------------------------------- */

static bool
skip_digits(const char **at)
{
	const char *start = *at;

	while (isdigit((unsigned char)**at))
		(*at)++;

	return *at > start && *at - start <= 10;
}

static bool
skip_text(const char **at, const char *text)
{
	if (!str_starts_with(*at, text))
		return false;
	*at += strlen(text);

	return true;
}

/* The folders in which relation files lie. */
static bool
skip_folder(const char **at)
{
	if (skip_text(at, "global/"))
		return true;
	if (skip_text(at, "base/"))
		return skip_digits(at) && skip_text(at, "/");
	if (!skip_text(at, "pg_tblspc/") || !skip_digits(at) || !skip_text(at, "/PG_"))
		return false;
	while (**at != '/' && **at != '\0')
		(*at)++;

	return skip_text(at, "/") && skip_digits(at) && skip_text(at, "/");
}

bool
page_file_has_checksums(const char *path, uint32_t *ret_first_block)
{
	const char *at = path;
	unsigned segment = 0;
	struct err ignored;

	if (!skip_folder(&at) || !skip_digits(&at))
		return false;
	if (!skip_text(&at, "_fsm") && !skip_text(&at, "_vm"))
		(void)skip_text(&at, "_init");
	if (skip_text(&at, ".") && parse_unsigned(at, 1, SEGMENTS_MAX - 1, &segment, &ignored) == 0)
		(void)skip_digits(&at);
	if (*at != '\0')
		return false;
	*ret_first_block = segment * PAGES_PER_SEGMENT;

	return true;
}
