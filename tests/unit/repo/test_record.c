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
#include "repo/record.h"

/* 2025-11-25T02:00:00Z */
static const struct wall_time when = { .us = INT64_C(1764036000) * US_PER_S };

static void
assert_name(char *owned, const char *expected)
{
	assert_string_equal(owned, expected);
	free(owned);
}

static void
test_proofs_say_their_result_in_the_name(void **state)
{
	const struct proof good = { .backup_id = "pg-1", .is_good = true, .level = 3, .at = when };
	const struct proof bad = { .backup_id = "daily/backup 1.dump", .level = 0, .at = when };
	struct proof_mark mark;
	char *name = proof_name(&good);

	(void)state;
	assert_string_equal(name, ".blackstart/proof/pg-1/L3-2025-11-25T020000Z.json");
	assert_true(proof_mark_parse(name, &mark));
	assert_string_equal(mark.backup_id, "pg-1");
	assert_true(mark.is_good);
	assert_int_equal(mark.level, 3);
	assert_int_equal(mark.at.us, when.us);
	free(mark.backup_id);
	free(name);

	name = proof_name(&bad);
	assert_string_equal(name,
	    ".blackstart/proof/daily%2Fbackup%201.dump/bad-2025-11-25T020000Z.json");
	assert_true(proof_mark_parse(name, &mark));
	assert_string_equal(mark.backup_id, "daily/backup 1.dump");
	assert_false(mark.is_good);
	assert_int_equal(mark.level, -1);
	free(mark.backup_id);
	free(name);
}

static void
test_other_names_are_no_proofs(void **state)
{
	static const char *const others[] = {
		"",
		".blackstart/proof",
		".blackstart/proof/",
		".blackstart/proof/.json",
		".blackstart/proof/x.json",
		".blackstart/proof/x/L6-2025-11-25T020000Z.json",
		".blackstart/proof/x/L3-2025-13-25T020000Z.json",
		".blackstart/proof/x/L3-.json",
		".blackstart/proof/x/L.json",
		".blackstart/proof/x/good-2025-11-25T020000Z.json",
		".blackstart/proof/%zz/L3-2025-11-25T020000Z.json",
		".blackstart/pin/x.json",
		".blackstart/proof/x/L3-2025-11-25T020000Z.txt",
		".blackstart/proof/x/.json",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		struct proof_mark mark;

		if (proof_mark_parse(others[i], &mark))
			fail_msg("'%s' was taken for a proof", others[i]);
	}
}

static void
test_proof_text(void **state)
{
	static const char *const notes[] = { "12 tables", "bad \xff byte" };
	const struct proof proof = { .backup_id = "pg-1",
		.at = when,
		.level = 0,
		.message = "file 'x' differs",
		.notes = notes,
		.notes_count = 2 };
	char *text = proof_format(&proof);
	json_t *root = json_loads(text, 0, NULL);

	(void)state;
	assert_string_equal(json_string_value(json_object_get(root, "result")), "damaged");
	assert_string_equal(json_string_value(json_object_get(root, "at")),
	    "2025-11-25T02:00:00.000000Z");
	assert_int_equal(json_array_size(json_object_get(root, "notes")), 2);
	assert_name(proof_message(text, strlen(text)), "file 'x' differs");
	assert_null(proof_message("{", 1));
	json_decref(root);
	free(text);
}

static void
test_pins(void **state)
{
	char *text = pin_format("pg-1", when, "before the upgrade");
	char *id = NULL;

	(void)state;
	assert_name(pin_name("a/b"), ".blackstart/pin/a%2Fb.json");
	assert_true(pin_name_parse(".blackstart/pin/a%2Fb.json", &id));
	assert_name(id, "a/b");
	assert_false(pin_name_parse(".blackstart/proof/a.json", &id));
	assert_name(pin_reason(text, strlen(text)), "before the upgrade");
	free(text);
}

static void
test_prune_intents(void **state)
{
	struct name_list objects = { .names = { .count = 0 } };
	struct name_list again;
	struct err err = ERR_INIT;
	/* What a backup's own intent never names. */
	static const char *const foreign[] = {
		"{\"objects\":[]}",
		"{\"objects\":[\"a/x.dump\"]}",
		"{\"objects\":[\"x.manifest.json\",\"y.dump\"]}",
		"{\"objects\":[\"a/x.manifest.json\",\"\"]}",
		"{\"objects\":[\"a/x.manifest.json\",\"/etc/passwd\"]}",
		"{\"objects\":[\"a/x.manifest.json\",\"b/y.dump\"]}",
		"{\"objects\":[\"a/x.manifest.json\",\"a/../b/y.dump\"]}",
		"{\"objects\":[\"a/x.manifest.json\",\"a/b/..\"]}",
		"{\"objects\":[\"a/x.manifest.json\",\"a//y.dump\"]}",
		"{\"objects\":[\"a/x.manifest.json\",\"a/\"]}",
		"{\"objects\":[\"a/x.manifest.json\",\".blackstart/store.json\"]}",
		"{\"objects\":[\"a/x.manifest.json\",\".blackstart/proof/../store.json\"]}",
		"{\"objects\":[\"../a/x.manifest.json\",\"../a/y.dump\"]}",
		"{\"objects\":[\".blackstart/x.manifest.json\",\".blackstart/store.json\"]}",
	};
	char *text;

	(void)state;
	vec_push(&objects.names, xstrdup("a/x.manifest.json"));
	vec_push(&objects.names, xstrdup("a/x \xc3\xb6.dump"));
	vec_push(&objects.names, xstrdup("a/x.d/toc.dat"));
	vec_push(&objects.names, xstrdup(".blackstart/proof/pg-1/3.json"));
	text = prune_format("pg-1", &objects);
	assert_int_equal(prune_parse(text, strlen(text), &again, &err), 0);
	assert_int_equal(again.names.count, 4);
	assert_string_equal(again.names.items[0], "a/x.manifest.json");
	assert_string_equal(again.names.items[1], "a/x \xc3\xb6.dump");
	name_list_done(&again);
	assert_int_equal(prune_parse(text, strlen(text) - 3, &again, &err), -1);
	assert_int_equal(err.kind, ERR_DATA);
	assert_int_equal(prune_parse("{\"objects\":[1]}", 15, &again, &err), -1);
	for (size_t i = 0; i < ARRAY_SIZE(foreign); i++) {
		err_clear(&err);
		if (prune_parse(foreign[i], strlen(foreign[i]), &again, &err) == 0)
			fail_msg("%s", foreign[i]);
		assert_int_equal(err.kind, ERR_DATA);
	}
	assert_name(prune_name("pg-1"), ".blackstart/prune/pg-1.json");
	free(text);
	name_list_done(&objects);
}

static void
test_source_records(void **state)
{
	char *name = source_record_name("postgresql", "7312/x");

	(void)state;
	assert_string_equal(name, ".blackstart/source/postgresql/7312%2Fx.json");
	assert_name(source_record_identity(name), "7312/x");
	assert_null(source_record_identity(".blackstart/pin/x.json"));
	free(name);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_proofs_say_their_result_in_the_name),
		cmocka_unit_test(test_other_names_are_no_proofs),
		cmocka_unit_test(test_proof_text),
		cmocka_unit_test(test_pins),
		cmocka_unit_test(test_prune_intents),
		cmocka_unit_test(test_source_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
