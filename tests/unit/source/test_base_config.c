#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "folder_store.h"
#include "os/file.h"
#include "repo/manifest.h"
#include "source/postgres/base/config.h"
#include "source/postgres/base/content.h"
#include "source/postgres/base/extract.h"
#include "source/postgres/control.h"
#include "stream/sink.h"

struct world {
	char folder[64];
	char *data;
	char *parts;
	struct folder_store store;
	struct base_extract *extract;
	struct base_content content;
	struct control control;
	json_t *settings;
};

static int
set_up(void **state)
{
	struct world *world = xcalloc(1, sizeof(*world));
	struct base_extract_options options = { .has_owner = false };
	struct err err = ERR_INIT;

	(void)snprintf(world->folder, sizeof(world->folder), "/tmp/test-config-XXXXXX");
	assert_non_null(mkdtemp(world->folder));
	world->data = path_join(world->folder, "data");
	world->parts = path_join(world->folder, "parts");
	assert_int_equal(mkdir(world->data, 0700), 0);
	assert_int_equal(mkdir(world->parts, 0700), 0);
	folder_store_init(&world->store, world->parts);
	options.data_dir = world->data;
	world->extract = base_extract_new(&options, &err);
	assert_non_null(world->extract);
	world->content.server_version = 150020;
	world->control.max_connections = 321;
	*state = world;
	return 0;
}

static int
tear_down(void **state)
{
	struct world *world = *state;
	struct err err = ERR_INIT;

	base_extract_free(world->extract);
	folder_store_done(&world->store);
	json_decref(world->settings);
	assert_int_equal(dir_remove_all(world->folder, &err), 0);
	free(world->data);
	free(world->parts);
	free(world);
	return 0;
}

static void
put(const char *folder, const char *name, const char *text)
{
	char *path = path_join(folder, name);
	struct err err = ERR_INIT;

	assert_int_equal(file_write_all(path, text, strlen(text), 0600, &err), 0);
	free(path);
}

static void
put_part(struct world *world, const char *name, const char *text)
{
	const struct part part = { .name = name, .compression = PART_STORED };
	struct err err = ERR_INIT;
	struct sink *sink = world->store.intake.open(&world->store.intake, &part, &err);

	assert_non_null(sink);
	assert_int_equal(sink_write(sink, text, strlen(text), &err), 0);
	assert_int_equal(sink_finish(sink, &err), 0);
	sink_free(sink);
}

/* A file of the data directory; "" when there is none. */
static char *
get(struct world *world, const char *name)
{
	char *path = path_join(world->data, name);
	struct str text = STR_INIT;
	struct err err = ERR_INIT;

	if (file_exists(path))
		assert_int_equal(file_read_all(path, 100000, &text, &err), 0);
	free(path);
	return str_take(&text);
}

static void
assert_has(struct world *world, const char *name, const char *wanted)
{
	char *text = get(world, name);

	if (strstr(text, wanted) == NULL)
		fail_msg("%s does not have <%s>:\n%s", name, wanted, text);
	free(text);
}

static void
assert_lacks(struct world *world, const char *name, const char *unwanted)
{
	char *text = get(world, name);

	if (strstr(text, unwanted) != NULL)
		fail_msg("%s has <%s>:\n%s", name, unwanted, text);
	free(text);
}

static struct base_config_result
write_config(struct world *world)
{
	const struct base_config_options options = {
		.view = &world->store.view,
		.content = &world->content,
		.settings = world->settings,
		.control = &world->control,
		.data_dir = world->data,
		.socket_dir = world->data,
		.port = 5444,
	};
	struct base_config_result result;
	struct err err = ERR_INIT;

	if (base_config_write(&options, world->extract, &result, &err) < 0)
		fail_msg("%s", err.msg);
	return result;
}

