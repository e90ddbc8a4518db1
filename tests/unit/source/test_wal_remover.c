#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "source/archive.h"
#include "source/postgres/wal/remover.h"

/* An archive whose removals wait for leave, and fail for names that begin with "bad". */
struct slow_archive {
	struct archive base;
	sem_t leave;
	char removed[8][16];
	unsigned removed_count;
};

static int
slow_remove(struct archive *base, const char *name, struct err *err)
{
	struct slow_archive *slow = (struct slow_archive *)base;

	while (sem_wait(&slow->leave) < 0)
		;
	if (strncmp(name, "bad", 3) == 0)
		return err_set(err, ERR_IO, "no luck");
	(void)snprintf(slow->removed[slow->removed_count++], sizeof(slow->removed[0]), "%s", name);

	return 0;
}

static const struct archive_ops slow_ops = { .remove = slow_remove };

static int
setup(void **state)
{
	static struct slow_archive slow;

	slow = (struct slow_archive){ .base = { .ops = &slow_ops } };
	*state = &slow;

	return sem_init(&slow.leave, 0, 0);
}

static int
teardown(void **state)
{
	return sem_destroy(&((struct slow_archive *)*state)->leave);
}

/* The name may go at once; it is there until it was waited for, and they go one after the other. */
static void
test_one_at_a_time(void **state)
{
	struct slow_archive *slow = *state;
	struct wal_remover remover = { .archive = NULL };
	struct err err = ERR_INIT;
	char name[] = "first";

	assert_int_equal(wal_remover_begin(&remover, &slow->base, name, &err), 0);
	name[0] = '?';
	assert_int_equal(slow->removed_count, 0);
	(void)sem_post(&slow->leave);
	(void)sem_post(&slow->leave);
	assert_int_equal(wal_remover_begin(&remover, &slow->base, "second", &err), 0);
	assert_string_equal(slow->removed[0], "first");
	assert_int_equal(wal_remover_wait(&remover, &err), 0);
	assert_int_equal(slow->removed_count, 2);
	assert_string_equal(slow->removed[1], "second");
	assert_int_equal(wal_remover_wait(&remover, &err), 0);
}

static void
test_a_failure_is_told_once(void **state)
{
	struct slow_archive *slow = *state;
	struct wal_remover remover = { .archive = NULL };
	struct err err = ERR_INIT;

	(void)sem_post(&slow->leave);
	(void)sem_post(&slow->leave);
	assert_int_equal(wal_remover_begin(&remover, &slow->base, "bad one", &err), 0);
	assert_int_equal(wal_remover_begin(&remover, &slow->base, "next", &err), -1);
	assert_int_equal(err.kind, ERR_IO);
	assert_string_equal(err.msg, "'bad one': no luck");
	assert_int_equal(slow->removed_count, 0);
	assert_int_equal(wal_remover_wait(&remover, &err), 0);
	assert_int_equal(wal_remover_begin(&remover, &slow->base, "next", &err), 0);
	assert_int_equal(wal_remover_wait(&remover, &err), 0);
	assert_int_equal(slow->removed_count, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_at_a_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_failure_is_told_once, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
