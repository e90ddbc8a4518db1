/* What the receiver's files share: the loop (receive.c) and where it begins (start.c). */
#ifndef SOURCE_POSTGRES_WAL_RECEIVE_INTERNAL_H
#define SOURCE_POSTGRES_WAL_RECEIVE_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/scope.h"
#include "source/postgres/wal/heartbeat.h"
#include "source/postgres/wal/receive.h"
#include "source/postgres/wal/settler.h"
#include "source/postgres/wal/stream.h"
#include "source/postgres/wal/tail.h"

struct archive;
struct follow_request;
struct postgres;

struct wal_place {
	uint32_t timeline;
	uint64_t lsn;
};

struct receiver {
	const struct postgres *pg;
	const struct follow_request *request;
	const struct wal_receive_times *times;
	struct archive *archive;
	struct wal_settler settler;

	/* Of one connection. */
	struct wal_stream *stream;
	struct wal_tail tail;
	struct wal_heartbeat heartbeat;
	struct wal_place at; /* where the next byte goes */
	bool has_received;

	/* What was made durable last, and is still to be found; 0: nothing. */
	uint64_t kept_lsn;

	/* What the server has no more: found out by asking, so it is kept for the next attempt. */
	bool is_gone;
	struct wal_place gone;
	bool is_slot_lost;

	/* A gap, written down before the first byte behind it is. */
	bool has_gap;
	struct wal_place gap_from;
	uint64_t gap_to;

	struct mono_time logged; /* the position */
};

/*
 * Where to begin with this server: behind what is stored, on its timeline or one that it comes
 * from; with an empty archive at what the slot holds.  Makes the slot; sets aside and records
 * what leads nowhere.
 */
int wal_start_choose(struct receiver *receiver, struct wal_place *ret_place, struct err *err)
    MUST_CHECK;

/* The tail holds what the server says was never so: keep it as evidence, and say so. */
int wal_start_note_divergence(struct receiver *receiver, const struct err *found, struct err *err)
    MUST_CHECK;

/* Write the gap down, if there is one. */
int wal_start_note_gap(struct receiver *receiver, struct err *err) MUST_CHECK;

/* WAL of the tail's timeline behind `fork_lsn`, where the server left it: evidence too. */
int wal_start_note_orphan(struct receiver *receiver, struct wal_place end, uint64_t fork_lsn,
    struct err *err) MUST_CHECK;

#endif
