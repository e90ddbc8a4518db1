#include "stream/pool.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "stream/thread_internal.h"

/* What the pool knows of a slot between submit and release. */
struct slot {
	bool is_done;
	bool has_failed;
	struct err err;
};

/*
 * Slots carry growing numbers; number n lives in slots[n % count].  At any time
 * released <= started <= submitted <= released + count.
 * Each station waits for a condition of its own, so that only a thread that has something to do
 * is woken: with as many threads as processors, one woken for nothing takes one from a worker.
 */
struct pool {
	struct pool_options options;
	pthread_mutex_t lock;
	pthread_cond_t has_space; /* for the filler: a slot was released, or will never be */
	pthread_cond_t has_work;  /* for workers */
	pthread_cond_t has_done;  /* for the drainer: the oldest slot is done, or none will come */
	uint64_t submitted;
	uint64_t started; /* taken by a worker */
	uint64_t released;
	bool is_ended;    /* nothing more will be submitted */
	bool is_stopping; /* everybody leaves at once */
	bool has_failed;  /* the drainer's thread met `err` and is gone */
	struct err err;
	struct slot *slots;
	pthread_t *threads;
	unsigned threads_count;
};

/* What a worker's thread needs to know; one each. */
struct worker {
	struct pool *pool;
	unsigned number;
};

static void
lock(struct pool *pool)
{
	int failed = pthread_mutex_lock(&pool->lock);

	assert(failed == 0);
}

static void
unlock(struct pool *pool)
{
	int failed = pthread_mutex_unlock(&pool->lock);

	assert(failed == 0);
}

static void
wait_for(struct pool *pool, pthread_cond_t *condition)
{
	int failed = pthread_cond_wait(condition, &pool->lock);

	assert(failed == 0);
}

/* After the unlocking, so that who is woken finds the lock free. */
static void
tell(pthread_cond_t *condition)
{
	int failed = pthread_cond_signal(condition);

	assert(failed == 0);
}

/* The pool comes to an end, one way or the other. */
static void
tell_all(struct pool *pool)
{
	int failed = pthread_cond_broadcast(&pool->has_space) |
	    pthread_cond_broadcast(&pool->has_work) | pthread_cond_broadcast(&pool->has_done);

	assert(failed == 0);
}

static unsigned
slot_of(const struct pool *pool, uint64_t number)
{
	return (unsigned)(number % pool->options.slots);
}

/* ---- filling ---- */

int
pool_claim(struct pool *pool, unsigned *ret_slot, struct err *err)
{
	int result = 0;

	lock(pool);
	while (pool->submitted - pool->released == pool->options.slots && !pool->has_failed &&
	    !pool->is_stopping)
		wait_for(pool, &pool->has_space);
	if (pool->has_failed)
		*err = pool->err;
	if (pool->has_failed || pool->is_stopping)
		result = -1;
	else
		*ret_slot = slot_of(pool, pool->submitted);
	unlock(pool);

	return result;
}

/* Hand on the claimed slot; with an error nobody works on it, and the drainer finds it. */
static void
submit(struct pool *pool, const struct err *failure)
{
	pthread_cond_t *waiting;
	struct slot *slot;

	lock(pool);
	slot = &pool->slots[slot_of(pool, pool->submitted)];
	slot->has_failed = failure != NULL;
	slot->is_done = failure != NULL || pool->options.work == NULL;
	if (failure != NULL)
		slot->err = *failure;
	pool->submitted++;
	waiting = slot->is_done ? &pool->has_done : &pool->has_work;
	unlock(pool);
	tell(waiting);
}

void
pool_submit(struct pool *pool)
{
	submit(pool, NULL);
}

static void
end(struct pool *pool)
{
	lock(pool);
	pool->is_ended = true;
	tell_all(pool);
	unlock(pool);
}

int
pool_settle(struct pool *pool, struct err *err)
{
	int result = 0;

	end(pool);
	lock(pool);
	while (pool->released < pool->submitted && !pool->has_failed)
		wait_for(pool, &pool->has_space);
	if (pool->has_failed) {
		*err = pool->err;
		result = -1;
	}
	unlock(pool);

	return result;
}

/* ---- draining ---- */

static bool
is_oldest_ready(const struct pool *pool)
{
	return pool->released < pool->submitted &&
	    pool->slots[slot_of(pool, pool->released)].is_done;
}

int
pool_take(struct pool *pool, unsigned *ret_slot, bool *ret_is_end, struct err *err)
{
	const struct slot *slot;
	int result = 0;

	lock(pool);
	while (!is_oldest_ready(pool) && !pool->is_stopping &&
	    !(pool->is_ended && pool->released == pool->submitted))
		wait_for(pool, &pool->has_done);
	slot = &pool->slots[slot_of(pool, pool->released)];
	*ret_is_end = pool->is_stopping || pool->released == pool->submitted;
	*ret_slot = slot_of(pool, pool->released);
	if (!*ret_is_end && slot->has_failed) {
		*err = slot->err;
		result = -1;
	}
	unlock(pool);

	return result;
}

void
pool_release(struct pool *pool)
{
	lock(pool);
	pool->slots[slot_of(pool, pool->released)].is_done = false;
	pool->released++;
	unlock(pool);
	tell(&pool->has_space);
}

