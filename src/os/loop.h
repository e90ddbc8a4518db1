/*
 * An event loop: descriptors, timers, signals, and steps of the clock, each told to a function.
 * Everything runs in the one thread that calls loop_run, one callback after the other, so a
 * callback must be quick and never wait.  The end of a child is a descriptor that becomes readable
 * (process_exit_fd).  A loop outlives what it watches; a watch or a timer may be freed in any
 * callback, also its own, and is not called again from that moment.
 */
#ifndef OS_LOOP_H
#define OS_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/scope.h"

struct err;
struct loop;
struct loop_timer;
struct loop_watch;

struct loop *loop_new(struct err *err) MUST_CHECK;
void loop_free(struct loop *loop);
SCOPED_FREE(struct loop, loop_free)

/* Turn until loop_stop; ERR_IO when the kernel refuses to wait. */
int loop_run(struct loop *loop, struct err *err) MUST_CHECK;
void loop_stop(struct loop *loop);

/* One turn: wait for something at most `max_wait_ms` (-1: for ever), and tell it. */
int loop_turn(struct loop *loop, int max_wait_ms, struct err *err) MUST_CHECK;

/* ---- descriptors ---- */

enum { LOOP_READ = 1, LOOP_WRITE = 2 };

/* `events`: what holds now; a hang-up or an error is told as all that was asked for. */
typedef void loop_fd_function(int fd, unsigned events, void *context);

/* The descriptor is a loan: unwatch it before it is closed. */
struct loop_watch *loop_watch(struct loop *loop, int fd, unsigned events,
    loop_fd_function *function, void *context, struct err *err) MUST_CHECK;
int loop_watch_change(struct loop_watch *watch, unsigned events, struct err *err) MUST_CHECK;
void loop_unwatch(struct loop_watch *watch); /* NULL is ok */

/* ---- timers: elapsed time, that of a sleeping machine too (CLOCK_BOOTTIME) ---- */

typedef void loop_function(void *context);

struct loop_timer *loop_timer_new(struct loop *loop, loop_function *function, void *context)
    MUST_CHECK;
void loop_timer_free(struct loop_timer *timer); /* NULL is ok */

/* Call it once, `in_us` from now (0 or less: in the next turn); replaces what was set. */
void loop_timer_start(struct loop_timer *timer, int64_t in_us);
void loop_timer_stop(struct loop_timer *timer);
bool loop_timer_is_set(const struct loop_timer *timer);

/* What timers are measured by: the time since the machine was started, asleep or not. */
int64_t loop_uptime_us(void);

/* ---- the rest ---- */

/* Call it once when the present callbacks are done.  Not to be taken back. */
void loop_defer(struct loop *loop, loop_function *function, void *context);

/* From now on this signal is told here and does nothing else; once for each number. */
int loop_signal(struct loop *loop, int number, loop_function *function, void *context,
    struct err *err) MUST_CHECK;

/* Somebody has set the wall clock: by how much is for the caller to find out. */
int loop_on_clock_step(struct loop *loop, loop_function *function, void *context, struct err *err)
    MUST_CHECK;

#endif
