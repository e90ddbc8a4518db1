/* What can be brought back along the stream of a Redis, and from which base. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/err.h"
#include "base/mem.h"
#include "repo/manifest.h"
#include "source/redis/stream/window.h"
#include "source/source.h"

enum { BASES_MAX = 8 };

struct test {
	struct chain chain;
	struct manifest *bases[BASES_MAX];
	size_t count;
	struct restore_target target;
	struct window_report report;
	struct err err;
};

static struct wall_time
at_s(int64_t s)
{
	return (struct wall_time){ s * US_PER_S };
}

static void
replid_of(uint32_t branch, char *id)
{
	(void)snprintf(id, REPLID_SIZE, "%040u", branch);
}

static void
add_branch(struct test *test, uint32_t number, uint32_t parent, uint64_t from)
{
	struct branch *branch = vec_add(&test->chain.branches.items);

	branch->number = number;
	branch->parent = parent;
	branch->from = from;
	branch->reason = xstrdup("");
	replid_of(number, branch->replid);
}

static void
add_link(struct test *test, uint32_t branch, uint64_t from, uint64_t to, int64_t first_s,
    int64_t last_s)
{
	vec_push(&test->chain.links,
	    ((struct link){
		.branch = branch,
		.from = from,
		.to = to,
		.form = PIECE_PACKED,
		.first = at_s(first_s),
		.last = at_s(last_s),
	    }));
}

static void
add_base(struct test *test, const char *id, uint32_t branch, uint64_t offset, int64_t s)
{
	struct manifest *base = manifest_new();
	char replid[REPLID_SIZE];
	char place[80];

	replid_of(branch, replid);
	(void)snprintf(place, sizeof(place), "%s %llu", replid, (unsigned long long)offset);
	base->id = xstrdup(id);
	base->consistent_at = at_s(s);
	(void)json_object_set_new(base->content, "replication", json_string(place));
	test->bases[test->count++] = base;
}

/* Branch 1 from 0 to 3000 in three pieces, at 100 s to 400 s; bases where it begins and at 1500. */
static int
set_up(void **state)
{
	struct test *test = xcalloc(1, sizeof(*test));

	add_branch(test, 1, 0, 0);
	add_link(test, 1, 0, 1000, 110, 200);
	add_link(test, 1, 1000, 2000, 201, 300);
	add_link(test, 1, 2000, 3000, 301, 400);
	add_base(test, "first", 1, 0, 100);
	add_base(test, "second", 1, 1500, 250);
	*state = test;

	return 0;
}

static int
tear_down(void **state)
{
	struct test *test = *state;

	for (size_t i = 0; i < test->count; i++)
		manifest_free(test->bases[i]);
	window_report_done(&test->report);
	chain_done(&test->chain);
	free(test);

	return 0;
}

static int
choose(struct test *test, enum target_kind kind)
{
	size_t index = SIZE_MAX;
	int result;

	test->target.kind = kind;
	err_clear(&test->err);
	result = redis_choose(&test->chain, (const struct manifest *const *)test->bases,
	    test->count, &test->target, &index, &test->err);

	return result < 0 ? -1 : (int)index;
}

static int
choose_at(struct test *test, int64_t s)
{
	test->target = (struct restore_target){ .time = at_s(s), .branch = test->target.branch };

	return choose(test, TARGET_TIME);
}

static void
expect_base(const struct test *test, int index, const char *id)
{
	if (index < 0)
		fail_msg("%s", test->err.msg);
	assert_string_equal(test->bases[index]->id, id);
}

static void
expect_refused(const struct test *test, int index, const char *text, const char *hint)
{
	assert_int_equal(index, -1);
	assert_int_equal(test->err.kind, ERR_REFUSED);
	if (strstr(test->err.msg, text) == NULL || strstr(test->err.hint, hint) == NULL)
		fail_msg("%s (%s)", test->err.msg, test->err.hint);
}

static void
look(struct test *test)
{
	window_report_done(&test->report);
	test->report = (struct window_report){ .pieces_count = 0 };
	redis_window(&test->chain, (const struct manifest *const *)test->bases, test->count,
	    &test->report);
}

