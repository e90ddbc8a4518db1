#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "fake_walsender.h"
#include "folder_store.h"
#include "os/file.h"
#include "os/stop.h"
#include "repo/manifest.h"
#include "source/archive.h"
#include "source/postgres/postgres.h"

/* Base backups of a server that sends what it should not. */

struct outcome {
	int result;
	struct err err;
	struct folder_store store;
	char folder[64];
};

static void
back_up(struct fake_walsender *fake, bool is_wal_covered, struct outcome *outcome)
{
	struct archive archive = { .path = outcome->folder };
	const struct postgres_options options = { .label = "fake",
		.host = outcome->folder,
		.user = "u" };
	const struct backup_request request = {
		.kind = "base",
		.run_id = "run-1",
		.archive = is_wal_covered ? &archive : NULL,
		.archive_wait_us = 1,
	};
	struct source *source;
	pid_t pid;

	(void)snprintf(outcome->folder, sizeof(outcome->folder), "/tmp/test-stream-XXXXXX");
	assert_non_null(mkdtemp(outcome->folder));
	memset(&outcome->err, 0, sizeof(outcome->err));
	folder_store_init(&outcome->store, outcome->folder);
	fake->socket_dir = outcome->folder;
	pid = fake_walsender_start(fake);
	source = postgres_open(&options, &outcome->err);
	assert_non_null(source);
	outcome->result = source->ops->backup(source, &request, &outcome->store.intake,
	    outcome->store.draft, &outcome->err);
	source_free(source);
	fake_walsender_stop(pid);
}

static void
outcome_done(struct outcome *outcome)
{
	struct err err = ERR_INIT;

	folder_store_done(&outcome->store);
	assert_int_equal(dir_remove_all(outcome->folder, &err), 0);
}

static void
expect_failure(struct fake_walsender fake, enum err_kind kind, const char *says)
{
	struct outcome outcome;

	back_up(&fake, false, &outcome);
	if (outcome.result == 0 || outcome.err.kind != kind ||
	    strstr(outcome.err.msg, says) == NULL)
		fail_msg("%d, kind %s: '%s' does not say '%s'", outcome.result,
		    err_kind_name(outcome.err.kind), outcome.err.msg, says);
	outcome_done(&outcome);
}

static void
expect_success(struct fake_walsender fake, bool is_wal_covered, const char *warning)
{
	struct outcome outcome;

	back_up(&fake, is_wal_covered, &outcome);
	if (outcome.result < 0)
		fail_msg("%s", outcome.err.msg);
	assert_string_equal(outcome.store.draft->source_identity, "42");
	assert_true(outcome.store.draft->consistent_at.us > 0);
	assert_true(manifest_has_warning(outcome.store.draft, "settings_not_saved"));
	if (warning != NULL)
		assert_true(manifest_has_warning(outcome.store.draft, warning));
	assert_non_null(manifest_find_file(outcome.store.draft, "backup_manifest"));
	outcome_done(&outcome);
}

static void
test_an_honest_server(void **state)
{
	(void)state;
	expect_success((struct fake_walsender){ .lacks_wal = false }, false, "clock_not_asked");
	expect_success((struct fake_walsender){ .lacks_wal = true }, true, "log_not_arrived");
}

/* The archive of 13 has no closing blocks: what is stored has them. */
static void
test_a_server_of_13(void **state)
{
	struct fake_walsender fake = { .is_13 = true };
	struct outcome outcome;
	const struct manifest_file *file;

	(void)state;
	back_up(&fake, false, &outcome);
	if (outcome.result < 0)
		fail_msg("%s", outcome.err.msg);
	file = manifest_find_file(outcome.store.draft, "base.tar.zst");
	assert_non_null(file);
	assert_int_equal(file->content_bytes, 2 * 1024 + 512 + 1024 * 1024 + 1024);
	outcome_done(&outcome);
}

