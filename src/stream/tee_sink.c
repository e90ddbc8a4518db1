#include <stdlib.h>

#include "base/mem.h"
#include "stream/links.h"
#include "stream/sink.h"

struct tee_sink {
	struct sink base;    /* base.next is the first chain */
	struct sink *second; /* owned */
};

static int
tee_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	struct tee_sink *tee = (struct tee_sink *)sink;

	if (sink_write(sink->next, data, size, err) < 0)
		return -1;

	return sink_write(tee->second, data, size, err);
}

static int
tee_finish(struct sink *sink, struct err *err)
{
	struct tee_sink *tee = (struct tee_sink *)sink;

	if (sink_finish(sink->next, err) < 0)
		return -1;

	return sink_finish(tee->second, err);
}

static void
tee_free(struct sink *sink)
{
	struct tee_sink *tee = (struct tee_sink *)sink;

	sink_free(tee->second);
	free(tee);
}

static const struct sink_ops tee_ops = {
	.name = "tee",
	.write = tee_write,
	.finish = tee_finish,
	.free = tee_free,
};

struct sink *
tee_sink_new(struct sink *first, struct sink *second)
{
	struct tee_sink *tee = xcalloc(1, sizeof(*tee));

	tee->base.ops = &tee_ops;
	tee->base.next = first;
	tee->second = second;

	return &tee->base;
}
