#include "source/postgres/wal/window.h"

#include <stdlib.h>

#include "base/mem.h"
#include "source/postgres/lsn.h"
#include "source/postgres/wal/path.h"
#include "source/postgres/wal/survey.h"
#include "source/source.h"

struct making {
	const struct wal_survey *survey;
	struct window_report *report;
	uint32_t main;
	uint64_t gaps_count;
};

static uint64_t
run_end(const struct making *making, const struct wal_run *run)
{
	uint64_t end = (run->last + 1) * making->survey->segment_bytes;

	return run->is_cut || run->seen.us != 0 ? run->end_lsn : end;
}

static char *
segment_name(const struct making *making, const struct wal_path *path, uint64_t segment)
{
	char name[WAL_NAME_SIZE];

	return xstrdup(wal_name_format(wal_path_timeline_at(path, segment), segment,
	    making->survey->segment_bytes, name));
}

/* ---- spans ------------------------------------------------------------------------------------------ */

/* For each run of the path the earliest base whose recovery reads on from it, or NULL; yours. */
static const struct wal_base **
first_bases(const struct making *making, const struct wal_path *path)
{
	const struct wal_base **first = xcalloc(path->runs.count + 1, sizeof(*first));

	for (size_t i = 0; i < making->survey->bases.count; i++) {
		const struct wal_base *base = &making->survey->bases.items[i];
		const struct wal_run *run;
		size_t at;

		if (!wal_path_has_base(making->survey, path->timeline, base))
			continue;
		run = wal_path_run_of(making->survey, path, base);
		if (run == NULL)
			continue;
		at = (size_t)(run - path->runs.items);
		if (first[at] == NULL || base->end_lsn < first[at]->end_lsn)
			first[at] = base;
	}

	return first;
}

static char *
why_it_ends(const struct making *making, const struct wal_path *path, size_t index)
{
	const struct wal_run *run = &path->runs.items[index];
	char lsn[LSN_TEXT_SIZE];

	if (run->is_cut && index + 1 < path->runs.count) {
		SCOPED(freep) char *name = segment_name(making, path, run->last);

		return xasprintf("segment %s was received up to %s only", name,
		    lsn_format(run->end_lsn, lsn));
	}
	if (index + 1 < path->runs.count) {
		SCOPED(freep) char *name = segment_name(making, path, run->last + 1);

		return xasprintf("segment %s is missing", name);
	}

	return path->timeline != making->main ? xstrdup("nothing of this timeline came later")
					      : NULL;
}

static void
add_span(struct making *making, const struct wal_path *path, size_t index,
    const struct wal_base *base)
{
	const struct wal_run *run = &path->runs.items[index];
	bool is_last = index + 1 == path->runs.count;
	struct window_span span = {
		.branch = run->timeline,
		.is_current = is_last && path->timeline == making->main,
		.backup_id = xstrdup(base->id),
		.from_position = base->end_lsn,
		.to_position = run->end_lsn > base->end_lsn ? run->end_lsn : base->end_lsn,
		.from = base->consistent_at,
		.to = run->last_time.us > base->consistent_at.us ? run->last_time
								 : base->consistent_at,
		.ends = why_it_ends(making, path, index),
	};

	vec_push(&making->report->spans, span);
}

/* ---- gaps ------------------------------------------------------------------------------------------- */

static void
add_gap(struct making *making, const struct wal_path *path, const struct wal_run *before,
    const struct wal_run *after)
{
	uint64_t first = before->last + (before->is_cut ? 0 : 1);
	uint64_t count = after->first - first;
	SCOPED(freep) char *name = segment_name(making, path, first);

	making->gaps_count++;
	if (making->gaps_count > WAL_WINDOW_GAPS_MAX)
		return;
	vec_push(&making->report->gaps,
	    ((struct window_gap){
		.branch = wal_path_timeline_at(path, first),
		.from_position = run_end(making, before),
		.to_position = after->first * making->survey->segment_bytes,
		.from = before->last_time,
		.to = after->first_time,
		.text = count == 1 && before->is_cut ? xasprintf("the rest of segment %s", name)
		    : count == 1
		    ? xasprintf("segment %s", name)
		    : xasprintf("%llu segments from %s", (unsigned long long)count, name),
	    }));
}

/* Recovery cannot pass a gap: what lies behind needs a base of its own. */
static void
warn_of_runs_without_base(struct making *making, const struct wal_path *path, size_t last_with_base)
{
	size_t count = path->runs.count;

	if (count == 0 || (last_with_base != SIZE_MAX && last_with_base + 1 == count))
		return;

	SCOPED(freep) char *name = segment_name(making, path, path->runs.items[count - 1].first);

	vec_push(&making->report->warnings,
	    xasprintf("no base backup can use the log from segment %s on: take a new one", name));
}

/* A base that has no WAL of its own is nothing without the archive's. */
static void
warn_of_lost_bases(struct making *making, const struct wal_path *path)
{
	for (size_t i = 0; i < making->survey->bases.count; i++) {
		const struct wal_base *base = &making->survey->bases.items[i];

		if (!base->has_wal && wal_path_has_base(making->survey, path->timeline, base) &&
		    wal_path_run_of(making->survey, path, base) == NULL)
			vec_push(&making->report->warnings,
			    xasprintf("base backup %s cannot be restored: the archive does not "
				      "have all of the log that was written while it was taken",
				base->id));
	}
}

