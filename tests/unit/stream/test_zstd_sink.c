#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "fixture.h"
#include "os/file.h"
#include "os/process.h"
#include "os/stop.h"
#include "stream/blob_note.h"
#include "stream/expand.h"
#include "stream/links.h"
#include "stream/seek_table.h"

static struct sink *
make(struct probe *probe, unsigned workers)
{
	const struct zstd_options options = { .level = 1, .workers = workers };
	struct err err = ERR_INIT;
	struct sink *sink = zstd_sink_new(&probe->base, &options, &err);

	assert_non_null(sink);

	return sink;
}

static int
push(struct sink *sink, const uint8_t *data, size_t size, size_t piece_max, struct err *err)
{
	size_t at = 0;

	while (at < size) {
		size_t piece = size - at < piece_max ? size - at : piece_max;

		if (sink_write(sink, data + at, piece, err) < 0)
			return -1;
		at += piece;
	}

	return 0;
}

/* Expand with the zstd program, if there is one; the caller compares. */
static bool
expand_with_program(const struct probe *probe, const char *path_in, const char *path_out)
{
	const char *const test[] = { "/usr/bin/zstd", "-t", "-q", path_in, NULL };
	const char *const expand[] = { "/usr/bin/zstd", "-d", "-q", "-f", "-o", path_out, path_in,
		NULL };
	const struct process_options runs[] = { { .argv = test }, { .argv = expand } };
	struct err err = ERR_INIT;

	if (access("/usr/bin/zstd", X_OK) < 0)
		return false;
	assert_int_equal(file_write_all(path_in, probe->data, probe->size, 0600, &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
		SCOPED(process_freep) struct process *process = process_start(&runs[i], &err);

		if (process == NULL || process_run(process, NULL, &err) < 0)
			fail_msg("%s", err.msg);
	}

	return true;
}

static void
check_with_program(const struct probe *probe, const uint8_t *data, size_t size)
{
	SCOPED(freep) char *in = xasprintf("/tmp/test-zstd-%ld.zst", (long)getpid());
	SCOPED(freep) char *out = xasprintf("/tmp/test-zstd-%ld.out", (long)getpid());
	SCOPED(freep) uint8_t *expanded = xmalloc(size + 1);
	FILE *file;

	if (!expand_with_program(probe, in, out))
		return;
	file = fopen(out, "rb");
	assert_non_null(file);
	assert_int_equal(fread(expanded, 1, size + 1, file), size);
	(void)fclose(file);
	assert_memory_equal(expanded, data, size);
	(void)unlink(in);
	(void)unlink(out);
}

/* The table speaks of frames of that size, the last one shorter. */
static void
check_table(const struct probe *probe, size_t size, size_t frame_bytes)
{
	struct memory_blob blob;
	struct seek_table table;
	struct err err = ERR_INIT;
	size_t frames = size > 0 ? (size + frame_bytes - 1) / frame_bytes : 1;

	memory_blob_init(&blob, probe->data, probe->size);
	assert_int_equal(seek_table_read(&blob.base, &table, &err), 0);
	assert_int_equal(table.frames.count, frames);
	assert_int_equal(table.plain_bytes, size);
	for (size_t i = 0; i < frames; i++) {
		size_t left = size - i * frame_bytes;

		assert_int_equal(table.frames.items[i].plain_offset, i * frame_bytes);
		assert_int_equal(table.frames.items[i].plain_bytes,
		    left < frame_bytes ? left : frame_bytes);
	}
	seek_table_done(&table);
}

static void
test_sizes(void **state)
{
	static const size_t sizes[] = { 0, 1, 1000, ZSTD_FRAME_BYTES - 1, ZSTD_FRAME_BYTES,
		ZSTD_FRAME_BYTES + 1, 5 * ZSTD_FRAME_BYTES, 7 * ZSTD_FRAME_BYTES + 77 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		SCOPED(freep) uint8_t *data = fixture_text(sizes[i], i);

		for (unsigned workers = 0; workers <= 3; workers++) {
			struct probe *probe = probe_new();
			SCOPED(sink_freep) struct sink *sink = make(probe, workers);
			struct err err = ERR_INIT;

			assert_int_equal(push(sink, data, sizes[i], 1000003, &err), 0);
			assert_int_equal(sink_finish(sink, &err), 0);
			assert_true(probe->is_finished);
			check_table(probe, sizes[i], ZSTD_FRAME_BYTES);
			check_with_program(probe, data, sizes[i]);
		}
	}
}

static void
test_frames_of_another_size(void **state)
{
	enum { FRAME_BYTES = 64 * 1024 };
	static const size_t sizes[] = { 0, FRAME_BYTES - 1, FRAME_BYTES, 20 * FRAME_BYTES + 77 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		SCOPED(freep) uint8_t *data = fixture_text(sizes[i], i);

		for (unsigned workers = 0; workers <= 2; workers++) {
			const struct zstd_options options = {
				.level = 1,
				.workers = workers,
				.frame_bytes = FRAME_BYTES,
			};
			struct err err = ERR_INIT;
			struct probe *probe = probe_new();
			SCOPED(sink_freep)
			struct sink *sink = zstd_sink_new(&probe->base, &options, &err);

			assert_non_null(sink);
			assert_int_equal(push(sink, data, sizes[i], 10007, &err), 0);
			assert_int_equal(sink_finish(sink, &err), 0);
			check_table(probe, sizes[i], FRAME_BYTES);
			check_with_program(probe, data, sizes[i]);
		}
	}
}

/* Some of it put where the sink would copy it to, some handed over; room is asked for at the end. */
static void
test_room(void **state)
{
	enum { FRAME_BYTES = 64 * 1024 };
	static const size_t sizes[] = { 0, 1, FRAME_BYTES, 20 * FRAME_BYTES + 77 };
	const struct zstd_options options = { .level = 1,
		.workers = 2,
		.frame_bytes = FRAME_BYTES,
		.hash_log = 12 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		SCOPED(freep) uint8_t *data = fixture_text(sizes[i], i);
		struct err err = ERR_INIT;
		struct probe *probe = probe_new();
		SCOPED(sink_freep) struct sink *sink = zstd_sink_new(&probe->base, &options, &err);
		size_t at = 0, turn = 0, room_bytes = 0;
		void *room = NULL;

		assert_non_null(sink);
		for (; at < sizes[i]; turn++) {
			size_t piece = sizes[i] - at < 10007 ? sizes[i] - at : 10007;

			assert_int_equal(sink_room(sink, &room, &room_bytes, &err), 0);
			assert_non_null(room);
			assert_in_range(room_bytes, 1, FRAME_BYTES);
			if (turn % 3 == 0) {
				assert_int_equal(sink_write(sink, data + at, piece, &err), 0);
			} else {
				piece = piece < room_bytes ? piece : room_bytes;
				memcpy(room, data + at, piece);
				assert_int_equal(sink_write(sink, room, piece, &err), 0);
			}
			at += piece;
		}
		assert_int_equal(sink_room(sink, &room, &room_bytes, &err), 0);
		assert_int_equal(sink_finish(sink, &err), 0);
		check_table(probe, sizes[i], FRAME_BYTES);
		check_with_program(probe, data, sizes[i]);
		assert_int_equal(sink_room(&probe->base, &room, &room_bytes, &err), 0);
		assert_null(room);
	}
}

static void
expect_expanded(const struct probe *stored, const uint8_t *data, size_t size, unsigned workers)
{
	const struct expand_options options = { .is_zstd = true, .workers = workers };
	struct memory_blob blob;
	struct probe *plain = probe_new();
	SCOPED(sink_freep) struct sink *to = &plain->base;
	struct err err = ERR_INIT;

	memory_blob_init(&blob, stored->data, stored->size);
	if (expand(&blob.base, &options, to, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(plain->size, size);
	assert_memory_equal(plain->data, data, size);
}

/* A note is read back from the end, and no reader takes it for content; a bit of it is missed. */
static void
test_note(void **state)
{
	static const char text[] = "{\"what\":\"a note\"}";
	static const size_t sizes[] = { 0, 77, 2 * ZSTD_FRAME_BYTES + 5 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		SCOPED(freep) uint8_t *data = fixture_text(sizes[i], i);
		SCOPED(str_done) struct str note = STR_INIT;
		SCOPED(str_done) struct str got = STR_INIT;
		const struct zstd_options options = { .level = 1, .workers = 2, .note = &note };
		struct probe *probe = probe_new();
		struct memory_blob blob;
		uint8_t *at;
		struct err err = ERR_INIT;
		SCOPED(sink_freep) struct sink *sink = zstd_sink_new(&probe->base, &options, &err);

		assert_non_null(sink);
		assert_int_equal(push(sink, data, sizes[i], 1000003, &err), 0);
		str_add(&note, text); /* what is to be said is known at the end only */
		assert_int_equal(sink_finish(sink, &err), 0);
		memory_blob_init(&blob, probe->data, probe->size);
		assert_int_equal(blob_note_read(&blob.base, 100, &got, &err), 0);
		assert_string_equal(str_text(&got), text);
		check_with_program(probe, data, sizes[i]);
		expect_expanded(probe, data, sizes[i], 0);
		expect_expanded(probe, data, sizes[i], 2);

		assert_int_equal(blob_note_read(&blob.base, 5, &got, &err), -1);
		assert_int_equal(err.kind, ERR_LIMIT);
		at = memmem(probe->data, probe->size, "a note", 6);
		assert_non_null(at);
		*at ^= 1;
		assert_int_equal(blob_note_read(&blob.base, 100, &got, &err), -1);
		assert_int_equal(err.kind, ERR_DATA);
	}
}

static void
test_no_note(void **state)
{
	SCOPED(str_done) struct str got = STR_INIT;
	struct probe *probe = probe_new();
	SCOPED(sink_freep) struct sink *sink = make(probe, 0);
	struct memory_blob blob;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(sink_finish(sink, &err), 0);
	memory_blob_init(&blob, probe->data, probe->size);
	assert_int_equal(blob_note_read(&blob.base, 100, &got, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
}

/* What does not compress comes out larger, and whole. */
static void
test_noise(void **state)
{
	const size_t size = 2 * ZSTD_FRAME_BYTES + 5;
	SCOPED(freep) uint8_t *data = fixture_noise(size, 3);
	struct probe *probe = probe_new();
	SCOPED(sink_freep) struct sink *sink = make(probe, 2);
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(push(sink, data, size, size, &err), 0);
	assert_int_equal(sink_finish(sink, &err), 0);
	assert_true(probe->size > size);
	check_with_program(probe, data, size);
}

/* The number of threads changes nothing of what is written. */
static void
test_same_bytes(void **state)
{
	const size_t size = 6 * ZSTD_FRAME_BYTES + 1;
	SCOPED(freep) uint8_t *data = fixture_text(size, 4);
	struct probe *probes[2] = { probe_new(), probe_new() };
	struct sink *sinks[2] = { make(probes[0], 0), make(probes[1], 3) };
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(push(sinks[i], data, size, 70000 + i, &err), 0);
		assert_int_equal(sink_finish(sinks[i], &err), 0);
	}
	assert_int_equal(probes[0]->size, probes[1]->size);
	assert_memory_equal(probes[0]->data, probes[1]->data, probes[0]->size);
	sink_free(sinks[0]);
	sink_free(sinks[1]);
}

/* Push all of it into a chain whose end fails at `fails_at`; the failure must come back. */
static void
check_fails(const uint8_t *data, size_t size, unsigned workers, uint64_t fails_at)
{
	atomic_bool is_freed = false;
	struct probe *probe = probe_new();
	struct sink *sink = make(probe, workers);
	struct err err = ERR_INIT;
	int result;

	probe->fails_at = fails_at;
	probe->ret_is_freed = &is_freed;
	result = push(sink, data, size, 333333, &err);
	if (result == 0)
		result = sink_finish(sink, &err);
	assert_int_equal(result, -1);
	assert_int_equal(err.kind, ERR_SPACE);
	assert_string_equal(err.msg, "the probe is full");
	assert_false(probe->is_finished);
	sink_free(sink);
	assert_true(is_freed);
}

/* A failure behind the threads comes back with the next write or with finish: at the first byte,
 * in a frame, in the last frame, in the table. */
static void
test_failing_next(void **state)
{
	const size_t size = 9 * ZSTD_FRAME_BYTES;
	SCOPED(freep) uint8_t *data = fixture_noise(size, 5);
	struct probe *probe = probe_new();
	struct sink *sink = make(probe, 0);
	struct err err = ERR_INIT;
	size_t stored;

	(void)state;
	assert_int_equal(push(sink, data, size, size, &err), 0);
	assert_int_equal(sink_finish(sink, &err), 0);
	stored = probe->size;
	sink_free(sink);

	for (unsigned workers = 0; workers <= 2; workers++) {
		check_fails(data, size, workers, 0);
		check_fails(data, size, workers, stored / 3);
		check_fails(data, size, workers, stored - 200);
		check_fails(data, size, workers, stored - 1);
	}
}

static void
test_failing_finish(void **state)
{
	struct probe *probe = probe_new();
	SCOPED(sink_freep) struct sink *sink = make(probe, 2);
	struct err err = ERR_INIT;

	(void)state;
	probe->fails_in_finish = true;
	assert_int_equal(sink_write(sink, "x", 1, &err), 0);
	assert_int_equal(sink_finish(sink, &err), -1);
	assert_int_equal(err.kind, ERR_SPACE);
}

/* Freed in the middle, with frames in every station and a slow next link. */
static void
test_freed_before_finish(void **state)
{
	const size_t size = 6 * ZSTD_FRAME_BYTES + 1000;
	SCOPED(freep) uint8_t *data = fixture_text(size, 6);

	(void)state;
	for (unsigned workers = 0; workers <= 3; workers++) {
		for (size_t pushed = 0; pushed <= size; pushed += size / 5) {
			atomic_bool is_freed = false;
			struct probe *probe = probe_new();
			struct sink *sink = make(probe, workers);
			struct err err = ERR_INIT;

			probe->ret_is_freed = &is_freed;
			probe->pause_ms = 2;
			assert_int_equal(push(sink, data, pushed, 1 << 20, &err), 0);
			sink_free(sink);
			assert_true(is_freed);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_frames_of_another_size),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_note),
		cmocka_unit_test(test_no_note),
		cmocka_unit_test(test_noise),
		cmocka_unit_test(test_same_bytes),
		cmocka_unit_test(test_failing_next),
		cmocka_unit_test(test_failing_finish),
		cmocka_unit_test(test_freed_before_finish),
	};

	stop_install();

	return cmocka_run_group_tests(tests, NULL, NULL);
}
