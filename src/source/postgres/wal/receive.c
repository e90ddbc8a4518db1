#include "source/postgres/wal/receive.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/link.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "os/stop.h"
#include "source/archive.h"
#include "source/outage.h"
#include "source/postgres/lsn.h"
#include "source/postgres/postgres_internal.h"
#include "source/postgres/wal/receive_internal.h"
#include "source/postgres/wal/timeline.h"
#include "source/source.h"

#define POSITION_EVERY_US (600 * US_PER_S)

enum { PAUSE_STEP_MS = 1000 };

static const struct wal_receive_times usual_times = {
	.silence_max_us = 60 * US_PER_S,
	.status_every_us = 10 * US_PER_S,
	.first_retry_us = US_PER_S / 10,
};

/* ---- WAL that arrives -------------------------------------------------------------------------------- */

static int
begin_segment(struct receiver *receiver, uint64_t segment, struct err *err)
{
	struct wal_tail *tail = &receiver->tail;
	char finished[WAL_TAIL_NAME_SIZE] = "";

	if (tail->fd >= 0)
		memcpy(finished, tail->name, sizeof(finished));
	if (wal_start_note_gap(receiver, err) < 0 ||
	    wal_tail_begin(tail, receiver->at.timeline, segment, err) < 0)
		return -1;
	if (finished[0] != '\0')
		wal_settler_tell(&receiver->settler, finished);

	return 0;
}

static int
on_write(void *context, const void *data, size_t size, struct err *err)
{
	struct receiver *receiver = context;
	struct wal_tail *tail = &receiver->tail;
	const uint8_t *from = data;

	receiver->has_received = true;
	while (size > 0) {
		uint64_t segment = receiver->at.lsn / tail->options.segment_bytes;
		uint64_t offset = receiver->at.lsn % tail->options.segment_bytes;
		uint64_t room = tail->options.segment_bytes - offset;
		size_t piece = size < room ? size : (size_t)room;

		if ((tail->fd < 0 || tail->segment != segment ||
			tail->timeline != receiver->at.timeline) &&
		    begin_segment(receiver, segment, err) < 0)
			return -1;
		if (wal_tail_write(tail, offset, from, piece, err) < 0)
			return -1;
		from += piece;
		size -= piece;
		receiver->at.lsn += piece;
	}

	return 0;
}

static int
on_sync(void *context, struct err *err)
{
	struct receiver *receiver = context;

	if (wal_tail_sync(&receiver->tail, err) < 0)
		return -1;
	receiver->kept_lsn = receiver->at.lsn;

	return 0;
}

static int
on_tick(void *context, uint64_t durable_lsn, uint64_t end_lsn, int *ret_wait_ms, struct err *err)
{
	struct receiver *receiver = context;
	char lsn[LSN_TEXT_SIZE], behind[32];

	(void)err;
	receiver->tail.server_lsn = end_lsn;
	if (end_lsn != 0) /* it has said something */
		link_moved(receiver->request->link, durable_lsn, end_lsn, clock_wall());
	wal_settler_tick(&receiver->settler);
	wal_heartbeat_tick(&receiver->heartbeat, ret_wait_ms);
	if (clock_elapsed_us(receiver->logged) >= POSITION_EVERY_US) {
		receiver->logged = clock_mono();
		log_info("WAL is durable up to %s on timeline %u, %s behind the server",
		    lsn_format(durable_lsn, lsn), receiver->at.timeline,
		    format_bytes(end_lsn > durable_lsn ? end_lsn - durable_lsn : 0, behind));
	}

	return 0;
}

/* ---- one connection ------------------------------------------------------------------------------------ */

static int
check_identity(const struct receiver *receiver, struct err *err)
{
	const char *known = receiver->archive->identity;
	const char *found = wal_stream_server(receiver->stream)->system_identifier;

	/* The first one decides, and later connections are held to it. */
	if (known == NULL)
		receiver->archive->identity = xstrdup(found);
	if (known == NULL || strcmp(known, found) == 0)
		return 0;
	(void)err_set(err, ERR_REFUSED,
	    "source '%s' is another system than before: its identity is %s, the WAL in '%s' is of %s",
	    receiver->archive->label, found, receiver->archive->path, known);

	return err_hint(err,
	    "If it was rebuilt on purpose, type 'blackstart source adopt %s'; otherwise check host and port.",
	    receiver->archive->label);
}

