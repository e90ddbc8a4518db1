#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/str.h"
#include "folder_store.h"
#include "os/file.h"
#include "os/stop.h"
#include "repo/manifest.h"
#include "source/postgres/postgres.h"
#include "source/postgres/postgres_internal.h"

/*
 * Base backups of a real server, PostgreSQL 15 of this machine, that the driver itself starts as
 * a scratch server: so the backup, the trial, the restore and the sweep are each tried whole.
 */

enum { MAJOR = 15 };

struct world {
	char folder[64];
	struct source *tool;     /* knows no server */
	struct scratch *scratch; /* the source */
	const struct postgres *server;
	uid_t uid;
	gid_t gid;
};

static struct world world;

static char *
make_folder(const char *name)
{
	char *path = path_join(world.folder, name);

	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(chown(path, world.uid, world.gid), 0);
	return path;
}

static void
run_sql(const char *database, const char *sql)
{
	struct err err = ERR_INIT;
	PGconn *conn = pg_connect(world.server, database, PG_SQL, &err);

	if (conn == NULL || pg_execute(conn, sql, &err) < 0)
		fail_msg("%s", err.msg);
	pg_close(conn);
}

static char *
ask_sql(const char *sql)
{
	struct err err = ERR_INIT;
	PGconn *conn = pg_connect(world.server, "plant", PG_SQL, &err);
	char *text = conn != NULL ? pg_query_value(conn, sql, &err) : NULL;

	if (text == NULL)
		fail_msg("%s", err.msg);
	pg_close(conn);
	return text;
}

static void
fill_server(void)
{
	char *space = make_folder("räum 1");
	char *sql = xasprintf("CREATE TABLESPACE \"räum\" LOCATION '%s'", space);

	run_sql(NULL, sql);
	run_sql(NULL, "CREATE DATABASE plant");
	run_sql("plant",
	    "CREATE TABLE public.devices AS SELECT g AS id, md5(g::text) AS name "
	    "FROM generate_series(1, 30000) g; CREATE INDEX ON public.devices (id)");
	run_sql("plant",
	    "CREATE TABLE public.readings TABLESPACE \"räum\" AS SELECT g AS id, "
	    "repeat('x', 50) AS v FROM generate_series(1, 20000) g");
	free(sql);
	free(space);
}

static int
start_world(void **state)
{
	static const struct postgres_options nobody = { .label = "tool" };
	struct scratch_options options = { .major = MAJOR, .is_exact = true };
	static const char *const settings[] = { "max_wal_senders=4", NULL };
	struct err err = ERR_INIT;

	(void)state;
	stop_install();
	(void)snprintf(world.folder, sizeof(world.folder), "/tmp/test-base-XXXXXX");
	assert_non_null(mkdtemp(world.folder));
	assert_int_equal(chmod(world.folder, 0755), 0);
	world.tool = postgres_open(&nobody, &err);
	assert_int_equal(pg_server_user(postgres_of(world.tool), NULL, &world.uid, &world.gid,
			     &err),
	    0);
	options.work_dir = make_folder("server");
	options.settings = settings;
	world.scratch = scratch_start(postgres_of(world.tool), &options, &err);
	if (world.scratch == NULL)
		fail_msg("%s", err.msg);
	world.server = scratch_postgres(world.scratch);
	fill_server();
	free((char *)(uintptr_t)options.work_dir);
	return 0;
}

static int
stop_world(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(scratch_stop(world.scratch, &err), 0);
	scratch_free(world.scratch);
	source_free(world.tool);
	return dir_remove_all(world.folder, &err);
}

/* ---- helpers ------------------------------------------------------------------------------------- */

static int
back_up(struct folder_store *store, struct err *err)
{
	const struct backup_request request = { .kind = "base", .run_id = "run-1" };
	struct postgres source = *world.server;

	source.base.ops = &postgres_source_ops;
	return source.base.ops->backup(&source.base, &request, &store->intake, store->draft, err);
}

static void
open_backup(struct folder_store *store, char *folder)
{
	struct err err = ERR_INIT;

	folder_store_init(store, folder);
	if (back_up(store, &err) < 0)
		fail_msg("%s", err.msg);
}

static int
verify(const struct folder_store *store, int level, const char *scratch_dir, int *ret_level,
    struct err *err)
{
	const struct smoke_query query = { .sql = "SELECT count(*) FROM public.devices" };
	const struct verify_request request = {
		.level = level,
		.scratch_dir = scratch_dir,
		.smoke = &query,
		.smoke_count = 1,
	};
	struct verify_report report = { .level = 0 };
	int result = world.tool->ops->verify(world.tool, &store->view, &request, &report, err);

	*ret_level = report.level;
	verify_report_done(&report);
	return result;
}

static int
restore(const struct folder_store *store, const char *to, bool wants_start,
    struct restore_report *report, struct err *err)
{
	const struct restore_request request = { .to = to, .wants_start = wants_start };

	return world.tool->ops->restore(world.tool, &store->view, &request, report, err);
}

static uint64_t
content_lsn_free_number(const struct folder_store *store, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(store->draft->content, key));
}

/* ---- tests --------------------------------------------------------------------------------------- */

