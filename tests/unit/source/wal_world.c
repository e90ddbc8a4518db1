#include "wal_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "os/file.h"
#include "os/process.h"
#include "os/stop.h"
#include "source/postgres/postgres.h"
#include "source/postgres/postgres_internal.h"
#include "source/postgres/wal/names.h"

/*
 * plain: all sorts of records, one of 3 MB and one of 1.5 MB behind it, two segment switches at its
 * end.  promoted: a copy on timeline 2.  crashed: a server that lost half of a record and went on.
 */
static const char script[] =
    "set -e; cd \"$DIR\"; umask 022\n"
    "server() { d=$1; shift; \"$BIN/pg_ctl\" -D $d -l $d.log -w \"$@\" >/dev/null; }\n"
    "sql() { \"$BIN/psql\" -X -q -At -v ON_ERROR_STOP=1 -h \"$DIR\" -p 5999 -d postgres \"$@\"; }\n"
    "trap 'for d in plain promoted crashed; do server $d stop -m immediate 2>/dev/null || :; done' 0\n"
    "\"$BIN/initdb\" -D plain -A trust -N -U postgres --wal-segsize=1 >/dev/null\n"
    "export PGUSER=postgres PGOPTIONS=\n"
    "cat >> plain/postgresql.conf <<END\n"
    "listen_addresses = ''\nunix_socket_directories = '$DIR'\nport = 5999\nfsync = off\n"
    "wal_keep_size = 1000\nmax_prepared_transactions = 5\nautovacuum = off\n"
    "max_wal_size = 1000\nEND\n"
    "server plain start\n"
    "sql -c 'SELECT pg_switch_wal()' >/dev/null\n"
    "sql -c 'CREATE TABLE t (id int PRIMARY KEY, v text)'\n"
    "sql -c \"INSERT INTO t SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 3000) g\"\n"
    "sql -c \"BEGIN; INSERT INTO t VALUES (-1, 'a'); PREPARE TRANSACTION 'one'\"\n"
    "sql -c \"COMMIT PREPARED 'one'\"\n"
    "sql -c \"BEGIN; INSERT INTO t VALUES (-2, 'a'); PREPARE TRANSACTION 'two'\"\n"
    "sql -c \"ROLLBACK PREPARED 'two'\"\n"
    "sql -c \"BEGIN; INSERT INTO t VALUES (-3, 'a'); ROLLBACK\"\n"
    "sql -c \"SELECT pg_create_restore_point('before the flood')\" >/dev/null\n"
    "sql -c \"SELECT pg_logical_emit_message(true, 'big', repeat('x', 3000000)),"
    " pg_logical_emit_message(true, 'next', repeat('y', 1500000))\" >/dev/null\n"
    "sql -c 'CHECKPOINT'\n"
    "sql -c 'UPDATE t SET v = v WHERE id % 7 = 0'\n"
    "sql -c 'SELECT pg_switch_wal()' >/dev/null\n"
    "sql -c 'INSERT INTO t VALUES (-5, NULL)'; sql -c 'SELECT pg_switch_wal()' >/dev/null\n"
    "server plain stop -m fast\n"
    "cp -r plain promoted; cp -r plain crashed; touch promoted/standby.signal\n"
    "server promoted start; server promoted promote\n"
    "sql -c 'INSERT INTO t VALUES (-4, NULL)'; sql -c 'SELECT pg_switch_wal()' >/dev/null\n"
    "server promoted stop -m fast\n"
    "server crashed start; sql -c CHECKPOINT\n"
    "at=$(sql -c 'SELECT pg_walfile_name(pg_current_wal_insert_lsn())')\n"
    "sql -c \"SELECT pg_logical_emit_message(true, 'big', repeat('x', 3000000))\" >/dev/null\n"
    "server crashed stop -m immediate\n"
    "for f in crashed/pg_wal/0*; do n=${f##*/}; "
    "if [ \"$(printf '%s\\n%s\\n' \"$n\" \"$at\" | LC_ALL=C sort | tail -n 1)\" != \"$at\" ]; "
    "then rm $f; fi; done\n"
    "server crashed start; sql -c 'INSERT INTO t VALUES (-6, NULL)'\n"
    "sql -c 'SELECT pg_switch_wal()' >/dev/null; server crashed stop -m fast\n"
    "first=$(ls plain/pg_wal | grep -E '^[0-9A-F]{24}$' | sed -n 2p |"
    " cut -c 22-24)\n"
    "TZ=UTC \"$BIN/pg_waldump\" -p plain/pg_wal -s 0/${first}00000 > dump 2>/dev/null || :\n"
    "chmod -R a+rX .\n";

struct wal_world world;

static void
make_wal(void)
{
	static const struct postgres_options nobody = { .label = "tool" };
	const char *bin = getenv("BLACKSTART_TEST_BIN");
	char *folder = xasprintf("DIR=%s", world.folder);
	char *programs = xasprintf("BIN=%s", bin != NULL ? bin : "/usr/lib/postgresql/15/bin");
	const char *const argv[] = { "/bin/sh", "-c", script, NULL };
	const char *const env[] = { folder, programs, NULL };
	struct process_options options = { .argv = argv, .env = env, .cwd = world.folder };
	struct err err = ERR_INIT;
	struct source *tool = postgres_open(&nobody, &err);
	struct process *process;

	assert_non_null(tool);
	if (geteuid() == 0)
		assert_int_equal(pg_server_user(postgres_of(tool), NULL, &options.run_as_uid,
				     &options.run_as_gid, &err),
		    0);
	assert_true(geteuid() != 0 ||
	    chown(world.folder, options.run_as_uid, options.run_as_gid) == 0);
	process = process_start(&options, &err);
	if (process == NULL || process_run(process, NULL, &err) < 0)
		fail_msg("%s: %s", err.msg, process != NULL ? process_stderr(process) : "");
	process_free(process);
	source_free(tool);
	free(folder);
	free(programs);
}