static void
test_what_differs_from_the_manifest(void **state)
{
	(void)state;
	expect_failure((struct fake_walsender){ .file_sent = "16\n" }, ERR_DATA,
	    "'PG_VERSION' has CRC32C");
	expect_failure((struct fake_walsender){ .file_sent = "15" }, ERR_DATA,
	    "'PG_VERSION' has 2 bytes");
	expect_failure((struct fake_walsender){ .has_extra_file = true }, ERR_DATA,
	    "'base/1/2600'");
	expect_failure((struct fake_walsender){ .lacks_file = true }, ERR_DATA, "'base/1/1259'");
	expect_failure((struct fake_walsender){ .is_manifest_damaged = true }, ERR_DATA,
	    "own checksum");
	expect_failure((struct fake_walsender){ .lacks_wal = true }, ERR_DATA,
	    "000000010000000000000003");
	expect_failure((struct fake_walsender){ .is_13 = true, .file_sent = "16\n" }, ERR_DATA,
	    "PG_VERSION");
}

static void
test_hostile_streams(void **state)
{
	static const char *const names[] = {
		"../base.tar",
		"/etc/passwd",
		".hidden",
		"",
		"16401.tar",
		"base.tar.gz",
		"backup_manifest",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		expect_failure((struct fake_walsender){ .archive_name = names[i] }, ERR_PEER,
		    "nobody expects");
	expect_failure((struct fake_walsender){ .sends_unknown_message = true }, ERR_PEER, "0x78");
	expect_failure((struct fake_walsender){ .sends_long_message = true }, ERR_PEER,
	    "a message of 1048576 bytes or more");
	expect_failure((struct fake_walsender){ .sends_nonsense = true }, ERR_NET, "lost");
	expect_failure((struct fake_walsender){ .sends_archive_twice = true }, ERR_PEER,
	    "nobody expects");
	expect_failure((struct fake_walsender){ .lacks_manifest = true }, ERR_PEER, "no manifest");
}

static void
test_a_broken_connection_says_how_far(void **state)
{
	(void)state;
	expect_failure((struct fake_walsender){ .cuts_connection = true }, ERR_NET,
	    "broken off after");
	expect_failure((struct fake_walsender){ .cuts_connection = true, .is_13 = true }, ERR_NET,
	    "of about 1.0 MiB");
}

static void
test_errors_at_the_end(void **state)
{
	(void)state;
	expect_failure((struct fake_walsender){ .final_sqlstate = "53100" }, ERR_PEER,
	    "how it ends");
}

/* The only copy of a damaged cluster is not thrown away. */
static void
test_damage_at_the_source_is_kept_and_named(void **state)
{
	struct fake_walsender fake = {
		.final_sqlstate = "XX001",
		.warning = "checksum verification failed in file \"./base/5/16384\", block 3",
	};
	struct outcome outcome;
	const json_t *files;

	(void)state;
	back_up(&fake, false, &outcome);
	if (outcome.result < 0)
		fail_msg("%s", outcome.err.msg);
	assert_true(manifest_has_warning(outcome.store.draft, "damaged_at_source"));
	files = json_object_get(outcome.store.draft->content, "damaged_files");
	assert_int_equal(json_array_size(files), 1);
	assert_string_equal(json_string_value(json_array_get(files, 0)), "base/5/16384");
	outcome_done(&outcome);
}

static void
ask_to_stop(int number)
{
	(void)number;
	stop_request();
}

/* The last test: a stop is not taken back. */
static void
test_a_stop_ends_a_silent_stream(void **state)
{
	const struct itimerval soon = { .it_value = { .tv_usec = 300000 } };
	struct sigaction action = { .sa_handler = ask_to_stop };

	(void)state;
	assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
	expect_failure((struct fake_walsender){ .hangs = true }, ERR_CANCELLED, "");
}

static int
prepare(void **state)
{
	(void)state;
	stop_install();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_honest_server),
		cmocka_unit_test(test_a_server_of_13),
		cmocka_unit_test(test_what_differs_from_the_manifest),
		cmocka_unit_test(test_hostile_streams),
		cmocka_unit_test(test_a_broken_connection_says_how_far),
		cmocka_unit_test(test_errors_at_the_end),
		cmocka_unit_test(test_damage_at_the_source_is_kept_and_named),
		cmocka_unit_test(test_a_stop_ends_a_silent_stream),
	};

	return cmocka_run_group_tests(tests, prepare, NULL);
}
