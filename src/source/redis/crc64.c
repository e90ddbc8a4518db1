#include "source/redis/crc64.h"

#include <endian.h>
#include <string.h>

/* 0xad93d23594c935a9 with its bits in the opposite order. */
#define POLYNOMIAL UINT64_C(0x95ac9329ac4bc9b5)

void
crc64_init(struct crc64 *crc)
{
	crc->value = 0;
	for (unsigned i = 0; i < 256; i++) {
		uint64_t value = i;

		for (unsigned bit = 0; bit < 8; bit++)
			value = (value >> 1) ^ ((value & 1) != 0 ? POLYNOMIAL : 0);
		crc->tables[0][i] = value;
	}
	/* tables[n][i]: what byte i leaves behind after n more zero bytes. */
	for (unsigned n = 1; n < 8; n++) {
		for (unsigned i = 0; i < 256; i++) {
			uint64_t before = crc->tables[n - 1][i];

			crc->tables[n][i] = (before >> 8) ^ crc->tables[0][before & 0xff];
		}
	}
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
crc64_add(struct crc64 *crc, const void *data, size_t size)
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
