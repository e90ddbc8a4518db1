#include "app/daemon/daemon.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/cli/args.h"
#include "app/daemon/daemon_internal.h"
#include "app/notify/notify.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "config/config.h"
#include "os/file.h"
#include "os/lockfile.h"
#include "os/loop.h"
#include "os/service.h"
#include "store/store.h"
#include "work/worker.h"

enum { TICKS_PER_LOOK = 4, ARGV_MAX = 8 };
#define GRACE_US (20 * US_PER_S) /* how long a run may still take to end by itself */
#define FIRST_TICK_US (1 * US_PER_S)

void
daemon_argv(const struct daemon *daemon, const char *verb, const char *word, const char **argv)
{
	const char *store = args_text(daemon->args, "store");
	size_t count = 0;

	argv[count++] = "/proc/self/exe";
	argv[count++] = verb;
	if (word != NULL)
		argv[count++] = word;
	argv[count++] = "-c";
	argv[count++] = daemon->wire.config->path;
	if (store != NULL) {
		argv[count++] = "--store";
		argv[count++] = store;
	}
	argv[count] = NULL;
}

/* ---- the catalog brought up to the store ---------------------------------------------------- */

static void
on_rebuilt(const struct worker_end *end, void *context)
{
	struct daemon *daemon = context;

	daemon->rebuild = NULL;
	if (end->failure.kind != ERR_NONE && !daemon->is_stopping)
		log_warning("the catalog could not be brought up to the store: %s, continuing",
		    end->failure.msg);
	daemon_look_whether_done(daemon);
}

/* `list` does it on the way; what it prints goes nowhere. */
static void
start_rebuild(struct daemon *daemon)
{
	const char *argv[ARGV_MAX];
	const struct worker_options options = {
		.argv = argv,
		.events = { NULL, NULL, on_rebuilt, daemon },
	};
	struct err err = ERR_INIT;

	if (daemon->rebuild != NULL || daemon->store_failure != NULL || daemon->is_stopping)
		return;
	daemon_argv(daemon, "list", NULL, argv);
	daemon->rebuild = worker_start(daemon->loop, &options, &err);
	if (daemon->rebuild == NULL)
		log_warning("%s, continuing", err.msg);
}

/* ---- a configuration in use ----------------------------------------------------------------- */

static void
close_parts(struct daemon *daemon)
{
	daemon_close_page(daemon);
	notify_free(TAKE(daemon->notify));
	daemon_close_agenda(daemon);
}

static int
open_parts(struct daemon *daemon, struct err *err)
{
	if (daemon_open_agenda(daemon, err) < 0)
		return -1;
	daemon->notify = notify_new(&daemon->wire, daemon->store_failure, clock_wall(), err);
	if (daemon->notify == NULL)
		return -1;
	daemon_open_page(daemon);
	daemon_update_keepers(daemon);
	start_rebuild(daemon);

	return 0;
}

/* Take over another wire, which is open; the parts are made anew of it. */
static int
swap(struct daemon *daemon, struct wire *wire, char *store_failure, struct err *err)
{
	bool is_news = !str_equals(store_failure, daemon->store_failure);

	close_parts(daemon);
	wire_done(&daemon->wire);
	free(daemon->store_failure);
	daemon->wire = *wire;
	*wire = (struct wire){ .config = NULL };
	daemon->store_failure = store_failure;
	if (store_failure != NULL && is_news)
		log_warning("the store cannot be used: %s, continuing without", store_failure);

	return open_parts(daemon, err);
}

/* Read the configuration and open all of it beside what is in use. */
static int
open_beside(struct daemon *daemon, struct wire *ret_wire, char **ret_store_failure, struct err *err)
{
	if (wire_init(ret_wire, daemon->args, err) < 0 ||
	    wire_open_quick(ret_wire, daemon->args, daemon->is_hung ? daemon->store_failure : NULL,
		ret_store_failure, err) < 0)
		return -1;
	if (strcmp(ret_wire->state_dir, daemon->wire.state_dir) != 0) {
		(void)err_set(err, ERR_CONFIG, "state_dir cannot be changed while it is in use");
		return err_hint(err, "Restart blackstart, or put '%s' back.",
		    daemon->wire.state_dir);
	}

	return 0;
}

