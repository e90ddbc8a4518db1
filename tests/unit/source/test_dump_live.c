/* Dumps, counts, restores and the swap, against a server that this test starts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
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
#include "source/postgres/dump/dump_internal.h"
#include "source/postgres/postgres.h"

struct live {
	char dir[40];
	char *stores[16];
	size_t stores_count;
	struct scratch *scratch;
	struct source *source; /* of the databases "plant" */
	const struct postgres *server;
};

static struct live live;

static const char
    plant_sql[] = "CREATE TABLE devices (id serial PRIMARY KEY, name text);"
		  "INSERT INTO devices (name) SELECT 'd' || g FROM generate_series(1, 100) g;"
		  "CREATE TABLE \"o'dd \"\"t\" (a int); INSERT INTO \"o'dd \"\"t\" VALUES (1), (2);"
		  "CREATE TABLE tele (t int, v int) PARTITION BY RANGE (t);"
		  "CREATE TABLE tele_1 PARTITION OF tele FOR VALUES FROM (0) TO (100);"
		  "CREATE TABLE tele_2 PARTITION OF tele FOR VALUES FROM (100) TO (200);"
		  "INSERT INTO tele SELECT g, g FROM generate_series(0, 149) g;"
		  "CREATE TABLE parent (a int); CREATE TABLE child () INHERITS (parent);"
		  "INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2), (3);"
		  "CREATE UNLOGGED TABLE fleeting (a int);"
		  "CREATE MATERIALIZED VIEW seen AS SELECT count(*) FROM devices;"
		  "SELECT lo_from_bytea(0, 'x');";

static void
run_on(PGconn *conn, const char *sql)
{
	struct err err = ERR_INIT;

	if (pg_execute(conn, sql, &err) < 0)
		fail_msg("%s", err.msg);
}

static PGconn *
connect_to(const char *database)
{
	struct err err = ERR_INIT;
	PGconn *conn = pg_connect(live.server, database, PG_SQL, &err);

	if (conn == NULL)
		fail_msg("%s", err.msg);
	run_on(conn, "RESET search_path");

	return conn;
}

static void
assert_value(const char *database, const char *sql, const char *expected)
{
	struct err err = ERR_INIT;
	SCOPED(pg_conn_freep) PGconn *conn = connect_to(database);
	SCOPED(freep) char *value = pg_query_value(conn, sql, &err);

	if (value == NULL)
		fail_msg("%s", err.msg);
	assert_string_equal(value, expected);
}

static void
make_plant(void)
{
	SCOPED(pg_conn_freep) PGconn *admin = connect_to("postgres");

	run_on(admin, "DROP DATABASE IF EXISTS plant WITH (FORCE)");
	run_on(admin, "CREATE DATABASE plant");
	run_on(admin, "ALTER DATABASE plant SET work_mem = '9MB'");
	run_on(admin, "COMMENT ON DATABASE plant IS 'of the plant'");
	SCOPED(pg_conn_freep) PGconn *conn = connect_to("plant");
	run_on(conn, plant_sql);
}

static int
set_up(void **state)
{
	static const char *const databases[] = { "plant", NULL };
	static const char *const settings[] = { "fsync=off", NULL };
	struct err err = ERR_INIT;
	struct postgres_options options = { .label = "none" };
	struct source *nobody = postgres_open(&options, &err);
	struct scratch_options scratch = { .major = 13, .settings = settings };

	(void)state;
	(void)snprintf(live.dir, sizeof(live.dir), "/tmp/test_dump_live-XXXXXX");
	assert_non_null(mkdtemp(live.dir));
	assert_int_equal(chmod(live.dir, 0755), 0);
	scratch.work_dir = live.dir;
	live.scratch = scratch_start(postgres_of(nobody), &scratch, &err);
	source_free(nobody);
	if (live.scratch == NULL)
		fail_msg("%s", err.msg);
	live.server = scratch_postgres(live.scratch);
	options = (struct postgres_options){
		.label = "postgresql",
		.host = live.server->host,
		.port = live.server->port,
		.user = live.server->user,
		.databases = databases,
	};
	live.source = postgres_open(&options, &err);
	assert_non_null(live.source);

	return 0;
}

static int
tear_down(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	source_free(live.source);
	if (scratch_stop(live.scratch, &err) < 0)
		fail_msg("%s", err.msg);
	scratch_free(live.scratch);
	for (size_t i = 0; i < live.stores_count; i++)
		free(live.stores[i]);

	return dir_remove_all(live.dir, &err);
}

