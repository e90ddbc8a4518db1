/* prune, pin, unpin, source adopt, catalog: keeping order. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/cli/args.h"
#include "app/cli/cli.h"
#include "app/cli/out.h"
#include "app/cli/rows_json.h"
#include "app/policy.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "config/config.h"
#include "engine/backup.h"
#include "engine/expire.h"
#include "engine/prune.h"
#include "engine/settle.h"
#include "engine/sync.h"
#include "repo/record.h"
#include "source/source.h"
#include "store/store.h"

/* ---- prune ----------------------------------------------------------------------------------------- */

static json_t *
verdict_json(const struct prune_verdict *verdict, const char *job)
{
	json_t *root = json_object();

	(void)json_object_set_new(root, "id", out_json_text(verdict->id));
	(void)json_object_set_new(root, "job", out_json_text(job));
	(void)json_object_set_new(root, "consistent_at", out_json_time(verdict->at));
	(void)json_object_set_new(root, "stored_bytes",
	    json_integer((json_int_t)verdict->stored_bytes));
	(void)json_object_set_new(root, "kept", json_boolean(verdict->is_kept));
	(void)json_object_set_new(root, "reason", out_json_text(verdict->reason));

	return root;
}

static void
print_verdicts(const struct cli *cli, const struct prune_outcome *outcome, bool is_dry_run)
{
	static const char *const headers[] = { "BACKUP", "STATE OF", "SIZE", "VERDICT", "WHY",
		NULL };
	SCOPED(table_freep) struct table *table = table_new(headers);

	for (size_t i = 0; i < outcome->verdicts.count; i++) {
		const struct prune_verdict *verdict = &outcome->verdicts.items[i];
		char when[CLOCK_TEXT_SIZE], size[32];

		table_cell(table, "%s", verdict->id);
		table_cell(table, "%s", out_time(cli, verdict->at, when));
		table_cell(table, "%s", format_bytes(verdict->stored_bytes, size));
		table_cell(table, "%s",
		    verdict->is_kept ? "keep"
			: is_dry_run ? "would remove"
				     : "removed");
		table_cell(table, "%s", verdict->reason);
	}
	table_print(table);
}

/* Does continuous recovery start from this kind of backup; no live system is needed to know. */
static bool
is_window_base(const struct cli *cli, const char *type, const char *kind)
{
	const struct source_ops *driver = engine_driver(&cli->wire.engine, type);

	for (size_t i = 0; driver != NULL && i < driver->kinds_count; i++) {
		if (str_equals(driver->kinds[i].name, kind))
			return driver->kinds[i].is_window_base;
	}

	return false;
}

/* What one prune says and remembers. */
struct pruning {
	struct cli *cli;
	json_t *verdicts;
	json_t *logs;             /* of sources with a continuous stream */
	struct name_list removed; /* ids that went, or would */
	bool is_dry_run;
};

static int
prune_job(struct pruning *pruning, struct prune_order *order, struct err *err)
{
	SCOPED(prune_outcome_done) struct prune_outcome outcome = { .removed_count = 0 };
	const struct cli *cli = pruning->cli;

	order->is_dry_run = pruning->is_dry_run;
	if (prune_run(&pruning->cli->wire.engine, order, &outcome, err) < 0)
		return err_wrap(err, "job '%s'", order->job);
	for (size_t i = 0; i < outcome.verdicts.count; i++) {
		const struct prune_verdict *verdict = &outcome.verdicts.items[i];

		(void)json_array_append_new(pruning->verdicts, verdict_json(verdict, order->job));
		if (!verdict->is_kept)
			vec_push(&pruning->removed.names, xstrdup(verdict->id));
	}
	if (cli->is_json)
		return 0;
	out_line("job %s: %zu backups", order->job, outcome.verdicts.count);
	if (outcome.verdicts.count > 0)
		print_verdicts(cli, &outcome, order->is_dry_run);

	return 0;
}

