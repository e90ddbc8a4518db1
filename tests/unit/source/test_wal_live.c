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
#include "source/postgres/lsn.h"
#include "source/postgres/wal/history.h"
#include "source/postgres/wal/reader.h"
#include "wal_world.h"

/*
 * What the reader says of it beside the server's own pg_waldump, and of every damage that the checks
 * promise to find.
 */

/* ---- helpers ------------------------------------------------------------------------------ */

static struct wal_options
options_of(const struct segment *first)
{
	return (struct wal_options){
		.depth = WAL_DEPTH_RECORDS,
		.timeline = first->timeline,
		.segment = first->number,
		.segment_bytes = SEGMENT_BYTES,
		.system_identifier = world.system_identifier,
		.server_major = (int)world.major,
	};
}

/* Read `count` segments in pieces of `step` bytes.  The reader is yours. */
static struct wal_reader *
read_run(const struct wal_options *options, const struct segment *segments, size_t count,
    size_t step, int *ret_result, struct err *err)
{
	struct wal_reader *reader = wal_reader_new(options);
	int result = 0;

	for (size_t i = 0; i < count && result == 0; i++) {
		result = wal_reader_segment(reader, segments[i].timeline, segments[i].number, err);
		for (size_t at = 0; at < SEGMENT_BYTES && result == 0; at += step)
			result = wal_reader_feed(reader, segments[i].data + at,
			    SEGMENT_BYTES - at < step ? SEGMENT_BYTES - at : step, err);
	}
	if (result == 0)
		result = wal_reader_finish(reader, err);
	*ret_result = result;
	return reader;
}

static bool
is_whole(const struct wal_options *options, const struct segment *segments, size_t count,
    struct err *err)
{
	int result;

	wal_reader_free(read_run(options, segments, count, 65536, &result, err));
	return result == 0;
}

static void
expect_damage(const struct wal_options *options, const struct segment *segments, size_t count,
    const char *says)
{
	struct err err = ERR_INIT;

	assert_false(is_whole(options, segments, count, &err));
	assert_int_equal(err.kind, ERR_DATA);
	if (strstr(err.msg, says) == NULL)
		fail_msg("'%s' does not say '%s'", err.msg, says);
}

/* ---- tests -------------------------------------------------------------------------------- */

static void
test_it_reads_what_pg_waldump_reads(void **state)
{
	static const size_t steps[] = { SEGMENT_BYTES, 65536, 8192, 8191, 24, 7, 1 };
	const struct segment *segments = world.plain.segments.items;
	const struct wal_options options = options_of(&segments[0]);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct err err = ERR_INIT;
		int result;
		struct wal_reader *reader = read_run(&options, segments, world.plain.segments.count,
		    steps[i], &result, &err);
		const struct wal_summary *summary = wal_reader_summary(reader);
		char time[CLOCK_TEXT_SIZE];

		if (result < 0)
			fail_msg("in pieces of %zu: %s", steps[i], err.msg);
		assert_int_equal(summary->records, world.records.count);
		assert_int_equal(summary->first_lsn, world.records.items[0].lsn);
		assert_int_equal(summary->last_lsn,
		    world.records.items[world.records.count - 1].lsn);
		assert_int_equal(summary->end_lsn,
		    (segments[world.plain.segments.count - 1].number + 1) * SEGMENT_BYTES);
		assert_int_equal(summary->open_lsn, 0);
		assert_int_equal(summary->commits, world.commits);
		/* "2026-01-02 03:04:05.123456" and the same with a T. */
		(void)clock_format(summary->last_commit, time);
		time[10] = ' ';
		assert_memory_equal(time, world.last_commit, 26);
		assert_int_equal(summary->restore_points, 1);
		assert_string_equal(summary->points.items[0].name, "before the flood");
		assert_int_equal(summary->switches.count, 0);
		wal_reader_free(reader);
	}
}

static void
test_a_segment_alone(void **state)
{
	uint64_t records = 0, crossing = 0;

	(void)state;
	for (size_t i = 0; i < world.plain.segments.count; i++) {
		const struct wal_options options = options_of(&world.plain.segments.items[i]);
		struct err err = ERR_INIT;
		int result;
		struct wal_reader *reader = read_run(&options, &world.plain.segments.items[i], 1,
		    4096, &result, &err);

		if (result < 0)
			fail_msg("%s", err.msg);
		records += wal_reader_summary(reader)->records;
		crossing += wal_reader_summary(reader)->open_lsn != 0;
		wal_reader_free(reader);
	}
	assert_true(crossing > 1);
	assert_int_equal(records + crossing, world.records.count);
}

