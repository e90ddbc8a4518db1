/*
 * The master's side of a replication link: a running server has been told to become our replica,
 * connects to us, and is given a file and then commands.  See syncWithMaster and readSyncBulkPayload
 * in src/replication.c of Redis; the same since 2.8.
 *
 *   replica: PING, AUTH [user] token, REPLCONF ..., PSYNC id offset
 *   we:      +PONG, +OK ..., +FULLRESYNC <our id> <offset>
 *            $EOF:<40 bytes>  the file  <the same 40 bytes>, then commands
 *   replica: '\n' while it loads, REPLCONF ACK <offset> each second when it has
 */
#ifndef SOURCE_REDIS_MASTER_LINK_H
#define SOURCE_REDIS_MASTER_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "source/redis/handshake.h"

struct channel_options;
struct err;
struct master_link;
struct listener;
struct sink;

struct master_link_options {
	const char *token; /* whoever does not say it gets nothing: the file is the whole data */
	const char *peer;  /* the only address that may connect; NULL: any */
	const char *id;    /* of the history that we are the master of: 40 digits */
	const struct channel_options
	    *tls;       /* our certificate, and who may connect; NULL: in the clear */
	int timeout_ms; /* until somebody has come and said all that */
};

/*
 * The replica's connection, up to where the file is to begin.  Whoever else connects is turned away,
 * and that is logged.  ERR_TIMEOUT: nobody came; ERR_AUTH: somebody did, without the token.
 */
struct master_link *master_link_accept(struct listener *listener,
    const struct master_link_options *options, struct err *err) MUST_CHECK;
void master_link_free(struct master_link *link); /* NULL is ok: the connection ends */
SCOPED_FREE(struct master_link, master_link_free)

/*
 * Where the file is written to, and then the commands.  What was written goes out at once when
 * finished; the connection stays.  Each is to be finished before the other one begins.
 */
struct sink *master_link_file_sink(struct master_link *link, struct err *err) MUST_CHECK;
struct sink *master_link_stream_sink(struct master_link *link) MUST_CHECK;

/*
 * Take what the replica says within that time, or nothing.  ERR_NET: it has closed the connection.
 */
int master_link_hear(struct master_link *link, int timeout_ms, struct err *err) MUST_CHECK;

/* Say that we live, at least each ten seconds; and ask how far it is, which it answers at once. */
int master_link_ping(struct master_link *link, struct err *err) MUST_CHECK;
int master_link_ask(struct master_link *link, struct err *err) MUST_CHECK;

/* How far the stream has been sent, and applied there; nothing is applied until the file is loaded. */
uint64_t master_link_sent(const struct master_link *link);
bool master_link_is_loaded(const struct master_link *link);
uint64_t master_link_applied(const struct master_link *link);

#endif
