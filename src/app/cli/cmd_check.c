/* check: end-to-end tests of sources and store, each with what to type. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/cli/args.h"
#include "app/cli/cli.h"
#include "app/cli/out.h"
#include "app/url.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "config/config.h"
#include "source/source.h"
#include "store/store.h"

enum { NAGIOS_OK = 0, NAGIOS_WARNING = 1, NAGIOS_CRITICAL = 2 };

/* Items of one source, or of the store. */
struct checked {
	char *what;
	struct check_report report;
};

struct checks {
	struct cli *cli;
	VEC(struct checked) all;
};

static const char *const result_names[] = {
	[CHECK_OK] = "ok",
	[CHECK_NOTE] = "note",
	[CHECK_WARNING] = "warning",
	[CHECK_FAILED] = "FAILED",
};

static struct check_report *
add_subject(struct checks *checks, const char *what)
{
	struct checked *checked = vec_add(&checks->all);

	checked->what = xstrdup(what);

	return &checked->report;
}

static void
checks_done(struct checks *checks)
{
	for (size_t i = 0; i < checks->all.count; i++) {
		free(checks->all.items[i].what);
		check_report_done(&checks->all.items[i].report);
	}
	vec_done(&checks->all);
}

/* A source that cannot be tested at all is a failed item, so that the others are still tested. */
static void
check_source(struct checks *checks, struct source *source, const char *what,
    const struct err *open_err)
{
	struct check_report *report = add_subject(checks, what);
	struct err err = ERR_INIT;

	if (source != NULL && source->ops->check(source, report, &err) == 0)
		return;
	if (source == NULL)
		err = *open_err;
	check_report_add(report, CHECK_FAILED, "reachable", err.hint[0] != '\0' ? err.hint : NULL,
	    "%s", err.msg);
}

static void
check_space(const struct cli *cli, struct check_report *report)
{
	struct store_space space = { .capacity_bytes = 0 };
	struct err err = ERR_INIT;
	char available[32], capacity[32];
	unsigned percent, warn = 80, critical = 90;
	enum check_result result;

	if (store_space(cli->wire.engine.store, &space, &err) < 0) {
		check_report_add(report, CHECK_FAILED, "space", NULL, "%s", err.msg);
		return;
	}
	if (cli->wire.config != NULL) {
		warn = cli->wire.config->store.warn_percent;
		critical = cli->wire.config->store.critical_percent;
	}
	percent = space.capacity_bytes > 0
	    ? (unsigned)((double)space.used_bytes * 100 / (double)space.capacity_bytes)
	    : 0;
	result = percent >= critical ? CHECK_FAILED : percent >= warn ? CHECK_WARNING : CHECK_OK;
	check_report_add(report, result, "space", result == CHECK_OK ? NULL : "blackstart prune",
	    "%u%% used, %s free of %s", percent, format_bytes(space.available_bytes, available),
	    format_bytes(space.capacity_bytes, capacity));
}

/* Write, read back and remove a small object: what a backup will need. */
static void
check_round_trip(struct cli *cli, struct check_report *report)
{
	static const char name[] = ".blackstart/check/probe";
	SCOPED(str_done) struct str text = STR_INIT;
	struct err err = ERR_INIT;

	if (store_remove(cli->wire.engine.store, name, &err) < 0 ||
	    store_put_text(cli->wire.engine.store, name, "check", "probe\n", &err) < 0 ||
	    store_get_text(cli->wire.engine.store, name, 16, &text, &err) < 0 ||
	    store_remove(cli->wire.engine.store, name, &err) < 0) {
		check_report_add(report, CHECK_FAILED, "write",
		    err.hint[0] != '\0' ? err.hint : NULL, "%s", err.msg);
		return;
	}
	if (strcmp(str_text(&text), "probe\n") == 0)
		check_report_add(report, CHECK_OK, "write", NULL,
		    "an object was written, read back and removed");
	else
		check_report_add(report, CHECK_FAILED, "write", NULL,
		    "what was read back is not what was written");
}

static void
check_store(struct checks *checks)
{
	struct cli *cli = checks->cli;
	struct check_report *report = add_subject(checks, "store");
	struct err err = ERR_INIT;

	if (wire_open_store(&cli->wire, cli->args, WIRE_CREATE, &err) < 0) {
		check_report_add(report, CHECK_FAILED, "open",
		    err.hint[0] != '\0' ? err.hint : NULL, "%s", err.msg);
		return;
	}
	check_report_add(report, CHECK_OK, "open", NULL, "'%s' can be used",
	    cli->wire.engine.store->location);
	check_round_trip(cli, report);
	check_space(cli, report);
}

static int
check_everything(struct checks *checks, struct err *err)
{
	struct cli *cli = checks->cli;
	const char *word = args_word(cli->args, 0);

	if (word != NULL && url_is(word)) {
		struct source *source = wire_source_url(&cli->wire, cli->args, word,
		    url_source_name(word), NULL, err);

		if (source == NULL)
			return -1;
		check_source(checks, source, source->label, NULL);
		return 0;
	}
	if (word != NULL) {
		struct source *source = wire_source(&cli->wire, word, err);

		if (source == NULL)
			return -1;
		check_source(checks, source, word, NULL);
		return 0;
	}
	for (size_t i = 0; cli->wire.config != NULL && i < cli->wire.config->sources.count; i++) {
		const struct config_source *from = &cli->wire.config->sources.items[i];
		struct err open_err = ERR_INIT;

		if (from->is_supported)
			check_source(checks, wire_source(&cli->wire, from->name, &open_err),
			    from->name, &open_err);
	}
	check_store(checks);

	return 0;
}

