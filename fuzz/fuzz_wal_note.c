/*
 * Notes of segments: any text is refused, or is written and read again without a change; and what
 * the log may hold, names of restore points in any bytes, is always readable again.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "source/postgres/wal/note.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_again(const struct wal_note *note, const char *text, size_t size)
{
	struct str second = STR_INIT_MAX(1 << 20);
	struct wal_note again;
	struct err err = ERR_INIT;

	assert(wal_note_parse(text, size, &again, &err) == 0);
	assert(again.segment == note->segment && again.timeline == note->timeline);
	assert(again.system_identifier == note->system_identifier);
	assert(again.end_lsn == note->end_lsn && again.commits == note->commits);
	assert(again.first_commit.us == note->first_commit.us);
	assert(again.points.count == note->points.count);
	wal_note_format(&again, &second);
	assert(second.size == size && memcmp(second.data, text, size) == 0);
	str_done(&second);
	wal_note_done(&again);
}

static void
check_text(const uint8_t *data, size_t size)
{
	struct str text = STR_INIT_MAX(1 << 20);
	struct wal_note note;
	struct err err = ERR_INIT;

	if (wal_note_parse((const char *)data, size, &note, &err) < 0) {
		assert(err.msg[0] != '\0');
		return;
	}
	assert(note.points.count <= WAL_POINTS_MAX);
	wal_note_format(&note, &text);
	check_again(&note, text.data, text.size);
	str_done(&text);
	wal_note_done(&note);
}

/* A restore point for each line: the server takes any bytes of its encoding as a name. */
static void
check_names(const uint8_t *data, size_t size)
{
	struct str text = STR_INIT_MAX(1 << 20);
	struct wal_note note = {
		.system_identifier = 1,
		.segment_bytes = 1024 * 1024,
		.timeline = 1,
		.segment = 2,
	};

	for (size_t at = 0; at < size && note.points.count < WAL_POINTS_MAX; at++) {
		struct wal_restore_point *point = vec_add(&note.points);

		for (size_t i = 0; at < size && data[at] != '\n'; at++, i++) {
			if (i < sizeof(point->name) - 1)
				point->name[i] = (char)data[at];
		}
	}
	wal_note_format(&note, &text);
	check_again(&note, text.data, text.size);
	str_done(&text);
	wal_note_done(&note);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 0 && data[0] == '{')
		check_text(data, size);
	else
		check_names(data, size);

	return 0;
}
