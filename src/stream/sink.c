#include "stream/sink.h"

int
sink_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	return size > 0 ? sink->ops->write(sink, data, size, err) : 0;
}

int
sink_room(struct sink *sink, void **ret_room, size_t *ret_size, struct err *err)
{
	*ret_room = NULL;
	*ret_size = 0;

	return sink->ops->room != NULL ? sink->ops->room(sink, ret_room, ret_size, err) : 0;
}

int
sink_finish(struct sink *sink, struct err *err)
{
	return sink->ops->finish(sink, err);
}

void
sink_free(struct sink *sink)
{
	while (sink != NULL) {
		struct sink *next = sink->next;

		sink->ops->free(sink);
		sink = next;
	}
}
