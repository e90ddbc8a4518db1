#include "source/redis/stream/window.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "repo/manifest.h"
#include "source/source.h"

enum { OUTAGES_SHOWN_MAX = 5 };

void
courses_done(struct courses *courses)
{
	vec_done(&courses->items);
}

static int
compare_courses(const void *left, const void *right)
{
	const struct course *a = left;
	const struct course *b = right;

	if (a->at.branch != b->at.branch)
		return a->at.branch < b->at.branch ? -1 : 1;
	if (a->at.offset != b->at.offset)
		return a->at.offset < b->at.offset ? -1 : 1;

	return (a->from.us > b->from.us) - (a->from.us < b->from.us);
}

void
courses_find(const struct chain *chain, uint32_t branch, const struct manifest *const *bases,
    size_t bases_count, struct courses *ret_courses)
{
	struct courses courses = { .items = { .count = 0 } };

	for (size_t i = 0; i < bases_count; i++) {
		struct course course = { .index = i, .from = bases[i]->consistent_at };

		if (!chain_place_of(chain, bases[i], &course.at) ||
		    !chain_is_on(chain, branch, course.at))
			continue;
		chain_reach(chain, branch, course.at, &course.reach);
		if (course.reach.time.us < course.from.us)
			course.reach.time = course.from;
		vec_push(&courses.items, course);
	}
	if (courses.items.count > 1)
		qsort(courses.items.items, courses.items.count, sizeof(struct course),
		    compare_courses);
	*ret_courses = courses;
}

/* ---- the window ---------------------------------------------------------------------------------- */

struct making {
	const struct chain *chain;
	const struct manifest *const *bases;
	size_t bases_count;
	struct window_report *report;
	uint32_t newest;
};

static void
add_gap(struct making *making, const struct course *before, const struct course *after)
{
	char bytes[32];
	bool is_one_count = before->reach.to.branch == after->at.branch &&
	    after->at.offset > before->reach.to.offset;

	vec_push(&making->report->gaps,
	    ((struct window_gap){
		.branch = before->reach.to.branch,
		.from_position = before->reach.to.offset,
		.to_position = after->at.offset,
		.from = before->reach.time,
		.to = after->from,
		.text = is_one_count
		    ? xasprintf("%s of the stream",
			  format_bytes(after->at.offset - before->reach.to.offset, bytes))
		    : xstrdup("the stream between two histories"),
	    }));
}

/* The first piece of the newest branch that the last base does not lead to; NULL: there is none. */
static const struct link *
find_unreached(const struct making *making, const struct chain_reach *reach)
{
	for (size_t i = 0; i < making->chain->links.count; i++) {
		const struct link *link = &making->chain->links.items[i];

		if (link->branch == making->newest && link->to > link->from &&
		    (reach->to.branch != making->newest || link->from > reach->to.offset))
			return link;
	}

	return NULL;
}

/* The last span grows, unless a piece is missing between it and what comes now. */
static void
end_main(struct making *making, const struct course *last)
{
	struct window_span *span = &making->report->spans.items[making->report->spans.count - 1];
	const struct link *after = find_unreached(making, &last->reach);
	char bytes[32];

	span->is_current = after == NULL;
	if (after == NULL)
		return;
	span->ends = xasprintf("the piece of timeline %" PRIu32 " at offset %" PRIu64
			       " is missing or damaged",
	    last->reach.to.branch, last->reach.to.offset);
	vec_push(&making->report->gaps,
	    ((struct window_gap){
		.branch = last->reach.to.branch,
		.from_position = last->reach.to.offset,
		.to_position = after->from,
		.from = last->reach.time,
		.to = after->first,
		.text = after->from > last->reach.to.offset
		    ? xasprintf("%s of the stream",
			  format_bytes(after->from - last->reach.to.offset, bytes))
		    : xstrdup("a part of the stream"),
	    }));
	vec_push(&making->report->warnings,
	    xasprintf("no base can use the stream from offset %" PRIu64 " on: take a new one",
		after->from));
}

/*
 * A base beside the stream may stand where the stream has not arrived yet: that is no gap, the
 * receiver goes on from before it.
 */
static bool
is_ahead(const struct making *making, const struct course *course)
{
	if (course->at.branch != making->newest)
		return false;
	for (size_t i = 0; i < making->chain->links.count; i++) {
		const struct link *link = &making->chain->links.items[i];

		if (link->branch == making->newest && link->to >= course->at.offset)
			return false;
	}

	return true;
}

/*
 * Bases that one comes to from an earlier one belong to its span.  Of a branch that is on no way to
 * the newest, only what ends on it: the rest is told there.
 */
