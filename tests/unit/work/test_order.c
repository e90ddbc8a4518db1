#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "work/order.h"

static void
set(const char *text)
{
	assert_int_equal(setenv("BLACKSTART_WORKER", text, 1), 0);
}

static void
test_an_order_is_taken_once(void **state)
{
	struct err err = ERR_INIT;
	struct order order;
	char *text;
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	text = order_format(&(struct order){ .fd = ends[1],
	    .due = { 1772406000000000 },
	    .attempt = 2,
	    .nice = 10,
	    .is_idle_io = true });
	set(strchr(text, '=') + 1);
	free(text);
	assert_int_equal(order_take(&order, &err), 0);
	assert_int_equal(order.fd, ends[1]);
	assert_int_equal(order.due.us, 1772406000000000);
	assert_int_equal(order.attempt, 2);
	assert_int_equal(order.nice, 10);
	assert_true(order.is_idle_io);
	assert_int_equal(fcntl(ends[1], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_null(getenv("BLACKSTART_WORKER"));
	assert_int_equal(order_take(&order, &err), 0);
	assert_int_equal(order.fd, -1);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

static void
test_what_is_no_order_is_refused(void **state)
{
	static const char *const wrong[] = { "", "1", "2 0 0 0 0", "777 0 0 0 0", "-1 0 0 0 0",
		"9 x 0 0 0", "9 0 0 0 0 0", "9 0 0 20 0", "9 -1 0 0 0" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct err err = ERR_INIT;
		struct order order;

		set(wrong[i]);
		assert_int_equal(order_take(&order, &err), -1);
		assert_int_equal(err.kind, ERR_USAGE);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_order_is_taken_once),
		cmocka_unit_test(test_what_is_no_order_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
