#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "source/archive.h"
#include "source/postgres/wal/chain.h"
#include "source/postgres/wal/ranges.h"
#include "source/postgres/wal/reader.h"
#include "stream/blob.h"
#include "stream/crc32c.h"
#include "wal_world.h"

/*
 * Ranges that several threads read, against one chain that reads everything in order: what it finds
 * wrong, they must not confirm.
 */

enum { STEPS_MAX = 5 };

/* An archive that has the segments of a run in memory. */
struct memory_archive {
	struct archive base;
	const struct run *run;
};

struct memory_blob {
	struct blob base;
	char name[WAL_NAME_SIZE];
	const uint8_t *data;
};

static int
read_at(struct blob *base, uint64_t offset, void *data, size_t size, struct err *err)
{
	(void)err;
	assert_true(offset + size <= SEGMENT_BYTES);
	memcpy(data, ((struct memory_blob *)base)->data + offset, size);
	return 0;
}

static void
free_blob(struct blob *base)
{
	free(base);
}

static const struct blob_ops blob_ops = { .read_at = read_at, .free = free_blob };

static struct blob *
get(struct archive *base, const char *name, struct err *err)
{
	const struct run *run = ((struct memory_archive *)base)->run;
	struct memory_blob *blob;
	uint32_t timeline;
	uint64_t number;

	assert_true(wal_name_parse(name, SEGMENT_BYTES, &timeline, &number));
	for (size_t i = 0; i < run->segments.count; i++) {
		if (run->segments.items[i].number != number)
			continue;
		blob = xcalloc(1, sizeof(*blob));
		(void)snprintf(blob->name, sizeof(blob->name), "%s", name);
		blob->base = (struct blob){
			.ops = &blob_ops,
			.name = blob->name,
			.size_bytes = SEGMENT_BYTES,
		};
		blob->data = run->segments.items[i].data;
		return &blob->base;
	}
	(void)err_set(err, ERR_NOT_FOUND, "'%s' is not there", name);
	return NULL;
}

/* Nothing is before the first one. */
static int
index_list(struct archive *base, uint32_t branch, uint64_t first, uint64_t last,
    struct pieces *ret_pieces, struct err *err)
{
	(void)base, (void)branch, (void)first, (void)last, (void)ret_pieces, (void)err;
	return 0;
}

static const struct archive_ops archive_ops = { .get = get, .index_list = index_list };

static struct wal_link *
links_of(const struct run *run)
{
	struct wal_link *links = xcalloc(run->segments.count, sizeof(*links));

	for (size_t i = 0; i < run->segments.count; i++)
		links[i] = (struct wal_link){
			.timeline = run->segments.items[i].timeline,
			.number = run->segments.items[i].number,
			.form = WAL_FORM_PLAIN,
		};
	return links;
}

/* The first segment that is wrong, read in order; the count of them when none is. */
static size_t
first_wrong(const struct run *run)
{
	struct memory_archive archive = { .base = { .ops = &archive_ops }, .run = run };
	struct wal_chain chain = {
		.archive = &archive.base,
		.segment_bytes = SEGMENT_BYTES,
		.system_identifier = world.system_identifier,
	};
	struct wal_link *links = links_of(run);
	struct err err = ERR_INIT;
	size_t at = 0;

	for (; at < run->segments.count; at++) {
		struct wal_note note = { .segment_bytes = 0 };
		uint64_t crossing;
		int result = wal_chain_read(&chain, &links[at], NULL, &note, &crossing, &err);

		wal_note_done(&note);
		if (result < 0)
			break;
	}
	wal_chain_done(&chain);
	free(links);
	return at;
}

/* Ranges of a run under way, and what they have on loan. */
struct attempt {
	struct memory_archive archive;
	struct wal_link *links;
	struct wal_ranges *ranges;
};

static void
attempt_begin(struct attempt *attempt, const struct run *run, size_t step, unsigned workers,
    bool has_before)
{
	struct err err = ERR_INIT;

	*attempt = (struct attempt){
		.archive = { .base = { .ops = &archive_ops }, .run = run },
		.links = links_of(run),
	};
	const struct wal_ranges_options options = {
		.archive = &attempt->archive.base,
		.segment_bytes = SEGMENT_BYTES,
		.system_identifier = world.system_identifier,
		.workers = workers,
		.step = step,
		.links = attempt->links,
		.count = run->segments.count,
		.has_before = has_before,
	};
	attempt->ranges = wal_ranges_start(&options, &err);
	assert_non_null(attempt->ranges);
}

static bool
attempt_next(struct attempt *attempt)
{
	struct err err = ERR_INIT;
	bool is_sound;

	assert_int_equal(wal_ranges_next(attempt->ranges, &is_sound, &err), 0);
	return is_sound;
}

static void
attempt_end(struct attempt *attempt)
{
	wal_ranges_free(attempt->ranges);
	free(attempt->links);
}

/* For each segment: was it confirmed?  Yours. */
static bool *
confirm(const struct run *run, size_t step, unsigned workers, bool has_before)
{
	bool *confirmed = xcalloc(run->segments.count, sizeof(*confirmed));
	struct attempt attempt;

	attempt_begin(&attempt, run, step, workers, has_before);
	for (size_t i = 0; i < run->segments.count; i++)
		confirmed[i] = attempt_next(&attempt);
	attempt_end(&attempt);
	return confirmed;
}

/* What the chain finds wrong is not confirmed, whatever the ranges. */
static void
expect_found(const struct run *run, const char *what)
{
	size_t wrong = first_wrong(run);

	if (wrong == run->segments.count)
		fail_msg("%s: it is not even found in order", what);
	for (size_t step = 1; step <= STEPS_MAX; step++) {
		bool *confirmed = confirm(run, step, 2, false);

		if (confirmed[wrong])
			fail_msg("%s: segment %zu is confirmed in ranges of %zu", what, wrong,
			    step);
		free(confirmed);
	}
}

