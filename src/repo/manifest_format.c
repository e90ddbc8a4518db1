#include <assert.h>
#include <jansson.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"
#include "repo/manifest.h"

/*
 * A manifest is read by people and by grep: flat objects and arrays stand on one line, others
 * have a line for each child, and every file is one line whatever it holds.  Children deeper
 * than this are not spread any more, which bounds the growth by indentation.
 */
enum { SPREAD_DEPTH_MAX = 6 };

static int
add_dumped(const char *data, size_t size, void *context)
{
	str_add_bytes(context, data, size);

	return 0;
}

static void
add_inline(struct str *to, const json_t *value)
{
	(void)json_dump_callback(value, add_dumped, to, JSON_ENCODE_ANY | JSON_INDENT(0));
}

static bool
is_container(const json_t *value)
{
	return json_is_object(value) || json_is_array(value);
}

static bool
is_flat(json_t *value)
{
	const char *key;
	size_t index;
	json_t *child;

	json_object_foreach(value, key, child)
	{
		if (is_container(child))
			return false;
	}
	json_array_foreach(value, index, child)
	{
		if (is_container(child))
			return false;
	}

	return true;
}

/* Begin the line of a child; `is_first` says that no comma is due. */
static void
add_break(struct str *to, int depth, bool is_first)
{
	str_add(to, is_first ? "\n" : ",\n");
	for (int i = 0; i < depth; i++)
		str_add(to, "  ");
}

static void
add_key(struct str *to, const char *key)
{
	json_t *text = json_string(key);

	add_inline(to, text);
	str_add(to, ": ");
	json_decref(text);
}

static void
add_value(struct str *to, json_t *value, int depth)
{
	const char *key;
	size_t index;
	json_t *child;
	bool is_first = true;

	if (depth >= SPREAD_DEPTH_MAX || is_flat(value)) {
		add_inline(to, value);
		return;
	}
	str_add_char(to, json_is_object(value) ? '{' : '[');
	json_object_foreach(value, key, child)
	{
		add_break(to, depth + 1, is_first);
		add_key(to, key);
		add_value(to, child, depth + 1);
		is_first = false;
	}
	json_array_foreach(value, index, child)
	{
		add_break(to, depth + 1, is_first);
		add_value(to, child, depth + 1);
		is_first = false;
	}
	add_break(to, depth, true);
	str_add_char(to, json_is_object(value) ? '}' : ']');
}

/* Add a field of the manifest itself; the first one follows "{". */
static void
add_field(struct str *to, const char *key, json_t *owned_value)
{
	add_break(to, 1, to->size == 1);
	add_key(to, key);
	add_value(to, owned_value, 1);
	json_decref(owned_value);
}

/* Texts from servers may hold anything: what is not UTF-8 must not cost the manifest. */
static json_t *
text_value(const char *text)
{
	json_t *value = json_string(text != NULL ? text : "");
	SCOPED(str_done) struct str visible = STR_INIT;

	if (value != NULL)
		return value;
	for (const char *c = text; *c != '\0'; c++) {
		if ((unsigned char)*c < 0x80)
			str_add_char(&visible, *c);
		else
			str_addf(&visible, "\\x%02x", (unsigned char)*c);
	}

	return json_string(str_text(&visible));
}

static json_t *
time_value(struct wall_time time)
{
	char text[CLOCK_TEXT_SIZE];

	return json_string(clock_format(time, text));
}

static json_t *
bytes_value(uint64_t bytes)
{
	assert(bytes <= INT64_MAX);

	return json_integer((json_int_t)bytes);
}

static void
set(json_t *object, const char *key, json_t *owned_value)
{
	int failed = json_object_set_new(object, key, owned_value);

	assert(failed == 0);
	(void)failed;
}

static void
set_unknown(json_t *object, json_t *unknown)
{
	if (unknown != NULL)
		(void)json_object_update_missing(object, unknown);
}

