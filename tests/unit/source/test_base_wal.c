#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "source/postgres/base/wal.h"
#include "source/postgres/lsn.h"
#include "stream/crc32c.h"
#include "stream/tar_push.h"

/* Two segments of empty records, END_AT in the second; behind it lies what recycling left there. */
enum {
	SEGMENT_BYTES = 1024 * 1024,
	FIRST = 3,
	START_AT = FIRST * SEGMENT_BYTES + 40 + 10 * 24,
	END_AT = (FIRST + 1) * SEGMENT_BYTES + 40 + 24 * 100,
	SYSTEM = 42,
};

static void
put(uint8_t *to, uint64_t value, size_t size)
{
	for (size_t i = 0; i < size; i++)
		to[i] = (uint8_t)(value >> (8 * i));
}

static void
fill(uint8_t *data, uint64_t segment, unsigned magic)
{
	uint64_t at = segment * SEGMENT_BYTES;
	uint64_t end = at + SEGMENT_BYTES < END_AT ? at + SEGMENT_BYTES : END_AT;
	static const size_t per_page = (8192 - 24) / 24;

	memset(data, 0xAA, SEGMENT_BYTES);
	for (uint64_t page = at; page < end; page += 8192) {
		uint8_t *header = data + (page - at);
		size_t size = page == at ? 40 : 24;

		memset(header, 0, 8192);
		put(header, magic, 2);
		put(header + 2, page == at ? 2 : 0, 2);
		put(header + 4, 1, 4);
		put(header + 8, page, 8);
		if (page == at) {
			put(header + 24, SYSTEM, 8);
			put(header + 32, SEGMENT_BYTES, 4);
			put(header + 36, 8192, 4);
		}
		/* 340 records and 8 bytes are a page; the first has 16 bytes less for them. */
		for (size_t i = 0; i < per_page; i++) {
			uint8_t *record = header + size + i * 24;
			uint64_t lsn = page + size + i * 24;
			uint64_t before = lsn - 24;
			bool is_last = i + 1 == per_page - (page == at);

			if (i == 0)
				before = page - 8192 +
				    ((page - 8192) % SEGMENT_BYTES == 0 ? 40 + (per_page - 2) * 24
									: 24 + (per_page - 1) * 24);
			/* The last one takes what is left of the page. */
			put(record, is_last ? 8192 - (lsn - page) : 24, 4);
			put(record + 8, before, 8);
			record[16] = 0x20;
			put(record + 20,
			    crc32c(crc32c(0, record + 24, is_last ? 8192 - (lsn - page) - 24 : 0),
				record, 20),
			    4);
			if (is_last)
				break;
		}
	}
}

struct backup {
	uint8_t *segments[2];
	unsigned magic;
	int server_major;
	uint32_t timeline; /* of the names */
	uint64_t start_lsn;
	uint64_t end_lsn;
	uint32_t end_timeline;
};

static struct backup
make_backup(unsigned magic)
{
	struct backup backup = {
		.magic = magic,
		.server_major = 15,
		.timeline = 1,
		.start_lsn = START_AT,
		.end_lsn = END_AT,
		.end_timeline = 1,
	};

	for (size_t i = 0; i < 2; i++) {
		backup.segments[i] = xmalloc(SEGMENT_BYTES);
		fill(backup.segments[i], FIRST + i, magic);
	}
	return backup;
}

static void
backup_done(struct backup *backup)
{
	free(backup->segments[0]);
	free(backup->segments[1]);
}

static int
check(const struct backup *backup, struct base_wal_result *ret_result, struct err *err)
{
	const struct base_wal_options options = {
		.segment_bytes = SEGMENT_BYTES,
		.system_identifier = SYSTEM,
		.server_major = backup->server_major,
		.start_timeline = 1,
		.start_lsn = backup->start_lsn,
	};
	const struct tar_entry entry = { .type = TAR_FILE, .size_bytes = SEGMENT_BYTES };
	SCOPED(base_wal_freep) struct base_wal *wal = base_wal_new(&options);

	base_wal_begin(wal, "base/1/1259", &entry);
	base_wal_data(wal, "junk", 4);
	base_wal_end(wal);
	for (size_t i = 0; i < 2; i++) {
		char name[WAL_NAME_SIZE];
		SCOPED(freep)
		char *path = xasprintf("pg_wal/%s",
		    wal_name_format(backup->timeline, FIRST + i, SEGMENT_BYTES, name));

		if (backup->segments[i] == NULL)
			continue;
		base_wal_begin(wal, path, &entry);
		base_wal_data(wal, backup->segments[i], SEGMENT_BYTES);
		base_wal_end(wal);
	}
	*err = (struct err)ERR_INIT;
	return base_wal_finish(wal, backup->end_timeline, backup->end_lsn, ret_result, err);
}