static void
end_with(struct daemon *daemon, const struct err *err)
{
	log_err(err);
	log_error("blackstart cannot go on and ends");
	loop_stop(daemon->loop);
}

/* 0: what is in use is the new one; -1: all is as it was. */
static int
renew(struct daemon *daemon, struct err *err)
{
	struct wire wire = { .config = NULL };
	char *store_failure = NULL;

	if (open_beside(daemon, &wire, &store_failure, err) < 0) {
		wire_done(&wire);
		free(store_failure);
		return -1;
	}
	if (swap(daemon, &wire, store_failure, err) < 0)
		end_with(daemon, err);
	daemon_step(daemon);

	return 0;
}

static void
on_hup(void *context)
{
	struct daemon *daemon = context;
	struct err err = ERR_INIT;

	if (daemon->is_stopping)
		return;
	service_tell_reloading();
	free(TAKE(daemon->config_failure));
	if (renew(daemon, &err) < 0) {
		log_warning("the new configuration is not used, the old one stays: %s", err.msg);
		if (err.hint[0] != '\0')
			log_info("hint: %s", err.hint);
		daemon->config_failure = xstrdup(err.msg);
		daemon->config_failed_at = clock_wall();
	} else {
		log_info("the configuration was read again");
	}
	loop_timer_start(daemon->tick, 0);
	service_tell("READY=1\nSTATUS=%s",
	    daemon->config_failure == NULL ? "serving" : "serving, with the former configuration");
}

/* ---- a damaged catalog --------------------------------------------------------------------- */

static void
replace_catalog(void *context)
{
	struct daemon *daemon = context;
	SCOPED(freep) char *path = path_join(daemon->wire.state_dir, "catalog.db");
	SCOPED(freep) char *moved = NULL;
	struct err err = ERR_INIT;

	daemon->wants_rebuild = false;
	close_parts(daemon);
	catalog_close(TAKE(daemon->wire.engine.catalog));
	if (catalog_set_aside(path, &moved, &err) < 0) {
		end_with(daemon, &err);
		return;
	}
	log_warning("the catalog was damaged: it is kept as '%s', and made again from the store",
	    moved);
	daemon->wire.engine.catalog = catalog_open(path, &err);
	if (daemon->wire.engine.catalog == NULL || open_parts(daemon, &err) < 0) {
		end_with(daemon, &err);
		return;
	}
	daemon_step(daemon);
}

/* A full disk, most likely: it is told once, and shown until something could be written again. */
static void
note_failure(struct daemon *daemon, const struct err *err)
{
	if (daemon->catalog_failure != NULL)
		return;
	daemon->catalog_failure = xstrdup(err->msg);
	daemon->catalog_failed_at = clock_wall();
	daemon->is_catalog_full = err->kind == ERR_SPACE;
	log_warning("nothing can be recorded, and no alarm be raised: %s, continuing", err->msg);
}

void
daemon_catalog_works(struct daemon *daemon)
{
	if (daemon->catalog_failure == NULL)
		return;
	free(TAKE(daemon->catalog_failure));
	log_info("the catalog can be written again");
}

void
daemon_catalog_failed(struct daemon *daemon, const struct err *err)
{
	if (err->kind != ERR_DATA) {
		note_failure(daemon, err);
		return;
	}
	if (daemon->wants_rebuild)
		return;
	daemon->wants_rebuild = true;
	loop_defer(daemon->loop, replace_catalog, daemon);
}

/* ---- the end ------------------------------------------------------------------------------- */

