/*
 * What the program tells the operator while it works.  Messages go to stderr, and to the log of
 * the current run when one is open.  Data that a command was asked for goes to stdout and is not
 * this file's business.  Below the engine nobody logs above debug: failures travel as errors.
 *
 * On stderr a line is "warning: text"; in a run's log it is
 * "2025-11-25T02:00:00.123456Z warning run=ID text".  Control characters are shown as \xNN.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

#include "base/scope.h"

struct err;

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

/* Which levels stderr shows; the default is LOG_LEVEL_INFO.  A run's log always has debug. */
void log_set_level(enum log_level level);

/* Copy every line to `fd` (a loan, -1 to stop) for the run `run_id`. */
void log_set_run(int fd, const char *run_id);

void log_error(const char *format, ...) PRINTF_LIKE(1, 2);
void log_warning(const char *format, ...) PRINTF_LIKE(1, 2);
void log_info(const char *format, ...) PRINTF_LIKE(1, 2);
void log_debug(const char *format, ...) PRINTF_LIKE(1, 2);

/* As log_debug, but never in a run's log: for what happens many times a second. */
void log_trace(const char *format, ...) PRINTF_LIKE(1, 2);

/* The error's message as an error line and, if it has one, its hint as a line "hint: ...". */
void log_err(const struct err *err);

#endif
