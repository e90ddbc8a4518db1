#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"
#include "source/postgres/base/extract.h"
#include "source/postgres/base/reader.h"
#include "stream/sink.h"
#include "tar_text.h"

enum { CONTROL_BYTES = 8192 };

struct world {
	char folder[64];
	char *data;
	char *space;
	struct base_extract *extract;
	struct base_reader *reader;
	struct str tar;
};

static int
set_up(void **state)
{
	struct world *world = xcalloc(1, sizeof(*world));
	struct base_extract_options options = { .has_owner = false };
	struct base_observer observer;
	struct err err = ERR_INIT;

	(void)snprintf(world->folder, sizeof(world->folder), "/tmp/test-extract-XXXXXX");
	assert_non_null(mkdtemp(world->folder));
	world->data = path_join(world->folder, "data");
	world->space = path_join(world->folder, "space");
	assert_int_equal(mkdir(world->data, 0700), 0);
	assert_int_equal(mkdir(world->space, 0700), 0);
	options.data_dir = world->data;
	world->extract = base_extract_new(&options, &err);
	assert_non_null(world->extract);
	assert_int_equal(base_extract_add_space(world->extract, "16401", world->space, &err), 0);
	observer = base_extract_observer(world->extract);
	world->reader = base_reader_new(&observer, 1024 * 1024);
	*state = world;
	return 0;
}

static int
tear_down(void **state)
{
	struct world *world = *state;
	struct err err = ERR_INIT;

	base_extract_free(world->extract);
	base_reader_free(world->reader);
	assert_int_equal(dir_remove_all(world->folder, &err), 0);
	str_done(&world->tar);
	free(world->data);
	free(world->space);
	free(world);
	return 0;
}

static int
push(struct world *world, const char *tablespace, struct err *err)
{
	struct sink *sink = base_reader_archive(world->reader, tablespace);
	int result = sink_write(sink, str_text(&world->tar), world->tar.size, err);

	if (result == 0)
		result = sink_finish(sink, err);
	sink_free(sink);
	str_cut(&world->tar, 0);
	return result;
}

static bool
has(const char *folder, const char *name)
{
	char *path = path_join(folder, name);
	bool is_there = file_exists(path) || dir_exists(path);

	free(path);
	return is_there;
}

static unsigned
mode_of(const char *folder, const char *name)
{
	char *path = path_join(folder, name);
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	free(path);
	return st.st_mode & 07777;
}

static void
add_control(struct world *world)
{
	char control[CONTROL_BYTES];

	memset(control, 'c', sizeof(control));
	tar_text_folder(&world->tar, "global", 0700);
	tar_text_file(&world->tar, "global/1262", "shared", 6);
	tar_text_file(&world->tar, "global/pg_control", control, sizeof(control));
}

static void
test_files_and_modes(void **state)
{
	struct world *world = *state;
	struct str text = STR_INIT;
	char *map = path_join(world->data, "tablespace_map");
	struct err err = ERR_INIT;

	tar_text_file(&world->tar, "PG_15/5/1", "x", 0);
	str_cut(&world->tar, 0);
	tar_text_folder(&world->tar, "PG_15", 0700);
	tar_text_file(&world->tar, "PG_15/16402", "rows", 4);
	assert_int_equal(push(world, "16401", &err), 0);
	add_control(world);
	assert_int_equal(push(world, NULL, &err), 0);
	assert_true(has(world->space, "PG_15/16402"));
	assert_int_equal(mode_of(world->data, "global"), 0700);
	assert_int_equal(mode_of(world->data, "global/1262"), 0600);
	assert_int_equal(base_extract_write_map(world->extract, &err), 0);
	assert_int_equal(file_read_all(map, 1000, &text, &err), 0);
	assert_true(str_starts_with(str_text(&text), "16401 /tmp/test-extract-"));
	assert_int_equal(text.data[text.size - 1], '\n');
	str_done(&text);
	free(map);
}

/* Without pg_control no server starts: it must not be there before all else is. */
static void
test_control_comes_last(void **state)
{
	struct world *world = *state;
	struct err err = ERR_INIT;
	size_t size;

	add_control(world);
	tar_text_file(&world->tar, "zzz", "last", 4);
	assert_int_equal(push(world, NULL, &err), 0);
	assert_true(has(world->data, "zzz"));
	assert_false(has(world->data, "global/pg_control"));
	assert_non_null(base_extract_control(world->extract, &size));
	assert_int_equal(size, CONTROL_BYTES);
	assert_int_equal(base_extract_finish(world->extract, true, &err), 0);
	assert_true(has(world->data, "global/pg_control"));
}

static void
test_no_control_no_end(void **state)
{
	struct world *world = *state;
	struct err err = ERR_INIT;

	tar_text_file(&world->tar, "zzz", "last", 4);
	assert_int_equal(push(world, NULL, &err), 0);
	assert_int_equal(base_extract_finish(world->extract, false, &err), -1);
	assert_int_equal(err.kind, ERR_DATA);
}

static void
test_group_access_is_kept(void **state)
{
	struct world *world = *state;
	struct err err = ERR_INIT;

	tar_text_folder(&world->tar, "global", 0750);
	tar_text_file(&world->tar, "global/1262", "shared", 6);
	assert_int_equal(push(world, NULL, &err), 0);
	assert_int_equal(mode_of(world->data, "global"), 0750);
	assert_int_equal(mode_of(world->data, "global/1262"), 0640);
}

static void
test_links_are_refused(void **state)
{
	struct world *world = *state;
	struct err err = ERR_INIT;

	tar_text_link(&world->tar, "base", "/etc");
	assert_int_equal(push(world, NULL, &err), -1);
	assert_non_null(strstr(err.msg, "symbolic link"));
	assert_false(has(world->data, "base"));
}

static void
test_a_link_in_the_way_is_not_followed(void **state)
{
	struct world *world = *state;
	char *link = path_join(world->data, "target");
	char *outside = path_join(world->folder, "outside");
	struct err err = ERR_INIT;

	assert_int_equal(symlink(outside, link), 0);
	tar_text_file(&world->tar, "target", "x", 1);
	assert_int_equal(push(world, NULL, &err), -1);
	assert_false(file_exists(outside));
	free(link);
	free(outside);
}

static void
test_hostile_entries(void **state)
{
	struct world *world = *state;
	struct err err = ERR_INIT;

	tar_text_file(&world->tar, "../outside", "x", 1);
	assert_int_equal(push(world, NULL, &err), -1);
	assert_false(has(world->folder, "outside"));
	tar_text_file(&world->tar, "pg_tblspc/99/x", "x", 1);
	assert_int_equal(push(world, NULL, &err), -1);
	assert_non_null(strstr(err.msg, "tablespace that the backup does not have"));
	tar_text_folder(&world->tar, "global", 0700);
	tar_text_file(&world->tar, "global/pg_control", "short", 5);
	assert_int_equal(push(world, NULL, &err), -1);
	assert_non_null(strstr(err.msg, "pg_control"));
	tar_text_file(&world->tar, "twice", "x", 1);
	tar_text_file(&world->tar, "twice", "y", 1);
	assert_int_equal(push(world, NULL, &err), -1);
	assert_int_equal(err.kind, ERR_EXISTS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_files_and_modes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_control_comes_last, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_control_no_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_group_access_is_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_links_are_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_link_in_the_way_is_not_followed, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(test_hostile_entries, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
