#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "source/postgres/wal/path.h"
#include "source/postgres/wal/window.h"
#include "source/source.h"
#include "wal_plot.h"

/* Timeline 1 was left in the middle of segment 20. */
#define FORK_AT_20 "1\t0/1480000\tno recovery target specified\n"
#define FORK_AT_10 "1\t0/A80000\tbefore 2026-01-01 00:00:00+00\n"

struct test {
	struct wal_survey survey;
	struct window_report report;
};

static int
set_up(void **state)
{
	struct test *test = calloc(1, sizeof(*test));

	if (test == NULL)
		return -1;
	plot_begin(&test->survey);
	*state = test;

	return 0;
}

static int
tear_down(void **state)
{
	struct test *test = *state;

	wal_survey_done(&test->survey);
	window_report_done(&test->report);
	free(test);

	return 0;
}

static void
expect_span(const struct window_report *report, size_t index, uint32_t branch, const char *backup,
    int64_t from_s, int64_t to_s, bool is_current)
{
	assert_true(index < report->spans.count);

	const struct window_span *span = &report->spans.items[index];

	assert_int_equal(span->branch, branch);
	assert_string_equal(span->backup_id, backup);
	assert_int_equal(span->from.us, plot_time(from_s).us);
	assert_int_equal(span->to.us, plot_time(to_s).us);
	assert_int_equal(span->is_current, is_current);
}

static void
expect_warning(const struct window_report *report, const char *says)
{
	for (size_t i = 0; i < report->warnings.count; i++) {
		if (strstr(report->warnings.items[i], says) != NULL)
			return;
	}
	fail_msg("no warning says '%s'", says);
}

/* ---- one timeline ------------------------------------------------------------------------------------- */

static void
test_nothing_at_all(void **state)
{
	struct test *test = *state;

	wal_window(&test->survey, &test->report);
	assert_int_equal(test->report.spans.count, 0);
	assert_int_equal(test->report.branches.count, 0);
}

static void
test_a_base_and_the_log_up_to_the_tail(void **state)
{
	struct test *test = *state;

	plot_base(&test->survey, "b1", 1, 5, 6, 100, false);
	plot_base(&test->survey, "b2", 1, 9, 9, 200, false);
	plot_span(&test->survey, 1, 3, 11, 50, 300);
	plot_tail(&test->survey, 1, 12, 400, 410);
	wal_window(&test->survey, &test->report);
	assert_int_equal(test->report.spans.count, 1);
	expect_span(&test->report, 0, 1, "b1", 100, 400, true);
	assert_int_equal(test->report.spans.items[0].to_position, plot_lsn(12, PLOT_SEGMENT / 2));
	assert_null(test->report.spans.items[0].ends);
	assert_int_equal(test->report.gaps.count, 0);
	assert_int_equal(test->report.warnings.count, 0);
	assert_int_equal(test->report.pieces_count, 10);
}

static void
test_a_base_without_any_log_has_no_window(void **state)
{
	struct test *test = *state;

	plot_base(&test->survey, "b1", 1, 5, 6, 100, true);
	wal_window(&test->survey, &test->report);
	assert_int_equal(test->report.spans.count, 0);
}

/* What the base carries need not be in the archive. */
static void
test_the_log_begins_behind_a_base_with_its_own(void **state)
{
	struct test *test = *state;

	plot_base(&test->survey, "b1", 1, 5, 6, 100, true);
	plot_span(&test->survey, 1, 7, 11, 150, 300);
	wal_window(&test->survey, &test->report);
	expect_span(&test->report, 0, 1, "b1", 100, 300, true);
}

static void
test_the_log_begins_too_late(void **state)
{
	struct test *test = *state;

	plot_base(&test->survey, "with", 1, 5, 6, 100, true);
	plot_base(&test->survey, "without", 1, 5, 6, 100, false);
	plot_span(&test->survey, 1, 8, 11, 150, 300);
	wal_window(&test->survey, &test->report);
	assert_int_equal(test->report.spans.count, 0);
	expect_warning(&test->report, "base backup without cannot be restored");
	expect_warning(&test->report,
	    "no base backup can use the log from segment "
	    "000000010000000000000008 on");
}

