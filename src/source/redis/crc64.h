/*
 * CRC-64/Jones, the checksum of RDB files: polynomial 0xad93d23594c935a9, reflected, begun with 0,
 * nothing added at the end.  The check value of "123456789" is e9c6d914c4b8d9ca.
 *
 * Where the CPU multiplies without carries, 64 bytes are folded at a time; else eight go through
 * eight tables.  Tables and factors are made at the start (16 KiB).
 */
#ifndef SOURCE_REDIS_CRC64_H
#define SOURCE_REDIS_CRC64_H

#include <stddef.h>
#include <stdint.h>

struct crc64 {
	uint64_t tables[8][256];
	/* x^n mod P for moving 16 bytes by 64 and by 16 bytes: of their first and second half. */
	uint64_t fold_64[2];
	uint64_t fold_16[2];
	uint64_t value;
};

void crc64_init(struct crc64 *crc);
void crc64_add(struct crc64 *crc, const void *data, size_t size);

/* By tables, on any CPU: for comparing the two. */
void crc64_add_portable(struct crc64 *crc, const void *data, size_t size);

#endif
