#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "fixture.h"
#include "stream/digest.h"
#include "stream/expand.h"
#include "stream/links.h"
#include "stream/seek_table.h"

/* Stored bytes made by our own link, and where each frame of them lies. */
struct stored {
	uint8_t *plain;
	size_t plain_size;
	uint8_t *data;
	size_t size;
	struct seek_table table;
};

static void
stored_init(struct stored *stored, size_t plain_size)
{
	const struct zstd_options options = { .level = 1, .workers = 2 };
	struct probe *probe = probe_new();
	struct err err = ERR_INIT;
	struct sink *sink = zstd_sink_new(&probe->base, &options, &err);
	struct memory_blob blob;

	assert_non_null(sink);
	stored->plain = fixture_text(plain_size, plain_size);
	stored->plain_size = plain_size;
	assert_int_equal(sink_write(sink, stored->plain, plain_size, &err), 0);
	assert_int_equal(sink_finish(sink, &err), 0);
	stored->data = TAKE(probe->data);
	stored->size = probe->size;
	sink_free(sink);
	memory_blob_init(&blob, stored->data, stored->size);
	assert_int_equal(seek_table_read(&blob.base, &stored->table, &err), 0);
}

static void
stored_done(struct stored *stored)
{
	free(stored->plain);
	free(stored->data);
	seek_table_done(&stored->table);
}

static void
check_digest(const struct digest *digest, const uint8_t *data, size_t size)
{
	uint8_t sha256[DIGEST_SHA256_BYTES];

	assert_int_equal(EVP_Digest(data, size, sha256, NULL, EVP_sha256(), NULL), 1);
	assert_int_equal(digest->bytes, size);
	assert_memory_equal(digest->sha256, sha256, sizeof(sha256));
}

/* Expand `size` bytes, which must give `plain`. */
static void
check_expands(const uint8_t *data, size_t size, bool is_zstd, unsigned workers,
    const uint8_t *plain, size_t plain_size)
{
	struct digest digest = DIGEST_INIT;
	const struct expand_options options = { .is_zstd = is_zstd,
		.workers = workers,
		.ret_digest = &digest };
	struct probe *probe = probe_new();
	struct memory_blob blob;
	struct err err = ERR_INIT;

	memory_blob_init(&blob, data, size);
	if (expand(&blob.base, &options, &probe->base, &err) < 0)
		fail_msg("%s", err.msg);
	assert_false(probe->is_finished);
	assert_int_equal(probe->size, plain_size);
	if (plain_size > 0)
		assert_memory_equal(probe->data, plain, plain_size);
	check_digest(&digest, data, size);
	digest_done(&digest);
	sink_free(&probe->base);
}

static void
test_round_trips(void **state)
{
	static const size_t sizes[] = { 0, 1, 100000, ZSTD_FRAME_BYTES - 1, ZSTD_FRAME_BYTES,
		ZSTD_FRAME_BYTES + 1, 6 * ZSTD_FRAME_BYTES + 123 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct stored stored;

		stored_init(&stored, sizes[i]);
		for (unsigned workers = 0; workers <= 3; workers++) {
			check_expands(stored.data, stored.size, true, workers, stored.plain,
			    sizes[i]);
			check_expands(stored.data, stored.size, false, workers, stored.data,
			    stored.size);
		}
		stored_done(&stored);
	}
}

/* Without its table the file is read as a stream; so is one that zstd made in a single frame. */
static void
test_without_table(void **state)
{
	struct stored stored;
	size_t bound = ZSTD_compressBound(3 * ZSTD_FRAME_BYTES);
	SCOPED(freep) uint8_t *single = xmalloc(bound);
	size_t single_size;

	(void)state;
	stored_init(&stored, 3 * ZSTD_FRAME_BYTES);
	single_size = ZSTD_compress(single, bound, stored.plain, stored.plain_size, 3);
	for (unsigned workers = 0; workers <= 2; workers++) {
		check_expands(stored.data, (size_t)stored.table.stored_bytes, true, workers,
		    stored.plain, stored.plain_size);
		check_expands(single, single_size, true, workers, stored.plain, stored.plain_size);
	}
	stored_done(&stored);
}

