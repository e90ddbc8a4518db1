#include "source/postgres/base/level1.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/progress.h"
#include "base/str.h"
#include "source/postgres/base/content.h"
#include "source/postgres/base/covered.h"
#include "source/postgres/base/page_scan.h"
#include "source/postgres/base/reader.h"
#include "source/postgres/base/wal.h"
#include "source/postgres/control.h"
#include "source/postgres/lsn.h"
#include "source/source.h"
#include "stream/tar_push.h"

#define CONTROL_PATH "global/pg_control"

struct level1 {
	const struct base_content *content;
	const struct base_observer *also;
	struct progress *progress;
	struct page_scan pages;
	uint8_t control[CONTROL_FILE_BYTES];
	size_t control_size;
	bool is_control;
	struct base_wal *wal;
};

/* ---- while the files flow -------------------------------------------------------------------------- */

static int
on_begin(void *context, const char *path, const struct tar_entry *entry, struct err *err)
{
	struct level1 *level = context;

	level->is_control = strcmp(path, CONTROL_PATH) == 0;
	base_wal_begin(level->wal, path, entry);
	if (level->content->has_checksums && entry->type == TAR_FILE &&
	    page_scan_begin(&level->pages, path))
		level->pages.is_known_damaged = base_content_is_damaged(level->content, path);

	return level->also != NULL ? level->also->begin(level->also->context, path, entry, err) : 0;
}

static size_t
keep(uint8_t *to, size_t used, size_t capacity, const void *data, size_t size)
{
	size_t take = size < capacity - used ? size : capacity - used;

	memcpy(to + used, data, take);

	return used + take;
}

static int
on_data(void *context, const void *data, size_t size, struct err *err)
{
	struct level1 *level = context;

	page_scan_data(&level->pages, data, size);
	if (level->is_control)
		level->control_size = keep(level->control, level->control_size,
		    sizeof(level->control), data, size);
	base_wal_data(level->wal, data, size);
	progress_add(level->progress, size);

	return level->also != NULL ? level->also->data(level->also->context, data, size, err) : 0;
}

static int
on_end(void *context, struct err *err)
{
	struct level1 *level = context;

	page_scan_end(&level->pages);
	base_wal_end(level->wal);

	return level->also != NULL ? level->also->end(level->also->context, err) : 0;
}

/* ---- afterwards ------------------------------------------------------------------------------------- */

static int
check_control(const struct level1 *level, struct verify_report *report, struct err *err)
{
	struct control control;

	if (control_parse(level->control, level->control_size, &control, err) < 0) {
		if (err->kind != ERR_UNSUPPORTED)
			return -1;
		vec_push(&report->warnings, xasprintf("%s: its fields were not checked", err->msg));
		return 0;
	}
	if (control.system_identifier != level->content->system_identifier)
		return err_set(err, ERR_DATA,
		    "pg_control is of system %llu, the backup of system %llu",
		    (unsigned long long)control.system_identifier,
		    (unsigned long long)level->content->system_identifier);
	if ((control.checksum_version != 0) != level->content->has_checksums)
		return err_set(err, ERR_DATA,
		    "pg_control and the manifest do not agree whether pages "
		    "have checksums");
	if (control.block_bytes != PAGE_BYTES || control.blocks_per_segment != PAGES_PER_SEGMENT)
		return err_set(err, ERR_UNSUPPORTED,
		    "pages of %u bytes, %u to a file, are not known here", control.block_bytes,
		    control.blocks_per_segment);

	return 0;
}

static int
judge_pages(const struct page_scan *pages, struct verify_report *report, struct err *err)
{
	if (pages->known_bad_count > 0)
		vec_push(&report->warnings,
		    xasprintf("%llu pages fail their checksums in files that "
			      "were damaged at the source already",
			(unsigned long long)pages->known_bad_count));
	if (pages->bad_count == 0)
		return 0;

	return err_set(err, ERR_DATA, "page checksum wrong in file '%s', block %u%s",
	    pages->bad[0].path, pages->bad[0].block, pages->bad_count > 1 ? ", and more" : "");
}

/* Recovery needs it all: a backup whose WAL is not whole cannot be started. */
static int
judge_wal(const struct level1 *level, struct archive *archive, struct verify_report *report,
    struct err *err)
{
	const struct base_content *content = level->content;
	struct base_wal_result result;
	char start[LSN_TEXT_SIZE], end[LSN_TEXT_SIZE];

