#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/err.h"

static void
test_set_fills_and_clears_the_hint(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(err_hint(&err, "try %s", "this"), -1);
	err.sys = 5;
	assert_int_equal(err_set(&err, ERR_DATA, "file '%s' is %d", "x", 7), -1);
	assert_int_equal(err.kind, ERR_DATA);
	assert_int_equal(err.sys, 0);
	assert_string_equal(err.msg, "file 'x' is 7");
	assert_string_equal(err.hint, "");
}

static void
test_sys_tells_the_cause(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	errno = EACCES;
	assert_int_equal(err_sys(&err, "cannot open '%s'", "x"), -1);
	assert_string_equal(err.msg, "cannot open 'x': Permission denied");
	assert_int_equal(err.kind, ERR_PERMISSION);
	assert_int_equal(err.sys, EACCES);
	assert_string_equal(err.hint, "");
	errno = ENOSPC;
	(void)err_sys(&err, "cannot write");
	assert_int_equal(err.kind, ERR_SPACE);
	assert_non_null(strstr(err.hint, "Free space"));
}

static void
test_wrap_goes_outward(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	(void)err_set(&err, ERR_NET, "connection lost");
	(void)err_hint(&err, "wait");
	assert_int_equal(err_wrap(&err, "part '%s'", "x"), -1);
	(void)err_wrap(&err, "redis 'cache'");
	assert_string_equal(err.msg, "redis 'cache': part 'x': connection lost");
	assert_int_equal(err.kind, ERR_NET);
	assert_string_equal(err.hint, "wait");
}

static void
test_long_texts_are_cut_not_overrun(void **state)
{
	struct err err = ERR_INIT;
	char name[2000];

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	(void)err_set(&err, ERR_DATA, "%s", name);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	(void)err_wrap(&err, "outer");
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	assert_int_equal(strncmp(err.msg, "outer: nnn", 10), 0);
	(void)err_wrap(&err, "%s", name);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	(void)err_hint(&err, "%s", name);
	assert_int_equal(strlen(err.hint), sizeof(err.hint) - 1);
}

static void
test_kinds_of_errno(void **state)
{
	(void)state;
	assert_int_equal(err_kind_of_errno(ENOSPC), ERR_SPACE);
	assert_int_equal(err_kind_of_errno(EDQUOT), ERR_SPACE);
	assert_int_equal(err_kind_of_errno(EROFS), ERR_PERMISSION);
	assert_int_equal(err_kind_of_errno(ENOENT), ERR_NOT_FOUND);
	assert_int_equal(err_kind_of_errno(EEXIST), ERR_EXISTS);
	assert_int_equal(err_kind_of_errno(EIO), ERR_IO);
}

/* What the exit codes of the program promise. */
static void
test_exit_codes(void **state)
{
	static const struct {
		enum err_kind kind;
		const char *name;
		int exit_code;
		bool is_transient;
	} kinds[] = {
		{ ERR_NONE, "none", 0, false },
		{ ERR_USAGE, "usage", 2, false },
		{ ERR_CONFIG, "config", 2, false },
		{ ERR_BUSY, "busy", 4, true },
		{ ERR_REFUSED, "refused", 5, false },
		{ ERR_MISMATCH, "mismatch", 6, false },
		{ ERR_CANCELLED, "cancelled", 130, false },
		{ ERR_NET, "net", 1, true },
		{ ERR_NOT_FOUND, "not_found", 1, false },
		{ ERR_BUG, "bug", 1, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		assert_string_equal(err_kind_name(kinds[i].kind), kinds[i].name);
		assert_int_equal(err_kind_exit_code(kinds[i].kind), kinds[i].exit_code);
		assert_int_equal(err_kind_is_transient(kinds[i].kind), kinds[i].is_transient);
	}
	/* Nothing that failed may end as if it had not. */
	for (int kind = ERR_NONE + 1; kind <= ERR_BUG; kind++)
		assert_true(err_kind_exit_code((enum err_kind)kind) != 0);
}

static void
test_clear(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	(void)err_set(&err, ERR_DATA, "x");
	(void)err_hint(&err, "y");
	err_clear(&err);
	assert_int_equal(err.kind, ERR_NONE);
	assert_string_equal(err.msg, "");
	assert_string_equal(err.hint, "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_fills_and_clears_the_hint),
		cmocka_unit_test(test_sys_tells_the_cause),
		cmocka_unit_test(test_wrap_goes_outward),
		cmocka_unit_test(test_long_texts_are_cut_not_overrun),
		cmocka_unit_test(test_kinds_of_errno),
		cmocka_unit_test(test_exit_codes),
		cmocka_unit_test(test_clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
