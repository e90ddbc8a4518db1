#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/str.h"
#include "fixture.h"
#include "os/stop.h"
#include "stream/links.h"

/* Push in pieces of random size. */
static int
push(struct sink *sink, const uint8_t *data, size_t size, struct err *err)
{
	uint64_t random = size * 2 + 1;
	size_t at = 0;

	while (at < size) {
		size_t piece = (size_t)(fixture_random(&random) % 500000);

		if (piece > size - at)
			piece = size - at;
		if (sink_write(sink, data + at, piece, err) < 0)
			return -1;
		at += piece;
	}

	return 0;
}

static void
test_str(void **state)
{
	SCOPED(str_done) struct str text = STR_INIT_MAX(5);
	SCOPED(sink_freep) struct sink *sink = str_sink_new(&text);
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(sink_write(sink, "abc", 3, &err), 0);
	assert_int_equal(sink_write(sink, "", 0, &err), 0);
	assert_int_equal(sink_write(sink, "de", 2, &err), 0);
	assert_string_equal(str_text(&text), "abcde");
	assert_int_equal(sink_write(sink, "f", 1, &err), -1);
	assert_int_equal(err.kind, ERR_LIMIT);
}

static void
test_fd(void **state)
{
	SCOPED(sink_freep) struct sink *sink = NULL;
	struct err err = ERR_INIT;
	char text[4] = "";
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	sink = fd_sink_new(ends[1], "the pipe");
	assert_int_equal(sink_write(sink, "abc", 3, &err), 0);
	assert_int_equal(sink_finish(sink, &err), 0);
	assert_int_equal(read(ends[0], text, 3), 3);
	assert_string_equal(text, "abc");
	(void)close(ends[0]);
	assert_int_equal(sink_write(sink, "abc", 3, &err), -1);
	assert_non_null(strstr(err.msg, "'the pipe'"));
	(void)close(ends[1]);
}

static void
test_tee(void **state)
{
	atomic_bool is_freed[2] = { false, false };
	struct probe *first = probe_new();
	struct probe *second = probe_new();
	struct sink *sink = tee_sink_new(&first->base, &second->base);
	struct err err = ERR_INIT;

	(void)state;
	first->ret_is_freed = &is_freed[0];
	second->ret_is_freed = &is_freed[1];
	second->fails_at = 6;
	assert_int_equal(sink_write(sink, "abc", 3, &err), 0);
	assert_memory_equal(first->data, "abc", 3);
	assert_memory_equal(second->data, "abc", 3);
	assert_int_equal(sink_write(sink, "defg", 4, &err), -1);
	assert_int_equal(err.kind, ERR_SPACE);
	sink_free(sink);
	assert_true(is_freed[0] && is_freed[1]);
}

static void
test_tee_finish(void **state)
{
	struct probe *first = probe_new();
	struct probe *second = probe_new();
	SCOPED(sink_freep) struct sink *sink = tee_sink_new(&first->base, &second->base);
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(sink_finish(sink, &err), 0);
	assert_true(first->is_finished && second->is_finished);
	second->fails_in_finish = true;
	assert_int_equal(sink_finish(sink, &err), -1);
}

static void
test_handoff(void **state)
{
	static const size_t sizes[] = { 0, 1, 1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1,
		9876543 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		SCOPED(freep) uint8_t *data = fixture_noise(sizes[i], i);
		struct probe *probe = probe_new();
		struct err err = ERR_INIT;
		SCOPED(sink_freep) struct sink *sink = handoff_sink_new(&probe->base, &err);

		assert_non_null(sink);
		assert_int_equal(push(sink, data, sizes[i], &err), 0);
		assert_int_equal(sink_finish(sink, &err), 0);
		assert_true(probe->is_finished);
		assert_int_equal(probe->size, sizes[i]);
		if (sizes[i] > 0)
			assert_memory_equal(probe->data, data, sizes[i]);
	}
}

/* It runs on another thread, and its failure comes back. */
static void
test_handoff_failure(void **state)
{
	static const uint64_t fails_at[] = { 0, 1500000, 9876542 };
	const size_t size = 9876543;
	SCOPED(freep) uint8_t *data = fixture_noise(size, 1);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(fails_at); i++) {
		atomic_bool is_freed = false;
		struct probe *probe = probe_new();
		struct err err = ERR_INIT;
		struct sink *sink = handoff_sink_new(&probe->base, &err);
		int result;

		probe->fails_at = fails_at[i];
		probe->ret_is_freed = &is_freed;
		result = push(sink, data, size, &err);
		if (result == 0)
			result = sink_finish(sink, &err);
		assert_int_equal(result, -1);
		assert_int_equal(err.kind, ERR_SPACE);
		sink_free(sink);
		assert_true(is_freed);
	}
}

