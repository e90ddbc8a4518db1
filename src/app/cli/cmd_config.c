/* config check, show, schema, init. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/cli/args.h"
#include "app/cli/cli.h"
#include "app/cli/out.h"
#include "app/config_open.h"
#include "app/config_show.h"
#include "app/expect.h"
#include "base/err.h"
#include "base/log.h"
#include "base/zone.h"
#include "config/config.h"

static const char *
config_path(const struct cli *cli)
{
	return args_text_or(cli->args, "config", CONFIG_DEFAULT_PATH);
}

/* ---- check ---------------------------------------------------------------------------------------- */

static json_t *
problems_json(const struct config_problems *problems)
{
	json_t *array = json_array();

	for (size_t i = 0; i < problems->items.count; i++) {
		const struct config_problem *problem = &problems->items.items[i];
		json_t *object = json_object();

		(void)json_object_set_new(object, "severity",
		    json_string(problem->is_warning ? "warning" : "error"));
		(void)json_object_set_new(object, "line", json_integer(problem->line));
		(void)json_object_set_new(object, "column", json_integer(problem->column));
		(void)json_object_set_new(object, "text", out_json_text(problem->text));
		(void)json_object_set_new(object, "hint", out_json_text(problem->hint));
		(void)json_array_append_new(array, object);
	}

	return array;
}

static void
print_problems(const struct config_problems *problems, const char *path)
{
	for (size_t i = 0; i < problems->items.count; i++) {
		const struct config_problem *problem = &problems->items.items[i];
		SCOPED(freep) char *text = config_problem_format(problem, path);

		out_line("%s", text);
		if (problem->hint != NULL)
			out_line("  hint: %s", problem->hint);
	}
}

static int
print_jobs(const struct config *config, struct err *err)
{
	SCOPED(expectations_done) struct expectations expected = { .rows = { .count = 0 } };

	if (expectations_make(config, clock_wall(), &expected, err) < 0)
		return -1;
	for (size_t i = 0; i < expected.rows.count; i++) {
		const struct overview_expectation *row = &expected.rows.items[i];
		char when[CLOCK_TEXT_SIZE];

		if (row->is_continuous) {
			out_line("job %s: %s of %s, all the time", row->job, row->kind,
			    row->source);
			continue;
		}
		out_line("job %s: %s of %s, next due %s", row->job, row->kind, row->source,
		    row->next_run.us != 0 ? zone_format(config->zone, row->next_run, when)
					  : "when somebody runs it");
	}

	return 0;
}

static int
cmd_config_check(struct cli *cli, struct err *err)
{
	SCOPED(config_problems_done) struct config_problems problems = { .errors_count = 0 };
	const char *path = config_path(cli);
	SCOPED(config_freep)
	struct config *config = config_open(path, clock_wall(), &problems, err);

	if (cli->is_json) {
		json_t *root = json_object();
		struct err unwritten = ERR_INIT;

		if (config == NULL && problems.errors_count == 0) {
			json_decref(root);
			return -1;
		}
		(void)json_object_set_new(root, "path", out_json_text(path));
		(void)json_object_set_new(root, "problems", problems_json(&problems));
		if (out_json(root, "blackstart.config_check/1", &unwritten) < 0) {
			*err = unwritten;
			return -1;
		}
		cli->has_answered = true;
		if (config == NULL)
			return -1;
		return problems.warnings_count > 0 ? EXIT_WARNINGS : EXIT_OK;
	}
	print_problems(&problems, path);
	if (config == NULL)
		return -1;
	if (print_jobs(config, err) < 0)
		return -1;
	if (problems.warnings_count > 0)
		out_line("%s: can be used, with %zu %s", path, problems.warnings_count,
		    problems.warnings_count == 1 ? "warning" : "warnings");
	else
		out_line("%s: nothing wrong", path);

	return problems.warnings_count > 0 ? EXIT_WARNINGS : EXIT_OK;
}

/* ---- show, schema, init ----------------------------------------------------------------------------- */

static int
cmd_config_show(struct cli *cli, struct err *err)
{
	bool is_effective = args_flag(cli->args, "effective");

	if (cli->wire.config == NULL) {
		(void)err_set(err, ERR_USAGE, "there is no configuration to show");
		return err_hint(err, "Name one with -c FILE.");
	}
	if (cli->is_json)
		return out_json(config_show_json(cli->wire.config, is_effective),
		    "blackstart.config/1", err);
	config_show_print(cli->wire.config, is_effective, stdout);

	return EXIT_OK;
}

static int
cmd_config_schema(struct cli *cli, struct err *err)
{
	(void)cli;
	(void)err;
	(void)fputs(config_schema_text(), stdout);

	return EXIT_OK;
}

static int
cmd_config_init(struct cli *cli, struct err *err)
{
	(void)cli;
	(void)err;
	(void)fputs(config_example_text(), stdout);

	return EXIT_OK;
}

const struct command_entry cmd_config_entries[] = {
	{ .verb = "config check", .is_bare = true, .run = cmd_config_check },
	{ .verb = "config show", .run = cmd_config_show },
	{ .verb = "config schema", .is_bare = true, .run = cmd_config_schema },
	{ .verb = "config init", .is_bare = true, .run = cmd_config_init },
	{ .verb = NULL },
};
