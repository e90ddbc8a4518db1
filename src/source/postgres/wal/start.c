#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "source/archive.h"
#include "source/postgres/lsn.h"
#include "source/postgres/postgres_internal.h"
#include "source/postgres/wal/receive_internal.h"
#include "source/postgres/wal/stock.h"
#include "source/postgres/wal/timeline.h"
#include "source/source.h"

static uint64_t
segment_bytes(const struct receiver *receiver)
{
	return receiver->tail.options.segment_bytes;
}

static uint64_t
segment_start(const struct receiver *receiver, uint64_t lsn)
{
	return lsn - lsn % segment_bytes(receiver);
}

/* ---- what must not be forgotten ------------------------------------------------------------------- */

static int
note(struct receiver *receiver, const char *kind, struct wal_place from, uint64_t to,
    const char *text, struct err *err)
{
	const struct archive_event event = {
		.kind = kind,
		.at = clock_wall(),
		.branch = from.timeline,
		.from_position = from.lsn,
		.to_position = to,
		.text = text,
	};

	return archive_note_event(receiver->archive, &event, err);
}

int
wal_start_note_gap(struct receiver *receiver, struct err *err)
{
	char from[LSN_TEXT_SIZE], to[LSN_TEXT_SIZE], size[32];

	if (!receiver->has_gap)
		return 0;
	SCOPED(freep)
	char *text = xasprintf(
	    "WAL from %s to %s of timeline %u (%s) is lost: the server removed it before it was received; recovery cannot pass this gap, make a base backup now",
	    lsn_format(receiver->gap_from.lsn, from), lsn_format(receiver->gap_to, to),
	    receiver->gap_from.timeline,
	    format_bytes(receiver->gap_to - receiver->gap_from.lsn, size));
	if (note(receiver, "gap", receiver->gap_from, receiver->gap_to, text, err) < 0)
		return -1;
	receiver->has_gap = false;

	return 0;
}

/* The event comes first: killed in between, it is told twice, but never not at all. */
int
wal_start_note_divergence(struct receiver *receiver, const struct err *found, struct err *err)
{
	struct wal_place from = receiver->at;
	uint64_t end = 0;
	SCOPED(freep) char *aside = NULL;
	SCOPED(freep)
	char *text = xasprintf(
	    "the server lost WAL that it had sent and we had acknowledged: %s; what we hold is kept beside it as '%s.diverged-...', receiving begins this segment again, make a base backup now",
	    found->msg, receiver->tail.name);
	uint32_t timeline = receiver->tail.timeline;
	uint64_t segment = receiver->tail.segment;

	if (wal_tail_extent(&receiver->tail, timeline, segment, &end, err) < 0)
		return -1;
	end += segment * segment_bytes(receiver);
	if (note(receiver, "diverged", from, end, text, err) < 0)
		return -1;
	receiver->kept_lsn = 0;

	return wal_tail_set_aside(&receiver->tail, timeline, segment, &aside, err);
}

/* The tail stays what it is, the end of its timeline: recovery along that one still needs it. */
int
wal_start_note_orphan(struct receiver *receiver, struct wal_place end, uint64_t fork_lsn,
    struct err *err)
{
	const struct wal_place from = { .timeline = end.timeline, .lsn = fork_lsn };
	char fork_text[LSN_TEXT_SIZE];
	SCOPED(freep)
	char *text = xasprintf(
	    "the server left timeline %u at %s, and we hold %llu bytes of it behind that: they were acknowledged and are orphaned, this server never had them (a standby that lagged was promoted); they are kept: restore --timeline %u brings them back",
	    end.timeline, lsn_format(fork_lsn, fork_text), (unsigned long long)(end.lsn - fork_lsn),
	    end.timeline);

	return note(receiver, "diverged", from, end.lsn, text, err);
}

/* ---- the slot ---------------------------------------------------------------------------------------- */