/* Expand damaged bytes: ERR_DATA, the text in the message, and the digest of what is there. */
static void
check_damaged(const uint8_t *data, size_t size, const char *says)
{
	for (unsigned workers = 0; workers <= 2; workers++) {
		struct digest digest = DIGEST_INIT;
		const struct expand_options options = { .is_zstd = true,
			.workers = workers,
			.ret_digest = &digest };
		struct probe *probe = probe_new();
		struct memory_blob blob;
		struct err err = ERR_INIT;

		memory_blob_init(&blob, data, size);
		assert_int_equal(expand(&blob.base, &options, &probe->base, &err), -1);
		assert_int_equal(err.kind, ERR_DATA);
		if (strstr(err.msg, says) == NULL)
			fail_msg("'%s' does not say '%s'", err.msg, says);
		check_digest(&digest, data, size);
		digest_done(&digest);
		sink_free(&probe->base);
	}
}

/* One changed bit in any frame is found, and the error names that frame. */
static void
test_flipped_bits(void **state)
{
	struct stored stored;
	uint64_t random = 11;

	(void)state;
	stored_init(&stored, 5 * ZSTD_FRAME_BYTES + 4321);
	for (size_t i = 0; i < stored.table.frames.count; i++) {
		const struct seek_frame *frame = &stored.table.frames.items[i];
		size_t at = (size_t)(frame->stored_offset +
		    fixture_random(&random) % frame->stored_bytes);
		SCOPED(freep)
		char *says = xasprintf("offset %llu:", (unsigned long long)frame->stored_offset);

		stored.data[at] ^= 0x10;
		check_damaged(stored.data, stored.size, says);
		stored.data[at] ^= 0x10;
	}
	stored_done(&stored);
}

/* Of two damaged frames the first is told, whichever thread is faster. */
static void
test_first_damage_is_told(void **state)
{
	struct stored stored;

	(void)state;
	stored_init(&stored, 5 * ZSTD_FRAME_BYTES);
	for (size_t i = 1; i < 4; i++)
		stored.data[stored.table.frames.items[i].stored_offset + 1] ^= 1;
	for (int round = 0; round < 20; round++) {
		SCOPED(freep)
		char *says = xasprintf("offset %llu:",
		    (unsigned long long)stored.table.frames.items[1].stored_offset);

		check_damaged(stored.data, stored.size, says);
	}
	stored_done(&stored);
}

static void
test_cut_short(void **state)
{
	struct stored stored;
	const struct seek_frame *last;
	SCOPED(freep) char *says = NULL;

	(void)state;
	stored_init(&stored, 3 * ZSTD_FRAME_BYTES);
	last = &stored.table.frames.items[2];
	says = xasprintf("offset %llu", (unsigned long long)last->stored_offset);
	check_damaged(stored.data, (size_t)(last->stored_offset + last->stored_bytes - 1), says);
	check_damaged(stored.data, (size_t)(last->stored_offset + 3), says);
	check_damaged(stored.data, 0, "cut short");
	check_damaged((const uint8_t *)"this is no zstd file at all", 27, "offset 0:");
	stored_done(&stored);
}

/* Write another table behind the frames; `count` of them with the numbers of the real one. */
static uint8_t *
with_table(const struct stored *stored, const struct seek_table *table, size_t *ret_size)
{
	struct str text = STR_INIT;
	size_t frames_size = (size_t)stored->table.stored_bytes;
	uint8_t *data;

	seek_table_format(table, &text);
	data = xmalloc(frames_size + text.size);
	memcpy(data, stored->data, frames_size);
	memcpy(data + frames_size, text.data, text.size);
	*ret_size = frames_size + text.size;
	str_done(&text);

	return data;
}

