#include "config/bind_internal.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

enum { BINDER_TEXT_MAX = 360 };

void
binder_error(struct binder *binder, struct config_place place, const char *hint, const char *format,
    ...)
{
	char text[BINDER_TEXT_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	config_problems_error(binder->problems, place, hint, "%s%s", binder->where, text);
}

void
binder_warning(struct binder *binder, struct config_place place, const char *hint,
    const char *format, ...)
{
	char text[BINDER_TEXT_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	config_problems_warning(binder->problems, place, hint, "%s%s", binder->where, text);
}

/* ---- the lines of `config show` ----------------------------------------------------------- */

static void
add_entry(struct binder *binder, const struct config_entry *like)
{
	struct config_entry *entry;

	if (binder->is_silent)
		return;
	entry = vec_add(&binder->config->entries);
	*entry = *like;
	entry->depth = binder->depth;
	entry->key = xstrdup(like->key);
	entry->value = xstrdup(like->value);
}

static void
add_section_entry(struct binder *binder, const struct node *node)
{
	add_entry(binder,
	    &(struct config_entry){ .kind = CONFIG_ENTRY_SECTION,
		.key = node->key,
		.place = node->key_place });
}

/* A key that the file does not have; `value` is NULL for a section. */
static void
add_default_entry(struct binder *binder, const struct key *key)
{
	SCOPED(freep) char *name = xstrdup(key->name);
	SCOPED(freep) char *value = xstrdup(key->fallback);

	add_entry(binder,
	    &(struct config_entry){ .key = name,
		.value = value,
		.kind = key->type == KEY_SECTION ? CONFIG_ENTRY_SECTION : CONFIG_ENTRY_VALUE });
}

void
bind_entries(struct binder *binder, const struct node *node, bool is_ignored)
{
	static const enum config_entry_kind kinds[] = {
		[NODE_TEXT] = CONFIG_ENTRY_VALUE,
		[NODE_LIST] = CONFIG_ENTRY_LIST,
		[NODE_MAP] = CONFIG_ENTRY_SECTION,
	};

	add_entry(binder,
	    &(struct config_entry){ .kind = kinds[node->kind],
		.key = node->key,
		.value = node->text,
		.is_ignored = is_ignored,
		.place = node->key != NULL ? node->key_place : node->place });
	binder->depth++;
	for (size_t i = 0; i < node->children.count; i++)
		bind_entries(binder, node->children.items[i], is_ignored);
	binder->depth--;
}

/* ---- single values ------------------------------------------------------------------------ */

static void
report(struct binder *binder, struct config_place place, const struct key *key,
    const struct err *err)
{
	binder_error(binder, place, err->hint[0] != '\0' ? err->hint : NULL, "%s: %s", key->name,
	    err->msg);
}

/* Say that a value is of the wrong form; false, for the caller to return. */
static bool
has_kind(struct binder *binder, const struct node *node, const char *name, enum node_kind kind)
{
	static const char *const wanted[] = { "one value", "a list", "a mapping of keys" };

	if (node->kind == kind && !node->is_missing)
		return true;
	binder_error(binder, node->is_missing ? node->key_place : node->place, NULL,
	    "%s must be %s, not %s", name, wanted[kind], node_describe(node));

	return false;
}

static void
bind_text(struct binder *binder, const struct key *key, const struct node *node, void *object)
{
	struct err err = ERR_INIT;
	bool is_open = binder->is_tolerant && key->type == KEY_CHOICE;

	if (!has_kind(binder, node, key->name, NODE_TEXT))
		return;
	if (key_set(key, node->text, object, &err) < 0) {
		if (is_open && node->text[0] != '\0')
			*(char **)key_member(key, object) = xstrdup(node->text);
		else
			report(binder, node->place, key, &err);
	}
}

static void
bind_list(struct binder *binder, const struct key *key, const struct node *node, void *object)
{
	struct err err = ERR_INIT;

	if (node->kind == NODE_TEXT) {
		bind_text(binder, key, node, object);
		return;
	}
	if (!has_kind(binder, node, key->name, NODE_LIST))
		return;
	if (node->children.count == 0 || node->children.count > BINDER_ITEMS_MAX) {
		binder_error(binder, node->place, NULL, "%s must have 1 to %d items", key->name,
		    BINDER_ITEMS_MAX);
		return;
	}
	for (size_t i = 0; i < node->children.count; i++) {
		const struct node *child = node->children.items[i];

		if (has_kind(binder, child, key->name, NODE_TEXT) &&
		    key_set(key, child->text, object, &err) < 0)
			report(binder, child->place, key, &err);
	}
}

/* { last: 7, daily: 30 } */
static void
bind_keep(struct binder *binder, const struct key *key, const struct node *node, void *object)
{
	static const struct key count_keys[] = {
		{ .name = "last",
		    .type = KEY_NUMBER,
		    .offset = offsetof(struct config_keep, last),
		    .min = 1,
		    .max = 100000 },
		{ .name = "daily",
		    .type = KEY_NUMBER,
		    .offset = offsetof(struct config_keep, daily),
		    .min = 1,
		    .max = 100000 },
		{ .name = "weekly",
		    .type = KEY_NUMBER,
		    .offset = offsetof(struct config_keep, weekly),
		    .min = 1,
		    .max = 100000 },
		{ .name = "monthly",
		    .type = KEY_NUMBER,
		    .offset = offsetof(struct config_keep, monthly),
		    .min = 1,
		    .max = 100000 },
		{ .name = "yearly",
		    .type = KEY_NUMBER,
		    .offset = offsetof(struct config_keep, yearly),
		    .min = 1,
		    .max = 100000 },
	};
	static const struct section counts = { "keep", count_keys, ARRAY_SIZE(count_keys) };

	binder->is_silent = true;
	if (node->kind == NODE_MAP && node->children.count > 0)
		bind_section(binder, node, &counts, key_member(key, object));
	else if (node->kind == NODE_TEXT)
		bind_text(binder, key, node, object);
	else
		binder_error(binder, node->place, NULL,
		    "keep must be a duration, unlimited, or counts, not %s", node_describe(node));
	binder->is_silent = false;
}

/* SQL, or { database, sql, expect }. */
static void
bind_query(struct binder *binder, const struct key *key, const struct node *node, void *object)
{
	static const struct key smoke_keys[] = {
		{ .name = "database",
		    .type = KEY_TEXT,
		    .offset = offsetof(struct config_smoke, database) },
		{ .name = "sql",
		    .type = KEY_TEXT,
		    .offset = offsetof(struct config_smoke, sql),
		    .is_required = true },
		{ .name = "expect",
		    .type = KEY_TEXT,
		    .offset = offsetof(struct config_smoke, expect) },
	};
	static const struct section fields = { "smoke", smoke_keys, ARRAY_SIZE(smoke_keys) };
	struct config_verify *verify = object;
	struct err err = ERR_INIT;

	if (node->kind == NODE_MAP)
		bind_section(binder, node, &fields, vec_add(&verify->smoke));
	else if (has_kind(binder, node, key->name, NODE_TEXT) &&
	    key_set(&smoke_keys[1], node->text, vec_add(&verify->smoke), &err) < 0)
		report(binder, node->place, key, &err);
}

static void
bind_smoke(struct binder *binder, const struct key *key, const struct node *node, void *object)
{
	binder->is_silent = true;
	if (node->kind != NODE_LIST)
		bind_query(binder, key, node, object);
	else if (node->children.count > BINDER_ITEMS_MAX)
		binder_error(binder, node->place, NULL, "smoke has too many queries");
	else
		for (size_t i = 0; i < node->children.count; i++)
			bind_query(binder, key, node->children.items[i], object);
	binder->is_silent = false;
}

/* ---- sections ----------------------------------------------------------------------------- */

static void
bind_map(struct binder *binder, const struct key *key, const struct node *node)
{
	char outer[BINDER_WHERE_SIZE];

	if (!has_kind(binder, node, key->name, NODE_MAP))
		return;
	if (node->children.count > BINDER_ITEMS_MAX) {
		binder_error(binder, node->place, NULL, "%s has more than %d items", key->name,
		    BINDER_ITEMS_MAX);
		return;
	}
	add_section_entry(binder, node);
	binder->depth++;
	(void)snprintf(outer, sizeof(outer), "%s", binder->where);
	for (size_t i = 0; i < node->children.count; i++) {
		const struct node *child = node->children.items[i];

		if (!label_is_valid(child->key)) {
			binder_error(binder, child->key_place,
			    "Use letters, digits, '_', '.' and '-', at most 63, with a letter or digit first.",
			    "'%.80s' is not a name for a %s", child->key, key->section->name);
			continue;
		}
		(void)snprintf(binder->where, sizeof(binder->where),
		    "%s '%s': ", key->section->name, child->key);
		add_section_entry(binder, child);
		binder->depth++;
		if (child->kind == NODE_MAP)
			key->bind_item(binder, child);
		else
			binder_error(binder, child->key_place, NULL,
			    "must be a mapping of keys, not %s", node_describe(child));
		binder->depth--;
		(void)snprintf(binder->where, sizeof(binder->where), "%s", outer);
	}
	binder->depth--;
}

static void
bind_subsection(struct binder *binder, const struct key *key, const struct node *node, void *object)
{
	static const struct node nothing = { .kind = NODE_MAP };
	size_t outer = strlen(binder->where);

	if (node != NULL && !has_kind(binder, node, key->name, NODE_MAP))
		return;
	if (node != NULL)
		add_section_entry(binder, node);
	else
		add_default_entry(binder, key);
	(void)snprintf(binder->where + outer, sizeof(binder->where) - outer, "%s: ", key->name);
	binder->depth++;
	bind_section(binder, node != NULL ? node : &nothing, key->section, key_member(key, object));
	binder->depth--;
	binder->where[outer] = '\0';
}

static void
bind_present(struct binder *binder, const struct key *key, const struct node *node, void *object)
{
	switch (key->type) {
	case KEY_SECTION:
		bind_subsection(binder, key, node, object);
		return;
	case KEY_MAP:
		bind_map(binder, key, node);
		return;
	case KEY_IGNORED:
		binder_warning(binder, node->key_place, NULL, "'%s' is not used by this version",
		    key->name);
		break;
	case KEY_LIST:
	case KEY_FOLDERS:
		bind_list(binder, key, node, object);
		break;
	case KEY_KEEP:
		bind_keep(binder, key, node, object);
		break;
	case KEY_SMOKE:
		bind_smoke(binder, key, node, object);
		break;
	default:
		bind_text(binder, key, node, object);
	}
	bind_entries(binder, node, key->type == KEY_IGNORED);
}

static void
bind_absent(struct binder *binder, const struct key *key, const struct node *map, void *object)
{
	struct err err = ERR_INIT;
	bool is_set;

	if (key->is_required) {
		binder_error(binder, map->key != NULL ? map->key_place : map->place, NULL,
		    "'%s' is missing", key->name);
		return;
	}
	if (key->type == KEY_SECTION) {
		bind_subsection(binder, key, NULL, object);
		return;
	}
	if (key->fallback == NULL)
		return;
	is_set = key_set(key, key->fallback, object, &err) == 0;
	assert(is_set);
	add_default_entry(binder, key);
}

/* The value of a key under its own or another name; two at once are an error. */
static const struct node *
find_value(struct binder *binder, const struct node *map, const struct section *section,
    const struct key *key)
{
	const struct node *found = node_find(map, key->name);

	for (size_t i = 0; i < section->count; i++) {
		const struct node *other;

		if (!str_equals(section->keys[i].alias, key->name))
			continue;
		other = node_find(map, section->keys[i].name);
		if (other != NULL && found != NULL)
			binder_error(binder, other->key_place, NULL,
			    "'%s' and '%s' are the same, write one of them", other->key, key->name);
		if (found == NULL)
			found = other;
	}

	return found;
}

static void
refuse_unknown_key(struct binder *binder, const struct node *node, const struct section *section)
{
	SCOPED(str_done) struct str hint = STR_INIT_MAX(400);
	const char *names[32];
	const char *nearest;

	assert(section->count <= ARRAY_SIZE(names));
	for (size_t i = 0; i < section->count; i++) {
		if (strcmp(section->keys[i].name, node->key) == 0)
			return;
		names[i] = section->keys[i].name;
	}
	if (binder->is_tolerant) {
		binder_warning(binder, node->key_place, NULL, "'%.80s' is not used by this version",
		    node->key);
		return;
	}
	nearest = str_nearest(node->key, names, section->count);
	if (nearest != NULL)
		str_addf(&hint, "Did you mean '%s'?", nearest);
	for (size_t i = 0; nearest == NULL && i < section->count; i++)
		str_addf(&hint, "%s%s%s", i == 0 ? "Known here: " : ", ", names[i],
		    i + 1 == section->count ? "." : "");
	binder_error(binder, node->key_place, str_text(&hint), "unknown key '%.80s'", node->key);
}

static void
terminate_list(struct config_list *list)
{
	if (list->items == NULL)
		list->items = xcalloc(1, sizeof(*list->items));
}

void
bind_section(struct binder *binder, const struct node *node, const struct section *section,
    void *object)
{
	for (size_t i = 0; i < node->children.count; i++)
		refuse_unknown_key(binder, node->children.items[i], section);
	for (size_t i = 0; i < section->count; i++) {
		const struct key *key = &section->keys[i];
		const struct node *value;

		if (key->alias != NULL)
			continue;
		value = find_value(binder, node, section, key);
		if (value != NULL)
			bind_present(binder, key, value, object);
		else
			bind_absent(binder, key, node, object);
		if (key->type == KEY_LIST || key->type == KEY_FOLDERS)
			terminate_list(key_member(key, object));
	}
}
