#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/zone.h"
#include "repo/retention.h"

#define DAY_US (INT64_C(86400) * US_PER_S)
#define HOUR_US (INT64_C(3600) * US_PER_S)

enum { ITEMS_MAX = 40, ROUNDS = 3000, ID_SIZE = 8 };

static struct wall_time
at(const char *text)
{
	struct wall_time time = { .us = 0 };
	struct err err = ERR_INIT;

	if (clock_parse(text, &time, &err) < 0)
		fail_msg("%s", err.msg);

	return time;
}

static int
open_zone(void **state)
{
	struct err err = ERR_INIT;

	*state = zone_open("Europe/Berlin", &err);

	return *state != NULL ? 0 : -1;
}

static int
close_zone(void **state)
{
	zone_close(*state);

	return 0;
}

static void
assert_kept(const struct retention_item *items, size_t count, const char *expected)
{
	char kept[ITEMS_MAX + 1] = "";

	assert_true(count <= ITEMS_MAX);
	for (size_t i = 0; i < count; i++)
		kept[i] = items[i].is_kept ? '1' : '0';
	assert_string_equal(kept, expected);
}

static void
test_age_ends_exactly(void **state)
{
	const struct retention_policy policy = { .keep_us = 7 * DAY_US };
	struct wall_time now = at("2025-11-25T12:00:00Z");
	struct retention_item items[] = {
		{ .id = "future", .at = { now.us + DAY_US }, .is_good = true, .proved_level = -1 },
		{ .id = "young",
		    .at = { now.us - 7 * DAY_US + 1 },
		    .is_good = true,
		    .proved_level = -1 },
		{ .id = "exact",
		    .at = { now.us - 7 * DAY_US },
		    .is_good = true,
		    .proved_level = -1 },
		{ .id = "old", .at = { now.us - 8 * DAY_US }, .is_good = true, .proved_level = -1 },
	};

	retention_apply(&policy, *state, now, items, 4);
	assert_kept(items, 4, "1100");
	assert_string_equal(items[1].reason, "younger than the age to keep");
	assert_string_equal(items[2].reason, "no rule keeps it");
}

static void
test_last_good_survives_a_month_of_failures(void **state)
{
	const struct retention_policy policy = { .keep_us = 30 * DAY_US };
	struct wall_time now = at("2025-11-25T12:00:00Z");
	struct retention_item items[] = {
		{ .id = "older",
		    .at = { now.us - 61 * DAY_US },
		    .is_good = true,
		    .proved_level = -1 },
		{ .id = "good",
		    .at = { now.us - 60 * DAY_US },
		    .is_good = true,
		    .proved_level = -1 },
		{ .id = "bad", .at = { now.us - 50 * DAY_US }, .proved_level = -1 },
		{ .id = "newest", .at = { now.us - 40 * DAY_US }, .proved_level = -1 },
	};

	retention_apply(&policy, *state, now, items, 4);
	assert_kept(items, 4, "0101");
	assert_string_equal(items[1].reason, "last good backup");
	assert_string_equal(items[3].reason, "newest backup");
}

static void
test_last_counts_the_good_ones(void **state)
{
	const struct retention_policy policy = { .last = 2 };
	struct wall_time now = at("2025-11-25T12:00:00Z");
	struct retention_item items[] = {
		{ .id = "a", .at = { now.us - 1 * DAY_US }, .proved_level = -1 },
		{ .id = "b", .at = { now.us - 2 * DAY_US }, .is_good = true, .proved_level = -1 },
		{ .id = "c", .at = { now.us - 3 * DAY_US }, .proved_level = -1 },
		{ .id = "d", .at = { now.us - 4 * DAY_US }, .is_good = true, .proved_level = -1 },
		{ .id = "e", .at = { now.us - 5 * DAY_US }, .is_good = true, .proved_level = -1 },
	};

	retention_apply(&policy, *state, now, items, 5);
	assert_kept(items, 5, "11010");
}

static void
test_buckets_follow_the_sites_calendar(void **state)
{
	/* Times in UTC; Berlin is an hour ahead: the second lies on the 25th there. */
	struct retention_item items[] = {
		{ .id = "a",
		    .at = at("2025-11-25T20:00:00Z"),
		    .is_good = true,
		    .proved_level = -1 },
		{ .id = "b",
		    .at = at("2025-11-24T23:30:00Z"),
		    .is_good = true,
		    .proved_level = -1 },
		{ .id = "c",
		    .at = at("2025-11-24T22:30:00Z"),
		    .is_good = true,
		    .proved_level = -1 },
		{ .id = "d",
		    .at = at("2025-11-23T12:00:00Z"),
		    .is_good = true,
		    .proved_level = -1 },
	};
	const struct retention_policy policy = { .daily = 2 };

	retention_apply(&policy, *state, at("2025-11-26T00:00:00Z"), items, 4);
	assert_kept(items, 4, "1010");
	assert_string_equal(items[2].reason, "daily");
}

