/* plan restore, restore, promote: the way back. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/cli/args.h"
#include "app/cli/cli.h"
#include "app/cli/out.h"
#include "app/cli/target.h"
#include "app/url.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "config/config.h"
#include "engine/recovery.h"
#include "engine/restore.h"
#include "source/source.h"
#include "store/store.h"

/* What the command line asks for, resolved. */
struct asked {
	struct backup_row row;
	struct restore_order order;
	struct restore_target target;
	struct fetcher fetcher;
	char *replaced; /* the name of what gives way, as a source */
};

static void
asked_done(struct asked *asked)
{
	backup_row_done(&asked->row);
	fetcher_done(&asked->fetcher);
	free(asked->replaced);
}

/* A folder takes what recovery can go on from; a server what the source does first of all. */
static const char *
usual_kind(const struct cli *cli, const char *name, const struct backup_rows *rows, bool is_folder)
{
	const struct config *config = cli->wire.config;
	const struct config_source *from = config != NULL ? config_find_source(config, name) : NULL;
	const char *type = from != NULL ? from->type
	    : rows->rows.count > 0      ? rows->rows.items[0].source_type
					: NULL;
	const struct source_ops *driver = type != NULL ? engine_driver(&cli->wire.engine, type)
						       : NULL;

	for (size_t i = 0; driver != NULL && is_folder && i < driver->kinds_count; i++) {
		if (driver->kinds[i].is_window_base)
			return driver->kinds[i].name;
	}

	return driver != NULL ? driver->kinds[0].name : NULL;
}

/*
 * The word is a source (its newest backup) or a backup's id.  Where it goes tells which kind is
 * meant when nothing is said.
 */
static int
choose(struct cli *cli, struct asked *asked, struct err *err)
{
	const char *word = args_word(cli->args, 0);
	const char *to = args_text(cli->args, "to");
	struct backup_choice choice = {
		.word = args_text(cli->args, "backup"),
		.kind = args_text(cli->args, "kind"),
	};
	const struct backup_filter of_source = { .source = word, .limit = 1 };
	SCOPED(backup_rows_done) struct backup_rows rows = { .rows = { .count = 0 } };

	if (catalog_backup_list(cli->wire.engine.catalog, &of_source, &rows, err) < 0)
		return -1;
	if (rows.rows.count > 0 ||
	    (cli->wire.config != NULL && config_find_source(cli->wire.config, word) != NULL))
		choice.source = word;
	else if (choice.word == NULL)
		choice.word = word;
	if (choice.kind == NULL && choice.source != NULL && choice.word == NULL)
		choice.kind = usual_kind(cli, word, &rows, to != NULL && !url_is(to));
	if (cli_choose_backup(cli, &choice, &asked->row, err) < 0)
		return -1;
	if (asked->row.is_unproven) {
		(void)err_set(err, ERR_REFUSED, "backup '%s' has no manifest yet", asked->row.id);
		return err_hint(err,
		    "Type 'blackstart verify %s' first: it reads the file and writes one.",
		    asked->row.id);
	}

	return 0;
}

/* A point in time chooses its base itself. */
static int
choose_for_target(struct cli *cli, struct asked *asked, struct err *err)
{
	const char *word = args_word(cli->args, 0);
	SCOPED(freep) char *identity = NULL;
	struct source *source = NULL;

	if (args_text(cli->args, "backup") != NULL) {
		(void)err_set(err, ERR_USAGE, "a target and --backup exclude each other");
		return err_hint(err, "Leave out --backup: the target needs a certain base backup.");
	}
	if (str_equals(args_text(cli->args, "kind"), "dump")) {
		(void)err_set(err, ERR_USAGE, "a dump cannot be brought to a point in time");
		return err_hint(err, "Leave out --kind dump: a base backup is taken.");
	}
	if (cli_find_source(cli, word, wire_source_for, &source, &identity, err) < 0)
		return -1;

	return recovery_choose_of(&cli->wire.engine, source, identity, &asked->target, &asked->row,
	    err);
}

static enum restore_ttl
ttl_of(const char *word)
{
	if (str_equals(word, "keep"))
		return RESTORE_TTL_KEEP;
	if (str_equals(word, "shift"))
		return RESTORE_TTL_SHIFT;

	return str_equals(word, "persist") ? RESTORE_TTL_PERSIST : RESTORE_TTL_AUTO;
}

