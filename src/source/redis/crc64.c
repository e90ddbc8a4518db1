#include "source/redis/crc64.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

/* 0xad93d23594c935a9 with its bits in the opposite order. */
#define POLYNOMIAL UINT64_C(0x95ac9329ac4bc9b5)

enum {
	FOLD_BYTES = 64,
	LANE_BYTES = 16,
	LANE_BITS = 128,
	FOLD_BITS = 512,
	HALF_BITS = 64,
};

/* Times x.  Reflected: the coefficient of x^63 is the lowest bit. */
static uint64_t
times_x(uint64_t value)
{
	return (value >> 1) ^ ((value & 1) != 0 ? POLYNOMIAL : 0);
}

static uint64_t
power_of_x(unsigned exponent)
{
	uint64_t value = UINT64_C(1) << 63;

	while (exponent-- > 0)
		value = times_x(value);

	return value;
}

void
crc64_init(struct crc64 *crc)
{
	crc->value = 0;
	for (unsigned i = 0; i < 256; i++) {
		uint64_t value = i;

		for (unsigned bit = 0; bit < 8; bit++)
			value = times_x(value);
		crc->tables[0][i] = value;
	}
	/* tables[n][i]: what byte i leaves behind after n more zero bytes. */
	for (unsigned n = 1; n < 8; n++) {
		for (unsigned i = 0; i < 256; i++) {
			uint64_t before = crc->tables[n - 1][i];

			crc->tables[n][i] = (before >> 8) ^ crc->tables[0][before & 0xff];
		}
	}
	/* The product of two reflected values is one x too large: hence the 1. */
	crc->fold_64[0] = power_of_x(FOLD_BITS + HALF_BITS - 1);
	crc->fold_64[1] = power_of_x(FOLD_BITS - 1);
	crc->fold_16[0] = power_of_x(LANE_BITS + HALF_BITS - 1);
	crc->fold_16[1] = power_of_x(LANE_BITS - 1);
}

static uint64_t
add_word(const struct crc64 *crc, uint64_t value)
{
	return crc->tables[7][value & 0xff] ^ crc->tables[6][(value >> 8) & 0xff] ^
	    crc->tables[5][(value >> 16) & 0xff] ^ crc->tables[4][(value >> 24) & 0xff] ^
	    crc->tables[3][(value >> 32) & 0xff] ^ crc->tables[2][(value >> 40) & 0xff] ^
	    crc->tables[1][(value >> 48) & 0xff] ^ crc->tables[0][value >> 56];
}

void
crc64_add_portable(struct crc64 *crc, const void *data, size_t size)
{
	const uint8_t *at = data;
	uint64_t value = crc->value;
	uint64_t word;

	while (size >= sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		value = add_word(crc, value ^ le64toh(word));
		at += sizeof(word);
		size -= sizeof(word);
	}
	while (size-- > 0)
		value = (value >> 8) ^ crc->tables[0][(value ^ *at++) & 0xff];
	crc->value = value;
}

#ifdef __x86_64__

#include <emmintrin.h>
#include <wmmintrin.h>

__attribute__((target("pclmul"))) static inline __m128i
load(const uint8_t *at)
{
	return _mm_loadu_si128((const __m128i *)(const void *)at);
}

/* A lane moved on by as many bits as the factors stand for, joined with what lies there. */
__attribute__((target("pclmul"))) static inline __m128i
fold(__m128i lane, __m128i factors, __m128i there)
{
	return _mm_xor_si128(there,
	    _mm_xor_si128(_mm_clmulepi64_si128(lane, factors, 0x00),
		_mm_clmulepi64_si128(lane, factors, 0x11)));
}

/*
 * Four lanes of 16 bytes run side by side, each folded into the one 64 bytes further on, for the
 * sum stays the same when a part is replaced by what is congruent to it.  At the end the lanes are
 * folded into one, and that goes through the tables as if it were 16 bytes of the message.
 */
__attribute__((target("pclmul"))) static void
add_folding(struct crc64 *crc, const uint8_t *at, size_t size)
{
	const __m128i by_64 = load((const uint8_t *)crc->fold_64);
	const __m128i by_16 = load((const uint8_t *)crc->fold_16);
	__m128i lanes[4] = { load(at), load(at + 16), load(at + 32), load(at + 48) };
	uint8_t rest[LANE_BYTES];

	lanes[0] = _mm_xor_si128(lanes[0], _mm_cvtsi64_si128((long long)crc->value));
	for (at += FOLD_BYTES, size -= FOLD_BYTES; size >= FOLD_BYTES;
	     at += FOLD_BYTES, size -= FOLD_BYTES) {
		for (unsigned i = 0; i < 4; i++)
			lanes[i] = fold(lanes[i], by_64, load(at + (size_t)i * LANE_BYTES));
	}
	for (unsigned i = 1; i < 4; i++)
		lanes[i] = fold(lanes[i - 1], by_16, lanes[i]);
	_mm_storeu_si128((__m128i *)(void *)rest, lanes[3]);
	crc->value = 0;
	crc64_add_portable(crc, rest, sizeof(rest));
	crc64_add_portable(crc, at, size);
}

static bool
can_fold(void)
{
	return __builtin_cpu_supports("pclmul");
}

#else

static void
add_folding(struct crc64 *crc, const uint8_t *at, size_t size)
{
	crc64_add_portable(crc, at, size);
}

static bool
can_fold(void)
{
	return false;
}

#endif

void
crc64_add(struct crc64 *crc, const void *data, size_t size)
{
	if (size >= FOLD_BYTES && can_fold())
		add_folding(crc, data, size);
	else
		crc64_add_portable(crc, data, size);
}
