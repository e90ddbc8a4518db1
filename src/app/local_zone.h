/* The zone of this machine, for use without a configuration. */
#ifndef APP_LOCAL_ZONE_H
#define APP_LOCAL_ZONE_H

#include "base/scope.h"

struct err;
struct zone;

/* That of $TZ, else the one where /etc/localtime points, else UTC. */
struct zone *local_zone_open(struct err *err) MUST_CHECK;

#endif
