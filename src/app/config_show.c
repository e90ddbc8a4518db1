#include "app/config_show.h"

#include <ctype.h>
#include <jansson.h>
#include <string.h>

#include "base/str.h"
#include "config/config.h"

enum { COMMENT_COLUMN = 44 };

/* Would YAML or a reader take it for something else than this text. */
static bool
needs_quotes(const char *value)
{
	size_t size = strlen(value);

	if (size == 0 || value[0] == ' ' || value[size - 1] == ' ')
		return true;
	if (strchr("-?:,[]{}#&*!|>'\"%@`~", value[0]) != NULL)
		return true;

	return strstr(value, " #") != NULL || strpbrk(value, ":\"\n\\,[]{}") != NULL;
}

static void
add_value(struct str *line, const char *value)
{
	if (!needs_quotes(value)) {
		str_add(line, value);
		return;
	}
	str_add_char(line, '"');
	for (const char *c = value; *c != '\0'; c++) {
		if (*c == '\n')
			str_add(line, "\\n");
		else if (iscntrl((unsigned char)*c))
			str_addf(line, "\\x%02x", (unsigned char)*c);
		else
			str_addf(line, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
	}
	str_add_char(line, '"');
}

/* `is_first_in_item`: the first key of a mapping in a list, behind the dash: "- sql: x". */
static void
print_entry(const struct config_entry *entry, bool is_first_in_item, FILE *to)
{
	SCOPED(str_done) struct str line = STR_INIT;
	int indent = (int)entry->depth * 2 - (is_first_in_item ? 2 : 0);

	str_addf(&line, "%*s", indent, "");
	if (is_first_in_item || (entry->key == NULL && entry->kind == CONFIG_ENTRY_VALUE))
		str_add(&line, "- ");
	if (entry->key != NULL)
		str_addf(&line, "%s:%s", entry->key, entry->value != NULL ? " " : "");
	if (entry->value != NULL)
		add_value(&line, entry->value);
	if (entry->kind == CONFIG_ENTRY_VALUE || entry->is_ignored) {
		str_addf(&line, "%*s # ",
		    line.size < COMMENT_COLUMN ? (int)(COMMENT_COLUMN - line.size) : 0, "");
		if (entry->place.line == 0)
			str_add(&line, "default");
		else
			str_addf(&line, "line %u%s", entry->place.line,
			    entry->is_ignored ? ", not used by this version" : "");
	}
	fprintf(to, "%s\n", str_text(&line));
}

void
config_show_print(const struct config *config, bool is_effective, FILE *to)
{
	bool is_first_in_item = false;

	fprintf(to, "# %s\n", config->path);
	for (size_t i = 0; i < config->entries.count; i++) {
		const struct config_entry *entry = &config->entries.items[i];

		if (!is_effective && entry->place.line == 0)
			continue;
		if (entry->key == NULL && entry->kind != CONFIG_ENTRY_VALUE) {
			is_first_in_item = true; /* its first key stands behind the dash */
			continue;
		}
		print_entry(entry, is_first_in_item, to);
		is_first_in_item = false;
	}
}

/* The entries from *at on that lie below `depth`, as an object or, for a list, an array. */
static json_t *
take_children(const struct config *config, size_t *at, unsigned depth, bool is_list,
    bool is_effective)
{
	json_t *all = is_list ? json_array() : json_object();

	while (*at < config->entries.count && config->entries.items[*at].depth >= depth) {
		const struct config_entry *entry = &config->entries.items[(*at)++];
		json_t *value;

		if (entry->kind == CONFIG_ENTRY_VALUE)
			value = json_string(entry->value);
		else
			value = take_children(config, at, depth + 1,
			    entry->kind == CONFIG_ENTRY_LIST, is_effective);
		if (!is_effective && entry->place.line == 0)
			json_decref(value);
		else if (is_list)
			json_array_append_new(all, value);
		else
			json_object_set_new(all, entry->key, value);
	}

	return all;
}

/* [{"key": ["jobs", "pg-daily", "at"], "line": 12, ...}], a row for each value. */
static json_t *
list_origins(const struct config *config, bool is_effective)
{
	enum { DEPTH_MAX = 20 };
	const char *path[DEPTH_MAX] = { NULL };
	json_t *origins = json_array();

	for (size_t i = 0; i < config->entries.count; i++) {
		const struct config_entry *entry = &config->entries.items[i];
		json_t *key;

		if (entry->depth < DEPTH_MAX)
			path[entry->depth] = entry->key;
		if (entry->depth >= DEPTH_MAX || entry->key == NULL ||
		    entry->kind == CONFIG_ENTRY_SECTION ||
		    (!is_effective && entry->place.line == 0))
			continue;
		key = json_array();
		for (unsigned depth = 0; depth <= entry->depth; depth++) {
			if (path[depth] != NULL)
				json_array_append_new(key, json_string(path[depth]));
		}
		json_array_append_new(origins,
		    json_pack("{s:o, s:i, s:b, s:b}", "key", key, "line", (int)entry->place.line,
			"is_default", entry->place.line == 0, "is_ignored", entry->is_ignored));
	}

	return origins;
}

json_t *
config_show_json(const struct config *config, bool is_effective)
{
	size_t at = 0;
	json_t *settings = take_children(config, &at, 0, false, is_effective);

	return json_pack("{s:i, s:s, s:o, s:o}", "schema", 1, "path", config->path, "settings",
	    settings, "origins", list_origins(config, is_effective));
}
