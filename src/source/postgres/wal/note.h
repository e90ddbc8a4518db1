/*
 * What is known of one segment's content, as it stands in the note behind its frames
 * (stream/blob_note.h): the index can be made again without reading the log itself.  JSON:
 *
 *   { "format":1, "kind":"wal-segment", "segment":"00000001000000000000000F", "timeline":1,
 *     "segment_bytes":16777216, "system_identifier":"7312...", "is_checked":true,
 *     "first_lsn":"0/F000028", "last_lsn":"0/FFFFF00", "end_lsn":"0/FFFFFE8", "commits":12,
 *     "first_commit":"2025-11-25T02:00:00.000000Z", "last_commit":"...",
 *     "restore_points":[{ "name":"before upgrade", "lsn":"0/F000100", "time":"..." }] }
 *
 * Positions and times that there are none of are left out; unknown keys are passed over.
 */
#ifndef SOURCE_POSTGRES_WAL_NOTE_H
#define SOURCE_POSTGRES_WAL_NOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"
#include "source/postgres/wal/reader.h"

struct archive_mark;
struct err;
struct piece;
struct str;

enum { WAL_NOTE_MAX_BYTES = 256 * 1024 };

struct wal_note {
	uint64_t system_identifier;
	uint64_t segment_bytes;
	uint32_t timeline;
	uint64_t segment; /* its number */
	bool is_checked;  /* every record, read in its place behind the segment before */

	/* of the records that end in it */
	uint64_t first_lsn; /* 0: none */
	uint64_t last_lsn;
	uint64_t end_lsn; /* behind the last one, 0: none ends here */
	uint64_t commits;
	struct wall_time first_commit;
	struct wall_time last_commit;
	VEC(struct wal_restore_point) points;
};

/*
 * Take the facts over that a reader found.  When it has read earlier segments as well, they were
 * to be forgotten first (wal_reader_forget).
 */
void wal_note_fill(struct wal_note *note, const struct wal_summary *summary);
void wal_note_done(struct wal_note *note);

void wal_note_format(const struct wal_note *note, struct str *to);

/* ERR_DATA: it is no note of a segment.  wal_note_done frees it. */
int wal_note_parse(const char *text, size_t size, struct wal_note *ret_note, struct err *err)
    MUST_CHECK;

/* The index's row of it, without what only the file tells; and its marks, names are loans. */
void wal_note_to_piece(const struct wal_note *note, struct piece *ret_piece);
void wal_note_to_mark(const struct wal_note *note, size_t point, struct archive_mark *ret_mark);

#endif
