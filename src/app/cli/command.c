#include "app/cli/command.h"

#include <string.h>

#include "base/scope.h"
#include "schema/commands_table.h"

const struct command *
command_at(size_t index)
{
	return index < ARRAY_SIZE(command_table) ? &command_table[index] : NULL;
}

const struct command *
command_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(command_table); i++) {
		if (strcmp(command_table[i].name, name) == 0)
			return &command_table[i];
	}

	return NULL;
}

bool
command_is_in_group(const struct command *command, const char *group)
{
	size_t size = strlen(group);

	return strncmp(command->name, group, size) == 0 && command->name[size] == ' ';
}

bool
command_is_group(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(command_table); i++) {
		if (command_is_in_group(&command_table[i], word))
			return true;
	}

	return false;
}

static const struct command_option *
find_among(const struct command_option *options, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(options[i].name, name) == 0)
			return &options[i];
	}

	return NULL;
}

const struct command_option *
command_option_find(const struct command *command, const char *name)
{
	const struct command_option *option = NULL;

	if (command != NULL)
		option = find_among(command->options, command->options_count, name);
	if (option == NULL)
		option = find_among(global_option_table, ARRAY_SIZE(global_option_table), name);

	return option;
}

const struct command_option *
command_option_by_letter(char letter)
{
	for (size_t i = 0; i < ARRAY_SIZE(global_option_table) && letter != '\0'; i++) {
		if (global_option_table[i].letter == letter)
			return &global_option_table[i];
	}

	return NULL;
}

const struct command_option *
command_global_at(size_t index)
{
	return index < ARRAY_SIZE(global_option_table) ? &global_option_table[index] : NULL;
}

bool
command_option_exists(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(command_table); i++) {
		if (command_option_find(&command_table[i], name) != NULL)
			return true;
	}

	return false;
}

const char *
program_summary(void)
{
	return PROGRAM_SUMMARY;
}

const struct command_example *
program_example_at(size_t index)
{
	return index < ARRAY_SIZE(program_example_table) ? &program_example_table[index] : NULL;
}

const struct command_exit *
program_exit_at(size_t index)
{
	return index < ARRAY_SIZE(exit_table) ? &exit_table[index] : NULL;
}