void
daemon_look_whether_done(struct daemon *daemon)
{
	bool is_working = daemon->rebuild != NULL || daemon->keepers.count > 0;

	for (size_t i = 0; i < daemon->runs.count; i++)
		is_working |= daemon->runs.items[i]->worker != NULL;
	if (daemon->is_stopping && !is_working)
		loop_stop(daemon->loop);
}

/* Those that take longer are asked to stop cleanly; their due run is begun again by the next. */
static void
on_grace(void *context)
{
	struct daemon *daemon = context;

	log_warning("ending the runs that go on");
	daemon_stop_runs(daemon);
}

static void
on_term(void *context)
{
	struct daemon *daemon = context;

	if (daemon->is_stopping) {
		on_grace(daemon);
		return;
	}
	daemon->is_stopping = true;
	service_tell("STOPPING=1\nSTATUS=waiting for the runs that go on");
	log_info("stopping");
	if (daemon->agenda != NULL)
		agenda_close(daemon->agenda);
	daemon_stop_keepers(daemon);
	if (daemon->rebuild != NULL)
		worker_stop(daemon->rebuild);
	loop_timer_start(daemon->grace, GRACE_US);
	daemon_look_whether_done(daemon);
}

/* ---- timers -------------------------------------------------------------------------------- */

static void
on_step(void *context)
{
	daemon_step(context);
}

static void
on_clock_step(void *context)
{
	daemon_check_clock(context);
	daemon_step(context);
}

static void
on_poll(void *context)
{
	struct daemon *daemon = context;

	daemon_poll_runs(daemon);
	daemon_step(daemon);
}

void
daemon_store_answers(struct daemon *daemon, const struct err *failure)
{
	bool is_due = ++daemon->ticks % TICKS_PER_LOOK == 0;
	bool is_back = failure->kind == ERR_NONE || daemon->is_hung;
	struct err err = ERR_INIT;

	daemon->is_hung = false;
	if (daemon->store_failure != NULL &&
	    (is_back || (is_due && !str_equals(failure->msg, daemon->store_failure)))) {
		if (renew(daemon, &err) < 0)
			log_debug("%s", err.msg);
		else if (daemon->store_failure == NULL)
			log_info("the store can be used again");
	} else if (is_due && daemon->is_page_missing) {
		daemon_open_page(daemon);
	}
	daemon_tick(daemon);
	daemon_step(daemon);
}

void
daemon_store_hangs(struct daemon *daemon, char *failure)
{
	struct err err = ERR_INIT;

	log_warning("%s, continuing without", failure);
	close_parts(daemon);
	store_close(TAKE(daemon->wire.engine.store));
	free(daemon->store_failure);
	daemon->store_failure = failure;
	daemon->is_hung = true;
	if (open_parts(daemon, &err) < 0) {
		end_with(daemon, &err);
		return;
	}
	daemon_tick(daemon);
	daemon_step(daemon);
}

/* The alarms look at the store when it has answered; without one they need not wait for it. */
static void
on_tick(void *context)
{
	struct daemon *daemon = context;

	loop_timer_start(daemon->tick, DAEMON_TICK_US);
	if (daemon->is_stopping)
		return;
	daemon_check_clock(daemon);
	if (daemon->is_hung)
		daemon_tick(daemon);
	daemon_probe(daemon);
	daemon_step(daemon);
}

static void
on_beat(void *context)
{
	struct daemon *daemon = context;

	service_tell("WATCHDOG=1");
	loop_timer_start(daemon->beat, service_watchdog_us());
}

/* ---- serving ------------------------------------------------------------------------------- */

