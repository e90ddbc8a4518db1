/* Times of expiry in the commands of a replication stream. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/parse.h"
#include "base/str.h"
#include "base/vec.h"
#include "source/redis/replay/expiry.h"

enum { TIME_DIGITS_MAX = 19 };

/* One word of a command: a loan, or a text of ours. */
struct word {
	const char *data;
	size_t size;
	char own[TIME_DIGITS_MAX + 2];
};

struct command {
	VEC(struct word) words;
};

enum shape {
	TIME_SECOND, /* NAME key time ... */
	TIME_NAMED,  /* ... PXAT time ... or EXAT time ... */
	TIME_RESTORE,
};

static const struct rule {
	const char *name;
	enum shape shape;
	bool is_seconds;
	size_t from;         /* TIME_NAMED: the first word that can be PXAT or EXAT */
	const char *persist; /* TIME_SECOND: the command that takes the time away */
} rules[] = {
	{ "PEXPIREAT", TIME_SECOND, false, 0, "PERSIST" },
	{ "EXPIREAT", TIME_SECOND, true, 0, "PERSIST" },
	{ "HPEXPIREAT", TIME_SECOND, false, 0, "HPERSIST" },
	{ "HEXPIREAT", TIME_SECOND, true, 0, "HPERSIST" },
	{ "SET", TIME_NAMED, false, 3, NULL },
	{ "GETEX", TIME_NAMED, false, 2, NULL },
	{ "HSETEX", TIME_NAMED, false, 2, NULL },
	{ "HGETEX", TIME_NAMED, false, 2, NULL },
	{ "RESTORE", TIME_RESTORE, false, 0, NULL },
};

/* ---- words ------------------------------------------------------------------------------------ */

static int
read_number(const char **at, const char *end, char mark, uint64_t *ret_number, struct err *err)
{
	const char *from = *at + 1;
	const char *stop = *at < end ? memchr(*at, '\r', (size_t)(end - *at)) : NULL;
	char digits[TIME_DIGITS_MAX + 1];

	if (stop == NULL || **at != mark || (size_t)(stop - from) > TIME_DIGITS_MAX)
		return err_set(err, ERR_DATA, "a command is not whole");
	memcpy(digits, from, (size_t)(stop - from));
	digits[stop - from] = '\0';
	*at = stop + 2;

	return parse_u64(digits, 0, INT64_MAX, ret_number, err);
}

static int
split(const char *data, size_t size, struct command *command, struct err *err)
{
	const char *at = data;
	const char *end = data + size;
	uint64_t count;

	if (read_number(&at, end, '*', &count, err) < 0)
		return -1;
	for (uint64_t i = 0; i < count; i++) {
		uint64_t bytes;

		if (read_number(&at, end, '$', &bytes, err) < 0)
			return -1;
		if (at > end || bytes + 2 > (uint64_t)(end - at))
			return err_set(err, ERR_DATA, "a command is not whole");
		vec_push(&command->words, ((struct word){ .data = at, .size = (size_t)bytes }));
		at += bytes + 2;
	}

	return 0;
}

static bool
is_word(const struct word *word, const char *text)
{
	return word->size == strlen(text) && strncasecmp(word->data, text, word->size) == 0;
}

static void
set_text(struct word *word, const char *text)
{
	word->data = text;
	word->size = strlen(text);
}

static void
drop_words(struct command *command, size_t from, size_t count)
{
	memmove(command->words.items + from, command->words.items + from + count,
	    (command->words.count - from - count) * sizeof(struct word));
	command->words.count -= count;
}

static void
add_words(const struct command *command, struct str *to)
{
	str_addf(to, "*%zu\r\n", command->words.count);
	for (size_t i = 0; i < command->words.count; i++) {
		const struct word *word = &command->words.items[i];
		const char *data = word->own[0] != '\0' ? word->own : word->data;

		str_addf(to, "$%zu\r\n", word->size);
		str_add_bytes(to, data, word->size);
		str_add(to, "\r\n");
	}
}

/* ---- times -------------------------------------------------------------------------------------- */

