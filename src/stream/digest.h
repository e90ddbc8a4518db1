/*
 * What stored bytes are known by: their number, the SHA-256 of all, and a CRC32C for each block
 * of 4 MiB, which tells *where* a damaged file is damaged.
 */
#ifndef STREAM_DIGEST_H
#define STREAM_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "base/vec.h"

enum {
	DIGEST_SHA256_BYTES = 32,
	DIGEST_SHA256_HEX_SIZE = 65,
};
#define DIGEST_BLOCK_BYTES (4u * 1024 * 1024)

struct digest {
	uint8_t sha256[DIGEST_SHA256_BYTES];
	uint64_t bytes;
	VEC(uint32_t) block_crc32c; /* the last block may be short */
};

#define DIGEST_INIT                                                                                \
	{                                                                                          \
		.bytes = 0                                                                         \
	}

void digest_done(struct digest *digest);
void digest_sha256_hex(const struct digest *digest, char *ret_text); /* DIGEST_SHA256_HEX_SIZE */

#endif
