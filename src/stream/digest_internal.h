/* A digest in the making, shared by the digest link and by expand. */
#ifndef STREAM_DIGEST_INTERNAL_H
#define STREAM_DIGEST_INTERNAL_H

#include <openssl/evp.h>

#include "base/scope.h"
#include "stream/digest.h"

struct err;

struct hasher {
	EVP_MD_CTX *ctx;
	struct digest digest; /* so far, without the block in work */
	uint32_t block_crc32c;
	size_t block_bytes;
};

/* Fails only where libcrypto, which the first one loads (base/library.h), is missing. */
int hasher_init(struct hasher *hasher, struct err *err) MUST_CHECK;
void hasher_add(struct hasher *hasher, const void *data, size_t size);

/* Close it and move the result into *ret_digest, which is empty. */
void hasher_finish(struct hasher *hasher, struct digest *ret_digest);
void hasher_done(struct hasher *hasher);

#endif
