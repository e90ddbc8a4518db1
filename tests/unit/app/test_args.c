#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/cli/args.h"
#include "app/cli/command.h"
#include "app/cli/help.h"
#include "base/err.h"
#include "base/mem.h"

enum { WORDS_MAX = 32 };

/* A command line as a shell without quotes would split it. */
struct line {
	char *text;
	char *argv[WORDS_MAX];
	int argc;
};

static void
line_split(struct line *line, const char *text)
{
	char *rest = NULL;

	line->text = xasprintf("blackstart %s", text);
	line->argc = 0;
	for (char *word = strtok_r(line->text, " ", &rest); word != NULL;
	     word = strtok_r(NULL, " ", &rest))
		line->argv[line->argc++] = word;
	line->argv[line->argc] = NULL;
}

static void
parse(struct line *line, const char *text, struct args *args)
{
	struct err err = ERR_INIT;

	line_split(line, text);
	if (args_parse(line->argc, line->argv, args, &err) < 0)
		fail_msg("'%s': %s", text, err.msg);
}

static void
done(struct line *line, struct args *args)
{
	args_done(args);
	free(line->text);
}

static void
assert_refused(const char *text, const char *message, const char *hint)
{
	struct line line;
	struct args args;
	struct err err = ERR_INIT;

	line_split(&line, text);
	if (args_parse(line.argc, line.argv, &args, &err) == 0)
		fail_msg("'%s' was accepted", text);
	assert_int_equal(err.kind, ERR_USAGE);
	assert_string_equal(err.msg, message);
	assert_string_equal(err.hint, hint);
	done(&line, &args);
}

static void
test_options_in_every_form(void **state)
{
	static const char *const texts[] = {
		"backup postgres://u@h/db --store /b --kind base --rate 50MiB --parallel 4 -vv",
		"-v --store=/b backup --kind=base postgres://u@h/db --rate=50MiB -v --parallel=4",
		"--store /b -v -v backup --kind base --rate 50MiB --parallel 4 -- postgres://u@h/db",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct line line;
		struct args args;

		parse(&line, texts[i], &args);
		assert_string_equal(args_verb(&args), "backup");
		assert_false(args.wants_help);
		assert_int_equal(args_words_count(&args), 1);
		assert_string_equal(args_word(&args, 0), "postgres://u@h/db");
		assert_null(args_word(&args, 1));
		assert_string_equal(args_text(&args, "store"), "/b");
		assert_string_equal(args_text(&args, "kind"), "base");
		assert_string_equal(args_text_or(&args, "name", "postgresql"), "postgresql");
		assert_null(args_text(&args, "password-file"));
		assert_int_equal(args_size_bytes(&args, "rate", 0), 50 * 1024 * 1024);
		assert_int_equal(args_number(&args, "parallel", 1), 4);
		assert_int_equal(args_number(&args, "limit", 7), 7);
		assert_int_equal(args_count(&args, "verbose"), 2);
		assert_true(args_flag(&args, "verbose"));
		assert_false(args_flag(&args, "json"));
		done(&line, &args);
	}
}

static void
test_short_options(void **state)
{
	struct line line;
	struct args args;

	(void)state;
	parse(&line, "list -qc /etc/x.yaml -n", &args);
	assert_string_equal(args_text(&args, "config"), "/etc/x.yaml");
	assert_true(args_flag(&args, "quiet"));
	assert_true(args_flag(&args, "dry-run"));
	done(&line, &args);
	parse(&line, "list -c/etc/x.yaml", &args);
	assert_string_equal(args_text(&args, "config"), "/etc/x.yaml");
	done(&line, &args);
}

static void
test_verbs_of_two_words(void **state)
{
	struct line line;
	struct args args;

	(void)state;
	parse(&line, "config --json check", &args);
	assert_string_equal(args_verb(&args), "config check");
	assert_int_equal(args.command->needs, COMMAND_NEEDS_CONFIG);
	done(&line, &args);
	parse(&line, "plan restore postgresql --as x --globals", &args);
	assert_string_equal(args_verb(&args), "plan restore");
	assert_string_equal(args_text(&args, "as"), "x");
	assert_true(args_flag(&args, "globals"));
	done(&line, &args);
}