/* Options that are for a Redis alone would elsewhere be silently without effect. */
static int
check_options(const struct cli *cli, const struct backup_row *row, struct err *err)
{
	const struct args *args = cli->args;
	bool has_keys = args_text(args, "keys") != NULL;
	const char *to = args_text(args, "to");

	if (!has_keys && (args_text(args, "db") != NULL || args_flag(args, "replace"))) {
		(void)err_set(err, ERR_USAGE, "--db and --replace are for --keys");
		return err_hint(err, "Say which keys: --keys '*' takes all of them.");
	}
	if (has_keys && !str_equals(row->source_type, "redis"))
		return err_set(err, ERR_USAGE, "--keys is for a Redis backup, and '%s' is none",
		    row->id);
	if (args_text(args, "listen") != NULL &&
	    (has_keys || to == NULL || !url_is(to) || !str_equals(row->source_type, "redis")))
		return err_set(err, ERR_USAGE,
		    "--listen is for all of a Redis backup into a server that runs, --to redis://HOST:PORT");

	return 0;
}

/* The server that is restored to, as a source of its own. */
static int
open_replaced(struct cli *cli, struct asked *asked, const char *to, struct err *err)
{
	if (to == NULL || !url_is(to) || args_text(cli->args, "confirm") == NULL)
		return 0;
	free(asked->replaced);
	asked->replaced = xasprintf("%s-replaced", asked->row.source);
	asked->order.replaced = wire_source_url(&cli->wire, cli->args, to, asked->replaced,
	    asked->row.source, err);

	return asked->order.replaced != NULL ? 0 : -1;
}

static int
resolve(struct cli *cli, struct asked *asked, struct err *err)
{
	const struct args *args = cli->args;
	const char *to = args_text(args, "to");
	struct restore_order *order = &asked->order;

	if (cli_target(cli, &asked->target, err) < 0)
		return -1;
	if ((asked->target.kind == TARGET_BACKUP ? choose(cli, asked, err)
						 : choose_for_target(cli, asked, err)) < 0)
		return -1;
	if (check_options(cli, &asked->row, err) < 0)
		return -1;
	if (fetcher_init(&asked->fetcher, cli, asked->row.source, err) < 0)
		return -1;
	order->backup = &asked->row;
	order->source = to != NULL && url_is(to)
	    ? wire_source_url(&cli->wire, args, to, asked->row.source, asked->row.source, err)
	    : wire_source_for(&cli->wire, asked->row.source, asked->row.source_type, err);
	if (order->source == NULL || open_replaced(cli, asked, to, err) < 0)
		return -1;
	order->request = (struct restore_request){
		.to = to,
		.database = args_text(args, "database"),
		.new_name = args_text(args, "as"),
		.wants_start = args_flag(args, "start"),
		.port = args_number(args, "port", 0),
		.parallel = args_number(args, "parallel", cli->wire.engine.cores),
		.wants_globals = args_flag(args, "globals"),
		.owner = args_text(args, "owner"),
		.target = asked->target,
		.ttl = ttl_of(args_text(args, "ttl")),
		.keys = args_text(args, "keys"),
		.is_one_db = args_text(args, "db") != NULL,
		.db = args_number(args, "db", 0),
		.listen = args_text(args, "listen"),
		.confirm = args_text(args, "confirm"),
		.replaces = args_flag(args, "replace"),
		.fetcher = asked->fetcher.argv,
		.progress = &cli->progress,
	};

	return 0;
}

static json_t *
texts_json(char *const *texts, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		(void)json_array_append_new(array, out_json_text(texts[i]));

	return array;
}

/* ---- plan ------------------------------------------------------------------------------------------ */