static int
prune_stream(struct pruning *pruning, const struct config_job *job, struct err *err)
{
	struct cli *cli = pruning->cli;
	struct expire_order order = {
		.job = job->name,
		.source = wire_source_offline(&cli->wire, job->source,
		    config_find_source(cli->wire.config, job->source)->type, err),
		.keep_us = job->keep.keep_us,
		.removed = (const char *const *)pruning->removed.names.items,
		.removed_count = pruning->removed.names.count,
		.is_dry_run = pruning->is_dry_run,
	};
	struct expire_report report = { .count = 0 };
	char size[32];

	if (order.source == NULL)
		return -1;
	/* Kept without limit, or by a rule that a stream does not have. */
	if (order.keep_us > 0 && expire_run(&cli->wire.engine, &order, &report, err) < 0)
		return -1;
	(void)json_array_append_new(pruning->logs,
	    json_pack("{s:s, s:s, s:I, s:I}", "job", job->name, "source", job->source, "segments",
		(json_int_t)report.count, "stored_bytes", (json_int_t)report.bytes));
	if (!cli->is_json)
		out_line("job %s: %llu segments (%s) of the log of '%s' %s", job->name,
		    (unsigned long long)report.count, format_bytes(report.bytes, size), job->source,
		    pruning->is_dry_run ? "would be removed" : "removed");

	return 0;
}

/* The log last: which bases are kept is known then. */
static int
prune_streams(struct pruning *pruning, const char *wanted, struct err *err)
{
	const struct config *config = pruning->cli->wire.config;

	for (size_t i = 0; i < config->jobs.count; i++) {
		const struct config_job *job = &config->jobs.items[i];

		if (policy_is_stream(&pruning->cli->wire, job) &&
		    (wanted == NULL || str_equals(job->name, wanted)) &&
		    prune_stream(pruning, job, err) < 0)
			return -1;
	}

	return 0;
}

static int
prune_configured(struct pruning *pruning, struct err *err)
{
	struct cli *cli = pruning->cli;
	const struct config *config = cli->wire.config;
	const char *wanted = args_word(cli->args, 0);

	if (args_text(cli->args, "keep") != NULL)
		return err_set(err, ERR_USAGE,
		    "--keep is for use without a config file; the jobs in it say how long");
	if (wanted != NULL && config_find_job(config, wanted) == NULL)
		return err_set(err, ERR_USAGE, "there is no job '%s' in the configuration", wanted);
	for (size_t i = 0; i < config->jobs.count; i++) {
		const struct config_job *job = &config->jobs.items[i];
		struct prune_order order = {
			.job = job->name,
			.policy = policy_of_job(&cli->wire, job),
			.is_window_base = policy_is_window_base(&cli->wire, job),
		};

		if (job->is_supported && policy_backup_kind(&cli->wire, job) != NULL &&
		    (wanted == NULL || str_equals(job->name, wanted)) &&
		    prune_job(pruning, &order, err) < 0)
			return -1;
	}

	return prune_streams(pruning, wanted, err);
}

/* Was the job of row `index` met before: the newest row of each job stands for it. */
static bool
is_seen(const struct backup_rows *rows, size_t index)
{
	for (size_t i = 0; i < index; i++) {
		if (str_equals(rows->rows.items[i].job, rows->rows.items[index].job))
			return true;
	}

	return false;
}

/* Without a config the jobs are those that left backups, and --keep is the policy of all. */
static int
prune_bare(struct pruning *pruning, struct err *err)
{
	struct cli *cli = pruning->cli;
	const struct backup_filter of_job = { .job = args_word(cli->args, 0) };
	const char *keep = args_text(cli->args, "keep");
	SCOPED(backup_rows_done) struct backup_rows rows = { .rows = { .count = 0 } };
	struct retention_policy policy = { .keep_us = 0 };

	if (keep == NULL) {
		(void)err_set(err, ERR_USAGE, "it is not said how long backups are kept");
		return err_hint(err,
		    "Say it with --keep 30d, or name the config with -c FILE: its jobs say it.");
	}
	if (parse_duration_us(keep, &policy.keep_us, err) < 0 ||
	    catalog_backup_list(cli->wire.engine.catalog, &of_job, &rows, err) < 0)
		return -1;
	for (size_t i = 0; i < rows.rows.count; i++) {
		const struct backup_row *row = &rows.rows.items[i];
		struct prune_order order = {
			.job = row->job,
			.policy = policy,
			.is_window_base = is_window_base(cli, row->source_type, row->kind),
		};

		if (row->job[0] != '\0' && !is_seen(&rows, i) &&
		    prune_job(pruning, &order, err) < 0)
			return -1;
	}

	return 0;
}

