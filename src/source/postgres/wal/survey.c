#include "source/postgres/wal/survey.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"
#include "repo/manifest.h"
#include "source/postgres/base/content.h"
#include "source/postgres/lsn.h"
#include "source/postgres/wal/folder.h"
#include "source/postgres/wal/path.h"
#include "source/postgres/wal/reader.h"
#include "source/postgres/wal/settle.h"
#include "source/postgres/wal/survey_internal.h"
#include "source/source.h"
#include "stream/blob.h"

enum {
	READ_BYTES = 256 * 1024,
};
/* What was read is as good as read again while nobody can have typed anything meanwhile. */
#define FRESH_US (5 * US_PER_S)

/* Tails that only wait for being settled are whole: this much of them is read for their times. */
static const uint64_t tails_read_max_bytes = UINT64_C(1024) * 1024 * 1024;

void
wal_survey_done(struct wal_survey *survey)
{
	for (size_t i = 0; i < survey->lineages.count; i++)
		wal_history_done(&survey->lineages.items[i].history);
	for (size_t i = 0; i < survey->marks.count; i++)
		free(survey->marks.items[i].name);
	for (size_t i = 0; i < survey->warnings.count; i++)
		free(survey->warnings.items[i]);
	vec_done(&survey->bases);
	vec_done(&survey->spans);
	vec_done(&survey->tails);
	vec_done(&survey->lineages);
	vec_done(&survey->marks);
	vec_done(&survey->warnings);
}

void
wal_survey_free(struct wal_survey *survey)
{
	if (survey == NULL)
		return;
	wal_survey_done(survey);
	free(survey);
}

/* ---- bases ------------------------------------------------------------------------------------------ */

static void
add_base(struct wal_survey *survey, const struct manifest *manifest, size_t index,
    const struct base_content *content)
{
	vec_push(&survey->bases,
	    ((struct wal_base){
		.id = manifest->id,
		.index = index,
		.start_timeline = content->start_timeline,
		.end_timeline = content->end_timeline,
		.start_lsn = content->start_lsn,
		.end_lsn = content->end_lsn,
		.consistent_at = manifest->consistent_at,
		.has_wal = content->has_wal,
		.next_xid = content->next_xid,
	    }));
}

/* The newest base decides which system it is when the archive does not know it yet. */
static const char *
identity_of(const struct archive *archive, const struct manifest *const *bases, size_t count)
{
	const struct manifest *newest = NULL;

	if (archive->identity != NULL && archive->identity[0] != '\0')
		return archive->identity;
	for (size_t i = 0; i < count; i++) {
		if (newest == NULL || bases[i]->consistent_at.us > newest->consistent_at.us)
			newest = bases[i];
	}

	return newest != NULL ? newest->source_identity : NULL;
}

static void
read_bases(struct wal_survey *survey, const struct archive *archive,
    const struct manifest *const *bases, size_t count)
{
	const char *identity = identity_of(archive, bases, count);

	for (size_t i = 0; i < count; i++) {
		SCOPED(base_content_done) struct base_content content = { .base = NULL };
		struct err err = ERR_INIT;

		if (base_content_read(bases[i], &content, &err) < 0) {
			vec_push(&survey->warnings,
			    xasprintf("base backup %s is left out: %s", bases[i]->id, err.msg));
			continue;
		}
		if (!str_equals(bases[i]->source_identity, identity))
			continue;
		if (survey->segment_bytes == 0)
			survey->segment_bytes = content.wal_segment_bytes;
		if (content.wal_segment_bytes == survey->segment_bytes)
			add_base(survey, bases[i], i, &content);
		else
			vec_push(&survey->warnings,
			    xasprintf("base backup %s is left out: its log has segments of "
				      "another size",
				bases[i]->id));
	}
}

/* ---- histories ---------------------------------------------------------------------------------------- */

static int
compare_lineages(const void *a, const void *b)
{
	const struct wal_lineage *left = a;
	const struct wal_lineage *right = b;

	return (left->history.timeline > right->history.timeline) -
	    (left->history.timeline < right->history.timeline);
}

