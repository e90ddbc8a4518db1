/*
 * A restore to a chosen point: a base, and the commands of the stream behind it, as the AOF of a
 * stopped server.  One that keeps no AOF reads dump.rdb alone, so a scratch server makes that of it.
 */
#ifndef SOURCE_REDIS_REPLAY_POINT_H
#define SOURCE_REDIS_REPLAY_POINT_H

#include "base/scope.h"
#include "source/redis/replay/expiry.h"

struct backup_view;
struct err;
struct landing;
struct manifest_file;
struct rdb_reader;
struct redis;
struct replay;
struct restore_plan;
struct restore_report;
struct restore_request;
struct tail_writer;

/* What the request's policy is, and by how much times are shifted. */
void point_policy(const struct backup_view *view, const struct restore_request *request,
    struct expiry_policy *ret_policy);

/* What is to be read.  ERR_REFUSED: the stream does not reach the point. */
int point_replay(const struct backup_view *view, const struct restore_request *request,
    struct replay *ret_replay, struct err *err) MUST_CHECK;

/* The steps of a plan that are about the stream, and its bytes. */
int point_plan_tail(const struct backup_view *view, const struct restore_request *request,
    struct restore_plan *plan, struct err *err) MUST_CHECK;

/* What became of the times of a base; and with the stream that was written behind it. */
void point_tell_times(const struct expiry_policy *policy, const struct expiry_report *base,
    struct restore_report *report);
void point_tell(const struct replay *replay, const struct restore_request *request,
    const struct expiry_policy *policy, const struct expiry_report *base,
    const struct tail_writer *writer, struct restore_report *report);

/* What would be read and done, into files.  ERR_REFUSED: the stream does not reach the point. */
int point_plan(const struct landing *landing, const struct backup_view *view,
    const struct restore_request *request, struct restore_plan *plan, struct err *err) MUST_CHECK;

/*
 * Write base and commands where landing_begin has made room; `reader` has read the base.  What was
 * reached goes into the report.  A server of our own writes the RDB file of that state, if one is on
 * this machine.
 */
int point_write(const struct redis *redis, struct landing *landing, const struct backup_view *view,
    const struct manifest_file *file, const struct restore_request *request,
    struct rdb_reader *reader, struct restore_report *report, struct err *err) MUST_CHECK;

#endif