static void
test_weeks_are_iso_weeks(void **state)
{
	/* Sunday 23:30 UTC is Monday in Berlin; 2024-12-30 is in week 1 of 2025, as is 2025-01-05. */
	struct retention_item items[] = {
		{ .id = "a",
		    .at = at("2025-01-05T22:30:00Z"),
		    .is_good = true,
		    .proved_level = -1 },
		{ .id = "b",
		    .at = at("2024-12-30T00:00:00Z"),
		    .is_good = true,
		    .proved_level = -1 },
		{ .id = "c",
		    .at = at("2024-12-29T23:30:00Z"),
		    .is_good = true,
		    .proved_level = -1 },
		{ .id = "d",
		    .at = at("2024-12-29T22:30:00Z"),
		    .is_good = true,
		    .proved_level = -1 },
		{ .id = "e",
		    .at = at("2024-12-23T12:00:00Z"),
		    .is_good = true,
		    .proved_level = -1 },
		{ .id = "f",
		    .at = at("2024-12-22T12:00:00Z"),
		    .is_good = true,
		    .proved_level = -1 },
	};
	const struct retention_policy policy = { .weekly = 3 };

	retention_apply(&policy, *state, at("2025-01-06T00:00:00Z"), items, 6);
	assert_kept(items, 6, "100101");
}

static void
test_months_and_years(void **state)
{
	struct retention_item items[] = {
		{ .id = "a",
		    .at = at("2026-01-01T12:00:00Z"),
		    .is_good = true,
		    .proved_level = -1 },
		{ .id = "b",
		    .at = at("2025-12-31T23:30:00Z"),
		    .is_good = true,
		    .proved_level = -1 },
		{ .id = "c",
		    .at = at("2025-12-31T22:30:00Z"),
		    .is_good = true,
		    .proved_level = -1 },
		{ .id = "d",
		    .at = at("2025-12-01T12:00:00Z"),
		    .is_good = true,
		    .proved_level = -1 },
		{ .id = "e",
		    .at = at("2025-06-01T12:00:00Z"),
		    .is_good = true,
		    .proved_level = -1 },
		{ .id = "f",
		    .at = at("2023-06-01T12:00:00Z"),
		    .is_good = true,
		    .proved_level = -1 },
		{ .id = "g",
		    .at = at("2022-06-01T12:00:00Z"),
		    .is_good = true,
		    .proved_level = -1 },
	};
	const struct retention_policy monthly = { .monthly = 3 };
	const struct retention_policy yearly = { .yearly = 3 };
	struct wall_time now = at("2026-01-02T00:00:00Z");

	retention_apply(&monthly, *state, now, items, 7);
	assert_kept(items, 7, "1010100");
	retention_apply(&yearly, *state, now, items, 7);
	assert_kept(items, 7, "1010010");
}

static void
test_buckets_skip_what_is_not_good(void **state)
{
	struct retention_item items[] = {
		{ .id = "a",
		    .at = at("2025-11-25T20:00:00Z"),
		    .is_good = true,
		    .proved_level = -1 },
		{ .id = "b", .at = at("2025-11-24T20:00:00Z"), .proved_level = -1 },
		{ .id = "c",
		    .at = at("2025-11-24T10:00:00Z"),
		    .is_good = true,
		    .proved_level = -1 },
		{ .id = "d", .at = at("2025-11-23T10:00:00Z"), .proved_level = -1 },
		{ .id = "e",
		    .at = at("2025-11-22T10:00:00Z"),
		    .is_good = true,
		    .proved_level = -1 },
	};
	const struct retention_policy policy = { .daily = 3 };

	retention_apply(&policy, *state, at("2025-11-26T00:00:00Z"), items, 5);
	assert_kept(items, 5, "10101");
}

