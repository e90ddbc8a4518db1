/* Where the stream goes on: what the archive has, other histories, and the end of a piece. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "os/file.h"
#include "source/archive.h"
#include "source/redis/handshake.h"
#include "source/redis/stream/follow_internal.h"
#include "source/redis/stream/fork.h"
#include "source/redis/stream/pack.h"
#include "source/source.h"
#include "stream/blob.h"
#include "stream/blob_note.h"

enum { PIECE_BYTES = 16 * 1024 * 1024 };
#define PIECE_AGE_US (10 * 60 * US_PER_S)

/* ---- what the archive has ------------------------------------------------------------------------ */

struct last_piece {
	struct archive_visitor base;
	uint32_t branch; /* 0: there is none */
	uint64_t offset;
	enum piece_form form;
};

/* The packed one counts where both are there: the tail was about to be removed. */
static int
visit(struct archive_visitor *visitor, const char *name, struct err *err)
{
	struct last_piece *last = (struct last_piece *)visitor;
	uint32_t branch;
	uint64_t offset;
	enum piece_form form;

	(void)err;
	if (!piece_name_parse(name, &branch, &offset, &form) || branch < last->branch ||
	    (branch == last->branch && offset < last->offset))
		return 0;
	if (branch == last->branch && offset == last->offset && form == PIECE_TAIL)
		return 0;
	last->branch = branch;
	last->offset = offset;
	last->form = form;

	return 0;
}

static int
set_aside(struct following *following, const char *name, struct err *err)
{
	char stamp[CLOCK_TEXT_SIZE];
	SCOPED(freep) char *from = path_join(following->archive->path, name);
	SCOPED(freep)
	char *to = xasprintf("%s.damaged-%s", from, clock_format_compact(clock_wall(), stamp));

	log_warning("%s; it is kept as '%s'", err->msg, to);
	err_clear(err);
	if (rename(from, to) < 0)
		return err_sys(err, "cannot rename '%s'", from);

	return dir_sync(following->archive->path, err);
}

static int
go_on_in_tail(struct following *following, const char *name, struct err *err)
{
	uint64_t dropped = 0;

	if (tail_resume(&following->tail, name, &dropped, err) < 0)
		return -1;
	following->offset = tail_offset(&following->tail);
	following->db = following->tail.reader.scan.db;
	if (following->heard_at.us == 0)
		following->heard_at = following->tail.reader.time;
	if (dropped > 0)
		log_debug("%" PRIu64 " bytes behind the last whole command were dropped", dropped);

	return 0;
}

static int
go_on_behind(struct following *following, const char *name, struct err *err)
{
	SCOPED(archive_marks_done) struct archive_marks marks = { .items = { .count = 0 } };
	SCOPED(str_done) struct str note = STR_INIT_MAX(PIECE_NOTE_MAX_BYTES);
	SCOPED(blob_freep) struct blob *blob = archive_get(following->archive, name, err);
	struct piece piece;

	if (blob == NULL)
		return -1;
	if (blob_note_read(blob, PIECE_NOTE_MAX_BYTES, &note, err) < 0 ||
	    piece_note_parse(note.data, note.size, &piece, &following->db, &marks, err) < 0)
		return err_wrap(err, "'%s'", name);
	following->offset = piece.end_position;
	if (following->heard_at.us == 0)
		following->heard_at = piece.last_time;

	return 0;
}

/* Branches that were begun just before a crash. */
static void
move_to_child(struct following *following)
{
	for (size_t i = 0; i < following->branches.items.count; i++) {
		const struct branch *branch = &following->branches.items.items[i];

		if (branch->parent == following->branch && branch->from == following->offset)
			following->branch = branch->number;
	}
}

/* A folder that was filled by us and is empty is another folder. */
static int
check_not_emptied(const struct following *following, struct err *err)
{
	if (following->kept_branch == 0)
		return 0;
	(void)err_set(err, ERR_NOT_FOUND,
	    "the stream that was received up to offset %" PRIu64 " of timeline %" PRIu32
	    " is not in '%s' any more",
	    following->kept_offset, following->kept_branch, following->archive->path);

	return err_hint(err,
	    "Is the right disk mounted? To begin anew there, end this run and start it again.");
}