static void
read_histories(struct wal_survey *survey, const struct archive *archive,
    const struct wal_folder *folder)
{
	for (size_t i = 0; i < folder->histories.count; i++) {
		const struct wal_folder_file *file = &folder->histories.items[i];
		SCOPED(str_done) struct str text = STR_INIT_MAX(WAL_HISTORY_MAX_BYTES);
		SCOPED(freep)
		char *path = xasprintf("%s/%08X.history", archive->path, file->timeline);
		struct wal_lineage lineage = { .modified = file->modified };
		struct err err = ERR_INIT;

		if (file_read_all(path, WAL_HISTORY_MAX_BYTES, &text, &err) < 0 ||
		    wal_history_parse(file->timeline, str_text(&text), text.size, &lineage.history,
			&err) < 0) {
			vec_push(&survey->warnings,
			    xasprintf("'%08X.history' of the archive cannot be used: %s",
				file->timeline, err.msg));
			continue;
		}
		vec_push(&survey->lineages, lineage);
	}
	if (survey->lineages.count > 1)
		qsort(survey->lineages.items, survey->lineages.count, sizeof(struct wal_lineage),
		    compare_lineages);
}

/* ---- tails -------------------------------------------------------------------------------------------- */

static int
compare_tails(const void *a, const void *b)
{
	const struct wal_tail *left = a;
	const struct wal_tail *right = b;

	if (left->timeline != right->timeline)
		return left->timeline < right->timeline ? -1 : 1;

	return (left->segment > right->segment) - (left->segment < right->segment);
}

/* Is a later segment of its timeline there: then the receiver has finished it. */
static bool
is_followed(const struct wal_survey *survey, const struct wal_tail *tail)
{
	for (size_t i = 0; i < survey->spans.count; i++) {
		const struct archive_span *span = &survey->spans.items[i];

		if (span->branch == tail->timeline && span->last > tail->segment)
			return true;
	}

	return (size_t)(tail - survey->tails.items) + 1 < survey->tails.count &&
	    tail[1].timeline == tail->timeline;
}

static void
take_marks(struct wal_survey *survey, uint32_t timeline, const struct wal_summary *summary)
{
	for (size_t i = 0; i < summary->points.count; i++) {
		const struct wal_restore_point *point = &summary->points.items[i];

		vec_push(&survey->marks,
		    ((struct archive_mark){
			.branch = timeline,
			.position = point->lsn,
			.time = point->time,
			.name = xstrdup(point->name),
		    }));
	}
}

static void
take_facts(struct wal_tail *tail, uint64_t segment_bytes, const struct wal_summary *summary)
{
	uint64_t end = (tail->segment + 1) * segment_bytes;

	tail->is_read = true;
	tail->end_lsn = summary->end_lsn;
	tail->last_lsn = summary->last_lsn;
	tail->first_time = summary->first_commit;
	tail->last_time = summary->last_commit;
	tail->is_whole |= summary->end_lsn >= end ||
	    (summary->open_lsn != 0 && summary->page_lsn + WAL_PAGE_BYTES >= end);
}

/* To its last whole record; what follows is zeros, or a record on its way. */
int
wal_tail_read(const struct archive *archive, uint64_t segment_bytes, struct wal_tail *tail,
    struct wal_survey *survey, struct err *err)
{
	char name[WAL_NAME_SIZE];
	SCOPED(freep)
	char *path = xasprintf("%s/%s.partial", archive->path,
	    wal_name_format(tail->timeline, tail->segment, segment_bytes, name));
	const struct wal_options options = {
		.depth = WAL_DEPTH_RECORDS,
		.timeline = tail->timeline,
		.segment = tail->segment,
		.segment_bytes = segment_bytes,
		.is_unfinished = true,
	};
	SCOPED(wal_reader_freep) struct wal_reader *reader = NULL;
	SCOPED(freep) uint8_t *buffer = xmalloc(READ_BYTES);
	SCOPED(blob_freep) struct blob *blob = blob_open_file(path, name, err);
	struct err broken = ERR_INIT;

	if (blob == NULL)
		return -1;
	reader = wal_reader_new(&options);
	for (uint64_t at = 0; at < blob->size_bytes && at < segment_bytes;) {
		uint64_t left = blob->size_bytes - at;
		size_t take = left < READ_BYTES ? (size_t)left : READ_BYTES;

		if (blob_read_at(blob, at, buffer, take, err) < 0)
			return -1;
		if (wal_reader_feed(reader, buffer, take, &broken) < 0)
			break;
		at += take;
	}
	take_facts(tail, segment_bytes, wal_reader_summary(reader));
	if (survey != NULL)
		take_marks(survey, tail->timeline, wal_reader_summary(reader));

	return 0;
}

static void
add_tails(struct wal_survey *survey, const struct wal_folder *folder)
{
	for (size_t i = 0; i < folder->tails.count; i++) {
		const struct wal_folder_file *file = &folder->tails.items[i];

		vec_push(&survey->tails,
		    ((struct wal_tail){
			.timeline = file->timeline,
			.segment = file->segment,
			.modified = file->modified,
		    }));
	}
	if (survey->tails.count > 1)
		qsort(survey->tails.items, survey->tails.count, sizeof(struct wal_tail),
		    compare_tails);
}

