#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/store.h"

/* A driver that only counts: what reaches it was let through. */
static unsigned reached;

static int
count_stat(struct store *store, const char *name, struct store_object *ret_object, struct err *err)
{
	(void)store;
	(void)name;
	(void)ret_object;
	reached++;

	return err_set(err, ERR_NOT_FOUND, "nothing here");
}

static int
count_list(struct store *store, const char *prefix, struct store_listing *ret_listing,
    struct err *err)
{
	(void)store;
	(void)prefix;
	(void)ret_listing;
	(void)err;
	reached++;

	return 0;
}

static struct sink *
count_put(struct store *store, const char *name, const char *run_id, struct err *err)
{
	(void)store;
	(void)name;
	(void)run_id;
	(void)err;
	reached++;

	return NULL;
}

static char *
no_path(struct store *store, const char *name)
{
	(void)store;

	return xstrdup(name);
}

static const struct store_ops count_ops = { .stat = count_stat,
	.list = count_list,
	.put = count_put,
	.local_path = no_path };

static void
test_names(void **state)
{
	static const char *const good[] = { "a", "a/b", "postgresql/daily/backup-2025-11-25.dump",
		".blackstart/store.json", "\xc3\xb6l", "...", "a b", ".tmp" };
	static const char *const bad[] = { "", "/a", "a/", "a//b", ".", "..", "a/..", "../a",
		"a/./b", "a\\b", "a\nb", "a\x7f", ".tmp-x", "a/.tmp-x/b" };
	struct store store = { .ops = &count_ops };
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		reached = 0;
		assert_false(store_has(&store, good[i]));
		assert_int_equal(reached, 1);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct store_object object;

		reached = 0;
		assert_int_equal(store_stat(&store, bad[i], &object, &err), -1);
		assert_int_equal(err.kind, ERR_REFUSED);
		assert_null(store_put(&store, bad[i], "run", &err));
		assert_null(store_get(&store, bad[i], &err));
		assert_int_equal(store_remove(&store, bad[i], &err), -1);
		assert_null(store_local_path(&store, bad[i]));
		assert_int_equal(reached, 0);
	}
}

static void
test_long_names(void **state)
{
	struct store store = { .ops = &count_ops };
	SCOPED(freep) char *name = xmalloc(2000);

	(void)state;
	memset(name, 'x', 1999);
	name[1999] = '\0';
	reached = 0;
	assert_false(store_has(&store, name));
	assert_int_equal(reached, 0);
	name[256] = '\0';
	assert_false(store_has(&store, name));
	assert_int_equal(reached, 0);
	name[255] = '\0';
	assert_false(store_has(&store, name));
	assert_int_equal(reached, 1);
	for (size_t i = 100; i < 1999; i += 100)
		name[i] = '/';
	name[255] = 'x';
	name[256] = 'x';
	assert_false(store_has(&store, name));
	assert_int_equal(reached, 1);
}

static void
test_prefix_and_run_id(void **state)
{
	struct store store = { .ops = &count_ops };
	struct store_listing listing;
	struct err err = ERR_INIT;

	(void)state;
	reached = 0;
	assert_int_equal(store_list(&store, "", &listing, &err), 0);
	assert_int_equal(store_list(&store, "a/b", &listing, &err), 0);
	assert_int_equal(reached, 2);
	assert_int_equal(store_list(&store, "../a", &listing, &err), -1);
	assert_null(store_put(&store, "a", "../run", &err));
	assert_null(store_put(&store, "a", "", &err));
	assert_int_equal(err.kind, ERR_BUG);
	assert_int_equal(reached, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_long_names),
		cmocka_unit_test(test_prefix_and_run_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