static int
shift_word(struct word *word, bool is_seconds, int64_t shift_us, struct err *err)
{
	char digits[TIME_DIGITS_MAX + 1];
	uint64_t time;
	int64_t shifted;

	if (word->size == 0 || word->size > TIME_DIGITS_MAX)
		return err_set(err, ERR_DATA, "a command has a time that is none");
	memcpy(digits, word->data, word->size);
	digits[word->size] = '\0';
	if (parse_u64(digits, 0, INT64_MAX / 2, &time, err) < 0)
		return -1;
	shifted = (int64_t)time + shift_us / (is_seconds ? US_PER_S : US_PER_MS);
	(void)snprintf(word->own, sizeof(word->own), "%" PRId64, shifted > 0 ? shifted : 1);
	word->size = strlen(word->own);

	return 0;
}

/* HPEXPIREAT key time [NX|...] FIELDS ...: what stands between goes with the time. */
static void
persist_second(struct command *command, const struct rule *rule)
{
	size_t behind = 3;

	set_text(&command->words.items[0], rule->persist);
	if (rule->persist[0] == 'H') {
		while (behind < command->words.count &&
		    !is_word(&command->words.items[behind], "FIELDS"))
			behind++;
		drop_words(command, 2, behind - 2);
		return;
	}
	drop_words(command, 2, command->words.count - 2);
}

static int
change_named(struct command *command, const struct rule *rule, const struct expiry_policy *policy,
    uint64_t *changed, struct err *err)
{
	for (size_t i = rule->from; i + 1 < command->words.count; i++) {
		struct word *word = &command->words.items[i];
		bool is_seconds = is_word(word, "EXAT");

		if (is_word(word, "FIELDS"))
			return 0;
		if (!is_seconds && !is_word(word, "PXAT"))
			continue;
		(*changed)++;
		if (policy->ttl == RESTORE_TTL_SHIFT)
			return shift_word(word + 1, is_seconds, policy->shift_us, err);
		if (str_equals(rule->name, "GETEX")) {
			set_text(word, "PERSIST");
			drop_words(command, i + 1, 1);
		} else {
			drop_words(command, i, 2);
		}
		return 0;
	}

	return 0;
}

/* RESTORE key ttl payload ... ABSTTL: a ttl of 0 is none. */
static int
change_restore(struct command *command, const struct expiry_policy *policy, uint64_t *changed,
    struct err *err)
{
	struct word *ttl = &command->words.items[2];
	bool is_absolute = false;

	for (size_t i = 4; i < command->words.count; i++)
		is_absolute = is_absolute || is_word(&command->words.items[i], "ABSTTL");
	if (!is_absolute || is_word(ttl, "0"))
		return 0;
	(*changed)++;
	if (policy->ttl == RESTORE_TTL_SHIFT)
		return shift_word(ttl, false, policy->shift_us, err);
	set_text(ttl, "0");

	return 0;
}

static int
change(struct command *command, const struct rule *rule, const struct expiry_policy *policy,
    uint64_t *changed, struct err *err)
{
	if (command->words.count < 3)
		return 0;
	switch (rule->shape) {
	case TIME_NAMED:
		return change_named(command, rule, policy, changed, err);
	case TIME_RESTORE:
		return change_restore(command, policy, changed, err);
	case TIME_SECOND:
		break;
	}
	(*changed)++;
	if (policy->ttl == RESTORE_TTL_SHIFT)
		return shift_word(&command->words.items[2], rule->is_seconds, policy->shift_us,
		    err);
	persist_second(command, rule);

	return 0;
}

static const struct rule *
find_rule(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		if (str_equals(rules[i].name, name))
			return &rules[i];
	}

	return NULL;
}

int
expiry_add_command(const struct expiry_policy *policy, const char *name, const void *data,
    size_t size, struct str *to, uint64_t *changed, struct err *err)
{
	const struct rule *rule = policy->ttl == RESTORE_TTL_KEEP ? NULL : find_rule(name);
	struct command command = { .words = { .count = 0 } };
	int result;

	if (rule == NULL) {
		str_add_bytes(to, data, size);
		return 0;
	}
	result = split(data, size, &command, err);
	if (result == 0)
		result = change(&command, rule, policy, changed, err);
	if (result == 0)
		add_words(&command, to);
	vec_done(&command.words);

	return result;
}
