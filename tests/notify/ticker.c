/*
 * The alarms of a configuration without the daemon around them, as fast as a test wants them.
 *
 *   ticker -c CONFIG       one tick each 50 ms; a line "tick TOOK_US" for each on stdout
 *
 * Lines on stdin are what the daemon would know: "jump SECONDS", "config TEXT", "stall JOB"; the
 * last two stay until the same word comes alone.  What it starts to deliver is the program that
 * BLACKSTART in the environment names, since /proc/self/exe is this one.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/cli/args.h"
#include "app/notify/notify.h"
#include "app/wire.h"
#include "base/err.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/str.h"
#include "config/config.h"
#include "os/stop.h"

enum { TICK_MS = 50, LINE_MAX_BYTES = 200 };

struct knowing {
	char config_failure[LINE_MAX_BYTES];
	char stalled[LINE_MAX_BYTES];
	struct watch_stall stall;
	struct watch_news news;
};

static void
learn(struct knowing *knowing, const char *line)
{
	struct daemon_facts *daemon = &knowing->news.daemon;
	struct err err = ERR_INIT;

	if (str_starts_with(line, "jump ")) {
		if (parse_i64(line + 5, -1000000, 1000000, &daemon->clock_jump_us, &err) == 0)
			daemon->clock_jump_us *= US_PER_S;
	} else if (str_starts_with(line, "config")) {
		(void)snprintf(knowing->config_failure, LINE_MAX_BYTES, "%s", line + 6);
		daemon->config_failure = line[6] != '\0' ? knowing->config_failure : NULL;
		daemon->config_failed_at = clock_wall();
	} else if (str_starts_with(line, "stall")) {
		(void)snprintf(knowing->stalled, LINE_MAX_BYTES, "%s",
		    line[5] == ' ' ? line + 6 : "");
		knowing->stall = (struct watch_stall){ .job = knowing->stalled,
			.run_id = "a-run",
			.since = clock_wall() };
		knowing->news.stalls_count = line[5] != '\0';
	}
}

/* Wait for the next tick, and learn what comes meanwhile. */
static void
wait_and_learn(struct knowing *knowing)
{
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
	char lines[1024];
	ssize_t size;
	char *rest = NULL;

	if (poll(&in, 1, TICK_MS) <= 0)
		return;
	size = read(STDIN_FILENO, lines, sizeof(lines) - 1);
	if (size <= 0) {
		stop_request();
		return;
	}
	lines[size] = '\0';
	for (char *line = strtok_r(lines, "\n", &rest); line != NULL;
	     line = strtok_r(NULL, "\n", &rest))
		learn(knowing, line);
}

static int
tick(struct notify *notify, struct knowing *knowing)
{
	struct mono_time began = clock_mono();
	struct err err = ERR_INIT;

	if (notify_tick(notify, &knowing->news, clock_wall(), &err) < 0) {
		log_err(&err);
		return -1;
	}
	knowing->news.daemon.clock_jump_us = 0; /* it was told */
	(void)printf("tick %lld\n", (long long)clock_elapsed_us(began));
	(void)fflush(stdout);

	return 0;
}

static int
run(struct wire *wire, const struct args *args, struct err *err)
{
	SCOPED(notify_freep) struct notify *notify = NULL;
	SCOPED(freep) char *store_failure = NULL;
	struct knowing knowing = { .news = { .stalls_count = 0 } };

	if (wire_init(wire, args, err) < 0 || wire_open_watch(wire, args, &store_failure, err) < 0)
		return -1;
	notify = notify_new(wire, store_failure, clock_wall(), err);
	if (notify == NULL)
		return -1;
	knowing.news.daemon.config_path = wire->config->path;
	knowing.news.stalls = &knowing.stall;
	while (!stop_is_requested()) {
		if (tick(notify, &knowing) < 0)
			return err_set(err, ERR_BUG, "a tick failed");
		wait_and_learn(&knowing);
	}

	return 0;
}

int
main(int argc, char **argv)
{
	char verb[] = "status";
	char *words[] = { argv[0], verb, argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL,
		NULL };
	SCOPED(args_done) struct args args = { .command = NULL };
	struct wire wire = { .config = NULL };
	struct err err = ERR_INIT;
	int result;

	if (argc > 1 && strcmp(argv[1], "alert") == 0) {
		(void)execv(getenv("BLACKSTART"), argv);
		return EXIT_FAILURE;
	}
	stop_install();
	if (args_parse(argc < 4 ? argc + 1 : 4, words, &args, &err) < 0) {
		log_err(&err);
		return EXIT_FAILURE;
	}
	result = run(&wire, &args, &err);
	if (result < 0)
		log_err(&err);
	wire_done(&wire);

	return result < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
