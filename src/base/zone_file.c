#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/zone_internal.h"

/*
 * TZif (RFC 8536), all integers big-endian.  A header of 44 bytes: "TZif", version ('2'..'4'), 15
 * reserved, then six counts of 4 bytes: UT indicators, standard indicators, leap seconds,
 * transitions, types, characters.  A block follows it: transition times, one type index each,
 * types (int32 offset, is summer, index of the name), characters, leap seconds, indicators.  The
 * first header and block are the old form with 4-byte times and are skipped; the second have
 * 8-byte times, and a footer "\nRULE\n" follows.
 */
enum {
	HEADER_SIZE = 44,
	TYPE_SIZE = 6,
	TRANSITIONS_MAX = 4096,
	TYPES_MAX = 256,
	CHARACTERS_MAX = 1024,
	OFFSET_MIN_S = -89999, /* the bounds RFC 8536 recommends: -25 h to +26 h, exclusive */
	OFFSET_MAX_S = 93599,
	RULE_MAX = 128,
};

struct reader {
	const uint8_t *at;
	size_t left;
};

struct header {
	char version;
	uint32_t ut_count;
	uint32_t standard_count;
	uint32_t leap_count;
	uint32_t time_count;
	uint32_t type_count;
	uint32_t char_count;
};

static const uint8_t *
read_bytes(struct reader *reader, size_t size)
{
	const uint8_t *at = reader->at;

	if (size > reader->left)
		return NULL;
	reader->at += size;
	reader->left -= size;

	return at;
}

static uint32_t
decode_u32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static int64_t
decode_i64(const uint8_t *at)
{
	return (int64_t)((uint64_t)decode_u32(at) << 32 | decode_u32(at + 4));
}

static bool
read_header(struct reader *reader, struct header *header)
{
	const uint8_t *at = read_bytes(reader, HEADER_SIZE);

	if (at == NULL || memcmp(at, "TZif", 4) != 0)
		return false;
	header->version = (char)at[4];
	header->ut_count = decode_u32(at + 20);
	header->standard_count = decode_u32(at + 24);
	header->leap_count = decode_u32(at + 28);
	header->time_count = decode_u32(at + 32);
	header->type_count = decode_u32(at + 36);
	header->char_count = decode_u32(at + 40);

	return header->time_count <= TRANSITIONS_MAX && header->type_count >= 1 &&
	    header->type_count <= TYPES_MAX && header->char_count <= CHARACTERS_MAX &&
	    header->leap_count <= TRANSITIONS_MAX && header->standard_count <= TYPES_MAX &&
	    header->ut_count <= TYPES_MAX;
}

static size_t
block_size(const struct header *header, size_t time_size)
{
	return header->time_count * (time_size + 1) + header->type_count * TYPE_SIZE +
	    header->char_count + header->leap_count * (time_size + 4) + header->standard_count +
	    header->ut_count;
}

/* The offset of a type, or false when there is no such type or its offset is absurd. */
static bool
type_offset(const uint8_t *types, uint32_t type_count, uint32_t type, int32_t *ret_offset_s)
{
	int32_t offset_s;

	if (type >= type_count)
		return false;
	offset_s = (int32_t)decode_u32(types + type * TYPE_SIZE);
	if (offset_s < OFFSET_MIN_S || offset_s > OFFSET_MAX_S)
		return false;
	*ret_offset_s = offset_s;

	return true;
}

static bool
read_table(struct reader *reader, const struct header *header, struct zone *zone)
{
	const uint8_t *times = read_bytes(reader, header->time_count * 8u);
	const uint8_t *indexes = read_bytes(reader, header->time_count);
	const uint8_t *types = read_bytes(reader, header->type_count * (size_t)TYPE_SIZE);
	int32_t first_offset_s;

	if (times == NULL || indexes == NULL || types == NULL ||
	    !type_offset(types, header->type_count, 0, &first_offset_s))
		return false;
	zone->first_offset_s = first_offset_s;
	zone->at_s = xcalloc(header->time_count, sizeof(*zone->at_s));
	zone->offset_s = xcalloc(header->time_count, sizeof(*zone->offset_s));
	zone->count = header->time_count;
	for (size_t i = 0; i < zone->count; i++) {
		zone->at_s[i] = decode_i64(times + i * 8);
		if ((i > 0 && zone->at_s[i] <= zone->at_s[i - 1]) ||
		    !type_offset(types, header->type_count, indexes[i], &zone->offset_s[i]))
			return false;
	}

	return read_bytes(reader,
		   header->char_count + header->leap_count * (size_t)12 + header->standard_count +
		       header->ut_count) != NULL;
}

static bool
read_footer(struct reader *reader, struct zone *zone)
{
	char rule[RULE_MAX];
	const uint8_t *end;
	size_t size;

	if (reader->left < 2 || reader->at[0] != '\n')
		return false;
	end = memchr(reader->at + 1, '\n', reader->left - 1);
	if (end == NULL)
		return false;
	size = (size_t)(end - reader->at) - 1;
	if (size == 0)
		return true;
	if (size >= sizeof(rule) || memchr(reader->at + 1, '\0', size) != NULL)
		return false;
	memcpy(rule, reader->at + 1, size);
	rule[size] = '\0';
	zone->has_rule = zone_rule_parse(rule, &zone->rule);

	return zone->has_rule;
}

int
zone_file_parse(const uint8_t *data, size_t size, struct zone *zone, struct err *err)
{
	struct reader reader = { .at = data, .left = size };
	struct header old, header;

	if (!read_header(&reader, &old))
		return err_set(err, ERR_DATA, "not a compiled time zone file");
	if (old.version < '2')
		return err_set(err, ERR_UNSUPPORTED, "a time zone file of the old 32-bit form");
	if (read_bytes(&reader, block_size(&old, 4)) == NULL || !read_header(&reader, &header))
		return err_set(err, ERR_DATA, "the time zone file is cut off or damaged");
	if (header.leap_count != 0)
		return err_set(err, ERR_UNSUPPORTED, "a time zone that counts leap seconds");
	if (!read_table(&reader, &header, zone) || !read_footer(&reader, zone))
		return err_set(err, ERR_DATA, "the time zone file is cut off or damaged");

	return 0;
}
