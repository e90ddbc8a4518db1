#include "source/postgres/wal/choose.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/parse.h"
#include "base/str.h"
#include "base/zone.h"
#include "source/archive.h"
#include "source/postgres/lsn.h"
#include "source/postgres/wal/path.h"
#include "source/postgres/wal/survey.h"
#include "source/source.h"

/* A base of the path, and the log that goes on from it (NULL: there is none). */
struct candidate {
	const struct wal_base *base;
	const struct wal_run *run;
	uint64_t end_lsn;         /* as far as it can be brought */
	struct wall_time last;    /* the last commit that it can be brought to */
	struct wall_time seen_at; /* what came until then was received; 0: not known */
	bool is_last;             /* nothing is known to come later */
};

struct choosing {
	const struct wal_survey *survey;
	const struct archive_marks *marks;
	struct restore_target *target;
	struct wall_time now;
	struct wal_path path;
	VEC(struct candidate) candidates; /* oldest first */
};

static void
choosing_done(struct choosing *choosing)
{
	wal_path_done(&choosing->path);
	vec_done(&choosing->candidates);
}

/* ---- text -------------------------------------------------------------------------------------------- */

static const char *
time_text(const struct choosing *choosing, struct wall_time time, char *text)
{
	return zone_format_us(choosing->target->zone, time, text);
}

/* ---- candidates ----------------------------------------------------------------------------------------- */

static void
add_candidate(struct choosing *choosing, const struct wal_base *base)
{
	const struct wal_path *path = &choosing->path;
	const struct wal_run *run = wal_path_run_of(choosing->survey, path, base);
	const struct wal_run *newest = path->runs.count > 0
	    ? &path->runs.items[path->runs.count - 1]
	    : NULL;
	struct candidate candidate = {
		.base = base,
		.run = run,
		.end_lsn = base->end_lsn,
		.last = base->consistent_at,
		.is_last = run != NULL ? run == newest
				       : newest == NULL ||
			newest->first < wal_base_first_segment(choosing->survey, base),
	};

	/* Without its own WAL, and without the archive's, it is no cluster at all. */
	if (run == NULL && !base->has_wal)
		return;
	if (run != NULL && run->end_lsn > candidate.end_lsn)
		candidate.end_lsn = run->end_lsn;
	if (run != NULL && run->last_time.us > candidate.last.us)
		candidate.last = run->last_time;
	if (run != NULL)
		candidate.seen_at = run->seen;
	vec_push(&choosing->candidates, candidate);
}

static int
compare_candidates(const void *a, const void *b)
{
	const struct candidate *left = a;
	const struct candidate *right = b;

	return (left->base->end_lsn > right->base->end_lsn) -
	    (left->base->end_lsn < right->base->end_lsn);
}

static int
refuse_unknown_timeline(const struct choosing *choosing, struct err *err)
{
	SCOPED(wal_timelines_done) struct wal_timelines known;
	SCOPED(str_done) struct str list = STR_INIT_MAX(200);

	wal_timelines_init(&known, choosing->survey);
	for (size_t i = 0; i < known.items.count; i++)
		str_addf(&list, "%s%u", i > 0 ? ", " : "", known.items.items[i]);
	(void)err_set(err, ERR_REFUSED, "nothing is known of timeline %u",
	    choosing->target->branch);

	return err_hint(err, "The timelines that are known: %s.", str_text(&list));
}

static bool
is_known(const struct wal_survey *survey, uint32_t timeline)
{
	SCOPED(wal_timelines_done) struct wal_timelines known;

	wal_timelines_init(&known, survey);
	for (size_t i = 0; i < known.items.count; i++) {
		if (known.items.items[i] == timeline)
			return true;
	}

	return false;
}

static int
find_candidates(struct choosing *choosing, struct err *err)
{
	const struct wal_survey *survey = choosing->survey;
	struct restore_target *target = choosing->target;
	uint32_t ignored;

	if (target->branch == 0)
		target->branch = wal_main_timeline(survey, &ignored);
	else if (!is_known(survey, target->branch))
		return refuse_unknown_timeline(choosing, err);
	wal_path_init(&choosing->path, survey, target->branch);
	for (size_t i = 0; i < survey->bases.count; i++) {
		if (wal_path_has_base(survey, target->branch, &survey->bases.items[i]))
			add_candidate(choosing, &survey->bases.items[i]);
	}
	if (choosing->candidates.count == 0) {
		(void)err_set(err, ERR_REFUSED,
		    "there is no base backup that recovery could begin with%s",
		    survey->bases.count > 0 ? " on this timeline whose log is all there" : "");
		return err_hint(err,
		    "Take one: blackstart backup --kind base; a dump cannot be brought forward.");
	}
	qsort(choosing->candidates.items, choosing->candidates.count, sizeof(struct candidate),
	    compare_candidates);

	return 0;
}

