/* verify: climbs the ladder. */
#include <jansson.h>
#include <stdlib.h>

#include "app/cli/args.h"
#include "app/cli/cli.h"
#include "app/cli/out.h"
#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "engine/engine.h"
#include "engine/settle.h"
#include "engine/verify.h"
#include "os/stop.h"
#include "source/source.h"

/* What all climbs of one command share. */
struct climbs {
	struct cli *cli;
	VEC(struct smoke_query) smoke;
	json_t *results;
	json_t *logs;
	unsigned warnings;
	unsigned failed;
	struct err worst; /* a mismatch outweighs what could not be tested */
};

static int
level_for(struct climbs *climbs, const struct source *source, const struct backup_row *row)
{
	int usual = source_usual_level(source->ops, row->kind, climbs->smoke.count > 0);

	return (int)args_number(climbs->cli->args, "level", (unsigned)usual);
}

static void
tell(const struct cli *cli, const struct verify_outcome *outcome, const struct err *failure)
{
	char took[CLOCK_TEXT_SIZE];

	for (size_t i = 0; i < outcome->report.warnings.count; i++)
		log_warning("%s", outcome->report.warnings.items[i]);
	if (cli->is_quiet || cli->is_json)
		return;
	for (size_t i = 0; i < outcome->report.notes.count; i++)
		out_line("  %s", outcome->report.notes.items[i]);
	if (failure != NULL)
		out_line("%s %s", failure->kind == ERR_MISMATCH ? "DAMAGED" : "not proved",
		    outcome->backup_id);
	else
		out_line("proved to level %d: %s, in %s", outcome->level, outcome->backup_id,
		    clock_format_duration(outcome->duration_us, took));
}

static json_t *
outcome_json(const struct verify_outcome *outcome, int asked, const struct err *failure)
{
	json_t *root = json_object();
	json_t *notes = json_array();
	json_t *warnings = json_array();

	for (size_t i = 0; i < outcome->report.notes.count; i++)
		(void)json_array_append_new(notes, out_json_text(outcome->report.notes.items[i]));
	for (size_t i = 0; i < outcome->report.warnings.count; i++)
		(void)json_array_append_new(warnings,
		    out_json_text(outcome->report.warnings.items[i]));
	(void)json_object_set_new(root, "id", out_json_text(outcome->backup_id));
	(void)json_object_set_new(root, "level_asked", json_integer(asked));
	(void)json_object_set_new(root, "level",
	    outcome->level >= 0 ? json_integer(outcome->level) : json_null());
	(void)json_object_set_new(root, "result",
	    json_string(failure == NULL             ? "proved"
		    : failure->kind == ERR_MISMATCH ? "damaged"
						    : "not_tested"));
	(void)json_object_set_new(root, "message",
	    out_json_text(failure != NULL ? failure->msg : NULL));
	(void)json_object_set_new(root, "duration_us", json_integer(outcome->duration_us));
	(void)json_object_set_new(root, "notes", notes);
	(void)json_object_set_new(root, "warnings", warnings);
	if (outcome->report.details != NULL)
		(void)json_object_set(root, "details", outcome->report.details);

	return root;
}

static void
note_failure(struct climbs *climbs, const struct err *failure)
{
	if (climbs->failed == 0 ||
	    (failure->kind == ERR_MISMATCH && climbs->worst.kind != ERR_MISMATCH))
		climbs->worst = *failure;
	climbs->failed++;
}

