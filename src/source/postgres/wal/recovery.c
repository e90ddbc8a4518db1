#include "source/postgres/wal/recovery.h"

#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "source/archive.h"
#include "source/postgres/lsn.h"
#include "source/postgres/wal/choose.h"
#include "source/postgres/wal/path.h"
#include "source/postgres/wal/survey.h"
#include "source/postgres/wal/window.h"
#include "source/source.h"

int
pg_wal_window(struct archive *archive, const struct manifest *const *bases, size_t bases_count,
    struct window_report *report, struct err *err)
{
	SCOPED(wal_survey_done) struct wal_survey survey = { .segment_bytes = 0 };

	if (wal_survey_read(archive, bases, bases_count, &survey, err) < 0)
		return -1;
	wal_window(&survey, report);

	return 0;
}

int
pg_wal_choose(struct archive *archive, const struct manifest *const *bases, size_t bases_count,
    struct restore_target *target, struct wal_survey **ret_known, size_t *ret_index,
    struct err *err)
{
	SCOPED(wal_survey_done) struct wal_survey survey = { .segment_bytes = 0 };
	SCOPED(archive_marks_done) struct archive_marks marks = { .items = { .count = 0 } };
	size_t chosen = 0;

	if (wal_survey_read(archive, bases, bases_count, &survey, err) < 0)
		return -1;
	if (target->kind == TARGET_MARK && archive_index_marks(archive, NULL, &marks, err) < 0)
		return -1;
	if (wal_choose(&survey, &marks, clock_wall(), target, &chosen, err) < 0)
		return -1;
	*ret_index = survey.bases.items[chosen].index;
	*ret_known = xmalloc(sizeof(**ret_known));
	**ret_known = survey;
	survey = (struct wal_survey){ .segment_bytes = 0 };

	return 0;
}

/* ---- what one recovery needs ---------------------------------------------------------------------------- */

struct needing {
	struct archive *archive;
	const struct restore_target *target;
	struct wal_survey survey;
	struct wal_path path;
	const struct wal_base *base;
	uint64_t first;
	uint64_t last;
};

static void
needing_done(struct needing *needing)
{
	wal_path_done(&needing->path);
	wal_survey_done(&needing->survey);
}

static int
refuse_missing(const struct needing *needing, uint64_t segment, struct err *err)
{
	char name[WAL_NAME_SIZE];

	(void)err_set(err, ERR_REFUSED,
	    "the archive does not have segment %s, which recovery needs",
	    wal_name_format(wal_path_timeline_at(&needing->path, segment), segment,
		needing->survey.segment_bytes, name));

	return err_hint(err,
	    "'blackstart settle %s' looks again at what is there, 'blackstart window' shows what "
	    "can be reached.",
	    needing->archive->label);
}

static uint64_t
last_of_base(const struct needing *needing)
{
	return (needing->base->end_lsn - 1) / needing->survey.segment_bytes;
}

/* The segments from the base to the target, or as far as the log goes on. */
static int
find_range(struct needing *needing, const struct wal_run **ret_run, struct err *err)
{
	const struct wal_survey *survey = &needing->survey;
	const struct wal_run *run = wal_path_run_of(survey, &needing->path, needing->base);
	uint64_t target_segment = needing->target->position / survey->segment_bytes;

	needing->first = wal_base_first_segment(survey, needing->base);
	if (run == NULL && !needing->base->has_wal)
		return refuse_missing(needing, needing->first, err);
	needing->last = run != NULL ? run->last : needing->first - 1;
	switch (needing->target->kind) {
	case TARGET_BACKUP:
		needing->last = last_of_base(needing);
		break;
	case TARGET_POSITION:
	case TARGET_MARK:
		if (needing->last < target_segment)
			return refuse_missing(needing, needing->last + 1, err);
		needing->last = target_segment;
		break;
	default:
		break;
	}
	*ret_run = run;

	return 0;
}

/* How far recovery gets at the least when all goes well. */
static uint64_t
expected_lsn(const struct needing *needing, const struct wal_run *run)
{
	uint64_t end = needing->base->end_lsn;

	if (needing->target->kind == TARGET_LATEST && run != NULL && run->end_lsn > end)
		return run->end_lsn;
	if (needing->target->kind == TARGET_POSITION || needing->target->kind == TARGET_MARK)
		return needing->target->position;

	return end;
}

static void
describe_need(const struct needing *needing, const struct wal_run *run, struct wal_need *need)
{
	uint64_t segment_bytes = needing->survey.segment_bytes;

	memset(need, 0, sizeof(*need));
	need->timeline = needing->path.timeline;
	need->expected_lsn = expected_lsn(needing, run);
	if (run != NULL) {
		need->last_commit = run->last_time;
		need->is_before_gap = run + 1 < needing->path.runs.items + needing->path.runs.count;
	}
	if (needing->first > needing->last)
		return;
	need->segments_count = needing->last - needing->first + 1;
	if (run != NULL && run->last >= run->first)
		need->stored_bytes = run->stored_bytes / (run->last - run->first + 1) *
		    need->segments_count;
	need->not_sound_count = run == NULL               ? 0
	    : run->not_sound_count < need->segments_count ? run->not_sound_count
							  : need->segments_count;
	(void)wal_name_format(wal_path_timeline_at(&needing->path, needing->first), needing->first,
	    segment_bytes, need->first_name);
	(void)wal_name_format(wal_path_timeline_at(&needing->path, needing->last), needing->last,
	    segment_bytes, need->last_name);
}

int
pg_wal_need(struct archive *archive, const struct manifest *manifest,
    const struct restore_target *target, struct wal_survey *known, struct wal_need *ret_need,
    struct err *err)
{
	SCOPED(needing_done)
	struct needing needing = { .archive = archive, .target = target };
	const struct wal_run *run = NULL;

	if (!wal_survey_take_way(known, archive, manifest, &needing.survey) &&
	    wal_survey_read_way(archive, manifest, target->branch, &needing.survey, err) < 0)
		return -1;
	if (needing.survey.bases.count == 0)
		return err_set(err, ERR_REFUSED,
		    "the log in the archive is of another system than the backup");
	needing.base = &needing.survey.bases.items[0];
	wal_path_init(&needing.path, &needing.survey,
	    target->branch != 0 ? target->branch : needing.base->end_timeline);
	if (!wal_path_has_base(&needing.survey, needing.path.timeline, needing.base))
		return err_set(err, ERR_REFUSED, "the backup is not on the way to timeline %u",
		    needing.path.timeline);
	if (find_range(&needing, &run, err) < 0)
		return -1;
	describe_need(&needing, run, ret_need);

	return 0;
}