static const struct candidate *
newest_candidate(const struct choosing *choosing)
{
	return &choosing->candidates.items[choosing->candidates.count - 1];
}

/* ---- time ------------------------------------------------------------------------------------------------- */

/*
 * Only commits carry a time.  Recovery stops at the first one behind the target (or at it, when it
 * is excluded), so such a one must exist.
 */
static bool
has_commit_behind(const struct candidate *candidate, const struct restore_target *target)
{
	return target->is_exclusive ? candidate->last.us >= target->time.us
				    : candidate->last.us > target->time.us;
}

static int
refuse_too_early(const struct choosing *choosing, struct err *err)
{
	char asked[CLOCK_TEXT_SIZE], first[CLOCK_TEXT_SIZE];
	const struct candidate *oldest = &choosing->candidates.items[0];

	(void)err_set(err, ERR_REFUSED,
	    "%s is before the first base backup of timeline %u: nothing can be brought back from "
	    "there",
	    time_text(choosing, choosing->target->time, asked), choosing->target->branch);

	return err_hint(err, "The nearest possible target is --at '%s'.",
	    time_text(choosing, (struct wall_time){ oldest->base->consistent_at.us + 1 }, first));
}

static int
refuse_future(const struct choosing *choosing, struct err *err)
{
	char asked[CLOCK_TEXT_SIZE], last[CLOCK_TEXT_SIZE];

	(void)err_set(err, ERR_REFUSED, "%s is in the future",
	    time_text(choosing, choosing->target->time, asked));

	return err_hint(err,
	    "The last commit that is known was at %s; '--at latest' brings all there is.",
	    time_text(choosing, newest_candidate(choosing)->last, last));
}

/* The log is known up to `last`, something is missing, and then it goes on. */
static int
refuse_gap(const struct choosing *choosing, const struct candidate *before, struct err *err)
{
	char asked[CLOCK_TEXT_SIZE], last[CLOCK_TEXT_SIZE], name[WAL_NAME_SIZE];
	uint64_t first = before->run != NULL
	    ? before->run->last + (before->run->is_cut ? 0 : 1)
	    : wal_base_first_segment(choosing->survey, before->base);

	(void)err_set(err, ERR_REFUSED, "%s lies behind a gap in the log: segment %s is missing",
	    time_text(choosing, choosing->target->time, asked),
	    wal_name_format(wal_path_timeline_at(&choosing->path, first), first,
		choosing->survey->segment_bytes, name));

	return err_hint(err,
	    "The last commit before the gap was at %s: --at that brings back everything up to it.",
	    time_text(choosing, before->last, last));
}

static int
refuse_silence(const struct choosing *choosing, const struct candidate *last, struct err *err)
{
	char asked[CLOCK_TEXT_SIZE], commit[CLOCK_TEXT_SIZE];

	(void)err_set(err, ERR_REFUSED,
	    "%s is behind the last commit that is known (%s), and nothing tells whether there was "
	    "none later",
	    time_text(choosing, choosing->target->time, asked),
	    time_text(choosing, last->last, commit));

	return err_hint(err,
	    "'--at latest' brings back all there is. If the server still lives, type "
	    "'SELECT pg_switch_wal()' there and ask again.");
}

/* Behind the last commit: the end of the log is that instant, when somebody listened until then. */
static int
choose_end(struct choosing *choosing, const struct candidate *last, struct err *err)
{
	struct restore_target *target = choosing->target;

	if (!last->is_last)
		return refuse_gap(choosing, last, err);
	if (target->time.us != last->last.us && last->seen_at.us == 0)
		return refuse_silence(choosing, last, err);
	target->kind = TARGET_LATEST;

	return 0;
}

