#include "app/notify/notify.h"

#include <signal.h>
#include <stdlib.h>

#include "app/notify/setup.h"
#include "app/web/metrics.h"
#include "app/wire.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"
#include "os/process.h"

enum { END_WAIT_MS = 200 };

struct notify {
	struct wire *wire;
	struct notify_setup setup;
	struct watch *watch;
	struct process *delivery; /* NULL: none goes on */
};

struct notify *
notify_new(struct wire *wire, const char *store_failure, struct wall_time now, struct err *err)
{
	SCOPED(notify_freep) struct notify *notify = xcalloc(1, sizeof(*notify));

	notify->wire = wire;
	if (notify_setup_make(wire, now, &notify->setup, err) < 0)
		return NULL;
	notify->watch = watch_new(&wire->engine, &notify->setup.settings, store_failure);

	return TAKE(notify);
}

/*
 * One that is at work ends between two messages; one that hangs is killed, which loses nothing.
 * The daemon waits for this when it reloads, so it must be short.
 */
static void
end_delivery(struct notify *notify)
{
	struct process_exit end;
	struct err running = ERR_INIT;

	if (notify->delivery == NULL)
		return;
	process_signal(notify->delivery, SIGTERM);
	if (process_wait(notify->delivery, END_WAIT_MS, &end, &running) < 0)
		process_signal(notify->delivery, SIGKILL);
	process_free(notify->delivery);
}

void
notify_free(struct notify *notify)
{
	if (notify == NULL)
		return;
	end_delivery(notify);
	watch_free(notify->watch);
	notify_setup_done(&notify->setup);
	free(notify);
}

const struct watch_seen *
notify_last_seen(const struct notify *notify)
{
	return watch_last_seen(notify->watch);
}

/* What did not get through is in the catalog; here is only what kept the process from trying. */
static void
reap_delivery(struct notify *notify)
{
	struct process_exit end;
	struct err running = ERR_INIT;

	if (notify->delivery == NULL || process_wait(notify->delivery, 0, &end, &running) < 0)
		return;
	if (end.was_signalled || end.code != 0)
		log_warning("alert deliver ended with %s %d: %s, continuing",
		    end.was_signalled ? "signal" : "code", end.code,
		    process_stderr(notify->delivery));
	process_free(notify->delivery);
	notify->delivery = NULL;
}

static int
start_delivery(struct notify *notify, struct err *err)
{
	const char *const argv[] = { "/proc/self/exe", "alert", "deliver", "-q", "-c",
		notify->wire->config->path, NULL };
	const struct process_options options = { .argv = argv, .stderr_max_bytes = 2048 };

	notify->delivery = process_start(&options, err);

	return notify->delivery != NULL ? 0 : -1;
}

int
notify_tick(struct notify *notify, const struct watch_news *news, struct wall_time now,
    struct err *err)
{
	struct watch_result result;

	reap_delivery(notify);
	if (watch_tick(notify->watch, news, now, &result, err) < 0)
		return -1;
	if (!result.has_due || notify->delivery != NULL)
		return 0;

	return start_delivery(notify, err);
}

int
notify_metrics(struct notify *notify, const struct metrics_live *live, size_t live_count,
    struct str *to, struct err *err)
{
	SCOPED(watch_memory_done) struct watch_memory memory = { .items = { .count = 0 } };
	SCOPED(watch_seen_done) struct watch_seen own = { .at = { 0 } };
	const struct watch_look look = {
		.memory = &memory,
		.jobs = notify->setup.jobs.items,
		.jobs_count = notify->setup.jobs.count,
	};
	struct metrics_input input = {
		.catalog = notify->wire->engine.catalog,
		.seen = watch_last_seen(notify->watch),
		.site = notify->wire->config->site,
		.live = live,
		.live_count = live_count,
	};

	if (input.seen == NULL) {
		if (watch_see(&notify->wire->engine, &look, NULL, clock_wall(), &own, err) < 0)
			return -1;
		input.seen = &own;
	}

	return metrics_write(&input, to, err);
}
