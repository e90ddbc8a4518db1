/* Times of expiry, in commands of a stream and in a file: kept, shifted, taken away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "source/redis/crc64.h"
#include "source/redis/rdb_reader.h"
#include "source/redis/rdb_summary.h"
#include "source/redis/replay/expiry.h"
#include "source/redis/replay/tail_writer.h"
#include "source/redis/resp.h"
#include "stream/links.h"
#include "stream/sink.h"

#define HOUR_US (3600 * US_PER_S)

static const struct expiry_policy shift = { .ttl = RESTORE_TTL_SHIFT, .shift_us = HOUR_US };
static const struct expiry_policy persist = { .ttl = RESTORE_TTL_PERSIST };
static const struct expiry_policy keep = { .ttl = RESTORE_TTL_KEEP, .shift_us = HOUR_US };

/* Words apart by blanks, as a command. */
static void
add(struct str *to, const char *line)
{
	char copy[256];
	const char *words[16] = { NULL };
	size_t count = 0;

	(void)snprintf(copy, sizeof(copy), "%s", line);
	for (char *at = copy, *save = NULL; (at = strtok_r(at, " ", &save)) != NULL; at = NULL)
		words[count++] = at;
	resp_add_command(to, words);
}

static void
expect_change(const struct expiry_policy *policy, const char *from, const char *to)
{
	SCOPED(str_done) struct str before = STR_INIT;
	SCOPED(str_done) struct str after = STR_INIT;
	SCOPED(str_done) struct str wanted = STR_INIT;
	char name[32];
	uint64_t changed = 0;
	struct err err = ERR_INIT;

	add(&before, from);
	add(&wanted, to);
	(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(from, " "), from);
	assert_int_equal(expiry_add_command(policy, name, before.data, before.size, &after,
			     &changed, &err),
	    0);
	assert_string_equal(str_text(&after), str_text(&wanted));
	assert_int_equal(changed, strcmp(from, to) != 0);
}

static void
test_times_are_shifted(void **state)
{
	(void)state;
	expect_change(&shift, "PEXPIREAT key 1764000000000", "PEXPIREAT key 1764003600000");
	expect_change(&shift, "EXPIREAT key 1764000000", "EXPIREAT key 1764003600");
	expect_change(&shift, "SET key PXAT PXAT 1764000000000", "SET key PXAT PXAT 1764003600000");
	expect_change(&shift, "SET key value KEEPTTL", "SET key value KEEPTTL");
	expect_change(&shift, "SET key value NX exat 1764000000",
	    "SET key value NX exat 1764003600");
	expect_change(&shift, "GETEX key PXAT 1764000000000", "GETEX key PXAT 1764003600000");
	expect_change(&shift, "RESTORE key 1764000000000 bytes ABSTTL",
	    "RESTORE key 1764003600000 bytes ABSTTL");
	expect_change(&shift, "RESTORE key 0 bytes ABSTTL", "RESTORE key 0 bytes ABSTTL");
	expect_change(&shift, "HPEXPIREAT hash 1764000000000 NX FIELDS 1 a",
	    "HPEXPIREAT hash 1764003600000 NX FIELDS 1 a");
	expect_change(&shift, "HSETEX hash PXAT 1764000000000 FIELDS 1 a PXAT",
	    "HSETEX hash PXAT 1764003600000 FIELDS 1 a PXAT");
	expect_change(&shift, "HSETEX hash FIELDS 1 PXAT 1", "HSETEX hash FIELDS 1 PXAT 1");
	/* What only looks like it. */
	expect_change(&shift, "RPUSH key PXAT 1764000000000", "RPUSH key PXAT 1764000000000");
}

static void
test_times_are_taken_away(void **state)
{
	(void)state;
	expect_change(&persist, "PEXPIREAT key 1764000000000 GT", "PERSIST key");
	expect_change(&persist, "SET key value XX PXAT 1764000000000", "SET key value XX");
	expect_change(&persist, "GETEX key EXAT 1764000000", "GETEX key PERSIST");
	expect_change(&persist, "RESTORE key 1764000000000 bytes ABSTTL",
	    "RESTORE key 0 bytes ABSTTL");
	expect_change(&persist, "HPEXPIREAT hash 1764000000000 NX FIELDS 2 a b",
	    "HPERSIST hash FIELDS 2 a b");
}

static void
test_times_are_kept(void **state)
{
	(void)state;
	expect_change(&keep, "PEXPIREAT key 1764000000000", "PEXPIREAT key 1764000000000");
}

static void
test_a_time_that_is_none_is_refused(void **state)
{
	SCOPED(str_done) struct str before = STR_INIT;
	SCOPED(str_done) struct str after = STR_INIT;
	struct err err = ERR_INIT;
	uint64_t changed = 0;

	(void)state;
	add(&before, "PEXPIREAT key soon");
	assert_int_equal(expiry_add_command(&shift, "PEXPIREAT", before.data, before.size, &after,
			     &changed, &err),
	    -1);
	/* Cut short: never read beyond. */
	for (size_t size = 0; size < before.size; size++)
		assert_int_equal(expiry_add_command(&shift, "PEXPIREAT", before.data, size, &after,
				     &changed, &err),
		    -1);
}

/* ---- the tail ----------------------------------------------------------------------------------- */

