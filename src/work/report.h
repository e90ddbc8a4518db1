/*
 * The worker's end of the pipe.  Nothing here ever waits or fails for long: a reader that is gone
 * or asleep loses frames, the work goes on.  A report of -1 says nothing to nobody.
 */
#ifndef WORK_REPORT_H
#define WORK_REPORT_H

#include "base/scope.h"

struct err;
struct link_state;
struct progress;

void report_started(int fd, const char *run_id);
void report_progress(int fd, const struct progress *progress);
void report_warning(int fd, const char *text);
void report_link(int fd, const struct link_state *state);

/* The last word; NULL failure is success.  Waits a second for a reader that is slow. */
void report_result(int fd, const struct err *failure, unsigned warnings_count);

#endif