static json_t *
source_value(const struct manifest *manifest)
{
	json_t *value = json_object();

	set(value, "name", text_value(manifest->source_name));
	set(value, "type", text_value(manifest->source_type));
	set(value, "identity", text_value(manifest->source_identity));
	set(value, "version", text_value(manifest->source_version));
	set_unknown(value, manifest->source_unknown);

	return value;
}

static json_t *
tool_value(const struct manifest *manifest)
{
	json_t *value = json_object();

	set(value, "name", text_value(manifest->tool_name));
	set(value, "version", text_value(manifest->tool_version));
	set_unknown(value, manifest->tool_unknown);

	return value;
}

static json_t *
blocks_value(const struct manifest_file *file)
{
	SCOPED(str_done) struct str hex = STR_INIT_MAX(MANIFEST_MAX_BYTES);
	json_t *value = json_object();

	for (size_t i = 0; i < file->block_crc32c.count; i++)
		str_addf(&hex, "%08x", file->block_crc32c.items[i]);
	set(value, "bytes", json_integer(MANIFEST_BLOCK_BYTES));
	set(value, "crc32c", json_string(str_text(&hex)));

	return value;
}

static void
add_file(struct str *to, const struct manifest_file *file)
{
	json_t *value = json_object();

	set(value, "name", text_value(file->name));
	set(value, "bytes", bytes_value(file->bytes));
	set(value, "sha256", text_value(file->sha256));
	set(value, "content_bytes", bytes_value(file->content_bytes));
	set(value, "compression",
	    text_value(file->compression != NULL ? file->compression : "none"));
	if (file->of != NULL)
		set(value, "of", text_value(file->of));
	if (file->block_crc32c.count > 0)
		set(value, "blocks", blocks_value(file));
	set_unknown(value, file->unknown);
	add_inline(to, value);
	json_decref(value);
}

static void
add_files(struct str *to, const struct manifest *manifest)
{
	add_break(to, 1, false);
	str_add(to, "\"files\": [");
	for (size_t i = 0; i < manifest->files.count; i++) {
		add_break(to, 2, i == 0);
		add_file(to, &manifest->files.items[i]);
	}
	if (manifest->files.count > 0)
		add_break(to, 1, true);
	str_add_char(to, ']');
}

static json_t *
warnings_value(const struct manifest *manifest)
{
	json_t *list = json_array();

	for (size_t i = 0; i < manifest->warnings.count; i++) {
		const struct manifest_warning *warning = &manifest->warnings.items[i];
		json_t *value = json_object();

		set(value, "code", text_value(warning->code));
		set(value, "text", text_value(warning->text));
		set_unknown(value, warning->unknown);
		(void)json_array_append_new(list, value);
	}

	return list;
}

char *
manifest_format(const struct manifest *manifest)
{
	/* No bound of its own: it is sized by a manifest that was bounded when it was made. */
	SCOPED(str_done) struct str to = STR_INIT_MAX(SIZE_MAX / 4);
	const char *key;
	json_t *value;

	str_add_char(&to, '{');
	add_field(&to, "format", json_integer(MANIFEST_FORMAT));
	add_field(&to, "id", text_value(manifest->id));
	add_field(&to, "job", text_value(manifest->job));
	add_field(&to, "kind", text_value(manifest->kind));
	if (manifest->is_adopted)
		add_field(&to, "adopted", json_true());
	add_field(&to, "source", source_value(manifest));
	add_field(&to, "started", time_value(manifest->started));
	add_field(&to, "finished", time_value(manifest->finished));
	add_field(&to, "consistent_at", time_value(manifest->consistent_at));
	add_files(&to, manifest);
	add_field(&to, "content",
	    manifest->content != NULL ? json_incref(manifest->content) : json_object());
	add_field(&to, "tool", tool_value(manifest));
	add_field(&to, "warnings", warnings_value(manifest));
	json_object_foreach(manifest->unknown, key, value) add_field(&to, key, json_incref(value));
	str_add(&to, "\n}\n");

	return str_take(&to);
}
