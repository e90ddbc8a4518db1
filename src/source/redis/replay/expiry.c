/* Times of expiry in an RDB file: changed where they stand, while the file passes. */
#include "source/redis/replay/expiry.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/vec.h"
#include "source/redis/crc64.h"
#include "source/redis/rdb_reader.h"
#include "stream/sink.h"

enum {
	STEP_BYTES = 128 * 1024,
	/* The checksum, or an opcode and a time that came in two pieces. */
	HELD_BYTES = 16,
	TRAILER_BYTES = 8,
};

struct seen_time {
	uint64_t offset; /* in the file, of its first byte; the opcode stands before it */
	unsigned width;  /* 8: milliseconds, 4: seconds */
};

struct expiry_sink {
	struct sink base;
	struct rdb_times times;
	struct rdb_reader *reader;
	struct expiry_policy policy;
	struct expiry_report *report;
	struct crc64 crc;
	VEC(struct seen_time) seen; /* in what was read last */
	uint8_t buffer[HELD_BYTES + STEP_BYTES];
	size_t held;
	uint64_t at; /* offset in the file of the buffer's first byte */
};

static void
see_time(struct rdb_times *times, uint64_t offset, unsigned width)
{
	struct expiry_sink *expiry = times->owner;

	vec_push(&expiry->seen, ((struct seen_time){ .offset = offset, .width = width }));
}

static void
shift(uint8_t *bytes, unsigned width, int64_t shift_us)
{
	if (width == sizeof(uint64_t)) {
		uint64_t ms;

		memcpy(&ms, bytes, sizeof(ms));
		ms = htole64((uint64_t)((int64_t)le64toh(ms) + shift_us / US_PER_MS));
		memcpy(bytes, &ms, sizeof(ms));
	} else {
		uint32_t s;

		memcpy(&s, bytes, sizeof(s));
		s = htole32((uint32_t)((int64_t)le32toh(s) + shift_us / US_PER_S));
		memcpy(bytes, &s, sizeof(s));
	}
}

/* Hand on, counted in the checksum. */
static int
give(struct expiry_sink *expiry, const uint8_t *data, size_t size, struct err *err)
{
	crc64_add(&expiry->crc, data, size);

	return sink_write(expiry->base.next, data, size, err);
}

/* The first `size` bytes of the buffer, with the times in them changed. */
static int
give_changed(struct expiry_sink *expiry, size_t size, struct err *err)
{
	size_t from = 0;

	for (size_t i = 0; i < expiry->seen.count; i++) {
		const struct seen_time *time = &expiry->seen.items[i];
		size_t at = (size_t)(time->offset - expiry->at);

		expiry->report->changed++;
		if (expiry->policy.ttl == RESTORE_TTL_SHIFT) {
			shift(expiry->buffer + at, time->width, expiry->policy.shift_us);
			continue;
		}
		if (give(expiry, expiry->buffer + from, at - 1 - from, err) < 0)
			return -1;
		from = at + time->width;
	}
	expiry->seen.count = 0;

	return size > from ? give(expiry, expiry->buffer + from, size - from, err) : 0;
}

/*
 * A time is seen with its last byte, and its opcode is at most 8 bytes before that: what is held
 * back is enough.  What is handed on ends behind every time that was seen.
 */
static size_t
count_ready(const struct expiry_sink *expiry, size_t filled)
{
	size_t ready = filled > HELD_BYTES ? filled - HELD_BYTES : 0;
	size_t count = expiry->seen.count;

	if (count > 0) {
		const struct seen_time *last = &expiry->seen.items[count - 1];
		size_t behind = (size_t)(last->offset - expiry->at) + last->width;

		if (behind > ready)
			ready = behind;
	}

	return ready;
}

static int
take(struct expiry_sink *expiry, const uint8_t *data, size_t size, struct err *err)
{
	size_t filled = expiry->held + size;
	size_t ready;

	memcpy(expiry->buffer + expiry->held, data, size);
	if (rdb_reader_feed(expiry->reader, data, size, err) < 0)
		return -1;
	ready = count_ready(expiry, filled);
	if (give_changed(expiry, ready, err) < 0)
		return -1;
	memmove(expiry->buffer, expiry->buffer + ready, filled - ready);
	expiry->held = filled - ready;
	expiry->at += ready;

	return 0;
}

static int
expiry_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	struct expiry_sink *expiry = (struct expiry_sink *)sink;
	const uint8_t *bytes = data;

	while (size > 0) {
		size_t step = size < STEP_BYTES ? size : STEP_BYTES;

		if (take(expiry, bytes, step, err) < 0)
			return -1;
		bytes += step;
		size -= step;
	}

	return 0;
}

/* The last eight bytes are the checksum; 0 says that the server writes none. */
static int
expiry_finish(struct sink *sink, struct err *err)
{
	struct expiry_sink *expiry = (struct expiry_sink *)sink;
	uint64_t old;
	uint64_t sum;

	if (rdb_reader_finish(expiry->reader, err) < 0)
		return -1;
	if (expiry->held < TRAILER_BYTES)
		return err_set(err, ERR_BUG, "the end of the file was handed on too early");
	if (give(expiry, expiry->buffer, expiry->held - TRAILER_BYTES, err) < 0)
		return -1;
	memcpy(&old, expiry->buffer + expiry->held - TRAILER_BYTES, sizeof(old));
	sum = old != 0 ? htole64(expiry->crc.value) : 0;
	expiry->report->has_field_times = expiry->times.has_field_times;
	if (sink_write(expiry->base.next, &sum, sizeof(sum), err) < 0)
		return -1;

	return sink_finish(expiry->base.next, err);
}

static void
expiry_free(struct sink *sink)
{
	struct expiry_sink *expiry = (struct expiry_sink *)sink;

	rdb_reader_free(expiry->reader);
	vec_done(&expiry->seen);
	free(expiry);
}

struct sink *
expiry_sink_new(struct sink *next, const struct expiry_policy *policy,
    struct expiry_report *ret_report)
{
	static const struct sink_ops ops = {
		.name = "expiry",
		.write = expiry_write,
		.finish = expiry_finish,
		.free = expiry_free,
	};
	struct expiry_sink *expiry = xcalloc(1, sizeof(*expiry));
	struct rdb_options options = { .is_deep = false, .times = &expiry->times };

	expiry->base.ops = &ops;
	expiry->base.next = next;
	expiry->policy = *policy;
	expiry->report = ret_report;
	expiry->times.see = see_time;
	expiry->times.owner = expiry;
	expiry->reader = rdb_reader_new(&options);
	crc64_init(&expiry->crc);
	*ret_report = (struct expiry_report){ .changed = 0 };

	return &expiry->base;
}
