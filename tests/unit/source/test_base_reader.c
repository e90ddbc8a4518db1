#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "source/postgres/base/reader.h"
#include "source/postgres/lsn.h"
#include "stream/crc32c.h"
#include "stream/digest.h"
#include "stream/sink.h"
#include "stream/tar_push.h"
#include "tar_text.h"

#define SEGMENT_BYTES (1024 * 1024)

static int
on_begin(void *context, const char *path, const struct tar_entry *entry, struct err *err)
{
	(void)entry;
	(void)err;
	str_addf(context, "%s;", path);
	return 0;
}

static void
list_file(struct str *manifest, const char *path, const char *data)
{
	uint32_t crc = crc32c(0, data, strlen(data));

	str_addf(manifest,
	    "{ \"Path\": \"%s\", \"Size\": %zu, \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": "
	    "\"%02x%02x%02x%02x\" }%s\n",
	    path, strlen(data), crc & 255, crc >> 8 & 255, crc >> 16 & 255, crc >> 24, ",");
}

/* A manifest of version 2 around the listed files; the last one closes the list. */
static void
make_manifest(struct str *to, const char *files)
{
	uint8_t sha256[DIGEST_SHA256_BYTES];

	str_addf(to,
	    "{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": 42,\n\"Files\": [\n"
	    "%s{ \"Path\": \"PG_VERSION\", \"Size\": 3 }\n],\n\"WAL-Ranges\": [],\n",
	    files);
	assert_int_equal(EVP_Digest(str_text(to), to->size, sha256, NULL, EVP_sha256(), NULL), 1);
	str_add(to, "\"Manifest-Checksum\": \"");
	str_add_hex(to, sha256, sizeof(sha256));
	str_add(to, "\"}\n");
}

static void
push(struct base_reader *reader, const char *tablespace, const struct str *tar)
{
	struct err err = ERR_INIT;
	struct sink *sink = base_reader_archive(reader, tablespace);

	for (size_t at = 0; at < tar->size; at += 700) {
		size_t piece = tar->size - at < 700 ? tar->size - at : 700;

		assert_int_equal(sink_write(sink, tar->data + at, piece, &err), 0);
	}
	assert_int_equal(sink_finish(sink, &err), 0);
	sink_free(sink);
}

static int
finish(struct base_reader *reader, const char *files, uint64_t identifier, struct err *err)
{
	struct str manifest = STR_INIT;
	struct sink *sink = base_reader_manifest_sink(reader);
	int result;

	make_manifest(&manifest, files);
	result = sink_write(sink, str_text(&manifest), manifest.size, err);
	if (result == 0)
		result = sink_finish(sink, err);
	if (result == 0)
		result = base_reader_finish(reader, identifier, err);
	sink_free(sink);
	str_done(&manifest);
	return result;
}

/* Two archives, as the server sends them: a tablespace, then the data directory. */
static struct base_reader *
read_two(struct str *seen)
{
	const struct base_observer observer = { .begin = on_begin, .context = seen };
	struct base_reader *reader = base_reader_new(&observer, SEGMENT_BYTES);
	struct str tar = STR_INIT_MAX(4 * SEGMENT_BYTES);
	char *segment = xcalloc(1, SEGMENT_BYTES);

	tar_text_folder(&tar, "PG_15_202209061", 0700);
	tar_text_file(&tar, "PG_15_202209061/5/16402", "rows", 4);
	tar_text_end(&tar);
	push(reader, "16401", &tar);

	str_cut(&tar, 0);
	tar_text_file(&tar, "backup_label", "label", 5);
	tar_text_folder(&tar, "pg_wal", 0700);
	tar_text_file(&tar, "pg_wal/000000010000000000000003", segment, SEGMENT_BYTES);
	tar_text_file(&tar, "pg_wal/000000010000000000000005", segment, SEGMENT_BYTES);
	tar_text_file(&tar, "pg_wal/000000010000000000000004", segment, SEGMENT_BYTES - 1);
	tar_text_file(&tar, "pg_wal/archive_status/000000010000000000000003.done", "", 0);
	tar_text_file(&tar, "PG_VERSION", "15\n", 3);
	push(reader, NULL, &tar);
	str_done(&tar);
	free(segment);
	return reader;
}

static void
test_files_under_their_paths(void **state)
{
	struct str seen = STR_INIT;
	struct str files = STR_INIT;
	struct base_reader *reader = read_two(&seen);
	struct err err = ERR_INIT;

	(void)state;
	assert_string_equal(str_text(&seen),
	    "pg_tblspc/16401/PG_15_202209061;pg_tblspc/16401/PG_15_202209061/5/16402;backup_label;"
	    "pg_wal;pg_wal/000000010000000000000003;pg_wal/000000010000000000000005;"
	    "pg_wal/000000010000000000000004;pg_wal/archive_status/000000010000000000000003.done;"
	    "PG_VERSION;");
	list_file(&files, "pg_tblspc/16401/PG_15_202209061/5/16402", "rows");
	list_file(&files, "backup_label", "label");
	/* The server lists this mark, though not the segment. */
	list_file(&files, "pg_wal/archive_status/000000010000000000000003.done", "");
	if (finish(reader, str_text(&files), 42, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(base_reader_totals(reader).files, 3);
	assert_int_equal(base_reader_totals(reader).unchecked, 1);
	base_reader_free(reader);
	str_done(&seen);
	str_done(&files);
}

static void
test_differences_fail(void **state)
{
	static const struct {
		const char *label;
		uint64_t identifier;
		const char *says;
	} cases[] = {
		{ "labal", 42, "backup_label" },
		{ "label", 43, "of system 42" },
		{ NULL, 42, "'backup_label' was sent but is not" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct str seen = STR_INIT;
		struct str files = STR_INIT;
		struct base_reader *reader = read_two(&seen);
		struct err err = ERR_INIT;

		list_file(&files, "pg_tblspc/16401/PG_15_202209061/5/16402", "rows");
		if (cases[i].label != NULL)
			list_file(&files, "backup_label", cases[i].label);
		assert_int_equal(finish(reader, str_text(&files), cases[i].identifier, &err), -1);
		assert_int_equal(err.kind, ERR_DATA);
		assert_non_null(strstr(err.msg, cases[i].says));
		base_reader_free(reader);
		str_done(&seen);
		str_done(&files);
	}
}

static void
test_wal_must_be_whole(void **state)
{
	struct str seen = STR_INIT;
	struct base_reader *reader = read_two(&seen);
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(base_reader_check_wal(reader, 1, 0x300028, 0x400000, &err), 0);
	assert_int_equal(base_reader_check_wal(reader, 1, 0x500028, 0x500100, &err), 0);
	/* Segment 4 came one byte short, segment 6 did not come. */
	assert_int_equal(base_reader_check_wal(reader, 1, 0x300028, 0x500100, &err), -1);
	assert_non_null(strstr(err.msg, "000000010000000000000004"));
	assert_int_equal(base_reader_check_wal(reader, 1, 0x500028, 0x600001, &err), -1);
	assert_int_equal(err.kind, ERR_DATA);
	base_reader_free(reader);
	str_done(&seen);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files_under_their_paths),
		cmocka_unit_test(test_differences_fail),
		cmocka_unit_test(test_wal_must_be_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