static void
test_what_is_for_replicas_is_left_out(void **state)
{
	SCOPED(str_done) struct str stream = STR_INIT;
	SCOPED(str_done) struct str wanted = STR_INIT;

	(void)state;
	add(&stream, "ping");
	add(&stream, "SET a 1");
	add(&stream, "publish news hello");
	add(&stream, "REPLCONF GETACK *");
	add(&stream, "set b 2 PXAT 1764000000000");
	add(&wanted, "SELECT 7");
	str_add(&wanted, "#TS:1764000000\r\n");
	add(&wanted, "SET a 1");
	add(&wanted, "set b 2 PXAT 1764003600000");
	for (size_t step = 1; step < stream.size; step += 7) {
		SCOPED(str_done) struct str written = STR_INIT;
		SCOPED(sink_freep) struct sink *to = str_sink_new(&written);
		SCOPED(tail_writer_done) struct tail_writer writer;
		struct err err = ERR_INIT;

		assert_int_equal(tail_writer_init(&writer, to, 7, &shift, true, &err), 0);
		assert_int_equal(writer.base.time(&writer.base,
				     (struct wall_time){ 1764000000 * US_PER_S }, &err),
		    0);
		for (size_t at = 0; at < stream.size; at += step) {
			size_t size = stream.size - at < step ? stream.size - at : step;

			assert_int_equal(writer.base.bytes(&writer.base, stream.data + at, size,
					     &err),
			    0);
		}
		assert_string_equal(str_text(&written), str_text(&wanted));
		assert_int_equal(writer.commands, 2);
		assert_int_equal(writer.changed, 1);
	}
}

/* ---- a file ------------------------------------------------------------------------------------- */

static void
add_le(struct str *to, uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		str_add_char(to, (char)(value >> (8 * i)));
}

/* Two keys with a time, one of each width, one without, padded so that times fall anywhere. */
static void
make_file(struct str *to, uint64_t ms, uint32_t s, size_t padding, bool has_times)
{
	struct crc64 crc;

	str_add(to, "REDIS0010");
	str_add_bytes(to, "\xfa\x01x", 3);
	str_add_char(to, (char)padding);
	for (size_t i = 0; i < padding; i++)
		str_add_char(to, 'p');
	str_add_bytes(to, "\xfe\x00", 2);
	if (has_times) {
		str_add_char(to, (char)0xfc);
		add_le(to, ms, 8);
	}
	str_add_bytes(to,
	    "\x00\x01"
	    "a"
	    "\x01"
	    "1",
	    5);
	str_add_bytes(to,
	    "\x00\x01"
	    "b"
	    "\x01"
	    "2",
	    5);
	if (has_times) {
		str_add_char(to, (char)0xfd);
		add_le(to, s, 4);
	}
	str_add_bytes(to,
	    "\x00\x01"
	    "c"
	    "\x01"
	    "3",
	    5);
	str_add_char(to, (char)0xff);
	crc64_init(&crc);
	crc64_add(&crc, to->data, to->size);
	add_le(to, crc.value, 8);
}

static void
expect_file(const struct expiry_policy *policy, const struct str *from, size_t step,
    const struct str *wanted, uint64_t changed)
{
	SCOPED(str_done) struct str written = STR_INIT;
	struct expiry_report report;
	struct err err = ERR_INIT;
	SCOPED(sink_freep)
	struct sink *sink = expiry_sink_new(str_sink_new(&written), policy, &report);

	for (size_t at = 0; at < from->size; at += step) {
		size_t size = from->size - at < step ? from->size - at : step;

		assert_int_equal(sink_write(sink, from->data + at, size, &err), 0);
	}
	assert_int_equal(sink_finish(sink, &err), 0);
	assert_int_equal(report.changed, changed);
	assert_int_equal(written.size, wanted->size);
	assert_memory_equal(written.data, wanted->data, wanted->size);
}

static void
test_a_file_is_changed_in_place(void **state)
{
	(void)state;
	for (size_t padding = 1; padding < 20; padding++) {
		SCOPED(str_done) struct str file = STR_INIT;
		SCOPED(str_done) struct str shifted = STR_INIT;
		SCOPED(str_done) struct str persisted = STR_INIT;

		make_file(&file, 1764000000000, 1764000000, padding, true);
		make_file(&shifted, 1764003600000, 1764003600, padding, true);
		make_file(&persisted, 0, 0, padding, false);
		for (size_t step = 1; step <= file.size; step++) {
			expect_file(&shift, &file, step, &shifted, 2);
			expect_file(&persist, &file, step, &persisted, 2);
		}
	}
}

static void
test_a_damaged_file_is_not_made_right(void **state)
{
	SCOPED(str_done) struct str file = STR_INIT;
	SCOPED(str_done) struct str written = STR_INIT;
	struct expiry_report report;
	struct err err = ERR_INIT;

	(void)state;
	make_file(&file, 1764000000000, 1764000000, 3, true);
	file.data[file.size - 12] ^= 1; /* in the last value */
	SCOPED(sink_freep)
	struct sink *sink = expiry_sink_new(str_sink_new(&written), &shift, &report);
	assert_int_equal(sink_write(sink, file.data, file.size, &err), 0);
	assert_int_equal(sink_finish(sink, &err), -1);
	assert_int_equal(err.kind, ERR_DATA);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_times_are_shifted),
		cmocka_unit_test(test_times_are_taken_away),
		cmocka_unit_test(test_times_are_kept),
		cmocka_unit_test(test_a_time_that_is_none_is_refused),
		cmocka_unit_test(test_what_is_for_replicas_is_left_out),
		cmocka_unit_test(test_a_file_is_changed_in_place),
		cmocka_unit_test(test_a_damaged_file_is_not_made_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
