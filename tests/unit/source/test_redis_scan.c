/* The commands of a replication stream, found in bytes that arrive in pieces of any size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/str.h"
#include "source/redis/resp.h"
#include "source/redis/stream/scan.h"

enum { SEEN_MAX = 32 };

struct seen {
	enum scan_event event;
	uint64_t end; /* bytes of commands so far */
	char name[SCAN_WORD_BYTES + 1];
	unsigned db;
	bool is_boundary;
};

struct watch {
	struct scan scan;
	struct seen seen[SEEN_MAX];
	size_t count;
	struct err err;
};

static int
feed(struct watch *watch, const void *data, size_t size, size_t step)
{
	const char *bytes = data;

	for (size_t at = 0; at < size;) {
		enum scan_event event;
		size_t now = size - at < step ? size - at : step;
		size_t used;

		if (scan_feed(&watch->scan, bytes + at, now, &used, &event, &watch->err) < 0)
			return -1;
		assert_true(used > 0 && used <= now);
		at += used;
		if (event == SCAN_NOTHING)
			continue;
		assert_true(watch->count < SEEN_MAX);
		struct seen *seen = &watch->seen[watch->count++];
		seen->event = event;
		seen->end = watch->scan.bytes;
		memcpy(seen->name, watch->scan.words[0], sizeof(seen->name));
		seen->db = watch->scan.db;
		seen->is_boundary = scan_is_boundary(&watch->scan);
	}

	return 0;
}

static void
begin(struct watch *watch, unsigned db)
{
	*watch = (struct watch){ .err = ERR_INIT };
	scan_init(&watch->scan, db);
}

#define PING "*1\r\n$4\r\nPING\r\n"
#define SELECT_5 "*2\r\n$6\r\nSELECT\r\n$1\r\n5\r\n"
#define SET_A "*3\r\n$3\r\nset\r\n$1\r\na\r\n$2\r\n\r\n\r\n"
#define MULTI "*1\r\n$5\r\nMULTI\r\n"
#define EXEC "*1\r\n$4\r\nEXEC\r\n"

static void
commands_are_the_same_however_they_are_cut(void **state)
{
	static const char text[] = PING "\n\n" SELECT_5 SET_A MULTI SET_A EXEC "\n" PING;

	(void)state;
	for (size_t step = 1; step < sizeof(text); step++) {
		struct watch watch;

		begin(&watch, 3);
		assert_int_equal(feed(&watch, text, sizeof(text) - 1, step), 0);
		assert_int_equal(watch.count, 10);
		assert_string_equal(watch.seen[0].name, "PING");
		assert_int_equal(watch.seen[0].end, strlen(PING));
		assert_int_equal(watch.seen[0].db, 3);
		assert_int_equal(watch.seen[1].event, SCAN_BLANK);
		assert_int_equal(watch.seen[2].event, SCAN_BLANK);
		/* Empty lines are no part of the stream: its offset does not advance by them. */
		assert_int_equal(watch.seen[3].end, strlen(PING SELECT_5));
		assert_int_equal(watch.seen[3].db, 5);
		assert_string_equal(watch.seen[4].name, "SET");
		assert_true(watch.seen[4].is_boundary);
		assert_string_equal(watch.seen[5].name, "MULTI");
		assert_false(watch.seen[5].is_boundary);
		assert_false(watch.seen[6].is_boundary);
		assert_string_equal(watch.seen[7].name, "EXEC");
		assert_true(watch.seen[7].is_boundary);
		assert_int_equal(watch.scan.commands_count, 7);
		assert_int_equal(watch.scan.bytes, sizeof(text) - 1 - 3);
		assert_true(scan_is_between(&watch.scan));
	}
}