int
following_find_place(struct following *following, struct err *err)
{
	for (;;) {
		struct last_piece last = { .base = { .visit = visit } };
		char name[PIECE_NAME_SIZE];

		branches_done(&following->branches);
		following->branches = (struct branches){ .items = { .count = 0 } };
		following->branch = 0;
		if (branches_read(following->archive, &following->branches, err) < 0 ||
		    archive_scan(following->archive, &last.base, err) < 0)
			return -1;
		if (last.branch == 0)
			return check_not_emptied(following, err);
		following->branch = last.branch;
		(void)piece_name(last.branch, last.offset, last.form, name);
		if (last.form == PIECE_PACKED) {
			if (go_on_behind(following, name, err) < 0)
				return -1;
			break;
		}
		if (go_on_in_tail(following, name, err) == 0)
			break;
		if (err->kind != ERR_DATA || set_aside(following, name, err) < 0)
			return -1;
	}
	move_to_child(following);

	return 0;
}

/* ---- tails ------------------------------------------------------------------------------------- */

int
following_open_tail(struct following *following, struct err *err)
{
	const struct branch *branch = branches_find(&following->branches, following->branch);
	struct piece_head head = { .branch = following->branch,
		.offset = following->offset,
		.db = following->db };

	if (tail_is_open(&following->tail))
		return 0;
	if (branch == NULL)
		return err_set(err, ERR_DATA, "timeline %" PRIu32 " has no history file in '%s'",
		    following->branch, following->archive->path);
	(void)memcpy(head.replid, branch->replid, sizeof(head.replid));

	return tail_begin(&following->tail, &head, err);
}

/* One that cannot be packed stays as it is: nothing is lost, and `settle` says what is wrong. */
static int
end_tail(struct following *following, struct err *err)
{
	struct err why = ERR_INIT;
	char name[PIECE_NAME_SIZE];

	if (!tail_is_open(&following->tail))
		return 0;
	(void)memcpy(name, following->tail.name, sizeof(name));
	if (tail_close(&following->tail, err) < 0)
		return -1;
	if (pack_tail(following->archive, name, NULL, &why) == 0)
		return 0;
	if (why.kind != ERR_DATA && why.kind != ERR_BUSY) {
		*err = why;
		return -1;
	}
	log_warning("%s; it stays as it is, continuing", why.msg);

	return 0;
}

int
following_roll(struct following *following, struct err *err)
{
	struct tail *tail = &following->tail;
	int64_t age_us = following->request->piece_age_us > 0 ? following->request->piece_age_us
							      : PIECE_AGE_US;

	if (tail->file_bytes >= PIECE_BYTES ||
	    (tail->reader.commands > 0 && clock_elapsed_us(tail->began) >= age_us))
		tail->wants_end = true;
	if (!tail->wants_end || !tail_is_boundary(tail))
		return 0;
	if (end_tail(following, err) < 0)
		return -1;

	return following_open_tail(following, err);
}

/* ---- other histories ------------------------------------------------------------------------------ */

static int
add_branch(struct following *following, const char *replid, uint32_t parent, uint64_t from,
    const char *reason, struct err *err)
{
	char text[160];
	struct branch branch = { .parent = parent, .from = from, .at = clock_wall() };

	(void)snprintf(text, sizeof(text), "%s", reason);
	branch.reason = text;
	(void)snprintf(branch.replid, sizeof(branch.replid), "%s", replid);
	if (branches_add(&following->branches, following->archive, &branch, err) < 0)
		return err_wrap(err, "cannot begin a timeline of the stream");
	following->branch = branch.number;

	return 0;
}