static int
climb_one(struct climbs *climbs, const struct backup_row *row, struct err *err)
{
	SCOPED(verify_outcome_done) struct verify_outcome outcome = { .level = -1 };
	struct verify_order order = {
		.backup = row,
		.smoke = climbs->smoke.items,
		.smoke_count = climbs->smoke.count,
		.progress = &climbs->cli->progress,
	};
	bool has_failed;

	if (str_equals(row->kind, "unreadable"))
		return err_set(err, ERR_MISMATCH, "manifest '%s' cannot be read: %s",
		    row->manifest_name,
		    row->check_message != NULL ? row->check_message : "damaged");
	order.source = wire_source_for(&climbs->cli->wire, row->source, row->source_type, err);
	if (order.source == NULL)
		return -1;
	order.level = level_for(climbs, order.source, row);
	if (climbs->cli->is_dry_run) {
		out_line("would verify %s to level %d", row->id, order.level);
		return 0;
	}
	has_failed = verify_run(&climbs->cli->wire.engine, &order, &outcome, err) < 0;
	out_progress_end(climbs->cli);
	climbs->warnings += (unsigned)outcome.report.warnings.count;
	(void)json_array_append_new(climbs->results,
	    outcome_json(&outcome, order.level, has_failed ? err : NULL));
	tell(climbs->cli, &outcome, has_failed ? err : NULL);

	return has_failed ? -1 : 0;
}

/* One that could not be proved; -1 when all shall end. */
static int
pass_over(struct climbs *climbs, const struct err *failure, struct err *err)
{
	if (failure->kind == ERR_CANCELLED) {
		*err = *failure;
		return -1;
	}
	/* A single one is the command's own error: it is said once, at the end. */
	if (climbs->failed == 1)
		log_err(&climbs->worst);
	if (climbs->failed > 0)
		log_err(failure);
	note_failure(climbs, failure);

	return 0;
}

/* ---- the logs: what lies between the backups ------------------------------------------------ */

static void
tell_log(struct climbs *climbs, const char *source, const struct settle_report *report)
{
	json_t *warnings = json_array();

	climbs->warnings += (unsigned)report->warnings.count;
	settle_log_warnings(report);
	for (size_t i = 0; i < report->warnings.count; i++)
		(void)json_array_append_new(warnings, out_json_text(report->warnings.items[i]));
	(void)json_array_append_new(climbs->logs,
	    json_pack("{s:o, s:I, s:I, s:o}", "source", out_json_text(source), "checked",
		(json_int_t)report->checked_count, "damaged", (json_int_t)report->damaged_count,
		"warnings", warnings));
	if (!climbs->cli->is_quiet && !climbs->cli->is_json)
		out_line("%s log of '%s': %llu segments read, %llu damaged",
		    report->damaged_count > 0 ? "DAMAGED" : "sound:", source,
		    (unsigned long long)report->checked_count,
		    (unsigned long long)report->damaged_count);
}

static int
read_log(struct climbs *climbs, const struct streamed_source *found, struct err *err)
{
	struct cli *cli = climbs->cli;
	SCOPED(settle_report_done) struct settle_report report = { .check_max = 0 };
	struct source *source = wire_source_offline(&cli->wire, found->name, found->type, err);
	int result;

	if (source == NULL)
		return -1;
	if (cli->is_dry_run) {
		out_line("would read the log of '%s'", found->name);
		return 0;
	}
	result = settle_again(&cli->wire.engine, source, &cli->progress, &report, err);
	out_progress_end(cli);
	if (result < 0)
		return -1;
	tell_log(climbs, found->name, &report);

	return settle_judge(&report, found->name, err);
}

static int
read_logs(struct climbs *climbs, size_t *count, struct err *err)
{
	const char *only = args_text(climbs->cli->args, "source");
	SCOPED(streamed_sources_done) struct streamed_sources sources = { .items = { .count = 0 } };

	if (settle_find_sources(&climbs->cli->wire.engine, &sources, err) < 0)
		return -1;
	for (size_t i = 0; i < sources.items.count; i++) {
		const struct streamed_source *found = &sources.items.items[i];
		struct err one = ERR_INIT;

		if (only != NULL && !str_equals(only, found->name))
			continue;
		(*count)++;
		if (read_log(climbs, found, &one) < 0 && pass_over(climbs, &one, err) < 0)
			return -1;
	}

	return 0;
}

/* ---- which ---------------------------------------------------------------------------------- */

