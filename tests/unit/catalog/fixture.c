#include "fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "catalog/sql_internal.h"
#include "os/file.h"

int
fixture_setup(void **state)
{
	struct fixture *fixture = xcalloc(1, sizeof(*fixture));
	char folder[] = "/tmp/blackstart-test-XXXXXX";

	assert_non_null(mkdtemp(folder));
	fixture->folder = xstrdup(folder);
	fixture->path = xasprintf("%s/catalog.db", folder);
	fixture_reopen(fixture);
	*state = fixture;

	return 0;
}

int
fixture_teardown(void **state)
{
	struct fixture *fixture = *state;
	struct err err = ERR_INIT;

	catalog_close(fixture->catalog);
	assert_int_equal(dir_remove_all(fixture->folder, &err), 0);
	free(fixture->path);
	free(fixture->folder);
	free(fixture);

	return 0;
}

void
fixture_reopen(struct fixture *fixture)
{
	struct err err = ERR_INIT;

	catalog_close(fixture->catalog);
	fixture->catalog = catalog_open(fixture->path, &err);
	if (fixture->catalog == NULL)
		fail_msg("%s", err.msg);
}

void
fixture_sql(const struct fixture *fixture, const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(fixture->path, &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s", sqlite3_errmsg(db));
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

int64_t
fixture_number(const struct fixture *fixture, const char *sql)
{
	sqlite3_stmt *statement;
	int64_t number;

	assert_int_equal(sqlite3_prepare_v2(fixture->catalog->db, sql, -1, &statement, NULL),
	    SQLITE_OK);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
	number = sqlite3_column_int64(statement, 0);
	(void)sqlite3_finalize(statement);

	return number;
}

char *
fixture_plan(const struct fixture *fixture, const char *sql)
{
	struct str plan = STR_INIT;
	char *explain = xasprintf("EXPLAIN QUERY PLAN %s", sql);
	sqlite3_stmt *statement;

	assert_int_equal(sqlite3_prepare_v2(fixture->catalog->db, explain, -1, &statement, NULL),
	    SQLITE_OK);
	while (sqlite3_step(statement) == SQLITE_ROW)
		str_addf(&plan, "%s\n", (const char *)sqlite3_column_text(statement, 3));
	(void)sqlite3_finalize(statement);
	free(explain);

	return str_take(&plan);
}

static struct str traced = STR_INIT;

static int
on_trace(unsigned kind, void *context, void *statement, void *text)
{
	char *expanded = sqlite3_expanded_sql(statement);

	(void)kind;
	(void)context;
	(void)text;
	str_addf(&traced, "%s\n", expanded);
	sqlite3_free(expanded);

	return 0;
}

void
fixture_trace_begin(struct fixture *fixture)
{
	(void)sqlite3_trace_v2(fixture->catalog->db, SQLITE_TRACE_STMT, on_trace, NULL);
}

char *
fixture_trace_end(struct fixture *fixture)
{
	char *sql;

	(void)sqlite3_trace_v2(fixture->catalog->db, 0, NULL, NULL);
	sql = str_take(&traced);

	return sql;
}