static void
read_tails(struct wal_survey *survey, const struct archive *archive)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < survey->tails.count; i++)
		survey->tails.items[i].is_whole = is_followed(survey, &survey->tails.items[i]);
	for (size_t i = survey->tails.count; i-- > 0;) {
		struct wal_tail *tail = &survey->tails.items[i];
		struct err err = ERR_INIT;

		bytes += survey->segment_bytes;
		if (tail->is_whole && bytes > tails_read_max_bytes)
			continue;
		/* Settled and removed while we looked: then the index, read later, has it. */
		if (wal_tail_read(archive, survey->segment_bytes, tail, survey, &err) < 0 &&
		    err.kind != ERR_NOT_FOUND)
			vec_push(&survey->warnings, xasprintf("%s, continuing", err.msg));
	}
}

static void
warn_of_differences(struct wal_survey *survey)
{
	char name[WAL_NAME_SIZE];

	if (survey->not_indexed_count > 0)
		vec_push(&survey->warnings,
		    xasprintf("%llu segments in the archive are not in its index yet and do not "
			      "count: 'blackstart settle' looks at them",
			(unsigned long long)survey->not_indexed_count));
	if (survey->removed_count > 0)
		vec_push(&survey->warnings,
		    xasprintf("%llu segments were removed from the archive behind its index",
			(unsigned long long)survey->removed_count));
	if (survey->damaged_count > 0)
		vec_push(&survey->warnings,
		    xasprintf("%llu segments are damaged and count as missing, %s%s: a good copy "
			      "in its place is taken by 'blackstart settle'",
			(unsigned long long)survey->damaged_count,
			survey->damaged_count > 1 ? "the first is " : "",
			wal_name_format(survey->damaged_timeline, survey->damaged_segment,
			    survey->segment_bytes, name)));
}

static int
read_once(struct archive *archive, const struct manifest *const *bases, size_t bases_count,
    struct wal_survey *ret_survey, struct err *err)
{
	SCOPED(wal_survey_done) struct wal_survey survey = { .segment_bytes = 0 };
	SCOPED(wal_folder_done) struct wal_folder folder = { .segment_bytes = 0 };
	SCOPED(survey_index_done) struct survey_index index = { .ranges = { .count = 0 } };

	read_bases(&survey, archive, bases, bases_count);
	if (survey_index_read(archive, &index, err) < 0 ||
	    wal_folder_read(archive->path, survey.segment_bytes, index.ranges.items,
		index.ranges.count, &folder, err) < 0)
		return -1;
	survey.segment_bytes = folder.segment_bytes;
	survey.not_indexed_count = folder.strangers_count;
	read_histories(&survey, archive, &folder);
	add_tails(&survey, &folder);
	if (survey_take_spans(&survey, archive, &index, err) < 0)
		return -1;
	read_tails(&survey, archive);
	warn_of_differences(&survey);
	*ret_survey = survey;
	survey = (struct wal_survey){ .segment_bytes = 0 };

	return 0;
}

int
wal_survey_read(struct archive *archive, const struct manifest *const *bases, size_t bases_count,
    struct wal_survey *ret_survey, struct err *err)
{
	SCOPED(wal_survey_done) struct wal_survey survey = { .segment_bytes = 0 };
	SCOPED(settle_report_done) struct settle_report report = { .is_index_only = true };

	if (read_once(archive, bases, bases_count, &survey, err) < 0)
		return -1;
	/* The catalog was lost, or whoever settles was killed: what is in the folder is true. */
	if (survey.not_indexed_count > 0) {
		if (wal_settle(archive, &report, err) < 0)
			return err_wrap(err, "the index of the log");
		wal_survey_done(&survey);
		survey = (struct wal_survey){ .segment_bytes = 0 };
		if (read_once(archive, bases, bases_count, &survey, err) < 0)
			return -1;
	}
	survey.read_at = clock_mono();
	*ret_survey = survey;
	survey = (struct wal_survey){ .segment_bytes = 0 };

	return 0;
}

/* ---- one way ------------------------------------------------------------------------------------------ */

static int
probe_history(struct wal_folder *folder, const struct archive *archive, uint32_t timeline,
    struct err *err)
{
	SCOPED(freep) char *name = xasprintf("%08X.history", timeline);
	struct wal_folder_file file = { .timeline = timeline };
	bool is_there;

