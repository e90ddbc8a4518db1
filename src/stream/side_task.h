/* One piece of work that goes on on a thread of its own, beside what its owner does. */
#ifndef STREAM_SIDE_TASK_H
#define STREAM_SIDE_TASK_H

#include "base/scope.h"

struct err;
struct side_task;

/*
 * Begin it; yours until side_task_wait.  `context` is the work's alone until then.  Where no thread
 * can be had the work is done at once.
 */
struct side_task *side_task_begin(int (*work)(void *context, struct err *err), void *context)
    MUST_CHECK;

/* Until it has ended: what it returned, with its error.  Frees the task; NULL is ok, and 0. */
int side_task_wait(struct side_task *task, struct err *err) MUST_CHECK;

#endif
