/* Every 15 s: what only the daemon knows goes to the alarms. */
#include <inttypes.h>

#include "app/daemon/daemon_internal.h"
#include "app/notify/notify.h"
#include "base/err.h"
#include "base/log.h"
#include "catalog/catalog_watch.h"
#include "config/config.h"
#include "os/loop.h"

enum { JUMP_MIN_S = 3600 };

/* The wall clock against the time since the machine's start: only setting it moves the one. */
void
daemon_check_clock(struct daemon *daemon)
{
	int64_t offset_us = clock_wall().us - loop_uptime_us();
	int64_t moved_us = offset_us - daemon->clock_offset_us;
	char text[CLOCK_TEXT_SIZE];

	daemon->clock_offset_us = offset_us;
	if (moved_us < JUMP_MIN_S * US_PER_S && moved_us > -JUMP_MIN_S * US_PER_S)
		return;
	daemon->clock_jump_us += moved_us;
	log_warning("the clock was set %s by %s", moved_us > 0 ? "forward" : "back",
	    clock_format_duration(moved_us > 0 ? moved_us : -moved_us, text));
}

/* A tick at which nothing changes writes nothing: whether that would work again must be tried. */
static void
look_at_catalog(struct daemon *daemon)
{
	struct err err = ERR_INIT;

	if (daemon->catalog_failure != NULL &&
	    catalog_mark_put(daemon->wire.engine.catalog, "written", clock_wall(), NULL, &err) == 0)
		daemon_catalog_works(daemon);
}

void
daemon_tick(struct daemon *daemon)
{
	VEC(struct watch_stall) stalls = { .count = 0 };
	struct watch_news news = {
		.daemon = { .config_path = daemon->wire.config->path,
		    .config_failure = daemon->config_failure,
		    .config_failed_at = daemon->config_failed_at,
		    .clock_jump_us = daemon->clock_jump_us },
	};
	struct err err = ERR_INIT;

	daemon_note_keepers(daemon);
	for (size_t i = 0; i < daemon->runs.count; i++) {
		const struct daemon_run *run = daemon->runs.items[i];

		if (run->stalled_since.us != 0)
			vec_push(&stalls,
			    ((struct watch_stall){ .job = run->job,
				.run_id = run->run_id,
				.since = run->stalled_since }));
	}
	news.stalls = stalls.items;
	news.stalls_count = stalls.count;
	if (daemon->notify != NULL) {
		if (notify_tick(daemon->notify, &news, clock_wall(), &err) == 0) {
			daemon->clock_jump_us = 0;
			look_at_catalog(daemon);
		} else {
			daemon_catalog_failed(daemon, &err);
		}
	}
	vec_done(&stalls);
}
