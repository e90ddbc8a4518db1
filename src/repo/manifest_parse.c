#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "repo/manifest.h"
#include "repo/manifest_scan.h"

enum {
	ID_MAX = 200,
	LABEL_MAX = 255,
	FILE_NAME_MAX = 1024,
	CRC_DIGITS = 8,
};

/* An object being read, and what it is called in errors: "", "source." or "files[2].". */
struct spot {
	json_t *object;
	char path[48];
	struct err *err;
};

/* Start an error about a field; always -1. */
static int
field_bad(const struct spot *spot, const char *key, const char *problem)
{
	return err_set(spot->err, ERR_DATA, "manifest field '%s%s' %s", spot->path, key, problem);
}

/* Step into an object; `index` below 0: it is not in a list. */
static int
spot_enter(const struct spot *outer, json_t *object, const char *key, long index,
    struct spot *ret_spot)
{
	struct spot spot = { .object = object, .err = outer->err };

	char name[32];

	(void)snprintf(name, sizeof(name), index >= 0 ? "%s[%ld]" : "%s", key, index);
	if (!json_is_object(object))
		return field_bad(outer, name, object == NULL ? "is missing" : "is not an object");
	(void)snprintf(spot.path, sizeof(spot.path), "%s%s.", outer->path, name);
	*ret_spot = spot;

	return 0;
}

/* A copy of the fields that are not in `known`, or NULL when there are none. */
static json_t *
unknown_fields(json_t *object, const char *const *known, size_t known_count)
{
	json_t *unknown = NULL;
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value)
	{
		bool is_known = false;

		for (size_t i = 0; i < known_count && !is_known; i++)
			is_known = strcmp(known[i], key) == 0;
		if (is_known)
			continue;
		if (unknown == NULL)
			unknown = json_object();
		(void)json_object_set(unknown, key, value);
	}

	return unknown;
}

static bool
has_control(const char *text)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return true;
	}

	return false;
}

/* A text that must be there; it may be empty. */
static int
read_text(const struct spot *spot, const char *key, const char **ret_text)
{
	json_t *value = json_object_get(spot->object, key);

	if (value == NULL)
		return field_bad(spot, key, "is missing");
	if (!json_is_string(value))
		return field_bad(spot, key, "is not a string");
	*ret_text = json_string_value(value);

	return 0;
}

/* A short text without control characters, not empty, that must be there. */
static int
read_label(const struct spot *spot, const char *key, char **ret_text)
{
	const char *text;

	if (read_text(spot, key, &text) < 0)
		return -1;
	if (text[0] == '\0')
		return field_bad(spot, key, "is empty");
	if (strlen(text) > LABEL_MAX)
		return field_bad(spot, key, "is too long");
	if (has_control(text))
		return field_bad(spot, key, "has a control character");
	*ret_text = xstrdup(text);

	return 0;
}

/* A text that may be missing; `fallback` stands for it then. */
static int
read_optional_text(const struct spot *spot, const char *key, const char *fallback, char **ret_text)
{
	const char *text = fallback;

	if (json_object_get(spot->object, key) != NULL && read_text(spot, key, &text) < 0)
		return -1;
	*ret_text = xstrdup(text);

	return 0;
}

/* An id of a backup.  It becomes a part of names in the store, so its characters are few. */
static int
read_id(const struct spot *spot, const char *key, char **ret_id)
{
	const char *id;

	if (read_text(spot, key, &id) < 0)
		return -1;
	if (strlen(id) > ID_MAX)
		return field_bad(spot, key, "is too long");
	for (const char *c = id; *c != '\0'; c++) {
		if (!isalnum((unsigned char)*c) && (c == id || strchr("_.-", *c) == NULL))
			return field_bad(spot, key, "is not the id of a backup");
	}
	if (id[0] == '\0')
		return field_bad(spot, key, "is empty");
	*ret_id = xstrdup(id);

	return 0;
}

static int
read_time(const struct spot *spot, const char *key, struct wall_time *ret_time)
{
	struct err inner = ERR_INIT;
	const char *text;

	if (read_text(spot, key, &text) < 0)
		return -1;
	if (clock_parse(text, ret_time, &inner) < 0)
		return field_bad(spot, key, "is not an RFC 3339 time");

	return 0;
}

static int
read_bytes(const struct spot *spot, const char *key, uint64_t *ret_bytes)
{
	json_t *value = json_object_get(spot->object, key);

	if (value == NULL)
		return field_bad(spot, key, "is missing");
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return field_bad(spot, key, "is not a whole number of bytes");
	*ret_bytes = (uint64_t)json_integer_value(value);

	return 0;
}

