#include "app/cli/help.h"

#include <string.h>

#include "app/cli/args.h"
#include "app/cli/command.h"
#include "base/str.h"

enum {
	WIDTH = 80,
	SUMMARY_COLUMN = 18,
	DOC_COLUMN = 6,
};

/* Print `text` from `column` on, broken at blanks; the line stands at `column` already. */
static void
print_wrapped(const char *text, size_t column, FILE *to)
{
	size_t at = column;

	while (*text != '\0') {
		size_t size = strcspn(text, " ");

		if (at > column && at + 1 + size > WIDTH) {
			fprintf(to, "\n%*s", (int)column, "");
			at = column;
		} else if (at > column) {
			fputc(' ', to);
			at++;
		}
		fprintf(to, "%.*s", (int)size, text);
		at += size;
		text += size;
		text += strspn(text, " ");
	}
	fputc('\n', to);
}

/* "  blackstart list --store /backups", long ones continued with a backslash. */
static void
print_command_line(const char *run, FILE *to)
{
	size_t at = 2;

	fputs("  ", to);
	while (*run != '\0') {
		size_t size = strcspn(run, " ");

		if (at + 1 + size + 2 > WIDTH && at > 6) {
			fputs(" \\\n      ", to);
			at = 6;
		} else if (at > 2) {
			fputc(' ', to);
			at++;
		}
		fprintf(to, "%.*s", (int)size, run);
		at += size;
		run += size;
		run += strspn(run, " ");
	}
	fputc('\n', to);
}

static void
print_example(const struct command_example *example, FILE *to)
{
	print_command_line(example->run, to);
	fprintf(to, "%*s", DOC_COLUMN, "");
	print_wrapped(example->says, DOC_COLUMN, to);
}

static void
print_option(const struct command_option *option, FILE *to)
{
	SCOPED(str_done) struct str doc = STR_INIT;

	fputs("  ", to);
	if (option->letter != '\0')
		fprintf(to, "-%c, ", option->letter);
	fprintf(to, "--%s", option->name);
	if (option->placeholder != NULL)
		fprintf(to, " %s", option->placeholder);
	fprintf(to, "\n%*s", DOC_COLUMN, "");
	str_add(&doc, option->doc);
	if (option->fallback != NULL)
		str_addf(&doc, " (%s if not given)", option->fallback);
	print_wrapped(str_text(&doc), DOC_COLUMN, to);
}

static void
print_summary(const struct command *command, FILE *to)
{
	fprintf(to, "  %-*s", SUMMARY_COLUMN - 2, command->name);
	print_wrapped(command->summary, SUMMARY_COLUMN, to);
}

static void
print_global_options(FILE *to)
{
	fputs("\nOptions of every command:\n", to);
	for (size_t i = 0; command_global_at(i) != NULL; i++)
		print_option(command_global_at(i), to);
}

static void
print_usage(const struct command *command, FILE *to)
{
	fprintf(to, "usage: blackstart %s", command->name);
	for (size_t i = 0; i < command->words_count; i++) {
		const struct command_word *word = &command->words[i];

		fprintf(to, " %s%s%s%s", word->is_required ? "" : "[", word->name,
		    word->is_many ? "..." : "", word->is_required ? "" : "]");
	}
	fputs(" [options]\n\n", to);
}

static void
print_command(const struct command *command, FILE *to)
{
	print_usage(command, to);
	print_wrapped(command->summary, 0, to);
	fputs("\nExamples:\n", to);
	for (size_t i = 0; i < command->examples_count; i++)
		print_example(&command->examples[i], to);
	if (command->words_count > 0)
		fputc('\n', to);
	for (size_t i = 0; i < command->words_count; i++) {
		fprintf(to, "  %s\n%*s", command->words[i].name, DOC_COLUMN, "");
		print_wrapped(command->words[i].doc, DOC_COLUMN, to);
	}
	if (command->options_count > 0)
		fputs("\nOptions:\n", to);
	for (size_t i = 0; i < command->options_count; i++)
		print_option(&command->options[i], to);
	print_global_options(to);
}

static void
print_group(const char *group, FILE *to)
{
	fprintf(to, "usage: blackstart %s COMMAND [options]\n\n", group);
	for (size_t i = 0; command_at(i) != NULL; i++) {
		if (command_is_in_group(command_at(i), group))
			print_summary(command_at(i), to);
	}
	fprintf(to, "\n'blackstart %s COMMAND --help' shows examples and options.\n", group);
}

static void
print_overview(FILE *to)
{
	const char *group = "";

	fputs("blackstart: ", to);
	print_wrapped(program_summary(), 12, to);
	fputs("\nExamples:\n", to);
	for (size_t i = 0; program_example_at(i) != NULL; i++)
		print_example(program_example_at(i), to);
	for (size_t i = 0; command_at(i) != NULL; i++) {
		if (strcmp(group, command_at(i)->group) != 0) {
			group = command_at(i)->group;
			fprintf(to, "\n%s:\n", group);
		}
		print_summary(command_at(i), to);
	}
	print_global_options(to);
	fputs("\nExit codes:\n", to);
	for (size_t i = 0; program_exit_at(i) != NULL; i++)
		fprintf(to, "  %-4d %s\n", program_exit_at(i)->code, program_exit_at(i)->text);
	fputs("\n'blackstart VERB --help' shows examples and options of a command.\n", to);
}

void
help_print(const struct args *args, FILE *to)
{
	if (args->command != NULL)
		print_command(args->command, to);
	else if (args->group != NULL)
		print_group(args->group, to);
	else
		print_overview(to);
}
