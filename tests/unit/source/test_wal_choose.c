#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/zone.h"
#include "source/postgres/wal/choose.h"
#include "source/source.h"
#include "wal_plot.h"

#define FORK_AT_10 "1\t0/A80000\tno recovery target specified\n"

enum { NOW_S = 1000 };

struct test {
	struct wal_survey survey;
	struct restore_target target;
	struct err err;
	size_t chosen;
};

/* Bases at 100 s and 500 s, the log from segment 3 to 20, a tail with the last commit at 900 s. */
static int
set_up(void **state)
{
	struct test *test = calloc(1, sizeof(*test));

	if (test == NULL)
		return -1;
	plot_begin(&test->survey);
	plot_base(&test->survey, "late", 1, 12, 12, 500, false);
	plot_base(&test->survey, "early", 1, 5, 6, 100, false);
	plot_span(&test->survey, 1, 3, 20, 50, 800);
	plot_tail(&test->survey, 1, 21, 900, 990);
	*state = test;

	return 0;
}

static int
tear_down(void **state)
{
	struct test *test = *state;

	wal_survey_done(&test->survey);
	free(test);

	return 0;
}

static int
choose(struct test *test, enum target_kind kind)
{
	test->target.kind = kind;
	test->err = (struct err)ERR_INIT;

	return wal_choose(&test->survey, NULL, plot_time(NOW_S), &test->target, &test->chosen,
	    &test->err);
}

static int
choose_at(struct test *test, int64_t seconds)
{
	test->target.time = plot_time(seconds);

	return choose(test, TARGET_TIME);
}

static void
expect_base(const struct test *test, int result, const char *id)
{
	if (result < 0)
		fail_msg("refused: %s", test->err.msg);
	assert_string_equal(test->survey.bases.items[test->chosen].id, id);
}

static void
expect_refused(const struct test *test, int result, const char *says, const char *hints)
{
	assert_int_equal(result, -1);
	assert_int_equal(test->err.kind, ERR_REFUSED);
	if (strstr(test->err.msg, says) == NULL)
		fail_msg("'%s' does not say '%s'", test->err.msg, says);
	if (strstr(test->err.hint, hints) == NULL)
		fail_msg("'%s' does not hint '%s'", test->err.hint, hints);
}

/* ---- time --------------------------------------------------------------------------------------------- */

static void
test_the_newest_base_before_the_time(void **state)
{
	struct test *test = *state;

	expect_base(test, choose_at(test, 101), "early");
	assert_int_equal(test->target.branch, 1);
	expect_base(test, choose_at(test, 500), "early");
	expect_base(test, choose_at(test, 501), "late");
	expect_base(test, choose_at(test, 899), "late");
	assert_int_equal(test->target.kind, TARGET_TIME);
}

static void
test_before_the_first_base(void **state)
{
	struct test *test = *state;

	expect_refused(test, choose_at(test, 100), "before the first base backup",
	    "2023-11-14 22:15:00.000001+00:00");
	expect_refused(test, choose_at(test, 99), "before the first base backup", "--at");
}

/* Recovery wants a commit behind the target; at the last one, and behind it, it wants no target. */
static void
test_behind_the_last_commit(void **state)
{
	struct test *test = *state;

	expect_base(test, choose_at(test, 900), "late");
	assert_int_equal(test->target.kind, TARGET_LATEST);
	expect_base(test, choose_at(test, 950), "late");
	assert_int_equal(test->target.kind, TARGET_LATEST);
	assert_int_equal(test->target.time.us, plot_time(950).us);
	test->target.is_exclusive = true;
	expect_base(test, choose_at(test, 900), "late");
	assert_int_equal(test->target.kind, TARGET_TIME);
	expect_base(test, choose_at(test, 901), "late");
	assert_int_equal(test->target.kind, TARGET_LATEST);
}

static void
test_behind_the_last_commit_when_nobody_listened(void **state)
{
	struct test *test = *state;

	test->survey.tails.count = 0;
	expect_base(test, choose_at(test, 799), "late");
	expect_base(test, choose_at(test, 800), "late");
	assert_int_equal(test->target.kind, TARGET_LATEST);
	expect_refused(test, choose_at(test, 801), "behind the last commit", "--at latest");
}

