#include "source/redis/packed.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

enum {
	END_BYTE = 0xff,
	LISTPACK_HEADER_BYTES = 6,
	ZIPLIST_HEADER_BYTES = 10,
	INTSET_HEADER_BYTES = 8,
	COUNT_UNKNOWN = 65535,
	ZIPMAP_COUNT_UNKNOWN = 254,
};

static uint16_t
read_u16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));

	return le16toh(value);
}

static uint32_t
read_u32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));

	return le32toh(value);
}

static uint32_t
read_u32_big(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));

	return be32toh(value);
}

/* ---- listpack ----------------------------------------------------------------------------------- */

/* Bytes of encoding and data of the entry at `at`, of which `size` bytes are there; 0: not sound. */
static uint64_t
listpack_entry_bytes(const uint8_t *at, size_t size)
{
	static const uint8_t numbers[] = { 3, 4, 5, 9 }; /* of f1 to f4 */

	if (at[0] < 0x80)
		return 1;
	if (at[0] < 0xc0)
		return 1 + (at[0] & 0x3fu);
	if (at[0] < 0xe0)
		return 2;
	if (at[0] < 0xf0)
		return size < 2 ? 0 : 2 + ((uint64_t)(at[0] & 0x0fu) << 8) + at[1];
	if (at[0] == 0xf0)
		return size < 5 ? 0 : 5 + (uint64_t)read_u32(at + 1);
	if (at[0] <= 0xf4)
		return numbers[at[0] - 0xf1];

	return 0;
}

/* How the length of an entry stands behind it: 7 bits a byte, all but the first marked. */
static size_t
listpack_back_bytes(uint64_t entry, uint8_t *ret_bytes)
{
	/* The limits are those of the server's own code, one off as they are. */
	size_t count = entry <= 127 ? 1
	    : entry < 16383         ? 2
	    : entry < 2097151       ? 3
	    : entry < 268435455     ? 4
				    : 5;

	for (size_t i = 0; i < count; i++) {
		uint8_t bits = (uint8_t)((entry >> (7 * (count - 1 - i))) & 127);

		ret_bytes[i] = i == 0 ? bits : (uint8_t)(bits | 128);
	}

	return count;
}

const char *
packed_check_listpack(const uint8_t *data, size_t size, size_t *ret_count)
{
	size_t at = LISTPACK_HEADER_BYTES;
	size_t count = 0;

	if (size <= LISTPACK_HEADER_BYTES || read_u32(data) != size)
		return "a listpack's size is wrong";
	while (at < size && data[at] != END_BYTE) {
		uint8_t back[5];
		uint64_t entry = listpack_entry_bytes(data + at, size - at);
		size_t back_size = listpack_back_bytes(entry, back);

		if (entry == 0 || entry + back_size >= size - at)
			return "a listpack's entry is not sound";
		at += entry;
		if (memcmp(data + at, back, back_size) != 0)
			return "a listpack's entry is not as long as is said behind it";
		at += back_size;
		count++;
	}
	if (at + 1 != size)
		return "a listpack does not end where it should";
	if (read_u16(data + 4) != COUNT_UNKNOWN && read_u16(data + 4) != count)
		return "a listpack has not as many entries as it says";
	*ret_count = count;

	return NULL;
}

/* ---- ziplist ------------------------------------------------------------------------------------ */

/* Bytes of encoding and data; 0: not sound. */
static uint64_t
ziplist_entry_bytes(const uint8_t *at, size_t size)
{
	if (size == 0)
		return 0;
	switch (at[0] >> 6) {
	case 0:
		return 1 + (at[0] & 0x3fu);
	case 1:
		return size < 2 ? 0 : 2 + ((uint64_t)(at[0] & 0x3fu) << 8) + at[1];
	case 2:
		return size < 5 ? 0 : 5 + (uint64_t)read_u32_big(at + 1);
	default:
		break;
	}
	switch (at[0]) {
	case 0xc0:
		return 3;
	case 0xd0:
		return 5;
	case 0xe0:
		return 9;
	case 0xf0:
		return 4;
	case 0xfe:
		return 2;
	default:
		return at[0] >= 0xf1 && at[0] <= 0xfd ? 1 : 0;
	}
}