static void
add_spans(struct making *making, uint32_t branch, bool is_main)
{
	SCOPED(courses_done) struct courses courses;
	const struct course *open = NULL;

	courses_find(making->chain, branch, making->bases, making->bases_count, &courses);
	for (size_t i = 0; i < courses.items.count; i++) {
		const struct course *course = &courses.items.items[i];

		if (is_ahead(making, course) ||
		    (open != NULL && open->reach.to.branch == course->reach.to.branch &&
			open->reach.to.offset == course->reach.to.offset) ||
		    (!is_main && course->reach.to.branch != branch))
			continue;
		if (open != NULL)
			add_gap(making, open, course);
		open = course;
		vec_push(&making->report->spans,
		    ((struct window_span){
			.branch = course->reach.to.branch,
			.backup_id = xstrdup(making->bases[course->index]->id),
			.from_position = course->at.offset,
			.to_position = course->reach.to.offset,
			.from = course->from,
			.to = course->reach.time,
		    }));
	}
	if (is_main && open != NULL)
		end_main(making, open);
}

/* A history that began anew: what came between the one before and its first base is lost. */
static void
add_gap_before(struct making *making, const struct branch *root)
{
	const struct branches *branches = &making->chain->branches;
	const struct window_span *before = NULL;
	const struct window_span *after = NULL;

	for (size_t i = 0; i < making->report->spans.count; i++) {
		const struct window_span *span = &making->report->spans.items[i];

		if (span->branch < root->number && (before == NULL || span->to.us > before->to.us))
			before = span;
		if (branches_root(branches, span->branch) == root->number &&
		    (after == NULL || span->from.us < after->from.us))
			after = span;
	}
	if (before == NULL || after == NULL)
		return;
	vec_push(&making->report->gaps,
	    ((struct window_gap){
		.branch = before->branch,
		.from_position = before->to_position,
		.to_position = after->from_position,
		.from = before->to,
		.to = after->from,
		.text = xstrdup("the stream between two histories"),
	    }));
}

/* Does the branch have anything that is on no other way. */
static bool
has_own_end(const struct making *making, uint32_t branch)
{
	uint64_t shared = 0;

	if (!branches_share(&making->chain->branches, making->newest, branch, &shared))
		shared = 0;
	for (size_t i = 0; i < making->chain->links.count; i++) {
		const struct link *link = &making->chain->links.items[i];

		if (link->branch == branch && link->to > shared)
			return true;
	}

	return false;
}

static void
add_branch(struct making *making, const struct branch *branch)
{
	uint64_t until;
	bool is_on_main = branches_share(&making->chain->branches, making->newest, branch->number,
	    &until);

	vec_push(&making->report->branches,
	    ((struct window_branch){
		.branch = branch->number,
		.parent = branch->parent,
		.fork_position = branch->from,
		.reason = xstrdup(branch->reason),
		.is_on_main = is_on_main,
	    }));
	if (branch->number != making->newest && has_own_end(making, branch->number))
		add_spans(making, branch->number, false);
}

static void
add_totals(struct making *making)
{
	const struct chain *chain = making->chain;
	struct window_report *report = making->report;
	char from[CLOCK_TEXT_SIZE], to[CLOCK_TEXT_SIZE];
	size_t first = chain->outages.count > OUTAGES_SHOWN_MAX
	    ? chain->outages.count - OUTAGES_SHOWN_MAX
	    : 0;

	report->pieces_count = chain->links.count + chain->damaged_count;
	report->stored_bytes = chain->stored_bytes;
	report->not_sound_count = chain->not_sound_count;
	for (size_t i = 0; i < chain->warnings.count; i++)
		vec_push(&report->warnings, xstrdup(chain->warnings.items[i]));
	if (chain->damaged_count > 0)
		vec_push(&report->warnings,
		    xasprintf("%" PRIu64 " pieces are damaged and count as missing",
			chain->damaged_count));
	for (size_t i = first; i < chain->outages.count; i++) {
		const struct piece_outage *outage = &chain->outages.items[i].outage;

		vec_push(&report->warnings,
		    xasprintf("the link was down from %s to %s: what was written meanwhile counts "
			      "as written at its end",
			clock_format(outage->from, from), clock_format(outage->to, to)));
	}
}

static int
compare_spans(const void *left, const void *right)
{
	const struct window_span *a = left;
	const struct window_span *b = right;

	return (a->from.us > b->from.us) - (a->from.us < b->from.us);
}

void
redis_window(const struct chain *chain, const struct manifest *const *bases, size_t bases_count,
    struct window_report *report)
{
	struct making making = {
		.chain = chain,
		.bases = bases,
		.bases_count = bases_count,
		.report = report,
		.newest = chain_newest(chain),
	};

	if (making.newest != 0)
		add_spans(&making, making.newest, true);
	for (size_t i = 0; i < chain->branches.items.count; i++)
		add_branch(&making, &chain->branches.items.items[i]);
	for (size_t i = 1; i < chain->branches.items.count; i++) {
		if (chain->branches.items.items[i].parent == 0)
			add_gap_before(&making, &chain->branches.items.items[i]);
	}
	if (report->spans.count > 1)
		qsort(report->spans.items, report->spans.count, sizeof(struct window_span),
		    compare_spans);
	add_totals(&making);
}
