/*
 * Becoming a replica: what is said before the data comes.  See src/replication.c of Redis,
 * syncWithMaster and syncCommand.
 */
#ifndef SOURCE_REDIS_HANDSHAKE_H
#define SOURCE_REDIS_HANDSHAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"

struct err;
struct redis_conn;
struct sync_frame;

enum {
	REPLICATION_ID_SIZE = 41, /* 40 digits and a NUL */
	/* A forking server sends an empty line each second; one that waits for others may be still. */
	REPLICATION_SILENCE_MS = 60 * 1000,
};

/* Where in which history a server is. */
struct replication_place {
	char id[REPLICATION_ID_SIZE];
	uint64_t offset; /* bytes so far; the next is number offset + 1 */
};

/* "<id> <offset>", as a manifest has it too.  ERR_DATA. */
int replication_place_parse(const char *text, struct replication_place *ret_place, struct err *err)
    MUST_CHECK;

struct introduction {
	const char *family; /* of the server: "redis", "valkey" */
	const char *version;
	bool is_for_file; /* only a file is wanted, nothing is to be kept for us behind it */
	bool wants_disk;  /* the server is to write the file to its disk first */
};

/*
 * Say who we are.  The address is no address, so that a Sentinel does not take us for a replica
 * that it lost.  What is only for a file is said with rdb-only, which 6.2 and later know.
 * ERR_AUTH and ERR_UNSUPPORTED come with what to do.
 */
int redis_introduce(struct redis_conn *conn, const struct introduction *introduction,
    struct err *err) MUST_CHECK;

struct replication_answer {
	bool is_full; /* all of the data comes, then the stream from place.offset */
	struct replication_place place; /* else it goes on where we were, under this id */
	struct wall_time at;            /* when the answer came */
};

/* Ask for what comes behind `place`, or with NULL for all.  Errors as above; ERR_BUSY: not now. */
int redis_ask_stream(struct redis_conn *conn, const struct replication_place *place,
    struct replication_answer *ret_answer, struct err *err) MUST_CHECK;

/* After a full answer: until the file begins, which the server may still have to make. */
int redis_await_file(struct redis_conn *conn, struct sync_frame *ret_frame, struct err *err)
    MUST_CHECK;

#endif
