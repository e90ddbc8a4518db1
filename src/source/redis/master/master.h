/*
 * A restore into a server that runs, over the network: we become its master for as long as that
 * takes.  Needs no access to its files, works with and without an AOF, and its replicas follow.
 */
#ifndef SOURCE_REDIS_MASTER_MASTER_H
#define SOURCE_REDIS_MASTER_MASTER_H

#include "base/scope.h"

struct backup_view;
struct err;
struct redis;
struct restore_plan;
struct restore_report;
struct restore_request;

/* The plan asks the server what it is.  plan->replaces is its name when it holds data. */
int master_plan(struct redis *redis, const struct backup_view *view,
    const struct restore_request *request, struct restore_plan *plan, struct err *err) MUST_CHECK;

/*
 * All of the file is read to its last byte before the server is touched.  A failure says what the
 * server holds then, and what to type.
 */
int master_restore(struct redis *redis, const struct backup_view *view,
    const struct restore_request *request, struct restore_report *report, struct err *err)
    MUST_CHECK;

#endif