/* The tail ends before the position that the base needs to become consistent. */
static void
test_the_log_does_not_reach_the_end_of_the_base(void **state)
{
	struct test *test = *state;

	plot_base(&test->survey, "b1", 1, 5, 12, 100, false);
	test->survey.bases.items[0].end_lsn = plot_lsn(12, PLOT_SEGMENT - 8);
	plot_span(&test->survey, 1, 3, 11, 50, 300);
	plot_tail(&test->survey, 1, 12, 400, 410);
	wal_window(&test->survey, &test->report);
	assert_int_equal(test->report.spans.count, 0);
	expect_warning(&test->report, "base backup b1 cannot be restored");
}

static void
test_a_gap_and_a_base_behind_it(void **state)
{
	struct test *test = *state;
	const struct window_gap *gap;

	plot_base(&test->survey, "b1", 1, 5, 6, 100, false);
	plot_base(&test->survey, "b2", 1, 16, 16, 500, false);
	plot_span(&test->survey, 1, 3, 11, 50, 300);
	plot_span(&test->survey, 1, 15, 20, 450, 600);
	wal_window(&test->survey, &test->report);
	assert_int_equal(test->report.spans.count, 2);
	expect_span(&test->report, 0, 1, "b1", 100, 300, false);
	expect_span(&test->report, 1, 1, "b2", 500, 600, true);
	assert_string_equal(test->report.spans.items[0].ends,
	    "segment 00000001000000000000000C is missing");
	assert_int_equal(test->report.gaps.count, 1);
	gap = &test->report.gaps.items[0];
	assert_string_equal(gap->text, "3 segments from 00000001000000000000000C");
	assert_int_equal(gap->from.us, plot_time(300).us);
	assert_int_equal(gap->to.us, plot_time(450).us);
	assert_int_equal(gap->from_position, plot_lsn(12, 0));
	assert_int_equal(gap->to_position, plot_lsn(15, 0));
}

static void
test_a_gap_and_no_base_behind_it(void **state)
{
	struct test *test = *state;

	plot_base(&test->survey, "b1", 1, 5, 6, 100, false);
	plot_span(&test->survey, 1, 3, 11, 50, 300);
	plot_span(&test->survey, 1, 13, 20, 450, 600);
	wal_window(&test->survey, &test->report);
	assert_int_equal(test->report.spans.count, 1);
	expect_span(&test->report, 0, 1, "b1", 100, 300, false);
	expect_warning(&test->report, "take a new one");
	assert_string_equal(test->report.gaps.items[0].text, "segment 00000001000000000000000C");
}

/* Tails that wait for being settled lie between whole ones. */
static void
test_tails_among_the_segments(void **state)
{
	struct test *test = *state;

	plot_base(&test->survey, "b1", 1, 5, 6, 100, false);
	plot_span(&test->survey, 1, 3, 8, 50, 300);
	plot_span(&test->survey, 1, 10, 11, 320, 350);
	plot_tail(&test->survey, 1, 8, 300, 300);
	plot_tail(&test->survey, 1, 9, 310, 310);
	plot_tail(&test->survey, 1, 12, 400, 400);
	test->survey.tails.items[0].is_whole = true;
	test->survey.tails.items[1].is_whole = true;
	wal_window(&test->survey, &test->report);
	assert_int_equal(test->report.gaps.count, 0);
	expect_span(&test->report, 0, 1, "b1", 100, 400, true);
}

/* ---- several timelines ---------------------------------------------------------------------------------- */

static void
test_a_failover_is_followed(void **state)
{
	struct test *test = *state;

	plot_base(&test->survey, "b1", 1, 5, 6, 100, false);
	plot_span(&test->survey, 1, 3, 19, 50, 300);
	plot_span(&test->survey, 2, 20, 25, 310, 500);
	plot_history(&test->survey, 2, FORK_AT_20, 305);
	wal_window(&test->survey, &test->report);
	assert_int_equal(test->report.spans.count, 1);
	expect_span(&test->report, 0, 2, "b1", 100, 500, true);
	assert_int_equal(test->report.branches.count, 2);
	assert_true(test->report.branches.items[0].is_on_main);
	assert_true(test->report.branches.items[1].is_on_main);
	assert_int_equal(test->report.branches.items[1].parent, 1);
	assert_int_equal(test->report.branches.items[1].fork_position, 0x1480000);
	assert_string_equal(test->report.branches.items[1].reason, "no recovery target specified");
	assert_int_equal(test->report.warnings.count, 0);
}

