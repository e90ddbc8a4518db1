/* backup, run: the commands that make backups. */
#include <jansson.h>
#include <stdlib.h>

#include "app/cli/args.h"
#include "app/cli/cli.h"
#include "app/cli/out.h"
#include "app/cli/run_wal.h"
#include "app/policy.h"
#include "app/url.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "catalog/catalog_watch.h"
#include "config/config.h"
#include "engine/backup.h"
#include "engine/prune.h"
#include "engine/verify.h"
#include "os/stop.h"
#include "repo/names.h"
#include "source/source.h"
#include "store/store.h"

enum { DEFAULT_COMPRESSION = 1, LEVEL_BEFORE_PRUNE = 1 };

static void
say_outcome(struct cli *cli, const struct backup_outcome *outcome)
{
	char content[32], stored[32], took[CLOCK_TEXT_SIZE];
	bool is_compressed = outcome->content_bytes != outcome->stored_bytes;

	if (cli->is_quiet)
		return;
	out_line("%s backup %s",
	    outcome->warnings_count > 0 ? "done with warnings:" : "done:", outcome->id);
	out_line("  in       %s/%s", cli->wire.engine.store->location, outcome->folder);
	out_line("  size     %s%s%s%s, in %s", format_bytes(outcome->stored_bytes, stored),
	    is_compressed ? " (" : "",
	    is_compressed ? format_bytes(outcome->content_bytes, content) : "",
	    is_compressed ? " before compression)" : "",
	    clock_format_duration(outcome->duration_us, took));
}

static json_t *
outcome_json(const struct backup_outcome *outcome, const char *job)
{
	json_t *root = json_object();

	(void)json_object_set_new(root, "job", out_json_text(job));
	(void)json_object_set_new(root, "id", out_json_text(outcome->id));
	(void)json_object_set_new(root, "state",
	    json_string(outcome->warnings_count > 0 ? "warning" : "ok"));
	(void)json_object_set_new(root, "folder", out_json_text(outcome->folder));
	(void)json_object_set_new(root, "content_bytes",
	    json_integer((json_int_t)outcome->content_bytes));
	(void)json_object_set_new(root, "stored_bytes",
	    json_integer((json_int_t)outcome->stored_bytes));
	(void)json_object_set_new(root, "duration_us", json_integer(outcome->duration_us));
	(void)json_object_set_new(root, "warnings_count", json_integer(outcome->warnings_count));
	(void)json_object_set_new(root, "first_warning", out_json_text(outcome->first_warning));

	return root;
}

/* Not every system has one that outlives a restart. */
static const char *
identity_text(const struct source_identity *who)
{
	return who->identity[0] != '\0' ? who->identity : "none";
}

/* ---- backup URL ------------------------------------------------------------------------------- */

static int
cmd_backup(struct cli *cli, struct err *err)
{
	const char *label = args_text_or(cli->args, "name",
	    url_source_name(args_word(cli->args, 0)));
	SCOPED(freep) char *job_name = NULL;
	SCOPED(backup_outcome_done) struct backup_outcome outcome = { .id = NULL };
	struct backup_job job = {
		.format = args_text(cli->args, "format"),
		.compression_level = (int)args_number(cli->args, "compression",
		    DEFAULT_COMPRESSION),
		.rate_limit_bytes_per_s = args_size_bytes(cli->args, "rate", 0),
		.parallel = args_number(cli->args, "parallel", 0),
		.progress = &cli->progress,
	};

	if (!name_is_valid_label(label)) {
		(void)err_set(err, ERR_USAGE, "'%.80s' cannot be the name of a source", label);
		return err_hint(err,
		    "A name begins with a letter or a digit and goes on with those, '_', '.' and '-', at most 63 in all.");
	}
	job.source = wire_source_url(&cli->wire, cli->args, args_word(cli->args, 0), label, label,
	    err);
	if (job.source == NULL)
		return -1;
	job.kind = args_text_or(cli->args, "kind", job.source->ops->kinds[0].name);
	job_name = xasprintf("%s-%s", label, job.kind);
	job.name = job_name;
	if (cli->is_dry_run) {
		SCOPED(source_identity_done) struct source_identity who = { .identity = NULL };

		if (job.source->ops->identify(job.source, &who, err) < 0)
			return -1;
		out_line("would make a %s of %s %s (identity %s)", job.kind, job.source->ops->type,
		    who.version, identity_text(&who));
		return EXIT_OK;
	}
	if (wire_open_store(&cli->wire, cli->args, WIRE_CREATE, err) < 0 ||
	    backup_run(&cli->wire.engine, &job, &outcome, err) < 0)
		return -1;

	out_progress_end(cli);
	if (outcome.first_warning != NULL)
		log_warning("%s", outcome.first_warning);
	if (cli->is_json &&
	    out_json(outcome_json(&outcome, job_name), "blackstart.backup/1", err) < 0)
		return -1;
	if (!cli->is_json) {
		say_outcome(cli, &outcome);
		if (!cli->is_quiet)
			out_next(cli, "blackstart verify latest --level 3");
	}

	return outcome.warnings_count > 0 ? EXIT_WARNINGS : EXIT_OK;
}

