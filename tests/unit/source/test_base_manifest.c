#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "source/postgres/base/manifest.h"
#include "stream/digest.h"

static const char body_1[] =
    "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n"
    "\"Files\": [\n"
    "{ \"Path\": \"backup_label\", \"Size\": 227, \"Last-Modified\": \"2026-11-22 20:31:00 GMT\", "
    "\"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"12345678\" },\n"
    "{ \"Encoded-Path\": \"62c32f31\", \"Size\": 5000000000, \"Last-Modified\": \"x\", "
    "\"Checksum-Algorithm\": \"SHA256\", \"Checksum\": \"00\" },\n"
    "{ \"Path\": \"PG_VERSION\", \"Size\": 3, \"Last-Modified\": \"x\" }\n"
    "],\n"
    "\"WAL-Ranges\": [\n"
    "{ \"Timeline\": 1, \"Start-LSN\": \"0/9000028\", \"End-LSN\": \"1/9000100\" }\n"
    "],\n";

/* The body, its checksum line and the end, as the server writes them. */
static void
seal(struct str *to, const char *body)
{
	uint8_t sha256[DIGEST_SHA256_BYTES];

	str_cut(to, 0);
	str_add(to, body);
	assert_int_equal(EVP_Digest(str_text(to), to->size, sha256, NULL, EVP_sha256(), NULL), 1);
	str_add(to, "\"Manifest-Checksum\": \"");
	str_add_hex(to, sha256, sizeof(sha256));
	str_add(to, "\"}\n");
}

static int
on_file(void *context, const struct base_manifest_file *file, struct err *err)
{
	(void)err;
	assert_int_equal(strlen(file->path), file->path_size);
	str_addf(context, "%s %llu %d %08x;", file->path, (unsigned long long)file->size_bytes,
	    (int)file->algorithm, file->crc32c);
	return 0;
}

static int
on_range(void *context, const struct base_manifest_range *range, struct err *err)
{
	(void)err;
	str_addf(context, "%u %llx-%llx;", range->timeline, (unsigned long long)range->start_lsn,
	    (unsigned long long)range->end_lsn);
	return 0;
}

static int
read_text(const char *text, size_t size, size_t step, struct str *seen,
    struct base_manifest_summary *ret_summary, struct err *err)
{
	const struct base_manifest_handler handler = {
		.file = on_file,
		.range = on_range,
		.context = seen,
	};
	struct base_manifest *manifest = base_manifest_new(&handler);
	int result = 0;

	str_cut(seen, 0);
	for (size_t at = 0; at < size && result == 0; at += step)
		result = base_manifest_feed(manifest, text + at,
		    size - at < step ? size - at : step, err);
	if (result == 0)
		result = base_manifest_finish(manifest, ret_summary, err);
	base_manifest_free(manifest);
	return result;
}

static void
test_every_cut_reads_the_same(void **state)
{
	struct base_manifest_summary summary;
	struct err err = ERR_INIT;
	struct str text = STR_INIT;
	struct str seen = STR_INIT;

	(void)state;
	seal(&text, body_1);
	for (size_t step = 1; step <= text.size; step++) {
		if (read_text(str_text(&text), text.size, step, &seen, &summary, &err) < 0)
			fail_msg("pieces of %zu: %s", step, err.msg);
		assert_string_equal(str_text(&seen),
		    "backup_label 227 1 78563412;b\xc3/1 5000000000 2 00000000;PG_VERSION 3 0 00000000;"
		    "1 9000028-109000100;");
		assert_int_equal(summary.version, 1);
		assert_int_equal(summary.files, 3);
		assert_int_equal(summary.ranges, 1);
		assert_true(summary.system_identifier == 0);
	}
	str_done(&text);
	str_done(&seen);
}

static void
test_version_2_names_the_system(void **state)
{
	struct base_manifest_summary summary;
	struct err err = ERR_INIT;
	struct str text = STR_INIT;
	struct str seen = STR_INIT;

	(void)state;
	seal(&text,
	    "{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": 18446744073709551615,\n"
	    "\"Files\": [],\n\"Later\": {\"a\": [1, {\"Path\": \"x\"}]},\n");
	assert_int_equal(read_text(str_text(&text), text.size, 9, &seen, &summary, &err), 0);
	assert_true(summary.system_identifier == UINT64_MAX);
	assert_int_equal(summary.files, 0);
	str_done(&text);
	str_done(&seen);
}

