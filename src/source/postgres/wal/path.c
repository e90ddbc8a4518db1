#include "source/postgres/wal/path.h"

#include <stdlib.h>
#include <string.h>

#include "source/postgres/lsn.h"
#include "source/postgres/wal/survey.h"

/* ---- the tree ------------------------------------------------------------------------------------- */

const struct wal_lineage *
wal_survey_lineage(const struct wal_survey *survey, uint32_t timeline)
{
	for (size_t i = 0; i < survey->lineages.count; i++) {
		if (survey->lineages.items[i].history.timeline == timeline)
			return &survey->lineages.items[i];
	}

	return NULL;
}

uint32_t
wal_parent(const struct wal_survey *survey, uint32_t timeline, uint64_t *ret_fork_lsn)
{
	const struct wal_lineage *lineage = wal_survey_lineage(survey, timeline);
	size_t count = lineage != NULL ? lineage->history.parents.count : 0;

	if (count == 0) {
		*ret_fork_lsn = 0;
		return 0;
	}
	*ret_fork_lsn = lineage->history.parents.items[count - 1].switch_lsn;

	return lineage->history.parents.items[count - 1].timeline;
}

bool
wal_is_ancestor(const struct wal_survey *survey, uint32_t ancestor, uint32_t timeline)
{
	const struct wal_lineage *lineage = wal_survey_lineage(survey, timeline);
	uint64_t lsn;

	return ancestor == timeline ||
	    (lineage != NULL && wal_history_switch(&lineage->history, ancestor, &lsn));
}

static int
compare_timelines(const void *a, const void *b)
{
	const uint32_t *left = a;
	const uint32_t *right = b;

	return (*left > *right) - (*left < *right);
}

static void
add_timeline(struct wal_timelines *timelines, uint32_t timeline)
{
	size_t count = timelines->items.count;

	/* Spans come sorted: most repeats are of the last one. */
	if (count == 0 || timelines->items.items[count - 1] != timeline)
		vec_push(&timelines->items, timeline);
}

void
wal_timelines_init(struct wal_timelines *timelines, const struct wal_survey *survey)
{
	size_t kept = 0;

	memset(timelines, 0, sizeof(*timelines));
	for (size_t i = 0; i < survey->spans.count; i++)
		add_timeline(timelines, survey->spans.items[i].branch);
	for (size_t i = 0; i < survey->tails.count; i++)
		add_timeline(timelines, survey->tails.items[i].timeline);
	for (size_t i = 0; i < survey->bases.count; i++)
		add_timeline(timelines, survey->bases.items[i].end_timeline);
	for (size_t i = 0; i < survey->lineages.count; i++) {
		const struct wal_history *history = &survey->lineages.items[i].history;

		add_timeline(timelines, history->timeline);
		for (size_t j = 0; j < history->parents.count; j++)
			add_timeline(timelines, history->parents.items[j].timeline);
	}
	if (timelines->items.count == 0)
		return;
	qsort(timelines->items.items, timelines->items.count, sizeof(uint32_t), compare_timelines);
	for (size_t i = 1; i < timelines->items.count; i++) {
		if (timelines->items.items[i] != timelines->items.items[kept])
			timelines->items.items[++kept] = timelines->items.items[i];
	}
	timelines->items.count = kept + 1;
}

void
wal_timelines_done(struct wal_timelines *timelines)
{
	vec_done(&timelines->items);
}

/* ---- which one is the main one ------------------------------------------------------------------------ */

/*
 * The newest that is known of a timeline: its last commit, or without one when its tail was
 * written.  A file's time alone would not do: a store that is copied may lose it.
 */
static struct wall_time
newest_of(const struct wal_survey *survey, const struct wal_tail *tail)
{
	struct wall_time newest = { .us = 0 };

	for (size_t i = 0; i < survey->spans.count; i++) {
		const struct archive_span *span = &survey->spans.items[i];

		if (span->branch == tail->timeline && span->last_time.us > newest.us)
			newest = span->last_time;
	}
	for (size_t i = 0; i < survey->tails.count; i++) {
		const struct wal_tail *other = &survey->tails.items[i];

		if (other->timeline == tail->timeline && other->last_time.us > newest.us)
			newest = other->last_time;
	}

	return newest.us != 0 ? newest : tail->modified;
}

/*
 * Where the living server was seen last; 0: never.  A timeline with a tail was streamed from it,
 * also one that it left for another while we held more: what counts is which has newer commits.
 */