/* The history of what comes next is stored first; a server may lack that of one in between. */
static int
change_timeline(struct receiver *receiver, const struct wal_stream_outcome *outcome,
    struct err *err)
{
	struct wal_tail *tail = &receiver->tail;
	SCOPED(wal_history_done) struct wal_history history = { .timeline = 0 };
	char finished[WAL_TAIL_NAME_SIZE];
	char lsn[LSN_TEXT_SIZE];
	bool has_tail = tail->fd >= 0;

	memcpy(finished, tail->name, sizeof(finished));
	if (wal_timeline_fetch(receiver->stream, receiver->archive, outcome->next_timeline,
		&history, err) < 0) {
		if (wal_stream_sqlstate(receiver->stream)[0] == '\0')
			return -1;
		log_warning("%s: continuing", err->msg);
		err_clear(err);
	}
	log_info("timeline %u ends at %s, timeline %u goes on", receiver->at.timeline,
	    lsn_format(outcome->next_lsn, lsn), outcome->next_timeline);
	if (receiver->at.lsn > outcome->next_lsn &&
	    wal_start_note_orphan(receiver, receiver->at, outcome->next_lsn, err) < 0)
		return -1;
	wal_tail_close(tail);
	if (has_tail)
		wal_settler_tell(&receiver->settler, finished);
	receiver->at.timeline = outcome->next_timeline;
	receiver->at.lsn = outcome->next_lsn - outcome->next_lsn % tail->options.segment_bytes;

	return 0;
}

/* What the server does not have any more is known only by asking for it. */
static void
learn_from_failure(struct receiver *receiver, const struct wal_place *began)
{
	const char *state = wal_stream_sqlstate(receiver->stream);

	if (receiver->has_received)
		return;
	if (str_equals(state, "58P01")) {
		receiver->is_gone = true;
		receiver->gone = *began;
	}
	if (str_equals(state, "55000"))
		receiver->is_slot_lost = true;
}

static int
stream_on(struct receiver *receiver, struct wal_stream_outcome *ret_outcome, struct err *err)
{
	const struct wal_stream_handler handler = {
		.write = on_write,
		.sync = on_sync,
		.tick = on_tick,
		.context = receiver,
	};

	for (;;) {
		const struct wal_place began = receiver->at;
		const struct wal_stream_request request = {
			.slot = receiver->request->slot,
			.timeline = began.timeline,
			.start_lsn = began.lsn,
			.stop_lsn = receiver->request->stop_position,
			.silence_max_us = receiver->times->silence_max_us,
			.status_every_us = receiver->times->status_every_us,
		};
		char lsn[LSN_TEXT_SIZE];

		log_info("receiving WAL of postgres '%s' from %s on timeline %u",
		    receiver->pg->label, lsn_format(began.lsn, lsn), began.timeline);
		if (wal_stream_run(receiver->stream, &request, &handler, ret_outcome, err) < 0) {
			learn_from_failure(receiver, &began);
			return -1;
		}
		if (ret_outcome->end != WAL_END_TIMELINE)
			return 0;
		if (change_timeline(receiver, ret_outcome, err) < 0)
			return -1;
	}
}

/* With the folder in our hands. */
static int
receive(struct receiver *receiver, struct wal_stream_outcome *ret_outcome, struct err *err)
{
	struct err found = ERR_INIT;
	char lsn[LSN_TEXT_SIZE];

	if (wal_start_choose(receiver, &receiver->at, err) < 0)
		return -1;
	wal_heartbeat_init(&receiver->heartbeat, receiver->pg, receiver->request->client_name,
	    receiver->request->heartbeat_us, wal_stream_address(receiver->stream));
	if (stream_on(receiver, ret_outcome, &found) == 0) {
		log_info("WAL is durable up to %s on timeline %u",
		    lsn_format(receiver->at.lsn, lsn), receiver->at.timeline);
		return 0;
	}
	if (found.kind == ERR_MISMATCH && wal_start_note_divergence(receiver, &found, err) < 0)
		return -1;
	*err = found;

	return -1;
}

