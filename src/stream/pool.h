/*
 * The only place with threads: slots that go round a ring through three stations.
 *
 *   fill   one thread, in order     puts something into the next free slot
 *   work   any number, any order    changes what is in the slot; may be left out
 *   drain  one thread, in order     takes it out again
 *
 * The caller is itself the filler or the drainer; the other end has a thread of its own, and so
 * has each worker.  What a slot holds is the caller's business: the pool deals in slot numbers.
 * A failure surfaces where its slot stands in the order, so everything before it still arrives.
 * Pool threads take no signals.
 */
#ifndef STREAM_POOL_H
#define STREAM_POOL_H

#include <stdbool.h>

#include "base/scope.h"

struct err;
struct pool;

struct pool_options {
	unsigned slots;   /* at least 2 */
	unsigned workers; /* with `work`: at least 1 */
	void *context;
	int (*work)(void *context, unsigned worker, unsigned slot, struct err *err);
	/* One of these two; the caller does the other with the calls below. */
	int (*fill)(void *context, unsigned slot, bool *ret_is_end, struct err *err);
	int (*drain)(void *context, unsigned slot, struct err *err);
};

struct pool *pool_start(const struct pool_options *options, struct err *err) MUST_CHECK;

/* The caller fills: wait for a free slot, and hand it on when it is full. */
int pool_claim(struct pool *pool, unsigned *ret_slot, struct err *err) MUST_CHECK;
void pool_submit(struct pool *pool);

/* No more comes; wait until everything is drained. */
int pool_settle(struct pool *pool, struct err *err) MUST_CHECK;

/* The caller drains: wait for the oldest slot, and give it back when it is empty. */
int pool_take(struct pool *pool, unsigned *ret_slot, bool *ret_is_end, struct err *err) MUST_CHECK;
void pool_release(struct pool *pool);

/* Stops where it stands and joins all threads, whatever the state.  NULL is ok. */
void pool_free(struct pool *pool);
SCOPED_FREE(struct pool, pool_free)

#endif