static int
note_divergence(struct following *following, uint64_t fork, struct err *err)
{
	SCOPED(freep)
	char *text =
	    xasprintf("a server was promoted that lagged: %" PRIu64
		      " bytes of the stream behind offset %" PRIu64 " of timeline %" PRIu32
		      " are not on it; they stay the end of that timeline ('--timeline %" PRIu32
		      "')",
		following->offset - fork, fork, following->branch, following->branch);
	const struct archive_event event = {
		.kind = "diverged",
		.at = clock_wall(),
		.branch = following->branch,
		.from_position = fork,
		.to_position = following->offset,
		.text = text,
	};

	return archive_note_event(following->archive, &event, err);
}

/* The db in force at the place; it was looked at before the server was asked. */
static int
go_back(struct following *following, uint64_t offset, struct err *err)
{
	bool is_boundary;

	if (note_divergence(following, offset, err) < 0 ||
	    fork_look(following->archive, following->branch, offset, &is_boundary, &following->db,
		err) < 0)
		return -1;
	following->offset = offset;

	return 0;
}

int
following_branch_off(struct following *following, const struct replication_place *place,
    struct err *err)
{
	if (end_tail(following, err) < 0 ||
	    (place->offset < following->offset && go_back(following, place->offset, err) < 0))
		return -1;
	log_info("the stream goes on under replication id %s: a failover at offset %" PRIu64,
	    place->id, following->offset);

	return add_branch(following, place->id, following->branch, following->offset, "failover",
	    err);
}

/*
 * Where the server's history left ours: it was promoted behind that point.  0: it does not say so.
 */
static uint64_t
find_fork(const struct following *following, const struct str *info)
{
	const struct branch *ours = branches_find(&following->branches, following->branch);
	SCOPED(freep) char *second = redis_info_get(info, "master_replid2");
	uint64_t first_other = redis_info_number(info, "second_repl_offset");

	return ours != NULL && str_equals(second, ours->replid) && first_other > 0 ? first_other - 1
										   : 0;
}

static int
note_gap(struct following *following, uint64_t to, const char *reason, struct err *err)
{
	SCOPED(freep)
	char *text = xasprintf("the stream behind offset %" PRIu64 " of timeline %" PRIu32
			       " is lost (%s): a new base begins at offset %" PRIu64,
	    following->offset, following->branch, reason, to);
	const struct archive_event event = {
		.kind = "gap",
		.at = clock_wall(),
		.branch = following->branch,
		.from_position = following->offset,
		.to_position = to,
		.text = text,
	};

	return archive_note_event(following->archive, &event, err);
}

int
following_note_loss(struct following *following, const struct replication_place *place,
    const struct str *info, struct err *err)
{
	uint64_t fork = find_fork(following, info);
	SCOPED(freep) char *reason = NULL;
	uint64_t offset;
	int result;

	if (following->branch == 0)
		return 0;
	(void)following_can_go_on(following, info, &offset, &reason);
	if (end_tail(following, err) < 0)
		return -1;
	if (following->lost_branch == following->branch &&
	    following->lost_offset == following->offset)
		return 0;
	result = fork > 0 && fork < following->offset
	    ? note_divergence(following, fork, err)
	    : note_gap(following, place->offset, reason != NULL ? reason : "no reason given", err);
	if (result < 0)
		return -1;
	following->lost_branch = following->branch;
	following->lost_offset = following->offset;

	return 0;
}

int
following_start_anew(struct following *following, const struct replication_place *place,
    const struct str *info, struct err *err)
{
	const struct branch *known = branches_find_replid(&following->branches, place->id);
	uint64_t fork = find_fork(following, info);
	bool is_same = known != NULL && known->number == following->branch &&
	    place->offset >= following->offset;

	following->heard_at.us = 0;
	if (!is_same &&
	    add_branch(following, place->id, fork > 0 ? following->branch : 0,
		fork > 0 ? fork : place->offset,
		following->branch == 0 ? "the beginning"
		    : fork > 0         ? "failover, we were ahead or too far behind"
				       : "full synchronisation",
		err) < 0)
		return -1;
	following->offset = place->offset;

	return 0;
}