static uint32_t
last_seen(const struct wal_survey *survey)
{
	struct wall_time newest = { .us = INT64_MIN };
	uint32_t timeline = 0;

	for (size_t i = 0; i < survey->bases.count; i++) {
		const struct wal_base *base = &survey->bases.items[i];

		if (base->consistent_at.us > newest.us) {
			newest = base->consistent_at;
			timeline = base->end_timeline;
		}
	}
	for (size_t i = 0; i < survey->tails.count; i++) {
		const struct wal_tail *tail = &survey->tails.items[i];
		struct wall_time seen = newest_of(survey, tail);

		/* Of two written in the same instant the receiver went on with the later one. */
		if (seen.us > newest.us || (seen.us == newest.us && tail->timeline > timeline)) {
			newest = seen;
			timeline = tail->timeline;
		}
	}

	return timeline;
}

/* Did the parent go on behind the place where the child left it, or was it still written then. */
static bool
went_on(const struct wal_survey *survey, uint32_t parent, uint64_t fork_lsn,
    struct wall_time child_since)
{
	for (size_t i = 0; i < survey->spans.count; i++) {
		const struct archive_span *span = &survey->spans.items[i];

		if (span->branch == parent &&
		    (span->end_position > fork_lsn ||
			span->first * survey->segment_bytes > fork_lsn))
			return true;
	}
	for (size_t i = 0; i < survey->tails.count; i++) {
		const struct wal_tail *tail = &survey->tails.items[i];

		if (tail->timeline == parent &&
		    (tail->end_lsn > fork_lsn || tail->segment * survey->segment_bytes > fork_lsn ||
			tail->modified.us > child_since.us))
			return true;
	}

	return false;
}

/* The newest timeline that leaves `parent` and takes its place, or 0. */
static uint32_t
successor(const struct wal_survey *survey, uint32_t parent, uint32_t *ret_ignored)
{
	uint32_t newest = 0;

	for (size_t i = 0; i < survey->lineages.count; i++) {
		const struct wal_lineage *lineage = &survey->lineages.items[i];
		uint32_t child = lineage->history.timeline;
		uint64_t fork_lsn;

		if (wal_parent(survey, child, &fork_lsn) != parent)
			continue;
		if (went_on(survey, parent, fork_lsn, lineage->modified))
			*ret_ignored = child;
		else
			newest = child;
	}

	return newest;
}

uint32_t
wal_main_timeline(const struct wal_survey *survey, uint32_t *ret_ignored)
{
	uint32_t timeline = last_seen(survey);
	uint32_t next;

	*ret_ignored = 0;
	if (timeline == 0) {
		SCOPED(wal_timelines_done) struct wal_timelines all;

		wal_timelines_init(&all, survey);
		timeline = all.items.count > 0 ? all.items.items[0] : 0;
	}
	/* A child has a higher number than its parent (a history is refused otherwise): it ends. */
	for (next = timeline; next != 0; next = successor(survey, timeline, ret_ignored))
		timeline = next;

	return timeline;
}

/* ---- legs and runs ------------------------------------------------------------------------------------- */

static void
add_leg(struct wal_path *path, uint32_t timeline, uint64_t first, uint64_t end)
{
	if (end > first)
		vec_push(&path->legs,
		    ((struct wal_leg){ .timeline = timeline, .first = first, .last = end - 1 }));
}

static void
make_legs(struct wal_path *path, const struct wal_survey *survey)
{
	const struct wal_lineage *lineage = wal_survey_lineage(survey, path->timeline);
	uint64_t first = 0;

	for (size_t i = 0; lineage != NULL && i < lineage->history.parents.count; i++) {
		const struct wal_branch *parent = &lineage->history.parents.items[i];
		uint64_t end = parent->switch_lsn / survey->segment_bytes;

		add_leg(path, parent->timeline, first, end);
		first = end > first ? end : first;
	}
	vec_push(&path->legs,
	    ((struct wal_leg){ .timeline = path->timeline, .first = first, .last = UINT64_MAX }));
}

/* A run that `part` goes on with, else a new one. */
static void
add_part(struct wal_path *path, const struct wal_run *part)
{
	size_t count = path->runs.count;
	struct wal_run *run = count > 0 ? &path->runs.items[count - 1] : NULL;

	if (run == NULL || run->is_cut || run->last + 1 != part->first) {
		vec_push(&path->runs, *part);
		return;
	}
	run->timeline = part->timeline;
	run->last = part->last;
	if (part->end_lsn != 0) {
		run->end_lsn = part->end_lsn;
		run->last_lsn = part->last_lsn;
	}
	if (run->first_time.us == 0)
		run->first_time = part->first_time;
	if (part->last_time.us != 0)
		run->last_time = part->last_time;
	run->seen = part->seen;
	run->not_sound_count += part->not_sound_count;
	run->stored_bytes += part->stored_bytes;
	run->is_cut = part->is_cut;
}

