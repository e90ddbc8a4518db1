#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "stream/links.h"
#include "stream/pool.h"
#include "stream/sink.h"

enum {
	HANDOFF_SLOTS = 4,
	HANDOFF_BYTES = 1024 * 1024,
};

struct handoff_slot {
	char *data;
	size_t size;
};

struct handoff_sink {
	struct sink base;
	struct pool *pool;
	struct handoff_slot slots[HANDOFF_SLOTS];
	struct handoff_slot *filling; /* NULL: none is claimed */
};

/* On the pool's thread. */
static int
handoff_drain(void *context, unsigned number, struct err *err)
{
	struct handoff_sink *handoff = context;
	const struct handoff_slot *slot = &handoff->slots[number];

	return sink_write(handoff->base.next, slot->data, slot->size, err);
}

static int
claim(struct handoff_sink *handoff, struct err *err)
{
	unsigned number;

	if (pool_claim(handoff->pool, &number, err) < 0)
		return -1;
	handoff->filling = &handoff->slots[number];
	handoff->filling->size = 0;

	return 0;
}

static void
submit(struct handoff_sink *handoff)
{
	handoff->filling = NULL;
	pool_submit(handoff->pool);
}

static int
handoff_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	struct handoff_sink *handoff = (struct handoff_sink *)sink;
	const char *at = data;

	while (size > 0) {
		struct handoff_slot *slot;
		size_t piece;

		if (handoff->filling == NULL && claim(handoff, err) < 0)
			return -1;
		slot = handoff->filling;
		piece = HANDOFF_BYTES - slot->size;
		if (piece > size)
			piece = size;
		memcpy(slot->data + slot->size, at, piece);
		slot->size += piece;
		if (slot->size == HANDOFF_BYTES)
			submit(handoff);
		at += piece;
		size -= piece;
	}

	return 0;
}

static int
handoff_finish(struct sink *sink, struct err *err)
{
	struct handoff_sink *handoff = (struct handoff_sink *)sink;

	if (handoff->filling != NULL)
		submit(handoff);
	if (pool_settle(handoff->pool, err) < 0)
		return -1;

	return sink_finish(sink->next, err);
}

static void
handoff_free(struct sink *sink)
{
	struct handoff_sink *handoff = (struct handoff_sink *)sink;

	pool_free(handoff->pool);
	for (size_t i = 0; i < HANDOFF_SLOTS; i++)
		free(handoff->slots[i].data);
	free(handoff);
}

static const struct sink_ops handoff_ops = {
	.name = "handoff",
	.write = handoff_write,
	.finish = handoff_finish,
	.free = handoff_free,
};

struct sink *
handoff_sink_new(struct sink *next, struct err *err)
{
	struct handoff_sink *handoff = xcalloc(1, sizeof(*handoff));
	const struct pool_options options = {
		.slots = HANDOFF_SLOTS,
		.context = handoff,
		.drain = handoff_drain,
	};

	handoff->base.ops = &handoff_ops;
	handoff->base.next = next;
	for (size_t i = 0; i < HANDOFF_SLOTS; i++)
		handoff->slots[i].data = xmalloc(HANDOFF_BYTES);
	handoff->pool = pool_start(&options, err);
	if (handoff->pool == NULL) {
		sink_free(&handoff->base);
		return NULL;
	}

	return &handoff->base;
}
