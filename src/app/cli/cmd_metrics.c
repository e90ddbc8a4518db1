/* metrics: what /metrics shows, for a textfile collector, without the daemon. */
#include <stdio.h>
#include <stdlib.h>

#include "app/cli/args.h"
#include "app/cli/cli.h"
#include "app/notify/setup.h"
#include "app/web/metrics.h"
#include "base/err.h"
#include "base/str.h"
#include "config/config.h"
#include "engine/watch_seen.h"

static int
cmd_metrics(struct cli *cli, struct err *err)
{
	SCOPED(notify_setup_done) struct notify_setup setup = { .digest = NULL };
	SCOPED(watch_memory_done) struct watch_memory memory = { .items = { .count = 0 } };
	struct watch_look look = { .memory = &memory };
	SCOPED(watch_seen_done) struct watch_seen seen = { .at = { 0 } };
	SCOPED(str_done) struct str text = STR_INIT_MAX(16 * 1024 * 1024);
	SCOPED(freep) char *store_failure = NULL;
	struct wall_time now = clock_wall();

	if (cli->is_json) {
		(void)err_set(err, ERR_USAGE, "metrics has one format, that of Prometheus");
		return err_hint(err, "'blackstart status --json' is for other programs.");
	}
	if (wire_open_watch(&cli->wire, cli->args, &store_failure, err) < 0 ||
	    notify_setup_make(&cli->wire, now, &setup, err) < 0)
		return -1;
	look.jobs = setup.jobs.items;
	look.jobs_count = setup.jobs.count;
	if (watch_see(&cli->wire.engine, &look, store_failure, now, &seen, err) < 0)
		return -1;
	if (metrics_write(
		&(struct metrics_input){
		    .catalog = cli->wire.engine.catalog,
		    .seen = &seen,
		    .site = cli->wire.config->site,
		},
		&text, err) < 0)
		return -1;
	(void)fputs(str_text(&text), stdout);

	return EXIT_OK;
}

const struct command_entry cmd_metrics_entries[] = {
	{ .verb = "metrics", .run = cmd_metrics },
	{ .verb = NULL },
};
