#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "os/loop.h"
#include "os/process.h"

enum { TURN_MS = 2000, MANY = 1000 };

static struct loop *
make(void)
{
	struct err err = ERR_INIT;
	struct loop *loop = loop_new(&err);

	if (loop == NULL)
		fail_msg("%s", err.msg);

	return loop;
}

static void
turn(struct loop *loop)
{
	struct err err = ERR_INIT;

	if (loop_turn(loop, TURN_MS, &err) < 0)
		fail_msg("%s", err.msg);
}

static void
count(void *context)
{
	(*(unsigned *)context)++;
}

/* ---- descriptors ---- */

struct pair {
	struct loop *loop;
	struct loop_watch *watches[2];
	unsigned calls;
};

/* Both are ready; whoever is told first takes the other one away. */
static void
remove_both(int fd, unsigned events, void *context)
{
	struct pair *pair = context;

	(void)fd;
	assert_int_equal(events, LOOP_READ);
	pair->calls++;
	loop_unwatch(pair->watches[0]);
	loop_unwatch(pair->watches[1]);
}

static void
test_what_is_unwatched_is_not_told(void **state)
{
	struct err err = ERR_INIT;
	struct loop *loop = make();
	struct pair pair = { .loop = loop };
	int ends[2][2];

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pipe(ends[i]), 0);
		assert_int_equal(write(ends[i][1], "x", 1), 1);
		pair.watches[i] = loop_watch(loop, ends[i][0], LOOP_READ, remove_both, &pair, &err);
		assert_non_null(pair.watches[i]);
	}
	turn(loop);
	assert_int_equal(pair.calls, 1);
	assert_int_equal(loop_turn(loop, 0, &err), 0);
	assert_int_equal(pair.calls, 1);
	loop_free(loop);
	for (int i = 0; i < 2; i++) {
		(void)close(ends[i][0]);
		(void)close(ends[i][1]);
	}
}

static void
note_events(int fd, unsigned events, void *context)
{
	(void)fd;
	*(unsigned *)context = events;
}

static void
test_a_hang_up_is_told_and_a_watch_can_change(void **state)
{
	struct err err = ERR_INIT;
	struct loop *loop = make();
	struct loop_watch *watch;
	unsigned events = 0;
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	watch = loop_watch(loop, ends[0], 0, note_events, &events, &err);
	assert_non_null(watch);
	assert_int_equal(write(ends[1], "x", 1), 1);
	assert_int_equal(loop_turn(loop, 0, &err), 0);
	assert_int_equal(events, 0);
	assert_int_equal(loop_watch_change(watch, LOOP_READ, &err), 0);
	turn(loop);
	assert_int_equal(events, LOOP_READ);
	events = 0;
	(void)close(ends[1]);
	turn(loop);
	assert_int_equal(events, LOOP_READ);
	assert_null(loop_watch(loop, 9999, LOOP_READ, note_events, &events, &err));
	assert_int_equal(err.kind, ERR_IO);
	loop_unwatch(watch);
	(void)close(ends[0]);
	loop_free(loop);
}

/* ---- timers ---- */

struct numbered;
struct order {
	const struct numbered *fired[MANY];
	unsigned count;
};
struct numbered {
	struct order *order;
	struct loop_timer *timer;
	unsigned number;
	int64_t due_from_us; /* it is due between the two */
	int64_t due_to_us;
};

static void
note_number(void *context)
{
	struct numbered *numbered = context;

	numbered->order->fired[numbered->order->count++] = numbered;
}

/* Set in a scrambled order, every third one taken back again: the rest comes in order. */
static void
test_timers_come_in_order(void **state)
{
	struct loop *loop = make();
	static struct numbered all[MANY];
	static struct order order;
	unsigned expected = 0;

	(void)state;
	order.count = 0;
	for (unsigned i = 0; i < MANY; i++) {
		unsigned number = i * 7919 % MANY;

		all[i] = (struct numbered){ .order = &order, .number = number };
		all[i].timer = loop_timer_new(loop, note_number, &all[i]);
		all[i].due_from_us = clock_mono().us + number * 20;
		loop_timer_start(all[i].timer, number * 20);
		all[i].due_to_us = clock_mono().us + number * 20;
	}
	for (unsigned i = 0; i < MANY; i++) {
		if (all[i].number % 3 == 0)
			loop_timer_stop(all[i].timer);
		else
			expected++;
	}
	while (order.count < expected)
		turn(loop);
	for (unsigned i = 1; i < order.count; i++)
		assert_true(order.fired[i - 1]->due_from_us <= order.fired[i]->due_to_us);
	for (unsigned i = 0; i < MANY; i++) {
		assert_false(loop_timer_is_set(all[i].timer));
		loop_timer_free(all[i].timer);
	}
	loop_free(loop);
}

