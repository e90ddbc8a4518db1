#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "os/loop_internal.h"

enum { NS_PER_US = 1000 };

int64_t
loop_uptime_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_BOOTTIME, &now);

	return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / NS_PER_US;
}

static struct timespec
timespec_of(int64_t us)
{
	return (struct timespec){
		.tv_sec = (time_t)(us / US_PER_S),
		.tv_nsec = (long)(us % US_PER_S) * NS_PER_US,
	};
}

/* ---- the heap: each parent is due no later than its two children ---- */

static void
put(struct loop *loop, size_t place, struct loop_timer *timer)
{
	loop->heap.items[place - 1] = timer;
	timer->place = place;
}

static bool
is_sooner(const struct loop *loop, size_t a, size_t b)
{
	return loop->heap.items[a - 1]->due_us < loop->heap.items[b - 1]->due_us;
}

static void
swap(struct loop *loop, size_t a, size_t b)
{
	struct loop_timer *first = loop->heap.items[a - 1];

	put(loop, a, loop->heap.items[b - 1]);
	put(loop, b, first);
}

static void
sift(struct loop *loop, size_t place)
{
	size_t count = loop->heap.count;

	for (; place > 1 && is_sooner(loop, place, place / 2); place /= 2)
		swap(loop, place, place / 2);
	for (;;) {
		size_t child = 2 * place;

		if (child > count)
			return;
		if (child < count && is_sooner(loop, child + 1, child))
			child++;
		if (!is_sooner(loop, child, place))
			return;
		swap(loop, place, child);
		place = child;
	}
}

static void
take_out(struct loop_timer *timer)
{
	struct loop *loop = timer->loop;
	size_t place = timer->place;

	if (place == 0)
		return;
	timer->place = 0;
	if (place < loop->heap.count) {
		put(loop, place, loop->heap.items[loop->heap.count - 1]);
		loop->heap.count--;
		sift(loop, place);
		return;
	}
	loop->heap.count--;
}

/* ---- timers ---- */

struct loop_timer *
loop_timer_new(struct loop *loop, loop_function *function, void *context)
{
	struct loop_timer *timer = xcalloc(1, sizeof(*timer));

	timer->loop = loop;
	timer->function = function;
	timer->context = context;

	return timer;
}

void
loop_timer_free(struct loop_timer *timer)
{
	if (timer == NULL)
		return;
	take_out(timer);
	free(timer);
}

void
loop_timer_start(struct loop_timer *timer, int64_t in_us)
{
	struct loop *loop = timer->loop;

	take_out(timer);
	timer->due_us = loop_uptime_us() + (in_us > 0 ? in_us : 0);
	vec_push(&loop->heap, timer);
	timer->place = loop->heap.count;
	sift(loop, timer->place);
}

void
loop_timer_stop(struct loop_timer *timer)
{
	take_out(timer);
}

bool
loop_timer_is_set(const struct loop_timer *timer)
{
	return timer->place != 0;
}

void
loop_timers_arm(struct loop *loop)
{
	int64_t due_us = loop->heap.count > 0 ? loop->heap.items[0]->due_us : 0;
	struct itimerspec when = { .it_value = timespec_of(due_us) };

	if (due_us == loop->armed_us)
		return;
	loop->armed_us = due_us;
	(void)timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/*
 * Those that are due when this begins: one that is set again for now by its own function waits for
 * the next turn, so that nothing else starves.
 */
static void
on_timer(int fd, unsigned events, void *context)
{
	struct loop *loop = context;
	int64_t now = loop_uptime_us();
	uint64_t expired;

	(void)events;
	if (read(fd, &expired, sizeof(expired)) < 0 && errno != EAGAIN)
		return;
	loop->armed_us = 0;
	while (loop->heap.count > 0 && loop->heap.items[0]->due_us <= now) {
		struct loop_timer *timer = loop->heap.items[0];

		take_out(timer);
		timer->function(timer->context);
	}
}

/* ---- steps of the clock ---- */

/* A timer that never ends by itself, but is cancelled when the clock is set. */
static int
arm_step(int fd, struct err *err)
{
	/* The year 2242, which every kernel accepts. */
	struct itimerspec when = { .it_value = { .tv_sec = (time_t)1 << 33 } };

	if (timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, NULL) == 0 ||
	    errno == ECANCELED)
		return 0;

	return err_sys(err, "cannot watch the clock");
}

static void
on_step(int fd, unsigned events, void *context)
{
	struct loop *loop = context;
	struct err ignored = ERR_INIT;
	uint64_t expired;
	bool is_step = read(fd, &expired, sizeof(expired)) < 0 && errno == ECANCELED;

	(void)events;
	(void)arm_step(fd, &ignored);
	if (is_step)
		loop->step.function(loop->step.context);
}

int
loop_on_clock_step(struct loop *loop, loop_function *function, void *context, struct err *err)
{
	loop->step_fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (loop->step_fd < 0)
		return err_sys(err, "cannot watch the clock");
	if (arm_step(loop->step_fd, err) < 0)
		return -1;
	loop->step = (struct loop_call){ .function = function, .context = context };
	loop->step_watch = loop_watch(loop, loop->step_fd, LOOP_READ, on_step, loop, err);

	return loop->step_watch != NULL ? 0 : -1;
}

int
loop_timers_open(struct loop *loop, struct err *err)
{
	loop->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (loop->timer_fd < 0)
		return err_sys(err, "cannot make a timer");
	loop->timer_watch = loop_watch(loop, loop->timer_fd, LOOP_READ, on_timer, loop, err);

	return loop->timer_watch != NULL ? 0 : -1;
}

void
loop_timers_close(struct loop *loop)
{
	loop_unwatch(loop->timer_watch);
	loop_unwatch(loop->step_watch);
	closep(&loop->timer_fd);
	closep(&loop->step_fd);
	vec_done(&loop->heap);
}
