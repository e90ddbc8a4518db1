#include "source/postgres/base/content.h"

#include <jansson.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "repo/manifest.h"
#include "source/postgres/base/reader.h"
#include "source/postgres/lsn.h"
#include "source/source.h"
#include "stream/links.h"
#include "stream/sink.h"

enum {
	VERSION_OLDEST = 130000,
	DEFAULT_WAL_SEGMENT_BYTES = 16 * 1024 * 1024,
	PART_TEXT_MAX = 16 * 1024 * 1024,
};

const struct manifest_file *
base_part(const struct manifest *manifest, const char *name)
{
	size_t size = strlen(name);

	for (size_t i = 0; i < manifest->files.count; i++) {
		const struct manifest_file *file = &manifest->files.items[i];

		if (strncmp(file->name, name, size) == 0 &&
		    (file->name[size] == '\0' || strcmp(file->name + size, ".zst") == 0))
			return file;
	}

	return NULL;
}

static int
missing(const char *field, struct err *err)
{
	return err_set(err, ERR_DATA, "the manifest's content has no usable '%s'", field);
}

static int
get_text(const json_t *object, const char *field, const char **ret_text, struct err *err)
{
	const char *text = json_string_value(json_object_get(object, field));

	if (text == NULL)
		return missing(field, err);
	*ret_text = text;

	return 0;
}

static int
get_number(const json_t *object, const char *field, int64_t max, int64_t *ret_number,
    struct err *err)
{
	const json_t *value = json_object_get(object, field);

	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
	    json_integer_value(value) > max)
		return missing(field, err);
	*ret_number = json_integer_value(value);

	return 0;
}

static int
get_lsn(const json_t *object, const char *field, uint64_t *ret_lsn, struct err *err)
{
	const char *text = NULL;

	if (get_text(object, field, &text, err) < 0)
		return -1;
	if (lsn_parse(text, ret_lsn, err) < 0)
		return missing(field, err);

	return 0;
}

static int
read_positions(const json_t *object, struct base_content *content, struct err *err)
{
	int64_t start_timeline = 0, end_timeline = 0, segment = 0, version = 0;
	const char *identifier = NULL;

	if (get_lsn(object, "start_lsn", &content->start_lsn, err) < 0 ||
	    get_lsn(object, "end_lsn", &content->end_lsn, err) < 0 ||
	    get_number(object, "start_timeline", UINT32_MAX, &start_timeline, err) < 0 ||
	    get_number(object, "end_timeline", UINT32_MAX, &end_timeline, err) < 0 ||
	    get_number(object, "wal_segment_size", 1 << 30, &segment, err) < 0 ||
	    get_number(object, "server_version_num", 10000000, &version, err) < 0 ||
	    get_text(object, "system_identifier", &identifier, err) < 0)
		return -1;
	if (segment < 1024 * 1024 || (segment & (segment - 1)) != 0)
		return missing("wal_segment_size", err);
	if (version < VERSION_OLDEST)
		return missing("server_version_num", err);
	if (parse_u64(identifier, 0, UINT64_MAX, &content->system_identifier, err) < 0)
		return missing("system_identifier", err);
	content->start_timeline = (uint32_t)start_timeline;
	content->end_timeline = (uint32_t)end_timeline;
	content->wal_segment_bytes = (uint64_t)segment;
	content->server_version = (int)version;

	return 0;
}

static int
read_space(const json_t *object, const struct manifest *manifest, struct base_content *content,
    struct err *err)
{
	struct base_space space = {
		.name = json_string_value(json_object_get(object, "name")),
	};
	const char *file = NULL;

	if (get_text(object, "oid", &space.oid, err) < 0 ||
	    get_text(object, "location", &space.location, err) < 0 ||
	    get_text(object, "file", &file, err) < 0)
		return err_wrap(err, "a tablespace");
	/* The OID becomes a folder's name. */
	if (space.oid[0] == '\0' || strlen(space.oid) > 10 ||
	    strspn(space.oid, "0123456789") != strlen(space.oid))
		return err_set(err, ERR_DATA, "'%.40s' is not the OID of a tablespace", space.oid);
	space.file = base_part(manifest, file);
	if (space.file == NULL)
		return err_set(err, ERR_DATA, "the backup has no part '%.60s'", file);
	vec_push(&content->spaces, space);

	return 0;
}

/* Older backups do not have it. */
static uint64_t
read_next_xid(const json_t *object)
{
	const char *text = json_string_value(json_object_get(object, "next_xid"));
	struct err ignored = ERR_INIT;
	uint64_t xid;

	return text != NULL && parse_u64(text, 0, UINT64_MAX, &xid, &ignored) == 0 ? xid : 0;
}