/* ---- threads ---- */

/* Get a slot to work on; false when it is time to leave. */
static bool
next_work(struct pool *pool, unsigned *ret_slot)
{
	bool has_work;

	lock(pool);
	/* A slot whose filling failed is nobody's work. */
	while (pool->started < pool->submitted && pool->slots[slot_of(pool, pool->started)].is_done)
		pool->started++;
	while (pool->started == pool->submitted && !pool->is_ended && !pool->is_stopping)
		wait_for(pool, &pool->has_work);
	has_work = !pool->is_stopping && pool->started < pool->submitted &&
	    !pool->slots[slot_of(pool, pool->started)].is_done;
	if (has_work)
		*ret_slot = slot_of(pool, pool->started++);
	unlock(pool);

	return has_work;
}

static void *
worker_main(void *argument)
{
	struct worker *worker = argument;
	struct pool *pool = worker->pool;
	unsigned number = worker->number;
	unsigned slot;

	free(worker);
	while (next_work(pool, &slot)) {
		struct err err = ERR_INIT;
		bool has_failed = pool->options.work(pool->options.context, number, slot, &err) < 0;
		bool is_due;

		lock(pool);
		pool->slots[slot].has_failed = has_failed;
		if (has_failed)
			pool->slots[slot].err = err;
		pool->slots[slot].is_done = true;
		is_due = is_oldest_ready(pool);
		unlock(pool);
		if (is_due)
			tell(&pool->has_done);
	}

	return NULL;
}

static void *
filler_main(void *argument)
{
	struct pool *pool = argument;
	struct err err = ERR_INIT;
	bool is_end = false;
	unsigned slot;

	while (!is_end && pool_claim(pool, &slot, &err) == 0) {
		if (pool->options.fill(pool->options.context, slot, &is_end, &err) < 0) {
			submit(pool, &err);
			is_end = true;
		} else if (!is_end) {
			submit(pool, NULL);
		}
	}
	end(pool);

	return NULL;
}

static void *
drainer_main(void *argument)
{
	struct pool *pool = argument;
	struct err err = ERR_INIT;
	bool is_end = false;
	unsigned slot;

	while (pool_take(pool, &slot, &is_end, &err) == 0) {
		if (is_end)
			return NULL;
		if (pool->options.drain(pool->options.context, slot, &err) < 0)
			break;
		pool_release(pool);
	}

	lock(pool);
	pool->has_failed = true;
	pool->err = err;
	tell_all(pool);
	unlock(pool);

	return NULL;
}

static int
start_thread(struct pool *pool, void *(*run)(void *), void *argument, struct err *err)
{
	int failed = thread_start(&pool->threads[pool->threads_count], run, argument);

	if (failed != 0) {
		errno = failed;
		return err_sys(err, "cannot start a thread");
	}
	pool->threads_count++;

	return 0;
}

static int
start_worker(struct pool *pool, unsigned number, struct err *err)
{
	SCOPED(freep) struct worker *worker = xmalloc(sizeof(*worker));

	*worker = (struct worker){ .pool = pool, .number = number };
	if (start_thread(pool, worker_main, worker, err) < 0)
		return -1;
	(void)TAKE(worker);

	return 0;
}

static int
start_threads(struct pool *pool, struct err *err)
{
	const struct pool_options *options = &pool->options;

	if (options->fill != NULL && start_thread(pool, filler_main, pool, err) < 0)
		return -1;
	if (options->drain != NULL && start_thread(pool, drainer_main, pool, err) < 0)
		return -1;
	for (unsigned i = 0; options->work != NULL && i < options->workers; i++) {
		if (start_worker(pool, i, err) < 0)
			return -1;
	}

	return 0;
}

struct pool *
pool_start(const struct pool_options *options, struct err *err)
{
	SCOPED(pool_freep) struct pool *pool = xcalloc(1, sizeof(*pool));
	int result;

	assert(options->slots >= 2 && (options->fill == NULL) != (options->drain == NULL));
	assert(options->work == NULL || options->workers > 0);
	pool->options = *options;
	pool->slots = xcalloc(options->slots, sizeof(*pool->slots));
	pool->threads = xcalloc(options->workers + 1, sizeof(*pool->threads));
	result = pthread_mutex_init(&pool->lock, NULL);
	assert(result == 0);
	result = pthread_cond_init(&pool->has_space, NULL) |
	    pthread_cond_init(&pool->has_work, NULL) | pthread_cond_init(&pool->has_done, NULL);
	assert(result == 0);

	return start_threads(pool, err) == 0 ? TAKE(pool) : NULL;
}

void
pool_free(struct pool *pool)
{
	if (pool == NULL)
		return;
	lock(pool);
	pool->is_stopping = true;
	tell_all(pool);
	unlock(pool);
	for (unsigned i = 0; i < pool->threads_count; i++)
		(void)pthread_join(pool->threads[i], NULL);

	(void)pthread_cond_destroy(&pool->has_space);
	(void)pthread_cond_destroy(&pool->has_work);
	(void)pthread_cond_destroy(&pool->has_done);
	(void)pthread_mutex_destroy(&pool->lock);
	free(pool->threads);
	free(pool->slots);
	free(pool);
}