static int
renew_slot(struct receiver *receiver, bool exists, struct wal_slot *slot, struct err *err)
{
	const char *name = receiver->request->slot;

	if (exists && wal_slot_drop(receiver->stream, name, err) < 0)
		return -1;
	if (wal_slot_create(receiver->stream, name, slot, err) < 0)
		return -1;
	if (!slot->is_usable)
		return err_set(err, ERR_PEER, "replication slot '%s' holds nothing back", name);
	receiver->is_slot_lost = false;

	return 0;
}

/* A usable slot: as it is, made, or made again when the server has given it up. */
static int
prepare_slot(struct receiver *receiver, bool has_stock, struct wal_slot *ret_slot, struct err *err)
{
	const char *name = receiver->request->slot;
	const struct wal_place nowhere = { .timeline = 0 };

	if (wal_slot_read(receiver->stream, name, ret_slot, err) < 0)
		return -1;
	if (ret_slot->exists && ret_slot->is_usable && !receiver->is_slot_lost)
		return 0;
	if (ret_slot->exists && has_stock) {
		SCOPED(freep)
		char *text = xasprintf(
		    "the server has given up the replication slot '%s' (max_slot_wal_keep_size, or it was idle for too long); it is made again",
		    name);

		if (note(receiver, "slot-lost", nowhere, 0, text, err) < 0)
			return -1;
	} else if (has_stock) {
		log_warning("replication slot '%s' is not on the server any more; it is made again",
		    name);
	}

	return renew_slot(receiver, ret_slot->exists, ret_slot, err);
}

/* ---- where to go on ------------------------------------------------------------------------------------ */

/* Where what is stored of a timeline ends, to the byte as far as its tail tells. */
static int
find_end(struct receiver *receiver, const struct wal_stock_line *line, struct wal_place *ret_end,
    struct err *err)
{
	uint64_t next = wal_stock_next(receiver->archive, line, segment_bytes(receiver));
	uint64_t extent = 0;

	if (line->has_tail && line->last_tail == next &&
	    wal_tail_extent(&receiver->tail, line->timeline, next, &extent, err) < 0)
		return -1;
	ret_end->timeline = line->timeline;
	ret_end->lsn = next * segment_bytes(receiver) + extent;

	return 0;
}

/* The server has left this timeline at `fork_lsn`. */
static int
go_on_before_fork(struct receiver *receiver, const struct wal_history *history,
    const struct wal_stock_line *line, uint64_t fork_lsn, struct wal_place *ret_place,
    struct err *err)
{
	uint64_t next = wal_stock_next(receiver->archive, line, segment_bytes(receiver));
	struct wal_place end;

	if (find_end(receiver, line, &end, err) < 0)
		return -1;
	if (end.lsn <= fork_lsn && next * segment_bytes(receiver) < fork_lsn) {
		ret_place->timeline = line->timeline;
		ret_place->lsn = next * segment_bytes(receiver);
		return 0;
	}
	if (end.lsn > fork_lsn && wal_start_note_orphan(receiver, end, fork_lsn, err) < 0)
		return -1;
	ret_place->timeline = wal_timeline_after(history, line->timeline);
	ret_place->lsn = segment_start(receiver, fork_lsn);

	return 0;
}

static int
go_on(struct receiver *receiver, const struct wal_history *history, const struct wal_stock *stock,
    const struct wal_slot *slot, struct wal_place *ret_place, struct err *err)
{
	const struct wal_stock_line *line = wal_stock_find(stock, history->timeline);

	if (line != NULL) {
		ret_place->timeline = history->timeline;
		ret_place->lsn = wal_stock_next(receiver->archive, line, segment_bytes(receiver)) *
		    segment_bytes(receiver);
		return 0;
	}
	for (size_t i = history->parents.count; i > 0; i--) {
		const struct wal_branch *parent = &history->parents.items[i - 1];

		line = wal_stock_find(stock, parent->timeline);
		if (line != NULL)
			return go_on_before_fork(receiver, history, line, parent->switch_lsn,
			    ret_place, err);
	}
	ret_place->lsn = segment_start(receiver, slot->restart_lsn);
	ret_place->timeline = wal_history_timeline_at(history, ret_place->lsn);

	return 0;
}

