#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "app/url.h"
#include "base/err.h"

static void
parse(const char *text, struct url *url)
{
	struct err err = ERR_INIT;

	if (url_parse(text, url, &err) < 0)
		fail_msg("'%s': %s", text, err.msg);
}

static void
refuse(const char *text, const char *why)
{
	struct err err = ERR_INIT;
	struct url url;

	assert_int_equal(url_parse(text, &url, &err), -1);
	assert_int_equal(err.kind, ERR_USAGE);
	if (strstr(err.msg, why) == NULL)
		fail_msg("'%s' is refused by '%s', not for '%s'", text, err.msg, why);
	assert_true(err.hint[0] != '\0');
}

static void
test_whole(void **state)
{
	SCOPED(url_done) struct url url = { .type = NULL };

	(void)state;
	parse("postgres://webscada@db1:5433/plant?sslmode=require", &url);
	assert_string_equal(url.type, "postgres");
	assert_string_equal(url.user, "webscada");
	assert_string_equal(url.host, "db1");
	assert_int_equal(url.port, 5433);
	assert_string_equal(url.database, "plant");
	assert_string_equal(url.sslmode, "require");
}

static void
test_parts_may_be_missing(void **state)
{
	SCOPED(url_done) struct url bare = { .type = NULL };
	SCOPED(url_done) struct url socket = { .type = NULL };
	SCOPED(url_done) struct url slash = { .type = NULL };

	(void)state;
	parse("postgresql://db1", &bare);
	assert_null(bare.user);
	assert_null(bare.database);
	assert_int_equal(bare.port, 0);
	parse("postgres:///plant?host=/run/postgresql&user=postgres", &socket);
	assert_string_equal(socket.host, "/run/postgresql");
	assert_string_equal(socket.user, "postgres");
	assert_string_equal(socket.database, "plant");
	parse("postgres://a@b/", &slash);
	assert_null(slash.database);
}

static void
test_strange_names(void **state)
{
	SCOPED(url_done) struct url url = { .type = NULL };
	SCOPED(url_done) struct url six = { .type = NULL };

	(void)state;
	parse("postgres://o%27brien%40plant@%2Frun%2Fpg:1/a%20b%22%C3%BC", &url);
	assert_string_equal(url.user, "o'brien@plant");
	assert_string_equal(url.host, "/run/pg");
	assert_string_equal(url.database, "a b\"ü");
	parse("postgres://a@[::1]:5432/b", &six);
	assert_string_equal(six.host, "::1");
	assert_int_equal(six.port, 5432);
}

static void
test_refused(void **state)
{
	(void)state;
	refuse("postgres://webscada:secret@db1/plant", "password");
	refuse("mysql://db1/plant", "does not begin");
	refuse("postgres://db1:0/plant", "port");
	refuse("postgres://db1:99999/plant", "port");
	refuse("postgres://db1:/plant", "port");
	refuse("postgres://[::1/plant", "']'");
	refuse("postgres://db1/a%2", "malformed");
	refuse("postgres://db1/a%00b", "malformed");
	refuse("postgres://db1/plant?password=secret", "parameter");
}

/* The error shows what is wrong, never the password. */
static void
test_a_password_is_not_repeated(void **state)
{
	struct err err = ERR_INIT;
	struct url url;

	(void)state;
	assert_int_equal(url_parse("postgres://webscada:s3cr3t@db1/plant", &url, &err), -1);
	assert_null(strstr(err.msg, "s3cr3t"));
	assert_null(strstr(err.hint, "s3cr3t"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_parts_may_be_missing),
		cmocka_unit_test(test_strange_names),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_a_password_is_not_repeated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