static void
test_recovery_window_keeps_its_base(void **state)
{
	const struct retention_policy policy = { .keep_us = 7 * DAY_US };
	const struct retention_policy stream = { .last = 1, .window_us = 7 * DAY_US };
	struct wall_time now = at("2025-11-25T12:00:00Z");
	struct retention_item items[] = {
		{ .id = "a",
		    .at = { now.us - 1 * DAY_US },
		    .is_good = true,
		    .is_window_base = true,
		    .proved_level = -1 },
		{ .id = "b",
		    .at = { now.us - 6 * DAY_US },
		    .is_good = true,
		    .is_window_base = true,
		    .proved_level = -1 },
		{ .id = "c",
		    .at = { now.us - 8 * DAY_US },
		    .is_window_base = true,
		    .proved_level = -1 },
		{ .id = "d",
		    .at = { now.us - 9 * DAY_US },
		    .is_good = true,
		    .is_window_base = true,
		    .proved_level = -1 },
		{ .id = "e",
		    .at = { now.us - 10 * DAY_US },
		    .is_good = true,
		    .is_window_base = true,
		    .proved_level = -1 },
	};

	/* The damaged one cannot be a base; the window needs the good one before it. */
	retention_apply(&policy, *state, now, items, 5);
	assert_kept(items, 5, "11010");
	assert_string_equal(items[3].reason, "the recovery window starts from it");

	/* A stream that is kept longer than its bases needs one as well. */
	retention_apply(&stream, *state, now, items, 5);
	assert_kept(items, 5, "10010");

	/* A base of exactly that age serves the whole window. */
	items[2].at.us = now.us - 7 * DAY_US;
	items[2].is_good = true;
	retention_apply(&policy, *state, now, items, 5);
	assert_kept(items, 5, "11100");
}

static void
test_held_and_proved_and_needed(void **state)
{
	static const char *const of_d[] = { "d", "gone", NULL };
	static const char *const of_e[] = { "e", NULL };
	const struct retention_policy policy = { .keep_us = DAY_US };
	struct wall_time now = at("2025-11-25T12:00:00Z");
	struct retention_item items[] = {
		{ .id = "a",
		    .at = { now.us - 1 },
		    .is_good = true,
		    .proved_level = 1,
		    .needs = of_d },
		{ .id = "b", .at = { now.us - 2 * DAY_US }, .is_pinned = true, .proved_level = -1 },
		{ .id = "c", .at = { now.us - 3 * DAY_US }, .is_used = true, .proved_level = -1 },
		{ .id = "d",
		    .at = { now.us - 4 * DAY_US },
		    .is_good = true,
		    .proved_level = 0,
		    .needs = of_e },
		{ .id = "e", .at = { now.us - 5 * DAY_US }, .is_good = true, .proved_level = 0 },
		{ .id = "f", .at = { now.us - 6 * DAY_US }, .is_good = true, .proved_level = 3 },
		{ .id = "g", .at = { now.us - 7 * DAY_US }, .is_good = true, .proved_level = 3 },
		{ .id = "h", .at = { now.us - 8 * DAY_US }, .proved_level = 5 },
	};

	retention_apply(&policy, *state, now, items, 8);
	assert_kept(items, 8, "11111100");
	assert_string_equal(items[1].reason, "pinned");
	assert_string_equal(items[2].reason, "in use");
	assert_string_equal(items[4].reason, "a kept backup needs its files");
	assert_string_equal(items[5].reason, "newest at the highest level proved");
}

static void
test_without_rules_everything_is_kept(void **state)
{
	const struct retention_policy none = { .keep_us = 0 };
	const struct retention_policy unlimited = { .is_unlimited = true, .last = 1 };
	struct retention_item items[] = {
		{ .id = "a", .at = { 1 }, .is_good = true },
		{ .id = "b", .at = { 2 } },
		{ .id = "c", .at = { 3 }, .is_good = true },
	};

	retention_apply(&none, *state, at("2025-11-25T12:00:00Z"), items, 3);
	assert_kept(items, 3, "111");
	retention_apply(&unlimited, *state, at("2025-11-25T12:00:00Z"), items, 3);
	assert_kept(items, 3, "111");
	retention_apply(&unlimited, *state, at("2025-11-25T12:00:00Z"), NULL, 0);
}

static void
test_a_huge_age_does_not_wrap(void **state)
{
	const struct retention_policy policy = { .keep_us = INT64_MAX };
	struct retention_item items[] = {
		{ .id = "a", .at = { 1 }, .is_good = true },
		{ .id = "b", .at = { -5 }, .is_good = true },
	};

	retention_apply(&policy, *state, (struct wall_time){ .us = -10 }, items, 2);
	assert_kept(items, 2, "11");
}

/* ---- properties over random inputs ------------------------------------------------------- */

struct world {
	uint64_t random;
	struct wall_time now;
	size_t count;
	char ids[ITEMS_MAX][ID_SIZE];
	const char *needs[ITEMS_MAX][3];
	struct retention_item items[ITEMS_MAX];
};

