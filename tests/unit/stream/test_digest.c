#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/scope.h"
#include "fixture.h"
#include "stream/crc32c.h"
#include "stream/digest.h"
#include "stream/links.h"

/* Push `size` bytes in pieces of random size. */
static void
push(struct sink *sink, const uint8_t *data, size_t size, uint64_t seed)
{
	struct err err = ERR_INIT;
	uint64_t random = seed * 2 + 1;
	size_t at = 0;

	while (at < size) {
		size_t piece = (size_t)(fixture_random(&random) % 3000000);

		if (piece > size - at)
			piece = size - at;
		assert_int_equal(sink_write(sink, data + at, piece, &err), 0);
		at += piece;
	}
	assert_int_equal(sink_finish(sink, &err), 0);
}

static void
test_known_sums(void **state)
{
	struct err err = ERR_INIT;
	struct digest digest = DIGEST_INIT;
	struct sink *sink = digest_sink_new(NULL, &digest, &err);
	char hex[DIGEST_SHA256_HEX_SIZE];

	(void)state;
	push(sink, (const uint8_t *)"abc", 3, 1);
	sink_free(sink);
	digest_sha256_hex(&digest, hex);
	assert_string_equal(hex,
	    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_int_equal(digest.bytes, 3);
	assert_int_equal(digest.block_crc32c.count, 1);
	assert_int_equal(digest.block_crc32c.items[0], crc32c(0, "abc", 3));
	digest_done(&digest);
}

static void
test_empty(void **state)
{
	struct err err = ERR_INIT;
	struct digest digest = DIGEST_INIT;
	struct sink *sink = digest_sink_new(null_sink_new(), &digest, &err);
	char hex[DIGEST_SHA256_HEX_SIZE];

	(void)state;
	push(sink, (const uint8_t *)"", 0, 1);
	sink_free(sink);
	digest_sha256_hex(&digest, hex);
	assert_string_equal(hex,
	    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	assert_int_equal(digest.block_crc32c.count, 0);
	digest_done(&digest);
}

/* Each block of 4 MiB has its own sum, at every size around the border. */
static void
test_blocks(void **state)
{
	static const size_t sizes[] = { DIGEST_BLOCK_BYTES - 1, DIGEST_BLOCK_BYTES,
		DIGEST_BLOCK_BYTES + 1, 2 * DIGEST_BLOCK_BYTES, 2 * DIGEST_BLOCK_BYTES + 12345 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		SCOPED(freep) uint8_t *data = fixture_noise(sizes[i], i);
		struct digest digest = DIGEST_INIT;
		struct err err = ERR_INIT;
		struct sink *sink = digest_sink_new(NULL, &digest, &err);
		size_t blocks = (sizes[i] + DIGEST_BLOCK_BYTES - 1) / DIGEST_BLOCK_BYTES;
		uint8_t sha256[DIGEST_SHA256_BYTES];

		push(sink, data, sizes[i], i);
		sink_free(sink);
		assert_int_equal(EVP_Digest(data, sizes[i], sha256, NULL, EVP_sha256(), NULL), 1);
		assert_memory_equal(digest.sha256, sha256, sizeof(sha256));
		assert_int_equal(digest.bytes, sizes[i]);
		assert_int_equal(digest.block_crc32c.count, blocks);
		for (size_t b = 0; b < blocks; b++) {
			size_t begin = b * DIGEST_BLOCK_BYTES;
			size_t left = sizes[i] - begin;

			assert_int_equal(digest.block_crc32c.items[b],
			    crc32c(0, data + begin,
				left < DIGEST_BLOCK_BYTES ? left : DIGEST_BLOCK_BYTES));
		}
		digest_done(&digest);
	}
}

/* A digest that was not finished says nothing. */
static void
test_unfinished(void **state)
{
	struct err err = ERR_INIT;
	struct digest digest = DIGEST_INIT;
	struct sink *sink = digest_sink_new(NULL, &digest, &err);

	(void)state;
	assert_int_equal(sink_write(sink, "abc", 3, &err), 0);
	sink_free(sink);
	assert_int_equal(digest.bytes, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_sums),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_unfinished),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
