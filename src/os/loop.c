#include "os/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/loop_internal.h"

enum { EVENTS_PER_TURN = 64 };

struct loop *
loop_new(struct err *err)
{
	SCOPED(loop_freep) struct loop *loop = xcalloc(1, sizeof(*loop));

	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	loop->timer_fd = -1;
	loop->signal_fd = -1;
	loop->step_fd = -1;
	if (loop->epoll_fd < 0) {
		(void)err_sys(err, "cannot make an event loop");
		return NULL;
	}
	if (loop_timers_open(loop, err) < 0)
		return NULL;

	return TAKE(loop);
}

static void
bury(struct loop *loop)
{
	for (size_t i = 0; i < loop->gone.count; i++)
		free(loop->gone.items[i]);
	loop->gone.count = 0;
}

void
loop_free(struct loop *loop)
{
	if (loop == NULL)
		return;
	loop_timers_close(loop);
	loop_unwatch(loop->signal_watch);
	if (loop->signal_fd >= 0)
		(void)sigprocmask(SIG_SETMASK, &loop->mask_before, NULL);
	closep(&loop->signal_fd);
	bury(loop);
	vec_done(&loop->gone);
	vec_done(&loop->deferred);
	vec_done(&loop->signals);
	closep(&loop->epoll_fd);
	free(loop);
}

/* ---- descriptors ---- */

static uint32_t
epoll_events(unsigned events)
{
	return ((events & LOOP_READ) != 0 ? (uint32_t)EPOLLIN : 0) |
	    ((events & LOOP_WRITE) != 0 ? (uint32_t)EPOLLOUT : 0);
}

struct loop_watch *
loop_watch(struct loop *loop, int fd, unsigned events, loop_fd_function *function, void *context,
    struct err *err)
{
	struct loop_watch *watch = xcalloc(1, sizeof(*watch));
	struct epoll_event event = { .events = epoll_events(events), .data = { .ptr = watch } };

	*watch = (struct loop_watch){ loop, fd, events, function, context };
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
		(void)err_sys(err, "cannot watch descriptor %d", fd);
		free(watch);
		return NULL;
	}

	return watch;
}

int
loop_watch_change(struct loop_watch *watch, unsigned events, struct err *err)
{
	struct epoll_event event = { .events = epoll_events(events), .data = { .ptr = watch } };

	if (watch->events == events)
		return 0;
	if (epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) < 0)
		return err_sys(err, "cannot watch descriptor %d", watch->fd);
	watch->events = events;

	return 0;
}

void
loop_unwatch(struct loop_watch *watch)
{
	if (watch == NULL)
		return;
	(void)epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	watch->function = NULL;
	vec_push(&watch->loop->gone, watch);
}

static void
tell(struct loop_watch *watch, uint32_t happened)
{
	unsigned events = 0;

	if ((happened & (EPOLLHUP | EPOLLERR)) != 0)
		events = watch->events;
	if ((happened & EPOLLIN) != 0)
		events |= LOOP_READ;
	if ((happened & EPOLLOUT) != 0)
		events |= LOOP_WRITE;
	watch->function(watch->fd, events, watch->context);
}

/* ---- turning ---- */

/* Those that were there when this began; what they defer is for the next turn. */
static void
call_deferred(struct loop *loop)
{
	size_t count = loop->deferred.count;

	for (size_t i = 0; i < count; i++) {
		struct loop_call call = loop->deferred.items[i];

		call.function(call.context);
	}
	for (size_t i = count; i < loop->deferred.count; i++)
		loop->deferred.items[i - count] = loop->deferred.items[i];
	loop->deferred.count -= count;
}

int
loop_turn(struct loop *loop, int max_wait_ms, struct err *err)
{
	struct epoll_event events[EVENTS_PER_TURN];
	int count;

	loop_timers_arm(loop);
	count = epoll_wait(loop->epoll_fd, events, EVENTS_PER_TURN,
	    loop->deferred.count > 0 ? 0 : max_wait_ms);
	if (count < 0 && errno != EINTR)
		return err_sys(err, "cannot wait for events");
	for (int i = 0; i < count; i++) {
		struct loop_watch *watch = events[i].data.ptr;

		if (watch->function != NULL)
			tell(watch, events[i].events);
	}
	call_deferred(loop);
	bury(loop);

	return 0;
}

int
loop_run(struct loop *loop, struct err *err)
{
	loop->is_stopped = false;
	while (!loop->is_stopped) {
		if (loop_turn(loop, -1, err) < 0)
			return -1;
	}

	return 0;
}

void
loop_stop(struct loop *loop)
{
	loop->is_stopped = true;
}

void
loop_defer(struct loop *loop, loop_function *function, void *context)
{
	vec_push(&loop->deferred, ((struct loop_call){ .function = function, .context = context }));
}

/* ---- signals ---- */

static void
on_signal(int fd, unsigned events, void *context)
{
	struct loop *loop = context;
	struct signalfd_siginfo info;

	(void)events;
	while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		for (size_t i = 0; i < loop->signals.count; i++) {
			struct loop_call call = loop->signals.items[i];

			if (call.number == (int)info.ssi_signo)
				call.function(call.context);
		}
	}
}

int
loop_signal(struct loop *loop, int number, loop_function *function, void *context, struct err *err)
{
	sigset_t mask;
	sigset_t before;
	int fd;

	(void)sigemptyset(&mask);
	(void)sigaddset(&mask, number);
	for (size_t i = 0; i < loop->signals.count; i++)
		(void)sigaddset(&mask, loop->signals.items[i].number);
	/* Blocked first: between the two calls the signal must not meet its old action. */
	if (sigprocmask(SIG_BLOCK, &mask, &before) < 0)
		return err_sys(err, "cannot block signal %d", number);
	fd = signalfd(loop->signal_fd, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return err_sys(err, "cannot receive signal %d", number);
	if (loop->signal_fd < 0) {
		loop->signal_fd = fd;
		loop->mask_before = before;
		loop->signal_watch = loop_watch(loop, fd, LOOP_READ, on_signal, loop, err);
		if (loop->signal_watch == NULL)
			return -1;
	}
	vec_push(&loop->signals,
	    ((struct loop_call){ .number = number, .function = function, .context = context }));

	return 0;
}
