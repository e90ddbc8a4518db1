#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "repo/manifest.h"

#define SHA_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHA_B "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static const char sample[] =
    "{\n"
    "  \"format\": 1,\n"
    "  \"id\": \"pg-base-20251125-010000-7f3a\",\n"
    "  \"job\": \"pg-base\",\n"
    "  \"kind\": \"base\",\n"
    "  \"source\": {\"name\": \"postgresql\", \"type\": \"postgres\", \"identity\": \"7312\", \"version\": \"16.4\"},\n"
    "  \"started\": \"2025-11-25T01:00:00.000000Z\",\n"
    "  \"finished\": \"2025-11-25T01:02:03.000004Z\",\n"
    "  \"consistent_at\": \"2025-11-25T01:02:00.500000Z\",\n"
    "  \"files\": [\n"
    "    {\"name\": \"base.tar.zst\", \"bytes\": 4194305, \"sha256\": \"" SHA_A
    "\", \"content_bytes\": 9000000, \"compression\": \"zstd\", \"blocks\": {\"bytes\": 4194304, \"crc32c\": \"0123456789abcdef\"}},\n"
    "    {\"name\": \"backup_manifest\", \"bytes\": 456, \"sha256\": \"" SHA_B
    "\", \"content_bytes\": 456, \"compression\": \"none\", \"of\": \"pg-base-20251124-010000-0001\"}\n"
    "  ],\n"
    "  \"content\": {\n"
    "    \"timeline\": 1,\n"
    "    \"tables\": [\n"
    "      {\"name\": \"devices\", \"rows\": 3},\n"
    "      {\"name\": \"gr\xc3\xb6\xc3\x9f"
    "e\", \"rows\": 0}\n"
    "    ]\n"
    "  },\n"
    "  \"tool\": {\"name\": \"blackstart\", \"version\": \"1.0.0\"},\n"
    "  \"warnings\": [\n"
    "    {\"code\": \"tool_message\", \"text\": \"slow\\n disk\"}\n"
    "  ]\n"
    "}\n";

