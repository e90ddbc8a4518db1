/* window: to which seconds a source can be brought back. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "app/cli/args.h"
#include "app/cli/cli.h"
#include "app/cli/out.h"
#include "base/err.h"
#include "base/log.h"
#include "base/parse.h"
#include "engine/recovery.h"
#include "source/source.h"

enum { POSITION_TEXT_SIZE = 24 };

/* As the source's own tools write it. */
static const char *
position_text(bool counts_bytes, uint64_t position, char *text)
{
	if (counts_bytes)
		(void)snprintf(text, POSITION_TEXT_SIZE, "%" PRIu64, position);
	else
		(void)snprintf(text, POSITION_TEXT_SIZE, "%" PRIX32 "/%" PRIX32,
		    (uint32_t)(position >> 32), (uint32_t)position);

	return text;
}

/* ---- for people ---------------------------------------------------------------------------------------- */

static void
print_spans(const struct cli *cli, const char *label, const struct window_report *report)
{
	char from[CLOCK_TEXT_SIZE], to[CLOCK_TEXT_SIZE], ago[2 * CLOCK_TEXT_SIZE];
	size_t newest = report->spans.count;

	for (size_t i = 0; i < report->spans.count; i++) {
		if (newest == report->spans.count || report->spans.items[i].is_current)
			newest = i;
	}
	if (newest == report->spans.count) {
		out_line("%s cannot be brought back to a chosen second", label);
		return;
	}

	const struct window_span *span = &report->spans.items[newest];

	out_line("%s can be brought back to any second from %s to %s (%s)", label,
	    out_time(cli, span->from, from), out_time(cli, span->to, to), out_ago(span->to, ago));
	if (span->ends != NULL)
		out_line("  it ends there: %s", span->ends);
	for (size_t i = 0; i < report->spans.count; i++) {
		span = &report->spans.items[i];
		if (i == newest)
			continue;
		out_line("also from %s to %s, on timeline %" PRIu32,
		    out_time(cli, span->from, from), out_time(cli, span->to, to), span->branch);
		if (span->ends != NULL)
			out_line("  it ends there: %s", span->ends);
	}
}

static void
print_gaps(const struct cli *cli, const struct window_report *report)
{
	char from[CLOCK_TEXT_SIZE], to[CLOCK_TEXT_SIZE];

	for (size_t i = 0; i < report->gaps.count; i++) {
		const struct window_gap *gap = &report->gaps.items[i];

		out_line("gap      %s missing, on timeline %" PRIu32 ": after %s, before %s",
		    gap->text, gap->branch, out_time(cli, gap->from, from),
		    out_time(cli, gap->to, to));
	}
}

static void
print_branches(const struct window_report *report, bool counts_bytes)
{
	char position[POSITION_TEXT_SIZE];

	for (size_t i = 0; i < report->branches.count; i++) {
		const struct window_branch *branch = &report->branches.items[i];
		const char *role = branch->is_on_main ? "" : ", a side branch";

		if (branch->parent == 0)
			out_line("timeline %" PRIu32 " is the first known%s", branch->branch, role);
		else
			out_line("timeline %" PRIu32 " left timeline %" PRIu32 " at %s%s%s%s",
			    branch->branch, branch->parent,
			    position_text(counts_bytes, branch->fork_position, position), role,
			    branch->reason != NULL && branch->reason[0] != '\0' ? ": " : "",
			    branch->reason != NULL ? branch->reason : "");
	}
}

static void
print_window(const struct cli *cli, const struct source *source, const char *label,
    const struct window_report *report)
{
	char bytes[32];

	print_spans(cli, label, report);
	print_gaps(cli, report);
	print_branches(report, source->ops->stream->counts_bytes);
	out_line("the log has %" PRIu64 " segments, %s stored%s", report->pieces_count,
	    format_bytes(report->stored_bytes, bytes),
	    report->not_sound_count == 0 ? ", each read to its end and sound" : "");
	if (report->not_sound_count > 0)
		out_line("  %" PRIu64 " of them were not read to their end yet",
		    report->not_sound_count);
	for (size_t i = 0; i < report->warnings.count; i++)
		log_warning("%s", report->warnings.items[i]);
}

/* ---- for programs --------------------------------------------------------------------------------------- */