static enum check_result
worst_of(const struct checks *checks)
{
	enum check_result worst = CHECK_OK;

	for (size_t i = 0; i < checks->all.count; i++) {
		enum check_result result = check_report_worst(&checks->all.items[i].report);

		worst = result > worst ? result : worst;
	}

	return worst;
}

static void
print_checks(const struct checks *checks)
{
	for (size_t i = 0; i < checks->all.count; i++) {
		const struct checked *checked = &checks->all.items[i];

		out_line("%s:", checked->what);
		for (size_t j = 0; j < checked->report.items.count; j++) {
			const struct check_item *item = &checked->report.items.items[j];

			out_line("  %-8s %-22s %s", result_names[item->result], item->name,
			    item->text);
			if (item->fix != NULL && item->result != CHECK_OK)
				out_line("  %-8s %-22s fix: %s", "", "", item->fix);
		}
	}
}

static int
checks_json(const struct checks *checks, struct err *err)
{
	json_t *root = json_object();
	json_t *array = json_array();

	for (size_t i = 0; i < checks->all.count; i++) {
		const struct checked *checked = &checks->all.items[i];

		for (size_t j = 0; j < checked->report.items.count; j++) {
			const struct check_item *item = &checked->report.items.items[j];
			json_t *object = json_object();
			static const char *const names[] = { "ok", "note", "warning", "failed" };

			(void)json_object_set_new(object, "subject", out_json_text(checked->what));
			(void)json_object_set_new(object, "name", out_json_text(item->name));
			(void)json_object_set_new(object, "result",
			    json_string(names[item->result]));
			(void)json_object_set_new(object, "text", out_json_text(item->text));
			(void)json_object_set_new(object, "fix", out_json_text(item->fix));
			(void)json_array_append_new(array, object);
		}
	}
	(void)json_object_set_new(root, "checks", array);

	return out_json(root, "blackstart.check/1", err);
}

/* One line: the worst item says what is wrong. */
static int
nagios(const struct checks *checks)
{
	static const char *const labels[] = { "OK", "OK", "WARNING", "CRITICAL" };
	enum check_result worst = worst_of(checks);
	size_t count = 0;

	for (size_t i = 0; i < checks->all.count; i++) {
		const struct checked *checked = &checks->all.items[i];

		for (size_t j = 0; j < checked->report.items.count; j++) {
			const struct check_item *item = &checked->report.items.items[j];

			if (item->result == worst && worst >= CHECK_WARNING) {
				out_line("BLACKSTART %s - %s %s: %s", labels[worst], checked->what,
				    item->name, item->text);
				return worst == CHECK_FAILED ? NAGIOS_CRITICAL : NAGIOS_WARNING;
			}
			count++;
		}
	}
	out_line("BLACKSTART OK - %zu checks passed", count);

	return NAGIOS_OK;
}

static int
print_sql(struct cli *cli, struct err *err)
{
	const char *word = args_word(cli->args, 0);
	const struct config *config = cli->wire.config;
	struct source *source;
	SCOPED(freep) char *sql = NULL;

	if (word == NULL && config != NULL && config->sources.count > 0)
		word = config->sources.items[0].name;
	if (word == NULL)
		return err_set(err, ERR_USAGE, "--sql needs the name of a source or a URL");
	source = url_is(word)
	    ? wire_source_url(&cli->wire, cli->args, word, url_source_name(word), NULL, err)
	    : wire_source(&cli->wire, word, err);
	if (source == NULL)
		return -1;
	sql = source->ops->setup_sql(source);
	(void)fputs(sql, stdout);

	return EXIT_OK;
}

/* The report is told; the first of what failed is the error. */
static int
fail(const struct checks *checks, struct err *err)
{
	const struct checked *subject = NULL;
	const struct check_item *first = NULL;
	size_t failed = 0, count = 0;

	for (size_t i = 0; i < checks->all.count; i++) {
		const struct checked *checked = &checks->all.items[i];

		for (size_t j = 0; j < checked->report.items.count; j++) {
			const struct check_item *item = &checked->report.items.items[j];

			count++;
			failed += item->result == CHECK_FAILED;
			if (item->result != CHECK_FAILED || first != NULL)
				continue;
			first = item;
			subject = checked;
		}
	}
	(void)err_set(err, ERR_PEER, "%zu of %zu checks failed%s %s: %s: %s", failed, count,
	    failed > 1 ? ", the first:" : ":", subject->what, first->name, first->text);

	return err_hint(err, "%s",
	    first->fix != NULL ? first->fix : "'blackstart check' tells what each found.");
}

static int
conclude(const struct checks *checks, struct err *err)
{
	enum check_result worst = worst_of(checks);

	if (args_flag(checks->cli->args, "nagios"))
		return nagios(checks);
	if (checks->cli->is_json) {
		if (checks_json(checks, err) < 0)
			return -1;
	} else {
		print_checks(checks);
	}
	checks->cli->has_answered = checks->cli->is_json;
	if (worst == CHECK_FAILED)
		return fail(checks, err);

	return worst == CHECK_WARNING ? EXIT_WARNINGS : EXIT_OK;
}

/* A URL needs neither config nor store, so the config is only read where it is wanted. */
static int
cmd_check(struct cli *cli, struct err *err)
{
	SCOPED(checks_done) struct checks checks = { .cli = cli };
	const char *word = args_word(cli->args, 0);
	bool is_url = word != NULL && url_is(word);

	if ((!is_url || args_text(cli->args, "config") != NULL) &&
	    wire_init(&cli->wire, cli->args, err) < 0)
		return -1;
	if (args_flag(cli->args, "sql"))
		return print_sql(cli, err);
	if (check_everything(&checks, err) < 0)
		return -1;

	return conclude(&checks, err);
}

const struct command_entry cmd_check_entries[] = {
	{ .verb = "check", .is_bare = true, .run = cmd_check },
	{ .verb = NULL },
};
