/* A file of a Redis stream: its name, its head, what is read from it, and its note. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/str.h"
#include "source/archive.h"
#include "source/redis/stream/piece.h"

#define REPLID "0123456789abcdef0123456789abcdef01234567"
#define SET_A "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n"
#define SELECT_2 "*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n"
#define MULTI "*1\r\n$5\r\nMULTI\r\n"
#define EXEC "*1\r\n$4\r\nEXEC\r\n"

static const struct piece_head head = { .branch = 7, .replid = REPLID, .offset = 1000, .db = 3 };

static void
names_are_read_as_they_are_written(void **state)
{
	char name[PIECE_NAME_SIZE];
	enum piece_form form;
	uint64_t offset;
	uint32_t branch;

	(void)state;
	assert_string_equal(piece_name(7, 1000, PIECE_TAIL, name),
	    "00000007.00000000000003E8.aof.partial");
	assert_true(piece_name_parse(name, &branch, &offset, &form));
	assert_int_equal(branch, 7);
	assert_int_equal(offset, 1000);
	assert_int_equal(form, PIECE_TAIL);
	assert_true(piece_name_parse(piece_name(1, INT64_MAX, PIECE_PACKED, name), &branch, &offset,
	    &form));
	assert_int_equal(form, PIECE_PACKED);
	assert_false(piece_name_parse("00000000.00000000000003E8.aof.zst", &branch, &offset,
	    &form));
	assert_false(piece_name_parse("00000001.00000000000003e8.aof.zst", &branch, &offset,
	    &form));
	assert_false(piece_name_parse("00000001.00000000000003E8.aof", &branch, &offset, &form));
	assert_false(piece_name_parse("00000001.3E8.aof.zst", &branch, &offset, &form));
	assert_false(piece_name_parse("", &branch, &offset, &form));
	assert_true(piece_history_name_parse("0000000A.history", &branch));
	assert_int_equal(branch, 10);
	assert_false(piece_history_name_parse("0000000A.histories", &branch));
}

/* 0, or -1 with err; in steps of `step`. */
static int
read_text(struct piece_reader *reader, const struct str *text, size_t step, struct err *err)
{
	piece_reader_init(reader);
	for (size_t at = 0; at < text->size;) {
		size_t now = text->size - at < step ? text->size - at : step;
		enum scan_event event;
		size_t used;

		if (piece_reader_feed(reader, text->data + at, now, &used, &event, err) < 0)
			return -1;
		at += used;
	}

	return 0;
}

static void
add_time(struct str *to, int64_t us, int64_t before_us)
{
	piece_time_format((struct wall_time){ us }, (struct wall_time){ before_us }, to);
}

static void
make_piece(struct str *to)
{
	piece_head_format(&head, to);
	add_time(to, 5000000, 0);
	str_add(to, SET_A);
	piece_outage_format((struct wall_time){ 5100000 }, to);
	add_time(to, 9000000, 5000000);
	str_add(to, SELECT_2 SET_A);
	add_time(to, 9500000, 9000000);
	str_add(to, MULTI SET_A);
}

static void
a_piece_says_all_that_is_needed(void **state)
{
	SCOPED(str_done) struct str text = STR_INIT;
	uint64_t safe = 1000 + strlen(SET_A SELECT_2 SET_A);

	(void)state;
	make_piece(&text);
	for (size_t step = 1; step <= text.size; step += 3) {
		struct piece_reader reader;
		struct err err = ERR_INIT;

		assert_int_equal(read_text(&reader, &text, step, &err), 0);
		assert_string_equal(reader.head.replid, REPLID);
		assert_int_equal(reader.head.branch, 7);
		/* Our own SELECT counts for nothing but the database. */
		assert_int_equal(reader.head.offset, 1000);
		assert_int_equal(reader.commands, 5);
		assert_int_equal(reader.offset, safe + strlen(MULTI SET_A));
		assert_int_equal(reader.safe, safe);
		assert_int_equal(reader.safe_db, 2);
		assert_int_equal(reader.first.us, 5000000);
		assert_int_equal(reader.last.us, 9500000);
		assert_int_equal(reader.outages.count, 1);
		assert_int_equal(reader.outages.items[0].offset, 1000 + strlen(SET_A));
		assert_int_equal(reader.outages.items[0].from.us, 5100000);
		assert_int_equal(reader.outages.items[0].to.us, 9000000);
		piece_reader_done(&reader);
	}
}

static void
a_note_is_what_was_read(void **state)
{
	SCOPED(archive_marks_done) struct archive_marks marks = { .items = { .count = 0 } };
	SCOPED(piece_reader_done) struct piece_reader reader;
	SCOPED(str_done) struct str text = STR_INIT;
	SCOPED(str_done) struct str note = STR_INIT;
	struct piece_outage outage;
	struct err err = ERR_INIT;
	struct piece piece;
	unsigned db;

	(void)state;
	make_piece(&text);
	str_add(&text, EXEC);
	assert_int_equal(read_text(&reader, &text, SIZE_MAX, &err), 0);
	piece_note_format(&reader, &note);
	assert_int_equal(piece_note_parse(note.data, note.size, &piece, &db, &marks, &err), 0);
	assert_int_equal(piece.branch, 7);
	assert_int_equal(piece.number, 1000);
	assert_int_equal(piece.end_position, reader.offset);
	assert_int_equal(piece.first_time.us, 5000000);
	assert_int_equal(piece.last_time.us, 9500000);
	assert_int_equal(db, 2);
	assert_int_equal(marks.items.count, 1);
	assert_true(piece_outage_from_mark(&marks.items.items[0], &outage));
	assert_int_equal(outage.from.us, 5100000);
	assert_int_equal(outage.to.us, 9000000);
	for (size_t cut = 0; cut < note.size; cut++) {
		struct archive_marks none = { .items = { .count = 0 } };

		err_clear(&err);
		assert_int_equal(piece_note_parse(note.data, cut, &piece, &db, &none, &err), -1);
		assert_int_equal(err.kind, ERR_DATA);
	}
}

static void
what_begins_otherwise_is_refused(void **state)
{
	static const char *const texts[] = {
		SET_A,
		"#TS:17\r\n" SET_A,
		"#BLACKSTART:1 0 " REPLID " 5 0\r\n",
		"#BLACKSTART:1 1 abc 5 0\r\n",
		"#BLACKSTART:1 1 " REPLID " -5 0\r\n",
		"#BLACKSTART:2 1 " REPLID " 5 0\r\n",
		"REDIS0010",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		SCOPED(str_done) struct str text = STR_INIT;
		struct piece_reader reader;
		struct err err = ERR_INIT;

		str_add(&text, texts[i]);
		if (read_text(&reader, &text, SIZE_MAX, &err) == 0)
			fail_msg("'%s' was taken", texts[i]);
		assert_int_equal(err.kind, ERR_DATA);
		piece_reader_done(&reader);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_read_as_they_are_written),
		cmocka_unit_test(a_piece_says_all_that_is_needed),
		cmocka_unit_test(a_note_is_what_was_read),
		cmocka_unit_test(what_begins_otherwise_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