static void
load_segment(struct run *run, const char *dir, const char *name)
{
	struct str text = STR_INIT_MAX(SEGMENT_BYTES + 1);
	struct segment *segment = vec_add(&run->segments);
	char *path = path_join(dir, name);
	struct err err = ERR_INIT;

	assert_true(wal_name_parse(name, SEGMENT_BYTES, &segment->timeline, &segment->number));
	assert_int_equal(file_read_all(path, SEGMENT_BYTES, &text, &err), 0);
	assert_int_equal(text.size, SEGMENT_BYTES);
	segment->data = (uint8_t *)text.data;
	free(path);
}

/* Segments of `timeline`, without `skip` at the begin and the one that is still being written. */
static void
load_run(struct run *run, const char *cluster, uint32_t timeline, size_t skip)
{
	char *dir = xasprintf("%s/%s/pg_wal", world.folder, cluster);
	struct dir_listing listing;
	struct err err = ERR_INIT;
	uint32_t found;
	uint64_t number;
	struct segment last;

	assert_int_equal(dir_list(dir, 1000, &listing, &err), 0);
	for (size_t i = 0; i < listing.count; i++) {
		if (!wal_name_parse(listing.names[i], SEGMENT_BYTES, &found, &number) ||
		    found != timeline || skip-- > 0)
			continue;
		skip = 0;
		load_segment(run, dir, listing.names[i]);
	}
	dir_listing_done(&listing);
	/* Unused ones, recycled for later, hold other WAL than their names say. */
	do {
		assert_true(run->segments.count > 1);
		last = run->segments.items[--run->segments.count];
		memcpy(&number, last.data + 8, sizeof(number));
		free(last.data);
	} while (number != last.number * SEGMENT_BYTES);
	free(dir);
}

/* Where `bytes` bytes of a record that begins at `lsn` end, past the headers of pages. */
static uint64_t
walk(uint64_t lsn, uint64_t bytes)
{
	while (bytes > 0) {
		uint64_t room = 8192 - lsn % 8192;
		uint64_t step = bytes < room ? bytes : room;

		lsn += step;
		bytes -= step;
		if (bytes > 0 && lsn % 8192 == 0)
			lsn += lsn % SEGMENT_BYTES == 0 ? 40 : 24;
	}
	return lsn;
}

static void
load_dump(void)
{
	char *path = path_join(world.folder, "dump");
	FILE *file = fopen(path, "re");
	uint64_t end = 0;
	char line[2048];

	assert_non_null(file);
	for (size_t i = 0; i < world.plain.segments.count; i++)
		end = (world.plain.segments.items[i].number + 1) * SEGMENT_BYTES;
	while (fgets(line, sizeof(line), file) != NULL) {
		const char *total = strstr(line, "len (rec/tot):");
		const char *lsn = strstr(line, "lsn: ");
		const char *commit = strstr(line, "COMMIT");
		unsigned high, low, bytes;

		if (total == NULL || lsn == NULL)
			continue;
		assert_int_equal(sscanf(strchr(strstr(total, "):"), '/') + 1, "%u", &bytes), 1);
		assert_int_equal(sscanf(lsn, "lsn: %X/%X", &high, &low), 2);
		uint64_t at = (uint64_t)high << 32 | low;
		if (at >= end)
			continue;
		vec_push(&world.records, ((struct record){ at, walk(at, bytes) }));
		if (strstr(line, "rmgr: Transaction") == NULL ||
		    (commit == NULL && strstr(line, "ABORT") == NULL))
			continue;
		world.commits++;
		const char *date = strstr(line, " 20");
		if (date != NULL)
			(void)snprintf(world.last_commit, sizeof(world.last_commit), "%.26s",
			    date + 1);
	}
	assert_int_equal(fclose(file), 0);
	assert_true(world.records.count > 3000);
	free(path);
}

static void
load_version(void)
{
	char *path = path_join(world.folder, "plain/PG_VERSION");
	struct str text = STR_INIT;
	struct err err = ERR_INIT;

	assert_int_equal(file_read_all(path, 100, &text, &err), 0);
	assert_int_equal(sscanf(str_text(&text), "%u", &world.major), 1);
	str_done(&text);
	free(path);
}

int
wal_world_start(void **state)
{
	(void)state;
	stop_install();
	(void)snprintf(world.folder, sizeof(world.folder), "/tmp/test-wal-XXXXXX");
	assert_non_null(mkdtemp(world.folder));
	assert_int_equal(chmod(world.folder, 0755), 0);
	make_wal();
	load_run(&world.plain, "plain", 1, 1);
	load_run(&world.promoted, "promoted", 2, 0);
	load_run(&world.crashed, "crashed", 1, 1);
	memcpy(&world.system_identifier, world.plain.segments.items[0].data + 24, 8);
	load_version();
	load_dump();
	return 0;
}

static void
run_done(struct run *run)
{
	for (size_t i = 0; i < run->segments.count; i++)
		free(run->segments.items[i].data);
	vec_done(&run->segments);
}

int
wal_world_stop(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	run_done(&world.plain);
	run_done(&world.promoted);
	run_done(&world.crashed);
	vec_done(&world.records);
	return dir_remove_all(world.folder, &err);
}
