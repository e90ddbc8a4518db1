#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "repo/manifest.h"
#include "source/postgres/dump/dump_internal.h"
#include "source/postgres/dump/target_internal.h"

static void
add_file(struct manifest *manifest, const char *name, uint64_t bytes)
{
	struct manifest_file *file = vec_add(&manifest->files);

	file->name = xstrdup(name);
	file->bytes = bytes;
	file->compression = xstrdup("none");
}

static void
add_database(struct manifest *manifest, const char *name, const char *part, const char *format)
{
	json_t *databases = json_object_get(manifest->content, "databases");

	if (databases == NULL) {
		databases = json_array();
		assert_int_equal(json_object_set_new(manifest->content, "databases", databases), 0);
	}
	assert_int_equal(json_array_append_new(databases,
			     json_pack("{s:s, s:s, s:s}", "name", name, "file", part, "format",
				 format)),
	    0);
}

static struct manifest *
several(void)
{
	struct manifest *manifest = manifest_new();

	add_file(manifest, "backup-2025-11-25.x.a.dump", 10);
	add_file(manifest, "backup-2025-11-25.a.dump", 20);
	add_file(manifest, "backup-2025-11-25.globals.sql", 30);
	add_file(manifest, "backup-2025-11-25.b.dir/1.dat.gz", 40);
	add_file(manifest, "backup-2025-11-25.b.dir/toc.dat", 50);
	add_file(manifest, "backup-2025-11-25.bb.dir/toc.dat", 60);
	add_database(manifest, "x.a", "x.a.dump", "custom");
	add_database(manifest, "a", "a.dump", "custom");
	add_database(manifest, "b", "b.dir", "directory");

	return manifest;
}

static void
test_parts_are_found_behind_the_stem(void **state)
{
	SCOPED(manifest_freep) struct manifest *manifest = several();

	(void)state;
	assert_string_equal(dump_find_part(manifest, "a.dump")->name, "backup-2025-11-25.a.dump");
	assert_string_equal(dump_find_part(manifest, "x.a.dump")->name,
	    "backup-2025-11-25.x.a.dump");
	assert_string_equal(dump_find_part(manifest, "globals.sql")->name,
	    "backup-2025-11-25.globals.sql");
	assert_string_equal(dump_find_part(manifest, "b.dir/toc.dat")->name,
	    "backup-2025-11-25.b.dir/toc.dat");
	assert_null(dump_find_part(manifest, "c.dump"));
}

static void
test_a_folder_has_its_own_files_only(void **state)
{
	SCOPED(manifest_freep) struct manifest *manifest = several();
	struct dump_database database;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(dump_database_find(manifest, "b", &database, &err), 0);
	assert_true(database.is_directory);
	assert_false(database.is_counted);
	assert_int_equal(dump_database_stored_bytes(manifest, &database), 90);
}

static void
test_an_unknown_database_is_named_with_those_there_are(void **state)
{
	SCOPED(manifest_freep) struct manifest *manifest = several();
	struct dump_database database;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(dump_database_find(manifest, "c", &database, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_non_null(strstr(err.hint, "'x.a', 'a', 'b'"));
}

static void
test_a_new_name_fits_and_keeps_characters_whole(void **state)
{
	/* 40 letters of two bytes each. */
	static const char
	    wide[] = "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
		     "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
		     "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
		     "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4";
	SCOPED(freep) char *plain = target_name("web", NULL);
	SCOPED(freep) char *cut = target_name(wide, NULL);
	SCOPED(freep) char *given = target_name("web", "other");
	json_t *text = json_string(cut);

	(void)state;
	assert_true(strncmp(plain, "web_restored_2", 14) == 0);
	assert_int_equal(strlen(plain), strlen("web_restored_20251125_020000"));
	assert_true(strlen(cut) <= 63);
	assert_non_null(text);
	assert_string_equal(given, "other");
	json_decref(text);
}

static void
test_a_word_to_type_is_quoted_where_it_must_be(void **state)
{
	SCOPED(freep) char *plain = target_word("web_1");
	SCOPED(freep) char *odd = target_word("it's $x");

	(void)state;
	assert_string_equal(plain, "web_1");
	assert_string_equal(odd, "'it'\\''s $x'");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parts_are_found_behind_the_stem),
		cmocka_unit_test(test_a_folder_has_its_own_files_only),
		cmocka_unit_test(test_an_unknown_database_is_named_with_those_there_are),
		cmocka_unit_test(test_a_new_name_fits_and_keeps_characters_whole),
		cmocka_unit_test(test_a_word_to_type_is_quoted_where_it_must_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