struct again {
	struct loop_timer *timer;
	unsigned count;
};

static void
start_again(void *context)
{
	struct again *again = context;

	again->count++;
	loop_timer_start(again->timer, -5);
}

static void
test_a_timer_that_starts_itself_lets_others_through(void **state)
{
	struct loop *loop = make();
	struct again again = { .count = 0 };
	unsigned deferred = 0;

	(void)state;
	again.timer = loop_timer_new(loop, start_again, &again);
	loop_timer_start(again.timer, 0);
	loop_defer(loop, count, &deferred);
	for (int i = 0; i < 100 && deferred == 0; i++)
		turn(loop);
	assert_int_equal(deferred, 1);
	while (again.count < 3)
		turn(loop);
	loop_timer_free(again.timer);
	loop_free(loop);
}

static void
test_timers_are_on_time(void **state)
{
	struct loop *loop = make();
	unsigned calls = 0;
	struct loop_timer *timer = loop_timer_new(loop, count, &calls);
	struct mono_time began = clock_mono();

	(void)state;
	loop_timer_start(timer, 50 * US_PER_MS);
	while (calls == 0)
		turn(loop);
	assert_true(clock_elapsed_us(began) >= 50 * US_PER_MS);
	assert_true(clock_elapsed_us(began) < 1500 * US_PER_MS);
	loop_timer_free(timer);
	loop_free(loop);
}

/* ---- the rest ---- */

static void
stop(void *context)
{
	loop_stop(context);
}

static void
test_signals_and_stop(void **state)
{
	struct err err = ERR_INIT;
	struct loop *loop = make();
	unsigned hups = 0;

	(void)state;
	assert_int_equal(loop_signal(loop, SIGHUP, count, &hups, &err), 0);
	assert_int_equal(loop_signal(loop, SIGTERM, stop, loop, &err), 0);
	(void)raise(SIGHUP);
	turn(loop);
	assert_int_equal(hups, 1);
	(void)raise(SIGTERM);
	assert_int_equal(loop_run(loop, &err), 0);
	assert_int_equal(hups, 1);
	loop_free(loop);
}

/* Setting the clock to what it says is a step as well; only root may. */
static void
test_a_step_of_the_clock_is_told(void **state)
{
	struct err err = ERR_INIT;
	struct loop *loop = make();
	unsigned steps = 0;
	struct timespec now;

	(void)state;
	assert_int_equal(loop_on_clock_step(loop, count, &steps, &err), 0);
	assert_int_equal(loop_turn(loop, 0, &err), 0);
	assert_int_equal(steps, 0);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (clock_settime(CLOCK_REALTIME, &now) == 0) {
		for (int i = 0; i < 10 && steps == 0; i++)
			turn(loop);
		assert_int_equal(steps, 1);
	}
	loop_free(loop);
}

static void
note_exit(int fd, unsigned events, void *context)
{
	(void)fd;
	(void)events;
	count(context);
}

static void
test_the_end_of_a_child_is_a_descriptor(void **state)
{
	const char *const argv[] = { "/bin/true", NULL };
	const struct process_options options = { .argv = argv };
	struct err err = ERR_INIT;
	struct loop *loop = make();
	struct process *process = process_start(&options, &err);
	struct process_exit end;
	struct loop_watch *watch;
	unsigned ends = 0;

	(void)state;
	assert_non_null(process);
	watch = loop_watch(loop, process_exit_fd(process), LOOP_READ, note_exit, &ends, &err);
	assert_non_null(watch);
	turn(loop);
	assert_int_equal(ends, 1);
	assert_int_equal(process_wait(process, 0, &end, &err), 0);
	assert_int_equal(end.code, 0);
	loop_unwatch(watch);
	process_free(process);
	loop_free(loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_unwatched_is_not_told),
		cmocka_unit_test(test_a_hang_up_is_told_and_a_watch_can_change),
		cmocka_unit_test(test_timers_come_in_order),
		cmocka_unit_test(test_a_timer_that_starts_itself_lets_others_through),
		cmocka_unit_test(test_timers_are_on_time),
		cmocka_unit_test(test_signals_and_stop),
		cmocka_unit_test(test_a_step_of_the_clock_is_told),
		cmocka_unit_test(test_the_end_of_a_child_is_a_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
