/*
 * The command line, read against the tables made from schema/commands.yaml.  Values are checked
 * here (numbers, sizes, choices), so the accessors cannot fail.  Nothing is carried out here.
 */
#ifndef APP_CLI_ARGS_H
#define APP_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"
#include "base/vec.h"

struct command;
struct command_option;
struct err;

struct args_option {
	const struct command_option *option;
	const char *value; /* a loan from argv; NULL for a flag */
};

struct args {
	const struct command *command; /* NULL: no verb was given */
	const char *group;             /* "config" when only the first word of a verb was given */
	bool wants_help; /* --help, `help VERB`, or no verb: call help_print, exit 0 */
	VEC(const char *) positionals; /* after the verb; loans */
	VEC(struct args_option) options;
	VEC(const char *) scratch; /* last answer of args_list */
};

/*
 * Read the command line.  ERR_USAGE with a hint that names `blackstart VERB --help`; on failure
 * *ret_args holds nothing, but its command or group is set as far as it was understood.
 * --version becomes the verb `version`.  `ret_args` keeps loans from argv.
 */
int args_parse(int argc, char **argv, struct args *ret_args, struct err *err) MUST_CHECK;
void args_done(struct args *args);

/* "backup", "config check"; "" when there is none. */
const char *args_verb(const struct args *args);

/* The words that name things, from 0; NULL beyond the last. */
const char *args_word(const struct args *args, size_t index);
size_t args_words_count(const struct args *args);

/* Options by long name without dashes.  A name no command has is a bug and aborts. */
const char *args_text(const struct args *args, const char *name); /* NULL: not given */
const char *args_text_or(const struct args *args, const char *name, const char *fallback);
bool args_flag(const struct args *args, const char *name);
unsigned args_count(const struct args *args, const char *name); /* how often: -vv is 2 */
unsigned args_number(const struct args *args, const char *name, unsigned fallback);
uint64_t args_size_bytes(const struct args *args, const char *name, uint64_t fallback);

/* All values of a repeatable option, in order; a loan until the next call. */
const char *const *args_list(struct args *args, const char *name, size_t *ret_count);

#endif
