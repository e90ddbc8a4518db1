/* serve, next, maintenance: the schedule. */
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/cli/args.h"
#include "app/cli/cli.h"
#include "app/cli/out.h"
#include "app/daemon/daemon.h"
#include "app/timetable.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "catalog/catalog_audit.h"
#include "catalog/catalog_schedule.h"
#include "config/config.h"
#include "sched/calendar.h"
#include "store/store.h"

enum { NEXT_USUAL = 10 };
#define MAINTENANCE_USUAL_US (INT64_C(2) * 3600 * US_PER_S)
#define MAINTENANCE_MAX_US (INT64_C(7) * 24 * 3600 * US_PER_S)

static int
cmd_serve(struct cli *cli, struct err *err)
{
	struct store_space space;

	/* For the daemon: whatever comes of it, it must only come back. */
	if (args_flag(cli->args, "look"))
		return wire_open_store_alone(&cli->wire, cli->args, WIRE_READ, err) < 0 ||
			store_space(cli->wire.engine.store, &space, err) < 0
		    ? -1
		    : EXIT_OK;

	return daemon_serve(&cli->wire, cli->args, err) < 0 ? -1 : EXIT_OK;
}

/* ---- next ---------------------------------------------------------------------------------- */

/* The job that is due first behind where each one is. */
static const struct timetable_job *
pick(const struct timetable *table, const struct zone *zone, struct wall_time *at,
    struct wall_time *ret_due)
{
	const struct timetable_job *first = NULL;
	size_t which = 0;

	for (size_t i = 0; i < table->jobs.count; i++) {
		const struct timetable_job *job = &table->jobs.items[i];
		struct wall_time due;

		if (job->job.calendar == NULL || job->job.is_paused ||
		    !calendar_next(job->job.calendar, zone, at[i], &due) ||
		    (first != NULL && due.us >= ret_due->us))
			continue;
		first = job;
		which = i;
		*ret_due = due;
	}
	if (first != NULL)
		at[which] = *ret_due;

	return first;
}

static void
add_next(const struct cli *cli, const struct timetable_job *job, struct wall_time due,
    json_t *array, struct table *table)
{
	char at[CLOCK_TEXT_SIZE], in[2 * CLOCK_TEXT_SIZE];
	json_t *object = json_object();

	(void)json_object_set_new(object, "job", out_json_text(job->job.name));
	(void)json_object_set_new(object, "source", out_json_text(job->of->source));
	(void)json_object_set_new(object, "kind", out_json_text(job->of->kind));
	(void)json_object_set_new(object, "due", out_json_time(due));
	(void)json_array_append_new(array, object);
	table_cell(table, "%s", out_time(cli, due, at));
	table_cell(table, "%s", out_ago(due, in));
	table_cell(table, "%s", job->job.name);
	table_cell(table, "%s of %s", job->of->kind, job->of->source);
}

static int
show_next(struct cli *cli, const struct timetable *times, struct wall_time now, struct err *err)
{
	static const char *const headers[] = { "DUE", "", "JOB", "WHAT", NULL };
	SCOPED(table_freep) struct table *table = table_new(headers);
	SCOPED(freep) struct wall_time *at = xcalloc(times->jobs.count + 1, sizeof(*at));
	unsigned count = args_number(cli->args, "count", NEXT_USUAL);
	json_t *array = json_array();
	json_t *root;
	unsigned shown = 0;
	struct wall_time due;
	const struct timetable_job *job;

	for (size_t i = 0; i < times->jobs.count; i++)
		at[i] = now;
	while (shown < count && (job = pick(times, cli->wire.engine.zone, at, &due)) != NULL) {
		add_next(cli, job, due, array, table);
		shown++;
	}
	if (cli->is_json) {
		root = json_object();
		(void)json_object_set_new(root, "next", array);
		return out_json(root, "blackstart.next/1", err);
	}
	json_decref(array);
	if (shown == 0)
		out_line("no job has a time at which it is due");
	else
		table_print(table);

	return 0;
}

static int
cmd_next(struct cli *cli, struct err *err)
{
	SCOPED(schedule_rows_done) struct schedule_rows known = { .rows = { .count = 0 } };
	SCOPED(timetable_done) struct timetable times = { .jobs = { .count = 0 } };
	struct wall_time now = clock_wall();

	if (wire_open_catalog(&cli->wire, err) < 0 ||
	    catalog_schedule_list(cli->wire.engine.catalog, &known, err) < 0 ||
	    timetable_make(cli->wire.config, &known, now, &times, err) < 0 ||
	    show_next(cli, &times, now, err) < 0)
		return -1;

	return EXIT_OK;
}