/* A table that claims other plain sizes than the frames have, or absurd ones. */
static void
test_lying_table(void **state)
{
	static const uint32_t claims[] = { ZSTD_FRAME_BYTES - 1, ZSTD_FRAME_BYTES + 1, 0,
		64 * 1024 * 1024, 64 * 1024 * 1024 + 1, UINT32_MAX };
	struct stored stored;

	(void)state;
	stored_init(&stored, 2 * ZSTD_FRAME_BYTES);
	for (size_t i = 0; i < ARRAY_SIZE(claims); i++) {
		struct seek_table table = { .stored_bytes = 0 };
		SCOPED(freep) uint8_t *data = NULL;
		SCOPED(freep) char *says = NULL;
		size_t size;

		seek_table_add(&table, stored.table.frames.items[0].stored_bytes, ZSTD_FRAME_BYTES);
		seek_table_add(&table, stored.table.frames.items[1].stored_bytes, claims[i]);
		data = with_table(&stored, &table, &size);
		says = claims[i] > 64 * 1024 * 1024
		    ? xasprintf("claims a frame of %u bytes", claims[i])
		    : xasprintf("offset %llu: it has ",
			  (unsigned long long)stored.table.frames.items[1].stored_offset);
		check_damaged(data, size, says);
		seek_table_done(&table);
	}
	stored_done(&stored);
}

/* A table that cuts the frames at the wrong places. */
static void
test_shifted_table(void **state)
{
	struct seek_table table = { .stored_bytes = 0 };
	struct stored stored;
	SCOPED(freep) uint8_t *data = NULL;
	size_t size;

	(void)state;
	stored_init(&stored, 2 * ZSTD_FRAME_BYTES);
	seek_table_add(&table, stored.table.frames.items[0].stored_bytes + 1, ZSTD_FRAME_BYTES);
	seek_table_add(&table, stored.table.frames.items[1].stored_bytes - 1, ZSTD_FRAME_BYTES);
	data = with_table(&stored, &table, &size);
	check_damaged(data, size, "offset 0:");
	seek_table_done(&table);
	stored_done(&stored);
}

static void
test_failing_sink(void **state)
{
	struct stored stored;

	(void)state;
	stored_init(&stored, 6 * ZSTD_FRAME_BYTES);
	for (unsigned workers = 0; workers <= 2; workers++) {
		const struct expand_options options = { .is_zstd = true, .workers = workers };
		struct probe *probe = probe_new();
		struct memory_blob blob;
		struct err err = ERR_INIT;

		probe->fails_at = ZSTD_FRAME_BYTES + 10;
		memory_blob_init(&blob, stored.data, stored.size);
		assert_int_equal(expand(&blob.base, &options, &probe->base, &err), -1);
		assert_int_equal(err.kind, ERR_SPACE);
		assert_int_equal(probe->size, ZSTD_FRAME_BYTES);
		sink_free(&probe->base);
	}
	stored_done(&stored);
}

/* A blob that cannot be read: everything before arrives, and there is no digest. */
static void
test_failing_blob(void **state)
{
	struct stored stored;

	(void)state;
	stored_init(&stored, 6 * ZSTD_FRAME_BYTES);
	for (unsigned workers = 0; workers <= 2; workers++) {
		struct digest digest = DIGEST_INIT;
		const struct expand_options options = { .workers = workers, .ret_digest = &digest };
		struct probe *probe = probe_new();
		struct memory_blob blob;
		struct err err = ERR_INIT;

		memory_blob_init(&blob, stored.plain, stored.plain_size);
		blob.fails_at = 10 * 1024 * 1024 + 5;
		assert_int_equal(expand(&blob.base, &options, &probe->base, &err), -1);
		assert_int_equal(err.kind, ERR_IO);
		assert_int_equal(probe->size, 10 * 1024 * 1024);
		assert_int_equal(digest.bytes, 0);
		sink_free(&probe->base);
	}
	stored_done(&stored);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_without_table),
		cmocka_unit_test(test_flipped_bits),
		cmocka_unit_test(test_first_damage_is_told),
		cmocka_unit_test(test_cut_short),
		cmocka_unit_test(test_lying_table),
		cmocka_unit_test(test_shifted_table),
		cmocka_unit_test(test_failing_sink),
		cmocka_unit_test(test_failing_blob),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
