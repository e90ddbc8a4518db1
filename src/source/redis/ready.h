/* Whether a server can give a copy of its data now, and which of several should. */
#ifndef SOURCE_REDIS_READY_H
#define SOURCE_REDIS_READY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/scope.h"
#include "base/str.h"

struct err;
struct progress;
struct redis;
struct redis_conn;

/* Where the copy comes from: the server itself, or a replica of it. */
struct redis_choice {
	struct redis *at; /* a loan of the server, or `replica` */
	struct redis *replica;
	char *host;  /* of the replica */
	char *place; /* "10.0.0.7:6379" */
	char *why;   /* no replica was taken although there are some, or NULL */
};
void redis_choice_done(struct redis_choice *choice);

/*
 * Connect, and wait until nothing stands against a copy: the server has loaded its data, is in
 * touch with its master, and no child of it is writing.  Asks again after longer and longer
 * pauses, for `wait_us` altogether: then ERR_BUSY says what it was that did not end.
 */
int redis_await_ready(const struct redis *redis, int64_t wait_us, struct progress *progress,
    struct redis_conn **ret_conn, struct str *ret_info, struct err *err) MUST_CHECK;

/* The same for one that need only answer: it says LOADING or MASTERDOWN to everything at times. */
int redis_await_answer(const struct redis *redis, int64_t wait_us, struct redis_conn **ret_conn,
    struct str *ret_info, struct err *err) MUST_CHECK;

/*
 * May the user ask for a copy, and is there a way to do so: asked for real, but so that the server
 * forks nothing.  ERR_AUTH, ERR_UNSUPPORTED (the commands are hidden), ERR_BUSY (not now).
 */
int redis_may_copy(const struct redis *redis, struct err *err) MUST_CHECK;

/*
 * The replica that is least behind, of those that are in touch, have the same history and version
 * and let us in; without one the server itself.  Never fails: that is noted in `why`.
 */
void redis_choose_source(struct redis *redis, const struct str *info,
    struct redis_choice *ret_choice);

/* A pause that ends when a stop is asked for: ERR_CANCELLED. */
int redis_pause(int64_t pause_us, struct err *err) MUST_CHECK;

#endif