	if (!content->has_wal && archive == NULL) {
		vec_push(&report->warnings,
		    xstrdup("the backup has no WAL of its own, and there is no archive to look for "
			    "it: it was not checked"));
		return 0;
	}
	if ((content->has_wal ? base_wal_finish(level->wal, content->end_timeline, content->end_lsn,
				    &result, err)
			      : covered_check(archive, content, &result, err)) < 0)
		return -1;
	(void)lsn_format(content->start_lsn, start);
	(void)lsn_format(content->end_lsn, end);
	switch (result.depth) {
	case BASE_WAL_RECORDS:
		vec_push(&report->notes,
		    xasprintf("WAL from %s to %s is whole: %llu records", start, end,
			(unsigned long long)result.records));
		break;
	case BASE_WAL_PAGES:
		vec_push(&report->warnings,
		    xasprintf("WAL from %s to %s is of a version that is not known here: its "
			      "pages were checked, its records were not",
			start, end));
		break;
	case BASE_WAL_HEADS:
		vec_push(&report->warnings,
		    xasprintf("the timeline switches in the WAL from %s to %s: only the heads of "
			      "its segments were checked",
			start, end));
		break;
	}

	return 0;
}

static struct base_wal *
open_wal(const struct base_content *content)
{
	const struct base_wal_options options = {
		.segment_bytes = content->wal_segment_bytes,
		.system_identifier = content->system_identifier,
		.server_major = content->server_version / 10000,
		.start_timeline = content->start_timeline,
		.start_lsn = content->start_lsn,
	};

	return base_wal_new(&options);
}

static void
add_details(const struct level1 *level, const struct base_reader_totals *totals,
    struct verify_report *report)
{
	const struct page_scan *pages = &level->pages;
	json_t *bad = json_array();

	for (uint64_t i = 0; i < pages->bad_count && i < PAGE_SCAN_NAMED_MAX; i++)
		(void)json_array_append_new(bad,
		    json_pack("{s:s, s:I}", "file", pages->bad[i].path, "block",
			(json_int_t)pages->bad[i].block));
	(void)json_object_set_new(report->details, "level1",
	    json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "files", (json_int_t)totals->files,
		"bytes", (json_int_t)totals->bytes, "wal_segments",
		(json_int_t)totals->wal_segments, "pages", (json_int_t)pages->pages, "pages_torn",
		(json_int_t)pages->pages_skipped, "pages_bad",
		(json_int_t)(pages->bad_count + pages->known_bad_count), "bad", bad));
}

static void
add_notes(const struct level1 *level, const struct base_reader_totals *totals,
    struct verify_report *report)
{
	char bytes[32];

	vec_push(&report->notes,
	    xasprintf("%llu files, %s, equal to the server's manifest",
		(unsigned long long)totals->files, format_bytes(totals->bytes, bytes)));
	if (totals->unchecked > 0)
		vec_push(&report->notes,
		    xasprintf("%llu files have checksums that are not computed here "
			      "(SHA): only their sizes were compared",
			(unsigned long long)totals->unchecked));
	if (level->content->has_checksums)
		vec_push(&report->notes,
		    xasprintf("%llu pages have right checksums",
			(unsigned long long)level->pages.pages));
	else
		vec_push(&report->notes, xstrdup("pages have no checksums at the source"));
	if (level->pages.pages_skipped > 0)
		vec_push(&report->notes,
		    xasprintf(
			"%llu pages were changed while they were copied: recovery writes them anew",
			(unsigned long long)level->pages.pages_skipped));
}

int
base_level1(const struct base_content *content, const struct backup_view *view,
    const struct verify_request *request, const struct base_observer *also,
    struct verify_report *report, struct err *err)
{
	SCOPED(freep) struct level1 *level = xcalloc(1, sizeof(*level));
	const struct base_observer observer = {
		.begin = on_begin,
		.data = on_data,
		.end = on_end,
		.context = level,
	};
	SCOPED(base_reader_freep)
	struct base_reader *reader = base_reader_new(&observer, content->wal_segment_bytes);
	SCOPED(base_wal_freep) struct base_wal *wal = open_wal(content);
	struct base_reader_totals totals;

	level->content = content;
	level->wal = wal;
	level->also = also;
	level->progress = request->progress;
	level->pages.start_lsn = content->start_lsn;
	level->pages.end_lsn = content->end_lsn;
	progress_phase(request->progress, "reading", base_content_bytes(content));
	if (base_content_read_all(content, view, reader, NULL, err) < 0)
		return -1;
	totals = base_reader_totals(reader);
	add_details(level, &totals, report);
	if (check_control(level, report, err) < 0 || judge_pages(&level->pages, report, err) < 0 ||
	    judge_wal(level, request->archive, report, err) < 0)
		return -1;
	add_notes(level, &totals, report);

	return 0;
}