/* Fetch a list that may be missing when `is_optional`; NULL then. */
static int
read_list(const struct spot *spot, const char *key, bool is_optional, json_t **ret_list)
{
	json_t *list = json_object_get(spot->object, key);

	if (list == NULL && !is_optional)
		return field_bad(spot, key, "is missing");
	if (list != NULL && !json_is_array(list))
		return field_bad(spot, key, "is not a list");
	*ret_list = list;

	return 0;
}

/* The name stays inside the manifest's folder: relative, no "." or ".." or empty component. */
static bool
file_name_is_inside(const char *name)
{
	for (;;) {
		size_t size = strcspn(name, "/");

		if (size == 0 || (size <= 2 && strspn(name, ".") >= size))
			return false;
		if (name[size] == '\0')
			return true;
		name += size + 1;
	}
}

static int
read_file_name(const struct spot *spot, char **ret_name)
{
	const char *name;

	if (read_text(spot, "name", &name) < 0)
		return -1;
	if (strlen(name) > FILE_NAME_MAX)
		return field_bad(spot, "name", "is too long");
	if (has_control(name))
		return field_bad(spot, "name", "has a control character");
	if (!file_name_is_inside(name))
		return field_bad(spot, "name", "is not a relative name inside the backup's folder");
	*ret_name = xstrdup(name);

	return 0;
}

static int
read_sha256(const struct spot *spot, char *ret_sha256)
{
	const char *text;

	if (read_text(spot, "sha256", &text) < 0)
		return -1;
	if (strlen(text) != 64 || strspn(text, "0123456789abcdefABCDEF") != 64)
		return field_bad(spot, "sha256", "is not 64 hexadecimal digits");
	for (size_t i = 0; i <= 64; i++)
		ret_sha256[i] = (char)tolower((unsigned char)text[i]);

	return 0;
}

static int
read_compression(const struct spot *spot, char **ret_compression)
{
	const char *text = "none";

	if (json_object_get(spot->object, "compression") != NULL &&
	    read_text(spot, "compression", &text) < 0)
		return -1;
	if (strcmp(text, "none") != 0 && strcmp(text, "zstd") != 0) {
		(void)err_set(spot->err, ERR_UNSUPPORTED,
		    "manifest field '%scompression' is '%.40s', which this version cannot read",
		    spot->path, text);
		return err_hint(spot->err,
		    "Use the version of blackstart that made this backup, or a newer one.");
	}
	*ret_compression = xstrdup(text);

	return 0;
}

/*
 * "blocks": { "bytes": 4194304, "crc32c": 8 hex digits for each block, one after the other }.
 * A list for blocks of another size is of no use to us and is kept as an unknown field.
 */
static int
read_blocks(const struct spot *file_spot, struct manifest_file *file, bool *ret_is_known)
{
	struct spot spot;
	uint64_t block_bytes;
	uint64_t count = file->bytes / MANIFEST_BLOCK_BYTES +
	    (file->bytes % MANIFEST_BLOCK_BYTES > 0 ? 1 : 0);
	const char *hex;

	if (spot_enter(file_spot, json_object_get(file_spot->object, "blocks"), "blocks", -1,
		&spot) < 0 ||
	    read_bytes(&spot, "bytes", &block_bytes) < 0)
		return -1;
	*ret_is_known = block_bytes == MANIFEST_BLOCK_BYTES;
	if (!*ret_is_known)
		return 0;
	if (read_text(&spot, "crc32c", &hex) < 0)
		return -1;
	if (strlen(hex) / CRC_DIGITS != count || strlen(hex) % CRC_DIGITS != 0)
		return field_bad(&spot, "crc32c",
		    "does not have 8 digits for each block of the file");
	/* Sized at once: nearly every file of very many has one block. */
	file->block_crc32c.items = xcalloc(count, sizeof(uint32_t));
	file->block_crc32c.capacity = count;
	for (; *hex != '\0'; hex += CRC_DIGITS) {
		uint8_t crc[4];
		char digits[CRC_DIGITS + 1] = "";
		struct err inner = ERR_INIT;

		memcpy(digits, hex, CRC_DIGITS);
		if (parse_hex_bytes(digits, crc, sizeof(crc), &inner) < 0)
			return field_bad(&spot, "crc32c", "is not hexadecimal");
		vec_push(&file->block_crc32c,
		    (uint32_t)crc[0] << 24 | (uint32_t)crc[1] << 16 | (uint32_t)crc[2] << 8 |
			crc[3]);
	}

	return 0;
}

