#include "repo/retention.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/zone.h"

/* Pointers to the items, newest first; the same order on every machine. */
struct by_age {
	struct retention_item **items;
	size_t count;
};

static void
keep(struct retention_item *item, const char *reason)
{
	if (!item->is_kept)
		item->reason = reason;
	item->is_kept = true;
}

static int
compare_age(const void *a, const void *b)
{
	const struct retention_item *x = *(struct retention_item *const *)a;
	const struct retention_item *y = *(struct retention_item *const *)b;

	if (x->at.us != y->at.us)
		return x->at.us > y->at.us ? -1 : 1;

	return strcmp(y->id, x->id);
}

static int
compare_id(const void *a, const void *b)
{
	return strcmp((*(struct retention_item *const *)a)->id,
	    (*(struct retention_item *const *)b)->id);
}

/* The instant so long ago; the beginning of time when that is before it. */
static int64_t
horizon_us(int64_t age_us, struct wall_time now)
{
	int64_t horizon;

	if (__builtin_sub_overflow(now.us, age_us, &horizon))
		return INT64_MIN;

	return horizon;
}

static void
keep_by_age(const struct retention_policy *policy, struct wall_time now, struct by_age *all)
{
	int64_t horizon = horizon_us(policy->keep_us, now);

	if (policy->keep_us <= 0)
		return;
	for (size_t i = 0; i < all->count; i++) {
		if (all->items[i]->at.us > horizon)
			keep(all->items[i], "younger than the age to keep");
	}
}

/*
 * Good ones are counted among the good, so that failures do not push them out; the others among
 * all, so that they do not pile up while nothing good comes.
 */
static void
keep_last(const struct retention_policy *policy, struct by_age *all)
{
	unsigned good = 0;

	for (size_t i = 0; i < all->count; i++) {
		struct retention_item *item = all->items[i];

		if (item->is_good ? good++ < policy->last : i < policy->last)
			keep(item, "among the last to keep");
	}
}

enum bucket { BUCKET_DAY, BUCKET_WEEK, BUCKET_MONTH, BUCKET_YEAR };

/* A number for the day, ISO week, month or year; it grows with time. */
static int64_t
bucket_of(enum bucket bucket, const struct zone *zone, struct wall_time at)
{
	struct civil civil = zone_civil(zone, at);
	int64_t day;

	civil.hour = civil.minute = civil.second = 0;
	day = civil_to_unix_s(&civil) / 86400;
	switch (bucket) {
	case BUCKET_DAY:
		return day;
	case BUCKET_WEEK:
		/* Day 0 was a Thursday: weeks begin on Monday, three days before. */
		return (day + 3) / 7 - ((day + 3) % 7 < 0 ? 1 : 0);
	case BUCKET_MONTH:
		return (int64_t)civil.year * 12 + civil.month;
	default:
		return civil.year;
	}
}

/* Keep the newest good one of each of the newest `count` buckets that have one. */
static void
keep_buckets(enum bucket bucket, unsigned count, const struct zone *zone, struct by_age *all,
    const char *reason)
{
	int64_t oldest = INT64_MAX;

	for (size_t i = 0; i < all->count && count > 0; i++) {
		int64_t this;

		if (!all->items[i]->is_good)
			continue;
		this = bucket_of(bucket, zone, all->items[i]->at);
		if (this >= oldest)
			continue;
		oldest = this;
		count--;
		keep(all->items[i], reason);
	}
}

/*
 * Every second since the horizon can be reached only from a base that is not younger than it.
 * There are two when the stream is kept longer, or less long, than its bases.
 */
static void
keep_window_base(int64_t window_us, struct wall_time now, struct by_age *all)
{
	int64_t horizon = horizon_us(window_us, now);

	if (window_us <= 0)
		return;
	for (size_t i = 0; i < all->count; i++) {
		struct retention_item *item = all->items[i];

		if (item->is_window_base && item->is_good && item->at.us <= horizon) {
			keep(item, "the recovery window starts from it");
			return;
		}
	}
}

