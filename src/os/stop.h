/*
 * Being asked to stop.  SIGINT, SIGTERM and SIGHUP set one flag (the only global besides the
 * log's target); long work looks at it between two steps and leaves by the ordinary error path
 * with ERR_CANCELLED, so that everything half-done is undone by the scopes it passes.
 */
#ifndef OS_STOP_H
#define OS_STOP_H

#include <stdbool.h>

#include "base/scope.h"

struct err;

/* Catch the signals; a second one of the same kind ends the process at once. SIGPIPE is ignored. */
void stop_install(void);
bool stop_is_requested(void);

/* The signal that asked for it, 0 when none did. */
int stop_signal(void);

/* 0, or -1 with ERR_CANCELLED when a stop was asked for. */
int stop_check(struct err *err) MUST_CHECK;

/* A descriptor that becomes readable when a stop is asked for, for poll; -1 before install. */
int stop_fd(void);

/* For tests and for a parent that wants its work to end: as if a signal had come. */
void stop_request(void);

#endif
