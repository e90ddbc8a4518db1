/*
 * Alarms as the daemon has them: one call each 15 seconds looks, judges, writes, and sees to it
 * that a process of its own delivers what waits.  It never waits for that process.
 *
 *   notify = notify_new(&wire, store_failure, clock_wall(), &err); after each load of the config
 *   every 15 s:  notify_tick(notify, &news, clock_wall(), &err);   a failure is logged: try again
 *   on exit:     notify_free(notify);
 */
#ifndef APP_NOTIFY_NOTIFY_H
#define APP_NOTIFY_NOTIFY_H

#include <stddef.h>

#include "base/clock.h"
#include "base/scope.h"
#include "engine/watch.h"

struct err;
struct notify;
struct wire;

/* The wire has a config and an open catalog, and outlives it.  `store_failure`: as watch_new. */
struct notify *notify_new(struct wire *wire, const char *store_failure, struct wall_time now,
    struct err *err) MUST_CHECK;

/* `news` NULL: nothing but what the catalog and the store tell. */
int notify_tick(struct notify *notify, const struct watch_news *news, struct wall_time now,
    struct err *err) MUST_CHECK;

/* /metrics of what the last tick saw; before the first one of a look of its own. */
struct metrics_live;
struct str;
int notify_metrics(struct notify *notify, const struct metrics_live *live, size_t live_count,
    struct str *to, struct err *err) MUST_CHECK;

/* What the last tick saw, for the page: a loan until the next one; NULL: no tick yet. */
const struct watch_seen *notify_last_seen(const struct notify *notify);

/* A delivery that goes on is ended; what it had not sent yet waits for the next process. */
void notify_free(struct notify *notify);
SCOPED_FREE(struct notify, notify_free)

#endif