/*
 * The server has not the WAL from `place` on.  What the slot holds back is where it goes on; a
 * slot that itself was too late is made again, for the oldest WAL that can still be had.
 */
static int
pass_over(struct receiver *receiver, const struct wal_history *history, bool has_stock,
    struct wal_slot *slot, struct wal_place *place, struct err *err)
{
	uint64_t from = place->lsn;
	uint64_t extent = 0;
	struct err no_tail = ERR_INIT;

	if (segment_start(receiver, slot->restart_lsn) <= from &&
	    renew_slot(receiver, true, slot, err) < 0)
		return -1;
	if (has_stock &&
	    wal_tail_extent(&receiver->tail, place->timeline, from / segment_bytes(receiver),
		&extent, &no_tail) < 0)
		extent = 0;
	receiver->has_gap = has_stock;
	receiver->gap_from = (struct wal_place){ .timeline = place->timeline,
		.lsn = from + extent };
	place->lsn = segment_start(receiver, slot->restart_lsn);
	place->timeline = wal_history_timeline_at(history, place->lsn);
	receiver->gap_to = place->lsn;
	if (place->lsn <= from) {
		(void)err_set(err, ERR_PEER,
		    "the server holds back WAL for slot '%s' and yet does not have it",
		    receiver->request->slot);
		return err_hint(err, "See the server's log; its pg_wal may be damaged.");
	}

	return 0;
}

static int
check_not_ahead(const struct receiver *receiver, const struct wal_place *place, struct err *err)
{
	const struct wal_server *server = wal_stream_server(receiver->stream);
	char ours[LSN_TEXT_SIZE], theirs[LSN_TEXT_SIZE];

	if (place->timeline != server->timeline || place->lsn <= server->flush_lsn)
		return 0;
	(void)err_set(err, ERR_PEER,
	    "the server's WAL ends at %s, but it is stored up to %s already: the server was set back, or is a standby that lags",
	    lsn_format(server->flush_lsn, theirs), lsn_format(place->lsn, ours));

	return err_hint(err,
	    "A server that was set back (an old snapshot) must be recovered to a new timeline before its WAL can be stored.");
}

/* A folder that was filled by us and is empty is another folder. */
static int
check_not_emptied(const struct receiver *receiver, const struct wal_stock *stock, struct err *err)
{
	char lsn[LSN_TEXT_SIZE];

	if (receiver->kept_lsn == 0 || stock->lines.count > 0)
		return 0;
	(void)err_set(err, ERR_NOT_FOUND,
	    "the WAL that was received up to %s is not in '%s' any more",
	    lsn_format(receiver->kept_lsn, lsn), receiver->archive->path);

	return err_hint(err,
	    "Is the right disk mounted? To begin anew there, end this run and start it again.");
}

int
wal_start_choose(struct receiver *receiver, struct wal_place *ret_place, struct err *err)
{
	const struct wal_server *server = wal_stream_server(receiver->stream);
	SCOPED(wal_history_done) struct wal_history history = { .timeline = 0 };
	SCOPED(wal_stock_done) struct wal_stock stock = { .lines = { .count = 0 } };
	struct wal_place place = { .timeline = 0 };
	struct wal_slot slot;

	if (wal_timeline_fetch(receiver->stream, receiver->archive, server->timeline, &history,
		err) < 0 ||
	    wal_stock_scan(receiver->archive, server->segment_bytes, &stock, err) < 0 ||
	    check_not_emptied(receiver, &stock, err) < 0 ||
	    prepare_slot(receiver, stock.lines.count > 0, &slot, err) < 0 ||
	    go_on(receiver, &history, &stock, &slot, &place, err) < 0)
		return -1;
	receiver->has_gap = false;
	if (receiver->is_gone && receiver->gone.timeline == place.timeline &&
	    receiver->gone.lsn == place.lsn &&
	    pass_over(receiver, &history, stock.lines.count > 0, &slot, &place, err) < 0)
		return -1;
	if (check_not_ahead(receiver, &place, err) < 0)
		return -1;
	*ret_place = place;

	return 0;
}
