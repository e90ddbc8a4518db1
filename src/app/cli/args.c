#include "app/cli/args.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "app/cli/command.h"
#include "base/err.h"
#include "base/parse.h"
#include "base/str.h"
#include "repo/names.h"

enum { NAMES_MAX = 64, NAME_SIZE = 64 };

/* Where the reading of the command line stands. */
struct reading {
	int argc;
	char **argv;
	int next;
	bool is_ended; /* by "--": only words follow */
	bool wants_version;
	struct args args;
};

/* ---- errors ------------------------------------------------------------------------------- */

static int
hint_help(const struct reading *r, struct err *err)
{
	const char *verb = r->args.command != NULL ? r->args.command->name : r->args.group;

	if (verb == NULL)
		return err_hint(err, "'blackstart --help' shows what there is.");

	return err_hint(err, "'blackstart %s --help' shows examples and options.", verb);
}

static int
hint_nearest(const struct reading *r, const char *nearest, const char *prefix, struct err *err)
{
	char help[sizeof(err->hint)];

	(void)hint_help(r, err);
	if (nearest == NULL)
		return -1;
	memcpy(help, err->hint, sizeof(help));

	return err_hint(err, "Did you mean '%s%s'? %.200s", prefix, nearest, help);
}

static int
unknown_option(const struct reading *r, const char *name, size_t size, struct err *err)
{
	const struct command *command = r->args.command;
	const char *names[NAMES_MAX];
	char word[NAME_SIZE];
	size_t count = 0;

	for (size_t i = 0; command_global_at(i) != NULL && count < NAMES_MAX; i++)
		names[count++] = command_global_at(i)->name;
	for (size_t i = 0; command != NULL && i < command->options_count && count < NAMES_MAX; i++)
		names[count++] = command->options[i].name;
	(void)snprintf(word, sizeof(word), "%.*s", (int)size, name);
	(void)err_set(err, ERR_USAGE, "unknown option '--%s'%s%s%s", word,
	    command != NULL ? " of '" : "", command != NULL ? command->name : "",
	    command != NULL ? "'" : "");

	return hint_nearest(r, str_nearest(word, names, count), "--", err);
}

/* `group` NULL: a first word that is no verb; else a second word that the group does not have. */
static int
unknown_verb(const struct reading *r, const char *group, const char *word, struct err *err)
{
	const char *names[NAMES_MAX];
	char prefix[NAME_SIZE] = "";
	size_t count = 0;

	for (size_t i = 0; command_at(i) != NULL && count < NAMES_MAX; i++) {
		if (group == NULL)
			names[count++] = command_at(i)->name;
		else if (command_is_in_group(command_at(i), group))
			names[count++] = command_at(i)->name + strlen(group) + 1;
	}
	if (group != NULL)
		(void)snprintf(prefix, sizeof(prefix), "%s ", group);
	(void)err_set(err, ERR_USAGE, "there is no command '%s%.60s'", prefix, word);

	return hint_nearest(r, str_nearest(word, names, count), prefix, err);
}

/* ---- options ------------------------------------------------------------------------------ */

static int
check_choice(const struct command_option *option, const char *value, struct err *err)
{
	size_t count = 0;
	const char *nearest;

	for (; option->choices[count] != NULL; count++) {
		if (strcmp(option->choices[count], value) == 0)
			return 0;
	}
	nearest = str_nearest(value, option->choices, count);
	(void)err_set(err, ERR_USAGE, "'%.60s' is not one of %s", value, option->placeholder);
	if (nearest != NULL)
		return err_hint(err, "Did you mean '%s'?", nearest);

	return -1;
}

static int
refuse_label(const char *value, struct err *err)
{
	(void)err_set(err, ERR_USAGE, "'%.80s' is not a name", value);
	return err_hint(err,
	    "Use letters, digits, '_', '.' and '-', at most 63, with a letter or digit first.");
}

/* The value is what the option's type says, so that no accessor can fail later. */
static int
check_value(const struct reading *r, const struct command_option *option, const char *value,
    struct err *err)
{
	unsigned number;
	uint64_t bytes;
	int result = 0;

	if (value[0] == '\0')
		result = err_set(err, ERR_USAGE, "the value is empty");
	else if (option->type == OPTION_LABEL && !name_is_valid_label(value))
		result = refuse_label(value, err);
	else if (option->type == OPTION_NUMBER)
		result = parse_unsigned(value, option->min, option->max, &number, err);
	else if (option->type == OPTION_SIZE)
		result = parse_size_bytes(value, &bytes, err);
	else if (option->type == OPTION_CHOICE)
		result = check_choice(option, value, err);
	if (result == 0)
		return 0;
	(void)err_wrap(err, "--%s", option->name);
	if (err->hint[0] == '\0')
		return hint_help(r, err);

	return -1;
}

static bool
is_given(const struct args *args, const struct command_option *option)
{
	for (size_t i = 0; i < args->options.count; i++) {
		if (args->options.items[i].option == option)
			return true;
	}

	return false;
}