static void
test_words_and_lists(void **state)
{
	struct line line;
	struct args args;
	const char *const *list;
	size_t count;

	(void)state;
	parse(&line, "run a b c", &args);
	assert_int_equal(args_words_count(&args), 3);
	assert_string_equal(args_word(&args, 2), "c");
	done(&line, &args);

	parse(&line, "verify latest --smoke x --level 0 --smoke=-y", &args);
	list = args_list(&args, "smoke", &count);
	assert_int_equal(count, 2);
	assert_string_equal(list[0], "x");
	assert_string_equal(list[1], "-y");
	assert_int_equal(args_number(&args, "level", 9), 0);
	done(&line, &args);

	parse(&line, "show -- --json", &args);
	assert_string_equal(args_word(&args, 0), "--json");
	assert_false(args_flag(&args, "json"));
	done(&line, &args);

	parse(&line, "show -", &args);
	assert_string_equal(args_word(&args, 0), "-");
	done(&line, &args);

	/* The same name is a flag for one command and has a value for another. */
	parse(&line, "prune --confirm", &args);
	assert_true(args_flag(&args, "confirm"));
	done(&line, &args);
	parse(&line, "promote x --confirm=live", &args);
	assert_string_equal(args_text(&args, "confirm"), "live");
	done(&line, &args);
}

static void
test_help_and_version(void **state)
{
	static const struct {
		const char *text, *verb, *group;
	} rows[] = {
		{ "", "", NULL },
		{ "--help", "", NULL },
		{ "help", "", NULL },
		{ "-q", "", NULL },
		{ "help restore", "restore", NULL },
		{ "restore --help", "restore", NULL },
		{ "run -h", "run", NULL },
		{ "config --help", "", "config" },
		{ "help config", "", "config" },
		{ "help config check", "config check", NULL },
		{ "--help config check", "config check", NULL },
	};
	struct line line;
	struct args args;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		parse(&line, rows[i].text, &args);
		assert_true(args.wants_help);
		assert_string_equal(args_verb(&args), rows[i].verb);
		if (rows[i].group == NULL)
			assert_null(args.group);
		else
			assert_string_equal(args.group, rows[i].group);
		done(&line, &args);
	}
	parse(&line, "--version", &args);
	assert_string_equal(args_verb(&args), "version");
	assert_false(args.wants_help);
	done(&line, &args);
}

