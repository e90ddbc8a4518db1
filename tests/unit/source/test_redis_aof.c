/* The manifest of an AOF: what a server takes is taken, what it refuses is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/scope.h"
#include "source/redis/aof/manifest.h"
#include "source/redis/aof/reader.h"
#include "stream/sink.h"

#define BASE "file appendonly.aof.1.base.rdb seq 1 type b\n"
#define INCREMENT "file appendonly.aof.2.incr.aof seq 2 type i\n"
#define SET "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n"
#define MULTI "*1\r\n$5\r\nMULTI\r\n"

static void
what_a_server_writes_is_taken(void **state)
{
	static const char text[] = "# a remark\n" BASE
				   "file appendonly.aof.1.incr.aof seq 1 type h\n" INCREMENT;
	struct aof_manifest manifest;
	struct err err = ERR_INIT;
	char *formatted;

	(void)state;
	assert_int_equal(aof_manifest_parse(text, sizeof(text) - 1, &manifest, &err), 0);
	assert_int_equal(manifest.files.count, 3);
	assert_string_equal(manifest.files.items[2].name, "appendonly.aof.2.incr.aof");
	assert_int_equal(manifest.files.items[2].seq, 2);
	assert_int_equal(manifest.files.items[1].type, AOF_HISTORY);
	formatted = aof_manifest_format(&manifest);
	assert_string_equal(formatted, BASE INCREMENT);
	free(formatted);
	aof_manifest_done(&manifest);
}

static void
what_it_refuses_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"file a seq 1 type i",
		"\n",
		"file a seq 1\n",
		"file a seq 1 type i more\n",
		"file a seq 0 type i\n",
		"file a seq -1 type i\n",
		"file a seq 1 type x\n",
		"file ../a seq 1 type i\n",
		"file d/a seq 1 type i\n",
		"file .a seq 1 type i\n",
		"file \"a\" seq 1 type i\n",
		"seq 1 type i seq 1\n",
		BASE "file b seq 2 type b\n",
		INCREMENT "file b seq 2 type i\n",
		INCREMENT "file b seq 1 type i\n",
		BASE "file appendonly.aof.1.base.rdb seq 3 type i\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct aof_manifest manifest;
		struct err err = ERR_INIT;

		assert_int_equal(aof_manifest_parse(bad[i], strlen(bad[i]), &manifest, &err), -1);
		assert_int_equal(err.kind, ERR_DATA);
	}
}

/* Read one file; its summary. */
static int
read_file(struct aof_reader *reader, const char *text)
{
	struct sink *sink = aof_reader_file(reader, "a");
	struct err err = ERR_INIT;
	int result = sink_write(sink, text, strlen(text), &err);

	if (result == 0)
		result = sink_finish(sink, &err);
	sink_free(sink);

	return result;
}

static void
a_torn_end_counts_up_to_the_last_whole_command(void **state)
{
	static const struct {
		const char *text;
		size_t good_bytes;
		unsigned commands;
	} files[] = {
		{ "", 0, 0 },
		{ SET, sizeof(SET) - 1, 1 },
		{ SET "*3\r\n$3\r\nSE", sizeof(SET) - 1, 1 },
		{ SET "*", sizeof(SET) - 1, 1 },
		{ SET MULTI SET, sizeof(SET) - 1, 3 },
		{ "#TS:1764000000\r\n" SET, sizeof("#TS:1764000000\r\n" SET) - 1, 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct aof_reader *reader = aof_reader_new();
		const struct aof_summary *summary = aof_reader_summary(reader);

		assert_int_equal(read_file(reader, files[i].text), 0);
		assert_int_equal(summary->good_bytes, files[i].good_bytes);
		assert_int_equal(summary->is_cut, files[i].good_bytes < strlen(files[i].text));
		assert_int_equal(summary->commands, files[i].commands);
		/* In front of another file it is damage. */
		assert_int_equal(read_file(reader, SET), summary->is_cut ? -1 : 0);
		aof_reader_free(reader);
	}
}

static void
what_is_no_command_is_damage(void **state)
{
	static const char *const bad[] = { ("\n" SET), "what\r\n", "*1\r\n$-2\r\n", "REDIS what" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct aof_reader *reader = aof_reader_new();

		assert_int_equal(read_file(reader, bad[i]), -1);
		aof_reader_free(reader);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_server_writes_is_taken),
		cmocka_unit_test(what_it_refuses_is_refused),
		cmocka_unit_test(a_torn_end_counts_up_to_the_last_whole_command),
		cmocka_unit_test(what_is_no_command_is_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