static int
converse(struct receiver *receiver, struct wal_stream_outcome *ret_outcome, struct err *err)
{
	const struct wal_server *server = wal_stream_server(receiver->stream);
	const struct wal_tail_options options = {
		.folder = receiver->archive->path,
		.run_id = receiver->request->run_id,
		.system_id = server->system_identifier,
		.segment_bytes = server->segment_bytes,
		.mode = receiver->archive->file_mode,
		.gid = receiver->archive->file_gid,
	};
	int result;

	if (check_identity(receiver, err) < 0 || wal_tail_init(&receiver->tail, &options, err) < 0)
		return -1;
	result = receive(receiver, ret_outcome, err);
	wal_heartbeat_done(&receiver->heartbeat);
	wal_tail_done(&receiver->tail);

	return result;
}

static int
connect_once(struct receiver *receiver, struct wal_stream_outcome *ret_outcome, struct err *err)
{
	int result;

	receiver->has_received = false;
	receiver->stream = wal_stream_open(receiver->pg, receiver->request->client_name, err);
	if (receiver->stream == NULL)
		return -1;
	result = converse(receiver, ret_outcome, err);
	wal_stream_free(TAKE(receiver->stream));
	if (receiver->has_received) {
		receiver->is_gone = false;
		receiver->is_slot_lost = false;
	}

	return result;
}

/* ---- for ever ------------------------------------------------------------------------------------------- */

static bool
is_final(enum err_kind kind)
{
	return kind == ERR_REFUSED || kind == ERR_UNSUPPORTED || kind == ERR_CONFIG ||
	    kind == ERR_USAGE || kind == ERR_BUG || kind == ERR_BUSY;
}

/*
 * 1, 2, 5 up to 50 times the first pause; ended by a stop.  The first ones are short: while nobody
 * receives, a server that waits for us commits nothing, and one that crashed is back in no time.
 */
static void
pause_before_retry(struct receiver *receiver, unsigned attempts, const struct err *failure)
{
	static const int64_t factors[] = { 1, 2, 5, 10, 20, 50 };
	size_t index = attempts < ARRAY_SIZE(factors) ? attempts : ARRAY_SIZE(factors) - 1;
	int64_t pause_us = receiver->times->first_retry_us * factors[index];
	struct mono_time began = clock_mono();
	struct wall_time now = clock_wall();

	link_waits(receiver->request->link, failure->msg, (struct wall_time){ now.us + pause_us },
	    now);
	while (!stop_is_requested() && clock_elapsed_us(began) < pause_us) {
		struct pollfd fd = { .fd = stop_fd(), .events = POLLIN };
		int64_t left_ms = (pause_us - clock_elapsed_us(began)) / US_PER_MS + 1;

		(void)poll(&fd, 1, left_ms < PAUSE_STEP_MS ? (int)left_ms : PAUSE_STEP_MS);
		wal_settler_tick(&receiver->settler);
	}
}

static int
receive_for_ever(struct receiver *receiver, struct err *err)
{
	struct outage outage = { .attempts = 0 };

	link_connecting(receiver->request->link, clock_wall());
	for (;;) {
		struct wal_stream_outcome outcome = { .end = WAL_END_STOPPED };
		int result = connect_once(receiver, &outcome, err);

		if (stop_is_requested() || (result == 0 && outcome.end == WAL_END_STOPPED))
			return 0;
		if (result == 0 && receiver->request->is_once)
			return 0;
		if (result == 0)
			(void)err_set(err, ERR_NET, "postgres '%s' was shut down",
			    receiver->pg->label);
		else if (is_final(err->kind) || receiver->request->is_once)
			return err_wrap(err, "receiving WAL of '%s'", receiver->archive->label);
		outage.attempts = receiver->has_received ? 0 : outage.attempts;
		outage_tell(&outage, err);
		pause_before_retry(receiver, outage.attempts++, err);
		err_clear(err);
	}
}

int
wal_receive(const struct postgres *pg, const struct follow_request *request,
    const struct wal_receive_times *times, struct archive *archive, struct err *err)
{
	struct receiver receiver = {
		.pg = pg,
		.request = request,
		.times = times != NULL ? times : &usual_times,
		.archive = archive,
		.logged = clock_mono(),
	};
	int result;

	wal_settler_init(&receiver.settler, request->settler);
	result = receive_for_ever(&receiver, err);
	wal_settler_done(&receiver.settler);

	return result;
}