/* A store without anything in it is as a rule not the one that was meant. */
static void
tell_nothing(struct climbs *climbs, const struct backup_filter *filter)
{
	const char *source = filter->source;
	const char *kind = filter->kind;

	log_warning("nothing is verified: the store has no backup%s%s%s%s%s%s",
	    kind != NULL ? " of kind '" : "", kind != NULL ? kind : "", kind != NULL ? "'" : "",
	    source != NULL ? " of source '" : "", source != NULL ? source : "",
	    source != NULL ? "'" : "");
	climbs->warnings++;
}

static int
climb_each(struct climbs *climbs, const struct backup_filter *filter, size_t *ret_count,
    struct err *err)
{
	SCOPED(backup_rows_done) struct backup_rows rows = { .rows = { .count = 0 } };

	if (catalog_backup_list(climbs->cli->wire.engine.catalog, filter, &rows, err) < 0)
		return -1;
	*ret_count = rows.rows.count;
	for (size_t i = 0; i < rows.rows.count; i++) {
		struct err one = ERR_INIT;

		if (stop_check(err) < 0)
			return -1;
		if (climb_one(climbs, &rows.rows.items[i], &one) < 0 &&
		    pass_over(climbs, &one, err) < 0)
			return -1;
	}

	return filter->kind == NULL ? read_logs(climbs, ret_count, err) : 0;
}

static int
climb_all(struct climbs *climbs, struct err *err)
{
	const struct args *args = climbs->cli->args;
	const struct backup_filter filter = {
		.source = args_text(args, "source"),
		.kind = args_text(args, "kind"),
	};
	size_t count = 0;

	if (climb_each(climbs, &filter, &count, err) < 0) {
		/* What ends it is the command's error now, and not the failure that was held back. */
		if (climbs->failed == 1)
			log_err(&climbs->worst);
		return -1;
	}
	if (count == 0)
		tell_nothing(climbs, &filter);
	if (climbs->failed == 0)
		return 0;
	if (climbs->failed == 1) {
		*err = climbs->worst;
		return -1;
	}
	(void)err_set(err, climbs->worst.kind,
	    "%u of %zu backups and logs are not proved, see above", climbs->failed, count);

	return err_hint(err, "'blackstart list' shows which are damaged.");
}

static int
climb_chosen(struct climbs *climbs, struct err *err)
{
	struct cli *cli = climbs->cli;
	SCOPED(backup_row_done) struct backup_row row = { .id = NULL };
	const struct backup_choice choice = {
		.word = args_word(cli->args, 0),
		.source = args_text(cli->args, "source"),
		.kind = args_text(cli->args, "kind"),
	};

	if (cli_choose_backup(cli, &choice, &row, err) < 0)
		return -1;

	return climb_one(climbs, &row, err);
}

static void
read_smoke(struct climbs *climbs)
{
	size_t count;
	const char *const *queries = args_list(climbs->cli->args, "smoke", &count);

	for (size_t i = 0; i < count; i++)
		vec_push(&climbs->smoke, ((struct smoke_query){ .sql = queries[i] }));
}

static int
cmd_verify(struct cli *cli, struct err *err)
{
	struct climbs climbs = { .cli = cli, .worst = ERR_INIT };
	json_t *root = json_object();
	int result;

	if (wire_open_store(&cli->wire, cli->args, WIRE_WRITE, err) < 0) {
		json_decref(root);
		return -1;
	}
	climbs.results = json_array();
	climbs.logs = json_array();
	(void)json_object_set_new(root, "verified", climbs.results);
	(void)json_object_set_new(root, "logs", climbs.logs);
	read_smoke(&climbs);
	result = args_flag(cli->args, "all") ? climb_all(&climbs, err) : climb_chosen(&climbs, err);
	vec_done(&climbs.smoke);
	if (result < 0) {
		/* The object on stdout is the error; what was found is in the proofs. */
		json_decref(root);
		return -1;
	}
	if (!cli->is_json)
		json_decref(root);
	else if (out_json(root, "blackstart.verify/1", err) < 0)
		return -1;

	return climbs.warnings > 0 ? EXIT_WARNINGS : EXIT_OK;
}

const struct command_entry cmd_verify_entries[] = {
	{ .verb = "verify", .run = cmd_verify },
	{ .verb = NULL },
};
