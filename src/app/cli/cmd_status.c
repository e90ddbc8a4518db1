/* status: can we recover, and what needs a look. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/cli/args.h"
#include "app/cli/cli.h"
#include "app/cli/out.h"
#include "app/cli/rows_json.h"
#include "app/expect.h"
#include "base/err.h"
#include "base/parse.h"
#include "base/str.h"
#include "config/config.h"
#include "engine/overview.h"
#include "source/source.h"
#include "store/store.h"

static const char *
last_text(const struct overview_job *job, char *text, size_t size)
{
	char ago[2 * CLOCK_TEXT_SIZE];

	if (job->is_running && job->last.id != NULL && job->is_stream) {
		(void)snprintf(text, size, "running for %s",
		    clock_format_duration(clock_wall().us - job->last.started.us, ago));
		return text;
	}
	if (job->is_running)
		return "running";
	if (job->last.id == NULL)
		return "never ran here";
	(void)snprintf(text, size, "%s, %s", run_state_name(job->last.state),
	    out_ago(job->last.started, ago));

	return text;
}

/* "Can we recover?  Yes: postgresql to ..." : the first line, and the one that matters. */
static void
print_answer(const struct cli *cli, const struct overview *overview)
{
	const struct overview_job *best = NULL;
	const struct overview_job *stream = NULL;
	char when[CLOCK_TEXT_SIZE], until[CLOCK_TEXT_SIZE], ago[2 * CLOCK_TEXT_SIZE];

	for (size_t i = 0; i < overview->jobs.count; i++) {
		const struct overview_job *job = &overview->jobs.items[i];

		if (job->window_to.us != 0 &&
		    (stream == NULL || job->window_to.us > stream->window_to.us))
			stream = job;
		if (job->newest.id != NULL &&
		    (best == NULL || job->newest.consistent_at.us > best->newest.consistent_at.us))
			best = job;
	}
	if (best == NULL) {
		out_line("Can we recover?  NO: there is no good backup in '%s'.",
		    cli->wire.engine.store->location);
		return;
	}
	if (stream != NULL && stream->window_to.us >= best->newest.consistent_at.us) {
		out_line("Can we recover?  Yes: '%s' to any second from %s to %s (%s).",
		    stream->source, out_time(cli, stream->window_from, when),
		    out_time(cli, stream->window_to, until), out_ago(stream->window_to, ago));
		return;
	}
	out_line("Can we recover?  Yes: '%s' as it was at %s (%s), %s.", best->source,
	    out_time(cli, best->newest.consistent_at, when),
	    out_ago(best->newest.consistent_at, ago), out_proof(&best->newest));
}

/* How old the newest state is that the job can bring back. */
static const char *
last_good(const struct overview_job *job, char *text)
{
	struct wall_time at = job->is_stream ? job->window_to : job->newest.consistent_at;

	return at.us != 0 ? out_ago(at, text) : "none";
}

static void
print_matrix(const struct cli *cli, const struct overview *overview)
{
	static const char *const headers[] = {
		"JOB",
		"KIND",
		"LAST RUN",
		"LAST GOOD BACKUP",
		"BACKUPS",
		"SIZE",
		"PROVED",
		"NEXT",
		NULL,
	};
	SCOPED(table_freep) struct table *table = table_new(headers);

	for (size_t i = 0; i < overview->jobs.count; i++) {
		const struct overview_job *job = &overview->jobs.items[i];
		char last[128], ago[2 * CLOCK_TEXT_SIZE], size[32], next[CLOCK_TEXT_SIZE];

		table_cell(table, "%s%s", job->abnormal != NULL ? "! " : "  ", job->job);
		table_cell(table, "%s", job->kind != NULL ? job->kind : "-");
		table_cell(table, "%s", last_text(job, last, sizeof(last)));
		table_cell(table, "%s", last_good(job, ago));
		if (job->is_stream)
			table_cell(table, "-");
		else
			table_cell(table, "%u", job->backups_count);
		table_cell(table, "%s", format_bytes(job->stored_bytes, size));
		if (job->proved_level >= 0)
			table_cell(table, "L%d, %s", job->proved_level,
			    out_ago(job->proved_at, ago));
		else
			table_cell(table, job->is_stream ? "-" : "no");
		table_cell(table, "%s",
		    job->is_continuous ? "all the time" : out_time(cli, job->next_run, next));
	}
	table_print(table);
}

static void
print_abnormal(const struct overview *overview)
{
	for (size_t i = 0; i < overview->jobs.count; i++) {
		const struct overview_job *job = &overview->jobs.items[i];

		if (job->abnormal == NULL)
			continue;
		out_line("! %s: %s", job->job, job->abnormal);
		out_line("  next: %s", job->next_command);
	}
	if (overview->damaged_count > 0) {
		out_line("! %u damaged %s in the store", overview->damaged_count,
		    overview->damaged_count == 1 ? "backup" : "backups");
		out_line("  next: blackstart list");
	}
	if (overview->unproven_count > 0)
		out_line(
		    "%u %s there before us, without a manifest: 'blackstart verify --all' reads them",
		    overview->unproven_count,
		    overview->unproven_count == 1 ? "file was" : "files were");
}

