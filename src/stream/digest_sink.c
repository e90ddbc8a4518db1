#include <stdlib.h>

#include "base/mem.h"
#include "stream/digest_internal.h"
#include "stream/links.h"
#include "stream/sink.h"

struct digest_sink {
	struct sink base;
	struct hasher hasher;
	struct digest *ret_digest; /* a loan */
};

static int
digest_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	hasher_add(&((struct digest_sink *)sink)->hasher, data, size);

	return sink->next != NULL ? sink_write(sink->next, data, size, err) : 0;
}

static int
digest_finish(struct sink *sink, struct err *err)
{
	struct digest_sink *digest = (struct digest_sink *)sink;

	if (sink->next != NULL && sink_finish(sink->next, err) < 0)
		return -1;
	hasher_finish(&digest->hasher, digest->ret_digest);

	return 0;
}

static void
digest_free(struct sink *sink)
{
	hasher_done(&((struct digest_sink *)sink)->hasher);
	free(sink);
}

static const struct sink_ops digest_ops = {
	.name = "digest",
	.write = digest_write,
	.finish = digest_finish,
	.free = digest_free,
};

struct sink *
digest_sink_new(struct sink *next, struct digest *ret_digest, struct err *err)
{
	struct digest_sink *digest = xcalloc(1, sizeof(*digest));

	digest->base.ops = &digest_ops;
	digest->base.next = next;
	digest->ret_digest = ret_digest;
	if (hasher_init(&digest->hasher, err) < 0) {
		sink_free(&digest->base);
		return NULL;
	}

	return &digest->base;
}