static int
read_file(const struct spot *spot, struct manifest_file *file)
{
	/* "blocks" stands last, so that it can be left out of what is known. */
	static const char *const known[] = { "name", "bytes", "sha256", "content_bytes",
		"compression", "of", "blocks" };
	bool has_known_blocks = true;

	if (read_file_name(spot, &file->name) < 0 || read_bytes(spot, "bytes", &file->bytes) < 0 ||
	    read_sha256(spot, file->sha256) < 0 || read_compression(spot, &file->compression) < 0)
		return -1;
	file->content_bytes = file->bytes;
	if (json_object_get(spot->object, "content_bytes") != NULL &&
	    read_bytes(spot, "content_bytes", &file->content_bytes) < 0)
		return -1;
	if (json_object_get(spot->object, "of") != NULL && read_id(spot, "of", &file->of) < 0)
		return -1;
	if (json_object_get(spot->object, "blocks") != NULL &&
	    read_blocks(spot, file, &has_known_blocks) < 0)
		return -1;
	file->unknown = unknown_fields(spot->object, known,
	    ARRAY_SIZE(known) - (has_known_blocks ? 0 : 1));

	return 0;
}

static int
check_names_distinct(const struct spot *spot, const struct manifest *manifest)
{
	const char *name = manifest_repeated_name(manifest);

	if (name == NULL)
		return 0;

	return err_set(spot->err, ERR_DATA, "manifest field 'files' names '%.200s' twice", name);
}

static int
check_files_count(const struct spot *spot, size_t count)
{
	if (count <= MANIFEST_MAX_FILES)
		return 0;

	return err_set(spot->err, ERR_LIMIT, "manifest field 'files' has more than %d files",
	    MANIFEST_MAX_FILES);
}

static int
add_file(const struct spot *spot, json_t *value, struct manifest *manifest)
{
	size_t index = manifest->files.count;
	struct spot inner;

	if (check_files_count(spot, index + 1) < 0)
		return -1;
	if (spot_enter(spot, value, "files", (long)index, &inner) < 0)
		return -1;

	return read_file(&inner, vec_add(&manifest->files));
}

static int
read_files(const struct spot *spot, struct manifest *manifest)
{
	json_t *list;
	json_t *value;
	size_t index;

	if (read_list(spot, "files", false, &list) < 0 ||
	    check_files_count(spot, json_array_size(list)) < 0)
		return -1;
	json_array_foreach(list, index, value)
	{
		if (add_file(spot, value, manifest) < 0)
			return -1;
	}

	return 0;
}

/* One at a time from their text. 1: it is no list of objects; let the whole parser say why. */
static int
read_files_text(const struct spot *spot, const char *text, struct files_span span,
    struct manifest *manifest)
{
	json_t *value;
	int result;

	while ((result = manifest_scan_next(text, &span, &value)) > 0) {
		result = add_file(spot, value, manifest);
		json_decref(value);
		if (result < 0)
			return -1;
	}

	return result < 0 ? 1 : 0;
}

static int
read_warnings(const struct spot *spot, struct manifest *manifest)
{
	static const char *const known[] = { "code", "text" };
	json_t *list;
	json_t *value;
	size_t index;

	if (read_list(spot, "warnings", true, &list) < 0)
		return -1;
	json_array_foreach(list, index, value)
	{
		struct manifest_warning *warning = vec_add(&manifest->warnings);
		struct spot inner;

		if (spot_enter(spot, value, "warnings", (long)index, &inner) < 0 ||
		    read_label(&inner, "code", &warning->code) < 0 ||
		    read_optional_text(&inner, "text", "", &warning->text) < 0)
			return -1;
		warning->unknown = unknown_fields(value, known, ARRAY_SIZE(known));
	}

	return 0;
}

static int
read_source(const struct spot *spot, struct manifest *manifest)
{
	static const char *const known[] = { "name", "type", "identity", "version" };
	struct spot inner;

	if (spot_enter(spot, json_object_get(spot->object, "source"), "source", -1, &inner) < 0 ||
	    read_label(&inner, "name", &manifest->source_name) < 0 ||
	    read_label(&inner, "type", &manifest->source_type) < 0 ||
	    read_optional_text(&inner, "identity", "", &manifest->source_identity) < 0 ||
	    read_optional_text(&inner, "version", "", &manifest->source_version) < 0)
		return -1;
	manifest->source_unknown = unknown_fields(inner.object, known, ARRAY_SIZE(known));

	return 0;
}

static int
read_tool(const struct spot *spot, struct manifest *manifest)
{
	static const char *const known[] = { "name", "version" };
	struct spot inner = { .object = NULL, .path = "tool.", .err = spot->err };
	json_t *tool = json_object_get(spot->object, "tool");

	if (tool != NULL && spot_enter(spot, tool, "tool", -1, &inner) < 0)
		return -1;
	if (read_optional_text(&inner, "name", "", &manifest->tool_name) < 0 ||
	    read_optional_text(&inner, "version", "", &manifest->tool_version) < 0)
		return -1;
	manifest->tool_unknown = unknown_fields(tool, known, ARRAY_SIZE(known));

	return 0;
}

