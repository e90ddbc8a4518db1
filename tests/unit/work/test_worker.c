#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "os/loop.h"
#include "work/worker.h"

enum { TURN_MS = 10000 };

struct seen {
	struct loop *loop;
	unsigned frames;
	unsigned stalls;
	unsigned ends;
	char text[64];
	struct worker_end end;
};

static void
on_frame(const struct frame *frame, void *context)
{
	struct seen *seen = context;

	seen->frames++;
	(void)strncat(seen->text, frame->text, sizeof(seen->text) - strlen(seen->text) - 1);
}

static void
on_stalled(void *context)
{
	((struct seen *)context)->stalls++;
}

static void
on_ended(const struct worker_end *end, void *context)
{
	struct seen *seen = context;

	seen->ends++;
	seen->end = *end;
}

static struct worker *
start(struct seen *seen, const char *script, int64_t timeout_us, int64_t silence_us)
{
	const char *const argv[] = { "/bin/sh", "-c", script, NULL };
	const struct worker_options options = {
		.argv = argv,
		.timeout_us = timeout_us,
		.silence_us = silence_us,
		.events = { on_frame, on_stalled, on_ended, seen },
	};
	struct err err = ERR_INIT;
	struct worker *worker;

	*seen = (struct seen){ .loop = loop_new(&err) };
	worker = worker_start(seen->loop, &options, &err);
	if (worker == NULL)
		fail_msg("%s", err.msg);

	return worker;
}

static void
wait_end(struct seen *seen)
{
	struct err err = ERR_INIT;

	while (seen->ends == 0)
		assert_int_equal(loop_turn(seen->loop, TURN_MS, &err), 0);
	assert_int_equal(seen->ends, 1);
	loop_free(seen->loop);
}

#define TO_PIPE "fd=${BLACKSTART_WORKER%% *}; exec 9>/proc/self/fd/$fd; "

static void
test_frames_and_the_result(void **state)
{
	struct seen seen;

	(void)state;
	(void)start(&seen,
	    TO_PIPE "printf 'bsw\\001\\003\\0\\0\\0abc' >&9; printf 'bsw\\003\\001\\0\\0\\0!' >&9;"
		    "printf 'bsw\\005\\014\\0\\0\\0\\010\\0\\0\\0\\002\\0\\0\\0no\\0h' >&9; exit 1",
	    0, 0);
	wait_end(&seen);
	assert_int_equal(seen.frames, 2);
	assert_string_equal(seen.text, "abc!");
	assert_true(seen.end.has_result);
	assert_false(seen.end.was_silent);
	assert_int_equal(seen.end.failure.kind, 8);
	assert_string_equal(seen.end.failure.msg, "no");
	assert_string_equal(seen.end.failure.hint, "h");
	assert_int_equal(seen.end.warnings_count, 2);
}

static void
test_an_end_without_a_word(void **state)
{
	struct seen seen;

	(void)state;
	(void)start(&seen, "exit 7", 0, 0);
	wait_end(&seen);
	assert_false(seen.end.has_result);
	assert_true(seen.end.was_silent);
	assert_non_null(strstr(seen.end.failure.msg, "code 7 without a word"));
	(void)start(&seen, "kill -9 $$", 0, 0);
	wait_end(&seen);
	assert_non_null(strstr(seen.end.failure.msg, "signal 9"));
}

/* It is ended, and what it says after that does not count. */
static void
test_garbage_on_the_pipe_ends_it(void **state)
{
	struct seen seen;

	(void)state;
	(void)start(&seen,
	    TO_PIPE "printf 'bsw\\001\\001\\0\\0\\0x' >&9; echo hello there >&9; exec sleep 60", 0,
	    0);
	wait_end(&seen);
	assert_int_equal(seen.frames, 1);
	assert_int_equal(seen.end.failure.kind, ERR_DATA);
}

static void
test_one_that_never_speaks_is_stalled_again_and_again(void **state)
{
	struct seen seen;
	struct worker *worker = start(&seen, "exec sleep 60", 0, 30 * US_PER_MS);
	struct err err = ERR_INIT;

	(void)state;
	while (seen.stalls < 3)
		assert_int_equal(loop_turn(seen.loop, TURN_MS, &err), 0);
	worker_stop(worker);
	wait_end(&seen);
	assert_true(seen.end.was_silent);
}

static void
test_one_that_takes_too_long_is_ended(void **state)
{
	struct seen seen;
	struct mono_time began = clock_mono();

	(void)state;
	(void)start(&seen, "exec sleep 60", 50 * US_PER_MS, 0);
	wait_end(&seen);
	assert_int_equal(seen.end.failure.kind, ERR_TIMEOUT);
	assert_true(clock_elapsed_us(began) < 20 * US_PER_S);
}

/* A child of its own that holds the pipe open does not hold us up. */
static void
test_a_pipe_that_stays_open(void **state)
{
	struct seen seen;

	(void)state;
	(void)start(&seen, TO_PIPE "(exec sleep 2) & exit 0", 0, 0);
	wait_end(&seen);
	assert_false(seen.end.has_result);
}

static void
test_one_that_is_left_goes_on(void **state)
{
	struct seen seen;
	struct worker *worker = start(&seen, "exec sleep 60", 0, 0);
	pid_t pid = worker_pid(worker);

	(void)state;
	worker_leave(worker);
	assert_int_equal(kill(pid, 0), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	loop_free(seen.loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames_and_the_result),
		cmocka_unit_test(test_an_end_without_a_word),
		cmocka_unit_test(test_garbage_on_the_pipe_ends_it),
		cmocka_unit_test(test_one_that_never_speaks_is_stalled_again_and_again),
		cmocka_unit_test(test_one_that_takes_too_long_is_ended),
		cmocka_unit_test(test_a_pipe_that_stays_open),
		cmocka_unit_test(test_one_that_is_left_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
