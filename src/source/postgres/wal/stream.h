/*
 * Physical replication as the server speaks it: the conversation alone.  It knows no files; WAL
 * goes to a handler, which says how much of it is durable, and that is what the server is told.
 *
 * One thread, no waiting but in poll: what has arrived is drained, made durable once, and
 * acknowledged once.  Written and flushed are reported alike, so that synchronous_commit =
 * remote_write is as good as on; nothing is applied here, so remote_apply waits for ever.
 */
#ifndef SOURCE_POSTGRES_WAL_STREAM_H
#define SOURCE_POSTGRES_WAL_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct err;
struct postgres;
struct str;
struct wal_stream;

struct wal_server {
	char *system_identifier; /* as text: it has 64 bits */
	int version;             /* 150004 */
	uint32_t timeline;
	uint64_t flush_lsn; /* how far its WAL goes */
	uint64_t segment_bytes;
};

/*
 * Connect as `name` (application_name) and ask who it is.  ERR_UNSUPPORTED before 13.  `pg` is a
 * loan.  Yours.
 */
struct wal_stream *wal_stream_open(const struct postgres *pg, const char *name, struct err *err)
    MUST_CHECK;
const struct wal_server *wal_stream_server(const struct wal_stream *stream); /* a loan */
void wal_stream_free(struct wal_stream *stream); /* NULL is ok; closes the connection */
SCOPED_FREE(struct wal_stream, wal_stream_free)

/* The SQLSTATE of the last failure that the server itself reported, "" when there was none. */
const char *wal_stream_sqlstate(const struct wal_stream *stream);

/* The address that the connection was made to, NULL when it is a socket: saves a look-up. */
const char *wal_stream_address(const struct wal_stream *stream);

struct wal_slot {
	bool exists;
	bool is_usable;       /* physical, not lost, it holds WAL back */
	uint64_t restart_lsn; /* from here on; 0: nothing is reserved */
	uint32_t timeline;    /* of restart_lsn; 0: not known (before 15) */
};

/* ERR_REFUSED when there is a slot of this name that is not physical. */
int wal_slot_read(struct wal_stream *stream, const char *name, struct wal_slot *ret_slot,
    struct err *err) MUST_CHECK;

/* Make it, reserving WAL from the last checkpoint on, and read it back. */
int wal_slot_create(struct wal_stream *stream, const char *name, struct wal_slot *ret_slot,
    struct err *err) MUST_CHECK;

/* ERR_PEER (55006) while somebody else uses it. */
int wal_slot_drop(struct wal_stream *stream, const char *name, struct err *err) MUST_CHECK;

/* Add the server's history file of this timeline (2 or later) to `to`. */
int wal_stream_history(struct wal_stream *stream, uint32_t timeline, struct str *to,
    struct err *err) MUST_CHECK;

struct wal_stream_handler {
	/* WAL that goes on where the last one ended. */
	int (*write)(void *context, const void *data, size_t size, struct err *err);
	/* Make all of it durable: only then does it return 0. */
	int (*sync)(void *context, struct err *err);
	/*
	 * Called between two waits; `end_lsn` is how far the server's WAL goes.  *ret_wait_ms
	 * is at most how long to wait before the next call; it may be lowered.
	 */
	int (*tick)(void *context, uint64_t durable_lsn, uint64_t end_lsn, int *ret_wait_ms,
	    struct err *err);
	void *context;
};

struct wal_stream_request {
	const char *slot;
	uint32_t timeline;
	uint64_t start_lsn;
	uint64_t stop_lsn;       /* end when this much is durable; 0: never */
	int64_t silence_max_us;  /* a server that says nothing for so long is given up */
	int64_t status_every_us; /* how often it is told the position when nothing happens */
};

enum wal_stream_end {
	WAL_END_STOPPED,  /* as asked, or stop_lsn is durable; the server knows our position */
	WAL_END_TIMELINE, /* it goes on with another one */
	WAL_END_SHUTDOWN, /* the server was shut down in an orderly way */
};

struct wal_stream_outcome {
	enum wal_stream_end end;
	uint32_t next_timeline; /* of WAL_END_TIMELINE */
	uint64_t next_lsn;
};

/*
 * Stream until one of these ends; afterwards the connection can be asked to stream again after
 * WAL_END_TIMELINE only.  ERR_NET and ERR_TIMEOUT when the connection broke or fell silent.
 */
int wal_stream_run(struct wal_stream *stream, const struct wal_stream_request *request,
    const struct wal_stream_handler *handler, struct wal_stream_outcome *ret_outcome,
    struct err *err) MUST_CHECK;

#endif