static int
choose_time(struct choosing *choosing, const struct candidate **ret_chosen, struct err *err)
{
	const struct restore_target *target = choosing->target;
	const struct candidate *reaches = NULL;
	const struct candidate *newest = NULL;

	if (target->time.us > choosing->now.us)
		return refuse_future(choosing, err);
	for (size_t i = 0; i < choosing->candidates.count; i++) {
		const struct candidate *candidate = &choosing->candidates.items[i];

		if (candidate->base->consistent_at.us >= target->time.us)
			continue;
		newest = candidate;
		if (has_commit_behind(candidate, target))
			reaches = candidate;
	}
	if (newest == NULL)
		return refuse_too_early(choosing, err);
	if (reaches == NULL && choose_end(choosing, newest, err) < 0)
		return -1;
	*ret_chosen = reaches != NULL ? reaches : newest;

	return 0;
}

/* ---- place -------------------------------------------------------------------------------------------------- */

/* What a refusal of a place says of the places that can be reached. */
static int
hint_places(const struct choosing *choosing, struct err *err)
{
	char from[LSN_TEXT_SIZE], to[LSN_TEXT_SIZE];

	return err_hint(err,
	    "On timeline %u places from %s to before %s can be reached; 'blackstart window' shows "
	    "the gaps.",
	    choosing->target->branch, lsn_format(choosing->candidates.items[0].base->end_lsn, from),
	    lsn_format(newest_candidate(choosing)->end_lsn, to));
}

static int
choose_position(struct choosing *choosing, uint64_t lsn, const struct candidate **ret_chosen,
    struct err *err)
{
	const struct candidate *reaches = NULL;
	const struct candidate *newest = NULL;
	char text[LSN_TEXT_SIZE];

	for (size_t i = 0; i < choosing->candidates.count; i++) {
		const struct candidate *candidate = &choosing->candidates.items[i];
		uint64_t last = candidate->run != NULL ? candidate->run->last_lsn : 0;

		if (candidate->base->end_lsn > lsn)
			continue;
		newest = candidate;
		if (lsn < candidate->end_lsn && (last == 0 || lsn <= last))
			reaches = candidate;
	}
	(void)lsn_format(lsn, text);
	if (reaches != NULL) {
		*ret_chosen = reaches;
		return 0;
	}
	if (newest == NULL)
		(void)err_set(err, ERR_REFUSED, "%s is before the end of the first base backup",
		    text);
	else
		(void)err_set(err, ERR_REFUSED,
		    "%s is behind the end of the log, or of a gap in it", text);

	return hint_places(choosing, err);
}

/* ---- transaction ------------------------------------------------------------------------------------------------ */

/*
 * Nothing tells when a transaction ended but the log itself.  It began after every base that knew
 * a lower number as the next one; of bases that do not say, the oldest without a gap will do.
 */
static int
choose_xid(struct choosing *choosing, const struct candidate **ret_chosen, struct err *err)
{
	const struct candidate *newest = newest_candidate(choosing);
	const struct candidate *chosen = NULL;
	uint64_t xid;

	if (parse_u64(choosing->target->text, 3, UINT64_MAX, &xid, err) < 0) {
		(void)err_set(err, ERR_USAGE, "'%.40s' is not a transaction's number",
		    choosing->target->text);
		return err_hint(err, "It is what pg_current_xact_id() shows: a number from 3 on.");
	}
	for (size_t i = 0; i < choosing->candidates.count; i++) {
		const struct candidate *candidate = &choosing->candidates.items[i];
		uint64_t next = candidate->base->next_xid;

		if (candidate->run == NULL || candidate->run != newest->run)
			continue;
		if (chosen == NULL || (next != 0 && next <= xid))
			chosen = candidate;
	}
	if (chosen == NULL)
		return err_set(err, ERR_REFUSED, "no log goes on from the newest base backup");
	if (chosen->base->next_xid > xid)
		return err_set(err, ERR_REFUSED,
		    "transaction %llu ended before the first base backup, whose next one was %llu",
		    (unsigned long long)xid, (unsigned long long)chosen->base->next_xid);
	*ret_chosen = chosen;

	return 0;
}

/* ---- restore point ------------------------------------------------------------------------------------------------ */

static bool
is_on_path(const struct choosing *choosing, const struct archive_mark *mark)
{
	return wal_path_timeline_at(&choosing->path,
		   mark->position / choosing->survey->segment_bytes) == mark->branch;
}

struct found_marks {
	VEC(const struct archive_mark *) items;
};

