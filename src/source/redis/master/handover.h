/*
 * The way of a running server from its old data to ours: it becomes our replica, loads the file,
 * applies the commands behind it, makes both durable, and becomes a master again.  At any step it
 * can be known what the server holds, and it is let go only with data that is whole.
 */
#ifndef SOURCE_REDIS_MASTER_HANDOVER_H
#define SOURCE_REDIS_MASTER_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/scope.h"
#include "source/redis/handshake.h"
#include "source/redis/master/target.h"

struct err;
struct listener;
struct master_link;
struct progress;
struct redis;
struct redis_conn;
struct sink;

struct handover {
	const struct redis *redis; /* a loan: the server, and our certificate */
	const char *kept;          /* the backup of what it held before; NULL: none was needed */
	const char *listen;        /* the address of ours that it reaches; NULL: as it sees us */
	struct progress *progress;
	struct redis_conn *conn; /* for questions; goes on when a stop is asked for */
	struct target target;
	uint64_t old_keys; /* when it had become a replica, and nothing had been sent */
	char *token;
	char id[REPLICATION_ID_SIZE];
	bool keeps_both; /* its old data stays until the new is loaded */
	bool is_prepared;
	bool is_replica; /* it was told to be ours, and not yet to be a master again */
	struct listener *listener;
	struct master_link *link;
};

void handover_done(struct handover *handover);

/* Set it up and tell the server that we are its master; it connects on its own. */
int handover_begin(struct handover *handover, struct err *err) MUST_CHECK;

/*
 * Its connection, once more if it was cut before all of the file was sent.  The sink takes the file;
 * *ret_sink is yours.
 */
int handover_connect(struct handover *handover, struct sink **ret_sink, struct err *err) MUST_CHECK;

/* Is the server still there to connect again. */
bool handover_answers(struct handover *handover);

/* Until it has loaded the file. */
int handover_await_loaded(struct handover *handover, struct err *err) MUST_CHECK;

/* Until it has applied all that was sent. */
int handover_await_applied(struct handover *handover, struct err *err) MUST_CHECK;

/*
 * Until its files hold the new data: its AOF, or else an RDB file.  Where it keeps the file that we
 * sent as its own, and nothing came behind that, they do already.
 */
int handover_make_durable(struct handover *handover, bool has_tail, struct err *err) MUST_CHECK;

/* A master again, with its settings as they were. */
int handover_release(struct handover *handover, struct err *err) MUST_CHECK;

/*
 * After a failure, which is in *err: find out what the server holds, let it go if that is its old
 * data or nothing that it had before, and add to the error what is so and what to type.  Where
 * its data is neither the old nor ours, it stays a replica: a server without data that becomes a
 * master would make that durable.
 */
void handover_back_out(struct handover *handover, struct err *err);

#endif
