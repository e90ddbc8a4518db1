/* What the tests of the stream room share: data, a blob in memory, a sink that fails on order. */
#ifndef TESTS_STREAM_FIXTURE_H
#define TESTS_STREAM_FIXTURE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stream/blob.h"
#include "stream/sink.h"

/* Bytes that are the same for the same seed; text-like (compressible) or like noise. */
uint8_t *fixture_text(size_t size, uint64_t seed);
uint8_t *fixture_noise(size_t size, uint64_t seed);
uint64_t fixture_random(uint64_t *state);

/* A blob of bytes in memory (a loan); reading at or beyond `fails_at` is ERR_IO. */
struct memory_blob {
	struct blob base;
	const uint8_t *data;
	uint64_t fails_at;
};
void memory_blob_init(struct memory_blob *blob, const uint8_t *data, size_t size);

/* Keeps what comes, and fails with ERR_SPACE at the byte `fails_at`, or in finish. */
struct probe {
	struct sink base;
	uint8_t *data;
	size_t size;
	size_t capacity;
	uint64_t fails_at;
	bool fails_in_finish;
	unsigned pause_ms; /* before each write */
	bool is_finished;
	atomic_bool *ret_is_freed; /* may be NULL */
};
struct probe *probe_new(void);

#endif
