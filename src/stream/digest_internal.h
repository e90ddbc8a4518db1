/* A digest in the making, shared by the digest link and by expand. */
#ifndef STREAM_DIGEST_INTERNAL_H
#define STREAM_DIGEST_INTERNAL_H

#include <openssl/evp.h>

#include "stream/digest.h"

struct hasher {
	EVP_MD_CTX *ctx;
	struct digest digest; /* so far, without the block in work */
	uint32_t block_crc32c;
	size_t block_bytes;
};

void hasher_init(struct hasher *hasher);
void hasher_add(struct hasher *hasher, const void *data, size_t size);

/* Close it and move the result into *ret_digest, which is empty. */
void hasher_finish(struct hasher *hasher, struct digest *ret_digest);
void hasher_done(struct hasher *hasher);

#endif