/* ---- maintenance --------------------------------------------------------------------------- */

static int
show_maintenance(struct cli *cli, struct wall_time now, struct err *err)
{
	SCOPED(maintenance_row_done) struct maintenance_row row = { .who = NULL };
	char until[CLOCK_TEXT_SIZE];
	bool is_on;

	if (catalog_maintenance_get(cli->wire.engine.catalog, &row, err) < 0)
		return -1;
	is_on = row.until.us > now.us;
	if (cli->is_json) {
		json_t *root = json_object();

		(void)json_object_set_new(root, "is_on", json_boolean(is_on));
		(void)json_object_set_new(root, "from", out_json_time(row.from));
		(void)json_object_set_new(root, "until", out_json_time(row.until));
		(void)json_object_set_new(root, "who", out_json_text(row.who));
		(void)json_object_set_new(root, "why", out_json_text(row.why));
		return out_json(root, "blackstart.maintenance/1", err);
	}
	if (is_on)
		out_line("maintenance until %s, by %s: %s", out_time(cli, row.until, until),
		    row.who, row.why != NULL ? row.why : "-");
	else
		out_line("no maintenance");

	return 0;
}

static int
note_audit(struct cli *cli, const char *action, const char *detail, struct wall_time now,
    struct err *err)
{
	SCOPED(freep) char *who = xstrdup(cli_who());
	SCOPED(freep) char *what = xstrdup(action);
	SCOPED(freep) char *text = xstrdup(detail);
	const struct audit_row row = { .at = now, .who = who, .action = what, .detail = text };

	return catalog_audit_add(cli->wire.engine.catalog, &row, err);
}

static int
begin_maintenance(struct cli *cli, struct wall_time now, struct err *err)
{
	const char *lasts = args_text(cli->args, "for");
	SCOPED(freep) char *who = xstrdup(cli_who());
	SCOPED(freep) char *why = xstrdup(args_text(cli->args, "reason"));
	struct maintenance_row row = { .from = now, .who = who, .why = why };
	int64_t lasts_us = MAINTENANCE_USUAL_US;

	if (why == NULL || why[0] == '\0') {
		(void)err_set(err, ERR_USAGE, "--reason is missing");
		return err_hint(err, "Say why, for whoever comes next: --reason 'new switch'.");
	}
	if (lasts != NULL && parse_duration_us(lasts, &lasts_us, err) < 0)
		return err_wrap(err, "--for");
	if (lasts_us <= 0 || lasts_us > MAINTENANCE_MAX_US)
		return err_set(err, ERR_USAGE, "--for must be more than nothing and at most 7d");
	row.until.us = now.us + lasts_us;
	if (catalog_maintenance_end(cli->wire.engine.catalog, now, err) < 0 ||
	    catalog_maintenance_begin(cli->wire.engine.catalog, &row, err) < 0)
		return -1;

	return note_audit(cli, "maintenance on", why, now, err);
}

static int
cmd_maintenance(struct cli *cli, struct err *err)
{
	const char *word = args_word(cli->args, 0);
	struct wall_time now = clock_wall();

	if (wire_open_catalog(&cli->wire, err) < 0)
		return -1;
	if (str_equals(word, "on")) {
		if (begin_maintenance(cli, now, err) < 0)
			return -1;
	} else if (str_equals(word, "off")) {
		if (catalog_maintenance_end(cli->wire.engine.catalog, now, err) < 0 ||
		    note_audit(cli, "maintenance off", NULL, now, err) < 0)
			return -1;
	} else if (word != NULL) {
		(void)err_set(err, ERR_USAGE, "'%.40s' is neither on nor off", word);
		return err_hint(err, "Type 'blackstart maintenance on --for 2h --reason ...'.");
	}

	return show_maintenance(cli, now, err) < 0 ? -1 : EXIT_OK;
}

const struct command_entry cmd_serve_entries[] = {
	{ .verb = "serve", .run = cmd_serve },
	{ .verb = "next", .run = cmd_next },
	{ .verb = "maintenance", .run = cmd_maintenance },
	{ .verb = NULL },
};