	if (wal_folder_probe(archive->path, name, &is_there, &file.modified, err) < 0)
		return -1;
	if (is_there)
		vec_push(&folder->histories, file);

	return 0;
}

/* The tails that follow one another from this segment on. */
static int
probe_tails(struct wal_folder *folder, const struct archive *archive, uint32_t timeline,
    uint64_t segment, struct err *err)
{
	for (;; segment++) {
		char segment_name[WAL_NAME_SIZE];
		SCOPED(freep)
		char *name = xasprintf("%s.partial",
		    wal_name_format(timeline, segment, folder->segment_bytes, segment_name));
		struct wal_folder_file file = { .timeline = timeline, .segment = segment };
		bool is_there;

		if (wal_folder_probe(archive->path, name, &is_there, &file.modified, err) < 0)
			return -1;
		if (!is_there)
			return 0;
		vec_push(&folder->tails, file);
	}
}

/* Tails lie behind what is whole, or where a timeline, or the base, begins. */
static int
probe_way(const struct wal_survey *survey, struct wal_folder *folder, const struct archive *archive,
    uint32_t timeline, struct err *err)
{
	struct wal_path path;
	uint64_t base = survey->bases.items[0].start_lsn / survey->segment_bytes;
	int result = 0;

	wal_path_init(&path, survey, timeline);
	for (size_t i = 0; i < path.legs.count && result == 0; i++) {
		const struct wal_leg *leg = &path.legs.items[i];

		result = probe_tails(folder, archive, leg->timeline,
		    leg->first > base ? leg->first : base, err);
		for (size_t j = 0; j < survey->spans.count && result == 0; j++) {
			if (survey->spans.items[j].branch == leg->timeline)
				result = probe_tails(folder, archive, leg->timeline,
				    survey->spans.items[j].last + 1, err);
		}
	}
	wal_path_done(&path);

	return result;
}

/* Found from two sides. */
static void
drop_twins(struct wal_survey *survey)
{
	size_t kept = 0;

	for (size_t i = 1; i < survey->tails.count; i++) {
		if (compare_tails(&survey->tails.items[i], &survey->tails.items[kept]) != 0)
			survey->tails.items[++kept] = survey->tails.items[i];
	}
	if (survey->tails.count > 0)
		survey->tails.count = kept + 1;
}

static int
read_way_spans(struct wal_survey *survey, struct archive *archive, struct err *err)
{
	SCOPED(survey_index_done) struct survey_index index = { .ranges = { .count = 0 } };

	if (survey_index_read(archive, &index, err) < 0 ||
	    wal_folder_find_missing(archive->path, survey->segment_bytes, index.ranges.items,
		index.ranges.count, err) < 0)
		return -1;

	return survey_take_spans(survey, archive, &index, err);
}

int
wal_survey_read_way(struct archive *archive, const struct manifest *base, uint32_t timeline,
    struct wal_survey *ret_survey, struct err *err)
{
	SCOPED(wal_survey_done) struct wal_survey survey = { .segment_bytes = 0 };
	SCOPED(wal_folder_done) struct wal_folder folder = { .segment_bytes = 0 };

	read_bases(&survey, archive, &base, 1);
	if (survey.bases.count > 0) {
		if (timeline == 0)
			timeline = survey.bases.items[0].end_timeline;
		folder.segment_bytes = survey.segment_bytes;
		if (probe_history(&folder, archive, timeline, err) < 0)
			return -1;
		read_histories(&survey, archive, &folder);
		if (read_way_spans(&survey, archive, err) < 0 ||
		    probe_way(&survey, &folder, archive, timeline, err) < 0)
			return -1;
		add_tails(&survey, &folder);
		drop_twins(&survey);
		read_tails(&survey, archive);
	}
	*ret_survey = survey;
	survey = (struct wal_survey){ .segment_bytes = 0 };

	return 0;
}

bool
wal_survey_take_way(struct wal_survey *known, const struct archive *archive,
    const struct manifest *base, struct wal_survey *ret_survey)
{
	SCOPED(wal_survey_done) struct wal_survey survey = { .segment_bytes = 0 };

	if (known == NULL)
		return false;
	survey = *known;
	*known = (struct wal_survey){ .segment_bytes = 0 };
	if (survey.segment_bytes == 0 || clock_elapsed_us(survey.read_at) >= FRESH_US)
		return false;
	/* The identities of the bases were loans. */
	survey.bases.count = 0;
	read_bases(&survey, archive, &base, 1);
	*ret_survey = survey;
	survey = (struct wal_survey){ .segment_bytes = 0 };

	return true;
}
