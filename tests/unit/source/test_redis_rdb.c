/* The RDB reader: made-up files of every type, and one that a real server wrote. */
#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/str.h"
#include "os/file.h"
#include "source/redis/crc64.h"
#include "source/redis/lzf.h"
#include "source/redis/rdb_reader.h"
#include "source/redis/rdb_summary.h"

enum { SEED_MAX_BYTES = 1 << 20 };

/* ---- files ------------------------------------------------------------------------------------ */

/* header, body, ff and the right checksum. */
static void
make_file(struct str *file, const char *magic, const void *body, size_t size)
{
	struct crc64 *crc = malloc(sizeof(*crc));
	uint64_t value;

	assert_non_null(crc);
	str_cut(file, 0);
	str_add(file, magic);
	str_add_bytes(file, body, size);
	str_add_char(file, (char)0xff);
	crc64_init(crc);
	crc64_add(crc, file->data, file->size);
	value = htole64(crc->value);
	str_add_bytes(file, &value, sizeof(value));
	free(crc);
}

static int
read_file(struct rdb_reader *reader, const struct str *file, size_t step, struct err *err)
{
	for (size_t at = 0; at < file->size; at += step) {
		size_t size = file->size - at < step ? file->size - at : step;

		if (rdb_reader_feed(reader, file->data + at, size, err) < 0)
			return -1;
	}

	return rdb_reader_finish(reader, err);
}

/* The body, read whole and byte by byte, deep; the error must be the same.  NULL text: sound. */
static void
expect(const char *magic, const void *body, size_t size, const char *error)
{
	static const size_t steps[] = { 1, 2, 7, 1 << 20 };
	SCOPED(str_done) struct str file = STR_INIT;

	make_file(&file, magic, body, size);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		const struct rdb_options options = { .is_deep = true };
		SCOPED(rdb_reader_freep) struct rdb_reader *reader = rdb_reader_new(&options);
		struct err err = ERR_INIT;

		if (error == NULL) {
			if (read_file(reader, &file, steps[i], &err) < 0)
				fail_msg("%s", err.msg);
			continue;
		}
		assert_int_equal(read_file(reader, &file, steps[i], &err), -1);
		assert_string_equal(err.msg, error);
	}
}

#define SOUND(magic, body) expect(magic, body, sizeof(body) - 1, NULL)
#define DAMAGED(magic, body, error) expect(magic, body, sizeof(body) - 1, error)

/* ---- the checksum ------------------------------------------------------------------------------- */

static void
crc64_is_that_of_redis(void **state)
{
	struct crc64 *crc = malloc(sizeof(*crc));

	(void)state;
	assert_non_null(crc);
	crc64_init(crc);
	crc64_add(crc, "123456789", 9);
	assert_true(crc->value == UINT64_C(0xe9c6d914c4b8d9ca));
	/* The second vector of src/crc64.c, and the same in pieces of other sizes. */
	static const char text[] =
	    "This is a test of the emergency broadcast system.  If this had been an actual one.";
	crc->value = 0;
	crc64_add(crc, text, sizeof(text) - 1);
	uint64_t whole = crc->value;
	crc->value = 0;
	for (size_t i = 0; i < sizeof(text) - 1; i++)
		crc64_add(crc, text + i, 1);
	assert_true(crc->value == whole);
	free(crc);
}

/* Whatever the CPU can, at every size and place, begun with any sum. */
static void
crc64_is_the_same_by_folding(void **state)
{
	enum { SIZE_MAX_BYTES = 400, PLACES = 17 };
	struct crc64 *crc = malloc(sizeof(*crc));
	uint8_t data[SIZE_MAX_BYTES + PLACES];
	uint64_t noise = 1;

	(void)state;
	assert_non_null(crc);
	crc64_init(crc);
	for (size_t i = 0; i < sizeof(data); i++) {
		noise = noise * UINT64_C(6364136223846793005) + 1442695040888963407;
		data[i] = (uint8_t)(noise >> 56);
	}
	for (size_t size = 0; size <= SIZE_MAX_BYTES; size++) {
		const uint8_t *at = data + size % PLACES;
		uint64_t folded;

		crc->value = noise + size;
		crc64_add(crc, at, size);
		folded = crc->value;
		crc->value = noise + size;
		crc64_add_portable(crc, at, size);
		assert_true(crc->value == folded);
	}
	free(crc);
}

