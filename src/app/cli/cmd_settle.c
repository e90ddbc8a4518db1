/* settle: what has arrived of the write-ahead log, checked, compressed and indexed. */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "app/cli/args.h"
#include "app/cli/cli.h"
#include "app/cli/out.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "config/config.h"
#include "engine/archive.h"
#include "engine/settle.h"
#include "os/stop.h"
#include "source/source.h"

enum {
	CHECKS_AT_ONCE = 64,     /* with --follow: then the next line is looked for */
	RETRY_MS = 30 * 1000,    /* with --follow, after a failure */
	ARRIVING_MS = 60 * 1000, /* with --follow, while a file is still being copied */
	FOLLOW_NICE = 5,         /* commits wait for the receiver beside us, nobody for us */
	AGAIN_EVERY_S = 600,     /* with --follow: a part of what is there is read again ... */
	AGAIN_PARTS = 1009,      /* ... of so many, all in a week; a prime, so that hours change */
};

static struct source *
open_source(struct cli *cli, struct err *err)
{
	const char *name = args_word(cli->args, 0);
	const struct config *config = cli->wire.config;
	const struct config_source *known = config != NULL ? config_find_source(config, name)
							   : NULL;

	if (config != NULL && known == NULL)
		return wire_source(&cli->wire, name, err);

	return wire_source_offline(&cli->wire, name, known != NULL ? known->type : "postgres", err);
}

static json_t *
report_json(const char *source, const struct settle_report *report)
{
	json_t *root = json_object();
	json_t *warnings = json_array();

	(void)json_object_set_new(root, "source", json_string(source));
	(void)json_object_set_new(root, "settled", json_integer((json_int_t)report->settled_count));
	(void)json_object_set_new(root, "adopted", json_integer((json_int_t)report->adopted_count));
	(void)json_object_set_new(root, "indexed", json_integer((json_int_t)report->indexed_count));
	(void)json_object_set_new(root, "checked", json_integer((json_int_t)report->checked_count));
	(void)json_object_set_new(root, "damaged", json_integer((json_int_t)report->damaged_count));
	(void)json_object_set_new(root, "left", json_integer((json_int_t)report->left_count));
	for (size_t i = 0; i < report->warnings.count; i++)
		(void)json_array_append_new(warnings, out_json_text(report->warnings.items[i]));
	(void)json_object_set_new(root, "warnings", warnings);

	return root;
}

static void
print_report(const char *source, const struct settle_report *report)
{
	if (report->is_again) {
		out_line("source '%s': %llu segments of its log read again, %llu damaged", source,
		    (unsigned long long)report->checked_count,
		    (unsigned long long)report->damaged_count);
		return;
	}
	out_line("source '%s': %llu tails compressed, %llu files adopted, %llu indexed, %llu read",
	    source, (unsigned long long)report->settled_count,
	    (unsigned long long)report->adopted_count, (unsigned long long)report->indexed_count,
	    (unsigned long long)report->checked_count);
	if (report->left_count > 0)
		out_line("%llu files are still being copied: settle again in a minute",
		    (unsigned long long)report->left_count);
}

/* Of a source that the configuration knows the log may still come; any other name is a mistake. */
static int
check_has_log(struct cli *cli, const struct source *source, bool *ret_has, struct err *err)
{
	const struct config *config = cli->wire.config;

	*ret_has = engine_archive_exists(&cli->wire.engine, source->ops, source->label);
	if (*ret_has)
		return 0;
	if (config != NULL && config_find_source(config, source->label) != NULL) {
		log_warning("source '%s' has no log yet", source->label);
		return 0;
	}
	(void)err_set(err, ERR_NOT_FOUND, "the store has no log of a source '%s'", source->label);

	return err_hint(err, "'blackstart list' shows the sources that it has something of.");
}

static int
settle_once(struct cli *cli, struct source *source, struct err *err)
{
	SCOPED(settle_report_done) struct settle_report report = { .check_max = 0 };
	bool has_log = false;
	int result = check_has_log(cli, source, &has_log, err);

	if (result == 0)
		result = args_flag(cli->args, "again")
		    ? settle_again(&cli->wire.engine, source, &cli->progress, &report, err)
		    : settle_run(&cli->wire.engine, source, &report, err);
	out_progress_end(cli);
	if (result < 0)
		return -1;
	settle_log_warnings(&report);
	if (cli->is_json) {
		if (out_json(report_json(source->label, &report), "blackstart.settle/1", err) < 0)
			return -1;
		cli->has_answered = true;
	} else {
		print_report(source->label, &report);
	}
	if (settle_judge(&report, source->label, err) < 0)
		return -1;

	return report.warnings.count > 0 || !has_log ? EXIT_WARNINGS : EXIT_OK;
}