/* The segment of the fork is read from the child: when that lacks it, the parent ends the span. */
static void
test_the_segment_of_the_fork_is_missing(void **state)
{
	struct test *test = *state;

	plot_base(&test->survey, "b1", 1, 5, 6, 100, false);
	plot_span(&test->survey, 1, 3, 19, 50, 300);
	plot_span(&test->survey, 2, 21, 25, 310, 500);
	plot_history(&test->survey, 2, FORK_AT_20, 305);
	wal_window(&test->survey, &test->report);
	expect_span(&test->report, 0, 1, "b1", 100, 300, false);
	assert_string_equal(test->report.gaps.items[0].text, "segment 000000020000000000000014");
	assert_int_equal(test->report.gaps.items[0].branch, 2);
}

/* A restored copy was promoted and archived here while the real one went on. */
static void
test_a_rehearsal_is_not_followed(void **state)
{
	struct test *test = *state;

	plot_base(&test->survey, "b1", 1, 5, 6, 100, false);
	plot_span(&test->survey, 1, 3, 9, 50, 200);
	plot_span(&test->survey, 1, 10, 30, 210, 900);
	plot_span(&test->survey, 2, 10, 12, 500, 700);
	plot_history(&test->survey, 2, FORK_AT_10, 600);
	wal_window(&test->survey, &test->report);
	assert_int_equal(test->report.spans.count, 2);
	assert_int_equal(test->report.gaps.count, 0);
	expect_warning(&test->report, "timeline 2 left timeline 1, which went on");
	for (size_t i = 0; i < 2; i++) {
		if (test->report.spans.items[i].is_current)
			expect_span(&test->report, i, 1, "b1", 100, 900, true);
		else
			expect_span(&test->report, i, 2, "b1", 100, 700, false);
	}
	assert_false(test->report.branches.items[1].is_on_main);
}

/* Nothing came after the fork yet, but the receiver was on the parent later than the copy began. */
static void
test_a_rehearsal_of_a_quiet_server_is_not_followed(void **state)
{
	struct test *test = *state;
	uint32_t ignored;

	plot_base(&test->survey, "b1", 1, 5, 6, 100, false);
	plot_span(&test->survey, 1, 3, 19, 50, 200);
	plot_tail(&test->survey, 1, 20, 210, 650);
	plot_span(&test->survey, 2, 20, 22, 610, 700);
	plot_history(&test->survey, 2, FORK_AT_20, 600);
	assert_int_equal(wal_main_timeline(&test->survey, &ignored), 1);
	assert_int_equal(ignored, 2);
	test->survey.tails.items[0].modified = plot_time(590);
	assert_int_equal(wal_main_timeline(&test->survey, &ignored), 2);
	assert_int_equal(ignored, 0);
}

/* A standby that lagged was promoted: the receiver follows it, the old tail is longer. */
static void
test_the_receiver_tells_which_is_main(void **state)
{
	struct test *test = *state;

	plot_base(&test->survey, "b1", 1, 5, 6, 100, false);
	plot_span(&test->survey, 1, 3, 9, 50, 200);
	plot_span(&test->survey, 1, 10, 12, 210, 400);
	plot_span(&test->survey, 2, 10, 10, 410, 420);
	plot_tail(&test->survey, 2, 11, 500, 510);
	plot_history(&test->survey, 2, FORK_AT_10, 405);
	wal_window(&test->survey, &test->report);
	assert_int_equal(test->report.spans.count, 2);
	for (size_t i = 0; i < 2; i++) {
		if (test->report.spans.items[i].is_current)
			expect_span(&test->report, i, 2, "b1", 100, 500, true);
		else
			expect_span(&test->report, i, 1, "b1", 100, 400, false);
	}
}

/* A base is had from the living server: its timeline is the main one, whatever the parent has. */
static void
test_a_base_tells_which_is_main(void **state)
{
	struct test *test = *state;
	uint32_t ignored;

	plot_base(&test->survey, "b1", 1, 5, 6, 100, false);
	plot_base(&test->survey, "b2", 2, 11, 11, 600, false);
	plot_span(&test->survey, 1, 3, 9, 50, 200);
	plot_span(&test->survey, 1, 10, 12, 210, 400);
	plot_span(&test->survey, 2, 10, 15, 410, 700);
	plot_history(&test->survey, 2, FORK_AT_10, 405);
	assert_int_equal(wal_main_timeline(&test->survey, &ignored), 2);
	assert_int_equal(ignored, 0);
}

