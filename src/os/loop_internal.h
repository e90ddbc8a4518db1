/* What the two files of the loop share: the loop itself, and its heap of timers. */
#ifndef OS_LOOP_INTERNAL_H
#define OS_LOOP_INTERNAL_H

#include <signal.h>
#include <stddef.h>

#include "base/vec.h"
#include "os/loop.h"

struct loop_watch {
	struct loop *loop;
	int fd;
	unsigned events;
	loop_fd_function *function; /* NULL: it was freed, and waits for the end of the turn */
	void *context;
};

struct loop_timer {
	struct loop *loop;
	int64_t due_us; /* on CLOCK_BOOTTIME */
	size_t place;   /* in the heap, from 1; 0: not set */
	loop_function *function;
	void *context;
};

struct loop_call {
	int number; /* of a signal */
	loop_function *function;
	void *context;
};

struct loop {
	int epoll_fd;
	bool is_stopped;
	VEC(struct loop_watch *) gone; /* freed when no event of this turn can name them */
	VEC(struct loop_call) deferred;

	int timer_fd;
	int64_t armed_us; /* what timer_fd is set to; 0: nothing */
	struct loop_watch *timer_watch;
	VEC(struct loop_timer *) heap; /* the soonest first */

	int signal_fd;
	sigset_t mask_before;
	struct loop_watch *signal_watch;
	VEC(struct loop_call) signals;

	int step_fd;
	struct loop_watch *step_watch;
	struct loop_call step;
};

int loop_timers_open(struct loop *loop, struct err *err) MUST_CHECK;
void loop_timers_close(struct loop *loop);

/* Set timer_fd to the soonest timer, when it is not. */
void loop_timers_arm(struct loop *loop);

#endif