/* Bytes of the "previous length" field, and that length; 0: not sound. */
static size_t
ziplist_previous(const uint8_t *at, size_t size, uint64_t *ret_previous)
{
	if (at[0] < 254) {
		*ret_previous = at[0];
		return 1;
	}
	if (at[0] != 254 || size < 5)
		return 0;
	*ret_previous = read_u32(at + 1);

	return 5;
}

const char *
packed_check_ziplist(const uint8_t *data, size_t size, size_t *ret_count)
{
	size_t at = ZIPLIST_HEADER_BYTES;
	size_t last = ZIPLIST_HEADER_BYTES;
	size_t count = 0;
	uint64_t expected = 0;

	if (size <= ZIPLIST_HEADER_BYTES || read_u32(data) != size)
		return "a ziplist's size is wrong";
	while (at < size && data[at] != END_BYTE) {
		uint64_t previous;
		size_t head = ziplist_previous(data + at, size - at, &previous);
		uint64_t entry = head > 0 ? ziplist_entry_bytes(data + at + head, size - at - head)
					  : 0;

		if (entry == 0 || head + entry >= size - at)
			return "a ziplist's entry is not sound";
		if (previous != expected)
			return "a ziplist's entry is not as long as the next one says";
		last = at;
		expected = head + entry;
		at += expected;
		count++;
	}
	if (at + 1 != size)
		return "a ziplist does not end where it should";
	if (read_u32(data + 4) != last)
		return "a ziplist's last entry is not where it says";
	if (read_u16(data + 8) != COUNT_UNKNOWN && read_u16(data + 8) != count)
		return "a ziplist has not as many entries as it says";
	*ret_count = count;

	return NULL;
}

/* ---- intset ------------------------------------------------------------------------------------- */

static int64_t
intset_number(const uint8_t *at, uint32_t width)
{
	uint64_t wide;

	if (width == 2)
		return (int16_t)read_u16(at);
	if (width == 4)
		return (int32_t)read_u32(at);
	memcpy(&wide, at, sizeof(wide));

	return (int64_t)le64toh(wide);
}

const char *
packed_check_intset(const uint8_t *data, size_t size, size_t *ret_count)
{
	uint32_t width;
	uint32_t count;

	if (size < INTSET_HEADER_BYTES)
		return "an intset's size is wrong";
	width = read_u32(data);
	count = read_u32(data + 4);
	if (width != 2 && width != 4 && width != 8)
		return "an intset's numbers have no known width";
	if (INTSET_HEADER_BYTES + (uint64_t)width * count != size)
		return "an intset's size is wrong";
	for (uint32_t i = 1; i < count; i++) {
		const uint8_t *at = data + INTSET_HEADER_BYTES + (size_t)i * width;

		if (intset_number(at - width, width) >= intset_number(at, width))
			return "an intset is not in order";
	}
	*ret_count = count;

	return NULL;
}

/* ---- zipmap ------------------------------------------------------------------------------------- */

/* Reads a length and steps over it. */
static bool
zipmap_length(const uint8_t *data, size_t size, size_t *at, uint64_t *ret_length)
{
	if (*at >= size || data[*at] > 254)
		return false;
	if (data[*at] < 254) {
		*ret_length = data[(*at)++];
		return true;
	}
	if (size - *at < 5)
		return false;
	*ret_length = read_u32(data + *at + 1);
	*at += 5;

	return true;
}

/* One key with its value; false when it is not sound. */
static bool
zipmap_pair(const uint8_t *data, size_t size, size_t *at)
{
	uint64_t length;
	uint64_t unused;

	if (!zipmap_length(data, size, at, &length) || length >= size - *at)
		return false;
	*at += length;
	if (!zipmap_length(data, size, at, &length) || *at >= size)
		return false;
	unused = data[(*at)++];
	if (length + unused >= size - *at + 1)
		return false;
	*at += length + unused;

	return true;
}

const char *
packed_check_zipmap(const uint8_t *data, size_t size, size_t *ret_count)
{
	size_t at = 1;
	size_t count = 0;

	if (size < 2)
		return "a zipmap's size is wrong";
	while (at < size && data[at] != END_BYTE) {
		if (!zipmap_pair(data, size, &at))
			return "a zipmap's entry is not sound";
		count++;
	}
	if (at + 1 != size)
		return "a zipmap does not end where it should";
	if (data[0] < ZIPMAP_COUNT_UNKNOWN && data[0] != count)
		return "a zipmap has not as many entries as it says";
	*ret_count = count;

	return NULL;
}