int
base_content_read(const struct manifest *manifest, struct base_content *ret_content,
    struct err *err)
{
	SCOPED(base_content_done) struct base_content content = { .base = NULL };
	const json_t *object = manifest->content;
	size_t index;
	const json_t *space;

	if (read_positions(object, &content, err) < 0)
		return -1;
	content.has_wal = json_is_true(json_object_get(object, "wal_included"));
	content.next_xid = read_next_xid(object);
	content.has_checksums = json_is_true(json_object_get(object, "checksums"));
	content.superuser = json_string_value(json_object_get(object, "superuser"));
	content.databases = json_object_get(object, "databases");
	content.damaged_files = json_object_get(object, "damaged_files");
	content.base = base_part(manifest, "base.tar");
	content.manifest = base_part(manifest, "backup_manifest");
	if (content.base == NULL || content.manifest == NULL)
		return err_set(err, ERR_DATA, "the backup has no part '%s'",
		    content.base == NULL ? "base.tar" : "backup_manifest");
	json_array_foreach(json_object_get(object, "tablespaces"), index, space)
	{
		if (read_space(space, manifest, &content, err) < 0)
			return -1;
	}
	*ret_content = content;
	memset(&content.spaces, 0, sizeof(content.spaces));

	return 0;
}

void
base_content_done(struct base_content *content)
{
	vec_done(&content->spaces);
}

bool
base_content_is_damaged(const struct base_content *content, const char *path)
{
	size_t index;
	const json_t *file;

	json_array_foreach(content->damaged_files, index, file)
	{
		if (str_equals(json_string_value(file), path))
			return true;
	}

	return false;
}

uint64_t
base_content_bytes(const struct base_content *content)
{
	uint64_t bytes = content->base->content_bytes;

	for (size_t i = 0; i < content->spaces.count; i++)
		bytes += content->spaces.items[i].file->content_bytes;

	return bytes;
}

/* ---- reading ------------------------------------------------------------------------------------ */

static int
read_archive(const struct backup_view *view, const struct manifest_file *file, const char *oid,
    struct base_reader *reader, struct err *err)
{
	SCOPED(sink_freep) struct sink *tar = base_reader_archive(reader, oid);

	if (view->read(view, file, tar, err) < 0)
		return -1;
	if (sink_finish(tar, err) < 0)
		return err_wrap(err, "file '%s'", file->name);

	return 0;
}

int
base_content_read_all(const struct base_content *content, const struct backup_view *view,
    struct base_reader *reader, struct sink *copy, struct err *err)
{
	SCOPED(sink_freep)
	struct sink *manifest = tee_sink_new(base_reader_manifest_sink(reader),
	    copy != NULL ? copy : null_sink_new());

	/* In the order in which the server sent them, which is that of its manifest. */
	for (size_t i = 0; i < content->spaces.count; i++) {
		const struct base_space *space = &content->spaces.items[i];

		if (read_archive(view, space->file, space->oid, reader, err) < 0)
			return -1;
	}
	if (read_archive(view, content->base, NULL, reader, err) < 0 ||
	    view->read(view, content->manifest, manifest, err) < 0 ||
	    sink_finish(manifest, err) < 0 ||
	    base_reader_finish(reader, content->system_identifier, err) < 0 ||
	    base_reader_check_ranges(reader, content->start_lsn, content->end_lsn, err) < 0)
		return -1;
	if (!content->has_wal)
		return 0;

	return base_reader_check_wal(reader, content->end_timeline, content->start_lsn,
	    content->end_lsn, err);
}

int
base_content_text(const struct backup_view *view, const char *part, struct str *to, struct err *err)
{
	const struct manifest_file *file = base_part(view->manifest, part);

	if (file == NULL)
		return err_set(err, ERR_NOT_FOUND, "the backup has no part '%s'", part);
	if (file->content_bytes > PART_TEXT_MAX)
		return err_set(err, ERR_LIMIT, "part '%s' is too large", part);

	SCOPED(sink_freep) struct sink *sink = str_sink_new(to);
	if (view->read(view, file, sink, err) < 0)
		return -1;

	return sink_finish(sink, err);
}

int
base_content_settings(const struct backup_view *view, struct json_t **ret_settings, struct err *err)
{
	SCOPED(str_done) struct str text = STR_INIT_MAX(PART_TEXT_MAX);
	json_error_t error;

	if (base_part(view->manifest, "settings.json") == NULL) {
		*ret_settings = NULL;
		return 0;
	}
	if (base_content_text(view, "settings.json", &text, err) < 0)
		return -1;
	*ret_settings = json_loadb(str_text(&text), text.size, 0, &error);
	if (*ret_settings == NULL)
		return err_set(err, ERR_DATA, "part 'settings.json' is not valid JSON: %s",
		    error.text);

	return 0;
}