static uint64_t
draw(struct world *world, uint64_t below)
{
	world->random ^= world->random << 13;
	world->random ^= world->random >> 7;
	world->random ^= world->random << 17;

	return world->random % below;
}

static void
make_world(struct world *world)
{
	bool has_bases = draw(world, 2) == 0;

	world->now = at("2025-11-25T12:00:00Z");
	world->count = draw(world, ITEMS_MAX + 1);
	for (size_t i = 0; i < world->count; i++) {
		struct retention_item *item = &world->items[i];
		size_t needs = 0;

		(void)snprintf(world->ids[i], ID_SIZE, "id%zu", i);
		*item = (struct retention_item){
			.id = world->ids[i],
			/* Coarse, so that equal instants and exact ages come up. */
			.at = { world->now.us - (int64_t)draw(world, 400) * 6 * HOUR_US + DAY_US },
			.is_good = draw(world, 4) > 0,
			.is_pinned = draw(world, 20) == 0,
			.is_used = draw(world, 20) == 0,
			.is_window_base = has_bases,
			.proved_level = (int)draw(world, 5) - 1,
		};
		while (needs < 2 && draw(world, 4) == 0)
			world->needs[i][needs++] = world->ids[draw(world, world->count)];
		world->needs[i][needs] = NULL;
		item->needs = needs > 0 ? world->needs[i] : NULL;
	}
}

static struct retention_policy
make_policy(struct world *world)
{
	struct retention_policy policy = {
		.keep_us = draw(world, 2) == 0 ? (int64_t)draw(world, 60) * DAY_US : 0,
		.last = draw(world, 3) == 0 ? (unsigned)draw(world, 8) : 0,
		.daily = draw(world, 3) == 0 ? (unsigned)draw(world, 20) : 0,
		.weekly = draw(world, 3) == 0 ? (unsigned)draw(world, 8) : 0,
		.monthly = draw(world, 3) == 0 ? (unsigned)draw(world, 4) : 0,
		.yearly = draw(world, 3) == 0 ? (unsigned)draw(world, 2) : 0,
	};

	policy.last += policy.keep_us + policy.last + policy.daily + policy.weekly +
		    policy.monthly + policy.yearly ==
		0
	    ? 1
	    : 0;

	return policy;
}

static const struct retention_item *
item_by_id(const struct world *world, const char *id)
{
	for (size_t i = 0; i < world->count; i++) {
		if (strcmp(world->items[i].id, id) == 0)
			return &world->items[i];
	}

	return NULL;
}

/* The newest base not younger than `horizon_us`, judged as slowly and plainly as can be. */
static int64_t
newest_base_us(const struct world *world, int64_t horizon_us)
{
	int64_t newest = INT64_MIN;

	for (size_t i = 0; i < world->count; i++) {
		const struct retention_item *item = &world->items[i];

		if (item->is_window_base && item->is_good && item->at.us <= horizon_us &&
		    item->at.us > newest)
			newest = item->at.us;
	}

	return newest;
}

static void
check_never_removed(const struct world *world, const struct retention_policy *policy)
{
	int64_t last_good = INT64_MIN, last = INT64_MIN;
	int64_t base = newest_base_us(world, world->now.us - policy->keep_us);
	bool has_last_good = false, has_last = false, has_best = false, has_base = false;
	int best = -1;

	for (size_t i = 0; i < world->count; i++) {
		const struct retention_item *item = &world->items[i];

		last = item->at.us > last ? item->at.us : last;
		if (item->is_good && item->at.us > last_good)
			last_good = item->at.us;
		if (item->is_good && item->proved_level > best)
			best = item->proved_level;
	}
	for (size_t i = 0; i < world->count; i++) {
		const struct retention_item *item = &world->items[i];

		assert_non_null(item->reason);
		if (item->is_pinned || item->is_used)
			assert_true(item->is_kept);
		if (policy->keep_us > 0 && world->now.us - item->at.us < policy->keep_us)
			assert_true(item->is_kept);
		for (size_t n = 0; item->is_kept && item->needs != NULL && item->needs[n] != NULL;
		     n++)
			assert_true(item_by_id(world, item->needs[n])->is_kept);
		has_last |= item->is_kept && item->at.us == last;
		has_last_good |= item->is_kept && item->is_good && item->at.us == last_good;
		has_best |= item->is_kept && item->is_good && item->proved_level == best;
		has_base |= item->is_kept && item->is_good && item->is_window_base &&
		    item->at.us == base;
	}
	assert_true(world->count == 0 || has_last);
	assert_true(last_good == INT64_MIN || has_last_good);
	assert_true(best == -1 || has_best);
	assert_true(policy->keep_us == 0 || base == INT64_MIN || has_base);
}