static void
print_overview(const struct cli *cli, const struct overview *overview)
{
	char used[32], capacity[32];

	if (cli->wire.config != NULL)
		out_line("%s", cli->wire.config->site);
	print_answer(cli, overview);
	(void)putchar('\n');
	if (overview->jobs.count > 0)
		print_matrix(cli, overview);
	out_line("store %s: %s used of %s", cli->wire.engine.store->location,
	    format_bytes(overview->space.used_bytes, used),
	    format_bytes(overview->space.capacity_bytes, capacity));
	print_abnormal(overview);
}

static json_t *
job_json(const struct overview_job *job)
{
	json_t *root = json_object();

	(void)json_object_set_new(root, "job", out_json_text(job->job));
	(void)json_object_set_new(root, "source", out_json_text(job->source));
	(void)json_object_set_new(root, "kind", out_json_text(job->kind));
	(void)json_object_set_new(root, "running", json_boolean(job->is_running));
	(void)json_object_set_new(root, "last_run",
	    job->last.id != NULL ? run_row_json(&job->last) : json_null());
	(void)json_object_set_new(root, "newest_backup",
	    job->newest.id != NULL ? backup_row_json(&job->newest) : json_null());
	(void)json_object_set_new(root, "backups_count", json_integer(job->backups_count));
	(void)json_object_set_new(root, "stored_bytes",
	    json_integer((json_int_t)job->stored_bytes));
	(void)json_object_set_new(root, "proved_level",
	    job->proved_level >= 0 ? json_integer(job->proved_level) : json_null());
	(void)json_object_set_new(root, "proved_at", out_json_time(job->proved_at));
	(void)json_object_set_new(root, "max_age_us", json_integer(job->max_age_us));
	(void)json_object_set_new(root, "next_run", out_json_time(job->next_run));
	(void)json_object_set_new(root, "continuous", json_boolean(job->is_continuous));
	(void)json_object_set_new(root, "window_from", out_json_time(job->window_from));
	(void)json_object_set_new(root, "window_to", out_json_time(job->window_to));
	(void)json_object_set_new(root, "abnormal", out_json_text(job->abnormal));
	(void)json_object_set_new(root, "next_command", out_json_text(job->next_command));

	return root;
}

static int
overview_json(const struct cli *cli, const struct overview *overview, struct err *err)
{
	json_t *root = json_object();
	json_t *jobs = json_array();

	for (size_t i = 0; i < overview->jobs.count; i++)
		(void)json_array_append_new(jobs, job_json(&overview->jobs.items[i]));
	(void)json_object_set_new(root, "site",
	    out_json_text(cli->wire.config != NULL ? cli->wire.config->site : NULL));
	(void)json_object_set_new(root, "store", out_json_text(cli->wire.engine.store->location));
	(void)json_object_set_new(root, "used_bytes",
	    json_integer((json_int_t)overview->space.used_bytes));
	(void)json_object_set_new(root, "capacity_bytes",
	    json_integer((json_int_t)overview->space.capacity_bytes));
	(void)json_object_set_new(root, "jobs", jobs);
	(void)json_object_set_new(root, "unproven_count", json_integer(overview->unproven_count));
	(void)json_object_set_new(root, "damaged_count", json_integer(overview->damaged_count));
	(void)json_object_set_new(root, "abnormal_count", json_integer(overview->abnormal_count));

	return out_json(root, "blackstart.status/1", err);
}

/* A job whose kind is its source's stream is asked what can be brought back along it. */
static int
find_streams(struct cli *cli, struct expectations *expected, struct err *err)
{
	for (size_t i = 0; i < expected->rows.count; i++) {
		struct overview_expectation *row = &expected->rows.items[i];
		const struct config_source *from = config_find_source(cli->wire.config,
		    row->source);
		struct source *source = wire_source_offline(&cli->wire, from->name, from->type,
		    err);

		if (source == NULL)
			return -1;
		if (source->ops->stream != NULL && str_equals(source->ops->stream->name, row->kind))
			row->stream = source;
	}

	return 0;
}

static int
cmd_status(struct cli *cli, struct err *err)
{
	SCOPED(overview_done) struct overview overview = { .abnormal_count = 0 };
	SCOPED(expectations_done) struct expectations expected = { .rows = { .count = 0 } };
	struct wall_time now = clock_wall();

	if (wire_open_store(&cli->wire, cli->args, WIRE_READ, err) < 0 ||
	    expectations_make(cli->wire.config, now, &expected, err) < 0 ||
	    find_streams(cli, &expected, err) < 0 ||
	    overview_make(&cli->wire.engine, expected.rows.items, expected.rows.count, now,
		&overview, err) < 0)
		return -1;
	if (cli->is_json && overview_json(cli, &overview, err) < 0)
		return -1;
	if (!cli->is_json)
		print_overview(cli, &overview);

	return overview.abnormal_count > 0 ? EXIT_WARNINGS : EXIT_OK;
}

const struct command_entry cmd_status_entries[] = {
	{ .verb = "status", .run = cmd_status },
	{ .verb = NULL },
};
