#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "work/frame.h"

/* What was told, as lines. */
static void
note(const struct frame *frame, void *context)
{
	struct str *text = context;

	str_addf(text, "%d %llu/%llu %d %u [%s] [%s]\n", (int)frame->kind,
	    (unsigned long long)frame->done_bytes, (unsigned long long)frame->total_bytes,
	    (int)frame->failure, frame->warnings_count, frame->text, frame->hint);
	if (frame->kind == FRAME_STATE)
		str_addf(text, "link %d %lld %lld %llu %lld %s\n", (int)frame->link.phase,
		    (long long)frame->link.since.us, (long long)frame->link.next_try.us,
		    (unsigned long long)frame->link.behind_bytes, (long long)frame->link.behind_us,
		    frame->link.why);
}

static const struct frame frames[] = {
	{ .kind = FRAME_STARTED, .text = "pg-daily-20251125-020000-7f3a" },
	{ .kind = FRAME_PROGRESS, .done_bytes = 5, .total_bytes = UINT64_MAX, .text = "copying" },
	{ .kind = FRAME_PROGRESS, .text = NULL },
	{ .kind = FRAME_WARNING, .text = "one" },
	{ .kind = FRAME_STATE,
	    .link = { .phase = LINK_WAITING,
		.since = { 1 },
		.next_try = { 2 },
		.behind_bytes = UINT64_MAX,
		.behind_us = -3,
		.why = "refused" } },
	{ .kind = FRAME_RESULT,
	    .failure = ERR_NET,
	    .warnings_count = 3,
	    .text = "no route",
	    .hint = "Check." },
	{ .kind = FRAME_RESULT, .text = "", .hint = "" },
};
static const char told[] = "1 0/0 0 0 [pg-daily-20251125-020000-7f3a] []\n"
			   "2 5/18446744073709551615 0 0 [copying] []\n"
			   "2 0/0 0 0 [] []\n"
			   "3 0/0 0 0 [one] []\n"
			   "4 0/0 0 0 [refused] []\n"
			   "link 5 1 2 18446744073709551615 -3 refused\n"
			   "5 0/0 8 3 [no route] [Check.]\n"
			   "5 0/0 0 0 [] []\n";

static size_t
pack_all(uint8_t *data)
{
	size_t size = 0;

	for (size_t i = 0; i < ARRAY_SIZE(frames); i++)
		size += frame_pack(&frames[i], data + size);

	return size;
}

/* In pieces of every size. */
static void
test_what_is_packed_is_read(void **state)
{
	static uint8_t data[ARRAY_SIZE(frames) * FRAME_MAX];
	size_t size = pack_all(data);

	(void)state;
	for (size_t piece = 1; piece <= size; piece++) {
		struct frame_reader reader = { .size = 0 };
		struct str text = STR_INIT;
		struct err err = ERR_INIT;

		for (size_t at = 0; at < size; at += piece)
			assert_int_equal(frame_read(&reader, data + at,
					     size - at < piece ? size - at : piece, note, &text,
					     &err),
			    0);
		assert_string_equal(str_text(&text), told);
		str_done(&text);
	}
}

static void
test_long_texts_are_cut(void **state)
{
	static char text[5000];
	uint8_t data[FRAME_MAX];
	struct frame_reader reader = { .size = 0 };
	struct str got = STR_INIT;
	struct err err = ERR_INIT;
	size_t size;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	size = frame_pack(&(struct frame){ .kind = FRAME_RESULT,
			      .failure = ERR_IO,
			      .text = text,
			      .hint = text },
	    data);
	assert_int_equal(size, FRAME_MAX);
	assert_int_equal(frame_read(&reader, data, size, note, &got, &err), 0);
	assert_non_null(strstr(str_text(&got), "xxx] []"));
	str_done(&got);
}

static void
assert_refused(const void *data, size_t size)
{
	struct frame_reader reader = { .size = 0 };
	struct str got = STR_INIT;
	struct err err = ERR_INIT;

	assert_int_equal(frame_read(&reader, data, size, note, &got, &err), -1);
	assert_int_equal(err.kind, ERR_DATA);
	str_done(&got);
}

static void
test_garbage_is_refused(void **state)
{
	(void)state;
	assert_refused("hello, world", 12);
	assert_refused("bsw\0\0\0\0\0", 8);
	assert_refused("bsw\6\0\0\0\0", 8);
	assert_refused("bsw\1\1\4\0\0", 8);
	assert_refused("bsw\1\377\377\377\377", 8);
	assert_refused("bsw\2\17\0\0\0", 8); /* progress of 15 bytes */
	assert_refused("bsw\5\7\0\0\0", 8);  /* a result of 7 */
}

/* Bits flipped in what was packed: read or refused, and never beyond its bytes (the sanitizers). */
static void
test_flipped_bits(void **state)
{
	static uint8_t data[ARRAY_SIZE(frames) * FRAME_MAX];
	size_t size = pack_all(data);

	(void)state;
	srandom(1);
	for (int i = 0; i < 20000; i++) {
		struct frame_reader reader = { .size = 0 };
		struct str got = STR_INIT;
		struct err err = ERR_INIT;
		size_t at = (size_t)random() % size;
		uint8_t before = data[at];

		data[at] = (uint8_t)random();
		(void)!frame_read(&reader, data, size, note, &got, &err);
		data[at] = before;
		str_done(&got);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_packed_is_read),
		cmocka_unit_test(test_long_texts_are_cut),
		cmocka_unit_test(test_garbage_is_refused),
		cmocka_unit_test(test_flipped_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
