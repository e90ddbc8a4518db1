/*
 * A worker as the daemon has it: a child of the same program in a process group of its own, whose
 * frames, silence and end are told through the loop.  The child goes on when we die.
 */
#ifndef WORK_WORKER_H
#define WORK_WORKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/scope.h"
#include "work/frame.h"
#include "work/order.h"

struct loop;
struct worker;

/* How it ended.  Without a result, `failure` says what is known. */
struct worker_end {
	bool has_result;    /* it said so itself */
	bool was_silent;    /* not one frame came */
	struct err failure; /* kind ERR_NONE: well */
	unsigned warnings_count;
};

struct worker_events {
	/* Each frame but the result, as it comes; may be NULL. */
	frame_function *frame;
	/* Nothing came for `silence_us`; again after each such time.  May be NULL. */
	void (*stalled)(void *context);
	/* The last call; the worker is freed behind it. */
	void (*ended)(const struct worker_end *end, void *context);
	void *context;
};

struct worker_options {
	const char *const *argv;
	struct order order; /* its fd is filled in */
	int64_t timeout_us; /* TERM when it takes longer, KILL 30 s later; 0: as long as it likes */
	int64_t silence_us; /* 0: it may be silent */
	bool ends_with_us;  /* SIGTERM when we die: for what never ends by itself */
	struct worker_events events;
};

/* Runs when this returns. */
struct worker *worker_start(struct loop *loop, const struct worker_options *options,
    struct err *err) MUST_CHECK;

pid_t worker_pid(const struct worker *worker);

/* TERM now, KILL when it still runs after 30 s; its end is told as ever. */
void worker_stop(struct worker *worker);

/* Forget it without a word; it goes on. */
void worker_leave(struct worker *worker);

#endif