static void
print_plan(const struct cli *cli, const struct backup_row *row, const struct restore_plan *plan)
{
	char bytes[32], when[CLOCK_TEXT_SIZE], ago[2 * CLOCK_TEXT_SIZE];

	out_line("restore  %s", plan->what);
	out_line("from     %s, the state of %s (%s), %s", row->id,
	    out_time(cli, row->consistent_at, when), out_ago(row->consistent_at, ago),
	    out_proof(row));
	out_line("to       %s", plan->target);
	out_line("read     %s", format_bytes(plan->read_bytes, bytes));
	if (plan->write_bytes > 0)
		out_line("write    about %s", format_bytes(plan->write_bytes, bytes));
	if (plan->free_bytes > 0)
		out_line("free     %s at the target", format_bytes(plan->free_bytes, bytes));
	if (plan->expected_us > 0)
		out_line("time     about %s", clock_format_duration(plan->expected_us, when));
	for (size_t i = 0; i < plan->steps.count; i++)
		out_line("%4zu. %s", i + 1, plan->steps.items[i]);
	for (size_t i = 0; i < plan->warnings.count; i++)
		log_warning("%s", plan->warnings.items[i]);
	for (size_t i = 0; i < plan->obstacles.count; i++)
		out_line("obstacle: %s", plan->obstacles.items[i]);
	if (plan->replaces != NULL)
		out_line("what %s holds now gives way: a copy goes into the store first, and the "
			 "restore needs --confirm=%s",
		    plan->replaces, plan->replaces);
}

static int
plan_json(const struct backup_row *row, const struct restore_plan *plan, struct err *err)
{
	json_t *root = json_object();

	(void)json_object_set_new(root, "backup", out_json_text(row->id));
	(void)json_object_set_new(root, "what", out_json_text(plan->what));
	(void)json_object_set_new(root, "target", out_json_text(plan->target));
	(void)json_object_set_new(root, "consistent_at", out_json_time(row->consistent_at));
	(void)json_object_set_new(root, "read_bytes", json_integer((json_int_t)plan->read_bytes));
	(void)json_object_set_new(root, "write_bytes", json_integer((json_int_t)plan->write_bytes));
	(void)json_object_set_new(root, "free_bytes", json_integer((json_int_t)plan->free_bytes));
	(void)json_object_set_new(root, "expected_us", json_integer(plan->expected_us));
	(void)json_object_set_new(root, "steps", texts_json(plan->steps.items, plan->steps.count));
	(void)json_object_set_new(root, "warnings",
	    texts_json(plan->warnings.items, plan->warnings.count));
	(void)json_object_set_new(root, "obstacles",
	    texts_json(plan->obstacles.items, plan->obstacles.count));
	(void)json_object_set_new(root, "hint", out_json_text(plan->hint));
	(void)json_object_set_new(root, "replaces", out_json_text(plan->replaces));

	return out_json(root, "blackstart.plan/1", err);
}

static int
show_plan(struct cli *cli, struct asked *asked, struct err *err)
{
	SCOPED(restore_plan_done) struct restore_plan plan = { .what = NULL };

	if (restore_plan(&cli->wire.engine, &asked->order, &plan, err) < 0)
		return -1;
	out_progress_end(cli);
	if (cli->is_json && plan_json(&asked->row, &plan, err) < 0)
		return -1;
	if (!cli->is_json)
		print_plan(cli, &asked->row, &plan);
	cli->has_answered = cli->is_json;
	if (restore_refuse(&plan, err) < 0)
		return -1;

	return plan.warnings.count > 0 ? EXIT_WARNINGS : EXIT_OK;
}

static int
cmd_plan(struct cli *cli, struct err *err)
{
	SCOPED(asked_done) struct asked asked = { .row = { .id = NULL } };

	if (wire_open_store(&cli->wire, cli->args, WIRE_READ, err) < 0 ||
	    resolve(cli, &asked, err) < 0)
		return -1;

	return show_plan(cli, &asked, err);
}

/* ---- restore and promote ----------------------------------------------------------------------------- */

/* A promotion needs the same server and password as the restore had. */
static void
tell_next(const struct cli *cli, const char *next)
{
	const char *to = args_text(cli->args, "to");
	const char *password_file = args_text(cli->args, "password-file");
	SCOPED(str_done) struct str command = STR_INIT;

	str_add(&command, next);
	if (str_starts_with(next, "blackstart promote") && to != NULL && url_is(to))
		str_addf(&command, " --to %s", to);
	if (str_starts_with(next, "blackstart promote") && password_file != NULL)
		str_addf(&command, " --password-file %s", password_file);
	if (str_starts_with(next, "blackstart "))
		out_next(cli, str_text(&command));
	else
		out_line("next: %s", next);
}

static int
tell_report(struct cli *cli, const struct restore_report *report, const char *schema,
    struct err *err)
{
	json_t *root;