/* A dump of "plant" in a folder of its own. */
static void
make_dump(struct folder_store *store)
{
	const struct backup_request request = { .kind = "dump", .run_id = "test" };
	char *folder = xasprintf("%s/store%zu", live.dir, live.stores_count);
	struct err err = ERR_INIT;

	live.stores[live.stores_count++] = folder;
	if (dir_make_all(folder, 0700, &err) < 0)
		fail_msg("%s", err.msg);
	folder_store_init(store, folder);
	free(store->draft->kind);
	store->draft->kind = xstrdup("dump");
	if (live.source->ops->backup(live.source, &request, &store->intake, store->draft, &err) < 0)
		fail_msg("%s", err.msg);
}

static json_int_t
rows_of(const struct manifest *manifest, const char *name)
{
	struct dump_database database;
	struct err err = ERR_INIT;

	assert_int_equal(dump_database_get(manifest, 0, &database, &err), 0);
	for (size_t i = 0; i < json_array_size(database.tables); i++) {
		const json_t *row = json_array_get(database.tables, i);

		if (strcmp(json_string_value(json_array_get(row, 1)), name) == 0)
			return json_integer_value(json_array_get(row, 2));
	}
	fail_msg("the manifest has no table %s", name);

	return -1;
}

/* ---- dump ------------------------------------------------------------------------------------ */

static void
test_every_table_is_counted_by_itself(void **state)
{
	SCOPED(folder_store_done) struct folder_store store;

	(void)state;
	make_plant();
	make_dump(&store);
	assert_int_equal(store.draft->warnings.count, 0);
	assert_int_equal(rows_of(store.draft, "devices"), 100);
	assert_int_equal(rows_of(store.draft, "o'dd \"t"), 2);
	assert_int_equal(rows_of(store.draft, "tele_1"), 100);
	assert_int_equal(rows_of(store.draft, "tele_2"), 50);
	assert_int_equal(rows_of(store.draft, "parent"), 1);
	assert_int_equal(rows_of(store.draft, "child"), 2);
	assert_int_equal(store.draft->files.count, 2);
	assert_string_equal(store.draft->files.items[0].name, "globals.sql");
	assert_string_equal(store.draft->files.items[1].name, "dump");
	assert_true(store.draft->consistent_at.us > 0);
	assert_true(strlen(store.draft->source_identity) > 10);
}

