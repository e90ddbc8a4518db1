/* The strings of an RDB file: which are kept, which are looked into, which are stepped over. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "source/redis/lzf.h"
#include "source/redis/packed.h"
#include "source/redis/rdb_reader_internal.h"

enum { STREAM_ID_BYTES = 16, NUMBER_TEXT_BYTES = 32 };

void
rdb_buffer_add(struct rdb_buffer *buffer, const void *data, size_t size)
{
	if (buffer->size + size > buffer->capacity) {
		buffer->capacity = (buffer->size + size) * 2;
		buffer->data = xrealloc(buffer->data, buffer->capacity);
	}
	if (size > 0)
		memcpy(buffer->data + buffer->size, data, size);
	buffer->size += size;
}

void
rdb_buffer_set(struct rdb_buffer *buffer, const void *data, size_t size)
{
	buffer->size = 0;
	rdb_buffer_add(buffer, data, size);
}

static bool
is_name(char role)
{
	return role == 'k' || role == 'a' || role == 'v';
}

static bool
is_packed(char role)
{
	return role == 'p' || role == 'z' || role == 'n' || role == 'm';
}

/* Keep a name; NULL when it is too long to be kept. */
static void
keep_name(struct rdb_reader *reader, const uint8_t *data, size_t size)
{
	switch (reader->text.role) {
	case 'k':
		rdb_buffer_set(&reader->key, data, size);
		break;
	case 'a':
		rdb_buffer_set(&reader->aux, data, size);
		break;
	case 'v':
		rdb_summary_add_aux(&reader->summary, reader->aux.data, reader->aux.size, data,
		    size);
		break;
	default:
		break;
	}
}

/* Is the string to be held in memory until it is whole. */
static bool
is_wanted(struct rdb_reader *reader)
{
	const struct rdb_text *text = &reader->text;
	bool is_small = text->stored_bytes <= RDB_CAPTURE_MAX_BYTES &&
	    text->plain_bytes <= RDB_CAPTURE_MAX_BYTES;

	if (is_name(text->role) && is_small)
		return true;
	if (!reader->options.is_deep || (!is_packed(text->role) && !text->is_compressed))
		return false;
	if (text->stored_bytes <= RDB_DEEP_MAX_BYTES && text->plain_bytes <= RDB_DEEP_MAX_BYTES)
		return true;
	reader->summary.deep_left_out++;

	return false;
}

int
rdb_text_begin(struct rdb_reader *reader, struct err *err)
{
	const struct rdb_text *text = &reader->text;

	if (text->is_compressed && text->plain_bytes / RDB_LZF_RATIO_MAX > text->stored_bytes)
		return rdb_damaged(reader, "a compressed string cannot become so long", err);
	if (text->role == 'i' && text->plain_bytes != STREAM_ID_BYTES)
		return rdb_damaged(reader, "a stream's id is not 16 bytes long", err);
	if (is_wanted(reader)) {
		reader->collected.size = 0;
		if (text->stored_bytes == 0)
			return rdb_text_end(reader, NULL, err);
		rdb_want(reader, RDB_STEP_COLLECT, 0);
		return 0;
	}
	keep_name(reader, NULL, 0);
	reader->skip_bytes = text->stored_bytes;
	rdb_want(reader, RDB_STEP_SKIP, 0);

	return text->stored_bytes == 0 ? rdb_advance(reader, err) : 0;
}

int
rdb_text_number(struct rdb_reader *reader, const uint8_t *data, size_t size, struct err *err)
{
	uint32_t bits = 0;
	int32_t value;
	char text[NUMBER_TEXT_BYTES];

	if (is_packed(reader->text.role) || reader->text.role == 'i')
		return rdb_damaged(reader, "a number stands for a collection", err);
	for (size_t i = 0; i < size; i++)
		bits |= (uint32_t)data[i] << (8 * i);
	value = size == 1 ? (int8_t)bits : size == 2 ? (int16_t)bits : (int32_t)bits;
	if (is_name(reader->text.role)) {
		int length = snprintf(text, sizeof(text), "%" PRId32, value);

		keep_name(reader, (const uint8_t *)text, (size_t)length);
	}

	return rdb_advance(reader, err);
}

static int
check_packed(struct rdb_reader *reader, const uint8_t *data, size_t size, struct err *err)
{
	const char *wrong = NULL;
	size_t count = 0;

	switch (reader->text.role) {
	case 'p':
		wrong = packed_check_listpack(data, size, &count);
		break;
	case 'z':
		wrong = packed_check_ziplist(data, size, &count);
		break;
	case 'n':
		wrong = packed_check_intset(data, size, &count);
		break;
	case 'm':
		wrong = packed_check_zipmap(data, size, &count);
		break;
	default:
		return 0;
	}
	if (wrong != NULL)
		return rdb_damaged(reader, wrong, err);

	return 0;
}

int
rdb_text_end(struct rdb_reader *reader, const uint8_t *data, struct err *err)
{
	const struct rdb_text *text = &reader->text;
	size_t stored = (size_t)text->stored_bytes;
	size_t plain = (size_t)text->plain_bytes;

	if (text->is_compressed) {
		struct rdb_buffer *to = &reader->expanded;

		if (to->capacity < plain) {
			to->data = xrealloc(to->data, plain);
			to->capacity = plain;
		}
		if (!lzf_expand(data, stored, to->data, plain))
			return rdb_damaged(reader, "a compressed string cannot be expanded", err);
		data = to->data;
	}
	if (is_name(text->role))
		keep_name(reader, data, plain);
	if (reader->options.is_deep && (is_packed(text->role) || text->is_compressed)) {
		reader->summary.deep_checked++;
		if (check_packed(reader, data, plain, err) < 0)
			return -1;
	}

	return rdb_advance(reader, err);
}
