#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/link.h"

#define MIB (UINT64_C(1) << 20)

static void
count(const struct link_state *state, void *context)
{
	(void)state;
	++*(unsigned *)context;
}

static struct wall_time
second(int64_t s)
{
	return (struct wall_time){ (1000000 + s) * US_PER_S };
}

static void
assert_state(const struct link_teller *teller, enum link_phase phase, int64_t since_s,
    uint64_t behind_bytes, int64_t behind_s)
{
	assert_int_equal(teller->state.phase, phase);
	assert_int_equal(teller->state.since.us, second(since_s).us);
	assert_int_equal(teller->state.behind_bytes, behind_bytes);
	assert_int_equal(teller->state.behind_us, behind_s * US_PER_S);
}

static void
test_a_busy_server_is_not_behind(void **state)
{
	struct link_teller teller = { .listener = NULL };

	(void)state;
	link_connecting(&teller, second(0));
	assert_state(&teller, LINK_CONNECTING, 0, 0, 0);
	/* Each second a little is on its way, and what was there before has arrived. */
	for (int64_t s = 1; s < 100; s++) {
		link_moved(&teller, (uint64_t)s * MIB, (uint64_t)(s + 1) * MIB, second(s));
		assert_state(&teller, LINK_CONNECTED, 1, MIB, s > 1);
	}
}

static void
test_one_that_is_slow_catches_up(void **state)
{
	struct link_teller teller = { .listener = NULL };

	(void)state;
	link_moved(&teller, 0, 100 * MIB, second(0));
	assert_state(&teller, LINK_CATCHING_UP, 0, 100 * MIB, 0);
	link_moved(&teller, 90 * MIB, 110 * MIB, second(10));
	assert_state(&teller, LINK_CATCHING_UP, 0, 20 * MIB, 10);
	/* What is missing now came after 0. */
	link_moved(&teller, 108 * MIB, 110 * MIB, second(11));
	assert_state(&teller, LINK_CATCHING_UP, 0, 2 * MIB, 11);
	link_moved(&teller, 110 * MIB, 110 * MIB, second(12));
	assert_state(&teller, LINK_CONNECTED, 12, 0, 0);
	/* Little, but old: a disk that does not sync. */
	link_moved(&teller, 110 * MIB, 110 * MIB + 1, second(13));
	link_moved(&teller, 110 * MIB, 110 * MIB + 1, second(18));
	assert_state(&teller, LINK_CATCHING_UP, 18, 1, 6);
}

static void
test_an_outage(void **state)
{
	struct link_teller teller = { .listener = NULL };

	(void)state;
	link_moved(&teller, 5, 5, second(0));
	link_waits(&teller, "refused", second(31), second(30));
	assert_state(&teller, LINK_WAITING, 30, 0, 0);
	assert_string_equal(teller.state.why, "refused");
	link_waits(&teller, "no route", second(102), second(100));
	assert_state(&teller, LINK_WAITING, 30, 0, 0);
	assert_string_equal(teller.state.why, "no route");
	assert_int_equal(teller.state.next_try.us, second(102).us);
	/* What it missed is as old as the outage. */
	link_moved(&teller, 5, 7, second(120));
	assert_state(&teller, LINK_CATCHING_UP, 120, 2, 90);
	assert_string_equal(teller.state.why, "");
	assert_int_equal(teller.state.next_try.us, 0);
	link_moved(&teller, 7, 7, second(121));
	assert_state(&teller, LINK_CONNECTED, 121, 0, 0);
}

static void
test_it_is_told_now_and_then(void **state)
{
	unsigned told = 0;
	struct link_teller teller = { .listener = count, .context = &told };

	(void)state;
	for (int64_t ms = 0; ms < 10000; ms += 10)
		link_moved(&teller, 1, 1, (struct wall_time){ second(0).us + ms * US_PER_MS });
	assert_int_equal(told, 10);
	link_waits(&teller, "a", second(11), second(10));
	link_waits(&teller, "b", second(11), second(10));
	assert_int_equal(told, 12);
	/* The clock was set back. */
	link_moved(&teller, 1, 1, second(10));
	link_moved(&teller, 1, 1, second(-5000));
	assert_int_equal(told, 14);
	link_connecting(NULL, second(0));
	link_copying(NULL, second(0));
	link_moved(NULL, 0, 0, second(0));
	link_waits(NULL, "", second(0), second(0));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_busy_server_is_not_behind),
		cmocka_unit_test(test_one_that_is_slow_catches_up),
		cmocka_unit_test(test_an_outage),
		cmocka_unit_test(test_it_is_told_now_and_then),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
