/*
 * The child beside the receiver that compresses and checks what has arrived.  It is told the name
 * of each finished segment, a line each; it looks at the folder itself, so a line that is lost
 * costs nothing but time.  Whatever becomes of it, receiving goes on.
 */
#ifndef SOURCE_POSTGRES_WAL_SETTLER_H
#define SOURCE_POSTGRES_WAL_SETTLER_H

#include <stdbool.h>

#include "base/clock.h"
#include "base/scope.h"

struct process;

struct wal_settler {
	const char *const *argv; /* NULL: there is none */
	struct process *child;   /* NULL: none runs */
	struct mono_time ended;
	struct mono_time looked; /* whether it still runs */
	bool has_ended;          /* once at least: the next one waits a little */
};

void wal_settler_init(struct wal_settler *settler, const char *const *argv);

/* Start the child when it is time, and see whether it ended.  Never waits. */
void wal_settler_tick(struct wal_settler *settler);

/* A segment is finished.  Never waits. */
void wal_settler_tell(struct wal_settler *settler, const char *name);

void wal_settler_done(struct wal_settler *settler);

#endif