/* Take over an option; `value` NULL: it may be the next argument. */
static int
take_option(struct reading *r, const struct command_option *option, const char *value,
    struct err *err)
{
	struct args_option given = { .option = option };

	if (option->type == OPTION_FLAG && value != NULL) {
		(void)err_set(err, ERR_USAGE, "--%s takes no value", option->name);
		return hint_help(r, err);
	}
	if (option->type != OPTION_FLAG) {
		if (value == NULL && r->next < r->argc)
			value = r->argv[r->next++];
		if (value == NULL) {
			(void)err_set(err, ERR_USAGE, "--%s needs a value: %s", option->name,
			    option->placeholder);
			return hint_help(r, err);
		}
		if (!option->is_many && is_given(&r->args, option)) {
			(void)err_set(err, ERR_USAGE, "--%s is given twice", option->name);
			return hint_help(r, err);
		}
		if (check_value(r, option, value, err) < 0)
			return -1;
		given.value = value;
	}
	r->args.wants_help = r->args.wants_help || strcmp(option->name, "help") == 0;
	r->wants_version = r->wants_version || strcmp(option->name, "version") == 0;
	vec_push(&r->args.options, given);

	return 0;
}

/* "--name" or "--name=value" */
static int
read_long(struct reading *r, const char *text, struct err *err)
{
	size_t size = strcspn(text, "=");
	const struct command_option *option;
	char name[NAME_SIZE];

	if (size == 0 || size >= sizeof(name))
		return unknown_option(r, text, size, err);
	memcpy(name, text, size);
	name[size] = '\0';
	option = command_option_find(r->args.command, name);
	if (option == NULL)
		return unknown_option(r, text, size, err);

	return take_option(r, option, text[size] == '=' ? text + size + 1 : NULL, err);
}

/* "-vv", "-c FILE", "-cFILE" */
static int
read_letters(struct reading *r, const char *text, struct err *err)
{
	while (*text != '\0') {
		const struct command_option *option = command_option_by_letter(*text);
		const char *rest = text + 1;

		if (option == NULL) {
			(void)err_set(err, ERR_USAGE, "unknown option '-%c'", *text);
			return hint_help(r, err);
		}
		if (option->type != OPTION_FLAG)
			return take_option(r, option, *rest != '\0' ? rest : NULL, err);
		if (take_option(r, option, NULL, err) < 0)
			return -1;
		text = rest;
	}

	return 0;
}

/* ---- words -------------------------------------------------------------------------------- */

/* The first word, or the second one of a group, names the command. */
static int
read_verb(struct reading *r, const char *word, struct err *err)
{
	char name[NAME_SIZE];

	if (r->args.group == NULL && command_is_group(word)) {
		r->args.group = word;
		return 0;
	}
	(void)snprintf(name, sizeof(name), "%s%s%.40s", r->args.group != NULL ? r->args.group : "",
	    r->args.group != NULL ? " " : "", word);
	r->args.command = command_find(name);
	if (r->args.command == NULL)
		return unknown_verb(r, r->args.group, word, err);
	r->args.group = NULL;

	return 0;
}

static int
read_word(struct reading *r, const char *word, struct err *err)
{
	const struct command *command = r->args.command;

	if (command == NULL)
		return read_verb(r, word, err);
	if (r->args.positionals.count >= command->words_count &&
	    (command->words_count == 0 || !command->words[command->words_count - 1].is_many)) {
		(void)err_set(err, ERR_USAGE, "'%s' has no use for '%.80s'", command->name, word);
		return hint_help(r, err);
	}
	if (word[0] == '\0') {
		(void)err_set(err, ERR_USAGE, "%s is empty",
		    command->words[command->words_count - 1].name);
		return hint_help(r, err);
	}
	if (r->args.positionals.count < command->words_count &&
	    command->words[r->args.positionals.count].is_label && !name_is_valid_label(word)) {
		(void)refuse_label(word, err);
		return err_wrap(err, "%s", command->words[r->args.positionals.count].name);
	}
	vec_push(&r->args.positionals, word);

	return 0;
}

static int
read_argument(struct reading *r, struct err *err)
{
	const char *text = r->argv[r->next++];

	if (r->is_ended || text[0] != '-' || text[1] == '\0')
		return read_word(r, text, err);
	if (strcmp(text, "--") == 0) {
		r->is_ended = true;
		return 0;
	}

	return text[1] == '-' ? read_long(r, text + 2, err) : read_letters(r, text + 1, err);
}

/* `help config check` asks about the words behind it. */
static int
follow_help(struct reading *r, struct err *err)
{
	VEC(const char *) words = { .items = NULL };
	int result = 0;

	for (size_t i = 0; i < r->args.positionals.count; i++)
		vec_push(&words, r->args.positionals.items[i]);
	r->args.positionals.count = 0;
	r->args.command = NULL;
	r->args.wants_help = true;
	for (size_t i = 0; i < words.count && i < 2 && result == 0; i++) {
		if (r->args.command == NULL)
			result = read_verb(r, words.items[i], err);
	}
	vec_done(&words);

	return result;
}

