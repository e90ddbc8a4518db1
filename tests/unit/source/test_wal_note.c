#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "source/archive.h"
#include "source/postgres/wal/note.h"

enum { SEGMENT_BYTES = 1024 * 1024 };

static struct wal_note
make_note(void)
{
	struct wal_note note = {
		.system_identifier = UINT64_C(18446744073709551615),
		.segment_bytes = SEGMENT_BYTES,
		.timeline = 3,
		.segment = 4097,
		.is_checked = true,
		.first_lsn = UINT64_C(4097) * SEGMENT_BYTES + 40,
		.last_lsn = UINT64_C(4097) * SEGMENT_BYTES + 400,
		.end_lsn = UINT64_C(4097) * SEGMENT_BYTES + 480,
		.commits = 7,
		.first_commit = { INT64_C(1764064800000001) },
		.last_commit = { INT64_C(1764064801000002) },
	};
	struct wal_restore_point *point = vec_add(&note.points);

	(void)memcpy(point->name, "before \"it\"", 12);
	point->lsn = note.first_lsn;
	point->time = note.first_commit;

	return note;
}

static void
test_there_and_back(void **state)
{
	struct wal_note note = make_note();
	struct wal_note back = { .segment_bytes = 0 };
	SCOPED(str_done) struct str text = STR_INIT;
	struct archive_mark mark;
	struct piece piece;
	struct err err = ERR_INIT;

	(void)state;
	wal_note_format(&note, &text);
	if (wal_note_parse(str_text(&text), text.size, &back, &err) < 0)
		fail_msg("%s", err.msg);
	assert_true(back.system_identifier == note.system_identifier);
	assert_int_equal(back.segment_bytes, SEGMENT_BYTES);
	assert_int_equal(back.timeline, 3);
	assert_int_equal(back.segment, 4097);
	assert_true(back.is_checked);
	assert_int_equal(back.first_lsn, note.first_lsn);
	assert_int_equal(back.last_lsn, note.last_lsn);
	assert_int_equal(back.end_lsn, note.end_lsn);
	assert_int_equal(back.commits, 7);
	assert_int_equal(back.first_commit.us, note.first_commit.us);
	assert_int_equal(back.last_commit.us, note.last_commit.us);
	assert_int_equal(back.points.count, 1);

	wal_note_to_piece(&back, &piece);
	assert_int_equal(piece.state, PIECE_SOUND);
	assert_int_equal(piece.end_position, note.end_lsn);
	wal_note_to_mark(&back, 0, &mark);
	assert_string_equal(mark.name, "before \"it\"");
	assert_int_equal(mark.number, 4097);
	assert_int_equal(mark.position, note.first_lsn);
	wal_note_done(&note);
	wal_note_done(&back);
}

static void
test_not_a_note(void **state)
{
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"{}",
		"{\"kind\":\"wal-segment\"}",
		"{\"kind\":\"wal-segment\",\"segment\":\"x\",\"system_identifier\":\"1\","
		"\"segment_bytes\":1048576}",
		"{\"kind\":\"wal-segment\",\"segment\":\"000000010000000000000001\","
		"\"system_identifier\":\"1\",\"segment_bytes\":1048577}",
		"{\"kind\":\"wal-segment\",\"segment\":\"000000010000000000000001\","
		"\"system_identifier\":\"one\",\"segment_bytes\":1048576}",
		"{\"kind\":\"wal-segment\",\"segment\":\"000000010000000000000001\","
		"\"system_identifier\":\"1\",\"segment_bytes\":1048576,\"end_lsn\":7}",
		"{\"kind\":\"wal-segment\",\"segment\":\"000000010000000000000001\","
		"\"system_identifier\":\"1\",\"segment_bytes\":1048576,"
		"\"restore_points\":[{\"lsn\":\"0/1\"}]}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct wal_note note;
		struct err err = ERR_INIT;

		assert_int_equal(wal_note_parse(texts[i], strlen(texts[i]), &note, &err), -1);
		assert_int_equal(err.kind, ERR_DATA);
	}
}

/* A record that ends exactly where the segment begins is none of it. */
static void
test_fill(void **state)
{
	struct wal_note note = { .segment_bytes = SEGMENT_BYTES, .segment = 2, .timeline = 1 };
	struct wal_summary summary = {
		.system_identifier = 5,
		.end_lsn = 2 * SEGMENT_BYTES,
	};

	(void)state;
	wal_note_fill(&note, &summary);
	assert_int_equal(note.end_lsn, 0);
	summary.end_lsn++;
	wal_note_fill(&note, &summary);
	assert_int_equal(note.end_lsn, 2 * SEGMENT_BYTES + 1);
	wal_note_done(&note);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_not_a_note),
		cmocka_unit_test(test_fill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
