/*
 * What an archive's folder holds of each timeline, as far as a receiver must know it to go on:
 * no list of files, so that a million of them cost no memory.
 */
#ifndef SOURCE_POSTGRES_WAL_STOCK_H
#define SOURCE_POSTGRES_WAL_STOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/scope.h"
#include "base/vec.h"

struct archive;
struct err;

struct wal_stock_line {
	uint32_t timeline;
	bool has_tail; /* NAME.partial */
	uint64_t last_tail;
	bool has_piece; /* NAME.zst, or NAME of full size */
	uint64_t last_piece;
};

struct wal_stock {
	VEC(struct wal_stock_line) lines; /* in no order */
};

int wal_stock_scan(struct archive *archive, uint64_t segment_bytes, struct wal_stock *ret_stock,
    struct err *err) MUST_CHECK;
void wal_stock_done(struct wal_stock *stock);

/* NULL: nothing of this timeline is there. */
const struct wal_stock_line *wal_stock_find(const struct wal_stock *stock, uint32_t timeline);

/* Is the segment there as a whole piece. */
bool wal_stock_has_piece(const struct archive *archive, uint32_t timeline, uint64_t segment,
    uint64_t segment_bytes);

/*
 * The segment to go on with: the newest tail, unless that and what follows came as whole pieces
 * by another way (archive_command); without a tail the one behind the last piece.
 */
uint64_t wal_stock_next(const struct archive *archive, const struct wal_stock_line *line,
    uint64_t segment_bytes);

#endif