static void
first_words_are_kept_and_values_are_not(void **state)
{
	SCOPED(str_done) struct str text = STR_INIT;
	struct watch watch;
	char large[3 * SCAN_WORD_BYTES];

	(void)state;
	memset(large, 'x', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	resp_add_command(&text,
	    (const char *const[]){ "Hset", "key", large, "more", "and more", NULL });
	for (size_t step = 1; step < text.size; step += 7) {
		begin(&watch, 0);
		assert_int_equal(feed(&watch, text.data, text.size, step), 0);
		assert_int_equal(watch.count, 1);
		assert_int_equal(watch.scan.words_count, 5);
		assert_string_equal(watch.scan.words[0], "HSET");
		assert_string_equal(watch.scan.words[1], "key");
		assert_int_equal(strlen(watch.scan.words[2]), SCAN_WORD_BYTES);
		assert_int_equal(watch.scan.word_bytes[2], sizeof(large) - 1);
		assert_int_equal(watch.scan.command_bytes, text.size);
	}
}

/* A value larger than any buffer passes in constant memory. */
static void
a_large_value_is_followed(void **state)
{
	static const char head[] = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$104857600\r\n";
	static char zeros[64 * 1024];
	struct watch watch;

	(void)state;
	begin(&watch, 0);
	assert_int_equal(feed(&watch, head, sizeof(head) - 1, SIZE_MAX), 0);
	for (unsigned i = 0; i < 104857600 / sizeof(zeros); i++)
		assert_int_equal(feed(&watch, zeros, sizeof(zeros), SIZE_MAX), 0);
	assert_int_equal(watch.count, 0);
	assert_int_equal(scan_command_so_far(&watch.scan), sizeof(head) - 1 + 104857600);
	assert_int_equal(feed(&watch, "\r\n", 2, 1), 0);
	assert_int_equal(watch.count, 1);
}

static void
refuse(const char *text, const char *word)
{
	for (size_t step = 1; step <= strlen(text); step++) {
		struct watch watch;

		begin(&watch, 0);
		if (feed(&watch, text, strlen(text), step) == 0)
			fail_msg("'%s' was taken", text);
		assert_int_equal(watch.err.kind, ERR_DATA);
		assert_non_null(strstr(watch.err.msg, word));
	}
}

static void
what_is_no_stream_is_refused_with_its_place(void **state)
{
	(void)state;
	refuse("PING\r\n", "behind 0 bytes");
	refuse(PING "$4\r\n", "behind 14 bytes");
	refuse(PING "*0\r\n", "behind 1");
	refuse("*-1\r\n", "number");
	refuse("*9999999999999\r\n", "number");
	refuse("*1\r\n$-1\r\n", "number");
	refuse("*1\r\n$536870913\r\n", "length");
	refuse("*1\r\n$4\r\nPINGS\r\n", "end of a word");
	refuse("*1\n$4\r\nPING\r\n", "number");
	refuse("*1\r\n:4\r\n", "a word");
	refuse("# a note\r\n", "a command");
	refuse("*2\r\n$6\r\nSELECT\r\n$2\r\n-1\r\n", "database");
	refuse("*1\r\n$6\r\nSELECT\r\n", "database");
}

/* Bytes that were lost between two that fit together show in what they open and close. */
static void
transactions_come_in_pairs(void **state)
{
	(void)state;
	refuse(PING EXEC, "EXEC");
	refuse(MULTI SET_A MULTI, "MULTI");
}

static void
notes_stand_in_files_alone(void **state)
{
	static const char text[] = "#TS:1764246000\r\n" PING "#US:17\n" PING;

	(void)state;
	for (size_t step = 1; step < sizeof(text); step++) {
		struct watch watch;

		begin(&watch, 0);
		watch.scan.has_notes = true;
		assert_int_equal(feed(&watch, text, sizeof(text) - 1, step), 0);
		assert_int_equal(watch.count, 4);
		assert_int_equal(watch.seen[0].event, SCAN_NOTE);
		assert_int_equal(watch.seen[2].event, SCAN_NOTE);
		assert_string_equal(watch.scan.note, "US:17");
		assert_int_equal(watch.scan.bytes, 2 * strlen(PING));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_are_the_same_however_they_are_cut),
		cmocka_unit_test(first_words_are_kept_and_values_are_not),
		cmocka_unit_test(a_large_value_is_followed),
		cmocka_unit_test(what_is_no_stream_is_refused_with_its_place),
		cmocka_unit_test(transactions_come_in_pairs),
		cmocka_unit_test(notes_stand_in_files_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
