/* status: can we recover, and what needs a look. */
#include <stdio.h>

#include "app/cli/args.h"
#include "app/cli/cli.h"
#include "app/cli/out.h"
#include "app/expect.h"
#include "app/state_json.h"
#include "base/err.h"
#include "base/parse.h"
#include "base/str.h"
#include "config/config.h"
#include "engine/lane.h"
#include "engine/state.h"
#include "store/store.h"

/* "catching up, 1.2 GiB and 34 s behind", "waiting to reconnect for 3 min, next try in 5 s". */
static const char *
link_text(const struct link_state *link, char *text, size_t size)
{
	struct wall_time now = clock_wall();
	char first[CLOCK_TEXT_SIZE], second[CLOCK_TEXT_SIZE], bytes[32];

	clock_format_duration(now.us - link->since.us, first);
	switch (link->phase) {
	case LINK_UNKNOWN:
	case LINK_CONNECTING:
		(void)snprintf(text, size, "connecting for %s", first);
		break;
	case LINK_COPYING:
		(void)snprintf(text, size, "taking a full copy for %s", first);
		break;
	case LINK_CATCHING_UP:
		(void)snprintf(text, size, "catching up, %s and %s behind",
		    format_bytes(link->behind_bytes, bytes),
		    clock_format_duration(link->behind_us, second));
		break;
	case LINK_CONNECTED:
		(void)snprintf(text, size, "connected for %s", first);
		break;
	case LINK_WAITING:
		if (link->next_try.us > now.us)
			(void)snprintf(text, size, "waiting to reconnect for %s, next try in %s",
			    first, clock_format_duration(link->next_try.us - now.us, second));
		else
			(void)snprintf(text, size, "waiting to reconnect for %s, trying now",
			    first);
		break;
	}

	return text;
}

static const char *
last_text(const struct overview_job *job, char *text, size_t size)
{
	char ago[2 * CLOCK_TEXT_SIZE];

	if (job->link.told.us != 0)
		return link_text(&job->link.state, text, size);
	if (job->is_running && job->last.id != NULL && job->stream != NULL) {
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

/* "Can we recover?  Yes: 'postgresql' to ...": the first line, and the one that matters. */
static void
print_answer(const struct answer *answer)
{
	out_line("Can we recover?  %s: %s", answer_verdict_word(answer->verdict), answer->text);
	for (size_t i = 0; i < answer->sources.count && answer->sources.count > 1; i++) {
		const struct answer_source *source = &answer->sources.items[i];

		out_line("  %s%s: %s%s%s", source->why != NULL ? "! " : "  ", source->source,
		    source->text, source->why != NULL ? "; " : "",
		    source->why != NULL ? source->why : "");
	}
}

/* How old the newest state is that the job can bring back, and how old it may be. */
static const char *
last_good(const struct overview_job *job, char *text, size_t size)
{
	struct wall_time at = job->stream != NULL ? job->window_to : job->newest.consistent_at;
	char ago[2 * CLOCK_TEXT_SIZE], limit[CLOCK_TEXT_SIZE];

	if (at.us == 0)
		return "none";
	if (job->max_age_us == 0)
		(void)snprintf(text, size, "%s", out_ago(at, ago));
	else
		(void)snprintf(text, size, "%s, limit %s", out_ago(at, ago),
		    clock_format_duration(job->max_age_us, limit));

	return text;
}

/* The last due runs, the newest at the right; what went wrong is in capitals. */
static const char *
strip_text(const struct state_job *job, char *text)
{
	size_t size = 0;

	for (size_t i = 0; i < STATE_STRIP_CELLS; i++) {
		enum state_cell cell = job->cells[i];
		char letter = state_cell_letter(cell);
		bool is_loud = cell == STATE_CELL_FAILED || cell == STATE_CELL_MISSED;

		if (size > 0 || cell != STATE_CELL_NONE)
			text[size++] = is_loud ? (char)(letter - 'a' + 'A') : letter;
	}
	text[size] = '\0';

	return text;
}

static void
print_job(const struct cli *cli, const struct overview_job *job, const struct state_job *history,
    struct table *table)
{
	char last[128], good[192], ago[2 * CLOCK_TEXT_SIZE], size[32], next[CLOCK_TEXT_SIZE];
	char strip[STATE_STRIP_CELLS + 1];

	table_cell(table, "%s%s", job->abnormal != NULL ? "! " : "  ", job->job);
	table_cell(table, "%s", job->kind != NULL ? job->kind : "-");
	table_cell(table, "%s", last_text(job, last, sizeof(last)));
	table_cell(table, "%s", last_good(job, good, sizeof(good)));
	if (job->stream != NULL)
		table_cell(table, "-");
	else
		table_cell(table, "%u", job->backups_count);
	table_cell(table, "%s", format_bytes(job->stored_bytes, size));
	if (job->proved_level >= 0)
		table_cell(table, "L%d, %s", job->proved_level, out_ago(job->proved_at, ago));
	else
		table_cell(table, job->stream != NULL ? "-" : "no");
	table_cell(table, "%s",
	    job->is_continuous ? "all the time" : out_time(cli, job->next_run, next));
	table_cell(table, "%s", strip_text(history, strip));
}

static void
print_matrix(const struct cli *cli, const struct state *state)
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
		"LAST DUE RUNS",
		NULL,
	};
	SCOPED(table_freep) struct table *table = table_new(headers);

	for (size_t i = 0; i < state->overview.jobs.count; i++)
		print_job(cli, &state->overview.jobs.items[i], &state->jobs.items[i], table);
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
print_state(const struct cli *cli, const struct state *state)
{
	const struct overview *overview = &state->overview;
	char used[32], capacity[32];

	if (cli->wire.config != NULL)
		out_line("%s", cli->wire.config->site);
	print_answer(&state->answer);
	(void)putchar('\n');
	if (overview->jobs.count > 0)
		print_matrix(cli, state);
	out_line("store %s: %s used of %s", cli->wire.engine.store->location,
	    format_bytes(overview->space.used_bytes, used),
	    format_bytes(overview->space.capacity_bytes, capacity));
	print_abnormal(overview);
}

static int
cmd_status(struct cli *cli, struct err *err)
{
	SCOPED(state_done) struct state state = { .days_from = { .us = 0 } };
	SCOPED(state_keeper_freep) struct state_keeper *keeper = state_keeper_new();
	SCOPED(lanes_done) struct lanes lanes = { .items = { .count = 0 } };
	SCOPED(expectations_done) struct expectations expected = { .rows = { .count = 0 } };
	struct state_request request = { .now = clock_wall() };

	if (wire_open_store(&cli->wire, cli->args, WIRE_READ, err) < 0 ||
	    expectations_make(cli->wire.config, request.now, &expected, err) < 0 ||
	    expectations_find_streams(&expected, &cli->wire, &lanes, 0, err) < 0)
		return -1;
	request.expected = expected.rows.items;
	request.expected_count = expected.rows.count;
	if (state_make(keeper, &cli->wire.engine, &request, &state, err) < 0)
		return -1;
	if (cli->is_json &&
	    out_json(state_json(&state, cli->wire.engine.store->location,
			 cli->wire.config != NULL ? cli->wire.config->site : NULL),
		"blackstart.status/1", err) < 0)
		return -1;
	if (!cli->is_json)
		print_state(cli, &state);

	return state.overview.abnormal_count > 0 ? EXIT_WARNINGS : EXIT_OK;
}

const struct command_entry cmd_status_entries[] = {
	{ .verb = "status", .run = cmd_status },
	{ .verb = NULL },
};
