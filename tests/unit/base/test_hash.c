#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/str.h"

static void
assert_hash(const char *text, const char *expected)
{
	SCOPED(str_done) struct str hex = STR_INIT;
	uint8_t hash[HASH_BYTES];

	hash_text(text, hash);
	str_add_hex(&hex, hash, sizeof(hash));
	assert_string_equal(str_text(&hex), expected);
}

/* The draft's own test vectors. */
static void
test_known_texts(void **state)
{
	(void)state;
	assert_hash("", "6c62272e07bb014262b821756295c58d");
	assert_hash("a", "d228cb696f1a8caf78912b704e4a8964");
	assert_hash("foobar", "343e1662793c64bf6f0d3597ba446f18");
}

static void
test_bytes_above_127(void **state)
{
	uint8_t plain[HASH_BYTES], high[HASH_BYTES];

	(void)state;
	hash_text("j", plain);
	hash_text("\xea", high);
	assert_memory_not_equal(plain, high, HASH_BYTES);
}

/* The draft's own test vectors. */
static void
test_short(void **state)
{
	(void)state;
	assert_true(hash_short("", 0) == UINT64_C(0xcbf29ce484222325));
	assert_true(hash_short("a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
	assert_true(hash_short("foobar", 6) == UINT64_C(0x85944171f73967e8));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_texts),
		cmocka_unit_test(test_bytes_above_127),
		cmocka_unit_test(test_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
