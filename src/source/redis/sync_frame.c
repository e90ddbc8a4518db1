#include "source/redis/sync_frame.h"

#include <string.h>

#include "base/err.h"
#include "base/parse.h"
#include "base/str.h"
#include "stream/sink.h"

static const char mark_prefix[] = "$EOF:";

int
sync_frame_init(struct sync_frame *frame, const char *line, struct err *err)
{
	struct err ignored = ERR_INIT;

	*frame = (struct sync_frame){ .is_marked = str_starts_with(line, mark_prefix) };
	if (frame->is_marked && strlen(line) == strlen(mark_prefix) + SYNC_MARK_BYTES) {
		memcpy(frame->mark, line + strlen(mark_prefix), SYNC_MARK_BYTES);
		return 0;
	}
	if (!frame->is_marked && line[0] == '$' &&
	    parse_u64(line + 1, 1, INT64_MAX, &frame->total_bytes, &ignored) == 0)
		return 0;

	return err_set(err, ERR_DATA, "'%.60s' does not announce an RDB file", line);
}

static int
hand_on(struct sync_frame *frame, const void *data, size_t size, struct sink *to, struct err *err)
{
	if (size == 0)
		return 0;
	frame->body_bytes += size;

	return sink_write(to, data, size, err);
}

/* All but the last 40 bytes of what is held and what has come. */
static int
feed_marked(struct sync_frame *frame, const uint8_t *data, size_t size, struct sink *to,
    struct err *err)
{
	size_t together = frame->held_size + size;
	size_t surplus = together > SYNC_MARK_BYTES ? together - SYNC_MARK_BYTES : 0;
	size_t from_held = surplus < frame->held_size ? surplus : frame->held_size;
	size_t from_data = surplus - from_held;

	if (hand_on(frame, frame->held, from_held, to, err) < 0 ||
	    hand_on(frame, data, from_data, to, err) < 0)
		return -1;
	memmove(frame->held, frame->held + from_held, frame->held_size - from_held);
	frame->held_size -= from_held;
	memcpy(frame->held + frame->held_size, data + from_data, size - from_data);
	frame->held_size += size - from_data;
	frame->is_whole = frame->held_size == SYNC_MARK_BYTES &&
	    memcmp(frame->held, frame->mark, SYNC_MARK_BYTES) == 0;

	return 0;
}

int
sync_frame_feed(struct sync_frame *frame, const void *data, size_t size, struct sink *to,
    struct err *err)
{
	if (size == 0)
		return 0;
	if (frame->is_whole || (!frame->is_marked && size > frame->total_bytes - frame->body_bytes))
		return err_set(err, ERR_DATA, "the server sends more than the file it announced");
	if (frame->is_marked)
		return feed_marked(frame, data, size, to, err);
	if (hand_on(frame, data, size, to, err) < 0)
		return -1;
	frame->is_whole = frame->body_bytes == frame->total_bytes;

	return 0;
}

size_t
sync_frame_extra(const struct sync_frame *frame, size_t size)
{
	uint64_t left = frame->total_bytes - frame->body_bytes;

	return !frame->is_marked && size > left ? size - (size_t)left : 0;
}