static void
expect_span(const struct test *test, size_t index, const char *id, int64_t from_s, int64_t to_s,
    bool is_current)
{
	const struct window_span *span = &test->report.spans.items[index];

	assert_true(index < test->report.spans.count);
	assert_string_equal(span->backup_id, id);
	assert_int_equal(span->from.us, at_s(from_s).us);
	assert_int_equal(span->to.us, at_s(to_s).us);
	assert_int_equal(span->is_current, is_current);
}

/* ---- one history ---------------------------------------------------------------------------------- */

static void
the_newest_base_before_a_time(void **state)
{
	struct test *test = *state;

	expect_base(test, choose_at(test, 100), "first");
	expect_base(test, choose_at(test, 249), "first");
	expect_base(test, choose_at(test, 250), "second");
	expect_base(test, choose_at(test, 400), "second");
	assert_int_equal(test->target.kind, TARGET_TIME);
	assert_int_equal(test->target.branch, 1);
	/* Behind the last command there is nothing to stop at. */
	test->target.branch = 0;
	expect_base(test, choose_at(test, 401), "second");
	assert_int_equal(test->target.kind, TARGET_LATEST);
	expect_base(test, choose(test, TARGET_LATEST), "second");
	look(test);
	assert_int_equal(test->report.spans.count, 1);
	expect_span(test, 0, "first", 100, 400, true);
	assert_int_equal(test->report.gaps.count, 0);
}

static void
what_is_before_the_first_base_or_to_come_is_refused(void **state)
{
	struct test *test = *state;

	expect_refused(test, choose_at(test, 99), "before the first base", "00:01:40");
	expect_refused(test, choose_at(test, clock_wall().us / US_PER_S + 3600), "in the future",
	    "00:06:40");
	test->count = 0;
	expect_refused(test, choose_at(test, 200), "no base", "list");
	expect_refused(test, choose(test, TARGET_LATEST), "no base", "list");
	test->count = 2;
}

static void
a_place_is_an_offset(void **state)
{
	struct test *test = *state;

	test->target.position = 1499;
	expect_base(test, choose(test, TARGET_POSITION), "first");
	test->target.position = 1500;
	expect_base(test, choose(test, TARGET_POSITION), "second");
	test->target.position = 3000;
	expect_base(test, choose(test, TARGET_POSITION), "second");
	test->target.position = 3001;
	expect_refused(test, choose(test, TARGET_POSITION), "3001", "3000");
	assert_int_equal(choose(test, TARGET_XID), -1);
	assert_int_equal(test->err.kind, ERR_USAGE);
	test->target.branch = 7;
	expect_refused(test, choose(test, TARGET_LATEST), "timeline 7", "newest is 1");
}

static void
a_missing_piece_is_a_gap(void **state)
{
	struct test *test = *state;

	/* Of the piece with the second base: only its end is left to be reached by nobody. */
	test->chain.links.items[1] = test->chain.links.items[2];
	test->chain.links.count = 2;
	look(test);
	expect_span(test, 0, "first", 100, 200, false);
	/* A base is whole by itself: its own instant. */
	expect_span(test, 1, "second", 250, 250, false);
	assert_int_equal(test->report.gaps.count, 2);
	assert_int_equal(test->report.gaps.items[1].from_position, 1500);
	assert_int_equal(test->report.gaps.items[1].to_position, 2000);
	assert_non_null(test->report.spans.items[1].ends);
	expect_refused(test, choose_at(test, 220), "gap", "00:03:20");
	expect_base(test, choose_at(test, 250), "second");
}

static void
a_base_ahead_of_what_has_arrived_is_no_gap(void **state)
{
	struct test *test = *state;

	add_base(test, "ahead", 1, 3014, 401);
	look(test);
	assert_int_equal(test->report.spans.count, 1);
	expect_span(test, 0, "first", 100, 400, true);
	assert_int_equal(test->report.gaps.count, 0);
	/* It is there, and as far as one gets. */
	expect_base(test, choose(test, TARGET_LATEST), "ahead");
	/* A tail that begins there says that what lies between will not come. */
	add_link(test, 1, 3014, 3014, 0, 0);
	look(test);
	assert_int_equal(test->report.spans.count, 2);
	assert_int_equal(test->report.gaps.count, 1);
}