static json_t *
position_json(bool counts_bytes, uint64_t position)
{
	char text[POSITION_TEXT_SIZE];

	return position != 0 || counts_bytes
	    ? json_string(position_text(counts_bytes, position, text))
	    : json_null();
}

static json_t *
spans_json(const struct window_report *report, bool counts_bytes)
{
	json_t *array = json_array();

	for (size_t i = 0; i < report->spans.count; i++) {
		const struct window_span *span = &report->spans.items[i];

		(void)json_array_append_new(array,
		    json_pack("{s:I, s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "timeline",
			(json_int_t)span->branch, "current", span->is_current, "backup",
			out_json_text(span->backup_id), "from", out_json_time(span->from), "to",
			out_json_time(span->to), "from_lsn",
			position_json(counts_bytes, span->from_position), "to_lsn",
			position_json(counts_bytes, span->to_position), "ends",
			out_json_text(span->ends)));
	}

	return array;
}

static json_t *
gaps_json(const struct window_report *report, bool counts_bytes)
{
	json_t *array = json_array();

	for (size_t i = 0; i < report->gaps.count; i++) {
		const struct window_gap *gap = &report->gaps.items[i];

		(void)json_array_append_new(array,
		    json_pack("{s:I, s:o, s:o, s:o, s:o, s:o}", "timeline", (json_int_t)gap->branch,
			"after", out_json_time(gap->from), "before", out_json_time(gap->to),
			"from_lsn", position_json(counts_bytes, gap->from_position), "to_lsn",
			position_json(counts_bytes, gap->to_position), "text",
			out_json_text(gap->text)));
	}

	return array;
}

static json_t *
branches_json(const struct window_report *report, bool counts_bytes)
{
	json_t *array = json_array();

	for (size_t i = 0; i < report->branches.count; i++) {
		const struct window_branch *branch = &report->branches.items[i];

		(void)json_array_append_new(array,
		    json_pack("{s:I, s:o, s:o, s:o, s:b}", "timeline", (json_int_t)branch->branch,
			"parent",
			branch->parent != 0 ? json_integer((json_int_t)branch->parent)
					    : json_null(),
			"left_at", position_json(counts_bytes, branch->fork_position), "reason",
			out_json_text(branch->reason), "on_main", branch->is_on_main));
	}

	return array;
}

static int
window_json(const struct source *source, const char *label, const struct window_report *report,
    struct err *err)
{
	bool counts_bytes = source->ops->stream->counts_bytes;
	json_t *root = json_object();
	json_t *warnings = json_array();

	for (size_t i = 0; i < report->warnings.count; i++)
		(void)json_array_append_new(warnings, out_json_text(report->warnings.items[i]));
	(void)json_object_set_new(root, "source", out_json_text(label));
	(void)json_object_set_new(root, "spans", spans_json(report, counts_bytes));
	(void)json_object_set_new(root, "gaps", gaps_json(report, counts_bytes));
	(void)json_object_set_new(root, "timelines", branches_json(report, counts_bytes));
	(void)json_object_set_new(root, "segments", json_integer((json_int_t)report->pieces_count));
	(void)json_object_set_new(root, "stored_bytes",
	    json_integer((json_int_t)report->stored_bytes));
	(void)json_object_set_new(root, "not_sound",
	    json_integer((json_int_t)report->not_sound_count));
	(void)json_object_set_new(root, "warnings", warnings);

	return out_json(root, "blackstart.window/1", err);
}

static int
cmd_window(struct cli *cli, struct err *err)
{
	SCOPED(window_report_done) struct window_report report = { .pieces_count = 0 };
	const char *word = args_word(cli->args, 0);
	SCOPED(freep) char *identity = NULL;
	struct source *source = NULL;

	if (wire_open_store(&cli->wire, cli->args, WIRE_READ, err) < 0 ||
	    cli_find_source(cli, word, wire_source_offline, &source, &identity, err) < 0 ||
	    recovery_window_of(&cli->wire.engine, source, identity, &report, err) < 0)
		return -1;
	if (identity == NULL)
		word = source->label;
	if (cli->is_json && window_json(source, word, &report, err) < 0)
		return -1;
	if (!cli->is_json)
		print_window(cli, source, word, &report);

	return report.spans.count == 0 || report.gaps.count > 0 ? EXIT_WARNINGS : EXIT_OK;
}

const struct command_entry cmd_window_entries[] = {
	{ .verb = "window", .run = cmd_window },
	{ .verb = NULL },
};