static void
test_it_starts_where_it_is_told(void **state)
{
	const struct segment *segments = world.plain.segments.items;

	(void)state;
	for (size_t i = 0; i < world.records.count; i += world.records.count / 37) {
		struct wal_options options = options_of(&segments[0]);
		size_t skip;
		struct err err = ERR_INIT;
		int result;
		struct wal_reader *reader;

		options.start_lsn = world.records.items[i].lsn;
		options.segment = options.start_lsn / SEGMENT_BYTES;
		skip = (size_t)(options.segment - segments[0].number);
		reader = read_run(&options, segments + skip, world.plain.segments.count - skip,
		    8192, &result, &err);
		if (result < 0)
			fail_msg("%s", err.msg);
		assert_int_equal(wal_reader_summary(reader)->first_lsn, options.start_lsn);
		assert_int_equal(wal_reader_summary(reader)->records, world.records.count - i);
		wal_reader_free(reader);
	}
}

/* Bytes that nothing covers: padding of page headers and records, and a flag that says nothing. */
static bool
is_free(uint64_t lsn, unsigned bit)
{
	uint64_t offset = lsn % 8192;

	if ((offset >= 20 && offset < 24) || (offset == 2 && bit == 2))
		return true;
	for (size_t i = 0; i < world.records.count; i++) {
		uint64_t end = world.records.items[i].end;

		if (lsn >= end && lsn < ((end + 7) & ~UINT64_C(7)))
			return true;
	}
	return false;
}

static void
flip(size_t first, size_t count, size_t at, unsigned bit)
{
	struct segment *segments = world.plain.segments.items;
	const struct wal_options options = options_of(&segments[first]);
	uint8_t *byte = &segments[first + at / SEGMENT_BYTES].data[at % SEGMENT_BYTES];
	uint64_t lsn = segments[first].number * SEGMENT_BYTES + at;
	struct err err = ERR_INIT;

	*byte ^= (uint8_t)(1u << bit);
	if (is_whole(&options, segments + first, count, &err) && !is_free(lsn, bit))
		fail_msg("bit %u of %llX: not found", bit, (unsigned long long)lsn);
	*byte ^= (uint8_t)(1u << bit);
	assert_true(err.kind == ERR_NONE || strstr(err.msg, "WAL segment 0000") != NULL);
}

static void
test_every_flipped_bit_is_found(void **state)
{
	size_t count = world.plain.segments.count;
	uint64_t random = 88172645463325252u;

	(void)state;
	/* Each byte of two small segments, from their heads into their empty tails. */
	for (size_t at = 0; at < 2500; at++)
		flip(count - 1, 1, at, (unsigned)(at % 8));
	for (unsigned i = 0; i < 1500; i++) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		flip(0, count, (size_t)(random % (count * SEGMENT_BYTES)), (unsigned)(i % 8));
	}
}

static void
test_what_is_missing(void **state)
{
	struct segment *segments = world.plain.segments.items;
	size_t count = world.plain.segments.count;
	struct wal_options options = options_of(&segments[0]);
	struct segment changed[2] = { segments[0], segments[1] };
	uint8_t *zeroed = xmalloc(SEGMENT_BYTES);
	struct wal_reader *reader;
	struct err err = ERR_INIT;
	int result;

	(void)state;
	/* A segment lost, two whose contents are swapped, one of another system. */
	changed[1] = segments[2];
	expect_damage(&options, changed, 2, "is missing");
	changed[0].data = segments[1].data;
	expect_damage(&options, changed, 1, "of another place");
	options.system_identifier++;
	expect_damage(&options, segments, count, "another system");
	options = options_of(&segments[0]);
	options.server_major = 14;
	expect_damage(&options, segments, count, "PostgreSQL 14");
	options = options_of(&segments[0]);
	options.segment_bytes *= 2;
	options.segment /= 2;
	expect_damage(&options, segments + segments[0].number % 2, 1, "");

	/* Cut off, and the lost part filled with zeros: whole only if it was still being written. */
	options = options_of(&segments[0]);
	reader = wal_reader_new(&options);
	assert_int_equal(wal_reader_feed(reader, segments[0].data, 300000, &err), 0);
	assert_int_equal(wal_reader_finish(reader, &err), -1);
	assert_non_null(strstr(err.msg, "cut off"));
	wal_reader_free(reader);
	for (size_t keep = 8192; keep < 5 * 8192; keep += 1111) {
		memcpy(zeroed, segments[0].data, SEGMENT_BYTES);
		memset(zeroed + keep, 0, SEGMENT_BYTES - keep);
		changed[0] = segments[0];
		changed[0].data = zeroed;
		options = options_of(&segments[0]);
		expect_damage(&options, changed, 1, "is damaged at");
	}
	memset(zeroed, 0, SEGMENT_BYTES);
	expect_damage(&options, changed, 1, "begins with zeros");
	options.is_unfinished = true;
	reader = read_run(&options, changed, 1, 4096, &result, &err);
	assert_int_equal(result, 0);
	assert_int_equal(wal_reader_summary(reader)->records, 0);
	wal_reader_free(reader);
	/* Up to the end of a record. */
	memcpy(zeroed, segments[0].data, (size_t)(world.records.items[20].end % SEGMENT_BYTES));
	reader = read_run(&options, changed, 1, 4096, &result, &err);
	assert_int_equal(result, 0);
	assert_int_equal(wal_reader_summary(reader)->records, 21);
	assert_int_equal(wal_reader_summary(reader)->end_lsn,
	    (world.records.items[20].end + 7) & ~UINT64_C(7));
	wal_reader_free(reader);
	free(zeroed);
}

