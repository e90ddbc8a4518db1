/*
 * Writes the commands of a stream as the growing part of an AOF: without what only a replica needs
 * or what would be heard again by subscribers (PING, REPLCONF, PUBLISH, SPUBLISH), and with times
 * of expiry as the policy wants them.
 */
#ifndef SOURCE_REDIS_REPLAY_TAIL_WRITER_H
#define SOURCE_REDIS_REPLAY_TAIL_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/scope.h"
#include "base/str.h"
#include "source/redis/replay/expiry.h"
#include "source/redis/stream/replay.h"
#include "source/redis/stream/scan.h"

struct err;
struct sink;

struct tail_writer {
	struct replay_taker base;
	struct sink *to; /* a loan */
	struct expiry_policy policy;
	bool has_time_lines; /* "#TS:" where the second changes: 7.0 and later */
	struct wall_time told;
	struct scan scan;
	struct str held; /* the command that is being read */
	bool is_passing; /* it is too large to be held, and handed on as it comes */
	uint64_t commands;
	uint64_t changed;     /* times */
	uint64_t left_as_are; /* commands too large to have their times changed */
};

/* Begins with the database in force.  `to` is finished by the caller. */
int tail_writer_init(struct tail_writer *writer, struct sink *to, unsigned db,
    const struct expiry_policy *policy, bool has_time_lines, struct err *err) MUST_CHECK;
void tail_writer_done(struct tail_writer *writer);

#endif
