/*
 * Some or all keys of an RDB backup into a server that runs, beside what it has.  For a whole
 * server that is stopped, its files are written (landing.h).
 */
#ifndef SOURCE_REDIS_KEYED_KEYED_H
#define SOURCE_REDIS_KEYED_KEYED_H

#include "base/scope.h"

struct backup_view;
struct err;
struct redis;
struct restore_plan;
struct restore_report;
struct restore_request;

/* The plan asks the server what it is.  request->keys is set. */
int keyed_plan(struct redis *redis, const struct backup_view *view,
    const struct restore_request *request, struct restore_plan *plan, struct err *err) MUST_CHECK;

/*
 * The file is read to its last byte before anything is written, then once more.  Keys that are
 * there stay as they are, unless request->replaces.  A failure says how many keys were written.
 */
int keyed_restore(struct redis *redis, const struct backup_view *view,
    const struct restore_request *request, struct restore_report *report, struct err *err)
    MUST_CHECK;

#endif
