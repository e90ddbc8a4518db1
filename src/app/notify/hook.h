/*
 * Alarms as JSON for programs: what Alertmanager sends to webhooks (version 4), and what it takes
 * itself (POST /api/v2/alerts).  An alert is known by its labels alone, so that none of them holds
 * a time or a value.
 */
#ifndef APP_NOTIFY_HOOK_H
#define APP_NOTIFY_HOOK_H

#include "base/clock.h"
#include "base/scope.h"

struct alarm_states;
struct message;

/* The body for a webhook; yours. */
char *hook_body(const struct message *message, const char *receiver) MUST_CHECK;

/*
 * Everything that stands at `now`, to end by itself four minutes later unless it is sent again,
 * and what was over within the last ten minutes, as over.  What is shelved is over there.  Yours.
 */
char *hook_state(const char *site, const struct alarm_states *states, struct wall_time now)
    MUST_CHECK;

/* One harmless alert that ends within a minute, to prove the way; yours. */
char *hook_state_test(const char *site, struct wall_time now) MUST_CHECK;

#endif