static int
read_content(const struct spot *spot, struct manifest *manifest)
{
	json_t *content = json_object_get(spot->object, "content");

	if (content == NULL)
		return 0;
	if (!json_is_object(content))
		return field_bad(spot, "content", "is not an object");
	json_decref(manifest->content);
	manifest->content = json_incref(content);

	return 0;
}

static int
read_adopted(const struct spot *spot, struct manifest *manifest)
{
	json_t *adopted = json_object_get(spot->object, "adopted");

	if (adopted != NULL && !json_is_boolean(adopted))
		return field_bad(spot, "adopted", "is neither true nor false");
	manifest->is_adopted = json_is_true(adopted);

	return 0;
}

static int
read_format(const struct spot *spot)
{
	json_t *value = json_object_get(spot->object, "format");

	if (value == NULL)
		return field_bad(spot, "format", "is missing");
	if (!json_is_integer(value) || json_integer_value(value) < 1)
		return field_bad(spot, "format", "is not a format number");
	if (json_integer_value(value) > MANIFEST_FORMAT) {
		(void)err_set(spot->err, ERR_UNSUPPORTED,
		    "manifest has format %lld, this version reads up to %d",
		    (long long)json_integer_value(value), MANIFEST_FORMAT);
		return err_hint(spot->err,
		    "Use the version of blackstart that made this backup, or a newer one.");
	}

	return 0;
}

static int
read_manifest(const struct spot *spot, struct manifest *manifest)
{
	static const char *const known[] = { "format", "id", "job", "kind", "adopted", "source",
		"started", "finished", "consistent_at", "files", "content", "tool", "warnings" };

	if (read_format(spot) < 0 || read_id(spot, "id", &manifest->id) < 0 ||
	    read_label(spot, "job", &manifest->job) < 0 ||
	    read_label(spot, "kind", &manifest->kind) < 0 || read_adopted(spot, manifest) < 0 ||
	    read_source(spot, manifest) < 0 || read_time(spot, "started", &manifest->started) < 0 ||
	    read_time(spot, "finished", &manifest->finished) < 0 ||
	    read_time(spot, "consistent_at", &manifest->consistent_at) < 0 ||
	    read_files(spot, manifest) < 0 || check_names_distinct(spot, manifest) < 0 ||
	    read_content(spot, manifest) < 0 || read_tool(spot, manifest) < 0 ||
	    read_warnings(spot, manifest) < 0)
		return -1;
	manifest->unknown = unknown_fields(spot->object, known, ARRAY_SIZE(known));

	return 0;
}

/* 1: the list of files cannot be taken out of it. */
static int
parse_in_pieces(const char *text, size_t size, struct manifest *manifest, struct err *err)
{
	struct spot spot = { .err = err };
	struct files_span span;
	SCOPED(str_done) struct str rest = STR_INIT_MAX(MANIFEST_MAX_BYTES);
	int result;

	if (!manifest_scan_files(text, size, &span))
		return 1;
	str_add_bytes(&rest, text, span.begin);
	str_add_bytes(&rest, text + span.end, size - span.end);
	spot.object = json_loadb(str_text(&rest), rest.size, JSON_REJECT_DUPLICATES, NULL);
	str_done(&rest);
	if (spot.object == NULL)
		return 1;
	result = read_files_text(&spot, text, span, manifest);
	if (result == 0)
		result = read_manifest(&spot, manifest);
	json_decref(spot.object);

	return result;
}

struct manifest *
manifest_parse(const char *text, size_t size, struct err *err)
{
	SCOPED(manifest_freep) struct manifest *manifest = manifest_new();
	struct spot spot = { .err = err };
	json_error_t problem;
	int result;

	if (size > MANIFEST_MAX_BYTES) {
		(void)err_set(err, ERR_LIMIT, "manifest is larger than %d bytes",
		    MANIFEST_MAX_BYTES);
		return NULL;
	}
	if (!manifest_is_shallow(text, size, MANIFEST_MAX_DEPTH)) {
		(void)err_set(err, ERR_LIMIT, "manifest is nested deeper than %d levels",
		    MANIFEST_MAX_DEPTH);
		return NULL;
	}
	result = parse_in_pieces(text, size, manifest, err);
	if (result <= 0)
		return result == 0 ? TAKE(manifest) : NULL;
	manifest_free(manifest);
	manifest = manifest_new();
	spot.object = json_loadb(text, size, JSON_REJECT_DUPLICATES, &problem);
	if (spot.object == NULL) {
		(void)err_set(err, ERR_DATA, "manifest is not valid JSON: line %d column %d: %s",
		    problem.line, problem.column, problem.text);
		return NULL;
	}
	if (!json_is_object(spot.object))
		result = err_set(err, ERR_DATA, "manifest is not a JSON object");
	else
		result = read_manifest(&spot, manifest);
	json_decref(spot.object);

	return result == 0 ? TAKE(manifest) : NULL;
}