static void
test_never_removed_whatever_the_policy(void **state)
{
	struct world world = { .random = 0x1234567 };

	for (unsigned round = 0; round < ROUNDS; round++) {
		struct retention_policy policy;

		make_world(&world);
		policy = make_policy(&world);
		retention_apply(&policy, *state, world.now, world.items, world.count);
		check_never_removed(&world, &policy);
	}
}

/* One number of the policy, a little larger. */
static void
loosen(struct world *world, struct retention_policy *policy)
{
	unsigned more = 1 + (unsigned)draw(world, 3);

	switch (draw(world, 7)) {
	case 0:
		policy->keep_us += more * DAY_US;
		break;
	case 1:
		policy->last += more;
		break;
	case 2:
		policy->daily += more;
		break;
	case 3:
		policy->weekly += more;
		break;
	case 4:
		policy->monthly += more;
		break;
	case 5:
		policy->yearly += more;
		break;
	default:
		policy->is_unlimited = true;
	}
}

static void
test_looser_never_removes_more(void **state)
{
	struct world world = { .random = 0x7654321 };

	for (unsigned round = 0; round < ROUNDS; round++) {
		struct retention_policy policy;
		bool was_kept[ITEMS_MAX];

		make_world(&world);
		policy = make_policy(&world);
		retention_apply(&policy, *state, world.now, world.items, world.count);
		for (size_t i = 0; i < world.count; i++)
			was_kept[i] = world.items[i].is_kept;
		loosen(&world, &policy);
		retention_apply(&policy, *state, world.now, world.items, world.count);
		for (size_t i = 0; i < world.count; i++)
			assert_true(world.items[i].is_kept || !was_kept[i]);
	}
}

static void
test_order_does_not_matter(void **state)
{
	struct world world = { .random = 0xabcdef };

	for (unsigned round = 0; round < ROUNDS; round++) {
		struct retention_item again[ITEMS_MAX];
		struct retention_policy policy;

		make_world(&world);
		policy = make_policy(&world);
		for (size_t i = 0; i < world.count; i++)
			again[i] = world.items[world.count - 1 - i];
		retention_apply(&policy, *state, world.now, world.items, world.count);
		retention_apply(&policy, *state, world.now, again, world.count);
		for (size_t i = 0; i < world.count; i++) {
			const struct retention_item *same = &again[world.count - 1 - i];

			assert_int_equal(world.items[i].is_kept, same->is_kept);
			assert_string_equal(world.items[i].reason, same->reason);
		}
	}
}

/* Pruning again right away removes nothing more: what is kept does not lean on what is gone. */
static void
test_applying_again_removes_nothing(void **state)
{
	struct world world = { .random = 0x55aa55 };

	for (unsigned round = 0; round < ROUNDS; round++) {
		struct retention_item left[ITEMS_MAX];
		struct retention_policy policy;
		size_t count = 0;

		make_world(&world);
		policy = make_policy(&world);
		retention_apply(&policy, *state, world.now, world.items, world.count);
		for (size_t i = 0; i < world.count; i++) {
			if (world.items[i].is_kept)
				left[count++] = world.items[i];
		}
		retention_apply(&policy, *state, world.now, left, count);
		for (size_t i = 0; i < count; i++)
			assert_true(left[i].is_kept);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_age_ends_exactly),
		cmocka_unit_test(test_last_good_survives_a_month_of_failures),
		cmocka_unit_test(test_last_counts_the_good_ones),
		cmocka_unit_test(test_buckets_follow_the_sites_calendar),
		cmocka_unit_test(test_weeks_are_iso_weeks),
		cmocka_unit_test(test_months_and_years),
		cmocka_unit_test(test_buckets_skip_what_is_not_good),
		cmocka_unit_test(test_recovery_window_keeps_its_base),
		cmocka_unit_test(test_held_and_proved_and_needed),
		cmocka_unit_test(test_without_rules_everything_is_kept),
		cmocka_unit_test(test_a_huge_age_does_not_wrap),
		cmocka_unit_test(test_never_removed_whatever_the_policy),
		cmocka_unit_test(test_looser_never_removes_more),
		cmocka_unit_test(test_order_does_not_matter),
		cmocka_unit_test(test_applying_again_removes_nothing),
	};

	return cmocka_run_group_tests(tests, open_zone, close_zone);
}
