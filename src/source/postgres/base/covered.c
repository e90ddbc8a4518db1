#include "source/postgres/base/covered.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "os/file.h"
#include "os/stop.h"
#include "source/archive.h"
#include "source/postgres/base/content.h"
#include "source/postgres/base/extract.h"
#include "source/postgres/base/wal.h"
#include "source/postgres/lsn.h"
#include "source/postgres/wal/names.h"
#include "source/postgres/wal/stored.h"
#include "source/postgres/wal/survey.h"
#include "stream/blob.h"
#include "stream/links.h"
#include "stream/sink.h"
#include "stream/tar_push.h"

enum { POLL_MS = 200 };

static bool
has_file(const struct archive *archive, const char *name, const char *ending)
{
	SCOPED(freep) char *path = xasprintf("%s/%s%s", archive->path, name, ending);

	return file_exists(path);
}

/* Up to the position, record by record: what a tail has behind its last record are zeros. */
static bool
tail_reaches(const struct archive *archive, uint32_t timeline, uint64_t segment,
    const struct covered_range *range)
{
	struct wal_tail tail = { .timeline = timeline, .segment = segment };
	struct err err = ERR_INIT;

	return wal_tail_read(archive, range->segment_bytes, &tail, NULL, &err) == 0 &&
	    tail.end_lsn >= range->end_lsn;
}

static bool
has_segment(const struct archive *archive, uint64_t segment, uint64_t last,
    const struct covered_range *range, char *ret_name)
{
	uint32_t timeline = segment == last ? range->end_timeline : range->start_timeline;

	(void)wal_name_format(timeline, segment, range->segment_bytes, ret_name);
	if (has_file(archive, ret_name, ".zst") || has_file(archive, ret_name, ""))
		return true;
	if (!has_file(archive, ret_name, ".partial"))
		return false;

	return segment < last || tail_reaches(archive, timeline, segment, range);
}

bool
covered_is_there(const struct archive *archive, const struct covered_range *range,
    char *ret_missing)
{
	uint64_t first, last;

	wal_range_segments(range->start_lsn, range->end_lsn, range->segment_bytes, &first, &last);
	for (uint64_t segment = first; segment <= last; segment++) {
		if (!has_segment(archive, segment, last, range, ret_missing))
			return false;
	}

	return true;
}

int
covered_wait(const struct archive *archive, const struct covered_range *range, int64_t timeout_us,
    struct progress *progress, bool *ret_is_there, char *ret_missing, struct err *err)
{
	struct mono_time began = clock_mono();
	bool is_there;

	progress_phase(progress, "waiting for the log of this backup to arrive", 0);
	while (!(is_there = covered_is_there(archive, range, ret_missing)) &&
	    clock_elapsed_us(began) < timeout_us) {
		if (stop_check(err) < 0)
			return -1;
		progress_add(progress, 0);
		(void)poll(NULL, 0, POLL_MS);
	}
	*ret_is_there = is_there;

	return 0;
}

struct covered_range
covered_range_of(const struct base_content *content)
{
	return (struct covered_range){
		.start_timeline = content->start_timeline,
		.end_timeline = content->end_timeline,
		.start_lsn = content->start_lsn,
		.end_lsn = content->end_lsn,
		.segment_bytes = content->wal_segment_bytes,
	};
}

/* ---- reading it --------------------------------------------------------------------------------------- */

/* In whatever form it lies there. */
static struct blob *
open_segment(struct archive *archive, const char *name, struct err *err)
{
	static const enum wal_form forms[] = { WAL_FORM_PACKED, WAL_FORM_PLAIN, WAL_FORM_TAIL };
	char stored[WAL_STORED_NAME_SIZE];
	struct blob *blob = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(forms) && blob == NULL; i++) {
		if (wal_stored_open(archive, wal_stored_name(name, forms[i], stored), &blob, err) <
		    0)
			return NULL;
	}
	if (blob == NULL) {
		(void)err_set(err, ERR_DATA,
		    "the archive has no segment %s, which the backup needs", name);
		(void)err_hint(err, "'blackstart window' shows what else is missing.");
	}

	return blob;
}

