#include "work/frame.h"

#include <string.h>

enum { MAGIC_SIZE = 3, NUMBERS_SIZE = 16, STATE_SIZE = 36, RESULT_SIZE = 8 };
static const uint8_t magic[MAGIC_SIZE] = { 'b', 's', 'w' };

static void
put(uint8_t *to, uint64_t value, size_t size)
{
	for (size_t i = 0; i < size; i++)
		to[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t
get(const uint8_t *from, size_t size)
{
	uint64_t value = 0;

	for (size_t i = 0; i < size; i++)
		value |= (uint64_t)from[i] << (8 * i);

	return value;
}

/* Append a text, cut to what fits; gives the new size. */
static size_t
put_text(uint8_t *data, size_t size, const char *text)
{
	size_t length = strnlen(text != NULL ? text : "", FRAME_MAX - size);

	if (length > 0)
		memcpy(data + size, text, length);

	return size + length;
}

static void
put_link(uint8_t *to, const struct link_state *link)
{
	put(to, link->phase, 4);
	put(to + 4, (uint64_t)link->since.us, 8);
	put(to + 12, (uint64_t)link->next_try.us, 8);
	put(to + 20, link->behind_bytes, 8);
	put(to + 28, (uint64_t)link->behind_us, 8);
}

static void
get_link(const uint8_t *from, struct link_state *link)
{
	uint64_t phase = get(from, 4);

	link->phase = phase <= LINK_WAITING ? (enum link_phase)phase : LINK_UNKNOWN;
	link->since.us = (int64_t)get(from + 4, 8);
	link->next_try.us = (int64_t)get(from + 12, 8);
	link->behind_bytes = get(from + 20, 8);
	link->behind_us = (int64_t)get(from + 28, 8);
}

size_t
frame_pack(const struct frame *frame, uint8_t *data)
{
	size_t size = FRAME_HEADER_SIZE;

	if (frame->kind == FRAME_PROGRESS) {
		put(data + size, frame->done_bytes, 8);
		put(data + size + 8, frame->total_bytes, 8);
		size += NUMBERS_SIZE;
	}
	if (frame->kind == FRAME_RESULT) {
		put(data + size, frame->failure, 4);
		put(data + size + 4, frame->warnings_count, 4);
		size += RESULT_SIZE;
	}
	if (frame->kind == FRAME_STATE) {
		put_link(data + size, &frame->link);
		size += STATE_SIZE;
	}
	size = put_text(data, size, frame->kind == FRAME_STATE ? frame->link.why : frame->text);
	if (frame->kind == FRAME_RESULT && size < FRAME_MAX) {
		data[size++] = '\0';
		size = put_text(data, size, frame->hint);
	}
	memcpy(data, magic, MAGIC_SIZE);
	data[MAGIC_SIZE] = (uint8_t)frame->kind;
	put(data + 4, size - FRAME_HEADER_SIZE, 4);

	return size;
}

/* The least a payload of this kind holds. */
static size_t
fixed_size(enum frame_kind kind)
{
	switch (kind) {
	case FRAME_PROGRESS:
		return NUMBERS_SIZE;
	case FRAME_STATE:
		return STATE_SIZE;
	case FRAME_RESULT:
		return RESULT_SIZE;
	case FRAME_STARTED:
	case FRAME_WARNING:
		break;
	}

	return 0;
}

static int
check_header(const uint8_t *data, size_t payload, struct err *err)
{
	uint8_t kind = data[MAGIC_SIZE];

	if (memcmp(data, magic, MAGIC_SIZE) != 0 || kind < FRAME_STARTED || kind > FRAME_RESULT)
		return err_set(err, ERR_DATA, "what it said is no frame");
	if (payload > FRAME_PAYLOAD_MAX || payload < fixed_size((enum frame_kind)kind))
		return err_set(err, ERR_DATA, "it announced a frame of %zu bytes", payload);

	return 0;
}

/* `data` has a NUL behind the payload. */
static void
tell(const uint8_t *data, size_t payload, frame_function *function, void *context)
{
	struct frame frame = { .kind = (enum frame_kind)data[MAGIC_SIZE], .hint = "" };
	const uint8_t *body = data + FRAME_HEADER_SIZE;
	size_t fixed = fixed_size(frame.kind);
	size_t length;

	if (frame.kind == FRAME_PROGRESS) {
		frame.done_bytes = get(body, 8);
		frame.total_bytes = get(body + 8, 8);
	}
	if (frame.kind == FRAME_RESULT) {
		uint64_t kind = get(body, 4);

		frame.failure = kind <= ERR_BUG ? (enum err_kind)kind : ERR_BUG;
		frame.warnings_count = (unsigned)get(body + 4, 4);
	}
	frame.text = (const char *)body + fixed;
	if (frame.kind == FRAME_STATE) {
		get_link(body, &frame.link);
		frame.link.why = frame.text;
	}
	length = strnlen(frame.text, payload - fixed);
	if (fixed + length < payload)
		frame.hint = frame.text + length + 1;
	function(&frame, context);
}

int
frame_read(struct frame_reader *reader, const void *data, size_t size, frame_function *function,
    void *context, struct err *err)
{
	const uint8_t *from = data;

	while (size > 0) {
		size_t wanted = FRAME_HEADER_SIZE;
		size_t payload = 0;
		size_t piece;

		if (reader->size >= FRAME_HEADER_SIZE) {
			payload = (size_t)get(reader->data + 4, 4);
			wanted += payload;
		}
		piece = wanted - reader->size < size ? wanted - reader->size : size;
		memcpy(reader->data + reader->size, from, piece);
		reader->size += piece;
		from += piece;
		size -= piece;
		if (reader->size < FRAME_HEADER_SIZE)
			continue;
		payload = (size_t)get(reader->data + 4, 4);
		if (check_header(reader->data, payload, err) < 0)
			return -1;
		if (reader->size < FRAME_HEADER_SIZE + payload)
			continue;
		reader->data[reader->size] = '\0';
		tell(reader->data, payload, function, context);
		reader->size = 0;
	}

	return 0;
}
