/*
 * A process of our own that goes on when the command that began it has ended.  For helpers that
 * whoever started us must not have to wait for, nor notice.
 */
#ifndef OS_DETACH_H
#define OS_DETACH_H

#include <stdbool.h>

#include "base/scope.h"

struct err;

/*
 * Go on twice: *ret_is_helper tells which one returns.  The helper is nobody's child, in a session
 * of its own, holds no descriptor that we were given (its stdin, stdout and stderr are /dev/null),
 * and must end with _exit.  Only for a process without other threads.
 */
int detach(bool *ret_is_helper, struct err *err) MUST_CHECK;

#endif