/* Two switches in one segment leave nothing of the timeline between to be read. */
static void
test_two_switches_in_one_segment(void **state)
{
	struct test *test = *state;

	plot_base(&test->survey, "b1", 1, 5, 6, 100, false);
	plot_span(&test->survey, 1, 3, 19, 50, 300);
	plot_span(&test->survey, 3, 20, 25, 310, 500);
	plot_history(&test->survey, 2, FORK_AT_20, 305);
	plot_history(&test->survey, 3, FORK_AT_20 "2\t0/1490000\tagain\n", 306);
	wal_window(&test->survey, &test->report);
	assert_int_equal(test->report.gaps.count, 0);
	expect_span(&test->report, 0, 3, "b1", 100, 500, true);
}

/* The receiver died in segment 18, the standby was promoted in 20: the rest of 18 never came. */
static void
test_a_tail_that_was_never_finished(void **state)
{
	struct test *test = *state;

	plot_base(&test->survey, "b1", 1, 5, 6, 100, false);
	plot_span(&test->survey, 1, 3, 18, 50, 300);
	plot_tail(&test->survey, 1, 19, 310, 311);
	plot_span(&test->survey, 2, 20, 25, 410, 500);
	plot_history(&test->survey, 2, FORK_AT_20, 405);
	wal_window(&test->survey, &test->report);
	expect_span(&test->report, 0, 1, "b1", 100, 310, false);
	assert_string_equal(test->report.gaps.items[0].text,
	    "the rest of segment 000000010000000000000013");
	assert_int_equal(test->report.gaps.items[0].from_position, plot_lsn(19, PLOT_SEGMENT / 2));
}

static void
test_a_history_is_missing(void **state)
{
	struct test *test = *state;

	plot_base(&test->survey, "b1", 1, 5, 6, 100, false);
	plot_span(&test->survey, 1, 3, 19, 50, 300);
	plot_span(&test->survey, 2, 20, 25, 310, 500);
	wal_window(&test->survey, &test->report);
	expect_span(&test->report, 0, 1, "b1", 100, 300, true);
	expect_warning(&test->report, "00000002.history");
}

/* ---- many ------------------------------------------------------------------------------------------------- */

static void
test_many_gaps_stay_quick(void **state)
{
	struct test *test = *state;
	struct mono_time began = clock_mono();

	for (uint64_t i = 0; i < 200000; i++)
		plot_span(&test->survey, 1, 2 * i, 2 * i, (int64_t)i * 2, (int64_t)i * 2 + 1);
	for (uint64_t i = 0; i < 100; i++)
		plot_base(&test->survey, "b", 1, 2 * i * 100, 2 * i * 100, (int64_t)i * 200, false);
	wal_window(&test->survey, &test->report);
	assert_int_equal(test->report.spans.count, 100);
	assert_int_equal(test->report.gaps.count, WAL_WINDOW_GAPS_MAX);
	expect_warning(&test->report, "198999 more gaps");
	assert_true(clock_elapsed_us(began) < 2 * US_PER_S);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_at_all),
		TEST(test_a_base_and_the_log_up_to_the_tail),
		TEST(test_a_base_without_any_log_has_no_window),
		TEST(test_the_log_begins_behind_a_base_with_its_own),
		TEST(test_the_log_begins_too_late),
		TEST(test_the_log_does_not_reach_the_end_of_the_base),
		TEST(test_a_gap_and_a_base_behind_it),
		TEST(test_a_gap_and_no_base_behind_it),
		TEST(test_tails_among_the_segments),
		TEST(test_a_failover_is_followed),
		TEST(test_the_segment_of_the_fork_is_missing),
		TEST(test_a_rehearsal_is_not_followed),
		TEST(test_a_rehearsal_of_a_quiet_server_is_not_followed),
		TEST(test_the_receiver_tells_which_is_main),
		TEST(test_a_base_tells_which_is_main),
		TEST(test_two_switches_in_one_segment),
		TEST(test_a_tail_that_was_never_finished),
		TEST(test_a_history_is_missing),
		TEST(test_many_gaps_stay_quick),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