static int
cmd_prune(struct cli *cli, struct err *err)
{
	bool is_real = args_flag(cli->args, "confirm") && !cli->is_dry_run;
	json_t *root = json_object();
	struct pruning pruning = {
		.cli = cli,
		.verdicts = json_array(),
		.logs = json_array(),
		.is_dry_run = !is_real,
	};
	int result;

	(void)json_object_set_new(root, "verdicts", pruning.verdicts);
	(void)json_object_set_new(root, "logs", pruning.logs);
	(void)json_object_set_new(root, "dry_run", json_boolean(!is_real));
	result = wire_open_store(&cli->wire, cli->args, is_real ? WIRE_WRITE : WIRE_READ, err);
	if (result == 0)
		result = cli->wire.config != NULL ? prune_configured(&pruning, err)
						  : prune_bare(&pruning, err);
	name_list_done(&pruning.removed);
	if (result == 0 && cli->is_json)
		return out_json(root, "blackstart.prune/1", err);
	json_decref(root);
	if (result == 0 && !is_real)
		out_line("nothing was removed; type the same with --confirm to remove");

	return result;
}

/* ---- pins -------------------------------------------------------------------------------------------- */

static int
change_pin(struct cli *cli, bool is_pin, struct err *err)
{
	SCOPED(backup_row_done) struct backup_row row = { .id = NULL };
	const struct backup_choice choice = { .word = args_word(cli->args, 0) };
	struct sync_result synced;
	int result;

	if (wire_open_store(&cli->wire, cli->args, WIRE_WRITE, err) < 0 ||
	    cli_choose_backup(cli, &choice, &row, err) < 0)
		return -1;
	if (cli->is_dry_run) {
		out_line("would %s %s", is_pin ? "pin" : "unpin", row.id);
		return EXIT_OK;
	}
	result = is_pin ? prune_pin(&cli->wire.engine, row.id, args_text(cli->args, "reason"), err)
			: prune_unpin(&cli->wire.engine, row.id, err);
	if (result < 0 || sync_catalog(&cli->wire.engine, false, &synced, err) < 0)
		return -1;
	if (cli->is_json)
		return out_json(json_pack("{s:s, s:b}", "id", row.id, "pinned", is_pin),
		    "blackstart.pin/1", err);
	out_line(is_pin ? "pinned: %s stays until it is unpinned"
			: "unpinned: retention decides about %s",
	    row.id);

	return EXIT_OK;
}

static int
cmd_pin(struct cli *cli, struct err *err)
{
	return change_pin(cli, true, err);
}

static int
cmd_unpin(struct cli *cli, struct err *err)
{
	return change_pin(cli, false, err);
}

/* ---- source adopt --------------------------------------------------------------------------------------- */

static int
cmd_source_adopt(struct cli *cli, struct err *err)
{
	SCOPED(freep) char *identity = NULL;
	SCOPED(freep) char *aside = NULL;
	const char *name = args_word(cli->args, 0);
	const char *url = args_word(cli->args, 1);
	struct source *source;

	if (wire_open_store(&cli->wire, cli->args, WIRE_WRITE, err) < 0)
		return -1;
	source = url != NULL ? wire_source_url(&cli->wire, cli->args, url, name, name, err)
			     : wire_source(&cli->wire, name, err);
	if (source == NULL ||
	    backup_adopt_identity(&cli->wire.engine, source, &identity, &aside, err) < 0)
		return -1;
	if (cli->is_json)
		return out_json(json_pack("{s:s, s:s, s:s?}", "source", source->label, "identity",
				    identity, "set_aside", aside),
		    "blackstart.source/1", err);
	out_line("source '%s' may now be the system with identity %s", source->label, identity);
	if (aside != NULL)
		out_line("  the log of the system before is kept apart: 'blackstart window %s@%s'",
		    source->label, aside);

	return EXIT_OK;
}

/* ---- catalog ---------------------------------------------------------------------------------------------- */

/* What the index of the streams was made of again. */
struct reindexed {
	uint64_t pieces;
	uint64_t damaged;
};

static int
reindex_source(struct cli *cli, const struct streamed_source *found, struct reindexed *to,
    struct err *err)
{
	SCOPED(settle_report_done) struct settle_report report = { .check_max = 0 };
	struct source *source = wire_source_offline(&cli->wire, found->name, found->type, err);

