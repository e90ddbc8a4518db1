#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "stream/links.h"
#include "stream/sink.h"

struct str_sink {
	struct sink base;
	struct str *to; /* a loan */
};

static int
str_sink_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	struct str *to = ((struct str_sink *)sink)->to;

	str_add_bytes(to, data, size);
	if (str_is_full(to))
		return err_set(err, ERR_LIMIT, "more than the %zu bytes expected",
		    to->max > 0 ? to->max : (size_t)STR_DEFAULT_MAX);

	return 0;
}

static int
str_sink_finish(struct sink *sink, struct err *err)
{
	(void)sink;
	(void)err;

	return 0;
}

static void
str_sink_free(struct sink *sink)
{
	free(sink);
}

static const struct sink_ops str_sink_ops = {
	.name = "str",
	.write = str_sink_write,
	.finish = str_sink_finish,
	.free = str_sink_free,
};

struct sink *
str_sink_new(struct str *to)
{
	struct str_sink *sink = xcalloc(1, sizeof(*sink));

	sink->base.ops = &str_sink_ops;
	sink->to = to;

	return &sink->base;
}
