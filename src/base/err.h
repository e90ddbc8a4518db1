/*
 * One error, explained: what failed and on what, the cause, and what to type next.
 *
 * Functions that can fail return 0 or -1 (or a pointer or NULL) and fill the err on failure.
 * Messages state facts in lower case without a full stop, names in 'quotes', and are wrapped
 * outward: "redis 'cache': part 'dump.rdb': cannot write ...".  The kinds and their exit codes
 * are declared in schema/errors.yaml.  Nothing is logged here.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>

#include "base/scope.h"
#include "schema/err_kind.h"

struct err {
	enum err_kind kind; /* what the caller may do */
	int sys;            /* errno, 0 if none */
	char msg[480];      /* "outer: inner: cause" */
	char hint[320];     /* one sentence for the operator, or "" */
};

#define ERR_INIT                                                                                   \
	{                                                                                          \
		.kind = ERR_NONE                                                                   \
	}

/* Set kind and message, clear the hint.  Returns -1, so that callers can `return err_set(...)`. */
int err_set(struct err *err, enum err_kind kind, const char *format, ...) PRINTF_LIKE(3, 4);

/* As err_set, with the kind and ": cause" taken from errno. */
int err_sys(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* Put "format: " before the message.  Kind and hint stay.  Returns -1. */
int err_wrap(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* Set the hint, replacing any.  Returns -1. */
int err_hint(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);

void err_clear(struct err *err);

/* The kind an errno stands for (ENOSPC: ERR_SPACE, EACCES: ERR_PERMISSION, else ERR_IO). */
enum err_kind err_kind_of_errno(int sys);

/* From schema/errors.yaml. */
const char *err_kind_name(enum err_kind kind);
int err_kind_exit_code(enum err_kind kind);
bool err_kind_is_transient(enum err_kind kind);

#endif
