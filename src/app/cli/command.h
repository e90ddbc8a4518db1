/* The commands, made from schema/commands.yaml: what args.c reads by and help.c prints. */
#ifndef APP_CLI_COMMAND_H
#define APP_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

enum option_type {
	OPTION_FLAG,
	OPTION_TEXT,
	OPTION_LABEL,
	OPTION_FILE,
	OPTION_DIR,
	OPTION_NUMBER,
	OPTION_SIZE,
	OPTION_CHOICE,
};

struct command_option {
	const char *name; /* without the dashes */
	char letter;      /* 0: none */
	enum option_type type;
	const char *placeholder; /* NULL: a flag */
	unsigned min;
	unsigned max;
	const char *const *choices; /* NULL-terminated */
	const char *fallback;       /* told in the help; the accessors do not know it */
	bool is_many;
	const char *doc;
};

struct command_word {
	const char *name;
	bool is_required;
	bool is_many;
	const char *doc;
	bool is_label; /* a source's or a job's name, not a path and no URL */
};

struct command_example {
	const char *run;
	const char *says;
};

struct command_exit {
	int code;
	const char *text;
};

enum command_needs {
	COMMAND_NEEDS_NOTHING,
	COMMAND_NEEDS_STORE, /* --store or a config file */
	COMMAND_NEEDS_CONFIG,
};

struct command {
	const char *name;  /* "backup", "config check" */
	const char *group; /* heading in the overview */
	const char *summary;
	enum command_needs needs;
	const struct command_example *examples;
	size_t examples_count;
	const struct command_word *words;
	size_t words_count;
	const struct command_option *options;
	size_t options_count;
};

/* All commands, in the order of the overview; NULL beyond the last. */
const struct command *command_at(size_t index);
const struct command *command_find(const char *name); /* or NULL */

/* Is `word` the first of a two-word command ("config"). */
bool command_is_group(const char *word);
bool command_is_in_group(const struct command *command, const char *group);

/* An option of the command (NULL: none) or of all; by name, or by letter when it has one. */
const struct command_option *command_option_find(const struct command *command, const char *name);
const struct command_option *command_option_by_letter(char letter);
const struct command_option *command_global_at(size_t index); /* NULL beyond the last */

/* Does any command have an option of this name. */
bool command_option_exists(const char *name);

const char *program_summary(void);
const struct command_example *program_example_at(size_t index); /* NULL beyond the last */
const struct command_exit *program_exit_at(size_t index);       /* NULL beyond the last */

#endif
