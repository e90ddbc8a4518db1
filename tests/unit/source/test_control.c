#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/err.h"
#include "source/postgres/control.h"
#include "stream/crc32c.h"

static void
put(uint8_t *data, uint64_t value, size_t size)
{
	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(value >> (8 * i));
}

/* A file of this version, its checksum at `crc_at`. */
static void
make(uint8_t *file, uint32_t version, size_t crc_at)
{
	memset(file, 0, CONTROL_FILE_BYTES);
	put(file, UINT64_C(7711095937948421521), 8);
	put(file + 8, version, 4);
	put(file + 12, 202209061, 4);
	put(file + 16, CONTROL_IN_PRODUCTION, 4);
	put(file + 32, 0x100000028, 8);
	put(file + 40, 0x100000000, 8);
	put(file + 48, 3, 4);
	put(file + 180, 100, 4);
	put(file + 184, 8, 4);
	put(file + 188, 10, 4);
	put(file + 192, 5, 4);
	put(file + 196, 64, 4);
	put(file + 216, 8192, 4);
	put(file + 220, 131072, 4);
	put(file + 228, 16 * 1024 * 1024, 4);
	put(file + 252, 1, 4);
	put(file + crc_at, crc32c(0, file, crc_at), 4);
}

static void
test_every_version(void **state)
{
	static const struct {
		uint32_t version;
		size_t crc_at;
	} versions[] = { { 1300, 288 }, { 1700, 288 }, { 1800, 292 } };
	uint8_t file[CONTROL_FILE_BYTES];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct control control;
		struct err err = ERR_INIT;

		make(file, versions[i].version, versions[i].crc_at);
		assert_int_equal(control_parse(file, sizeof(file), &control, &err), 0);
		assert_true(control.system_identifier == UINT64_C(7711095937948421521));
		assert_int_equal(control.state, CONTROL_IN_PRODUCTION);
		assert_true(control.checkpoint_lsn == 0x100000028 &&
		    control.redo_lsn == 0x100000000);
		assert_int_equal(control.timeline, 3);
		assert_int_equal(control.max_connections, 100);
		assert_int_equal(control.max_worker_processes, 8);
		assert_int_equal(control.max_wal_senders, 10);
		assert_int_equal(control.max_prepared_transactions, 5);
		assert_int_equal(control.max_locks_per_transaction, 64);
		assert_int_equal(control.wal_segment_bytes, 16 * 1024 * 1024);
		assert_int_equal(control.checksum_version, 1);
	}
}

static void
test_damage(void **state)
{
	uint8_t file[CONTROL_FILE_BYTES];
	struct control control;
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < 292; i++) {
		make(file, 1300, 288);
		file[i] ^= 4;
		assert_int_equal(control_parse(file, sizeof(file), &control, &err), -1);
	}
	make(file, 1300, 288);
	assert_int_equal(control_parse(file, sizeof(file) - 1, &control, &err), -1);
	assert_int_equal(err.kind, ERR_DATA);
	make(file, 1902, 292);
	assert_int_equal(control_parse(file, sizeof(file), &control, &err), -1);
	assert_int_equal(err.kind, ERR_UNSUPPORTED);
	make(file, 1300, 288);
	put(file + 228, 3000000, 4);
	put(file + 288, crc32c(0, file, 288), 4);
	assert_int_equal(control_parse(file, sizeof(file), &control, &err), -1);
	assert_non_null(strstr(err.msg, "segment size"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_version),
		cmocka_unit_test(test_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
