/* The program: finds the command, runs it, prints its error, and gives the exit code. */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/cli/args.h"
#include "app/cli/cli.h"
#include "app/cli/help.h"
#include "app/cli/out.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mutant.h"
#include "base/str.h"
#include "os/stop.h"
#include "work/report.h"

static const struct command_entry *const entry_tables[] = {
	cmd_backup_entries,
	cmd_look_entries,
	cmd_status_entries,
	cmd_check_entries,
	cmd_serve_entries,
	cmd_verify_entries,
	cmd_archive_entries,
	cmd_settle_entries,
	cmd_window_entries,
	cmd_restore_entries,
	cmd_keep_entries,
	cmd_config_entries,
	cmd_doctor_entries,
	cmd_alert_entries,
	cmd_metrics_entries,
};

static const struct command_entry *
find_entry(const char *verb)
{
	for (size_t i = 0; i < ARRAY_SIZE(entry_tables); i++) {
		for (const struct command_entry *entry = entry_tables[i]; entry->verb != NULL;
		     entry++) {
			if (strcmp(entry->verb, verb) == 0)
				return entry;
		}
	}

	return NULL;
}

/* Passwords pass through this process: no core file may hold them. */
static void
forbid_core_dumps(void)
{
	const struct rlimit none = { .rlim_cur = 0, .rlim_max = 0 };

	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* ---- for a daemon that started us ---- */

static void
tell_begun(void *context, const char *run_id)
{
	const struct cli *cli = context;

	report_started(cli->order.fd, run_id);
}

static void
tell_progress(const struct progress *progress, void *context)
{
	const struct cli *cli = context;

	report_progress(cli->order.fd, progress);
}

static void
tell_link(const struct link_state *state, void *context)
{
	const struct cli *cli = context;

	report_link(cli->order.fd, state);
}

static void
read_global_options(struct cli *cli)
{
	cli->is_json = args_flag(cli->args, "json");
	cli->is_quiet = args_flag(cli->args, "quiet");
	cli->is_dry_run = args_flag(cli->args, "dry-run");
	cli->progress.listener = out_progress;
	cli->progress.context = cli;
	if (cli->order.fd >= 0) {
		cli->is_quiet = true;
		cli->progress.listener = tell_progress;
		cli->link.listener = tell_link;
		cli->link.context = cli;
		cli->run_order = (struct run_order){
			.due = cli->order.due,
			.attempt = cli->order.attempt,
			.begun = tell_begun,
			.context = cli,
		};
	}
	if (cli->is_quiet)
		log_set_level(LOG_LEVEL_WARNING);
	if (args_count(cli->args, "verbose") > 0)
		log_set_level(LOG_LEVEL_DEBUG);
}

/* For programs the same error as an object; the text is on stderr in any case. */
static void
print_error_json(const struct err *failure)
{
	struct err err = ERR_INIT;
	json_t *error = json_object();
	json_t *root = json_object();

	(void)json_object_set_new(error, "kind", json_string(err_kind_name(failure->kind)));
	(void)json_object_set_new(error, "message", out_json_text(failure->msg));
	(void)json_object_set_new(error, "hint",
	    out_json_text(failure->hint[0] != '\0' ? failure->hint : NULL));
	(void)json_object_set_new(root, "error", error);
	if (out_json(root, "blackstart.error/1", &err) < 0)
		log_err(&err);
}

static int
run_command(struct cli *cli, struct err *err)
{
	const struct command_entry *entry = find_entry(args_verb(cli->args));
	int code;

	if (entry == NULL)
		return err_set(err, ERR_BUG, "command '%s' is declared but not built in",
		    args_verb(cli->args));
	if (!entry->is_bare && wire_init(&cli->wire, cli->args, err) < 0)
		return -1;
	if (cli->order.fd >= 0)
		cli->wire.engine.order = &cli->run_order;
	code = entry->run(cli, err);
	out_progress_end(cli);
	if (code >= 0 && out_flush(err) < 0)
		return -1;

	return code;
}

/*
 * The two commands that PostgreSQL itself runs have exit codes of their own, also when they come
 * no further than their arguments.
 *
 * restore_command: 1 says "there is no more" and ends recovery, so that any failure must be more
 * than 125, which stops the server instead; and a stop by SIGTERM must look like one.
 * archive_command: more than 125 ends the archiver without a trace in its statistics.
 */
enum { EXIT_GET_FAILED = 255, EXIT_PUSH_MAX = 125, EXIT_PUSH_FAILED = 1 };

static bool
is_given(int argc, char **argv, const char *verb)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], verb) == 0)
			return true;
	}

	return false;
}

static int
exit_code_of(int argc, char **argv, enum err_kind kind)
{
	int code = err_kind_exit_code(kind);

	if (is_given(argc, argv, "archive-get")) {
		/* The handler took itself away with the first one (os/stop.c). */
		if (kind == ERR_CANCELLED && stop_signal() == SIGTERM)
			(void)raise(SIGTERM);
		return MUTANT("get-exit-1") ? 1 : EXIT_GET_FAILED;
	}
	if (is_given(argc, argv, "archive-push") && code > EXIT_PUSH_MAX)
		return EXIT_PUSH_FAILED;

	return code;
}

int
main(int argc, char **argv)
{
	SCOPED(args_done) struct args args = { .command = NULL };
	struct cli cli = { .args = &args };
	struct err err = ERR_INIT;
	int code;

	forbid_core_dumps();
	(void)umask(077);
	stop_install();
	if (args_parse(argc, argv, &args, &err) < 0) {
		log_err(&err);
		return exit_code_of(argc, argv, err.kind);
	}
	if (args.wants_help) {
		help_print(&args, stdout);
		return out_flush(&err) < 0 ? EXIT_FAILURE : EXIT_OK;
	}
	if (order_take(&cli.order, &err) < 0) {
		log_err(&err);
		return exit_code_of(argc, argv, err.kind);
	}
	order_obey(&cli.order);
	read_global_options(&cli);
	code = run_command(&cli, &err);
	if (code < 0) {
		out_progress_end(&cli);
		/* The daemon that started us tells it, once. */
		if (cli.order.fd < 0)
			log_err(&err);
		if (cli.is_json && !cli.has_answered)
			print_error_json(&err);
	}
	wire_done(&cli.wire);
	report_result(cli.order.fd, code < 0 ? &err : NULL, code == EXIT_WARNINGS ? 1 : 0);

	return code >= 0 ? code : exit_code_of(argc, argv, err.kind);
}