/* The text with the first `from` replaced; on the heap. */
static char *
replaced(const char *text, const char *from, const char *to)
{
	const char *at = strstr(text, from);

	assert_non_null(at);

	return xasprintf("%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

static struct manifest *
parse(const char *text)
{
	struct err err = ERR_INIT;
	struct manifest *manifest = manifest_parse(text, strlen(text), &err);

	if (manifest == NULL)
		fail_msg("%s", err.msg);

	return manifest;
}

static void
assert_refused(const char *text, enum err_kind kind, const char *message)
{
	struct err err = ERR_INIT;
	struct manifest *manifest = manifest_parse(text, strlen(text), &err);

	if (manifest != NULL)
		fail_msg("was accepted, expected: %s", message);
	if (strstr(err.msg, message) == NULL)
		fail_msg("'%s' is not in '%s'", message, err.msg);
	assert_int_equal(err.kind, kind);
}

static void
test_parse_reads_every_field(void **state)
{
	struct manifest *m = parse(sample);

	(void)state;
	assert_string_equal(m->id, "pg-base-20251125-010000-7f3a");
	assert_string_equal(m->job, "pg-base");
	assert_string_equal(m->kind, "base");
	assert_string_equal(m->source_name, "postgresql");
	assert_string_equal(m->source_type, "postgres");
	assert_string_equal(m->source_identity, "7312");
	assert_string_equal(m->source_version, "16.4");
	assert_int_equal(m->started.us, INT64_C(1764032400000000));
	assert_int_equal(m->finished.us, INT64_C(1764032523000004));
	assert_int_equal(m->consistent_at.us, INT64_C(1764032520500000));
	assert_int_equal(m->files.count, 2);
	assert_string_equal(m->files.items[0].name, "base.tar.zst");
	assert_int_equal(m->files.items[0].bytes, 4194305);
	assert_int_equal(m->files.items[0].content_bytes, 9000000);
	assert_string_equal(m->files.items[0].sha256, SHA_A);
	assert_string_equal(m->files.items[0].compression, "zstd");
	assert_int_equal(m->files.items[0].block_crc32c.count, 2);
	assert_int_equal(m->files.items[0].block_crc32c.items[0], 0x01234567);
	assert_int_equal(m->files.items[0].block_crc32c.items[1], 0x89abcdef);
	assert_null(m->files.items[0].of);
	assert_string_equal(m->files.items[1].of, "pg-base-20251124-010000-0001");
	assert_int_equal(m->files.items[1].block_crc32c.count, 0);
	assert_int_equal(json_integer_value(json_object_get(m->content, "timeline")), 1);
	assert_string_equal(m->tool_version, "1.0.0");
	assert_int_equal(m->warnings.count, 1);
	assert_string_equal(m->warnings.items[0].text, "slow\n disk");
	assert_false(m->is_adopted);
	assert_null(m->unknown);
	manifest_free(m);
}

static void
test_format_gives_back_the_same_text(void **state)
{
	struct manifest *m = parse(sample);
	char *text = manifest_format(m);

	(void)state;
	assert_string_equal(text, sample);
	free(text);
	manifest_free(m);
}

static void
test_unknown_fields_are_kept(void **state)
{
	char *a = replaced(sample, "\"job\"", "\"zebra\": {\"deep\": [1, {\"x\": null}]}, \"job\"");
	char *b = replaced(a, "\"identity\"", "\"region\": \"eu\", \"identity\"");
	char *c = replaced(b, "\"content_bytes\"", "\"etag\": \"e1\", \"content_bytes\"");
	char *d = replaced(c, "\"code\"", "\"severity\": 3, \"code\"");
	char *e = replaced(d, "\"1.0.0\"", "\"1.0.0\", \"commit\": \"abc\"");
	struct manifest *m = parse(e);
	char *text = manifest_format(m);
	struct manifest *again = parse(text);
	char *text_again = manifest_format(again);

	(void)state;
	assert_int_equal(json_object_size(again->unknown), 1);
	assert_true(json_equal(again->unknown, m->unknown));
	assert_string_equal(json_string_value(json_object_get(again->source_unknown, "region")),
	    "eu");
	assert_string_equal(json_string_value(json_object_get(again->files.items[0].unknown,
				"etag")),
	    "e1");
	assert_int_equal(json_integer_value(json_object_get(again->warnings.items[0].unknown,
			     "severity")),
	    3);
	assert_string_equal(json_string_value(json_object_get(again->tool_unknown, "commit")),
	    "abc");
	assert_string_equal(text, text_again);
	free(text_again);
	manifest_free(again);
	free(text);
	manifest_free(m);
	free(e);
	free(d);
	free(c);
	free(b);
	free(a);
}

static void
test_blocks_of_another_size_are_kept_but_not_used(void **state)
{
	char *a = replaced(sample, "\"bytes\": 4194304", "\"bytes\": 65536");
	struct manifest *m = parse(a);
	char *text = manifest_format(m);

	(void)state;
	assert_int_equal(m->files.items[0].block_crc32c.count, 0);
	assert_non_null(strstr(text,
	    "\"blocks\": {\"bytes\": 65536, \"crc32c\": \"0123456789abcdef\"}"));
	free(text);
	manifest_free(m);
	free(a);
}

static void
test_optional_fields_have_defaults(void **state)
{
	static const char small[] =
	    "{\"format\":1,\"id\":\"a\",\"job\":\"j\",\"kind\":\"dump\",\"adopted\":true,"
	    "\"source\":{\"name\":\"s\",\"type\":\"t\"},\"started\":\"2025-11-25T01:00:00Z\","
	    "\"finished\":\"2025-11-25T02:00:00+01:00\",\"consistent_at\":\"2025-11-25T01:00:00Z\","
	    "\"files\":[{\"name\":\"x\",\"bytes\":5,\"sha256\":\""
	    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}";
	struct manifest *m = parse(small);

	(void)state;
	assert_string_equal(m->source_identity, "");
	assert_string_equal(m->source_version, "");
	assert_int_equal(m->started.us, m->finished.us);
	assert_int_equal(m->files.items[0].content_bytes, 5);
	assert_string_equal(m->files.items[0].compression, "none");
	assert_string_equal(m->files.items[0].sha256, SHA_A);
	assert_true(m->is_adopted);
	assert_true(json_is_object(m->content));
	assert_string_equal(m->tool_name, "");
	manifest_free(m);
}

static void
test_wrong_fields_are_named(void **state)
{
	static const struct {
		const char *from;
		const char *to;
		const char *message;
	} cases[] = {
		{ "\"format\": 1", "\"form\": 1", "manifest field 'format' is missing" },
		{ "\"format\": 1", "\"format\": \"1\"",
		    "manifest field 'format' is not a format number" },
		{ "\"format\": 1", "\"format\": 0",
		    "manifest field 'format' is not a format number" },
		{ "\"id\"", "\"idea\"", "manifest field 'id' is missing" },
		{ "pg-base-20251125", "../20251125",
		    "manifest field 'id' is not the id of a backup" },
		{ "pg-base-20251125-010000-7f3a", "", "manifest field 'id' is empty" },
		{ "\"job\": \"pg-base\"", "\"job\": 5", "manifest field 'job' is not a string" },
		{ "\"kind\": \"base\"", "\"kind\": \"\"", "manifest field 'kind' is empty" },
		{ "\"kind\": \"base\"", "\"kind\": \"b\\u0007\"",
		    "manifest field 'kind' has a control character" },
		{ "\"source\": {", "\"source\": 5, \"was\": {",
		    "manifest field 'source' is not an object" },
		{ "\"source\": {", "\"was\": {", "manifest field 'source' is missing" },
		{ "\"type\": \"postgres\"", "\"kind\": \"postgres\"",
		    "manifest field 'source.type' is missing" },
		{ "\"7312\"", "7312", "manifest field 'source.identity' is not a string" },
		{ "2025-11-25T01:00:00.000000Z", "yesterday",
		    "manifest field 'started' is not an RFC 3339 time" },
		{ "2025-11-25T01:02:03.000004Z", "2025-02-30T00:00:00Z",
		    "manifest field 'finished' is not" },
		{ "\"consistent_at\"", "\"at\"", "manifest field 'consistent_at' is missing" },
		{ "\"files\": [", "\"files\": 1, \"f\": [",
		    "manifest field 'files' is not a list" },
		{ "{\"name\": \"base.tar", "3, {\"name\": \"base.tar",
		    "manifest field 'files[0]' is not an object" },
		{ "base.tar.zst", "/etc/passwd",
		    "manifest field 'files[0].name' is not a relative name" },
		{ "base.tar.zst", "../x", "manifest field 'files[0].name' is not a relative name" },
		{ "base.tar.zst", "a/../x",
		    "manifest field 'files[0].name' is not a relative name" },
		{ "base.tar.zst", "a//x", "manifest field 'files[0].name' is not a relative name" },
		{ "base.tar.zst", "a/.", "manifest field 'files[0].name' is not a relative name" },
		{ "base.tar.zst", "a/", "manifest field 'files[0].name' is not a relative name" },
		{ "base.tar.zst", "", "manifest field 'files[0].name' is not a relative name" },
		{ "base.tar.zst", "a\\nb",
		    "manifest field 'files[0].name' has a control character" },
		{ "base.tar.zst", "backup_manifest",
		    "manifest field 'files' names 'backup_manifest' twice" },
		{ "\"bytes\": 456", "\"bytes\": -1",
		    "manifest field 'files[1].bytes' is not a whole number" },
		{ "\"bytes\": 456", "\"bytes\": 4.5",
		    "manifest field 'files[1].bytes' is not a whole number" },
		{ "\"bytes\": 456", "\"bytes\": \"456\"",
		    "manifest field 'files[1].bytes' is not a whole" },
		{ SHA_B, "00", "manifest field 'files[1].sha256' is not 64 hexadecimal digits" },
		{ "00112233445566778899aabb", "00112233445566778899aabg",
		    "manifest field 'files[1].sha256' is" },
		{ "\"of\": \"pg-base", "\"of\": \"a/b",
		    "manifest field 'files[1].of' is not the id" },
		{ "0123456789abcdef", "01234567",
		    "manifest field 'files[0].blocks.crc32c' does not have 8" },
		{ "0123456789abcdef", "0123456789abcde",
		    "manifest field 'files[0].blocks.crc32c' does not" },
		{ "0123456789abcdef", "0123456789abcdeX",
		    "manifest field 'files[0].blocks.crc32c' is not hex" },
		{ "\"blocks\": {", "\"blocks\": 1, \"b\": {",
		    "manifest field 'files[0].blocks' is not an object" },
		{ "\"content\": {", "\"content\": [], \"c\": {",
		    "manifest field 'content' is not an object" },
		{ "\"tool\": {", "\"tool\": 7, \"t\": {",
		    "manifest field 'tool' is not an object" },
		{ "\"warnings\": [", "\"warnings\": 7, \"w\": [",
		    "manifest field 'warnings' is not a list" },
		{ "\"code\"", "\"cod\"", "manifest field 'warnings[0].code' is missing" },
		{ "\"job\": \"pg-base\"", "\"job\": \"pg-base\", \"job\": \"x\"",
		    "manifest is not valid JSON: line 4" },
		{ "\"kind\": \"base\",", "\"kind\": \"base\"", "manifest is not valid JSON" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *text = replaced(sample, cases[i].from, cases[i].to);

		assert_refused(text, ERR_DATA, cases[i].message);
		free(text);
	}
	assert_refused("", ERR_DATA, "manifest is not valid JSON");
	assert_refused("[]", ERR_DATA, "manifest is not a JSON object");
}

static void
test_newer_manifests_are_unsupported(void **state)
{
	char *format = replaced(sample, "\"format\": 1", "\"format\": 2");
	char *compression = replaced(sample, "\"zstd\"", "\"brotli\"");

	(void)state;
	assert_refused(format, ERR_UNSUPPORTED,
	    "manifest has format 2, this version reads up to 1");
	assert_refused(compression, ERR_UNSUPPORTED,
	    "manifest field 'files[0].compression' is 'brotli'");
	free(compression);
	free(format);
}

static void
test_cut_short_anywhere_is_refused(void **state)
{
	(void)state;
	for (size_t size = 0; size < strlen(sample) - 2; size++) {
		struct err err = ERR_INIT;
		char *exact = xmalloc(size);

		memcpy(exact, sample, size);
		assert_null(manifest_parse(exact, size, &err));
		assert_int_equal(err.kind, ERR_DATA);
		free(exact);
	}
}

/* The sample with a "content" that is nested `depth` levels, itself counted, in the manifest's one. */
static char *
nested(unsigned depth)
{
	struct str deep = STR_INIT;
	char *text;

	str_add(&deep, "\"content\": {\"x\": ");
	for (unsigned i = 1; i < depth; i++)
		str_add_char(&deep, '[');
	str_add(&deep, "\"[{\\\"\"");
	for (unsigned i = 1; i < depth; i++)
		str_add_char(&deep, ']');
	str_add(&deep, "}, \"was\": {");
	text = replaced(sample, "\"content\": {", str_text(&deep));
	str_done(&deep);

	return text;
}

static void
test_limits(void **state)
{
	struct err err = ERR_INIT;
	char *fits = nested(MANIFEST_MAX_DEPTH - 1);
	char *too_deep = nested(MANIFEST_MAX_DEPTH);
	struct manifest *m = parse(fits);
	char *text = manifest_format(m);
	struct manifest *again = parse(text);

	(void)state;
	assert_true(json_equal(m->content, again->content));
	assert_refused(too_deep, ERR_LIMIT, "manifest is nested deeper than 32 levels");
	assert_null(manifest_parse("", (size_t)MANIFEST_MAX_BYTES + 1, &err));
	assert_int_equal(err.kind, ERR_LIMIT);
	manifest_free(again);
	free(text);
	manifest_free(m);
	free(too_deep);
	free(fits);
}

static void
test_too_many_files(void **state)
{
	struct str files = STR_INIT_MAX(MANIFEST_MAX_BYTES);
	char *text;

	(void)state;
	str_add(&files, "\"files\": [0");
	for (unsigned i = 0; i < MANIFEST_MAX_FILES; i++)
		str_add(&files, ",0");
	str_add(&files, "], \"was\": [");
	text = replaced(sample, "\"files\": [", str_text(&files));
	assert_refused(text, ERR_LIMIT, "has more than 1000000 files");
	free(text);
	str_done(&files);
}

/* The list of files is read from its text; what is odd about it is told as if it were not. */
static void
test_odd_lists_of_files(void **state)
{
	static const char *const odd[] = { "[,{}]", "[{},]", "[{} {}]", "[{}", "[[]]", "[1]", "{}",
		"[{\"a\":1,\"a\":2}]", "[{\"a\":\"]\"]", "[],\"files\":[]" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		char *lead = xasprintf("\"files\": %s, \"was\": [", odd[i]);
		char *text = replaced(sample, "\"files\": [", lead);
		struct err err = ERR_INIT;

		if (manifest_parse(text, strlen(text), &err) != NULL)
			fail_msg("accepted: %s", odd[i]);
		assert_int_equal(err.kind, ERR_DATA);
		free(text);
		free(lead);
	}
}

/* A sanitizer keeps what was freed. */
#if defined(__SANITIZE_ADDRESS__)
#define COUNTS_MEMORY 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COUNTS_MEMORY 0
#endif
#endif
#ifndef COUNTS_MEMORY
#define COUNTS_MEMORY 1
#endif

/* Very many files take little more than what is kept of them. */
static void
test_very_many_files(void **state)
{
	enum { COUNT = 100000, BYTES_EACH_MAX = 400 };
	struct str files = STR_INIT_MAX(MANIFEST_MAX_BYTES);
	struct manifest *m;
	struct rusage before, after;
	char *text;

	(void)state;
	str_add(&files, "\"files\": [ ");
	for (unsigned i = 0; i < COUNT; i++)
		str_addf(&files,
		    "{\"name\":\"d/%u.dat.gz\",\"bytes\":30,\"sha256\":\"%064u\",\"content_bytes\":30,"
		    "\"compression\":\"none\",\"blocks\":{\"bytes\":4194304,\"crc32c\":\"%08x\"}}%s",
		    i, i, i, i + 1 < COUNT ? ",\n" : "\n");
	str_add(&files, "], \"was\": [");
	text = replaced(sample, "\"files\": [", str_text(&files));
	str_done(&files);
	assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
	m = parse(text);
	assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
	assert_int_equal(m->files.count, COUNT);
	assert_string_equal(m->files.items[COUNT - 1].name, "d/99999.dat.gz");
	assert_int_equal(m->files.items[77].block_crc32c.items[0], 77);
	assert_true(!COUNTS_MEMORY ||
	    (after.ru_maxrss - before.ru_maxrss) * 1024L < (long)COUNT * BYTES_EACH_MAX);
	manifest_free(m);
	free(text);
}

static void
test_format_survives_any_text(void **state)
{
	struct manifest *m = parse(sample);
	struct manifest *again;
	char *text;

	(void)state;
	manifest_add_warning(m, "tool_message", "%s",
	    "bad \xff\xfe byte, \"quote\", \x01 and \xc3\xb6");
	free(m->source_version);
	m->source_version = NULL;
	text = manifest_format(m);
	again = parse(text);
	assert_string_equal(again->warnings.items[1].text,
	    "bad \\xff\\xfe byte, \"quote\", \x01 and \\xc3\\xb6");
	assert_string_equal(again->source_version, "");
	manifest_free(again);
	free(text);
	manifest_free(m);
}

static void
test_empty_lists_and_adopted(void **state)
{
	struct manifest *m = manifest_new();
	struct manifest *again;
	char *text;

	(void)state;
	m->id = xstrdup("x");
	m->job = xstrdup("j");
	m->kind = xstrdup("dump");
	m->source_name = xstrdup("s");
	m->source_type = xstrdup("t");
	m->is_adopted = true;
	text = manifest_format(m);
	again = parse(text);
	assert_int_equal(again->files.count, 0);
	assert_int_equal(again->warnings.count, 0);
	assert_int_equal(again->started.us, 0);
	assert_true(again->is_adopted);
	assert_non_null(strstr(text, "\"files\": [],\n"));
	assert_true(str_ends_with(text, "}\n"));
	manifest_free(again);
	free(text);
	manifest_free(m);
}

static void
test_sums_and_searches(void **state)
{
	struct manifest *m = parse(sample);

	(void)state;
	/* The second file lies with an earlier backup: it is content, but not stored here. */
	assert_int_equal(manifest_stored_bytes(m), 4194305);
	assert_int_equal(manifest_content_bytes(m), 9000456);
	m->files.items[0].content_bytes = UINT64_MAX;
	assert_true(manifest_content_bytes(m) == UINT64_MAX);
	assert_ptr_equal(manifest_find_file(m, "backup_manifest"), &m->files.items[1]);
	assert_null(manifest_find_file(m, "backup"));
	assert_true(manifest_has_warning(m, "tool_message"));
	assert_false(manifest_has_warning(m, "damaged_at_source"));
	manifest_free(m);
	manifest_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		/* First: it looks at the peak of memory, which never sinks. */
		cmocka_unit_test(test_very_many_files),
		cmocka_unit_test(test_parse_reads_every_field),
		cmocka_unit_test(test_format_gives_back_the_same_text),
		cmocka_unit_test(test_unknown_fields_are_kept),
		cmocka_unit_test(test_blocks_of_another_size_are_kept_but_not_used),
		cmocka_unit_test(test_optional_fields_have_defaults),
		cmocka_unit_test(test_wrong_fields_are_named),
		cmocka_unit_test(test_newer_manifests_are_unsupported),
		cmocka_unit_test(test_cut_short_anywhere_is_refused),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_too_many_files),
		cmocka_unit_test(test_odd_lists_of_files),
		cmocka_unit_test(test_format_survives_any_text),
		cmocka_unit_test(test_empty_lists_and_adopted),
		cmocka_unit_test(test_sums_and_searches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
