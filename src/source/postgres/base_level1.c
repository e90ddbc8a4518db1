#include "source/postgres/base_level1.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/progress.h"
#include "base/str.h"
#include "source/postgres/base_content.h"
#include "source/postgres/base_reader.h"
#include "source/postgres/control.h"
#include "source/postgres/lsn.h"
#include "source/postgres/page_scan.h"
#include "source/source.h"
#include "stream/tar_push.h"

#define CONTROL_PATH "global/pg_control"

enum {
	WAL_HEAD_BYTES = 40,
	WAL_LONG_HEADER = 0x0002, /* XLP_LONG_HEADER, of the first page of a segment */
};

struct level1 {
	const struct base_content *content;
	const struct base_observer *also;
	struct progress *progress;
	struct page_scan pages;
	uint8_t control[CONTROL_FILE_BYTES];
	size_t control_size;
	bool is_control;
	bool is_wal; /* a whole segment */
	uint64_t wal_segment;
	uint8_t wal_head[WAL_HEAD_BYTES];
	size_t wal_head_size;
	const char *path;
};

static uint64_t
get_le(const uint8_t *data, size_t size)
{
	uint64_t value = 0;

	while (size-- > 0)
		value = value << 8 | data[size];

	return value;
}

/* ---- while the files flow -------------------------------------------------------------------------- */

static int
on_begin(void *context, const char *path, const struct tar_entry *entry, struct err *err)
{
	struct level1 *level = context;
	uint32_t timeline;

	level->path = path;
	level->is_control = strcmp(path, CONTROL_PATH) == 0;
	level->is_wal = entry->type == TAR_FILE && str_starts_with(path, "pg_wal/") &&
	    wal_name_parse(path + strlen("pg_wal/"), level->content->wal_segment_bytes, &timeline,
		&level->wal_segment);
	level->wal_head_size = 0;
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
	if (level->is_wal)
		level->wal_head_size = keep(level->wal_head, level->wal_head_size,
		    sizeof(level->wal_head), data, size);
	progress_add(level->progress, size);

	return level->also != NULL ? level->also->data(level->also->context, data, size, err) : 0;
}

/*
 * The head of a segment: u16 magic, u16 info, u32 timeline, u64 address, u32 rest, 4 bytes of
 * padding, then u64 system identifier, u32 segment size (access/xlog_internal.h).  It must be
 * the segment that its name says, of this system.
 */
static int
check_wal_head(const struct level1 *level, struct err *err)
{
	const struct base_content *content = level->content;
	const uint8_t *head = level->wal_head;

	if (level->wal_head_size < WAL_HEAD_BYTES || (get_le(head + 2, 2) & WAL_LONG_HEADER) == 0)
		return err_set(err, ERR_DATA, "WAL segment '%s' has no header", level->path);
	if (get_le(head + 8, 8) != level->wal_segment * content->wal_segment_bytes)
		return err_set(err, ERR_DATA, "WAL segment '%s' holds other WAL than its name says",
		    level->path);
	if (get_le(head + 24, 8) != content->system_identifier ||
	    get_le(head + 32, 4) != content->wal_segment_bytes)
		return err_set(err, ERR_DATA, "WAL segment '%s' is of another system", level->path);

	return 0;
}

static int
on_end(void *context, struct err *err)
{
	struct level1 *level = context;

	page_scan_end(&level->pages);
	if (level->is_wal && check_wal_head(level, err) < 0)
		return -1;

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
	struct base_reader_totals totals;

	level->content = content;
	level->also = also;
	level->progress = request->progress;
	level->pages.start_lsn = content->start_lsn;
	level->pages.end_lsn = content->end_lsn;
	progress_phase(request->progress, "reading", base_content_bytes(content));
	if (base_content_read_all(content, view, reader, NULL, err) < 0)
		return -1;
	totals = base_reader_totals(reader);
	add_details(level, &totals, report);
	if (check_control(level, report, err) < 0 || judge_pages(&level->pages, report, err) < 0)
		return -1;
	add_notes(level, &totals, report);

	return 0;
}
