/*
 * Where bytes go: a chain of links, each of which owns the next.  Bytes are pushed in at the
 * front; the last link keeps them (a file, a pipe, nothing).
 *
 * finish: called once, if all went well: drain, finish the next, commit.
 * free: always called; a sink freed before it is finished leaves nothing behind.
 * After a failed write or finish only free may be called.
 *
 * A link's own free releases only the link: sink_free walks the chain, front first, so that a
 * link with a thread has stopped before the next one goes.
 */
#ifndef STREAM_SINK_H
#define STREAM_SINK_H

#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct err;
struct sink;

struct sink_ops {
	const char *name;
	int (*write)(struct sink *sink, const void *data, size_t size, struct err *err);
	int (*room)(struct sink *sink, void **ret_room, size_t *ret_size, struct err *err);
	int (*finish)(struct sink *sink, struct err *err);
	void (*free)(struct sink *sink);
};

struct sink {
	const struct sink_ops *ops;
	struct sink *next; /* owned; NULL for the last link */
};

int sink_write(struct sink *sink, const void *data, size_t size, struct err *err) MUST_CHECK;

/*
 * Where this link would copy what is written next: who puts it there himself, and then writes
 * from there, has spared the copy.  A loan until the next call; *ret_room is NULL when the link
 * keeps nothing (ops->room is NULL), else *ret_size is at least 1.
 */
int sink_room(struct sink *sink, void **ret_room, size_t *ret_size, struct err *err) MUST_CHECK;

int sink_finish(struct sink *sink, struct err *err) MUST_CHECK;
void sink_free(struct sink *sink); /* NULL is ok; frees the whole chain */
SCOPED_FREE(struct sink, sink_free)

#endif