static void
lzf_expands_and_refuses(void **state)
{
	static const uint8_t good[] = { 1, 'a', 'b', 0xe0, 2, 1 }; /* "ab", then 11 of them */
	uint8_t out[16];

	(void)state;
	assert_true(lzf_expand(good, sizeof(good), out, 13));
	assert_memory_equal(out, "abababababab", 12);
	assert_false(lzf_expand(good, sizeof(good), out, 12));
	assert_false(lzf_expand(good, sizeof(good), out, 14));
	assert_false(lzf_expand(good, sizeof(good) - 1, out, 13));
	assert_false(lzf_expand((const uint8_t[]){ 0, 'a', 0x20, 1 }, 4, out, 4));
	assert_false(lzf_expand((const uint8_t[]){ 5, 'a' }, 2, out, 6));
}

/* ---- types ---------------------------------------------------------------------------------------- */

static void
every_type_is_followed(void **state)
{
	(void)state;
	SOUND("REDIS0010", "");
	SOUND("REDIS0009", "\xfe\x00\xfb\x01\x00\x00\x01k\x01v");
	/* numbers as strings, lengths of 14, 32 and 64 bits */
	SOUND("REDIS0009",
	    "\x00\x01"
	    "a\xc0\x7f\x00\x01"
	    "b\xc1\x01\x02\x00\x01"
	    "c\xc2\x01\x02\x03\x04");
	SOUND("REDIS0009",
	    "\x00\x01"
	    "a\x40\x03xyz\x00\x80\x00\x00\x00\x01"
	    "b\x81\x00\x00\x00\x00\x00\x00\x00\x01y");
	/* list, set; both sorted sets; hash */
	SOUND("REDIS0009", "\x01\x01l\x02\x01x\x01y\x02\x01s\x00");
	SOUND("REDIS0009",
	    "\x03\x01z\x03\x01x\x03"
	    "1.5\x01y\xfe\x01z\xfd");
	SOUND("REDIS0009", "\x05\x01z\x01\x01x\x00\x00\x00\x00\x00\x00\xf0\x3f");
	SOUND("REDIS0009",
	    "\x04\x01h\x01\x01"
	    "f\x01v");
	/* intset, listpack, list of nodes */
	SOUND("REDIS0009", "\x0b\x01i\x0c\x02\x00\x00\x00\x02\x00\x00\x00\xff\xff\x05\x00");
	SOUND("REDIS0010",
	    "\x10\x01h\x0c\x0c\x00\x00\x00\x02\x00\x81"
	    "f\x02\x05\x01\xff");
	SOUND("REDIS0010", "\x12\x01l\x02\x01\x01x\x02\x07\x07\x00\x00\x00\x00\x00\xff");
	/* ziplist: one entry "a" */
	SOUND("REDIS0009",
	    "\x0a\x01l\x0e\x0e\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\x01"
	    "a\xff");
	/* module: id, then an unsigned, a double, a string */
	SOUND("REDIS0009",
	    "\x07\x01m\x81"
	    "ABCDEFGH\x02\x05\x04"
	    "12345678\x05\x01x\x00");
	/* a hash whose fields end, in both families */
	SOUND("REDIS0012",
	    "\x18\x01h"
	    "12345678\x01\x00\x01"
	    "f\x01v");
	SOUND("VALKEY080",
	    "\x16\x01h\x01\x01"
	    "f\x01v12345678");
	/* opcodes: aux, function, module aux, idle, frequency, expiries, slots */
	SOUND("REDIS0010",
	    "\xfa\x01"
	    "a\x01v\xf5\x01x\xf7\x01\x02\x00\x00\xf8\x05\xf9\x07\xfc"
	    "12345678\x00\x01k\x01v\xfd"
	    "1234\x00\x01k\x01v\xf4\x01\x02\x03");
}

static void
streams_of_all_versions_are_followed(void **state)
{
	(void)state;
	SOUND("REDIS0009",
	    "\x0f\x01s\x00\x00\x00\x00\x01\x01g\x01\x00\x01"
	    "0123456789abcdef"
	    "12345678\x01\x01\x01"
	    "c"
	    "12345678\x01"
	    "0123456789abcdef");
	SOUND("REDIS0010",
	    "\x13\x01s\x01\x10"
	    "0123456789abcdef\x07\x07\x00\x00\x00\x00\x00\xff"
	    "\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01g\x01\x00\x05\x00\x00");
	SOUND("REDIS0011",
	    "\x15\x01s\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01g\x01\x00\x05\x00\x01\x01"
	    "c"
	    "1234567812345678\x00");
	DAMAGED("REDIS0010",
	    "\x13\x01s\x01\x0f"
	    "0123456789abcde\x07",
	    "byte 13: a stream's id is not 16 bytes long");
}

