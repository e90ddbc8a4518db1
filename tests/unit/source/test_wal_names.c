/* Names of the write-ahead log's files, and what a folder of them says about one segment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/scope.h"
#include "source/postgres/wal/names.h"

#define SEGMENT "0000000100000000000000A3"

static void
test_files_of_the_server(void **state)
{
	static const struct {
		const char *name;
		enum wal_file file;
	} cases[] = {
		{ SEGMENT, WAL_FILE_SEGMENT },
		{ "FFFFFFFFFFFFFFFFFFFFFFFF", WAL_FILE_SEGMENT },
		{ "00000002.history", WAL_FILE_HISTORY },
		{ SEGMENT ".00000028.backup", WAL_FILE_LABEL },
		{ SEGMENT ".partial", WAL_FILE_PARTIAL },
		{ "", WAL_FILE_OTHER },
		{ "000000000000000000000001", WAL_FILE_OTHER },
		{ "0000000100000000000000a3", WAL_FILE_OTHER },
		{ "0000000100000000000000A", WAL_FILE_OTHER },
		{ "0000000100000000000000A33", WAL_FILE_OTHER },
		{ SEGMENT ".zst", WAL_FILE_OTHER },
		{ SEGMENT ".partial.zst", WAL_FILE_OTHER },
		{ SEGMENT ".00000028.backup.gz", WAL_FILE_OTHER },
		{ SEGMENT ".0000028.backup", WAL_FILE_OTHER },
		{ "2.history", WAL_FILE_OTHER },
		{ "00000002.history.zst", WAL_FILE_OTHER },
		{ "../" SEGMENT, WAL_FILE_OTHER },
		{ "RECOVERYXLOG", WAL_FILE_OTHER },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("%s\n", cases[i].name);
		assert_int_equal(wal_file_of(cases[i].name), cases[i].file);
	}
}

static void
test_forms_in_the_archive(void **state)
{
	static const struct {
		const char *stored;
		enum wal_form form;
	} cases[] = {
		{ SEGMENT, WAL_FORM_PLAIN },
		{ SEGMENT ".zst", WAL_FORM_PACKED },
		{ SEGMENT ".partial", WAL_FORM_TAIL },
		{ SEGMENT ".partial-0123abcd.zst", WAL_FORM_END },
		{ SEGMENT ".partial-0123abcd", WAL_FORM_NONE },
		{ SEGMENT ".partial-0123ABCD.zst", WAL_FORM_NONE },
		{ SEGMENT ".partial.diverged-2025-11-25T020000Z", WAL_FORM_NONE },
		{ SEGMENT ".00000028.backup", WAL_FORM_NONE },
		{ SEGMENT ".gz", WAL_FORM_NONE },
		{ ".tmp-1234-" SEGMENT ".zst", WAL_FORM_NONE },
		{ "00000002.history", WAL_FORM_NONE },
	};
	char name[WAL_NAME_SIZE], stored[WAL_STORED_NAME_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("%s\n", cases[i].stored);
		assert_int_equal(wal_form_of(cases[i].stored, name), cases[i].form);
		if (cases[i].form != WAL_FORM_NONE)
			assert_string_equal(name, SEGMENT);
		if (cases[i].form != WAL_FORM_NONE && cases[i].form != WAL_FORM_END)
			assert_string_equal(wal_stored_name(SEGMENT, cases[i].form, stored),
			    cases[i].stored);
	}
}

/* What is answered for SEGMENT when the folder holds these files. */
static void
test_answers(void **state)
{
	static const struct {
		const char *says;
		const char *stored[4];
		enum wal_answer answer;
	} cases[] = {
		{ "an empty folder", { NULL }, WAL_ABSENT },
		{ "packed", { SEGMENT ".zst" }, WAL_WHOLE },
		{ "plain", { SEGMENT }, WAL_WHOLE },
		{ "a tail at the end", { SEGMENT ".partial" }, WAL_TAIL },
		{ "a tail that another segment follows",
		    { SEGMENT ".partial", "0000000100000000000000A4.partial" }, WAL_WHOLE },
		{ "a tail that another segment follows, far away",
		    { "000000010000000200000000.zst", SEGMENT ".partial" }, WAL_WHOLE },
		{ "a tail, and another timeline goes on",
		    { SEGMENT ".partial", "0000000200000000000000A4.zst" }, WAL_TAIL },
		{ "a tail beside the whole", { SEGMENT ".partial", SEGMENT ".zst" }, WAL_WHOLE },
		{ "only earlier ones",
		    { "0000000100000000000000A1.zst", "0000000100000000000000A2" }, WAL_ABSENT },
		{ "a hole", { "0000000100000000000000A2.zst", "0000000100000000000000A4.zst" },
		    WAL_HOLE },
		{ "a hole before a plain one", { "0000000100000001000000A2" }, WAL_HOLE },
		{ "a hole before a tail", { "0000000100000000000000A4.partial" }, WAL_HOLE },
		{ "a hole before what a promotion left",
		    { "0000000100000000000000A5.partial-0123abcd.zst" }, WAL_HOLE },
		{ "other timelines say nothing",
		    { "0000000200000000000000A4.zst", "000000020000000000000001.zst" },
		    WAL_ABSENT },
		{ "its label is not the segment", { SEGMENT ".00000028.backup" }, WAL_ABSENT },
		{ "a label of a later one is no segment",
		    { "0000000100000000000000A5.00000028.backup" }, WAL_ABSENT },
		{ "what was set aside is no segment",
		    { SEGMENT ".partial.diverged-2025-11-25T020000Z",
			"0000000100000000000000A4.partial.diverged-2025-11-25T020000Z" },
		    WAL_ABSENT },
		{ "what a promotion left is not served", { SEGMENT ".partial-0123abcd.zst" },
		    WAL_ABSENT },
		{ "half-written files are none", { ".tmp-1-" SEGMENT ".zst" }, WAL_ABSENT },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct wal_lookup lookup;

		print_message("%s\n", cases[i].says);
		wal_lookup_begin(&lookup, SEGMENT);
		for (size_t j = 0; j < ARRAY_SIZE(cases[i].stored); j++) {
			if (cases[i].stored[j] != NULL)
				wal_lookup_see(&lookup, cases[i].stored[j]);
		}
		assert_int_equal(wal_lookup_answer(&lookup), cases[i].answer);
	}
}

static void
test_neighbours_are_named(void **state)
{
	struct wal_lookup lookup;

	(void)state;
	wal_lookup_begin(&lookup, SEGMENT);
	wal_lookup_see(&lookup, "0000000100000000000000A1.zst");
	wal_lookup_see(&lookup, "0000000100000000000000A2.zst");
	wal_lookup_see(&lookup, "000000010000000000000099.zst");
	wal_lookup_see(&lookup, "0000000100000000000000B0.zst");
	wal_lookup_see(&lookup, "0000000100000000000000A6");
	wal_lookup_see(&lookup, "0000000200000000000000A4");
	wal_lookup_see(&lookup, "00000002.history");
	assert_string_equal(lookup.earlier, "0000000100000000000000A2");
	assert_string_equal(lookup.later, "0000000100000000000000A6");
	assert_int_equal(lookup.segments, 6);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files_of_the_server),
		cmocka_unit_test(test_forms_in_the_archive),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_neighbours_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
