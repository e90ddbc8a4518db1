/*
 * The messages of a physical replication stream, inside CopyData (PostgreSQL documentation,
 * "Streaming Replication Protocol"): whole numbers are big-endian, times are microseconds since
 * 2000-01-01.
 *
 *   'w'  start 8, end of the server's WAL 8, time 8, then WAL       from the server
 *   'k'  end of the server's WAL 8, time 8, reply wanted 1          from the server
 *   'r'  written 8, flushed 8, applied 8, time 8, reply wanted 1    from us
 */
#ifndef SOURCE_POSTGRES_WAL_MESSAGES_H
#define SOURCE_POSTGRES_WAL_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"

struct err;

enum {
	WAL_REPLY_BYTES = 34,
	WAL_DATA_MAX_BYTES = 1024 * 1024, /* the server sends at most 128 KiB */
};

enum wal_message_kind { WAL_MESSAGE_DATA, WAL_MESSAGE_KEEPALIVE };

struct wal_message {
	enum wal_message_kind kind;
	uint64_t start_lsn; /* of the data */
	uint64_t end_lsn;   /* how far the server's own WAL goes */
	struct wall_time time;
	bool wants_reply;
	const uint8_t *data; /* a loan from what was parsed */
	size_t size;
};

/* ERR_PEER for what no server sends: another type, another size, a position that overflows. */
int wal_message_parse(const void *data, size_t size, struct wal_message *ret_message,
    struct err *err) MUST_CHECK;

struct wal_reply {
	uint64_t written_lsn;
	uint64_t flushed_lsn;
	uint64_t applied_lsn; /* 0: we apply nothing */
	struct wall_time time;
	bool wants_reply;
};

void wal_reply_format(const struct wal_reply *reply, uint8_t bytes[WAL_REPLY_BYTES]);

#endif