static int
missing_second_word(const struct reading *r, struct err *err)
{
	SCOPED(str_done) struct str words = STR_INIT_MAX(200);
	size_t skip = strlen(r->args.group) + 1;

	for (size_t i = 0; command_at(i) != NULL; i++) {
		if (command_is_in_group(command_at(i), r->args.group))
			str_addf(&words, "%s%s", words.size > 0 ? ", " : "",
			    command_at(i)->name + skip);
	}
	(void)err_set(err, ERR_USAGE, "'%s' needs a second word: %s", r->args.group,
	    str_text(&words));

	return hint_help(r, err);
}

/* All words that must be there are there. */
static int
check_complete(const struct reading *r, struct err *err)
{
	const struct command *command = r->args.command;
	size_t given = r->args.positionals.count;

	if (command == NULL && r->args.group == NULL)
		return 0;
	if (command == NULL)
		return missing_second_word(r, err);
	if (given < command->words_count && command->words[given].is_required) {
		(void)err_set(err, ERR_USAGE, "'%s' needs %s", command->name,
		    command->words[given].name);
		return hint_help(r, err);
	}

	return 0;
}

static int
read_all(struct reading *r, struct err *err)
{
	while (r->next < r->argc) {
		if (read_argument(r, err) < 0)
			return -1;
	}
	if (r->wants_version && r->args.command == NULL) {
		r->args.command = command_find("version");
		r->args.group = NULL;
	}
	if (r->args.command != NULL && strcmp(r->args.command->name, "help") == 0)
		return follow_help(r, err);
	if (r->args.command == NULL && r->args.group == NULL)
		r->args.wants_help = true;
	if (r->args.wants_help)
		return 0;

	return check_complete(r, err);
}

int
args_parse(int argc, char **argv, struct args *ret_args, struct err *err)
{
	struct reading r = { .argc = argc, .argv = argv, .next = 1 };
	int result = read_all(&r, err);

	if (result < 0) {
		const struct command *command = r.args.command;
		const char *group = r.args.group;

		args_done(&r.args);
		r.args.command = command;
		r.args.group = group;
	}
	*ret_args = r.args;

	return result;
}

void
args_done(struct args *args)
{
	vec_done(&args->positionals);
	vec_done(&args->options);
	vec_done(&args->scratch);
	*args = (struct args){ .command = NULL };
}

/* ---- accessors ---------------------------------------------------------------------------- */

const char *
args_verb(const struct args *args)
{
	return args->command != NULL ? args->command->name : "";
}

const char *
args_word(const struct args *args, size_t index)
{
	return index < args->positionals.count ? args->positionals.items[index] : NULL;
}

size_t
args_words_count(const struct args *args)
{
	return args->positionals.count;
}

static bool
is_named(const struct args_option *given, const char *name)
{
	return strcmp(given->option->name, name) == 0;
}

const char *
args_text(const struct args *args, const char *name)
{
	assert(command_option_exists(name));
	for (size_t i = args->options.count; i > 0; i--) {
		if (is_named(&args->options.items[i - 1], name))
			return args->options.items[i - 1].value;
	}

	return NULL;
}

const char *
args_text_or(const struct args *args, const char *name, const char *fallback)
{
	const char *text = args_text(args, name);

	return text != NULL ? text : fallback;
}

unsigned
args_count(const struct args *args, const char *name)
{
	unsigned count = 0;

	assert(command_option_exists(name));
	for (size_t i = 0; i < args->options.count; i++)
		count += is_named(&args->options.items[i], name) ? 1 : 0;

	return count;
}

bool
args_flag(const struct args *args, const char *name)
{
	return args_count(args, name) > 0;
}

unsigned
args_number(const struct args *args, const char *name, unsigned fallback)
{
	const char *text = args_text(args, name);
	struct err err = ERR_INIT;
	unsigned number = fallback;
	bool is_read = text == NULL || parse_unsigned(text, 0, ~0u, &number, &err) == 0;

	assert(is_read); /* it was checked when it was given */

	return number;
}

uint64_t
args_size_bytes(const struct args *args, const char *name, uint64_t fallback)
{
	const char *text = args_text(args, name);
	struct err err = ERR_INIT;
	uint64_t bytes = fallback;
	bool is_read = text == NULL || parse_size_bytes(text, &bytes, &err) == 0;

	assert(is_read);

	return bytes;
}

const char *const *
args_list(struct args *args, const char *name, size_t *ret_count)
{
	assert(command_option_exists(name));
	args->scratch.count = 0;
	for (size_t i = 0; i < args->options.count; i++) {
		if (is_named(&args->options.items[i], name))
			vec_push(&args->scratch, args->options.items[i].value);
	}
	*ret_count = args->scratch.count;

	return args->scratch.items;
}
