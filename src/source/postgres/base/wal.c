#include "source/postgres/base/wal.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "source/postgres/lsn.h"
#include "source/postgres/wal/reader.h"
#include "stream/tar_push.h"

struct base_wal {
	struct base_wal_options options;
	struct wal_reader *run;   /* the segments from the start position on */
	struct wal_reader *other; /* another one, while it flows */
	struct wal_reader *now;   /* one of the two, or NULL: no segment */
	struct err other_failed;
};

struct base_wal *
base_wal_new(const struct base_wal_options *options)
{
	struct base_wal *wal = xcalloc(1, sizeof(*wal));

	wal->options = *options;

	return wal;
}

void
base_wal_free(struct base_wal *wal)
{
	if (wal == NULL)
		return;
	wal_reader_free(wal->run);
	wal_reader_free(wal->other);
	free(wal);
}

static struct wal_reader *
open_reader(const struct base_wal *wal, enum wal_depth depth, uint32_t timeline, uint64_t segment)
{
	const struct wal_options options = {
		.depth = depth,
		.timeline = timeline,
		.segment = segment,
		.segment_bytes = wal->options.segment_bytes,
		.system_identifier = wal->options.system_identifier,
		.server_major = wal->options.server_major,
		.start_lsn = wal->options.start_lsn,
	};

	return wal_reader_new(&options);
}

void
base_wal_begin(struct base_wal *wal, const char *path, const struct tar_entry *entry)
{
	uint64_t first = wal->options.start_lsn / wal->options.segment_bytes;
	struct err remembered; /* by the reader, and told in the end */
	uint32_t timeline;
	uint64_t segment;

	wal->now = NULL;
	if (entry->type != TAR_FILE || !str_starts_with(path, "pg_wal/") ||
	    !wal_name_parse(path + strlen("pg_wal/"), wal->options.segment_bytes, &timeline,
		&segment))
		return;
	if (timeline != wal->options.start_timeline || segment < first) {
		wal->other = open_reader(wal, WAL_DEPTH_HEAD, timeline, segment);
		wal->now = wal->other;
		return;
	}
	if (wal->run == NULL)
		wal->run = open_reader(wal, WAL_DEPTH_RECORDS, timeline, first);
	if (wal_reader_segment(wal->run, timeline, segment, &remembered) == 0)
		wal->now = wal->run;
}

void
base_wal_data(struct base_wal *wal, const void *data, size_t size)
{
	struct err remembered;

	if (wal->now != NULL && wal_reader_feed(wal->now, data, size, &remembered) < 0)
		wal->now = NULL;
}

void
base_wal_end(struct base_wal *wal)
{
	struct err err;

	wal->now = NULL;
	if (wal->other == NULL)
		return;
	if (wal_reader_finish(wal->other, &err) < 0 && wal->other_failed.kind == ERR_NONE)
		wal->other_failed = err;
	wal_reader_free(TAKE(wal->other));
}

/* What the reader found wrong, or that it ends too early. */
static int
fail(const struct base_wal *wal, uint64_t reached, uint64_t end_lsn, struct err *err)
{
	char reached_text[LSN_TEXT_SIZE], end_text[LSN_TEXT_SIZE];

	if (wal_reader_finish(wal->run, err) < 0)
		return -1;

	return err_set(err, ERR_DATA, "the WAL ends at %s, the backup needs it up to %s",
	    lsn_format(reached, reached_text), lsn_format(end_lsn, end_text));
}

int
base_wal_finish(const struct base_wal *wal, uint32_t end_timeline, uint64_t end_lsn,
    struct base_wal_result *ret_result, struct err *err)
{
	struct base_wal_result result = { .depth = BASE_WAL_HEADS };
	const struct wal_summary *summary;
	char text[LSN_TEXT_SIZE];

	if (wal->other_failed.kind != ERR_NONE) {
		*err = wal->other_failed;
		return -1;
	}
	if (wal->run == NULL)
		return err_set(err, ERR_DATA, "the backup has no WAL from %s on",
		    lsn_format(wal->options.start_lsn, text));
	if (end_timeline != wal->options.start_timeline) {
		*ret_result = result;
		return 0;
	}
	summary = wal_reader_summary(wal->run);
	if (summary->depth == WAL_DEPTH_PAGES) {
		result.depth = BASE_WAL_PAGES;
		if (summary->page_lsn + WAL_PAGE_BYTES < end_lsn)
			return fail(wal, summary->page_lsn + WAL_PAGE_BYTES, end_lsn, err);
	} else {
		result.depth = BASE_WAL_RECORDS;
		result.records = summary->records;
		if (summary->end_lsn < end_lsn)
			return fail(wal, summary->end_lsn, end_lsn, err);
		if (summary->first_lsn != wal->options.start_lsn)
			return err_set(err, ERR_DATA, "no WAL record begins at %s",
			    lsn_format(wal->options.start_lsn, text));
	}
	*ret_result = result;

	return 0;
}