/* ---- run JOB... ------------------------------------------------------------------------------- */

static int
find_job(struct cli *cli, const char *name, const struct config_job **ret_job, struct err *err)
{
	const struct config *config = cli->wire.config;
	const struct config_job *job = config != NULL ? config_find_job(config, name) : NULL;
	VEC(const char *) names = { .count = 0 };
	const char *nearest;

	if (job != NULL && job->is_supported) {
		*ret_job = job;
		return 0;
	}
	if (job != NULL)
		return err_set(err, ERR_UNSUPPORTED, "job '%s': this version cannot do '%s'", name,
		    job->kind);
	if (config == NULL) {
		(void)err_set(err, ERR_USAGE, "job '%s' is not known without a configuration",
		    name);
		return err_hint(err,
		    "Name the config with -c FILE, or use 'blackstart backup URL --store DIR'.");
	}
	for (size_t i = 0; i < config->jobs.count; i++)
		vec_push(&names, config->jobs.items[i].name);
	nearest = str_nearest(name, names.items, names.count);
	(void)err_set(err, ERR_USAGE, "there is no job '%s' in the configuration", name);
	if (nearest != NULL)
		(void)err_hint(err, "Did you mean '%s'?", nearest);
	vec_done(&names);

	return -1;
}

/* Climb with the new backup; damage is an error, "could not be tested" a warning. */
static int
verify_new(struct cli *cli, const struct config_job *job, struct source *source, const char *id,
    int level, unsigned *warnings, struct err *err)
{
	SCOPED(backup_row_done) struct backup_row row = { .id = NULL };
	SCOPED(verify_outcome_done) struct verify_outcome outcome = { .level = -1 };
	VEC(struct smoke_query) smoke = { .count = 0 };
	struct verify_order order = {
		.source = source,
		.level = level,
		.progress = &cli->progress,
	};
	int result;

	if (catalog_backup_get(cli->wire.engine.catalog, id, &row, err) < 0)
		return -1;
	for (size_t i = 0; i < job->verify.smoke.count; i++) {
		const struct config_smoke *query = &job->verify.smoke.items[i];

		vec_push(&smoke,
		    ((struct smoke_query){ .database = query->database,
			.sql = query->sql,
			.expect = query->expect }));
	}
	order.backup = &row;
	order.smoke = smoke.items;
	order.smoke_count = smoke.count;
	result = verify_run(&cli->wire.engine, &order, &outcome, err);
	vec_done(&smoke);
	if (result == 0 || err->kind == ERR_MISMATCH || err->kind == ERR_CANCELLED)
		return result;
	log_warning("the new backup was not proved to level %d: %s", level, err->msg);
	(*warnings)++;

	return 0;
}

/* What retention lets go, after the new one was read back: write and verify first, then remove. */
static int
apply_retention(struct cli *cli, const struct config_job *job, struct source *source,
    const char *new_id, unsigned *warnings, struct err *err)
{
	SCOPED(prune_outcome_done) struct prune_outcome outcome = { .removed_count = 0 };
	SCOPED(prune_outcome_done) struct prune_outcome planned = { .removed_count = 0 };
	struct prune_order order = {
		.job = job->name,
		.policy = policy_of_job(&cli->wire, job),
		.is_dry_run = true,
		.is_window_base = policy_is_window_base(&cli->wire, job),
	};
	unsigned surplus = 0;

	if (prune_run(&cli->wire.engine, &order, &planned, err) < 0)
		return -1;
	for (size_t i = 0; i < planned.verdicts.count; i++)
		surplus += planned.verdicts.items[i].is_kept ? 0 : 1;
	if (surplus == 0)
		return 0;
	if (job->verify.level < LEVEL_BEFORE_PRUNE &&
	    verify_new(cli, job, source, new_id, LEVEL_BEFORE_PRUNE, warnings, err) < 0)
		return -1;
	order.is_dry_run = false;
	if (prune_run(&cli->wire.engine, &order, &outcome, err) < 0)
		return -1;
	log_info("retention removed %u %s of job '%s'", outcome.removed_count,
	    outcome.removed_count == 1 ? "backup" : "backups", job->name);

	return 0;
}

/* With `every`, only when the last proof to that level is older; one that is not known is due. */
static bool
is_verify_due(struct cli *cli, const struct config_job *job, int level)
{
	struct backup_proofs proofs;
	struct err ignored = ERR_INIT;

	if (!job->verify.is_wanted || job->verify.every_us == 0 || level >= BACKUP_LEVELS_COUNT ||
	    catalog_backup_proofs(cli->wire.engine.catalog, job->name, &proofs, &ignored) < 0)
		return job->verify.is_wanted;

	return clock_wall().us - proofs.at[level].us >= job->verify.every_us;
}

