/*
 * What has arrived in the archive, put in order: finished tails become compressed segments, files
 * that the index does not know come into it, and every segment is read once, record by record.
 *
 * A function of the folder and the index that changes nothing when it is done again.  It may be
 * killed anywhere and may run beside the receiver and beside itself: files appear whole or not at
 * all, and one goes only when another with its content is durable.
 */
#ifndef SOURCE_POSTGRES_WAL_SETTLE_H
#define SOURCE_POSTGRES_WAL_SETTLE_H

#include "base/scope.h"

struct archive;
struct err;
struct settle_report;

/* See source.h.  Damage is reported, not an error. */
int wal_settle(struct archive *archive, struct settle_report *report, struct err *err) MUST_CHECK;

#endif