static void
test_what_must_hold_comes_last(void **state)
{
	struct world *world = *state;

	put(world->data, "postgresql.conf", "archive_mode = on\n#data_directory = '/live'\n");
	put(world->data, "postgresql.auto.conf",
	    "work_mem = '8MB'\narchive_command = 'cp %p /live'");
	put(world->data, "pg_hba.conf", "host all all all scram-sha-256\n");
	put(world->data, "standby.signal", "x");
	assert_false(write_config(world).is_conf_made);
	assert_has(world, "postgresql.conf", "archive_mode = on");
	assert_has(world, "postgresql.auto.conf",
	    "work_mem = '8MB'\narchive_command = 'cp %p /live'\n# >>>");
	assert_has(world, "postgresql.auto.conf", "\narchive_mode = 'off'\n");
	assert_has(world, "postgresql.auto.conf", "\narchive_command = ''\n");
	assert_has(world, "postgresql.auto.conf", "\nsynchronous_standby_names = ''\n");
	assert_has(world, "postgresql.auto.conf", "\nprimary_conninfo = ''\n");
	assert_has(world, "postgresql.auto.conf", "\nport = 5444\n");
	assert_has(world, "postgresql.auto.conf", "\nlisten_addresses = 'localhost'\n");
	assert_has(world, "postgresql.auto.conf", "\n# <<< blackstart\n");
	assert_has(world, "pg_hba.conf", "host all all all");
	assert_lacks(world, "standby.signal", "x");
}

/* The file from /etc says where the live data lies: it must not be obeyed. */
static void
test_a_conf_that_leads_astray_is_set_aside(void **state)
{
	static const char *const lines[] = {
		"data_directory = '/live'\n",
		"  HBA_FILE='/etc/x'\n",
		"\tinclude_dir 'conf.d'\n",
		"a = 1\nident_file = 'x'\n",
		"include '/etc/more'\n",
		"external_pid_file = '/run/x'\n",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct world *world = *state;
		struct base_config_result result;

		put(world->data, "postgresql.conf", lines[i]);
		result = write_config(world);
		assert_true(result.is_conf_made && result.has_conf_original);
		assert_has(world, "postgresql.conf", "max_connections = 321\n");
		assert_lacks(world, "postgresql.conf", lines[i]);
		assert_has(world, "postgresql.conf.from-backup", lines[i]);
	}
}

static void
test_saved_files_and_settings(void **state)
{
	struct world *world = *state;
	struct base_config_result result;

	put_part(world, "postgresql.conf", "data_directory = '/var/lib/postgresql/15/main'\n");
	put_part(world, "pg_hba.conf", "local all postgres peer\n");
	world->settings =
	    json_pack("{s:s, s:[{s:s,s:s,s:s},{s:s,s:s,s:s},{s:s,s:s,s:s},{s:s,s:s,s:s}]}",
		"shared_preload_libraries", "pg_stat_statements, pg_cron,timescaledb", "settings",
		"name", "work_mem", "value", "65536", "source", "configuration file", "name",
		"data_directory", "value", "/live", "source", "configuration file", "name",
		"log_line_prefix", "value", "it's \\ %m", "source", "configuration file", "name",
		"jit", "value", "off", "source", "command line");
	result = write_config(world);
	assert_true(result.is_conf_made && result.has_conf_original && !result.has_hba_made);
	assert_has(world, "postgresql.conf", "\nwork_mem = '65536'\n");
	assert_has(world, "postgresql.conf", "\nlog_line_prefix = 'it''s \\\\ %m'\n");
	assert_lacks(world, "postgresql.conf", "/live");
	assert_lacks(world, "postgresql.conf", "jit");
	assert_has(world, "postgresql.conf.from-backup", "/var/lib/postgresql/15/main");
	assert_has(world, "pg_hba.conf", "local all postgres peer");
	assert_has(world, "postgresql.auto.conf", "\njit = 'off'\n");
	assert_has(world, "postgresql.auto.conf",
	    "\nshared_preload_libraries = 'pg_stat_statements,timescaledb'\n");
	assert_has(world, "postgresql.auto.conf", "\ntimescaledb.max_background_workers = 0\n");
}

static void
test_nothing_saved(void **state)
{
	struct world *world = *state;
	struct base_config_result result;

	world->content.server_version = 140010;
	result = write_config(world);
	assert_true(result.is_conf_made && !result.has_conf_original && result.has_hba_made);
	assert_has(world, "pg_hba.conf", "local all all peer");
	assert_has(world, "pg_ident.conf", "blackstart");
	assert_lacks(world, "postgresql.conf.from-backup", "x");
	/* A setting that this version does not know would keep it from starting, and the reverse. */
	assert_lacks(world, "postgresql.auto.conf", "archive_library");
	assert_has(world, "postgresql.auto.conf", "stats_temp_directory");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_must_hold_comes_last, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_conf_that_leads_astray_is_set_aside, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(test_saved_files_and_settings, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nothing_saved, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