static void
test_mistakes(void **state)
{
	(void)state;
	assert_refused("bakup x", "there is no command 'bakup'",
	    "Did you mean 'backup'? 'blackstart --help' shows what there is.");
	assert_refused("frobnicate", "there is no command 'frobnicate'",
	    "'blackstart --help' shows what there is.");
	assert_refused("config chek", "there is no command 'config chek'",
	    "Did you mean 'config check'? 'blackstart config --help' shows examples and options.");
	assert_refused("config", "'config' needs a second word: check, show, schema, init",
	    "'blackstart config --help' shows examples and options.");
	assert_refused("help frob", "there is no command 'frob'",
	    "'blackstart --help' shows what there is.");
	assert_refused("list --stor /x", "unknown option '--stor' of 'list'",
	    "Did you mean '--store'? 'blackstart list --help' shows examples and options.");
	/* No abbreviation, not even one that could mean only one thing. */
	assert_refused("backup u --store /x --para 3", "unknown option '--para' of 'backup'",
	    "'blackstart backup --help' shows examples and options.");
	assert_refused("--wat list", "unknown option '--wat'",
	    "'blackstart --help' shows what there is.");
	assert_refused("list -z", "unknown option '-z'",
	    "'blackstart list --help' shows examples and options.");
	assert_refused("list --level 3", "unknown option '--level' of 'list'",
	    "'blackstart list --help' shows examples and options.");
	assert_refused("list --=x", "unknown option '--' of 'list'",
	    "'blackstart list --help' shows examples and options.");
	assert_refused("run", "'run' needs JOB",
	    "'blackstart run --help' shows examples and options.");
	assert_refused("show a b", "'show' has no use for 'b'",
	    "'blackstart show --help' shows examples and options.");
	assert_refused("status x", "'status' has no use for 'x'",
	    "'blackstart status --help' shows examples and options.");
	assert_refused("list --store", "--store needs a value: DIR",
	    "'blackstart list --help' shows examples and options.");
	assert_refused("list --store=", "--store: the value is empty",
	    "'blackstart list --help' shows examples and options.");
	assert_refused("list --store a --store b", "--store is given twice",
	    "'blackstart list --help' shows examples and options.");
	assert_refused("list --json=yes", "--json takes no value",
	    "'blackstart list --help' shows examples and options.");
	assert_refused("verify --level 7", "--level: 7 is not in the range 0 to 4",
	    "'blackstart verify --help' shows examples and options.");
	assert_refused("verify --level 3x", "--level: '3x' is not a whole number",
	    "'blackstart verify --help' shows examples and options.");
	assert_refused("backup u --kind dmp", "--kind: 'dmp' is not one of dump|base|rdb|aof",
	    "Did you mean 'dump'?");
	assert_refused("backup u --name ../etc", "--name: '../etc' is not a name",
	    "Use letters, digits, '_', '.' and '-', at most 63, with a letter or digit first.");
	assert_refused("source adopt ../etc --store a", "NAME: '../etc' is not a name",
	    "Use letters, digits, '_', '.' and '-', at most 63, with a letter or digit first.");
	assert_refused("source adopt postgres://u@h/d --store a",
	    "NAME: 'postgres://u@h/d' is not a name",
	    "Use letters, digits, '_', '.' and '-', at most 63, with a letter or digit first.");
	assert_refused("backup u --rate fast", "--rate: 'fast' is not a size",
	    "'blackstart backup --help' shows examples and options.");
}

/* After a mistake the caller can still show the right help. */
static void
test_the_command_of_a_mistake_is_known(void **state)
{
	struct line line;
	struct args args;
	struct err err = ERR_INIT;

	(void)state;
	line_split(&line, "verify a b c --json");
	assert_int_equal(args_parse(line.argc, line.argv, &args, &err), -1);
	assert_string_equal(args_verb(&args), "verify");
	assert_int_equal(args_words_count(&args), 0);
	done(&line, &args);
}

static void
test_an_empty_word(void **state)
{
	char program[] = "blackstart", verb[] = "show", word[] = "";
	char *argv[] = { program, verb, word, NULL };
	struct args args;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(args_parse(3, argv, &args, &err), -1);
	assert_string_equal(err.msg, "ID is empty");
	args_done(&args);
}

static void
check_help(const char *text, const char *first)
{
	struct line line;
	struct args args;
	char *shown = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&shown, &size);

	parse(&line, text, &args);
	help_print(&args, to);
	(void)fclose(to);
	assert_non_null(strstr(shown, first));
	for (const char *at = shown; *at != '\0'; at += strcspn(at, "\n") + 1) {
		if (strcspn(at, "\n") > 80)
			fail_msg("'%s': longer than 80 columns: %.*s", text, (int)strcspn(at, "\n"),
			    at);
		assert_int_not_equal(at[strcspn(at, "\n") - (at[0] == '\n' ? 0 : 1)], ' ');
	}
	free(shown);
	done(&line, &args);
}

static void
test_every_help_fits(void **state)
{
	(void)state;
	check_help("", "Examples:");
	check_help("config --help", "config check");
	for (size_t i = 0; command_at(i) != NULL; i++) {
		char text[64];

		(void)snprintf(text, sizeof(text), "help %s", command_at(i)->name);
		check_help(text, "Examples:");
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options_in_every_form),
		cmocka_unit_test(test_short_options),
		cmocka_unit_test(test_verbs_of_two_words),
		cmocka_unit_test(test_words_and_lists),
		cmocka_unit_test(test_help_and_version),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_the_command_of_a_mistake_is_known),
		cmocka_unit_test(test_an_empty_word),
		cmocka_unit_test(test_every_help_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
