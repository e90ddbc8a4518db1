/* What the files of the watch share: one plan of what a tick has to write. */
#ifndef ENGINE_WATCH_INTERNAL_H
#define ENGINE_WATCH_INTERNAL_H

#include <stdbool.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"
#include "catalog/catalog_outbox.h"
#include "engine/watch.h"

struct err;

struct watch {
	struct engine *engine;
	const struct watch_settings *settings;
	char *store_failure;
	struct watch_memory memory;
	struct watch_seen seen;
	bool has_seen;
	uint64_t seen_stamp; /* of the catalog */
};

struct plan_message {
	struct outbox_row row;
	bool replaces; /* what waits of this event in this channel is withdrawn first */
};

struct plan_mark {
	char *name;
	struct wall_time at;
	char *value;
};

/* Made by reading alone; written as one transaction, or not at all. */
struct watch_plan {
	const struct watch *watch;
	struct wall_time now;
	struct alarm_states states; /* before */
	struct alarm_changes changes;
	VEC(struct plan_message) messages;
	VEC(struct plan_mark) marks;
	bool wants_sample;
	bool wants_trim;
	unsigned criticals_count; /* after the changes */
	unsigned warnings_count;
};
void watch_plan_done(struct watch_plan *plan);

/* Everything but the changes of alarms: see the functions of watch_regular.c. */
int watch_plan_regular(struct watch_plan *plan, struct err *err) MUST_CHECK;

/* A message to be filled in, a loan until the next one. */
struct outbox_row *watch_plan_message(struct watch_plan *plan, const struct watch_channel *channel,
    const char *event, int64_t lasts_us, bool replaces);
void watch_plan_mark(struct watch_plan *plan, const char *name, struct wall_time at,
    const char *value);

/* The day in plain lines: what stands, and each job. Yours. */
char *watch_digest_text(const struct watch_seen *seen, const struct alarm_states *states,
    const struct zone *zone, struct wall_time now) MUST_CHECK;

#endif
