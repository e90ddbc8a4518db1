#include "source/postgres/base/reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "source/postgres/base/check.h"
#include "source/postgres/base/manifest.h"
#include "source/postgres/lsn.h"
#include "stream/crc32c.h"
#include "stream/sink.h"
#include "stream/tar_push.h"

enum { PATH_MAX_BYTES = TAR_NAME_MAX + 32 };

struct base_reader {
	struct base_observer observer;
	uint64_t wal_segment_bytes;
	struct base_check *check;
	struct base_manifest *manifest;
	VEC(uint64_t) segments; /* numbers of whole WAL segments, timeline left out */
	uint64_t ranges_start;  /* of the WAL that the manifest asks for; 0/0: none */
	uint64_t ranges_end;
	char prefix[32]; /* "" or "pg_tblspc/16401/" */

	/* the entry at hand */
	char path[PATH_MAX_BYTES + 1];
	uint64_t size_bytes;
	uint32_t crc32c;
	bool is_file;
	bool is_wal;
};

/*
 * Not compared with the server's manifest: WAL segments are added after it is settled and never
 * listed, while the marks beside them (archive_status/...done) are.
 */
static bool
is_wal_path(const char *path)
{
	return str_starts_with(path, "pg_wal/");
}

static int
on_begin(void *context, const struct tar_entry *entry, struct err *err)
{
	struct base_reader *reader = context;
	uint32_t timeline;
	uint64_t segment;

	(void)snprintf(reader->path, sizeof(reader->path), "%s%s", reader->prefix, entry->name);
	reader->is_file = entry->type == TAR_FILE;
	reader->is_wal = is_wal_path(reader->path);
	reader->size_bytes = entry->size_bytes;
	reader->crc32c = 0;
	if (reader->is_wal && reader->is_file && entry->size_bytes == reader->wal_segment_bytes &&
	    wal_name_parse(reader->path + strlen("pg_wal/"), reader->wal_segment_bytes, &timeline,
		&segment))
		vec_push(&reader->segments, segment);
	if (reader->observer.begin == NULL)
		return 0;

	return reader->observer.begin(reader->observer.context, reader->path, entry, err);
}

static int
on_data(void *context, const void *data, size_t size, struct err *err)
{
	struct base_reader *reader = context;

	if (!reader->is_wal)
		reader->crc32c = crc32c(reader->crc32c, data, size);
	if (reader->observer.data == NULL || !reader->is_file)
		return 0;

	return reader->observer.data(reader->observer.context, data, size, err);
}

static int
on_end(void *context, struct err *err)
{
	struct base_reader *reader = context;

	if (!reader->is_file)
		return 0;
	if (!reader->is_wal &&
	    base_check_add(reader->check, reader->path, reader->size_bytes, reader->crc32c, err) <
		0)
		return -1;
	if (reader->observer.end == NULL)
		return 0;

	return reader->observer.end(reader->observer.context, err);
}

static int
on_listed(void *context, const struct base_manifest_file *file, struct err *err)
{
	struct base_reader *reader = context;

	if (is_wal_path(file->path))
		return 0;

	return base_check_listed(reader->check, file, err);
}

/* One for each timeline, each beginning where the one before ends. */
static int
on_range(void *context, const struct base_manifest_range *range, struct err *err)
{
	struct base_reader *reader = context;

	(void)err;
	if (reader->ranges_end == 0 || range->start_lsn < reader->ranges_start)
		reader->ranges_start = range->start_lsn;
	if (range->end_lsn > reader->ranges_end)
		reader->ranges_end = range->end_lsn;

	return 0;
}

struct base_reader *
base_reader_new(const struct base_observer *observer, uint64_t wal_segment_bytes)
{
	struct base_reader *reader = xcalloc(1, sizeof(*reader));
	const struct base_manifest_handler handler = {
		.file = on_listed,
		.range = on_range,
		.context = reader,
	};

	reader->observer = *observer;
	reader->wal_segment_bytes = wal_segment_bytes;
	reader->check = base_check_new();
	reader->manifest = base_manifest_new(&handler);

	return reader;
}