/* ---- other histories ------------------------------------------------------------------------------ */

/* A failover at 2500: what branch 1 has behind it is a dead end. */
static void
fail_over(struct test *test)
{
	add_branch(test, 2, 1, 2500);
	add_link(test, 2, 2500, 3500, 390, 500);
}

static void
a_failover_is_gone_along(void **state)
{
	struct test *test = *state;

	fail_over(test);
	expect_base(test, choose_at(test, 450), "second");
	assert_int_equal(test->target.branch, 2);
	look(test);
	assert_int_equal(test->report.spans.count, 2);
	assert_int_equal(test->report.gaps.count, 0);
	assert_int_equal(test->report.branches.count, 2);
	for (size_t i = 0; i < 2; i++) {
		const struct window_span *span = &test->report.spans.items[i];

		assert_int_equal(span->is_current, span->branch == 2);
		assert_int_equal(span->to.us, at_s(span->branch == 2 ? 500 : 400).us);
	}
	/* The dead end can be asked for. */
	test->target = (struct restore_target){ .branch = 1 };
	expect_base(test, choose(test, TARGET_LATEST), "second");
	assert_int_equal(test->target.branch, 1);
}

/* A base that stands on the dead end leads nowhere along the new branch. */
static void
a_base_on_a_dead_end_is_not_taken(void **state)
{
	struct test *test = *state;

	fail_over(test);
	add_base(test, "dead", 1, 2800, 380);
	expect_base(test, choose_at(test, 450), "second");
	test->target = (struct restore_target){ .branch = 1 };
	expect_base(test, choose(test, TARGET_LATEST), "dead");
}

/* A replica that had nothing yet but the copy takes over at the offset of the base, be that 0. */
static void
a_failover_at_the_very_beginning(void **state)
{
	struct test *test = *state;

	test->count = 1; /* "first", at 0 */
	manifest_free(test->bases[1]);
	add_branch(test, 2, 1, 0);
	add_link(test, 2, 0, 900, 450, 500);
	expect_base(test, choose_at(test, 480), "first");
	assert_int_equal(test->target.branch, 2);
	test->target = (struct restore_target){ .branch = 0 };
	expect_base(test, choose(test, TARGET_LATEST), "first");
	look(test);
	assert_int_equal(test->report.spans.count, 2);
	for (size_t i = 0; i < 2; i++) {
		const struct window_span *span = &test->report.spans.items[i];

		assert_int_equal(span->to.us, at_s(span->branch == 2 ? 500 : 400).us);
		assert_true(test->report.branches.items[i].is_on_main);
	}
}

static void
a_time_before_a_new_history_lies_in_the_one_before(void **state)
{
	struct test *test = *state;

	add_branch(test, 2, 0, 50);
	add_link(test, 2, 50, 900, 610, 700);
	add_base(test, "anew", 2, 50, 600);
	expect_base(test, choose_at(test, 650), "anew");
	assert_int_equal(test->target.branch, 2);
	test->target.branch = 0;
	expect_base(test, choose_at(test, 300), "second");
	assert_int_equal(test->target.branch, 1);
	test->target.branch = 0;
	expect_refused(test, choose_at(test, 500), "gap", "00:10:00");
	expect_refused(test, choose_at(test, 50), "before the first base", "00:01:40");
	look(test);
	assert_int_equal(test->report.spans.count, 2);
	expect_span(test, 0, "first", 100, 400, false);
	expect_span(test, 1, "anew", 600, 700, true);
	assert_int_equal(test->report.gaps.count, 1);
	assert_int_equal(test->report.gaps.items[0].from.us, at_s(400).us);
	assert_int_equal(test->report.gaps.items[0].to.us, at_s(600).us);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_newest_base_before_a_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_before_the_first_base_or_to_come_is_refused,
		    set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_place_is_an_offset, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_missing_piece_is_a_gap, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_base_ahead_of_what_has_arrived_is_no_gap, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(a_failover_is_gone_along, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_failover_at_the_very_beginning, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(a_base_on_a_dead_end_is_not_taken, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(a_time_before_a_new_history_lies_in_the_one_before,
		    set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