static void
test_the_future(void **state)
{
	struct test *test = *state;

	expect_base(test, choose_at(test, NOW_S), "late");
	expect_refused(test, choose_at(test, NOW_S + 1), "in the future", "--at latest");
}

static void
test_in_a_gap(void **state)
{
	struct test *test = *state;

	plot_span(&test->survey, 1, 25, 30, 950, 980);
	plot_base(&test->survey, "last", 1, 26, 26, 960, false);
	expect_base(test, choose_at(test, 899), "late");
	expect_refused(test, choose_at(test, 900), "segment 000000010000000000000015 is missing",
	    "22:28:20.000000+00:00");
	expect_refused(test, choose_at(test, 955), "gap", "--at");
	expect_base(test, choose_at(test, 970), "last");
}

static void
test_behind_a_gap_without_a_base(void **state)
{
	struct test *test = *state;

	plot_span(&test->survey, 1, 25, 30, 950, 980);
	expect_refused(test, choose_at(test, 970), "gap", "--at");
	expect_refused(test, choose(test, TARGET_LATEST), "does not lead to the end", "22:28:20");
}

static void
test_no_base_at_all(void **state)
{
	struct test *test = *state;

	test->survey.bases.count = 0;
	expect_refused(test, choose_at(test, 700), "no base backup", "backup --kind base");
	test->survey.bases.count = 2;
	test->survey.spans.count = 0;
	expect_refused(test, choose_at(test, 700), "whose log is all there", "backup --kind base");
}

/* A damaged base was left out before; a newer one without its log must not hide an older one. */
static void
test_a_base_whose_log_is_not_there(void **state)
{
	struct test *test = *state;

	plot_base(&test->survey, "lost", 1, 40, 41, 600, false);
	expect_base(test, choose_at(test, 700), "late");
}

static void
test_times_are_in_the_zone(void **state)
{
	struct test *test = *state;
	struct err err = ERR_INIT;
	struct zone *zone = zone_open("Europe/Berlin", &err);
	char text[CLOCK_TEXT_SIZE];

	if (zone == NULL)
		skip();
	assert_string_equal(zone_format_us(zone, (struct wall_time){ 1700000000123456 }, text),
	    "2023-11-14 23:13:20.123456+01:00");
	test->target.zone = zone;
	expect_refused(test, choose_at(test, 90), "2023-11-14 23:14:50", "+01:00");
	zone_close(zone);
}

/* ---- other targets ---------------------------------------------------------------------------------------- */

static int
choose_lsn(struct test *test, uint64_t lsn)
{
	test->target.position = lsn;

	return choose(test, TARGET_POSITION);
}

static void
test_a_place(void **state)
{
	struct test *test = *state;

	expect_base(test, choose_lsn(test, plot_lsn(6, 256)), "early");
	expect_base(test, choose_lsn(test, plot_lsn(12, 255)), "early");
	expect_base(test, choose_lsn(test, plot_lsn(12, 256)), "late");
	expect_base(test, choose_lsn(test, plot_lsn(21, PLOT_SEGMENT / 2 - 40)), "late");
	expect_refused(test, choose_lsn(test, plot_lsn(21, PLOT_SEGMENT / 2 - 39)),
	    "behind the end of the log", "places from 0/600100 to before 0/1580000");
	expect_refused(test, choose_lsn(test, plot_lsn(6, 255)), "before the end of the first",
	    "window");
}

static void
test_a_transaction(void **state)
{
	struct test *test = *state;

	test->survey.bases.items[0].next_xid = 2000;
	test->survey.bases.items[1].next_xid = 1000;
	test->target.text = "2000";
	expect_base(test, choose(test, TARGET_XID), "late");
	test->target.text = "1999";
	expect_base(test, choose(test, TARGET_XID), "early");
	test->target.text = "999";
	expect_refused(test, choose(test, TARGET_XID), "ended before the first base", "");
	test->survey.bases.items[1].next_xid = 0;
	expect_base(test, choose(test, TARGET_XID), "early");
	test->target.text = "x";
	assert_int_equal(choose(test, TARGET_XID), -1);
	assert_int_equal(test->err.kind, ERR_USAGE);
}

