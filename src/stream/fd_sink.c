#include <stdlib.h>

#include "base/mem.h"
#include "os/file.h"
#include "stream/links.h"
#include "stream/sink.h"

struct fd_sink {
	struct sink base;
	int fd; /* a loan */
	char *name;
};

static int
fd_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	struct fd_sink *to = (struct fd_sink *)sink;

	return fd_write_all(to->fd, data, size, to->name, err);
}

static int
fd_finish(struct sink *sink, struct err *err)
{
	(void)sink;
	(void)err;

	return 0;
}

static void
fd_free(struct sink *sink)
{
	struct fd_sink *to = (struct fd_sink *)sink;

	free(to->name);
	free(to);
}

static const struct sink_ops fd_ops = {
	.name = "fd",
	.write = fd_write,
	.finish = fd_finish,
	.free = fd_free,
};

struct sink *
fd_sink_new(int fd, const char *name)
{
	struct fd_sink *to = xcalloc(1, sizeof(*to));

	to->base.ops = &fd_ops;
	to->fd = fd;
	to->name = xstrdup(name);

	return &to->base;
}
