#include "stream/crc32c.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "base/scope.h"
#include "stream/crc32c_table_internal.h"

static uint32_t
add_bytes(uint32_t crc, const uint8_t *at, size_t size)
{
	for (size_t i = 0; i < size; i++)
		crc = crc >> 8 ^ crc32c_table[0][(crc ^ at[i]) & 255];

	return crc;
}

/* Slicing by eight: any CPU. */
static uint32_t
add_portable(uint32_t crc, const uint8_t *at, size_t size)
{
	for (; size >= 8; at += 8, size -= 8) {
		uint32_t low = crc ^
		    ((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
			(uint32_t)at[3] << 24);

		crc = crc32c_table[7][low & 255] ^ crc32c_table[6][low >> 8 & 255] ^
		    crc32c_table[5][low >> 16 & 255] ^ crc32c_table[4][low >> 24] ^
		    crc32c_table[3][at[4]] ^ crc32c_table[2][at[5]] ^ crc32c_table[1][at[6]] ^
		    crc32c_table[0][at[7]];
	}

	return add_bytes(crc, at, size);
}

#ifdef __x86_64__

#include <nmmintrin.h>
#include <wmmintrin.h>

static uint64_t
load_u64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));

	return value;
}

/*
 * The crc32 instruction takes three cycles but can begin anew in each, so three lanes of equal
 * length run side by side.  They are joined at the last eight bytes of the block: a lane's sum
 * times x^n mod P, n the bits that follow it, is added to those bytes.  The product of two
 * reflected 32-bit values and the instruction's own reduction account for 33 of the n bits.
 */
enum {
	LANE_MAX_BYTES = 1360,
	BLOCK_MAX_BYTES = 3 * LANE_MAX_BYTES + 8,
	BLOCK_MIN_BYTES = 3 * 32 + 8, /* joining costs more than it saves below */
	RECORD_HEAD_BYTES = 20,       /* of PostgreSQL's WAL */
};
static_assert(ARRAY_SIZE(crc32c_shift) == 2 * LANE_MAX_BYTES / 8 + 2, "a shift for every lane");

__attribute__((target("sse4.2,pclmul"))) static inline uint64_t
multiply(uint64_t a, uint32_t b)
{
	__m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)a),
	    _mm_cvtsi32_si128((int)b), 0);

	return (uint64_t)_mm_cvtsi128_si64(product);
}

/* Three lanes and eight bytes. */
__attribute__((target("sse4.2,pclmul"))) static inline uint32_t
add_block(uint32_t crc, const uint8_t *at, size_t lane_bytes)
{
	uint64_t lane0 = crc;
	uint64_t lane1 = 0;
	uint64_t lane2 = 0;
	uint64_t carried;

	for (const uint8_t *end = at + lane_bytes; at < end; at += 8) {
		lane0 = _mm_crc32_u64(lane0, load_u64(at));
		lane1 = _mm_crc32_u64(lane1, load_u64(at + lane_bytes));
		lane2 = _mm_crc32_u64(lane2, load_u64(at + 2 * lane_bytes));
	}
	carried = multiply(lane0, crc32c_shift[2 * lane_bytes / 8 + 1]) ^
	    multiply(lane1, crc32c_shift[lane_bytes / 8 + 1]);

	return (uint32_t)_mm_crc32_u64(lane2, load_u64(at + 2 * lane_bytes) ^ carried);
}

/*
 * Eight bytes at a time.  The last 1 to 8 take one step as well: they and the sum are moved to the
 * upper end of a word, whose lower bytes are zeros and change nothing in a sum of zero; what of
 * the sum does not meet a byte is added as it is.
 */
__attribute__((target("sse4.2,pclmul"))) static inline uint32_t
add_short(uint32_t crc, const uint8_t *at, size_t size)
{
	const uint8_t *end = at + size;
	uint64_t sum = crc;
	unsigned bits;

	if (size < 8) {
		for (; at < end; at++)
			crc = _mm_crc32_u8(crc, *at);
		return crc;
	}
	for (; at < end - 8; at += 8)
		sum = _mm_crc32_u64(sum, load_u64(at));
	bits = (unsigned)(end - at) * 8;

	return (uint32_t)(_mm_crc32_u64(0,
			      (load_u64(end - 8) >> (64 - bits) ^ sum) << (64 - bits)) ^
	    sum >> bits / 2 >> bits / 2);
}

__attribute__((target("sse4.2,pclmul"), noinline)) static uint32_t
add_long(uint32_t crc, const uint8_t *at, size_t size)
{
	do {
		size_t block = size < BLOCK_MAX_BYTES ? size : BLOCK_MAX_BYTES;
		size_t lane_bytes = (block - 8) / 24 * 8;

		crc = add_block(crc, at, lane_bytes);
		at += 3 * lane_bytes + 8;
		size -= 3 * lane_bytes + 8;
	} while (size >= BLOCK_MIN_BYTES);

	return add_short(crc, at, size);
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t
add_sse42(uint32_t crc, const uint8_t *at, size_t size)
{
	return size >= BLOCK_MIN_BYTES ? add_long(crc, at, size) : add_short(crc, at, size);
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t
add_two_sse42(const uint8_t *first, size_t first_size, const uint8_t *second, size_t second_size)
{
	uint32_t crc = add_sse42(~UINT32_C(0), first, first_size);

	/* A constant size lets the compiler remove what depends on it. */
	return second_size == RECORD_HEAD_BYTES ? add_short(crc, second, RECORD_HEAD_BYTES)
						: add_sse42(crc, second, second_size);
}

static bool
has_sse42(void)
{
	return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}

#else

static uint32_t
add_sse42(uint32_t crc, const uint8_t *at, size_t size)
{
	return add_portable(crc, at, size);
}

static bool
has_sse42(void)
{
	return false;
}

#endif

uint32_t
crc32c(uint32_t crc, const void *data, size_t size)
{
	return ~(has_sse42() ? add_sse42(~crc, data, size) : add_portable(~crc, data, size));
}

uint32_t
crc32c_two(const void *first, size_t first_size, const void *second, size_t second_size)
{
	return ~(has_sse42()
		? add_two_sse42(first, first_size, second, second_size)
		: add_portable(add_portable(~UINT32_C(0), first, first_size), second, second_size));
}

uint32_t
crc32c_portable(uint32_t crc, const void *data, size_t size)
{
	return ~add_portable(~crc, data, size);
}