/* Any one bit of the bytes that its checksum covers. */
static void
test_a_flipped_bit_is_found(void **state)
{
	struct base_manifest_summary summary;
	struct err err = ERR_INIT;
	struct str text = STR_INIT;
	struct str seen = STR_INIT;

	(void)state;
	seal(&text, body_1);
	for (size_t i = 0; i < text.size - 4; i++) {
		text.data[i] ^= 1;
		assert_int_equal(read_text(text.data, text.size, 100, &seen, &summary, &err), -1);
		assert_true(err.kind == ERR_DATA || err.kind == ERR_UNSUPPORTED);
		text.data[i] ^= 1;
	}
	str_done(&text);
	str_done(&seen);
}

static void
test_cut_short_is_refused(void **state)
{
	struct base_manifest_summary summary;
	struct err err = ERR_INIT;
	struct str text = STR_INIT;
	struct str seen = STR_INIT;

	(void)state;
	seal(&text, body_1);
	for (size_t size = 0; size < text.size; size++)
		assert_int_equal(read_text(text.data, size, 64, &seen, &summary, &err), -1);
	str_done(&text);
	str_done(&seen);
}

static void
test_wrong_manifests_say_what_is_wrong(void **state)
{
#define VERSION_1 "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n"
	static const struct {
		const char *body;
		const char *says;
	} cases[] = {
		{ "{ \"Files\": [],\n", "does not state its version" },
		{ "{ \"PostgreSQL-Backup-Manifest-Version\": 3,\n", "version 3" },
		{ VERSION_1 "\"Files\": [{ \"Size\": 1 }],\n", "without path" },
		{ VERSION_1 "\"Files\": [{ \"Path\": \"a\" }],\n", "without path or size" },
		{ VERSION_1 "\"Files\": [{ \"Path\": \"\", \"Size\": 1 }],\n",
		    "empty or too long" },
		{ VERSION_1 "\"Files\": [{ \"Path\": \"a\", \"Path\": \"b\", \"Size\": 1 }],\n",
		    "twice" },
		{ VERSION_1
		    "\"Files\": [{ \"Path\": \"a\", \"Encoded-Path\": \"62\", \"Size\": 1 }],\n",
		    "two paths" },
		{ VERSION_1 "\"Files\": [{ \"Encoded-Path\": \"6g\", \"Size\": 1 }],\n",
		    "hexadecimal" },
		{ VERSION_1 "\"Files\": [{ \"Encoded-Path\": \"6200\", \"Size\": 1 }],\n",
		    "zero byte" },
		{ VERSION_1 "\"Files\": [{ \"Path\": \"a\", \"Size\": 9223372036854775808 }],\n",
		    "number" },
		{ VERSION_1 "\"Files\": [{ \"Path\": \"a\", \"Size\": -1 }],\n", "number" },
		{ VERSION_1
		    "\"Files\": [{ \"Path\": \"a\", \"Size\": 1, \"Checksum-Algorithm\": \"MD5\" }],\n",
		    "Checksum-Algorithm" },
		{ VERSION_1
		    "\"Files\": [{ \"Path\": \"a\", \"Size\": 1, \"Checksum-Algorithm\": \"CRC32C\","
		    " \"Checksum\": \"123\" }],\n",
		    "eight" },
		{ VERSION_1 "\"WAL-Ranges\": [{ \"Timeline\": 1, \"Start-LSN\": \"0/1\" }],\n",
		    "range" },
		{ VERSION_1 "\"WAL-Ranges\": [{ \"Timeline\": 1, \"Start-LSN\": \"0/2\","
			    " \"End-LSN\": \"0/1\" }],\n",
		    "range" },
		{ VERSION_1 "\"WAL-Ranges\": [{ \"Start-LSN\": \"nowhere\" }],\n", "WAL position" },
	};
	struct base_manifest_summary summary;
	struct str text = STR_INIT;
	struct str seen = STR_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = ERR_INIT;

		seal(&text, cases[i].body);
		assert_int_equal(read_text(text.data, text.size, 50, &seen, &summary, &err), -1);
		if (strstr(err.msg, cases[i].says) == NULL)
			fail_msg("'%s' does not say '%s'", err.msg, cases[i].says);
	}
	str_done(&text);
	str_done(&seen);
}

static void
test_without_its_checksum(void **state)
{
	static const char text[] = "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": []}\n";
	struct base_manifest_summary summary;
	struct err err = ERR_INIT;
	struct str seen = STR_INIT;

	(void)state;
	assert_int_equal(read_text(text, sizeof(text) - 1, 5, &seen, &summary, &err), -1);
	assert_non_null(strstr(err.msg, "no 'Manifest-Checksum'"));
	str_done(&seen);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_cut_reads_the_same),
		cmocka_unit_test(test_version_2_names_the_system),
		cmocka_unit_test(test_a_flipped_bit_is_found),
		cmocka_unit_test(test_cut_short_is_refused),
		cmocka_unit_test(test_wrong_manifests_say_what_is_wrong),
		cmocka_unit_test(test_without_its_checksum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
