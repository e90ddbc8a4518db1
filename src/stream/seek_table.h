/*
 * The table at the end of a .zst file that says where each frame begins: zstd seekable format
 * 0.1.0 (facebook/zstd contrib/seekable_format/zstd_seekable_compression_format.md): a skippable
 * frame, u32le magic 0x184D2A5E, u32le size, then per frame u32le compressed size, u32le
 * decompressed size (and a u32le checksum when the descriptor says so), then the footer: u32le
 * number of frames, u8 descriptor, u32le magic 0x8F92EAB1.
 */
#ifndef STREAM_SEEK_TABLE_H
#define STREAM_SEEK_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"
#include "base/vec.h"

struct blob;
struct err;
struct str;

struct seek_frame {
	uint64_t stored_offset;
	uint64_t plain_offset;
	uint32_t stored_bytes;
	uint32_t plain_bytes;
};

struct seek_table {
	VEC(struct seek_frame) frames;
	uint64_t stored_bytes; /* of all frames, without the table */
	uint64_t plain_bytes;
};

enum {
	SEEK_TABLE_MAX_FRAMES = 4 * 1024 * 1024,
	SEEK_TABLE_FOOTER_BYTES = 9,
	SEEK_TABLE_HEADER_BYTES = 8,
};

void seek_table_add(struct seek_table *table, uint32_t stored_bytes, uint32_t plain_bytes);
void seek_table_format(const struct seek_table *table, struct str *to);

/*
 * Read the table from the last bytes of a file: `tail` holds its last `tail_size` bytes,
 * `file_bytes` is the size of the whole.  *ret_needed is set, and 0 frames returned, when the
 * tail is too short for the table.  ERR_DATA when there is no table or it contradicts the size.
 */
int seek_table_parse(const uint8_t *tail, size_t tail_size, uint64_t file_bytes,
    struct seek_table *ret_table, size_t *ret_needed, struct err *err) MUST_CHECK;

/* Read it from a blob; ERR_NOT_FOUND when there is none. */
int seek_table_read(struct blob *blob, struct seek_table *ret_table, struct err *err) MUST_CHECK;

void seek_table_done(struct seek_table *table);

#endif