static void
damage_is_named_with_its_place(void **state)
{
	(void)state;
	DAMAGED("REDIX0009", "", "byte 0: this is no RDB file");
	DAMAGED("REDIS00x9", "", "byte 0: this is no RDB file");
	DAMAGED("REDIS0009", "\x08\x01k\x01v", "byte 9: unknown type of value");
	DAMAGED("REDIS0009", "\x63\x01k\x01v", "byte 9: unknown type of value");
	DAMAGED("REDIS0009", "\x00\x82", "byte 10: unknown form of a length");
	DAMAGED("REDIS0009", "\x00\xc4", "byte 10: unknown encoding of a string");
	DAMAGED("REDIS0009", "\xfe\xc0", "byte 10: a length is not a number");
	DAMAGED("REDIS0009",
	    "\xfc"
	    "12345678",
	    "byte 18: the end stands where a key should be");
	DAMAGED("REDIS0010", "\x12\x01l\x01\x03", "byte 13: unknown node of a list");
	DAMAGED("REDIS0009", "\x00\x01k\xc3\x01\x43\xff",
	    "byte 15: a compressed string cannot become so long");
	DAMAGED("REDIS0009", "\x00\x01k\xc3\x02\x05\x05x",
	    "byte 15: a compressed string cannot be expanded");
	DAMAGED("REDIS0010", "\x10\x01h\xc0\x05", "byte 13: a number stands for a collection");
}

static void
packed_collections_are_looked_into(void **state)
{
	(void)state;
	DAMAGED("REDIS0010", "\x10\x01h\x08\x09\x00\x00\x00\x00\x00\x00\xff",
	    "byte 13: a listpack's size is wrong");
	DAMAGED("REDIS0010", "\x10\x01h\x09\x09\x00\x00\x00\x02\x00\x05\x01\xff",
	    "byte 13: a listpack has not as many entries as it says");
	DAMAGED("REDIS0010", "\x10\x01h\x09\x09\x00\x00\x00\x01\x00\x05\x02\xff",
	    "byte 13: a listpack's entry is not as long as is said behind it");
	DAMAGED("REDIS0009", "\x0b\x01i\x0c\x02\x00\x00\x00\x02\x00\x00\x00\x05\x00\x05\x00",
	    "byte 13: an intset is not in order");
	DAMAGED("REDIS0009",
	    "\x0a\x01l\x0e\x0e\x00\x00\x00\x0b\x00\x00\x00\x01\x00\x00\x01"
	    "a\xff",
	    "byte 13: a ziplist's last entry is not where it says");
	SOUND("REDIS0009",
	    "\x09\x01h\x07\x01\x01"
	    "k\x01\x00v\xff");
}

static void
newer_versions_are_believed_by_their_checksum(void **state)
{
	const struct rdb_options options = { .is_deep = true };
	SCOPED(rdb_reader_freep) struct rdb_reader *reader = rdb_reader_new(&options);
	SCOPED(str_done) struct str file = STR_INIT;
	struct err err = ERR_INIT;

	(void)state;
	make_file(&file, "REDIS0013", "\x00\x01k\x01v\x1c\x01k????", 11);
	assert_int_equal(read_file(reader, &file, 3, &err), 0);
	assert_string_equal(rdb_reader_summary(reader)->unknown,
	    "byte 14: unknown type of value (28)");
	assert_true(rdb_reader_summary(reader)->is_checksummed);

	SCOPED(rdb_reader_freep) struct rdb_reader *flipped = rdb_reader_new(&options);
	file.data[17] ^= 1;
	assert_int_equal(read_file(flipped, &file, 3, &err), -1);
	assert_non_null(strstr(err.msg, "the checksum is"));
}

static void
a_file_without_a_checksum_is_told(void **state)
{
	const struct rdb_options options = { .is_deep = true };
	SCOPED(rdb_reader_freep) struct rdb_reader *reader = rdb_reader_new(&options);
	SCOPED(str_done) struct str file = STR_INIT;
	struct err err = ERR_INIT;

	(void)state;
	make_file(&file, "REDIS0009", "", 0);
	memset(file.data + file.size - 8, 0, 8);
	assert_int_equal(read_file(reader, &file, 3, &err), 0);
	assert_false(rdb_reader_summary(reader)->is_checksummed);

	/* Where nothing is known and nothing protects it, it is not called good. */
	SCOPED(rdb_reader_freep) struct rdb_reader *unknown = rdb_reader_new(&options);
	make_file(&file, "REDIS0013", "\x1c\x01k", 3);
	memset(file.data + file.size - 8, 0, 8);
	assert_int_equal(read_file(unknown, &file, 3, &err), -1);
	assert_int_equal(err.kind, ERR_UNSUPPORTED);
}