static void
expect_refused(const struct backup *backup, const char *says)
{
	struct base_wal_result result;
	struct err err;

	assert_int_equal(check(backup, &result, &err), -1);
	assert_int_equal(err.kind, ERR_DATA);
	if (strstr(err.msg, says) == NULL)
		fail_msg("'%s' does not say '%s'", err.msg, says);
}

static void
expect_depth(const struct backup *backup, enum base_wal_depth depth)
{
	struct base_wal_result result;
	struct err err;

	if (check(backup, &result, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(result.depth, depth);
	assert_true(depth != BASE_WAL_RECORDS || result.records > 10000);
}

static void
test_whole_up_to_the_end(void **state)
{
	struct backup backup = make_backup(0xD110);

	(void)state;
	expect_depth(&backup, BASE_WAL_RECORDS);
	/* Before the start and behind the end nothing counts. */
	backup.segments[0][40 + 3 * 24 + 16] ^= 1;
	backup.segments[1][8192 + 4] ^= 1;
	expect_depth(&backup, BASE_WAL_RECORDS);
	backup.end_lsn += 16384;
	expect_refused(&backup, "000000010000000000000004 is damaged at 0/402000");
	backup_done(&backup);
}

static void
test_what_is_not_whole(void **state)
{
	struct backup backup = make_backup(0xD110);
	uint8_t *taken = backup.segments[1];

	(void)state;
	backup.segments[0][5 * 8192 + 24 + 16] ^= 1;
	expect_refused(&backup, "000000010000000000000003 is damaged at 0/30A018 (byte 40984)");
	backup.segments[0][5 * 8192 + 24 + 16] ^= 1;
	backup.start_lsn += 8;
	expect_refused(&backup, "is damaged");
	backup.start_lsn = START_AT;
	backup.segments[1] = NULL;
	expect_refused(&backup, "the WAL ends at 0/400000, the backup needs it up to 0/400988");
	backup.segments[1] = taken;
	taken = backup.segments[0];
	backup.segments[0] = NULL;
	expect_refused(&backup, "000000010000000000000003 is missing");
	backup.segments[0] = taken;
	backup.server_major = 17;
	expect_refused(&backup, "PostgreSQL 17");
	backup_done(&backup);
}

/* Give an empty record the checksum that belongs to it. */
static void
sum_up(uint8_t *record)
{
	put(record + 20, crc32c(0, record, 20), 4);
}

static void
test_sound_records_that_do_not_belong_here(void **state)
{
	struct backup backup = make_backup(0xD110);
	uint8_t *page = backup.segments[0] + 5 * 8192;
	uint8_t *first = page + 24, *second = first + 24;

	(void)state;
	put(second + 8, 0x30A020, 8);
	sum_up(second);
	expect_refused(&backup, "the one before began at 0/30A020, not at 0/30A018");
	put(second + 8, 0x30A018, 8);
	sum_up(second);
	expect_depth(&backup, BASE_WAL_RECORDS);
	/* One that stands for a lost one, and a page that announces such a record. */
	second[16] = 0xD0;
	sum_up(second);
	expect_refused(&backup, "the page does not say so");
	second[16] = 0x20;
	sum_up(second);
	page[2] = 8;
	expect_refused(&backup, "its first one does not say so");
	first[17] = 10;
	sum_up(first);
	expect_refused(&backup, "at 0/30A018 (byte 40984): the page replaces a record, but");
	page[2] = 0;
	expect_depth(&backup, BASE_WAL_RECORDS);
	backup_done(&backup);
}

static void
test_what_cannot_be_read_to_its_records(void **state)
{
	struct backup backup = make_backup(0xDEAD);

	(void)state;
	backup.server_major = 99;
	expect_depth(&backup, BASE_WAL_PAGES);
	backup.segments[0][5 * 8192 + 8] ^= 1;
	expect_refused(&backup, "is damaged at 0/30A000");
	backup.segments[0][5 * 8192 + 8] ^= 1;
	backup.end_timeline = 2;
	expect_depth(&backup, BASE_WAL_HEADS);
	/* Segments of another timeline are not those of the backup, but must be what they say. */
	backup.timeline = 2;
	expect_refused(&backup, "no WAL from 0/300118 on");
	backup.segments[0][24] ^= 1;
	expect_refused(&backup, "another system");
	backup_done(&backup);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_up_to_the_end),
		cmocka_unit_test(test_what_is_not_whole),
		cmocka_unit_test(test_sound_records_that_do_not_belong_here),
		cmocka_unit_test(test_what_cannot_be_read_to_its_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
