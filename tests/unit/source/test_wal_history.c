#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/err.h"
#include "source/postgres/wal/history.h"

static int
parse(uint32_t timeline, const char *text, struct wal_history *ret_history, struct err *err)
{
	*err = (struct err)ERR_INIT;
	return wal_history_parse(timeline, text, strlen(text), ret_history, err);
}

static void
expect_refused(uint32_t timeline, const char *text, const char *says)
{
	struct wal_history history;
	struct err err;

	assert_int_equal(parse(timeline, text, &history, &err), -1);
	assert_int_equal(err.kind, ERR_DATA);
	if (strstr(err.msg, says) == NULL)
		fail_msg("'%s' does not say '%s'", err.msg, says);
}

static void
test_a_chain(void **state)
{
	struct wal_history history;
	struct err err;
	uint64_t lsn;

	(void)state;
	assert_int_equal(parse(5,
			     "# comment\n\n1\t0/3000000\tno recovery target specified\n"
			     "  2 \t 0/5000028\t\r\n\n4\t1/0\tbefore 2026-01-01 00:00:00+00",
			     &history, &err),
	    0);
	assert_int_equal(history.parents.count, 3);
	assert_string_equal(history.parents.items[0].reason, "no recovery target specified");
	assert_string_equal(history.parents.items[1].reason, "");
	assert_int_equal(wal_history_timeline_at(&history, 0), 1);
	assert_int_equal(wal_history_timeline_at(&history, 0x2FFFFFF), 1);
	assert_int_equal(wal_history_timeline_at(&history, 0x3000000), 2);
	assert_int_equal(wal_history_timeline_at(&history, 0x5000028), 4);
	assert_int_equal(wal_history_timeline_at(&history, UINT64_C(0x100000000)), 5);
	assert_true(wal_history_has(&history, 4, 0x6000000));
	assert_false(wal_history_has(&history, 1, 0x3000000));
	assert_false(wal_history_has(&history, 3, 0x5000028));
	assert_true(wal_history_switch(&history, 2, &lsn));
	assert_int_equal(lsn, 0x5000028);
	assert_false(wal_history_switch(&history, 3, &lsn));
	assert_false(wal_history_switch(&history, 5, &lsn));
	wal_history_done(&history);
}

static void
test_the_first_timeline_has_none(void **state)
{
	struct wal_history history;
	struct err err;

	(void)state;
	assert_int_equal(parse(1, "", &history, &err), 0);
	assert_int_equal(wal_history_timeline_at(&history, 77), 1);
	wal_history_done(&history);
	expect_refused(2, "# nothing\n", "where it comes from");
	expect_refused(0, "", "where it comes from");
}

/* Timeline 3 left 2 before 2 had begun: what is left of 1 is only what lies before that. */
static void
test_positions_that_go_back(void **state)
{
	struct wal_history history;
	struct err err;

	(void)state;
	assert_int_equal(parse(3, "1\t0/5000000\ta\n2\t0/4000000\tb\n", &history, &err), 0);
	assert_int_equal(wal_history_timeline_at(&history, 0x3FFFFFF), 1);
	assert_int_equal(wal_history_timeline_at(&history, 0x4000000), 3);
	assert_int_equal(wal_history_timeline_at(&history, 0x4800000), 3);
	wal_history_done(&history);
}

static void
test_hostile_texts(void **state)
{
	struct wal_history history;
	struct err err;

	(void)state;
	expect_refused(2, "1\n", "line 1");
	expect_refused(2, "\n1\tnowhere\n", "line 2");
	expect_refused(2, "one\t0/1\n", "not a timeline");
	expect_refused(2, "0\t0/1\n", "not a timeline");
	expect_refused(2, "4294967296\t0/1\n", "not a timeline");
	expect_refused(2, "2\t0/1\n", "cannot stand");
	expect_refused(9, "3\t0/1\n3\t0/2\n", "cannot stand");
	expect_refused(9, "3\t0/1\n1\t0/2\n", "cannot stand");
	expect_refused(2, "1\t0/100000000\n", "position");
	expect_refused(2, "11111111111111111111111111111111111111\t0/1\n", "needed");
	assert_int_equal(wal_history_parse(2, "1\0\t0/1", 6, &history, &err), -1);
	assert_int_equal(wal_history_parse(2, "", WAL_HISTORY_MAX_BYTES + 1, &history, &err), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_chain),
		cmocka_unit_test(test_the_first_timeline_has_none),
		cmocka_unit_test(test_positions_that_go_back),
		cmocka_unit_test(test_hostile_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
