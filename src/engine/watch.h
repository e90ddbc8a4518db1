/*
 * The watch: looks at everything, lets the rules of sched/alarm_rules judge, and writes what
 * changed together with the messages about it in one transaction, so that nothing is lost or said
 * twice whenever the process is killed.  It sends nothing itself: messages wait in the outbox of
 * the catalog.  Also the digest of the day, pings of heartbeats, and samples of the store's space.
 */
#ifndef ENGINE_WATCH_H
#define ENGINE_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "engine/watch_seen.h"
#include "sched/alarm.h"
#include "sched/alarm_rules.h"

struct calendar;
struct engine;
struct err;
struct watch;

enum watch_channel_kind {
	WATCH_CHANNEL_MESSAGES, /* one message for each change */
	WATCH_CHANNEL_STATE,    /* all that stands, sent again and again while something does */
	WATCH_CHANNEL_BEAT,     /* pings: silence is what alarms there */
};

struct watch_channel {
	const char *name;
	enum watch_channel_kind kind;
	enum alarm_severity least; /* what is less severe is not told here */
	bool wants_digest;
	const char *beat_job; /* of a heartbeat: the job whose runs it follows; NULL: the daemon */
};

/* All loans, which outlive the watch. */
struct watch_settings {
	const struct watch_job *jobs;
	size_t jobs_count;
	const struct watch_channel *channels;
	size_t channels_count;
	struct alarm_limits limits;
	struct alarm_policy policy;
	int64_t drill_max_age_us;      /* 0: drills are not asked for */
	const struct calendar *digest; /* NULL: none */
	int64_t beat_us;
};

/* What only the daemon knows. */
struct watch_stall {
	const char *job;
	const char *run_id;
	struct wall_time since;
};
struct watch_news {
	struct daemon_facts daemon;
	const struct watch_stall *stalls;
	size_t stalls_count;
};

/* `store_failure`: why the engine has no store, NULL when it has one; copied. */
struct watch *watch_new(struct engine *engine, const struct watch_settings *settings,
    const char *store_failure) MUST_CHECK;
void watch_free(struct watch *watch);
SCOPED_FREE(struct watch, watch_free)

struct watch_result {
	unsigned changes_count; /* of alarms, those that were only reworded not counted */
	bool has_due;           /* messages wait: somebody should deliver */
};

/*
 * Look once, at `now`.  What was seen is kept and looked at anew only when the catalog changed or
 * a minute has passed, so that a quiet tick costs next to nothing.  `news` NULL: the caller is no
 * daemon.  On failure nothing was changed, and the next tick does it all.
 */
int watch_tick(struct watch *watch, const struct watch_news *news, struct wall_time now,
    struct watch_result *ret_result, struct err *err) MUST_CHECK;

/* What the last tick saw, a loan until the next one; NULL before the first. */
const struct watch_seen *watch_last_seen(const struct watch *watch);

#endif
