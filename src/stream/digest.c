#include "stream/digest.h"

#include <assert.h>
#include <stdbool.h>

#include "base/library.h"
#include "stream/crc32c.h"
#include "stream/digest_internal.h"

/* Both sums take a piece in turn, small enough to be still in the cache for the second. */
enum { PIECE_BYTES = 128 * 1024 };

/* clang-format off */
#define FUNCTIONS(F) \
	F(EVP_DigestFinal_ex) F(EVP_DigestInit_ex) F(EVP_DigestUpdate) \
	F(EVP_MD_CTX_free) F(EVP_MD_CTX_new) F(EVP_sha256)
/* clang-format on */
#define CALL(function) LIBRARY_CALL(struct libcrypto, function),

static struct libcrypto {
	FUNCTIONS(LIBRARY_MEMBER)
} libcrypto;

static const struct library_call calls[] = { FUNCTIONS(CALL) };
static struct library library = {
	.file = LIBCRYPTO_SONAME,
	.package = "libssl3",
	.calls = calls,
	.count = ARRAY_SIZE(calls),
	.functions = &libcrypto,
};

int
hasher_init(struct hasher *hasher, struct err *err)
{
	int is_done;

	*hasher = (struct hasher){ .ctx = NULL };
	if (library_load(&library, err) < 0)
		return -1;
	hasher->ctx = libcrypto.EVP_MD_CTX_new();
	assert(hasher->ctx != NULL);
	is_done = libcrypto.EVP_DigestInit_ex(hasher->ctx, libcrypto.EVP_sha256(), NULL);
	assert(is_done == 1);

	return 0;
}

static void
close_block(struct hasher *hasher)
{
	vec_push(&hasher->digest.block_crc32c, hasher->block_crc32c);
	hasher->block_crc32c = 0;
	hasher->block_bytes = 0;
}

void
hasher_add(struct hasher *hasher, const void *data, size_t size)
{
	const uint8_t *at = data;

	hasher->digest.bytes += size;
	while (size > 0) {
		size_t left = DIGEST_BLOCK_BYTES - hasher->block_bytes;
		size_t piece = size < PIECE_BYTES ? size : PIECE_BYTES;
		int is_done;

		if (piece > left)
			piece = left;
		is_done = libcrypto.EVP_DigestUpdate(hasher->ctx, at, piece);
		assert(is_done == 1);
		hasher->block_crc32c = crc32c(hasher->block_crc32c, at, piece);
		hasher->block_bytes += piece;
		if (hasher->block_bytes == DIGEST_BLOCK_BYTES)
			close_block(hasher);
		at += piece;
		size -= piece;
	}
}

void
hasher_finish(struct hasher *hasher, struct digest *ret_digest)
{
	int is_done;

	if (hasher->block_bytes > 0)
		close_block(hasher);
	is_done = libcrypto.EVP_DigestFinal_ex(hasher->ctx, hasher->digest.sha256, NULL);
	assert(is_done == 1);
	*ret_digest = hasher->digest;
	hasher->digest = (struct digest)DIGEST_INIT;
}

void
hasher_done(struct hasher *hasher)
{
	if (hasher->ctx != NULL)
		libcrypto.EVP_MD_CTX_free(hasher->ctx);
	hasher->ctx = NULL;
	digest_done(&hasher->digest);
}

void
digest_done(struct digest *digest)
{
	vec_done(&digest->block_crc32c);
	*digest = (struct digest)DIGEST_INIT;
}

void
digest_sha256_hex(const struct digest *digest, char *ret_text)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < DIGEST_SHA256_BYTES; i++) {
		ret_text[2 * i] = digits[digest->sha256[i] >> 4];
		ret_text[2 * i + 1] = digits[digest->sha256[i] & 15];
	}
	ret_text[DIGEST_SHA256_HEX_SIZE - 1] = '\0';
}
