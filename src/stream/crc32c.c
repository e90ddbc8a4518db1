#include "stream/crc32c.h"

#include <stdbool.h>
#include <string.h>

#include "stream/crc32c_table_internal.h"

static uint64_t
load_u64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));

	return value;
}

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

/*
 * The crc32 instruction takes three cycles but can begin anew in each, so three lanes run side by
 * side over LANE_BYTES each, or over SHORT_LANE_BYTES when less than a long block is left.  They are joined at the last eight bytes of the block: a lane's sum
 * times x^n mod P, n the bits that follow it, is added to those bytes.  The product of two
 * reflected 32-bit values and the instruction's own reduction account for 33 of the n bits.
 */
enum {
	LANE_BYTES = 1360,
	BLOCK_BYTES = 3 * LANE_BYTES + 8,
	SHORT_LANE_BYTES = 168,
	SHORT_BLOCK_BYTES = 3 * SHORT_LANE_BYTES + 8,
};
#define SHIFT_TWO_LANES UINT32_C(0x7b454cb3) /* x^((2 * LANE_BYTES + 8) * 8 - 33) mod P */
#define SHIFT_ONE_LANE UINT32_C(0x79113270)  /* x^((LANE_BYTES + 8) * 8 - 33) mod P */
#define SHIFT_TWO_SHORT UINT32_C(0x8f158014) /* the same for SHORT_LANE_BYTES */
#define SHIFT_ONE_SHORT UINT32_C(0xdaece73e)

__attribute__((target("sse4.2,pclmul"))) static uint64_t
multiply(uint32_t a, uint32_t b)
{
	__m128i product = _mm_clmulepi64_si128(_mm_cvtsi32_si128((int)a), _mm_cvtsi32_si128((int)b),
	    0);

	return (uint64_t)_mm_cvtsi128_si64(product);
}

__attribute__((target("sse4.2,pclmul"), always_inline)) static inline uint32_t
add_block(uint32_t crc, const uint8_t *at, size_t lane_bytes, uint32_t shift_two,
    uint32_t shift_one)
{
	uint64_t lane0 = crc;
	uint64_t lane1 = 0;
	uint64_t lane2 = 0;
	uint64_t carried;

	for (size_t i = 0; i < lane_bytes; i += 8) {
		lane0 = _mm_crc32_u64(lane0, load_u64(at + i));
		lane1 = _mm_crc32_u64(lane1, load_u64(at + i + lane_bytes));
		lane2 = _mm_crc32_u64(lane2, load_u64(at + i + 2 * lane_bytes));
	}
	carried = multiply((uint32_t)lane0, shift_two) ^ multiply((uint32_t)lane1, shift_one);

	return (uint32_t)_mm_crc32_u64(lane2, load_u64(at + 3 * lane_bytes) ^ carried);
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t
add_sse42(uint32_t crc, const uint8_t *at, size_t size)
{
	for (; size >= BLOCK_BYTES; at += BLOCK_BYTES, size -= BLOCK_BYTES)
		crc = add_block(crc, at, LANE_BYTES, SHIFT_TWO_LANES, SHIFT_ONE_LANE);
	for (; size >= SHORT_BLOCK_BYTES; at += SHORT_BLOCK_BYTES, size -= SHORT_BLOCK_BYTES)
		crc = add_block(crc, at, SHORT_LANE_BYTES, SHIFT_TWO_SHORT, SHIFT_ONE_SHORT);
	for (; size >= 8; at += 8, size -= 8)
		crc = (uint32_t)_mm_crc32_u64(crc, load_u64(at));
	for (; size > 0; at++, size--)
		crc = _mm_crc32_u8(crc, *at);

	return crc;
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
	return ~(has_sse42() ? add_sse42 : add_portable)(~crc, data, size);
}

uint32_t
crc32c_portable(uint32_t crc, const void *data, size_t size)
{
	return ~add_portable(~crc, data, size);
}