static void
add_mark(struct test *test, const char *name, uint64_t segment)
{
	vec_push(&test->survey.marks,
	    ((struct archive_mark){
		.branch = 1,
		.position = plot_lsn(segment, 4096),
		.name = xstrdup(name),
	    }));
}

static void
test_a_restore_point(void **state)
{
	struct test *test = *state;

	add_mark(test, "before the upgrade", 10);
	add_mark(test, "twice", 13);
	add_mark(test, "twice", 14);
	add_mark(test, "too early", 6 - 1);
	test->target.text = "before the upgrade";
	expect_base(test, choose(test, TARGET_MARK), "early");
	assert_int_equal(test->target.position, plot_lsn(10, 4096));
	test->target.text = "before the upgrad";
	expect_refused(test, choose(test, TARGET_MARK), "no restore point",
	    "Did you mean 'before the upgrade'?");
	test->target.text = "twice";
	expect_refused(test, choose(test, TARGET_MARK), "2 restore points", "--lsn 0/D01000");
	test->target.text = "too early";
	expect_refused(test, choose(test, TARGET_MARK), "before the end of the first", "");
}

static void
test_latest(void **state)
{
	struct test *test = *state;

	expect_base(test, choose(test, TARGET_LATEST), "late");
	assert_int_equal(test->target.branch, 1);
}

/* ---- timelines ----------------------------------------------------------------------------------------------- */

static void
test_a_timeline_by_number(void **state)
{
	struct test *test = *state;

	test->survey.spans.count = 0;
	plot_span(&test->survey, 1, 3, 9, 50, 450);
	plot_span(&test->survey, 1, 10, 20, 460, 800);
	plot_span(&test->survey, 2, 10, 13, 600, 700);
	plot_history(&test->survey, 2, FORK_AT_10, 650);
	/* The receiver is on 1, so 2 is a rehearsal. */
	expect_base(test, choose_at(test, 690), "late");
	assert_int_equal(test->target.branch, 1);
	test->target.branch = 2;
	expect_base(test, choose_at(test, 690), "early");
	expect_refused(test, choose_at(test, 701), "behind the last commit", "latest");
	test->target.branch = 7;
	expect_refused(test, choose_at(test, 690), "timeline 7", "1, 2");
}

/* A base that was taken behind the fork is not on the other timeline. */
static void
test_a_failover(void **state)
{
	struct test *test = *state;

	test->survey.spans.count = 0;
	test->survey.tails.count = 0;
	test->survey.bases.count = 0;
	plot_base(&test->survey, "early", 1, 5, 6, 100, false);
	plot_base(&test->survey, "new", 2, 12, 12, 550, false);
	plot_span(&test->survey, 1, 3, 9, 50, 450);
	plot_span(&test->survey, 2, 10, 20, 460, 800);
	plot_history(&test->survey, 2, FORK_AT_10, 455);
	expect_base(test, choose_at(test, 300), "early");
	expect_base(test, choose_at(test, 500), "early");
	expect_base(test, choose_at(test, 600), "new");
	assert_int_equal(test->target.branch, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_the_newest_base_before_the_time),
		TEST(test_before_the_first_base),
		TEST(test_behind_the_last_commit),
		TEST(test_behind_the_last_commit_when_nobody_listened),
		TEST(test_the_future),
		TEST(test_in_a_gap),
		TEST(test_behind_a_gap_without_a_base),
		TEST(test_no_base_at_all),
		TEST(test_a_base_whose_log_is_not_there),
		TEST(test_times_are_in_the_zone),
		TEST(test_a_place),
		TEST(test_a_transaction),
		TEST(test_a_restore_point),
		TEST(test_latest),
		TEST(test_a_timeline_by_number),
		TEST(test_a_failover),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