	if (source == NULL || settle_reindex(&cli->wire.engine, source, &report, err) < 0)
		return -1;
	settle_log_warnings(&report);
	to->pieces += report.indexed_count + report.adopted_count;
	to->damaged += report.damaged_count;

	return 0;
}

static int
reindex_streams(struct cli *cli, struct reindexed *to, struct err *err)
{
	SCOPED(streamed_sources_done) struct streamed_sources sources = { .items = { .count = 0 } };

	if (settle_find_sources(&cli->wire.engine, &sources, err) < 0)
		return -1;
	for (size_t i = 0; i < sources.items.count; i++) {
		if (reindex_source(cli, &sources.items.items[i], to, err) < 0)
			return -1;
	}

	return 0;
}

static int
print_rebuilt(const struct cli *cli, const struct sync_result *synced,
    const struct reindexed *reindexed, struct err *err)
{
	if (cli->is_json)
		return out_json(json_pack("{s:i, s:i, s:i, s:I, s:I}", "backups",
				    (int)synced->backups_count, "unproven",
				    (int)synced->unproven_count, "unreadable",
				    (int)synced->damaged_count, "log_segments",
				    (json_int_t)reindexed->pieces, "log_damaged",
				    (json_int_t)reindexed->damaged),
		    "blackstart.catalog/1", err);
	out_line(
	    "the catalog has been made again from '%s': %u backups, %u unproven files, %u manifests that cannot be read",
	    cli->wire.engine.store->location, synced->backups_count, synced->unproven_count,
	    synced->damaged_count);
	if (reindexed->pieces > 0)
		out_line("and the index of the write-ahead log: %llu segments, %llu damaged",
		    (unsigned long long)reindexed->pieces, (unsigned long long)reindexed->damaged);

	return 0;
}

static int
cmd_catalog_rebuild(struct cli *cli, struct err *err)
{
	struct reindexed reindexed = { .pieces = 0 };
	struct sync_result synced;

	if (wire_open_store(&cli->wire, cli->args, WIRE_READ, err) < 0 ||
	    sync_catalog(&cli->wire.engine, true, &synced, err) < 0 ||
	    reindex_streams(cli, &reindexed, err) < 0 ||
	    print_rebuilt(cli, &synced, &reindexed, err) < 0)
		return -1;

	return synced.damaged_count > 0 || reindexed.damaged > 0 ? EXIT_WARNINGS : EXIT_OK;
}

static int
cmd_catalog_export(struct cli *cli, struct err *err)
{
	const struct run_filter every_run = { .limit = 0 };
	const struct backup_filter every_backup = { .limit = 0 };
	SCOPED(run_rows_done) struct run_rows runs = { .rows = { .count = 0 } };
	SCOPED(backup_rows_done) struct backup_rows backups = { .rows = { .count = 0 } };
	json_t *root, *runs_array, *backups_array;

	if (wire_open_store(&cli->wire, cli->args, WIRE_READ, err) < 0 ||
	    catalog_run_list(cli->wire.engine.catalog, &every_run, &runs, err) < 0 ||
	    catalog_backup_list(cli->wire.engine.catalog, &every_backup, &backups, err) < 0)
		return -1;
	root = json_object();
	runs_array = json_array();
	backups_array = json_array();
	for (size_t i = 0; i < runs.rows.count; i++)
		(void)json_array_append_new(runs_array, run_row_json(&runs.rows.items[i]));
	for (size_t i = 0; i < backups.rows.count; i++)
		(void)json_array_append_new(backups_array, backup_row_json(&backups.rows.items[i]));
	(void)json_object_set_new(root, "runs", runs_array);
	(void)json_object_set_new(root, "backups", backups_array);

	return out_json(root, "blackstart.export/1", err);
}

const struct command_entry cmd_keep_entries[] = {
	{ .verb = "prune", .run = cmd_prune },
	{ .verb = "pin", .run = cmd_pin },
	{ .verb = "unpin", .run = cmd_unpin },
	{ .verb = "source adopt", .run = cmd_source_adopt },
	{ .verb = "catalog rebuild", .run = cmd_catalog_rebuild },
	{ .verb = "catalog export", .run = cmd_catalog_export },
	{ .verb = NULL },
};