struct sink *
base_reader_archive(struct base_reader *reader, const char *tablespace)
{
	const struct tar_handler handler = {
		.begin = on_begin,
		.data = on_data,
		.end = on_end,
		.context = reader,
	};

	if (tablespace == NULL)
		reader->prefix[0] = '\0';
	else
		(void)snprintf(reader->prefix, sizeof(reader->prefix), "pg_tblspc/%.12s/",
		    tablespace);

	return tar_push_new(&handler);
}

int
base_reader_manifest(struct base_reader *reader, const void *data, size_t size, struct err *err)
{
	return base_manifest_feed(reader->manifest, data, size, err);
}

struct manifest_sink {
	struct sink base;
	struct base_reader *reader;
};

static int
manifest_sink_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	return base_reader_manifest(((struct manifest_sink *)sink)->reader, data, size, err);
}

/* Complete or not is for base_reader_finish to say. */
static int
manifest_sink_finish(struct sink *sink, struct err *err)
{
	(void)sink;
	(void)err;

	return 0;
}

static void
manifest_sink_free(struct sink *sink)
{
	free(sink);
}

static const struct sink_ops manifest_sink_ops = {
	.name = "manifest",
	.write = manifest_sink_write,
	.finish = manifest_sink_finish,
	.free = manifest_sink_free,
};

struct sink *
base_reader_manifest_sink(struct base_reader *reader)
{
	struct manifest_sink *sink = xcalloc(1, sizeof(*sink));

	sink->base.ops = &manifest_sink_ops;
	sink->reader = reader;

	return &sink->base;
}

int
base_reader_finish(struct base_reader *reader, uint64_t system_identifier, struct err *err)
{
	struct base_manifest_summary summary;

	if (base_manifest_finish(reader->manifest, &summary, err) < 0)
		return -1;
	if (system_identifier != 0 && summary.system_identifier != 0 &&
	    summary.system_identifier != system_identifier)
		return err_set(err, ERR_DATA,
		    "the server's manifest is of system %llu, the backup of system %llu",
		    (unsigned long long)summary.system_identifier,
		    (unsigned long long)system_identifier);

	return base_check_finish(reader->check, err);
}

static bool
has_segment(const struct base_reader *reader, uint64_t segment)
{
	for (size_t i = 0; i < reader->segments.count; i++) {
		if (reader->segments.items[i] == segment)
			return true;
	}

	return false;
}

int
base_reader_check_ranges(const struct base_reader *reader, uint64_t start_lsn, uint64_t end_lsn,
    struct err *err)
{
	char start[LSN_TEXT_SIZE], end[LSN_TEXT_SIZE], from[LSN_TEXT_SIZE], to[LSN_TEXT_SIZE];

	if (reader->ranges_start == start_lsn && reader->ranges_end == end_lsn)
		return 0;

	return err_set(err, ERR_DATA,
	    "the server's manifest asks for WAL from %s to %s, the backup for WAL from %s to %s",
	    lsn_format(reader->ranges_start, from), lsn_format(reader->ranges_end, to),
	    lsn_format(start_lsn, start), lsn_format(end_lsn, end));
}

int
base_reader_check_wal(const struct base_reader *reader, uint32_t timeline, uint64_t start_lsn,
    uint64_t end_lsn, struct err *err)
{
	uint64_t first, last;
	char name[WAL_NAME_SIZE];

	wal_range_segments(start_lsn, end_lsn, reader->wal_segment_bytes, &first, &last);
	for (uint64_t segment = first; segment <= last; segment++) {
		if (has_segment(reader, segment))
			continue;
		return err_set(err, ERR_DATA,
		    "WAL segment %s is missing, without it the backup cannot become consistent",
		    wal_name_format(timeline, segment, reader->wal_segment_bytes, name));
	}

	return 0;
}

struct base_reader_totals
base_reader_totals(const struct base_reader *reader)
{
	return (struct base_reader_totals){
		.files = base_check_files(reader->check),
		.bytes = base_check_bytes(reader->check),
		.unchecked = base_check_unchecked(reader->check),
		.wal_segments = reader->segments.count,
	};
}

void
base_reader_free(struct base_reader *reader)
{
	if (reader == NULL)
		return;
	base_check_free(reader->check);
	base_manifest_free(reader->manifest);
	vec_done(&reader->segments);
	free(reader);
}
