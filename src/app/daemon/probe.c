/*
 * Does the store answer?  On a mount whose server or disk is gone every call may hang for ever, so
 * a child makes the first one: before the daemon opens the store, and before each look of the
 * alarms.  It cannot be shut out that the mount hangs just between the child's call and ours; then
 * the service manager's watchdog ends us, and at the next start the child finds it.
 */
#include <signal.h>

#include "app/cli/args.h"
#include "app/daemon/daemon_internal.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"
#include "os/loop.h"
#include "os/process.h"
#include "work/worker.h"

enum { FIRST_WAIT_MS = 10 * 1000 };
#define LIMIT_US (60 * US_PER_S)

static char *
failure_text(const struct daemon *daemon)
{
	const char *store = args_text(daemon->args, "store");

	return xasprintf("the store '%s' does not answer: its mount hangs",
	    store != NULL ? store : daemon->wire.config->store.path);
}

bool
daemon_probe_first(const struct daemon *daemon, char **ret_failure)
{
	const char *argv[9];
	const struct process_options options = { .argv = argv };
	struct process_exit end;
	struct err err = ERR_INIT;
	struct process *process;
	bool is_hung;

	daemon_argv(daemon, "serve", "--look", argv);
	process = process_start(&options, &err);
	if (process == NULL) {
		log_warning("%s, continuing", err.msg);
		return true;
	}
	is_hung = process_wait(process, FIRST_WAIT_MS, &end, &err) < 0 && err.kind == ERR_TIMEOUT;
	if (!is_hung) {
		process_free(process);
		return true;
	}
	/* Not even a kill ends what hangs in the kernel: it is not waited for. */
	process_signal(process, SIGKILL);
	process_leave(process);
	*ret_failure = failure_text(daemon);

	return false;
}

static void
on_ended(const struct worker_end *end, void *context)
{
	struct daemon *daemon = context;

	daemon->probe = NULL;
	loop_timer_free(TAKE(daemon->probe_limit));
	if (!daemon->is_stopping)
		daemon_store_answers(daemon, &end->failure);
}

static void
on_limit(void *context)
{
	struct daemon *daemon = context;

	if (!daemon->is_hung && !daemon->is_stopping)
		daemon_store_hangs(daemon, failure_text(daemon));
}

void
daemon_probe(struct daemon *daemon)
{
	const char *argv[9];
	const struct worker_options options = {
		.argv = argv,
		.ends_with_us = true,
		.events = { NULL, NULL, on_ended, daemon },
	};
	struct err err = ERR_INIT;

	if (daemon->probe != NULL)
		return;
	daemon_argv(daemon, "serve", "--look", argv);
	daemon->probe = worker_start(daemon->loop, &options, &err);
	if (daemon->probe == NULL) {
		log_warning("%s, continuing", err.msg);
		return;
	}
	daemon->probe_limit = loop_timer_new(daemon->loop, on_limit, daemon);
	loop_timer_start(daemon->probe_limit, LIMIT_US);
}

void
daemon_leave_probe(struct daemon *daemon)
{
	worker_leave(TAKE(daemon->probe));
	loop_timer_free(TAKE(daemon->probe_limit));
}
