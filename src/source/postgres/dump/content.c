#include <jansson.h>
#include <string.h>

#include "base/err.h"
#include "base/parse.h"
#include "base/str.h"
#include "repo/manifest.h"
#include "source/postgres/dump/dump_internal.h"

enum { NAMES_SHOWN_BYTES = 200 };

static const json_t *
databases_of(const struct manifest *manifest)
{
	return json_object_get(manifest->content, "databases");
}

size_t
dump_databases_count(const struct manifest *manifest)
{
	return json_array_size(databases_of(manifest));
}

static const char *
text_of(const json_t *entry, const char *field)
{
	return json_string_value(json_object_get(entry, field));
}

int
dump_database_get(const struct manifest *manifest, size_t at, struct dump_database *ret,
    struct err *err)
{
	const json_t *entry = json_array_get(databases_of(manifest), at);
	json_int_t bytes = json_integer_value(json_object_get(entry, "bytes"));
	struct dump_database database = {
		.name = text_of(entry, "name"),
		.part = text_of(entry, "file"),
		.is_directory = str_equals(text_of(entry, "format"), "directory"),
		.encoding = text_of(entry, "encoding"),
		.collate = text_of(entry, "collate"),
		.ctype = text_of(entry, "ctype"),
		.provider = text_of(entry, "provider"),
		.locale = text_of(entry, "locale"),
		.icu_rules = text_of(entry, "icu_rules"),
		.owner = text_of(entry, "owner"),
		.bytes = bytes > 0 ? (uint64_t)bytes : 0,
		.tables = json_object_get(entry, "tables"),
		.entry = entry,
	};

	if (database.name == NULL || database.part == NULL)
		return err_set(err, ERR_DATA, "the manifest describes no database %zu", at);
	database.is_counted = json_is_array(database.tables);
	*ret = database;

	return 0;
}

int
dump_database_find(const struct manifest *manifest, const char *name, struct dump_database *ret,
    struct err *err)
{
	struct str names = STR_INIT_MAX(NAMES_SHOWN_BYTES);

	for (size_t i = 0; i < dump_databases_count(manifest); i++) {
		struct dump_database database;

		if (dump_database_get(manifest, i, &database, err) < 0)
			return -1;
		if (strcmp(database.name, name) == 0) {
			str_done(&names);
			*ret = database;
			return 0;
		}
		str_addf(&names, "%s'%s'", names.size > 0 ? ", " : "", database.name);
	}
	(void)err_set(err, ERR_NOT_FOUND, "the backup has no database '%s'", name);
	(void)err_hint(err, "It has %s.", names.size > 0 ? str_text(&names) : "none");
	str_done(&names);

	return -1;
}

int
dump_server_version(const struct manifest *manifest)
{
	return (int)json_integer_value(json_object_get(manifest->content, "server_version_num"));
}

int
dump_tool_version(const struct manifest *manifest)
{
	return (int)json_integer_value(json_object_get(manifest->content, "pg_dump_version_num"));
}

/* "backup-2025-11-25.dump" for "dump". */
static bool
is_part_file(const char *name, const char *part)
{
	size_t size = strlen(name);
	size_t part_size = strlen(part);

	if (strcmp(name, part) == 0)
		return true;

	return size > part_size && name[size - part_size - 1] == '.' &&
	    strcmp(name + size - part_size, part) == 0;
}

const struct manifest_file *
dump_find_part(const struct manifest *manifest, const char *part)
{
	const struct manifest_file *best = NULL;

	/* "a.dump" also ends the file of a database "x.a": the shorter name is the right one. */
	for (size_t i = 0; i < manifest->files.count; i++) {
		const struct manifest_file *file = &manifest->files.items[i];

		if (is_part_file(file->name, part) &&
		    (best == NULL || strlen(file->name) < strlen(best->name)))
			best = file;
	}

	return best;
}

bool
dump_is_in_directory(const struct manifest_file *file, const char *part)
{
	const char *slash = strrchr(file->name, '/');
	size_t part_size = strlen(part);
	size_t size;

	if (slash == NULL)
		return false;
	size = (size_t)(slash - file->name);
	if (size < part_size || strncmp(slash - part_size, part, part_size) != 0)
		return false;

	return size == part_size || file->name[size - part_size - 1] == '.';
}

uint64_t
dump_database_stored_bytes(const struct manifest *manifest, const struct dump_database *database)
{
	uint64_t bytes = 0;

	if (!database->is_directory) {
		const struct manifest_file *file = dump_find_part(manifest, database->part);

		return file != NULL ? file->bytes : 0;
	}
	for (size_t i = 0; i < manifest->files.count; i++) {
		if (dump_is_in_directory(&manifest->files.items[i], database->part))
			bytes += manifest->files.items[i].bytes;
	}

	return bytes;
}
