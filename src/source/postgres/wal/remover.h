/*
 * Files that go while other work is done.  To free 16 MiB and make it durable takes 8 ms, a quarter
 * of what compressing them takes, and most of it is waiting for the file system's journal.
 */
#ifndef SOURCE_POSTGRES_WAL_REMOVER_H
#define SOURCE_POSTGRES_WAL_REMOVER_H

#include "base/scope.h"

struct archive;
struct err;
struct side_task;

/* All zero: nothing is being removed.  Its owner waits for it before it goes. */
struct wal_remover {
	struct side_task *task;
	struct archive *archive;
	char *name;
};

/*
 * Remove an archive's file, durably, on another thread, one at a time.  -1: the one before it could
 * not be removed, and this one was not begun.
 */
int wal_remover_begin(struct wal_remover *remover, struct archive *archive, const char *name,
    struct err *err) MUST_CHECK;

/* Until the last one has gone; -1: it could not be removed. */
int wal_remover_wait(struct wal_remover *remover, struct err *err) MUST_CHECK;

#endif
