/* Which base a target needs, and what stands against it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/zone.h"
#include "source/redis/stream/window.h"
#include "source/source.h"

struct choosing {
	struct restore_target *target;
	struct courses courses; /* of one history */
	const struct course *chosen;
	bool has_later;              /* a history follows */
	struct wall_time later_from; /* where its first base stands, 0: it has none */
};

static const char *
time_text(const struct choosing *choosing, struct wall_time time, char *text)
{
	return zone_format_us(choosing->target->zone, time, text);
}

static int
refuse_kind(enum target_kind kind, struct err *err)
{
	(void)err_set(err, ERR_USAGE, "a Redis has no %s",
	    kind == TARGET_XID ? "transaction ids" : "restore points");

	return err_hint(err, "Name a time: --at 'YYYY-MM-DD HH:MM:SS'.");
}

static int
refuse_branch(const struct chain *chain, uint32_t branch, struct err *err)
{
	(void)err_set(err, ERR_REFUSED, "nothing is known of timeline %" PRIu32 " of the stream",
	    branch);

	return err_hint(err, "The newest is %" PRIu32 "; 'blackstart window' shows them.",
	    chain_newest(chain));
}

static int
refuse_empty(struct err *err)
{
	(void)err_set(err, ERR_REFUSED,
	    "there is no base that the stream goes on from, so no chosen second can be reached");

	return err_hint(err,
	    "A backup of its own comes back with --backup ID; 'blackstart list' shows them.");
}

static const struct course *
last_course(const struct choosing *choosing)
{
	return &choosing->courses.items.items[choosing->courses.items.count - 1];
}

/* ---- a time ------------------------------------------------------------------------------------- */

static int
refuse_before(const struct choosing *choosing, struct err *err)
{
	char asked[CLOCK_TEXT_SIZE], first[CLOCK_TEXT_SIZE];
	const struct course *course = &choosing->courses.items.items[0];

	(void)err_set(err, ERR_REFUSED, "%s is before the first base, which is of %s",
	    time_text(choosing, choosing->target->time, asked),
	    time_text(choosing, course->from, first));

	return err_hint(err, "The nearest that can be reached: --at '%s'.", first);
}

/* `after`: when it ended, 0: it has not yet. */
static int
refuse_gap(const struct choosing *choosing, const struct course *before, struct wall_time after,
    struct err *err)
{
	char asked[CLOCK_TEXT_SIZE], from[CLOCK_TEXT_SIZE], to[CLOCK_TEXT_SIZE];

	(void)time_text(choosing, choosing->target->time, asked);
	(void)time_text(choosing, before->reach.time, from);
	if (after.us == 0) {
		(void)err_set(err, ERR_REFUSED,
		    "%s lies in a gap of the stream, which begins at %s: no base came since", asked,
		    from);
		return err_hint(err, "The nearest that can be reached: --at '%s'.", from);
	}
	(void)err_set(err, ERR_REFUSED, "%s lies in a gap of the stream, from %s to %s", asked,
	    from, time_text(choosing, after, to));

	return err_hint(err, "The nearest that can be reached: --at '%s' or --at '%s'.", from, to);
}

static int
refuse_future(const struct choosing *choosing, struct err *err)
{
	char asked[CLOCK_TEXT_SIZE], last[CLOCK_TEXT_SIZE];

	(void)err_set(err, ERR_REFUSED, "%s is in the future",
	    time_text(choosing, choosing->target->time, asked));

	return err_hint(err, "The last that can be reached: --at '%s'.",
	    time_text(choosing, last_course(choosing)->reach.time, last));
}

