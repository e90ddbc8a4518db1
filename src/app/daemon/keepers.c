/* Jobs that never end: started again when they do, at first soon, then less and less. */
#include <stdlib.h>

#include "app/daemon/daemon_internal.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "catalog/catalog_watch.h"
#include "config/config.h"
#include "os/loop.h"
#include "work/worker.h"

#define BACKOFF_MIN_US (1 * US_PER_S)
#define BACKOFF_MAX_US (300 * US_PER_S)
#define STEADY_US (600 * US_PER_S) /* one that ran so long begins anew with the shortest */

static void
free_keeper(struct daemon_keeper *keeper)
{
	loop_timer_free(keeper->again);
	free(keeper->job);
	free(keeper->why);
	free(keeper);
}

static void
forget(struct daemon_keeper *keeper)
{
	struct daemon *daemon = keeper->daemon;

	for (size_t i = 0; i < daemon->keepers.count; i++) {
		if (daemon->keepers.items[i] == keeper)
			daemon->keepers.items[i] = daemon->keepers.items[--daemon->keepers.count];
	}
	free_keeper(keeper);
}

/* What is only shown must not stop anything: a full disk has its alarm elsewhere. */
static void
note(const struct daemon_keeper *keeper)
{
	struct daemon *daemon = keeper->daemon;
	struct err err = ERR_INIT;

	if (keeper->link.phase == LINK_UNKNOWN || daemon->wants_rebuild ||
	    catalog_link_put(daemon->wire.engine.catalog, keeper->job, &keeper->link, clock_wall(),
		&err) == 0)
		return;
	log_debug("job '%s': %s, continuing", keeper->job, err.msg);
	daemon_catalog_failed(daemon, &err);
}

void
daemon_note_keepers(struct daemon *daemon)
{
	for (size_t i = 0; i < daemon->keepers.count; i++)
		note(daemon->keepers.items[i]);
}

static void
set_link(struct daemon_keeper *keeper, const struct link_state *link)
{
	bool is_new = keeper->link.phase != link->phase || keeper->link.since.us != link->since.us;
	char *why = xstrdup(link->why);

	free(keeper->why);
	keeper->why = why;
	keeper->link = *link;
	keeper->link.why = why;
	if (is_new)
		note(keeper);
}

/* Its process is gone; it waits since it lost its server, if it had lost it before. */
static void
wait_again(struct daemon_keeper *keeper, const char *why)
{
	struct wall_time now = clock_wall();
	bool waited = keeper->link.phase == LINK_WAITING;

	set_link(keeper,
	    &(struct link_state){ .phase = LINK_WAITING,
		.since = waited ? keeper->link.since : now,
		.next_try = { now.us + keeper->backoff_us },
		.behind_bytes = keeper->link.behind_bytes,
		.behind_us = keeper->link.behind_us,
		.why = why });
}

static void
on_ended(const struct worker_end *end, void *context)
{
	struct daemon_keeper *keeper = context;
	struct daemon *daemon = keeper->daemon;

	keeper->worker = NULL;
	if (keeper->is_unwanted || daemon->is_stopping) {
		forget(keeper);
		daemon_look_whether_done(daemon);
		return;
	}
	if (clock_elapsed_us(keeper->started) >= STEADY_US)
		keeper->backoff_us = BACKOFF_MIN_US;
	/* A change of its settings ends it well, and it goes on at once. */
	if (end->failure.kind != ERR_NONE) {
		wait_again(keeper, end->failure.msg);
		log_warning("job '%s' ended: %s; it is started again in %lld s", keeper->job,
		    end->failure.msg, (long long)(keeper->backoff_us / US_PER_S));
	}
	loop_timer_start(keeper->again, keeper->backoff_us);
	keeper->backoff_us *= 2;
	if (keeper->backoff_us > BACKOFF_MAX_US)
		keeper->backoff_us = BACKOFF_MAX_US;
}

static void
on_frame(const struct frame *frame, void *context)
{
	struct daemon_keeper *keeper = context;

	if (frame->kind == FRAME_STARTED && keeper->link.phase == LINK_WAITING)
		log_info("job '%s' runs again", keeper->job);
	if (frame->kind == FRAME_STATE)
		set_link(keeper, &frame->link);
}

static void
start(void *context)
{
	struct daemon_keeper *keeper = context;
	const char *argv[8];
	const struct worker_options options = {
		.argv = argv,
		.ends_with_us = true,
		.events = { on_frame, NULL, on_ended, keeper },
	};
	struct err err = ERR_INIT;

	daemon_argv(keeper->daemon, "run", keeper->job, argv);
	keeper->started = clock_mono();
	keeper->worker = worker_start(keeper->daemon->loop, &options, &err);
	if (keeper->worker != NULL)
		return;
	log_warning("job '%s': %s, continuing", keeper->job, err.msg);
	wait_again(keeper, err.msg);
	loop_timer_start(keeper->again, BACKOFF_MAX_US);
}

static bool
is_kept(const struct config_job *job)
{
	return job->is_supported && !job->is_broken && job->is_continuous && !job->is_paused;
}

static struct daemon_keeper *
find(const struct daemon *daemon, const char *job)
{
	for (size_t i = 0; i < daemon->keepers.count; i++) {
		if (str_equals(daemon->keepers.items[i]->job, job))
			return daemon->keepers.items[i];
	}

	return NULL;
}

/* Those of a former configuration end, and begin again with the new one if it names them. */
void
daemon_update_keepers(struct daemon *daemon)
{
	for (size_t i = daemon->keepers.count; i > 0; i--) {
		struct daemon_keeper *keeper = daemon->keepers.items[i - 1];
		const struct config_job *job = config_find_job(daemon->wire.config, keeper->job);

		keeper->is_unwanted = job == NULL || !is_kept(job);
		if (keeper->worker != NULL)
			worker_stop(keeper->worker);
		else if (keeper->is_unwanted)
			forget(keeper);
		else
			loop_timer_start(keeper->again, 0);
	}
	for (size_t i = 0; i < daemon->wire.config->jobs.count; i++) {
		const struct config_job *job = &daemon->wire.config->jobs.items[i];
		struct daemon_keeper *keeper;

		if (!is_kept(job) || find(daemon, job->name) != NULL)
			continue;
		keeper = xcalloc(1, sizeof(*keeper));
		keeper->daemon = daemon;
		keeper->job = xstrdup(job->name);
		keeper->backoff_us = BACKOFF_MIN_US;
		keeper->again = loop_timer_new(daemon->loop, start, keeper);
		loop_timer_start(keeper->again, 0);
		vec_push(&daemon->keepers, keeper);
	}
}

void
daemon_stop_keepers(struct daemon *daemon)
{
	for (size_t i = daemon->keepers.count; i > 0; i--) {
		struct daemon_keeper *keeper = daemon->keepers.items[i - 1];

		if (keeper->worker != NULL)
			worker_stop(keeper->worker);
		else
			forget(keeper);
	}
}

void
daemon_free_keepers(struct daemon *daemon)
{
	while (daemon->keepers.count > 0) {
		worker_leave(daemon->keepers.items[0]->worker);
		forget(daemon->keepers.items[0]);
	}
	vec_done(&daemon->keepers);
}
