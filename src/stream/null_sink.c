#include <stdlib.h>

#include "base/mem.h"
#include "stream/links.h"
#include "stream/sink.h"

static int
null_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	(void)sink;
	(void)data;
	(void)size;
	(void)err;

	return 0;
}

static int
null_finish(struct sink *sink, struct err *err)
{
	(void)sink;
	(void)err;

	return 0;
}

static void
null_free(struct sink *sink)
{
	free(sink);
}

static const struct sink_ops null_ops = {
	.name = "null",
	.write = null_write,
	.finish = null_finish,
	.free = null_free,
};

struct sink *
null_sink_new(void)
{
	struct sink *sink = xcalloc(1, sizeof(*sink));

	sink->ops = &null_ops;

	return sink;
}