static int
choose_time(struct choosing *choosing, struct err *err)
{
	struct restore_target *target = choosing->target;
	const struct course *found = NULL;
	size_t next = 0;

	/* The server's clock, by which times are named, may be ahead of ours. */
	if (target->time.us > clock_wall().us && !choosing->has_later &&
	    target->time.us > last_course(choosing)->reach.time.us)
		return refuse_future(choosing, err);
	for (size_t i = 0; i < choosing->courses.items.count; i++) {
		const struct course *course = &choosing->courses.items.items[i];

		if (course->from.us > target->time.us)
			continue;
		found = course;
		next = i + 1;
	}
	if (found == NULL)
		return refuse_before(choosing, err);
	choosing->chosen = found;
	if (target->time.us <= found->reach.time.us)
		return 0;
	if (next < choosing->courses.items.count)
		return refuse_gap(choosing, found, choosing->courses.items.items[next].from, err);
	if (choosing->has_later)
		return refuse_gap(choosing, found, choosing->later_from, err);
	/* Behind the last command there is nothing to stop at. */
	target->kind = TARGET_LATEST;

	return 0;
}

/* ---- an offset ---------------------------------------------------------------------------------- */

static int
choose_offset(struct choosing *choosing, struct err *err)
{
	const struct restore_target *target = choosing->target;

	for (size_t i = 0; i < choosing->courses.items.count; i++) {
		const struct course *course = &choosing->courses.items.items[i];

		if (course->at.offset <= target->position &&
		    target->position <= course->reach.to.offset)
			choosing->chosen = course;
	}
	if (choosing->chosen != NULL)
		return 0;
	(void)err_set(err, ERR_REFUSED, "offset %" PRIu64 " cannot be reached", target->position);

	return err_hint(err, "The last is %" PRIu64 "; 'blackstart window --json' has all spans.",
	    last_course(choosing)->reach.to.offset);
}

static int
choose(struct choosing *choosing, struct err *err)
{
	switch (choosing->target->kind) {
	case TARGET_TIME:
		return choose_time(choosing, err);
	case TARGET_POSITION:
		return choose_offset(choosing, err);
	case TARGET_XID:
	case TARGET_MARK:
		return refuse_kind(choosing->target->kind, err);
	case TARGET_BACKUP:
	case TARGET_LATEST:
		break;
	}
	choosing->chosen = last_course(choosing);

	return 0;
}

/*
 * The history that a time lies in: the newest that begins before it.  In none, the oldest that has
 * a base, so that it can be said from when on there is one.
 */
static uint32_t
find_history(struct choosing *choosing, const struct chain *chain,
    const struct manifest *const *bases, size_t bases_count)
{
	uint32_t found = 0;

	for (uint32_t line = chain_newest(chain); line != 0;
	     line = branches_before(&chain->branches, line)) {
		struct courses courses;

		courses_find(chain, line, bases, bases_count, &courses);
		if (courses.items.count == 0) {
			courses_done(&courses);
			choosing->has_later = true;
			continue;
		}
		choosing->has_later = choosing->has_later || found != 0;
		if (found != 0)
			choosing->later_from = choosing->courses.items.items[0].from;
		courses_done(&choosing->courses);
		choosing->courses = courses;
		found = line;
		if (courses.items.items[0].from.us <= choosing->target->time.us)
			break;
	}

	return found;
}

int
redis_choose(const struct chain *chain, const struct manifest *const *bases, size_t bases_count,
    struct restore_target *target, size_t *ret_index, struct err *err)
{
	struct choosing choosing = { .target = target };
	uint32_t branch = target->branch != 0 ? target->branch : chain_newest(chain);
	int result;

	if (branch != 0 && branches_find(&chain->branches, branch) == NULL)
		return refuse_branch(chain, branch, err);
	if (target->branch == 0 && target->kind == TARGET_TIME)
		branch = find_history(&choosing, chain, bases, bases_count);
	else
		courses_find(chain, branch, bases, bases_count, &choosing.courses);
	result = choosing.courses.items.count > 0 ? choose(&choosing, err) : refuse_empty(err);
	if (result == 0) {
		target->branch = branch;
		*ret_index = choosing.chosen->index;
	}
	courses_done(&choosing.courses);

	return result;
}
