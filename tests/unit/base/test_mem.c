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

#include "base/mem.h"
#include "base/scope.h"
#include "base/vec.h"

struct item {
	int number;
	char *text;
};

static void
test_vec_grows_with_zeroed_items(void **state)
{
	VEC(struct item) items = { .count = 0 };

	(void)state;
	for (int i = 0; i < 1000; i++) {
		struct item *item = vec_add(&items);

		assert_int_equal(item->number, 0);
		assert_null(item->text);
		*item = (struct item){ .number = i, .text = (char *)&items };
	}
	vec_push(&items, ((struct item){ .number = 1000 }));
	assert_int_equal(items.count, 1001);
	for (int i = 0; i <= 1000; i++)
		assert_int_equal(items.items[i].number, i);
	/* Room that was used before is zeroed again. */
	items.count = 1;
	assert_null(vec_add(&items)->text);
	vec_done(&items);
	assert_null(items.items);
	assert_int_equal(items.count, 0);
	assert_int_equal(items.capacity, 0);
}

static void
test_checked_arithmetic(void **state)
{
	uint64_t result = 7;

	(void)state;
	assert_true(mem_add(UINT64_MAX - 1, 1, &result));
	assert_true(result == UINT64_MAX);
	assert_false(mem_add(UINT64_MAX, 1, &result));
	assert_true(mem_mul(UINT64_C(1) << 32, UINT32_MAX, &result));
	assert_false(mem_mul(UINT64_C(1) << 32, UINT64_C(1) << 32, &result));
	assert_true(mem_mul(UINT64_MAX, 0, &result));
	assert_int_equal(result, 0);
}

static void
test_texts(void **state)
{
	char *text = xasprintf("%s-%d", "a", 5);
	char *cut = xstrndup(text, 2);
	char *copy = xstrdup(text);

	(void)state;
	assert_string_equal(text, "a-5");
	assert_string_equal(cut, "a-");
	assert_string_equal(copy, "a-5");
	assert_ptr_not_equal(copy, text);
	assert_null(xstrdup(NULL));
	free(copy);
	free(cut);
	free(text);
	free(xmalloc(0));
	free(xcalloc(0, 0));
}

static void
test_secret(void **state)
{
	static const char password[] = "p\xc3\xa4ss";
	struct secret *secret = secret_new(password, sizeof(password) - 1);
	struct secret *empty = secret_new("", 0);
	char *large = xcalloc(1, 64 * 1024);
	struct secret *full;

	(void)state;
	assert_string_equal(secret_text(secret), password);
	assert_string_equal(secret_text(empty), "");
	assert_null(secret_text(NULL));
	memset(large, 'x', 64 * 1024);
	full = secret_new(large, 64 * 1024);
	assert_int_equal(strlen(secret_text(full)), 64 * 1024);
	secret_free(full);
	secret_free(empty);
	secret_free(secret);
	secret_free(NULL);
	free(large);
}

/* The pages of a secret carry the mark that keeps them out of a core dump ("dd"). */
static void
test_secret_stays_out_of_core_dumps(void **state)
{
	struct secret *secret = secret_new("x", 1);
	char *line = NULL;
	size_t line_size = 0;
	FILE *maps = fopen("/proc/self/smaps", "re");
	bool is_ours = false, is_marked = false;

	(void)state;
	assert_non_null(maps);
	while (getline(&line, &line_size, maps) > 0) {
		unsigned long long begin, end;

		if (sscanf(line, "%llx-%llx ", &begin, &end) == 2)
			is_ours = begin <= (uintptr_t)secret_text(secret) &&
			    (uintptr_t)secret_text(secret) < end;
		if (is_ours && strncmp(line, "VmFlags:", 8) == 0)
			is_marked = strstr(line, " dd") != NULL;
	}
	assert_true(is_marked);
	free(line);
	(void)fclose(maps);
	secret_free(secret);
}

static void
test_scopes(void **state)
{
	int pipe_fds[2];
	char *kept = xstrdup("kept");
	char *moved;
	int kept_fd;

	(void)state;
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	{
		SCOPED(freep) char *gone = xstrdup("gone");
		SCOPED(freep) char *taken = kept;
		SCOPED(closep) int fd = pipe_fds[0];
		SCOPED(closep) int taken_fd = pipe_fds[1];
		SCOPED(closep) int none = -1;

		assert_non_null(gone);
		moved = TAKE(taken);
		assert_null(taken);
		kept_fd = TAKE_FD(taken_fd);
		assert_int_equal(taken_fd, -1);
		assert_int_equal(fd >= 0 && none == -1, 1);
	}
	assert_string_equal(moved, "kept");
	assert_int_equal(fcntl(pipe_fds[0], F_GETFD), -1);
	assert_true(fcntl(kept_fd, F_GETFD) >= 0);
	free(moved);
	(void)close(kept_fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vec_grows_with_zeroed_items),
		cmocka_unit_test(test_checked_arithmetic),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_secret),
		cmocka_unit_test(test_secret_stays_out_of_core_dumps),
		cmocka_unit_test(test_scopes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
