#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "source/postgres/lsn.h"
#include "source/postgres/wal/reader_internal.h"

enum {
	SEGMENT_MIN_BYTES = 1024 * 1024,
	SEGMENT_MAX_BYTES = 1024 * 1024 * 1024,
};

struct wal_reader *
wal_reader_new(const struct wal_options *options)
{
	struct wal_reader *reader = xcalloc(1, sizeof(*reader));

	assert(options->segment_bytes >= SEGMENT_MIN_BYTES &&
	    options->segment_bytes <= SEGMENT_MAX_BYTES &&
	    (options->segment_bytes & (options->segment_bytes - 1)) == 0);
	reader->options = *options;
	reader->at = options->segment * options->segment_bytes;
	reader->timeline = options->timeline;
	reader->summary.depth = options->depth;
	reader->summary.system_identifier = options->system_identifier;

	return reader;
}

void
wal_reader_free(struct wal_reader *reader)
{
	if (reader == NULL)
		return;
	vec_done(&reader->summary.points);
	vec_done(&reader->summary.switches);
	free(reader);
}

const struct wal_summary *
wal_reader_summary(const struct wal_reader *reader)
{
	return &reader->summary;
}

/* ---- failures ---------------------------------------------------------------------------- */

int
wal_fail(const struct wal_reader *reader, uint64_t lsn, struct err *err, const char *format, ...)
{
	uint64_t segment_bytes = reader->options.segment_bytes;
	char name[WAL_NAME_SIZE], position[LSN_TEXT_SIZE];
	char what[200];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(what, sizeof(what), format, arguments);
	va_end(arguments);

	return err_set(err, ERR_DATA, "WAL segment %s is damaged at %s (byte %llu): %s",
	    wal_name_format(reader->timeline, lsn / segment_bytes, segment_bytes, name),
	    lsn_format(lsn, position), (unsigned long long)(lsn & (segment_bytes - 1)), what);
}

static int
remember(struct wal_reader *reader, int result, struct err *err)
{
	if (result < 0)
		reader->failed = *err;

	return result;
}

static bool
has_failed(const struct wal_reader *reader, struct err *err)
{
	if (reader->failed.kind == ERR_NONE)
		return false;
	*err = reader->failed;

	return true;
}

static bool
is_at_segment(const struct wal_reader *reader)
{
	return (reader->at & (reader->options.segment_bytes - 1)) == 0;
}

/* ---- bytes ------------------------------------------------------------------------------- */

static int
take_body(struct wal_reader *reader, const uint8_t *data, size_t size, struct err *err)
{
	if (reader->summary.depth < WAL_DEPTH_PAGES)
		return 0;
	if (reader->is_empty)
		return wal_page_empty(reader, data, size, err);
	if (reader->summary.depth < WAL_DEPTH_RECORDS)
		return 0;

	return wal_record_feed(reader, data, size, err);
}

/* What comes next, up to the end of the header or of the page. */
static int
take_some(struct wal_reader *reader, const uint8_t *data, size_t size, size_t *ret_used,
    struct err *err)
{
	size_t offset = (size_t)(reader->at & (WAL_PAGE_BYTES - 1));
	uint64_t page = reader->at - offset;
	size_t header_bytes = wal_page_header_bytes(reader, page);
	size_t end = offset < header_bytes ? header_bytes : WAL_PAGE_BYTES;
	size_t take = size < end - offset ? size : end - offset;

	if (offset >= header_bytes) {
		if (take_body(reader, data, take, err) < 0)
			return -1;
		reader->at = page + offset + take;
	} else {
		memcpy(reader->header + offset, data, take);
		reader->at += take;
		if (offset + take == header_bytes && wal_page_begin(reader, page, err) < 0)
			return -1;
	}
	*ret_used = take;

	return 0;
}

int
wal_reader_feed(struct wal_reader *reader, const void *data, size_t size, struct err *err)
{
	const uint8_t *bytes = data;

	if (has_failed(reader, err))
		return -1;
	while (size > 0) {
		size_t used = 0;

		if (take_some(reader, bytes, size, &used, err) < 0)
			return remember(reader, -1, err);
		bytes += used;
		size -= used;
	}

	return 0;
}

/* ---- segments ---------------------------------------------------------------------------- */

/* The bytes so far end where a segment ends. */
static int
check_whole(const struct wal_reader *reader, struct err *err)
{
	uint64_t segment_bytes = reader->options.segment_bytes;
	uint64_t got = reader->at & (segment_bytes - 1);

	if (got == 0)
		return 0;

	return wal_fail(reader, reader->at, err, "it is cut off, %llu of %llu bytes are there",
	    (unsigned long long)got, (unsigned long long)segment_bytes);
}

static int
check_next(const struct wal_reader *reader, uint32_t timeline, uint64_t segment, struct err *err)
{
	uint64_t segment_bytes = reader->options.segment_bytes;
	uint64_t due = reader->at / segment_bytes;
	char missing[WAL_NAME_SIZE], found[WAL_NAME_SIZE];

	if (check_whole(reader, err) < 0)
		return -1;
	if (segment == due && timeline >= reader->timeline)
		return 0;

	return err_set(err, ERR_DATA, "WAL segment %s is missing, %s is there in its place",
	    wal_name_format(reader->timeline, due, segment_bytes, missing),
	    wal_name_format(timeline, segment, segment_bytes, found));
}

int
wal_reader_segment(struct wal_reader *reader, uint32_t timeline, uint64_t segment, struct err *err)
{
	if (has_failed(reader, err))
		return -1;
	if (check_next(reader, timeline, segment, err) < 0)
		return remember(reader, -1, err);
	reader->timeline = timeline;

	return 0;
}

void
wal_reader_forget(struct wal_reader *reader)
{
	struct wal_summary *summary = &reader->summary;

	summary->records = 0;
	summary->first_lsn = summary->last_lsn = 0;
	summary->commits = 0;
	summary->first_commit.us = summary->last_commit.us = summary->latest_commit.us = 0;
	summary->restore_points = 0;
	summary->points.count = 0;
	summary->switches.count = 0;
}

int
wal_reader_finish(struct wal_reader *reader, struct err *err)
{
	bool is_none = reader->at == reader->options.segment * reader->options.segment_bytes;

	if (has_failed(reader, err))
		return -1;
	if (is_none)
		return remember(reader, wal_fail(reader, reader->at, err, "it has no bytes"), err);
	if (!is_at_segment(reader) && !reader->options.is_unfinished)
		return remember(reader, check_whole(reader, err), err);

	return 0;
}
