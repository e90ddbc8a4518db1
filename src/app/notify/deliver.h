/*
 * Deliver what waits in the outbox, one message after the other, with retries that wait longer
 * and longer.  Run in a process of its own, so that a server that hangs holds up nobody but this.
 */
#ifndef APP_NOTIFY_DELIVER_H
#define APP_NOTIFY_DELIVER_H

#include "base/clock.h"
#include "base/scope.h"

struct catalog;
struct config;
struct err;

struct deliver_result {
	unsigned sent_count;
	unsigned failed_count; /* attempts that failed: they are tried again */
};

/*
 * Everything that is due now.  A channel that fails is left alone until its next attempt is due,
 * the others go on; channels that failed before come last.  ERR_BUSY: another process delivers.
 * Attempts that fail are no error here: the outbox and the channel remember them.
 */
int deliver_all(struct catalog *catalog, const struct config *config,
    struct deliver_result *ret_result, struct err *err) MUST_CHECK;

#endif
