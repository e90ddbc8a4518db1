/*
 * The daemon of `blackstart serve`: begins what is due, keeps what never ends, looks after alarms
 * and the page.  It waits for nothing but its loop: whatever takes time is a child.
 */
#ifndef APP_DAEMON_DAEMON_H
#define APP_DAEMON_DAEMON_H

#include "base/scope.h"

struct args;
struct err;
struct wire;

/*
 * Serve until SIGTERM or SIGINT; takes over what is in `wire` (a config, no store yet).  ERR_BUSY:
 * another one serves with this state_dir.
 */
int daemon_serve(struct wire *wire, const struct args *args, struct err *err) MUST_CHECK;

#endif