static struct run *const runs[] = { &world.plain, &world.crashed };

/* ---- tests -------------------------------------------------------------------------------- */

/* Does a record begin in this segment, and end in it or in one of the next `count` - 1? */
static bool
has_own(const struct segment *segment, size_t count)
{
	uint64_t begin = segment->number * SEGMENT_BYTES;

	for (size_t i = 0; i < world.records.count; i++) {
		const struct record *record = &world.records.items[i];

		if (record->lsn >= begin && record->end <= begin + count * SEGMENT_BYTES)
			return true;
	}
	return false;
}

static void
test_what_is_right_is_confirmed(void **state)
{
	size_t count = world.plain.segments.count;

	(void)state;
	for (size_t step = 1; step <= count + 1; step++) {
		for (unsigned workers = 1; workers <= 3; workers++) {
			bool *confirmed = confirm(&world.plain, step, workers, false);
			bool is_attached = true;

			/* All but what lies behind a range in which no record begins and ends. */
			for (size_t i = 0; i < count; i++) {
				size_t in_range = i % step;

				if (in_range == 0 && i > 0)
					is_attached = has_own(&world.plain.segments.items[i - step],
							  step) &&
					    has_own(&world.plain.segments.items[i],
						count - i < step ? count - i : step);
				if (is_attached)
					assert_true(confirmed[i]);
			}
			free(confirmed);
		}
	}
}

static void
test_the_first_waits_for_what_is_before_it(void **state)
{
	const struct run *run = &world.plain;
	bool *confirmed = confirm(run, 2, 2, true);

	(void)state;
	assert_false(confirmed[0]);
	assert_true(confirmed[run->segments.count - 1]);
	free(confirmed);
}

/* Around each boundary, and all over the place. */
static void
test_a_flipped_bit_is_not_confirmed(void **state)
{
	enum { EDGE = 64, STRIDE = 99991 };

	(void)state;
	for (size_t r = 0; r < ARRAY_SIZE(runs); r++) {
		const struct run *run = runs[r];

		for (size_t i = 0; i < run->segments.count; i++) {
			uint8_t *data = run->segments.items[i].data;

			for (size_t at = 0; at < SEGMENT_BYTES; at += at == 0 ? EDGE : STRIDE) {
				char what[80];

				(void)snprintf(what, sizeof(what), "run %zu, segment %zu, byte %zu",
				    r, i, at);
				data[at] ^= 1;
				/* Padding, and what follows a switch, is for no check to see. */
				if (first_wrong(run) < run->segments.count)
					expect_found(run, what);
				data[at] ^= 1;
			}
			data[SEGMENT_BYTES - EDGE] ^= 1;
			if (first_wrong(run) < run->segments.count)
				expect_found(run, "the end");
			data[SEGMENT_BYTES - EDGE] ^= 1;
		}
	}
}

static uint32_t
u32(const uint8_t *data)
{
	uint32_t value;

	memcpy(&value, data, sizeof(value));
	return value;
}

/* A record with a right checksum that follows another one than is there: as of another history. */
static void
test_a_record_that_hangs_on_another_one_is_not_confirmed(void **state)
{
	enum { HEADER = 24, AT_PREVIOUS = 8, AT_CRC = 20 };
	unsigned done = 0;

	(void)state;
	for (size_t i = 1; i < world.plain.segments.count; i++) {
		struct segment *segment = &world.plain.segments.items[i];
		uint64_t begin = segment->number * SEGMENT_BYTES;

		for (size_t n = 0; n < world.records.count; n++) {
			uint64_t lsn = world.records.items[n].lsn;
			uint8_t *record = segment->data + (lsn - begin);
			uint8_t kept[HEADER];
			uint32_t crc;

			if (lsn < begin || lsn >= begin + SEGMENT_BYTES)
				continue;
			/* Only the first one that begins here, and in one page. */
			if (lsn / 8192 != (world.records.items[n].end - 1) / 8192)
				break;
			memcpy(kept, record, sizeof(kept));
			record[AT_PREVIOUS] ^= 8;
			crc = crc32c(crc32c(0, record + HEADER, u32(record) - HEADER), record,
			    AT_CRC);
			memcpy(record + AT_CRC, &crc, sizeof(crc));
			expect_found(&world.plain, "a link");
			memcpy(record, kept, sizeof(kept));
			done++;
			break;
		}
	}
	assert_true(done > 2);
}

static void
test_one_that_cannot_be_read_is_not_confirmed(void **state)
{
	struct run *run = &world.plain;
	size_t middle = run->segments.count / 2;
	uint64_t number = run->segments.items[middle].number;

	(void)state;
	for (size_t step = 1; step <= STEPS_MAX; step++) {
		struct attempt attempt;
		bool is_sound = true;

		run->segments.items[middle].number = 0;
		attempt_begin(&attempt, run, step, 2, false);
		for (size_t i = 0; i <= middle; i++)
			is_sound = attempt_next(&attempt);
		assert_false(is_sound);
		/* Left in the middle: nobody waits for the rest. */
		attempt_end(&attempt);
		run->segments.items[middle].number = number;
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_right_is_confirmed),
		cmocka_unit_test(test_the_first_waits_for_what_is_before_it),
		cmocka_unit_test(test_a_flipped_bit_is_not_confirmed),
		cmocka_unit_test(test_a_record_that_hangs_on_another_one_is_not_confirmed),
		cmocka_unit_test(test_one_that_cannot_be_read_is_not_confirmed),
	};

	return cmocka_run_group_tests(tests, wal_world_start, wal_world_stop);
}