/* ---- a real file -------------------------------------------------------------------------------------- */

static void
read_seed(struct str *file)
{
	const char *folder = getenv("REDIS_RDB_SEEDS");
	struct err err = ERR_INIT;

	assert_non_null(folder);
	SCOPED(freep) char *path = path_join(folder, "v10_all");
	assert_int_equal(file_read_all(path, SEED_MAX_BYTES, file, &err), 0);
}

static void
a_real_file_is_counted(void **state)
{
	const struct rdb_options options = { .is_deep = true };
	SCOPED(rdb_reader_freep) struct rdb_reader *reader = rdb_reader_new(&options);
	SCOPED(str_done) struct str file = STR_INIT;
	const struct rdb_summary *summary = rdb_reader_summary(reader);
	struct err err = ERR_INIT;

	(void)state;
	read_seed(&file);
	if (read_file(reader, &file, 11, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(summary->version, 10);
	assert_true(summary->is_checksummed);
	assert_null(summary->unknown);
	assert_int_equal(summary->functions, 1);
	assert_int_equal(summary->wrong_announcements, 0);
	assert_string_equal(rdb_summary_aux(summary, "redis-bits"), "64");
	assert_int_equal(summary->databases.count, 2);
	const struct rdb_database *first = &summary->databases.items[0];
	assert_int_equal(first->keys, 12);
	assert_int_equal(first->expires, 1);
	assert_int_equal(first->expiring[RDB_STRING], 1);
	assert_int_equal(first->types[RDB_STRING], 4);
	assert_int_equal(first->types[RDB_LIST], 1);
	assert_int_equal(first->types[RDB_SET], 2);
	assert_int_equal(first->types[RDB_HASH], 2);
	assert_int_equal(first->types[RDB_ZSET], 2);
	assert_int_equal(first->types[RDB_STREAM], 1);
	assert_int_equal(summary->databases.items[1].index, 5);
	assert_int_equal(summary->keys, 13);
	assert_int_equal(summary->biggest.count, RDB_BIGGEST_MAX);
	assert_true(summary->biggest.items[0].bytes >= summary->biggest.items[1].bytes);
	assert_string_equal(summary->biggest.items[0].name, "st");
	assert_true(summary->deep_checked > 0);
}

/* No bit of it can change, and no byte be missing, without being seen. */
static void
every_flipped_bit_is_found(void **state)
{
	SCOPED(str_done) struct str file = STR_INIT;

	(void)state;
	read_seed(&file);
	for (size_t bit = 0; bit < file.size * 8; bit++) {
		const struct rdb_options options = { .is_deep = bit % 2 == 0 };
		SCOPED(rdb_reader_freep) struct rdb_reader *reader = rdb_reader_new(&options);
		struct err err = ERR_INIT;

		file.data[bit / 8] = (char)(file.data[bit / 8] ^ (1 << (bit % 8)));
		assert_int_equal(read_file(reader, &file, file.size, &err), -1);
		file.data[bit / 8] = (char)(file.data[bit / 8] ^ (1 << (bit % 8)));
	}
	for (size_t size = file.size - 1; size > 0; size--) {
		const struct rdb_options options = { .is_deep = true };
		SCOPED(rdb_reader_freep) struct rdb_reader *reader = rdb_reader_new(&options);
		struct err err = ERR_INIT;

		file.size = size;
		assert_int_equal(read_file(reader, &file, 64, &err), -1);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crc64_is_that_of_redis),
		cmocka_unit_test(crc64_is_the_same_by_folding),
		cmocka_unit_test(lzf_expands_and_refuses),
		cmocka_unit_test(every_type_is_followed),
		cmocka_unit_test(streams_of_all_versions_are_followed),
		cmocka_unit_test(damage_is_named_with_its_place),
		cmocka_unit_test(packed_collections_are_looked_into),
		cmocka_unit_test(newer_versions_are_believed_by_their_checksum),
		cmocka_unit_test(a_file_without_a_checksum_is_told),
		cmocka_unit_test(a_real_file_is_counted),
		cmocka_unit_test(every_flipped_bit_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