static void
test_a_backup_says_what_it_is(void **state)
{
	struct folder_store store;
	char *folder = make_folder("backup-1");
	const json_t *content;
	char *identifier = ask_sql("SELECT system_identifier FROM pg_control_system()");

	(void)state;
	open_backup(&store, folder);
	content = store.draft->content;
	assert_string_equal(store.draft->source_identity, identifier);
	assert_true(json_is_true(json_object_get(content, "wal_included")));
	assert_int_equal(content_lsn_free_number(&store, "server_version_num") / 10000, MAJOR);
	assert_true(content_lsn_free_number(&store, "files") > 900);
	assert_int_equal(json_array_size(json_object_get(content, "tablespaces")), 1);
	assert_string_equal(json_string_value(json_object_get(
				json_array_get(json_object_get(content, "tablespaces"), 0),
				"name")),
	    "räum");
	assert_true(store.draft->consistent_at.us > 0);
	assert_int_equal(store.draft->warnings.count, 0);
	folder_store_done(&store);
	free(identifier);
	free(folder);
}

/* The copy's own tablespace, never the live server's: two servers on one would destroy it. */
static void
assert_space_is_own(const char *data_dir, const char *own)
{
	char *oid = ask_sql("SELECT oid FROM pg_tablespace WHERE spcname = 'räum'");
	char *link = xasprintf("%s/pg_tblspc/%s", data_dir, oid);
	char target[512];
	ssize_t size = readlink(link, target, sizeof(target) - 1);

	assert_true(size > 0);
	target[size] = '\0';
	if (!str_starts_with(target, own))
		fail_msg("the tablespace of '%s' is '%s'", data_dir, target);
	free(link);
	free(oid);
}

static void
test_it_is_proved_to_level_4(void **state)
{
	struct folder_store store;
	char *folder = make_folder("backup-2");
	char *scratch = make_folder("trial");
	char *data;
	struct err err = ERR_INIT;
	int level;

	(void)state;
	open_backup(&store, folder);
	if (verify(&store, 4, scratch, &level, &err) < 0)
		fail_msg("level %d: %s", level, err.msg);
	assert_int_equal(level, 4);
	data = path_join(scratch, "data");
	assert_space_is_own(data, scratch);
	free(data);
	folder_store_done(&store);
	free(scratch);
	free(folder);
}

static void
test_it_is_restored_and_runs(void **state)
{
	struct folder_store store;
	struct restore_report report = { .target = NULL };
	char *folder = make_folder("backup-3");
	char *to = path_join(world.folder, "restored");
	struct postgres copy = *world.server;
	struct err err = ERR_INIT;
	char *path = path_join(to, "global/pg_control");
	char *stop;
	char *rows;
	PGconn *conn;

	(void)state;
	open_backup(&store, folder);
	if (restore(&store, to, true, &report, &err) < 0)
		fail_msg("%s", err.msg);
	assert_string_equal(report.target, to);
	assert_true(file_exists(path));
	assert_space_is_own(to, to);
	copy.host = to;
	copy.port = (unsigned)json_integer_value(json_object_get(report.details, "port"));
	conn = pg_connect(&copy, "plant", PG_SQL, &err);
	assert_non_null(conn);
	rows = pg_query_value(conn,
	    "SELECT (SELECT count(*) FROM public.devices) + "
	    "(SELECT count(*) FROM public.readings)",
	    &err);
	assert_string_equal(rows, "50000");
	free(rows);
	rows = pg_query_value(conn, "SHOW archive_mode", &err);
	assert_string_equal(rows, "off");
	pg_close(conn);
	/* Into the same folder again: refused, and nothing of it is touched. */
	restore_report_done(&report);
	assert_int_equal(restore(&store, to, false, &report, &err), -1);
	assert_int_equal(err.kind, ERR_REFUSED);
	assert_true(file_exists(path));
	restore_report_done(&report);
	/* As a sweep ends what a killed run left. */
	assert_int_equal(pg_scratch_sweep(to, &err), 0);
	stop = path_join(to, "postmaster.pid");
	conn = pg_connect(&copy, "plant", PG_SQL, &err);
	assert_null(conn);
	free(rows);
	free(stop);
	free(path);
	free(to);
	folder_store_done(&store);
	free(folder);
}

/* Damage in the store, before our hashes: what level 1 itself must see. */
static void
test_a_lost_file_fails(void **state)
{
	struct folder_store store;
	char *folder = make_folder("backup-4");
	struct err err = ERR_INIT;
	int level;

	(void)state;
	folder_store_init(&store, folder);
	store.level = 0;
	assert_int_equal(back_up(&store, &err), 0);

	for (size_t i = 0; i < store.draft->files.count; i++) {
		struct manifest_file *file = &store.draft->files.items[i];

		if (str_equals(file->name, "base.tar")) {
			free(file->name);
			file->name = xstrdup("lost.tar");
		}
	}
	assert_int_equal(verify(&store, 1, NULL, &level, &err), -1);
	assert_int_equal(level, -1);
	assert_non_null(strstr(err.msg, "base.tar"));
	folder_store_done(&store);
	free(folder);
}

static void
test_a_full_store_fails_at_each_part(void **state)
{
	(void)state;
	for (unsigned at = 1; at <= 4; at++) {
		struct folder_store store;
		char name[32];
		char *folder;
		struct err err = ERR_INIT;

		(void)snprintf(name, sizeof(name), "full-%u", at);
		folder = make_folder(name);
		folder_store_init(&store, folder);
		store.open_fails_at = at;
		assert_int_equal(back_up(&store, &err), -1);
		assert_int_equal(err.kind, ERR_SPACE);
		folder_store_done(&store);
		free(folder);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_backup_says_what_it_is),
		cmocka_unit_test(test_it_is_proved_to_level_4),
		cmocka_unit_test(test_it_is_restored_and_runs),
		cmocka_unit_test(test_a_lost_file_fails),
		cmocka_unit_test(test_a_full_store_fails_at_each_part),
	};

	return cmocka_run_group_tests(tests, start_world, stop_world);
}
