/*
 * One file of the stream: its name, how it begins, what it holds.  Pure.
 *
 *   BBBBBBBB.OOOOOOOOOOOOOOOO.aof.partial   it grows
 *   BBBBBBBB.OOOOOOOOOOOOOOOO.aof.zst       it is whole, compressed, with a note (piece_note)
 *   BBBBBBBB.history                        the branch: its replication id, and where it began
 *
 * B is the branch, O the stream's offset of its first byte, both hexadecimal.  The content is an
 * AOF that redis-check-aof and a server of 7.0 or later read as it is:
 *
 *   #BLACKSTART:1 <branch> <replication id> <offset> <db>\r\n
 *   SELECT <db>                            ours, no part of the stream, as a command
 *   #TS:<unix seconds>\r\n                 where the second changes
 *   #OUT:<unix microseconds>\r\n           the link was down since then: what follows is as old
 *   #SKEW:<microseconds>\r\n              so much the server's clock was ahead of the receiver's
 *   #US:<unix microseconds>\r\n            what follows arrived then or later, by the server's clock
 *   commands                               byte for byte as the server sent them
 *
 * Lines with '#' stand only between commands and outside of transactions.  So everything that is
 * needed to go on stands in the one file, and after a crash whatever prefix of it is left counts.
 */
#ifndef SOURCE_REDIS_STREAM_PIECE_H
#define SOURCE_REDIS_STREAM_PIECE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"
#include "source/redis/stream/scan.h"

struct archive_mark;
struct archive_marks;
struct err;
struct piece;
struct str;

enum {
	REPLID_SIZE = 41, /* 40 hexadecimal digits */
	PIECE_NAME_SIZE = 40,
	PIECE_OUTAGES_MAX = 1000,
	PIECE_NOTE_MAX_BYTES = 256 * 1024,
};

enum piece_form {
	PIECE_TAIL,
	PIECE_PACKED,
};

/* `name` holds PIECE_NAME_SIZE bytes.  Returns it. */
const char *piece_name(uint32_t branch, uint64_t offset, enum piece_form form, char *name);
const char *piece_history_name(uint32_t branch, char *name);

/* False: it is no name of a piece. */
bool piece_name_parse(const char *name, uint32_t *ret_branch, uint64_t *ret_offset,
    enum piece_form *ret_form);
bool piece_history_name_parse(const char *name, uint32_t *ret_branch);

/* How it begins. */
struct piece_head {
	uint32_t branch;
	char replid[REPLID_SIZE];
	uint64_t offset;
	unsigned db;
};

/* The head's line and the SELECT behind it. */
void piece_head_format(const struct piece_head *head, struct str *to);

/* The line for how far the server's clock, which all times are by, is ahead of ours. */
void piece_skew_format(int64_t skew_us, struct str *to);

/* The lines for this instant; the first only if its second differs from that of `before`. */
void piece_time_format(struct wall_time time, struct wall_time before, struct str *to);

/* The link was down: commands from `offset` on that arrived at `to` may be as old as `from`. */
struct piece_outage {
	uint64_t offset;
	struct wall_time from;
	struct wall_time to;
};

/* The line for it; the time's lines come behind. */
void piece_outage_format(struct wall_time from, struct str *to);

/* What was read of it so far.  piece_reader_done frees what it holds. */
struct piece_reader {
	struct scan scan;
	struct piece_head head;
	bool has_head;
	bool has_select;
	struct wall_time time;  /* of what is read now, 0: not told yet */
	struct wall_time first; /* of its first command */
	struct wall_time last;  /* of its last one */
	uint64_t commands;
	uint64_t offset;                  /* behind the last whole command */
	uint64_t file_at;                 /* where that ends in the file */
	uint64_t safe;                    /* behind the last command outside of a transaction */
	unsigned safe_db;                 /* in force there */
	uint64_t file_read;               /* bytes taken */
	int64_t skew_us;                  /* as told last */
	struct wall_time down_since;      /* read, and its end not yet */
	VEC(struct piece_outage) outages; /* PIECE_OUTAGES_MAX at most */
};
void piece_reader_init(struct piece_reader *reader); /* one that was used: after its done */
void piece_reader_done(struct piece_reader *reader);

/*
 * Take bytes until a command of the stream ends (SCAN_COMMAND), the time changes (SCAN_NOTE), or
 * all are taken.  ERR_DATA.
 */
int piece_reader_feed(struct piece_reader *reader, const void *data, size_t size, size_t *ret_used,
    enum scan_event *ret_event, struct err *err) MUST_CHECK;

/* What is known of it, in the note behind its frames (stream/blob_note.h): JSON. */
void piece_note_format(const struct piece_reader *reader, struct str *to);

/*
 * The index's row, without what only the file tells, the database in force at its end, and its
 * outages as marks, which are yours (archive_marks_done).  ERR_DATA: it is no note of a piece.
 */
int piece_note_parse(const char *text, size_t size, struct piece *ret_piece, unsigned *ret_db,
    struct archive_marks *ret_marks, struct err *err) MUST_CHECK;

/*
 * An outage as the index keeps it: a mark called "down since <unix microseconds>" at the time it
 * ended.  False: the mark is none.
 */
void piece_outage_to_mark(const struct piece_outage *outage, uint32_t branch, uint64_t number,
    struct archive_mark *ret_mark);
bool piece_outage_from_mark(const struct archive_mark *mark, struct piece_outage *ret_outage);

#endif
