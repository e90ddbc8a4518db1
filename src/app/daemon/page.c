/* The page in the daemon's loop. */
#include "app/daemon/daemon_internal.h"
#include "app/notify/notify.h"
#include "app/web/metrics.h"
#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "base/vec.h"
#include "config/config.h"
#include "os/loop.h"

static int
run_now(void *context, const char *job, struct err *err)
{
	return daemon_run_now(context, job, err);
}

static bool
next_run(void *context, const char *job, struct wall_time *ret_next)
{
	const struct daemon *daemon = context;

	return daemon->agenda != NULL && agenda_due_next(daemon->agenda, job, ret_next);
}

static double
ratio_of(const struct daemon_run *run)
{
	double ratio;

	if (run->total_bytes == 0)
		return -1;
	ratio = (double)run->done_bytes / (double)run->total_bytes;

	return ratio > 1 ? 1 : ratio;
}

static bool
progress(void *context, const char *job, struct web_progress *ret_progress)
{
	const struct daemon_run *run = daemon_find_run(context, job);

	if (run == NULL)
		return false;
	*ret_progress = (struct web_progress){ .phase = run->phase, .ratio = ratio_of(run) };

	return true;
}

static bool
is_ready(void *context, struct str *why)
{
	const struct daemon *daemon = context;

	if (daemon->is_stopping)
		str_add(why, "stopping");
	else if (daemon->store_failure != NULL)
		str_addf(why, "no store: %s", daemon->store_failure);
	else if (daemon->agenda == NULL)
		str_add(why, "no schedule");
	else if (daemon->catalog_failure != NULL)
		str_addf(why, "nothing can be recorded: %s", daemon->catalog_failure);

	return why->size == 0;
}

static bool
trouble(void *context, struct web_trouble *ret_trouble)
{
	const struct daemon *daemon = context;

	if (daemon->catalog_failure == NULL)
		return false;
	*ret_trouble = (struct web_trouble){
		.since = daemon->catalog_failed_at,
		.text = "nothing can be recorded, and no alarm be raised",
		.cause = daemon->catalog_failure,
		.full_folder = daemon->is_catalog_full ? daemon->wire.state_dir : NULL,
	};

	return true;
}

static int
metrics(void *context, struct str *to, struct err *err)
{
	struct daemon *daemon = context;
	VEC(struct metrics_live) live = { .count = 0 };
	int result;

	if (daemon->notify == NULL)
		return err_set(err, ERR_BUSY, "not ready yet");
	for (size_t i = 0; i < daemon->runs.count; i++)
		vec_push(&live,
		    ((struct metrics_live){ .job = daemon->runs.items[i]->job,
			.progress_ratio = ratio_of(daemon->runs.items[i]),
			.lag_bytes = -1 }));
	for (size_t i = 0; i < daemon->keepers.count; i++) {
		const struct link_state *link = &daemon->keepers.items[i]->link;
		bool is_known = link->phase == LINK_CONNECTED || link->phase == LINK_CATCHING_UP;

		vec_push(&live,
		    ((struct metrics_live){ .job = daemon->keepers.items[i]->job,
			.progress_ratio = -1,
			.lag_bytes = is_known ? (int64_t)link->behind_bytes : -1,
			.link = link }));
	}
	result = notify_metrics(daemon->notify, live.items, live.count, to, err);
	vec_done(&live);

	return result;
}

static void
work(struct daemon *daemon)
{
	int64_t timeout_us;

	web_work(daemon->web);
	timeout_us = web_timeout_us(daemon->web);
	if (timeout_us >= 0)
		loop_timer_start(daemon->page, timeout_us);
	else
		loop_timer_stop(daemon->page);
}

static void
on_fd(int fd, unsigned events, void *context)
{
	(void)fd;
	(void)events;
	work(context);
}

static void
on_timer(void *context)
{
	work(context);
}

static char *
path_or_null(const struct config *config, const char *name)
{
	return name != NULL ? config_secret_path(config, name) : NULL;
}

/* Without a page the backups go on; it is tried again with each tick. */
void
daemon_open_page(struct daemon *daemon)
{
	const struct config *config = daemon->wire.config;
	SCOPED(freep) char *token = path_or_null(config, config->web.token_file);
	const struct web_options options = {
		.listen = config->web.listen,
		.token_path = token,
		.tls_cert = config->web.tls_cert,
		.tls_key = config->web.tls_key,
		.is_insecure = config->web.is_insecure,
		.names = (const char *const *)config->web.names.items,
	};
	struct err err = ERR_INIT;

	if (config->web.listen == NULL)
		return;
	daemon->web_host = (struct web_host){
		.wire = &daemon->wire,
		.context = daemon,
		.run_now = run_now,
		.next_run = next_run,
		.progress = progress,
		.is_ready = is_ready,
		.trouble = trouble,
		.metrics = metrics,
	};
	daemon->web = web_open(&options, &daemon->web_host, &err);
	if (daemon->web != NULL)
		daemon->web_watch = loop_watch(daemon->loop, web_fd(daemon->web), LOOP_READ, on_fd,
		    daemon, &err);
	if (daemon->web_watch == NULL) {
		if (!daemon->is_page_missing)
			log_warning("no page: %s, continuing without", err.msg);
		daemon->is_page_missing = true;
		daemon_close_page(daemon);
		return;
	}
	daemon->is_page_missing = false;
	daemon->page = loop_timer_new(daemon->loop, on_timer, daemon);
	log_info("the page is at %s", web_url(daemon->web));
	work(daemon);
}

void
daemon_close_page(struct daemon *daemon)
{
	loop_unwatch(TAKE(daemon->web_watch));
	loop_timer_free(TAKE(daemon->page));
	web_close(TAKE(daemon->web));
}