/* Counting as the dump does it, with somebody else at work between snapshot and count. */
static void
count_with(const char *meanwhile, struct count *count, PGconn **ret_conn)
{
	struct err err = ERR_INIT;
	PGconn *conn = connect_to("plant");
	SCOPED(pg_conn_freep) PGconn *other = connect_to("plant");

	run_on(conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
	if (count_begin(count, conn, false, &err) < 0)
		fail_msg("%s", err.msg);
	run_on(other, meanwhile);
	if (count_finish(count, &err) < 0)
		fail_msg("%s", err.msg);
	*ret_conn = conn;
}

static int64_t
counted(const struct count *count, const char *name)
{
	for (size_t i = 0; i < count->tables.count; i++) {
		if (strcmp(count_name(count, &count->tables.items[i]), name) == 0)
			return count->tables.items[i].rows;
	}

	return -2;
}

static void
assert_meanwhile(const char *meanwhile, const char *table, int64_t expected)
{
	struct count count;
	SCOPED(pg_conn_freep) PGconn *conn = NULL;

	make_plant();
	count_with(meanwhile, &count, &conn);
	assert_int_equal(counted(&count, table), expected);
	assert_int_equal(count_uncounted(&count), expected < 0 ? 1 : 0);
	assert_int_equal(counted(&count, "tele_1"), 100);
	count_done(&count);
}

static void
test_what_came_later_is_not_counted(void **state)
{
	(void)state;
	assert_meanwhile("INSERT INTO devices (name) VALUES ('later')", "devices", 100);
	assert_meanwhile("DELETE FROM devices", "devices", 100);
}

static void
test_what_is_uncertain_is_not_counted(void **state)
{
	(void)state;
	assert_meanwhile("TRUNCATE devices", "devices", -1);
	assert_meanwhile("DROP TABLE child", "child", -1);
	assert_meanwhile("ALTER TABLE devices ALTER id TYPE bigint", "devices", -1);
	assert_meanwhile("ALTER TABLE devices RENAME TO old; CREATE TABLE devices (a int)",
	    "devices", -1);
}

static void
test_a_locked_table_is_left_out(void **state)
{
	struct err err = ERR_INIT;
	struct count count;

	(void)state;
	make_plant();
	SCOPED(pg_conn_freep) PGconn *other = connect_to("plant");
	run_on(other, "BEGIN; LOCK TABLE child IN ACCESS EXCLUSIVE MODE");
	SCOPED(pg_conn_freep) PGconn *conn = connect_to("plant");
	run_on(conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
	assert_int_equal(count_begin(&count, conn, false, &err), 0);
	assert_int_equal(count_finish(&count, &err), 0);
	assert_int_equal(counted(&count, "child"), -1);
	assert_int_equal(counted(&count, "devices"), 100);
	assert_int_equal(count_uncounted(&count), 1);
	assert_non_null(strstr(str_text(&count.trouble), "lock"));
	count_done(&count);
}

/* ---- restore and promote ------------------------------------------------------------------------ */

static void
test_a_restore_equals_the_manifest_and_takes_the_place(void **state)
{
	const struct restore_request request = { .new_name = "plant_new" };
	struct promote_request promote = { .name = "plant_new", .confirm = "plant" };
	SCOPED(restore_report_done) struct restore_report report = { .target = NULL };
	SCOPED(restore_report_done) struct restore_report promoted = { .target = NULL };
	SCOPED(folder_store_done) struct folder_store store;
	struct err err = ERR_INIT;

	(void)state;
	make_plant();
	make_dump(&store);
	SCOPED(pg_conn_freep) PGconn *user = connect_to("plant");
	run_on(user, "DELETE FROM devices");

	if (live.source->ops->restore(live.source, &store.view, &request, &report, &err) < 0)
		fail_msg("%s", err.msg);
	assert_value("plant_new", "SELECT count(*) FROM devices", "100");
	assert_value("plant", "SELECT count(*) FROM devices", "0");
	assert_string_equal(report.next, "blackstart promote plant_new --confirm=plant");

	/* The session of `user` stands in the way and is ended. */
	if (live.source->ops->promote(live.source, &promote, &promoted, &err) < 0)
		fail_msg("%s", err.msg);
	assert_value("plant", "SELECT count(*) FROM devices", "100");
	assert_value("plant", "SHOW work_mem", "9MB");
	assert_value("postgres",
	    "SELECT shobj_description(oid, 'pg_database') FROM pg_database "
	    "WHERE datname = 'plant'",
	    "of the plant");
	assert_value("postgres",
	    "SELECT count(*) FROM pg_database WHERE datname LIKE 'plant_broken%'", "1");

	/* Done is done: a second time there is nothing to promote, and nothing changes. */
	assert_int_equal(live.source->ops->promote(live.source, &promote, &promoted, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_value("plant", "SELECT count(*) FROM devices", "100");
}

static void
assert_promote_refused(const char *name, const char *confirm)
{
	const struct promote_request request = { .name = name, .confirm = confirm };
	SCOPED(restore_report_done) struct restore_report report = { .target = NULL };
	struct err err = ERR_INIT;

	assert_int_equal(live.source->ops->promote(live.source, &request, &report, &err), -1);
	assert_int_equal(err.kind, ERR_REFUSED);
}

static void
test_promote_wants_the_right_name(void **state)
{
	const struct restore_request request = { .new_name = "plant_again" };
	SCOPED(restore_report_done) struct restore_report report = { .target = NULL };
	SCOPED(folder_store_done) struct folder_store store;
	struct err err = ERR_INIT;

	(void)state;
	make_plant();
	make_dump(&store);
	assert_int_equal(live.source->ops->restore(live.source, &store.view, &request, &report,
			     &err),
	    0);
	assert_promote_refused("plant_again", NULL);
	assert_promote_refused("plant_again", "");
	assert_promote_refused("plant_again", "plantt");
	assert_promote_refused("plant_again", "postgres");
	assert_promote_refused("plant_again", "plant_again");
	SCOPED(pg_conn_freep) PGconn *admin = connect_to("postgres");
	run_on(admin,
	    "COMMENT ON DATABASE plant_again IS "
	    "'blackstart: restore not complete from database ''plant'' of x'");
	assert_promote_refused("plant_again", "plant");
	run_on(admin, "DROP DATABASE plant_again");
}

static void
test_a_restore_that_differs_is_dropped(void **state)
{
	const struct restore_request request = { .new_name = "plant_bad" };
	SCOPED(restore_report_done) struct restore_report report = { .target = NULL };
	SCOPED(folder_store_done) struct folder_store store;
	struct dump_database database;
	struct err err = ERR_INIT;

	(void)state;
	make_plant();
	make_dump(&store);
	assert_int_equal(dump_database_get(store.draft, 0, &database, &err), 0);
	assert_int_equal(json_array_set_new(json_array_get(database.tables, 0), 2, json_integer(7)),
	    0);
	assert_int_equal(live.source->ops->restore(live.source, &store.view, &request, &report,
			     &err),
	    -1);
	assert_int_equal(err.kind, ERR_MISMATCH);
	assert_non_null(strstr(err.msg, "the manifest has 7"));
	assert_value("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'plant_bad'",
	    "0");
}

static void
test_a_taken_name_is_refused(void **state)
{
	const struct restore_request request = { .new_name = "plant" };
	SCOPED(restore_report_done) struct restore_report report = { .target = NULL };
	SCOPED(restore_plan_done) struct restore_plan plan = { .what = NULL };
	SCOPED(folder_store_done) struct folder_store store;
	struct err err = ERR_INIT;

	(void)state;
	make_plant();
	make_dump(&store);
	assert_int_equal(live.source->ops->plan(live.source, &store.view, &request, &plan, &err),
	    0);
	assert_int_equal(plan.obstacles.count, 1);
	assert_non_null(strstr(plan.obstacles.items[0], "exists already"));
	assert_int_equal(live.source->ops->restore(live.source, &store.view, &request, &report,
			     &err),
	    -1);
	assert_int_equal(err.kind, ERR_EXISTS);
	assert_value("plant", "SELECT count(*) FROM devices", "100");
}

static void
test_a_dump_cut_short_is_found(void **state)
{
	const struct verify_request request = { .level = 1 };
	SCOPED(verify_report_done) struct verify_report report = { .level = 0 };
	SCOPED(verify_report_done) struct verify_report cut_report = { .level = 0 };
	SCOPED(folder_store_done) struct folder_store store;
	SCOPED(freep) char *path = NULL;
	struct stat entry;
	struct err err = ERR_INIT;

	(void)state;
	make_plant();
	make_dump(&store);
	if (live.source->ops->verify(live.source, &store.view, &request, &report, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(report.level, 1);

	path = path_join(store.folder, "dump");
	assert_int_equal(stat(path, &entry), 0);
	assert_int_equal(truncate(path, entry.st_size - 1), 0);
	assert_int_equal(live.source->ops->verify(live.source, &store.view, &request, &cut_report,
			     &err),
	    -1);
	assert_true(err.kind == ERR_MISMATCH || err.kind == ERR_DATA);
	assert_int_equal(cut_report.level, -1);
}

static void
test_what_cron_has_dumped_is_described(void **state)
{
	SCOPED(manifest_freep) struct manifest *draft = manifest_new();
	SCOPED(folder_store_done) struct folder_store store;
	SCOPED(freep) char *path = NULL;
	struct dump_database database;
	struct err err = ERR_INIT;

	(void)state;
	make_plant();
	make_dump(&store);
	path = path_join(store.folder, "dump");
	if (live.source->ops->adopt(live.source, "dump", path, draft, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(dump_database_get(draft, 0, &database, &err), 0);
	assert_string_equal(database.name, "plant");
	assert_string_equal(database.encoding, "UTF8");
	assert_false(database.is_counted);
	assert_int_equal(dump_server_version(draft), dump_server_version(store.draft));
	assert_true(draft->consistent_at.us > 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_table_is_counted_by_itself),
		cmocka_unit_test(test_what_came_later_is_not_counted),
		cmocka_unit_test(test_what_is_uncertain_is_not_counted),
		cmocka_unit_test(test_a_locked_table_is_left_out),
		cmocka_unit_test(test_a_restore_equals_the_manifest_and_takes_the_place),
		cmocka_unit_test(test_promote_wants_the_right_name),
		cmocka_unit_test(test_a_restore_that_differs_is_dropped),
		cmocka_unit_test(test_a_taken_name_is_refused),
		cmocka_unit_test(test_a_dump_cut_short_is_found),
		cmocka_unit_test(test_what_cron_has_dumped_is_described),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
