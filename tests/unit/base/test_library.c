#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/library.h"

/* A library that every machine has, and that this program is not linked with. */
#define MATHEMATICS "libm.so.6"

static struct mathematics {
	__typeof__(cbrt) *cbrt;
} mathematics;

static int
load(const char *file, const char *function, struct err *err)
{
	const struct library_call calls[] = { { function, offsetof(struct mathematics, cbrt) } };
	struct library library = {
		.file = file,
		.package = "libc6",
		.calls = calls,
		.count = ARRAY_SIZE(calls),
		.functions = &mathematics,
	};

	return library_load(&library, err);
}

static void
test_functions_can_be_called_once_loaded(void **state)
{
	struct err err = ERR_INIT;
	volatile double cube = 27; /* no constant that the compiler would reckon itself */

	(void)state;
	assert_int_equal(load(MATHEMATICS, "cbrt", &err), 0);
	assert_true(mathematics.cbrt(cube) > 2.999 && mathematics.cbrt(cube) < 3.001);
	assert_int_equal(load(MATHEMATICS, "cbrt", &err), 0);
}

static void
test_a_missing_library_is_named_with_its_package(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(load("libno-such-thing.so.7", "cbrt", &err), -1);
	assert_int_equal(err.kind, ERR_UNSUPPORTED);
	assert_non_null(strstr(err.msg, "libno-such-thing.so.7"));
	assert_string_equal(err.hint, "Install it: apt-get install libc6.");
}

static void
test_a_missing_function_is_named(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(load(MATHEMATICS, "cube_root_of_wood", &err), -1);
	assert_int_equal(err.kind, ERR_UNSUPPORTED);
	assert_non_null(strstr(err.msg, "cube_root_of_wood"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_functions_can_be_called_once_loaded),
		cmocka_unit_test(test_a_missing_library_is_named_with_its_package),
		cmocka_unit_test(test_a_missing_function_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
