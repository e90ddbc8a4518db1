#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "fixture.h"
#include "stream/crc32c.h"

/* The definition, bit by bit. */
static uint32_t
crc32c_by_bits(uint32_t crc, const uint8_t *data, size_t size)
{
	crc = ~crc;
	for (size_t i = 0; i < size; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (0x82F63B78u & (uint32_t) - (int32_t)(crc & 1));
	}

	return ~crc;
}

/* RFC 3720 B.4 and the check value of the catalogue of CRCs. */
static void
test_known(void **state)
{
	uint8_t data[48] = { 0 };
	uint32_t (*const functions[])(uint32_t, const void *, size_t) = { crc32c, crc32c_portable };

	(void)state;
	for (size_t f = 0; f < 2; f++) {
		assert_int_equal(functions[f](0, "123456789", 9), 0xE3069283u);
		assert_int_equal(functions[f](0, "", 0), 0);
		memset(data, 0, 32);
		assert_int_equal(functions[f](0, data, 32), 0x8A9136AAu);
		memset(data, 0xff, 32);
		assert_int_equal(functions[f](0, data, 32), 0x62A8AB43u);
		for (unsigned i = 0; i < 32; i++)
			data[i] = (uint8_t)i;
		assert_int_equal(functions[f](0, data, 32), 0x46DD794Eu);
		for (unsigned i = 0; i < 32; i++)
			data[i] = (uint8_t)(31 - i);
		assert_int_equal(functions[f](0, data, 32), 0x113FDB5Cu);
	}
}

/* Every size up to more than a block of the fast way, at every alignment, against the definition. */
static void
test_sizes_and_alignment(void **state)
{
	enum { SIZE = 4088 + 512 };
	SCOPED(freep) uint8_t *data = fixture_noise(SIZE + 16, 7);

	(void)state;
	for (size_t offset = 0; offset < 9; offset++) {
		uint32_t right = 0x1234;

		for (size_t size = 0; size <= SIZE; size++) {
			assert_int_equal(crc32c(0x1234, data + offset, size), right);
			if (offset < 2)
				assert_int_equal(crc32c_portable(0x1234, data + offset, size),
				    right);
			right = crc32c_by_bits(right, data + offset + size, 1);
		}
	}
}

static void
test_two(void **state)
{
	enum { SIZE = 600 };
	SCOPED(freep) uint8_t *data = fixture_noise(SIZE, 9);

	(void)state;
	for (size_t first = 0; first <= SIZE; first++) {
		for (size_t second = 0; second <= 24; second++) {
			uint32_t right = crc32c_by_bits(crc32c_by_bits(0, data, first),
			    data + SIZE - second, second);

			assert_int_equal(crc32c_two(data, first, data + SIZE - second, second),
			    right);
		}
	}
}

static void
test_pieces(void **state)
{
	enum { SIZE = 100000 };
	SCOPED(freep) uint8_t *data = fixture_noise(SIZE, 8);
	uint32_t whole = crc32c(0, data, SIZE);
	uint64_t random = 99;

	(void)state;
	for (int round = 0; round < 50; round++) {
		uint32_t crc = 0;
		size_t at = 0;

		while (at < SIZE) {
			size_t piece = (size_t)(fixture_random(&random) % 9000);

			if (piece > SIZE - at)
				piece = SIZE - at;
			crc = crc32c(crc, data + at, piece);
			at += piece;
		}
		assert_int_equal(crc, whole);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_sizes_and_alignment),
		cmocka_unit_test(test_two),
		cmocka_unit_test(test_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