static void
collect_marks(const struct choosing *choosing, const struct archive_mark *marks, size_t count,
    struct found_marks *found)
{
	for (size_t i = 0; i < count; i++) {
		bool is_known = false;

		if (!str_equals(marks[i].name, choosing->target->text) ||
		    !is_on_path(choosing, &marks[i]))
			continue;
		for (size_t j = 0; j < found->items.count; j++)
			is_known |= found->items.items[j]->position == marks[i].position;
		if (!is_known)
			vec_push(&found->items, &marks[i]);
	}
}

static int
refuse_unknown_mark(const struct choosing *choosing, struct err *err)
{
	VEC(const char *) names = { .count = 0 };
	const char *nearest;

	for (size_t i = 0; choosing->marks != NULL && i < choosing->marks->items.count; i++)
		vec_push(&names, choosing->marks->items.items[i].name);
	for (size_t i = 0; i < choosing->survey->marks.count; i++)
		vec_push(&names, choosing->survey->marks.items[i].name);
	nearest = str_nearest(choosing->target->text, names.items, names.count);
	(void)err_set(err, ERR_REFUSED, "the log has no restore point '%.60s' on timeline %u",
	    choosing->target->text, choosing->target->branch);
	if (nearest != NULL)
		(void)err_hint(err, "Did you mean '%s'?", nearest);
	else if (names.count > 0)
		(void)err_hint(err, "The last one it has is '%s'.", names.items[names.count - 1]);
	else
		(void)err_hint(err, "It has none at all; name a time with --at.");
	vec_done(&names);

	return -1;
}

static int
choose_mark(struct choosing *choosing, const struct candidate **ret_chosen, struct err *err)
{
	struct found_marks found = { .items = { .count = 0 } };
	char first[LSN_TEXT_SIZE], second[LSN_TEXT_SIZE];
	uint64_t lsn;
	int result = -1;

	if (choosing->marks != NULL)
		collect_marks(choosing, choosing->marks->items.items, choosing->marks->items.count,
		    &found);
	collect_marks(choosing, choosing->survey->marks.items, choosing->survey->marks.count,
	    &found);
	if (found.items.count == 0) {
		(void)refuse_unknown_mark(choosing, err);
	} else if (found.items.count > 1) {
		(void)err_set(err, ERR_REFUSED, "the log has %zu restore points '%.60s'",
		    found.items.count, choosing->target->text);
		(void)err_hint(err, "Say which by its place: --lsn %s, --lsn %s ...",
		    lsn_format(found.items.items[0]->position, first),
		    lsn_format(found.items.items[1]->position, second));
	} else {
		lsn = found.items.items[0]->position;
		result = choose_position(choosing, lsn, ret_chosen, err);
		if (result == 0)
			choosing->target->position = lsn;
	}
	vec_done(&found.items);

	return result;
}

/* ---- all of it -------------------------------------------------------------------------------------------------------- */

static int
choose_latest(struct choosing *choosing, const struct candidate **ret_chosen, struct err *err)
{
	const struct candidate *newest = newest_candidate(choosing);
	char last[CLOCK_TEXT_SIZE];

	if (!newest->is_last) {
		(void)err_set(err, ERR_REFUSED,
		    "the newest base backup does not lead to the end of the log: something is "
		    "missing on the way");
		return err_hint(err,
		    "The last commit before that was at %s: --at that brings back everything up to "
		    "it; 'blackstart window' shows what is missing.",
		    time_text(choosing, newest->last, last));
	}
	*ret_chosen = newest;

	return 0;
}

int
wal_choose(const struct wal_survey *survey, const struct archive_marks *marks, struct wall_time now,
    struct restore_target *target, size_t *ret_base, struct err *err)
{
	SCOPED(choosing_done)
	struct choosing choosing = {
		.survey = survey,
		.marks = marks,
		.target = target,
		.now = now,
	};
	const struct candidate *chosen = NULL;
	int result;

	if (find_candidates(&choosing, err) < 0)
		return -1;
	switch (target->kind) {
	case TARGET_TIME:
		result = choose_time(&choosing, &chosen, err);
		break;
	case TARGET_POSITION:
		result = choose_position(&choosing, target->position, &chosen, err);
		break;
	case TARGET_XID:
		result = choose_xid(&choosing, &chosen, err);
		break;
	case TARGET_MARK:
		result = choose_mark(&choosing, &chosen, err);
		break;
	default:
		result = choose_latest(&choosing, &chosen, err);
		break;
	}
	if (result < 0)
		return -1;
	*ret_base = (size_t)(chosen->base - survey->bases.items);

	return 0;
}