static void
keep_last_good(struct by_age *all)
{
	for (size_t i = 0; i < all->count; i++) {
		if (all->items[i]->is_good) {
			keep(all->items[i], "last good backup");
			return;
		}
	}
}

/* The newest of those at the highest level: there is always one left. */
static void
keep_best_proved(struct by_age *all)
{
	struct retention_item *best = NULL;

	for (size_t i = 0; i < all->count; i++) {
		struct retention_item *item = all->items[i];

		if (item->is_good && item->proved_level >= 0 &&
		    (best == NULL || item->proved_level > best->proved_level))
			best = item;
	}
	if (best != NULL)
		keep(best, "newest at the highest level proved");
}

static void
keep_held(struct by_age *all)
{
	for (size_t i = 0; i < all->count; i++) {
		if (all->items[i]->is_pinned)
			keep(all->items[i], "pinned");
		else if (all->items[i]->is_used)
			keep(all->items[i], "in use");
	}
}

static struct retention_item *
find_by_id(const struct by_age *by_id, const char *id)
{
	struct retention_item key = { .id = id };
	struct retention_item *key_pointer = &key;
	struct retention_item **found = bsearch(&key_pointer, by_id->items, by_id->count,
	    sizeof(*by_id->items), compare_id);

	return found != NULL ? *found : NULL;
}

/* Keep what the kept ones refer to, and what those refer to; `all` is put into another order. */
static void
keep_needed(struct by_age *all)
{
	SCOPED(freep) struct retention_item **queue = xcalloc(all->count, sizeof(*queue));
	size_t queued = 0;

	qsort(all->items, all->count, sizeof(*all->items), compare_id);
	for (size_t i = 0; i < all->count; i++) {
		if (all->items[i]->is_kept)
			queue[queued++] = all->items[i];
	}
	while (queued > 0) {
		const char *const *needs = queue[--queued]->needs;

		for (; needs != NULL && *needs != NULL; needs++) {
			struct retention_item *needed = find_by_id(all, *needs);

			if (needed == NULL || needed->is_kept)
				continue;
			keep(needed, "a kept backup needs its files");
			queue[queued++] = needed; /* each item enters once: there is room */
		}
	}
}

static bool
has_rule(const struct retention_policy *policy)
{
	return !policy->is_unlimited &&
	    (policy->keep_us > 0 || policy->last > 0 || policy->daily > 0 || policy->weekly > 0 ||
		policy->monthly > 0 || policy->yearly > 0);
}

void
retention_apply(const struct retention_policy *policy, const struct zone *zone,
    struct wall_time now, struct retention_item *items, size_t count)
{
	SCOPED(freep) struct retention_item **pointers = xcalloc(count, sizeof(*pointers));
	struct by_age all = { .items = pointers, .count = count };

	for (size_t i = 0; i < count; i++) {
		items[i].is_kept = false;
		items[i].reason = "no rule keeps it";
		pointers[i] = &items[i];
	}
	qsort(pointers, count, sizeof(*pointers), compare_age);

	keep_held(&all);
	for (size_t i = 0; !has_rule(policy) && i < count; i++)
		keep(&items[i], "kept without limit");
	keep_by_age(policy, now, &all);
	keep_last(policy, &all);
	keep_buckets(BUCKET_DAY, policy->daily, zone, &all, "daily");
	keep_buckets(BUCKET_WEEK, policy->weekly, zone, &all, "weekly");
	keep_buckets(BUCKET_MONTH, policy->monthly, zone, &all, "monthly");
	keep_buckets(BUCKET_YEAR, policy->yearly, zone, &all, "yearly");
	keep_window_base(policy->keep_us, now, &all);
	keep_window_base(policy->window_us, now, &all);
	keep_last_good(&all);
	if (count > 0)
		keep(all.items[0], "newest backup");
	keep_best_proved(&all);
	keep_needed(&all);
}