/* ---- --follow ------------------------------------------------------------------------------------ */

/*
 * One pass; how long may be waited for a line before the next one, -1: for ever.  What is damaged
 * stays so, and is said again only when there is more to say.
 */
static int
follow_once(struct cli *cli, struct source *source, size_t *said)
{
	SCOPED(settle_report_done) struct settle_report report = { .check_max = CHECKS_AT_ONCE };
	struct err err = ERR_INIT;

	if (settle_run(&cli->wire.engine, source, &report, &err) < 0) {
		if (err.kind == ERR_CANCELLED)
			return 0;
		log_warning("cannot settle: %s, continuing", err.msg);
		return RETRY_MS;
	}
	if (report.warnings.count != *said)
		settle_log_warnings(&report);
	*said = report.warnings.count;
	log_debug("settled %llu, adopted %llu, indexed %llu, read %llu, left %llu",
	    (unsigned long long)report.settled_count, (unsigned long long)report.adopted_count,
	    (unsigned long long)report.indexed_count, (unsigned long long)report.checked_count,
	    (unsigned long long)report.left_count);
	if (report.checked_count >= CHECKS_AT_ONCE)
		return 0;

	return report.left_count > 0 ? ARRIVING_MS : -1;
}

static uint64_t
turn_of(struct wall_time now)
{
	return (uint64_t)now.us / ((uint64_t)AGAIN_EVERY_S * US_PER_S);
}

/*
 * A disk that forgets is found out before a restore needs what it forgot.  True: something is damaged
 * that was not before, and the next pass will say so.
 */
static bool
read_a_part(struct cli *cli, struct source *source, uint64_t *turn)
{
	uint64_t now = turn_of(clock_wall());
	SCOPED(settle_report_done)
	struct settle_report report = {
		.part = (unsigned)(now % AGAIN_PARTS),
		.parts = AGAIN_PARTS,
	};
	struct err err = ERR_INIT;

	if (now == *turn)
		return false;
	*turn = now;
	if (settle_again(&cli->wire.engine, source, NULL, &report, &err) < 0) {
		if (err.kind != ERR_CANCELLED)
			log_warning("cannot read the log again: %s, continuing", err.msg);
		return false;
	}
	log_debug("read again: %llu", (unsigned long long)report.checked_count);

	return report.damaged_count > 0;
}

/* Wait for lines and take all there are; false: there will be no more. */
static bool
wait_for_line(int timeout_ms)
{
	struct pollfd fds[] = {
		{ .fd = STDIN_FILENO, .events = POLLIN },
		{ .fd = stop_fd(), .events = POLLIN },
	};
	char lines[4096];
	ssize_t got;

	if (poll(fds, ARRAY_SIZE(fds), timeout_ms) < 0)
		return errno == EINTR && !stop_is_requested();
	if (stop_is_requested())
		return false;
	if (fds[0].revents == 0)
		return true;
	got = read(STDIN_FILENO, lines, sizeof(lines));

	return got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN));
}

/* What lines come while one pass is at work are answered by one more. */
static int
settle_follow(struct cli *cli, struct source *source)
{
	size_t said = 0;
	uint64_t turn = turn_of(clock_wall());
	int timeout_ms;

	(void)setpriority(PRIO_PROCESS, 0, FOLLOW_NICE);
	do {
		timeout_ms = stop_is_requested() ? 0 : follow_once(cli, source, &said);
		if (timeout_ms < 0)
			timeout_ms = read_a_part(cli, source, &turn) ? 0 : AGAIN_EVERY_S * 1000;
	} while (wait_for_line(timeout_ms));

	return EXIT_OK;
}

static int
cmd_settle(struct cli *cli, struct err *err)
{
	struct source *source;

	if (args_flag(cli->args, "follow") && args_flag(cli->args, "again"))
		return err_set(err, ERR_USAGE,
		    "--follow is for what arrives, --again for what is there: one of them");
	if (wire_open_store(&cli->wire, cli->args, WIRE_WRITE, err) < 0)
		return -1;
	source = open_source(cli, err);
	if (source == NULL)
		return -1;
	if (args_flag(cli->args, "follow"))
		return settle_follow(cli, source);

	return settle_once(cli, source, err);
}

const struct command_entry cmd_settle_entries[] = {
	{ .verb = "settle", .run = cmd_settle },
	{ .verb = NULL },
};