static int
open_loop(struct daemon *daemon, struct err *err)
{
	struct loop *loop = loop_new(err);

	if (loop == NULL)
		return -1;
	daemon->loop = loop;
	daemon->clock_offset_us = clock_wall().us - loop_uptime_us();
	daemon->step = loop_timer_new(loop, on_step, daemon);
	daemon->tick = loop_timer_new(loop, on_tick, daemon);
	daemon->poll = loop_timer_new(loop, on_poll, daemon);
	daemon->beat = loop_timer_new(loop, on_beat, daemon);
	daemon->grace = loop_timer_new(loop, on_grace, daemon);
	if (loop_signal(loop, SIGHUP, on_hup, daemon, err) < 0 ||
	    loop_signal(loop, SIGTERM, on_term, daemon, err) < 0 ||
	    loop_signal(loop, SIGINT, on_term, daemon, err) < 0)
		return -1;

	return loop_on_clock_step(loop, on_clock_step, daemon, err);
}

static int
take_lock(struct daemon *daemon, struct err *err)
{
	SCOPED(freep) char *folder = path_join(daemon->wire.state_dir, "lock");
	SCOPED(freep) char *path = path_join(folder, "serve.lock");

	if (dir_make_all(folder, 0700, err) < 0 ||
	    lockfile_take(path, "serve", &daemon->lock_fd, err) < 0) {
		if (err->kind != ERR_BUSY)
			return -1;
		(void)err_wrap(err, "blackstart serves already from '%s'", daemon->wire.state_dir);
		return err_hint(err,
		    "Stop the other one first, or give this one its own state_dir.");
	}

	return 0;
}

static void
daemon_done(struct daemon *daemon)
{
	close_parts(daemon);
	daemon_leave_runs(daemon);
	daemon_free_keepers(daemon);
	worker_leave(daemon->rebuild);
	daemon_leave_probe(daemon);
	loop_timer_free(daemon->step);
	loop_timer_free(daemon->tick);
	loop_timer_free(daemon->poll);
	loop_timer_free(daemon->beat);
	loop_timer_free(daemon->grace);
	loop_free(daemon->loop);
	wire_done(&daemon->wire);
	free(daemon->store_failure);
	free(daemon->config_failure);
	free(daemon->catalog_failure);
	daemon_forget_restores(daemon);
	closep(&daemon->lock_fd);
}

static int
open_all(struct daemon *daemon, struct err *err)
{
	SCOPED(freep) char *hung = NULL;

	/* The lock comes before the catalog: a second one must not call the first one's runs lost. */
	daemon->wire.state_dir = xstrdup(daemon->wire.config->state_dir);
	if (take_lock(daemon, err) < 0)
		return -1;
	free(TAKE(daemon->wire.state_dir));
	daemon->is_hung = !daemon_probe_first(daemon, &hung);
	if (open_loop(daemon, err) < 0 ||
	    wire_open_quick(&daemon->wire, daemon->args, hung, &daemon->store_failure, err) < 0)
		return -1;
	if (daemon->store_failure != NULL)
		log_warning("the store cannot be used: %s, continuing without",
		    daemon->store_failure);

	return open_parts(daemon, err);
}

static int
serve(struct daemon *daemon, struct err *err)
{
	struct mono_time began = clock_mono();

	if (open_all(daemon, err) < 0)
		return -1;
	loop_timer_start(daemon->tick, FIRST_TICK_US);
	if (service_watchdog_us() > 0)
		loop_timer_start(daemon->beat, 0);
	daemon_step(daemon);
	service_tell("READY=1\nMAINPID=%lld\nSTATUS=serving", (long long)getpid());
	log_info("serving %zu jobs, ready after %lld ms",
	    daemon->table.jobs.count + daemon->keepers.count,
	    (long long)(clock_elapsed_us(began) / US_PER_MS));

	return loop_run(daemon->loop, err);
}

int
daemon_serve(struct wire *wire, const struct args *args, struct err *err)
{
	struct daemon daemon = { .args = args, .lock_fd = -1, .wire = *wire };
	int result;

	*wire = (struct wire){ .config = NULL };
	result = serve(&daemon, err);
	if (result == 0)
		log_info("stopped");
	daemon_done(&daemon);

	return result;
}
