#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/progress.h"
#include "os/stop.h"
#include "stream/links.h"
#include "stream/sink.h"

enum {
	BURST_MS = 100,
	BURST_MIN_BYTES = 512,
	PIECES_PER_BURST = 4, /* a late awakening then loses nothing: the bucket has room */
};

/* Beyond any disk; keeps the arithmetic far from overflow. */
#define RATE_MAX_BYTES_PER_S (UINT64_C(1) << 40)

struct meter_sink {
	struct sink base;
	struct meter_options options;
	uint64_t burst_bytes;   /* what may pass at once after a rest */
	uint64_t allowed_bytes; /* what may pass now */
	struct mono_time filled;
};

/* Add to the bucket what has come since the last time. */
static void
refill(struct meter_sink *meter)
{
	uint64_t elapsed_us = (uint64_t)clock_elapsed_us(meter->filled);
	uint64_t come;

	/* A long rest fills the bucket and no more; it also keeps the product from overflowing. */
	if (elapsed_us > BURST_MS * US_PER_MS)
		elapsed_us = BURST_MS * US_PER_MS;
	come = meter->options.rate_limit_bytes_per_s * elapsed_us / US_PER_S;
	if (come == 0)
		return;
	meter->filled = clock_mono();
	meter->allowed_bytes += come;
	if (meter->allowed_bytes > meter->burst_bytes)
		meter->allowed_bytes = meter->burst_bytes;
}

/* Wait until `size` bytes may pass; a stop ends the wait. */
static int
wait_for(struct meter_sink *meter, uint64_t size, struct err *err)
{
	struct pollfd stop = { .fd = stop_fd(), .events = POLLIN };

	for (;;) {
		uint64_t rate = meter->options.rate_limit_bytes_per_s;

		if (stop_check(err) < 0)
			return -1;
		refill(meter);
		if (meter->allowed_bytes >= size)
			break;
		(void)poll(&stop, 1, (int)((size - meter->allowed_bytes) * 1000 / rate) + 1);
	}
	meter->allowed_bytes -= size;

	return 0;
}

static int
pass(struct meter_sink *meter, const void *data, size_t size, struct err *err)
{
	if (stop_check(err) < 0 || sink_write(meter->base.next, data, size, err) < 0)
		return -1;
	if (meter->options.ret_bytes != NULL)
		*meter->options.ret_bytes += size;
	progress_add(meter->options.progress, size);

	return 0;
}

static int
meter_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	struct meter_sink *meter = (struct meter_sink *)sink;
	const char *at = data;

	if (meter->options.rate_limit_bytes_per_s == 0)
		return pass(meter, data, size, err);

	while (size > 0) {
		size_t piece_max = (size_t)meter->burst_bytes / PIECES_PER_BURST;
		size_t piece = size < piece_max ? size : piece_max;

		if (wait_for(meter, piece, err) < 0 || pass(meter, at, piece, err) < 0)
			return -1;
		at += piece;
		size -= piece;
	}

	return 0;
}

static int
meter_finish(struct sink *sink, struct err *err)
{
	return sink_finish(sink->next, err);
}

static void
meter_free(struct sink *sink)
{
	free(sink);
}

static const struct sink_ops meter_ops = {
	.name = "meter",
	.write = meter_write,
	.finish = meter_finish,
	.free = meter_free,
};

struct sink *
meter_sink_new(struct sink *next, const struct meter_options *options)
{
	struct meter_sink *meter = xcalloc(1, sizeof(*meter));

	meter->base.ops = &meter_ops;
	meter->base.next = next;
	meter->options = *options;
	if (meter->options.rate_limit_bytes_per_s > RATE_MAX_BYTES_PER_S)
		meter->options.rate_limit_bytes_per_s = RATE_MAX_BYTES_PER_S;
	meter->burst_bytes = meter->options.rate_limit_bytes_per_s / (1000 / BURST_MS);
	if (meter->burst_bytes < BURST_MIN_BYTES)
		meter->burst_bytes = BURST_MIN_BYTES;
	meter->filled = clock_mono();

	return &meter->base;
}