	out_progress_end(cli);
	for (size_t i = 0; i < report->warnings.count; i++)
		log_warning("%s", report->warnings.items[i]);
	if (cli->is_quiet && !cli->is_dry_run && !cli->is_json)
		return report->warnings.count > 0 ? EXIT_WARNINGS : EXIT_OK;
	if (!cli->is_json) {
		out_line(cli->is_dry_run ? "nothing was changed; on %s this" : "done: %s",
		    report->target);
		for (size_t i = 0; i < report->notes.count; i++)
			out_line("  %s", report->notes.items[i]);
		if (report->next != NULL)
			tell_next(cli, report->next);
		return report->warnings.count > 0 ? EXIT_WARNINGS : EXIT_OK;
	}
	root = json_object();
	(void)json_object_set_new(root, "target", out_json_text(report->target));
	(void)json_object_set_new(root, "next", out_json_text(report->next));
	(void)json_object_set_new(root, "notes",
	    texts_json(report->notes.items, report->notes.count));
	(void)json_object_set_new(root, "warnings",
	    texts_json(report->warnings.items, report->warnings.count));
	if (report->details != NULL)
		(void)json_object_set(root, "details", report->details);
	if (out_json(root, schema, err) < 0)
		return -1;

	return report->warnings.count > 0 ? EXIT_WARNINGS : EXIT_OK;
}

static int
do_restore(struct cli *cli, struct asked *asked, struct err *err)
{
	SCOPED(restore_report_done) struct restore_report report = { .target = NULL };

	if (cli->is_dry_run)
		return show_plan(cli, asked, err);
	if (restore_run(&cli->wire.engine, &asked->order, &report, err) < 0)
		return -1;

	return tell_report(cli, &report, "blackstart.restore/1", err);
}

static int
cmd_restore(struct cli *cli, struct err *err)
{
	SCOPED(asked_done) struct asked asked = { .row = { .id = NULL } };
	/* What gives way is kept in the store. */
	bool keeps = args_text(cli->args, "confirm") != NULL && !cli->is_dry_run;
	enum wire_store_use use = keeps ? WIRE_WRITE : WIRE_READ;

	if (wire_open_store(&cli->wire, cli->args, use, err) < 0 || resolve(cli, &asked, err) < 0)
		return -1;

	return do_restore(cli, &asked, err);
}

/* The server whose databases are to be swapped: --to, --source, or the only source there is. */
static struct source *
promote_source(struct cli *cli, struct err *err)
{
	const char *to = args_text(cli->args, "to");
	const char *name = args_text(cli->args, "source");
	const struct config *config = cli->wire.config;
	bool is_dir = strchr(args_word(cli->args, 0), '/') != NULL;

	/* A data directory is swapped on the disk: no server is asked. */
	if (is_dir)
		return wire_source_offline(&cli->wire, name != NULL ? name : "postgresql",
		    "postgres", err);
	if (to != NULL)
		return wire_source_url(&cli->wire, cli->args, to,
		    name != NULL ? name : "postgresql", name, err);
	if (name == NULL && config != NULL && config->sources.count == 1)
		name = config->sources.items[0].name;
	if (name != NULL)
		return wire_source(&cli->wire, name, err);
	(void)err_set(err, ERR_USAGE, "it is not said on which server to promote");
	(void)err_hint(err, "Name the source with --source, or the server with --to URL.");

	return NULL;
}

static int
cmd_promote(struct cli *cli, struct err *err)
{
	SCOPED(restore_report_done) struct restore_report report = { .target = NULL };
	const struct promote_request request = {
		.name = args_word(cli->args, 0),
		.confirm = args_text(cli->args, "confirm"),
		.to = args_text(cli->args, "to"),
		.is_dry_run = cli->is_dry_run,
	};
	struct source *source;

	if (wire_open_store(&cli->wire, cli->args, WIRE_READ, err) < 0)
		return -1;
	source = promote_source(cli, err);
	if (source == NULL ||
	    restore_promote(&cli->wire.engine, source, &request, &report, err) < 0)
		return -1;

	return tell_report(cli, &report, "blackstart.promote/1", err);
}

const struct command_entry cmd_restore_entries[] = {
	{ .verb = "plan restore", .run = cmd_plan },
	{ .verb = "restore", .run = cmd_restore },
	{ .verb = "promote", .run = cmd_promote },
	{ .verb = NULL },
};
