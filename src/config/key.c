#include "config/key_internal.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "config/config.h"

enum { LABEL_MAX = 63 };
#define DURATION_MAX_US (INT64_C(200) * 366 * 86400 * US_PER_S)

bool
label_is_valid(const char *text)
{
	size_t size = strlen(text);

	if (size == 0 || size > LABEL_MAX || !isalnum((unsigned char)text[0]))
		return false;
	for (size_t i = 1; i < size; i++) {
		if (!isalnum((unsigned char)text[i]) && strchr("_.-", text[i]) == NULL)
			return false;
	}

	return true;
}

static int
set_text(const struct key *key, const char *text, void *member, struct err *err)
{
	if (text[0] == '\0')
		return err_set(err, ERR_CONFIG, "must not be empty");
	if (key->type == KEY_LABEL && !label_is_valid(text)) {
		(void)err_set(err, ERR_CONFIG, "'%.80s' is not a name", text);
		return err_hint(err,
		    "Use letters, digits, '_', '.' and '-', at most 63, with a letter or digit first.");
	}
	if (key->type == KEY_ABSOLUTE && text[0] != '/')
		return err_set(err, ERR_CONFIG, "'%.120s' must be a path from the root ('/...')",
		    text);
	*(char **)member = xstrdup(text);

	return 0;
}

static size_t
words_count(const char *const *words)
{
	size_t count = 0;

	while (words != NULL && words[count] != NULL)
		count++;

	return count;
}

static bool
is_among(const char *const *words, const char *text)
{
	for (size_t i = 0; i < words_count(words); i++) {
		if (strcmp(words[i], text) == 0)
			return true;
	}

	return false;
}

bool
key_is_later(const struct key *key, const char *text)
{
	return is_among(key->later, text);
}

static int
set_choice(const struct key *key, const char *text, void *member, struct err *err)
{
	SCOPED(str_done) struct str known = STR_INIT_MAX(240);
	const char *nearest;

	if (is_among(key->choices, text) || key_is_later(key, text)) {
		*(char **)member = xstrdup(text);
		return 0;
	}
	nearest = str_nearest(text, key->choices, words_count(key->choices));
	(void)err_set(err, ERR_CONFIG, "'%.80s' is not known here", text);
	if (nearest != NULL)
		return err_hint(err, "Did you mean '%s'?", nearest);
	for (size_t i = 0; i < words_count(key->choices); i++)
		str_addf(&known, "%s%s", i > 0 ? ", " : "", key->choices[i]);

	return err_hint(err, "Write one of: %s.", str_text(&known));
}

static int
set_number(const struct key *key, const char *text, void *member, struct err *err)
{
	return parse_unsigned(text, (unsigned)key->min, (unsigned)key->max, member, err);
}

static int
set_percent(const struct key *key, const char *text, void *member, struct err *err)
{
	(void)key;
	return parse_percent(text, member, err);
}

static int
set_size(const struct key *key, const char *text, void *member, struct err *err)
{
	char smallest[32];
	uint64_t bytes;

	if (parse_size_bytes(text, &bytes, err) < 0)
		return -1;
	if (bytes < key->min)
		return err_set(err, ERR_CONFIG, "'%.60s' is too small, the least is %s", text,
		    format_bytes(key->min, smallest));
	*(uint64_t *)member = bytes;

	return 0;
}

static int
set_duration(const struct key *key, const char *text, void *member, struct err *err)
{
	char shortest[CLOCK_TEXT_SIZE];
	int64_t us;

	if (parse_duration_us(text, &us, err) < 0)
		return -1;
	if (us < (int64_t)key->min)
		return err_set(err, ERR_CONFIG, "'%.60s' is too short, the least is %s", text,
		    clock_format_duration((int64_t)key->min, shortest));
	if (us > DURATION_MAX_US)
		return err_set(err, ERR_CONFIG, "'%.60s' is too long", text);
	*(int64_t *)member = us;

	return 0;
}

static int
set_bool(const struct key *key, const char *text, void *member, struct err *err)
{
	(void)key;
	return parse_bool(text, member, err);
}

static int
set_level(const struct key *key, const char *text, void *member, struct err *err)
{
	unsigned level;

	if (strcmp(text, "auto") == 0) {
		*(int *)member = -1;
		return 0;
	}
	if (parse_unsigned(text, (unsigned)key->min, (unsigned)key->max, &level, err) < 0)
		return -1;
	*(int *)member = (int)level;

	return 0;
}

/* One more item of a list. */
static int
add_to_list(const struct key *key, const char *text, void *member, struct err *err)
{
	struct config_list *list = member;

	if (text[0] == '\0')
		return err_set(err, ERR_CONFIG, "must not be empty");
	if (key->type == KEY_FOLDERS && text[0] != '/')
		return err_set(err, ERR_CONFIG, "'%.120s' must be a path from the root ('/...')",
		    text);
	list->items = xrealloc(list->items, (list->count + 2) * sizeof(*list->items));
	list->items[list->count++] = xstrdup(text);
	list->items[list->count] = NULL;

	return 0;
}

static int
set_keep(const struct key *key, const char *text, void *member, struct err *err)
{
	struct config_keep *keep = member;

	if (strcmp(text, "unlimited") == 0) {
		keep->is_unlimited = true;
		return 0;
	}
	if (set_duration(key, text, &keep->keep_us, err) < 0)
		return err_hint(err,
		    "Write a duration like 30d, or unlimited, or counts like { daily: 30, weekly: 12 }.");

	return 0;
}

static int (*const setters[])(const struct key *, const char *, void *, struct err *) = {
	[KEY_TEXT] = set_text,
	[KEY_LABEL] = set_text,
	[KEY_PATH] = set_text,
	[KEY_ABSOLUTE] = set_text,
	[KEY_ZONE] = set_text,
	[KEY_CHOICE] = set_choice,
	[KEY_NUMBER] = set_number,
	[KEY_PERCENT] = set_percent,
	[KEY_SIZE] = set_size,
	[KEY_DURATION] = set_duration,
	[KEY_BOOL] = set_bool,
	[KEY_LEVEL] = set_level,
	[KEY_LIST] = add_to_list,
	[KEY_FOLDERS] = add_to_list,
	[KEY_KEEP] = set_keep,
};

void *
key_member(const struct key *key, void *object)
{
	return (char *)object + key->offset;
}

int
key_set(const struct key *key, const char *text, void *object, struct err *err)
{
	assert(key->type < ARRAY_SIZE(setters));
	if (key->zero != NULL && strcmp(text, key->zero) == 0)
		return 0; /* it is zero already */

	return setters[key->type](key, text, key_member(key, object), err);
}

static void
list_done(struct config_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
}

static void
smoke_done(struct config_verify *verify)
{
	for (size_t i = 0; i < verify->smoke.count; i++) {
		free(verify->smoke.items[i].database);
		free(verify->smoke.items[i].sql);
		free(verify->smoke.items[i].expect);
	}
	vec_done(&verify->smoke);
}

void
section_done(const struct section *section, void *object)
{
	for (size_t i = 0; i < section->count; i++) {
		const struct key *key = &section->keys[i];
		void *member = key_member(key, object);

		if (key->alias != NULL)
			continue;
		if (key->type <= KEY_CHOICE)
			free(*(char **)member);
		else if (key->type == KEY_LIST || key->type == KEY_FOLDERS)
			list_done(member);
		else if (key->type == KEY_SMOKE)
			smoke_done(object);
		else if (key->type == KEY_SECTION)
			section_done(key->section, member);
	}
}