static void
test_an_unknown_version_has_its_pages_checked(void **state)
{
	struct segment segment = world.plain.segments.items[0];
	struct wal_options options = options_of(&segment);
	struct wal_reader *reader;
	struct err err = ERR_INIT;
	int result;

	(void)state;
	options.server_major = 0;
	segment.data = xmalloc(SEGMENT_BYTES);
	memcpy(segment.data, world.plain.segments.items[0].data, SEGMENT_BYTES);
	for (size_t page = 0; page < SEGMENT_BYTES; page += 8192)
		segment.data[page] = 0x77;
	reader = read_run(&options, &segment, 1, 8192, &result, &err);
	assert_int_equal(result, 0);
	assert_int_equal(wal_reader_summary(reader)->depth, WAL_DEPTH_PAGES);
	assert_int_equal(wal_reader_summary(reader)->records, 0);
	wal_reader_free(reader);
	segment.data[3 * 8192 + 9] ^= 1;
	expect_damage(&options, &segment, 1, "(byte 24576)");
	free(segment.data);
}

static void
test_a_timeline_switches_inside_a_segment(void **state)
{
	struct segment *segments = world.promoted.segments.items;
	struct wal_options options = options_of(&segments[0]);
	char *path = path_join(world.folder, "promoted/pg_wal/00000002.history");
	struct str text = STR_INIT;
	struct wal_history history;
	struct err err = ERR_INIT;
	uint64_t left;
	int result;
	struct wal_reader *reader = read_run(&options, segments, world.promoted.segments.count,
	    8192, &result, &err);
	const struct wal_summary *summary = wal_reader_summary(reader);

	(void)state;
	if (result < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(summary->switches.count, 1);
	assert_int_equal(summary->switches.items[0].timeline, 2);
	assert_int_equal(summary->switches.items[0].parent, 1);
	assert_int_equal(file_read_all(path, 4096, &text, &err), 0);
	assert_int_equal(wal_history_parse(2, text.data, text.size, &history, &err), 0);
	assert_true(wal_history_switch(&history, 1, &left));
	assert_int_equal(left, summary->switches.items[0].lsn);
	assert_true(wal_history_has(&history, 1, left - 1));
	assert_true(wal_history_has(&history, 2, left));
	wal_history_done(&history);
	wal_reader_free(reader);
	str_done(&text);
	free(path);
	/* Under the name of the timeline before, it is not what it says. */
	options.timeline = 1;
	segments[0].timeline = 1;
	expect_damage(&options, segments, 1, "timeline 2");
	segments[0].timeline = 2;
}

static void
test_half_a_record_was_lost_in_a_crash(void **state)
{
	struct segment *segments = world.crashed.segments.items;
	size_t count = world.crashed.segments.count;
	const struct wal_options options = options_of(&segments[0]);
	struct err err = ERR_INIT;
	bool has_overwritten = false;

	(void)state;
	if (!is_whole(&options, segments, count, &err))
		fail_msg("%s", err.msg);
	for (size_t i = 0; i < count; i++) {
		for (size_t page = 0; page < SEGMENT_BYTES; page += 8192) {
			if ((segments[i].data[page + 2] & 8) == 0)
				continue;
			has_overwritten = true;
			segments[i].data[page + 2] ^= 8;
			expect_damage(&options, segments, count, "does not continue");
			segments[i].data[page + 2] ^= 8;
		}
	}
	assert_true(has_overwritten);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_reads_what_pg_waldump_reads),
		cmocka_unit_test(test_a_segment_alone),
		cmocka_unit_test(test_it_starts_where_it_is_told),
		cmocka_unit_test(test_every_flipped_bit_is_found),
		cmocka_unit_test(test_what_is_missing),
		cmocka_unit_test(test_an_unknown_version_has_its_pages_checked),
		cmocka_unit_test(test_a_timeline_switches_inside_a_segment),
		cmocka_unit_test(test_half_a_record_was_lost_in_a_crash),
	};

	return cmocka_run_group_tests(tests, wal_world_start, wal_world_stop);
}