/* Segments first..last, each into a sink of its own that `open` makes. */
static int
read_segments(struct archive *archive, const struct base_content *content,
    struct sink *(*open)(void *context, const char *name, uint64_t segment, struct err *err),
    void *context, struct err *err)
{
	uint64_t first, last;

	wal_range_segments(content->start_lsn, content->end_lsn, content->wal_segment_bytes, &first,
	    &last);
	for (uint64_t segment = first; segment <= last; segment++) {
		uint32_t timeline = segment == last ? content->end_timeline
						    : content->start_timeline;
		SCOPED(blob_freep) struct blob *blob = NULL;
		SCOPED(sink_freep) struct sink *to = NULL;
		char name[WAL_NAME_SIZE];

		(void)wal_name_format(timeline, segment, content->wal_segment_bytes, name);
		if (stop_check(err) < 0)
			return -1;
		blob = open_segment(archive, name, err);
		if (blob == NULL)
			return -1;
		to = open(context, name, segment, err);
		if (to == NULL)
			return -1;
		if (wal_stored_read(blob, to, err) < 0 || sink_finish(to, err) < 0)
			return err_wrap(err, "segment %s of the archive", name);
	}

	return 0;
}

/* ---- checking it -------------------------------------------------------------------------------------- */

struct wal_sink {
	struct sink base;
	struct base_wal *wal; /* a loan */
};

static int
wal_sink_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	(void)err;
	base_wal_data(((struct wal_sink *)sink)->wal, data, size);

	return 0;
}

static int
wal_sink_finish(struct sink *sink, struct err *err)
{
	(void)err;
	base_wal_end(((struct wal_sink *)sink)->wal);

	return 0;
}

static void
wal_sink_free(struct sink *sink)
{
	free(sink);
}

static const struct sink_ops wal_sink_ops = {
	.name = "wal",
	.write = wal_sink_write,
	.finish = wal_sink_finish,
	.free = wal_sink_free,
};

static struct sink *
open_check(void *context, const char *name, uint64_t segment, struct err *err)
{
	SCOPED(freep) char *path = xasprintf("pg_wal/%s", name);
	const struct tar_entry entry = { .type = TAR_FILE };
	struct wal_sink *sink = xcalloc(1, sizeof(*sink));

	(void)segment;
	(void)err;
	sink->base.ops = &wal_sink_ops;
	sink->wal = context;
	base_wal_begin(sink->wal, path, &entry);

	return &sink->base;
}

int
covered_check(struct archive *archive, const struct base_content *content,
    struct base_wal_result *ret_result, struct err *err)
{
	const struct base_wal_options options = {
		.segment_bytes = content->wal_segment_bytes,
		.system_identifier = content->system_identifier,
		.server_major = content->server_version / 10000,
		.start_timeline = content->start_timeline,
		.start_lsn = content->start_lsn,
	};
	SCOPED(base_wal_freep) struct base_wal *wal = base_wal_new(&options);

	if (read_segments(archive, content, open_check, wal, err) < 0)
		return -1;

	return base_wal_finish(wal, content->end_timeline, content->end_lsn, ret_result, err);
}

/* ---- writing it --------------------------------------------------------------------------------------- */

struct extracting {
	const struct base_content *content;
	struct base_extract *extract;
	int fd; /* of the last one, kept to cut it; -1 before */
};

static struct sink *
open_extract(void *context, const char *name, uint64_t segment, struct err *err)
{
	struct extracting *extracting = context;
	SCOPED(freep) char *path = xasprintf("pg_wal/%s", name);
	SCOPED(closep) int fd = -1;

	(void)segment;
	if (base_extract_create(extracting->extract, path, &fd, err) < 0)
		return NULL;
	closep(&extracting->fd);
	extracting->fd = dup(fd);
	if (extracting->fd < 0) {
		(void)err_sys(err, "cannot keep '%s' open", path);
		return NULL;
	}

	return fd_sink_new(TAKE_FD(fd), name);
}

/* Zeros behind the end: the server takes that for the end of its log. */
static int
cut_behind_end(const struct extracting *extracting, struct err *err)
{
	uint64_t segment_bytes = extracting->content->wal_segment_bytes;
	uint64_t used = (extracting->content->end_lsn - 1) % segment_bytes + 1;

	if (extracting->fd < 0)
		return 0;
	if (ftruncate(extracting->fd, (off_t)used) < 0 ||
	    ftruncate(extracting->fd, (off_t)segment_bytes) < 0)
		return err_sys(err, "cannot cut the last segment of the log");

	return 0;
}

int
covered_extract(struct archive *archive, const struct base_content *content,
    struct base_extract *extract, struct err *err)
{
	struct extracting extracting = { .content = content, .extract = extract, .fd = -1 };
	int result = read_segments(archive, content, open_extract, &extracting, err);

	if (result == 0)
		result = cut_behind_end(&extracting, err);
	closep(&extracting.fd);

	return result;
}
