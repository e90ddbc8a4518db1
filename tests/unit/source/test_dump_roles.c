#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/str.h"
#include "source/postgres/dump/roles_internal.h"

/* As pg_dumpall of several majors writes it, with what is hard to take apart. */
static const char
    globals[] = "--\n-- PostgreSQL database cluster dump\n--\n\n"
		"\\restrict aB3;'dE\n\n"
		"SET default_transaction_read_only = off;\n"
		"SET client_encoding = 'UTF8';\n\n"
		"CREATE ROLE scada;\n"
		"ALTER ROLE scada WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$4096:a;b''c';\n"
		"COMMENT ON ROLE scada IS 'first; line\n-- no comment \"here\"\n';\n"
		"CREATE ROLE \"R\xc3\xb6le ; \"\"x\"\"\";\n"
		"ALTER ROLE \"R\xc3\xb6le ; \"\"x\"\"\" SET search_path TO '$user', 'a;b';\n"
		"ALTER ROLE scada SET \"app.note\" TO E'back\\\\slash \\' ; quote';\n"
		"CREATE TABLESPACE fast OWNER scada LOCATION '/srv/it''s; fast';\n"
		"GRANT ALL ON TABLESPACE fast TO scada;\n"
		"GRANT pg_monitor TO scada WITH INHERIT TRUE GRANTED BY postgres;\n"
		"GRANT \"TO x\" TO \"R\xc3\xb6le ; \"\"x\"\"\";\n"
		"\\unrestrict aB3;'dE\n";

struct expected {
	enum roles_statement kind;
	const char *role;
};

static void
test_every_statement_of_a_globals_file(void **state)
{
	static const struct expected expected[] = {
		{ ROLES_OTHER, "" },
		{ ROLES_OTHER, "" },
		{ ROLES_CREATE, "scada" },
		{ ROLES_ALTER, "scada" },
		{ ROLES_ALTER, "scada" },
		{ ROLES_CREATE, "R\xc3\xb6le ; \"x\"" },
		{ ROLES_ALTER, "R\xc3\xb6le ; \"x\"" },
		{ ROLES_ALTER, "scada" },
		{ ROLES_OTHER, "" },
		{ ROLES_OTHER, "" },
		{ ROLES_GRANT, "scada" },
		{ ROLES_GRANT, "R\xc3\xb6le ; \"x\"" },
	};
	const char *at = globals;
	const char *text;
	size_t size;
	size_t count = 0;

	(void)state;
	while (roles_next_statement(&at, &text, &size)) {
		struct str role = STR_INIT;

		assert_true(count < ARRAY_SIZE(expected));
		assert_int_equal(roles_classify(text, size, &role), expected[count].kind);
		assert_string_equal(str_text(&role), expected[count].role);
		str_done(&role);
		count++;
	}
	assert_int_equal(count, ARRAY_SIZE(expected));
}

static void
test_a_grantor_can_be_left_out(void **state)
{
	static const char with[] = "GRANT a TO b WITH INHERIT TRUE GRANTED BY postgres";
	static const char without[] = "GRANT a TO b";

	(void)state;
	assert_int_equal(roles_without_grantor(with, strlen(with)),
	    strlen("GRANT a TO b WITH INHERIT TRUE"));
	assert_int_equal(roles_without_grantor(without, strlen(without)), strlen(without));
}

static void
test_a_text_cut_anywhere_does_no_harm(void **state)
{
	(void)state;
	for (size_t cut = 0; cut < sizeof(globals); cut++) {
		SCOPED(str_done) struct str part = STR_INIT;
		const char *at;
		const char *text;
		size_t size;

		str_add_bytes(&part, globals, cut);
		at = str_text(&part);
		while (roles_next_statement(&at, &text, &size)) {
			SCOPED(str_done) struct str role = STR_INIT;

			(void)roles_classify(text, size, &role);
			assert_true(at <= str_text(&part) + part.size);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_statement_of_a_globals_file),
		cmocka_unit_test(test_a_grantor_can_be_left_out),
		cmocka_unit_test(test_a_text_cut_anywhere_does_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