/* A stream's job makes no backup; what it did is in its log. */
static int
run_stream(struct cli *cli, const struct config_job *from, struct source *source, json_t *results,
    unsigned *warnings, struct err *err)
{
	json_t *result;

	if (from->is_continuous && args_words_count(cli->args) > 1) {
		(void)err_set(err, ERR_USAGE,
		    "job '%s' runs for ever, so it cannot be one of several", from->name);
		return err_hint(err, "Run it alone: blackstart run %s", from->name);
	}
	if (run_wal(cli, from, source, warnings, err) < 0)
		return -1;
	result = json_object();
	(void)json_object_set_new(result, "job", out_json_text(from->name));
	(void)json_object_set_new(result, "state", json_string(*warnings > 0 ? "warning" : "ok"));
	(void)json_array_append_new(results, result);

	return 0;
}

/* In place of the stream itself, a base of it. */
static int
stream_base(const struct config_job *from, struct backup_job *job, struct err *err)
{
	const struct stream_kind *stream = job->source->ops->stream;

	if (!run_wal_is_it(from, job->source) || stream->base == NULL) {
		(void)err_set(err, ERR_USAGE, "job '%s' takes no bases beside a stream",
		    from->name);
		return err_hint(err, "Leave --base away.");
	}
	job->kind = stream->base;
	job->is_of_stream = true;

	return 0;
}

static int
run_one(struct cli *cli, const char *name, json_t *results, unsigned *warnings, struct err *err)
{
	SCOPED(backup_outcome_done) struct backup_outcome outcome = { .id = NULL };
	const struct config_job *from;
	struct backup_job job = { .progress = &cli->progress };
	int level;

	if (find_job(cli, name, &from, err) < 0)
		return -1;
	job.name = from->name;
	job.kind = from->kind;
	job.subfolder = from->folder;
	job.format = from->format;
	job.compression_level = (int)from->compression;
	job.rate_limit_bytes_per_s = from->rate_limit_bytes_per_s;
	job.parallel = from->parallel;
	job.source = wire_source(&cli->wire, from->source, err);
	if (job.source == NULL)
		return -1;
	if (args_flag(cli->args, "base") && stream_base(from, &job, err) < 0)
		return -1;
	if (run_wal_is_it(from, job.source) && !job.is_of_stream)
		return run_stream(cli, from, job.source, results, warnings, err);
	if (backup_run(&cli->wire.engine, &job, &outcome, err) < 0)
		return -1;
	out_progress_end(cli);
	if (outcome.first_warning != NULL)
		log_warning("%s", outcome.first_warning);
	*warnings += outcome.warnings_count;
	(void)json_array_append_new(results, outcome_json(&outcome, name));
	if (!cli->is_json)
		say_outcome(cli, &outcome);
	level = policy_verify_level(&cli->wire, from);
	if (is_verify_due(cli, from, level) &&
	    verify_new(cli, from, job.source, outcome.id, level, warnings, err) < 0)
		return -1;
	if (apply_retention(cli, from, job.source, outcome.id, warnings, err) < 0)
		return err_wrap(err, "backup '%s' is safe, but", outcome.id);

	return 0;
}

static int
dry_run_one(struct cli *cli, const char *name, struct err *err)
{
	SCOPED(source_identity_done) struct source_identity who = { .identity = NULL };
	const struct config_job *from;
	struct source *source;

	if (find_job(cli, name, &from, err) < 0)
		return -1;
	source = wire_source(&cli->wire, from->source, err);
	if (source == NULL || source->ops->identify(source, &who, err) < 0)
		return -1;
	out_line("job '%s' would make a %s of source '%s' (%s %s, identity %s)", name, from->kind,
	    from->source, source->ops->type, who.version, identity_text(&who));

	return 0;
}

/* Every job is tried; the first failure decides the exit code, each is told. */
static int
cmd_run(struct cli *cli, struct err *err)
{
	json_t *results = json_array();
	json_t *root = json_object();
	struct err first = ERR_INIT;
	unsigned warnings = 0;
	unsigned failed = 0;

	(void)json_object_set_new(root, "runs", results);
	if (!cli->is_dry_run && wire_open_store(&cli->wire, cli->args, WIRE_CREATE, err) < 0) {
		json_decref(root);
		return -1;
	}
	for (size_t i = 0; i < args_words_count(cli->args) && !stop_is_requested(); i++) {
		const char *name = args_word(cli->args, i);
		struct err job_err = ERR_INIT;

		if ((cli->is_dry_run ? dry_run_one(cli, name, &job_err)
				     : run_one(cli, name, results, &warnings, &job_err)) == 0)
			continue;
		out_progress_end(cli);
		if (failed++ == 0)
			first = job_err;
		else
			log_err(&job_err);
	}
	if (failed > 0) {
		json_decref(root);
		*err = first;
		return -1;
	}
	if (cli->is_json && out_json(json_incref(root), "blackstart.run/1", err) < 0) {
		json_decref(root);
		return -1;
	}
	json_decref(root);

	return warnings > 0 ? EXIT_WARNINGS : EXIT_OK;
}

const struct command_entry cmd_backup_entries[] = {
	{ .verb = "backup", .run = cmd_backup },
	{ .verb = "run", .run = cmd_run },
	{ .verb = NULL },
};