static void
test_handoff_freed_early(void **state)
{
	SCOPED(freep) uint8_t *data = fixture_noise(5000000, 1);
	struct err err = ERR_INIT;

	(void)state;
	for (int round = 0; round < 10; round++) {
		struct probe *probe = probe_new();
		SCOPED(sink_freep) struct sink *sink = handoff_sink_new(&probe->base, &err);

		probe->pause_ms = 3;
		assert_int_equal(push(sink, data, 500000 * (size_t)round, &err), 0);
	}
}

/* A chain of two threads. */
static void
test_handoff_twice(void **state)
{
	SCOPED(freep) uint8_t *data = fixture_noise(7000000, 1);
	struct probe *probe = probe_new();
	struct err err = ERR_INIT;
	struct sink *inner = handoff_sink_new(&probe->base, &err);
	SCOPED(sink_freep) struct sink *sink = handoff_sink_new(inner, &err);

	(void)state;
	assert_int_equal(push(sink, data, 7000000, &err), 0);
	assert_int_equal(sink_finish(sink, &err), 0);
	assert_int_equal(probe->size, 7000000);
	assert_memory_equal(probe->data, data, 7000000);
}

static void
test_meter_counts(void **state)
{
	struct progress progress = { .phase = "copying" };
	uint64_t bytes = 0;
	const struct meter_options options = { .progress = &progress, .ret_bytes = &bytes };
	struct probe *probe = probe_new();
	SCOPED(sink_freep) struct sink *sink = meter_sink_new(&probe->base, &options);
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(sink_write(sink, "abc", 3, &err), 0);
	assert_int_equal(sink_write(sink, "de", 2, &err), 0);
	assert_int_equal(bytes, 5);
	assert_int_equal(progress.done_bytes, 5);
	assert_int_equal(sink_finish(sink, &err), 0);
	assert_true(probe->is_finished);
}

/* Slow and fast limits: within a twentieth of what was asked for, for small and large writes. */
static void
test_meter_limits(void **state)
{
	static const struct {
		uint64_t rate;
		size_t size;
		size_t piece;
	} cases[] = {
		{ 10000, 6000, 100 },
		{ 1000000, 600000, 600000 },
		{ 50 * 1000 * 1000, 30 * 1000 * 1000, 4 * 1024 * 1024 },
	};
	SCOPED(freep) uint8_t *data = fixture_noise(30 * 1000 * 1000, 2);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct meter_options options = { .rate_limit_bytes_per_s = cases[i].rate };
		SCOPED(sink_freep) struct sink *sink = meter_sink_new(null_sink_new(), &options);
		struct mono_time began = clock_mono();
		struct err err = ERR_INIT;
		int64_t elapsed_us;

		for (size_t at = 0; at < cases[i].size; at += cases[i].piece) {
			size_t left = cases[i].size - at;

			assert_int_equal(sink_write(sink, data + at,
					     left < cases[i].piece ? left : cases[i].piece, &err),
			    0);
		}
		elapsed_us = clock_elapsed_us(began);
		/* 0.6 s, less at most the burst; the upper bound allows for a busy machine. */
		assert_in_range(elapsed_us, 500 * 950, 900 * 1000);
	}
}

/* A stop ends a write that would wait for minutes; in a process of its own. */
static int
stop_ends_the_wait(void)
{
	const struct meter_options options = { .rate_limit_bytes_per_s = 1000 };
	struct sink *sink = meter_sink_new(null_sink_new(), &options);
	struct mono_time began = clock_mono();
	struct err err = ERR_INIT;
	static const uint8_t data[1000000];
	int result;

	stop_install();
	(void)alarm(1);
	result = sink_write(sink, data, sizeof(data), &err);
	sink_free(sink);
	if (result != -1 || err.kind != ERR_CANCELLED)
		return 1;

	return clock_elapsed_us(began) < 5 * US_PER_S ? 0 : 2;
}

static void
on_alarm(int number)
{
	(void)number;
	stop_request();
}

static void
test_meter_stops(void **state)
{
	struct sigaction action = { .sa_handler = on_alarm };
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		(void)sigaction(SIGALRM, &action, NULL);
		_exit(stop_ends_the_wait());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_str),
		cmocka_unit_test(test_fd),
		cmocka_unit_test(test_tee),
		cmocka_unit_test(test_tee_finish),
		cmocka_unit_test(test_handoff),
		cmocka_unit_test(test_handoff_failure),
		cmocka_unit_test(test_handoff_freed_early),
		cmocka_unit_test(test_handoff_twice),
		cmocka_unit_test(test_meter_counts),
		cmocka_unit_test(test_meter_limits),
		cmocka_unit_test(test_meter_stops),
	};

	(void)sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);

	return cmocka_run_group_tests(tests, NULL, NULL);
}