static void
add_main(struct making *making)
{
	SCOPED(wal_path_done) struct wal_path path;
	const struct wal_base **first;
	size_t last_with_base = SIZE_MAX;

	wal_path_init(&path, making->survey, making->main);
	first = first_bases(making, &path);
	for (size_t i = 0; i < path.runs.count; i++) {
		if (i > 0)
			add_gap(making, &path, &path.runs.items[i - 1], &path.runs.items[i]);
		if (first[i] != NULL) {
			add_span(making, &path, i, first[i]);
			last_with_base = i;
		}
	}
	free(first);
	warn_of_runs_without_base(making, &path, last_with_base);
	warn_of_lost_bases(making, &path);
}

/* ---- the other timelines ------------------------------------------------------------------------------ */

/* Where the main timeline left this one on its way; UINT64_MAX when it never was on it. */
static uint64_t
left_at(const struct making *making, uint32_t timeline)
{
	const struct wal_lineage *lineage = wal_survey_lineage(making->survey, making->main);
	uint64_t lsn;

	if (lineage != NULL && wal_history_switch(&lineage->history, timeline, &lsn))
		return lsn;

	return UINT64_MAX;
}

/* What a timeline has for itself: its last run, when that goes further than the main one uses. */
static void
add_side(struct making *making, uint32_t timeline)
{
	SCOPED(wal_path_done) struct wal_path path;
	uint64_t left = left_at(making, timeline);
	const struct wal_base **first;
	const struct wal_run *run;

	wal_path_init(&path, making->survey, timeline);
	if (path.runs.count == 0)
		return;
	run = &path.runs.items[path.runs.count - 1];
	if (run->timeline != timeline || (left != UINT64_MAX && run->end_lsn <= left))
		return;
	first = first_bases(making, &path);
	if (first[path.runs.count - 1] != NULL)
		add_span(making, &path, path.runs.count - 1, first[path.runs.count - 1]);
	free(first);
}

static void
add_branch(struct making *making, uint32_t timeline)
{
	const struct wal_lineage *lineage = wal_survey_lineage(making->survey, timeline);
	size_t parents = lineage != NULL ? lineage->history.parents.count : 0;
	struct window_branch branch = {
		.branch = timeline,
		.is_on_main = wal_is_ancestor(making->survey, timeline, making->main),
	};

	branch.parent = wal_parent(making->survey, timeline, &branch.fork_position);
	if (parents > 0)
		branch.reason = xstrdup(lineage->history.parents.items[parents - 1].reason);
	if (lineage == NULL && timeline > 1)
		vec_push(&making->report->warnings,
		    xasprintf("the history of timeline %u (%08X.history) is missing: where it "
			      "comes from is not known",
			timeline, timeline));
	vec_push(&making->report->branches, branch);
}

/* ---- all ---------------------------------------------------------------------------------------------- */

static int
compare_spans(const void *a, const void *b)
{
	const struct window_span *left = a;
	const struct window_span *right = b;

	return (left->from.us > right->from.us) - (left->from.us < right->from.us);
}

static void
add_totals(struct making *making)
{
	const struct wal_survey *survey = making->survey;
	struct window_report *report = making->report;

	for (size_t i = 0; i < survey->spans.count; i++) {
		const struct archive_span *span = &survey->spans.items[i];

		report->pieces_count += span->last - span->first + 1;
		report->stored_bytes += span->stored_bytes;
		report->not_sound_count += span->not_sound_count;
	}
	report->pieces_count += survey->tails.count;
	report->stored_bytes += survey->tails.count * survey->segment_bytes;
}

static void
add_warnings(struct making *making, uint32_t ignored)
{
	struct window_report *report = making->report;

	for (size_t i = 0; i < making->survey->warnings.count; i++)
		vec_push(&report->warnings, xstrdup(making->survey->warnings.items[i]));
	if (ignored != 0)
		vec_push(&report->warnings,
		    xasprintf("timeline %u left timeline %u, which went on: it is taken for a "
			      "side branch, such as a restored copy that archives here "
			      "(--timeline %u recovers along it)",
			ignored, making->main, ignored));
	if (making->gaps_count > WAL_WINDOW_GAPS_MAX)
		vec_push(&report->warnings,
		    xasprintf("%llu more gaps are not listed",
			(unsigned long long)(making->gaps_count - WAL_WINDOW_GAPS_MAX)));
}

void
wal_window(const struct wal_survey *survey, struct window_report *report)
{
	struct making making = { .survey = survey, .report = report };
	SCOPED(wal_timelines_done) struct wal_timelines all;
	uint32_t ignored = 0;

	wal_timelines_init(&all, survey);
	making.main = wal_main_timeline(survey, &ignored);
	if (making.main != 0)
		add_main(&making);
	for (size_t i = 0; i < all.items.count; i++) {
		add_branch(&making, all.items.items[i]);
		if (all.items.items[i] != making.main)
			add_side(&making, all.items.items[i]);
	}
	if (report->spans.count > 1)
		qsort(report->spans.items, report->spans.count, sizeof(struct window_span),
		    compare_spans);
	add_totals(&making);
	add_warnings(&making, ignored);
}