static void
add_span(struct wal_path *path, const struct archive_span *span)
{
	const struct wal_run part = {
		.timeline = span->branch,
		.first = span->first,
		.last = span->last,
		.end_lsn = span->end_position,
		.first_time = span->first_time,
		.last_time = span->last_time,
		.not_sound_count = span->not_sound_count,
		.stored_bytes = span->stored_bytes,
	};

	add_part(path, &part);
}

static void
add_tail(struct wal_path *path, const struct wal_survey *survey, const struct wal_tail *tail)
{
	const struct wal_run part = {
		.timeline = tail->timeline,
		.first = tail->segment,
		.last = tail->segment,
		.end_lsn = tail->end_lsn,
		.last_lsn = tail->last_lsn,
		.first_time = tail->first_time,
		.last_time = tail->last_time,
		.seen = tail->modified,
		.stored_bytes = survey->segment_bytes,
		.is_cut = !tail->is_whole,
	};

	add_part(path, &part);
}

static bool
is_in_leg(const struct wal_leg *leg, uint32_t timeline, uint64_t segment)
{
	return timeline == leg->timeline && segment >= leg->first && segment <= leg->last;
}

/* The tails of the leg that lie before `end` and behind what the path has; *at moves on. */
static void
add_tails(struct wal_path *path, const struct wal_survey *survey, const struct wal_leg *leg,
    uint64_t begin, uint64_t end, size_t *at)
{
	for (; *at < survey->tails.count; (*at)++) {
		const struct wal_tail *tail = &survey->tails.items[*at];

		if (tail->timeline > leg->timeline ||
		    (tail->timeline == leg->timeline && tail->segment >= end))
			return;
		if (is_in_leg(leg, tail->timeline, tail->segment) && tail->segment >= begin)
			add_tail(path, survey, tail);
	}
}

/* Spans and tails of one timeline, merged by number; where both have a segment the span counts. */
static void
walk_leg(struct wal_path *path, const struct wal_survey *survey, const struct wal_leg *leg)
{
	uint64_t begin = leg->first;
	size_t tail = 0;

	for (size_t i = 0; i < survey->spans.count; i++) {
		const struct archive_span *span = &survey->spans.items[i];

		if (!is_in_leg(leg, span->branch, span->first))
			continue;
		add_tails(path, survey, leg, begin, span->first, &tail);
		add_span(path, span);
		begin = span->last + 1;
	}
	add_tails(path, survey, leg, begin, UINT64_MAX, &tail);
}

void
wal_path_init(struct wal_path *path, const struct wal_survey *survey, uint32_t timeline)
{
	memset(path, 0, sizeof(*path));
	path->timeline = timeline;
	make_legs(path, survey);
	for (size_t i = 0; i < path->legs.count; i++)
		walk_leg(path, survey, &path->legs.items[i]);
}

void
wal_path_done(struct wal_path *path)
{
	vec_done(&path->legs);
	vec_done(&path->runs);
}

uint32_t
wal_path_timeline_at(const struct wal_path *path, uint64_t segment)
{
	for (size_t i = 0; i < path->legs.count; i++) {
		if (segment <= path->legs.items[i].last)
			return path->legs.items[i].timeline;
	}

	return path->timeline;
}

/* ---- bases ---------------------------------------------------------------------------------------------- */

/* The byte at the end position is not of the base any more. */
static bool
history_has(const struct wal_survey *survey, uint32_t of, uint32_t timeline, uint64_t lsn)
{
	const struct wal_lineage *lineage = wal_survey_lineage(survey, of);

	return lineage != NULL ? wal_history_has(&lineage->history, timeline, lsn) : of == timeline;
}

bool
wal_path_has_base(const struct wal_survey *survey, uint32_t timeline, const struct wal_base *base)
{
	return history_has(survey, timeline, base->start_timeline, base->start_lsn) &&
	    history_has(survey, timeline, base->end_timeline, base->end_lsn - 1);
}

uint64_t
wal_base_first_segment(const struct wal_survey *survey, const struct wal_base *base)
{
	uint64_t first, last;

	wal_range_segments(base->start_lsn, base->end_lsn, survey->segment_bytes, &first, &last);

	return base->has_wal ? last + 1 : first;
}

const struct wal_run *
wal_path_run_of(const struct wal_survey *survey, const struct wal_path *path,
    const struct wal_base *base)
{
	uint64_t first = wal_base_first_segment(survey, base);

	size_t low = 0, high = path->runs.count;

	/* The last run that begins at `first` or before. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (path->runs.items[middle].first <= first)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		return NULL;

	const struct wal_run *run = &path->runs.items[low - 1];

	/* What a base carries itself may end just where the run does. */
	if (first > run->last + (base->has_wal ? 1 : 0))
		return NULL;

	return base->has_wal || run->end_lsn >= base->end_lsn ? run : NULL;
}
