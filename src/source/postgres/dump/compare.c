#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "source/postgres/dump/dump_internal.h"

enum {
	DIFFERENCES_SHOWN = 20,
	DIFFERENCES_IN_MESSAGE = 3,
};

/* ---- what was found ---------------------------------------------------------------------------- */

static void
add_difference(struct dump_comparison *to, char *text)
{
	to->differences++;
	if (to->texts.count < DIFFERENCES_SHOWN)
		vec_push(&to->texts, text);
	else
		free(text);
}

static void
add_remark(struct dump_comparison *to, char *text)
{
	if (to->remarks.count < DIFFERENCES_SHOWN)
		vec_push(&to->remarks, text);
	else
		free(text);
}

void
dump_comparison_done(struct dump_comparison *comparison)
{
	for (size_t i = 0; i < comparison->texts.count; i++)
		free(comparison->texts.items[i]);
	for (size_t i = 0; i < comparison->remarks.count; i++)
		free(comparison->remarks.items[i]);
	vec_done(&comparison->texts);
	vec_done(&comparison->remarks);
}

int
dump_comparison_verdict(const struct dump_comparison *comparison, const char *database,
    struct err *err)
{
	struct str list = STR_INIT_MAX(300);

	if (comparison->differences == 0)
		return 0;
	for (size_t i = 0; i < comparison->texts.count && i < DIFFERENCES_IN_MESSAGE; i++)
		str_addf(&list, "%s%s", i > 0 ? "; " : "", comparison->texts.items[i]);
	(void)err_set(err, ERR_MISMATCH,
	    "database '%s' differs from the manifest in %zu places: %s%s", database,
	    comparison->differences, str_text(&list),
	    comparison->differences > DIFFERENCES_IN_MESSAGE ? "; ..." : "");
	str_done(&list);

	return -1;
}

/* ---- one list against the other ------------------------------------------------------------------- */

/* One row "[schema, name, value]" of the manifest. */
struct expected {
	const char *schema;
	const char *name;
	const json_t *value;
};

static bool
expected_get(const json_t *rows, size_t at, struct expected *ret)
{
	const json_t *row = json_array_get(rows, at);

	ret->schema = json_string_value(json_array_get(row, 0));
	ret->name = json_string_value(json_array_get(row, 1));
	ret->value = json_array_get(row, 2);

	return ret->schema != NULL && ret->name != NULL;
}

/* Order of a row against the name of a table, as the manifest would write it. */
static int
order(const struct expected *expected, const char *schema, const char *name)
{
	json_t *schema_text = json_text(schema);
	json_t *name_text = json_text(name);
	int result = strcmp(expected->schema, json_string_value(schema_text));

	if (result == 0)
		result = strcmp(expected->name, json_string_value(name_text));
	json_decref(schema_text);
	json_decref(name_text);

	return result;
}

static void
compare_rows(struct dump_comparison *to, const struct expected *expected,
    const struct count_table *found)
{
	json_int_t rows = json_integer_value(expected->value);

	if (!json_is_integer(expected->value) || found->rows < 0) {
		if (found->kind == COUNT_TABLE)
			to->not_compared++;
		return;
	}
	if (found->kind == COUNT_TABLE) {
		to->tables++;
		to->rows += (uint64_t)found->rows;
	}
	if (rows == found->rows)
		return;
	if (found->kind == COUNT_EXTENSION_TABLE)
		add_remark(to,
		    xasprintf("table %s.%s of an extension has %lld rows, the manifest has "
			      "%lld",
			expected->schema, expected->name, (long long)found->rows, (long long)rows));
	else if (found->kind == COUNT_MATVIEW)
		add_difference(to,
		    xasprintf("materialized view %s.%s is %s", expected->schema, expected->name,
			rows > 0 ? "not populated" : "populated"));
	else
		add_difference(to,
		    xasprintf("table %s.%s has %lld rows, the manifest has %lld", expected->schema,
			expected->name, (long long)found->rows, (long long)rows));
}

/* Both lists are sorted: one walk finds what is missing, what is new and what differs. */
static void
compare_tables(struct dump_comparison *to, const struct count *count, enum count_kind kind,
    const json_t *rows)
{
	size_t at = 0;
	size_t found = 0;
	struct expected expected;

	while (found < count->tables.count || expected_get(rows, at, &expected)) {
		const struct count_table *table = found < count->tables.count
		    ? &count->tables.items[found]
		    : NULL;
		int side;

		if (table != NULL && table->kind != kind) {
			found++;
			continue;
		}
		side = !expected_get(rows, at, &expected) ? 1
		    : table == NULL
		    ? -1
		    : order(&expected, count_schema(count, table), count_name(count, table));
		if (side < 0)
			add_difference(to,
			    xasprintf("table %s.%s is missing", expected.schema, expected.name));
		else if (side > 0)
			add_difference(to,
			    xasprintf("table %s.%s is not in the manifest",
				count_schema(count, table), count_name(count, table)));
		else
			compare_rows(to, &expected, table);
		at += side <= 0 ? 1 : 0;
		found += side >= 0 ? 1 : 0;
	}
}

/* ---- sequences and large objects ------------------------------------------------------------------- */

static void
compare_sequence(struct dump_comparison *to, const struct expected *expected, const char *found)
{
	const char *text = json_string_value(expected->value);
	int64_t least = 0;
	int64_t value = 0;
	struct err ignored = ERR_INIT;

	if (text == NULL || parse_i64(text, INT64_MIN, INT64_MAX, &least, &ignored) < 0)
		return;
	if (found == NULL)
		add_difference(to,
		    xasprintf("sequence %s.%s is missing or unset", expected->schema,
			expected->name));
	else if (parse_i64(found, INT64_MIN, INT64_MAX, &value, &ignored) == 0 && value < least)
		add_difference(to,
		    xasprintf("sequence %s.%s stands at %s, the manifest has %s", expected->schema,
			expected->name, found, text));
}

static int
compare_sequences(PGconn *conn, const struct dump_database *database, struct dump_comparison *to,
    struct err *err)
{
	const json_t *rows = json_object_get(database->entry, "sequence_values");
	struct expected expected;
	int row = 0;

	if (json_array_size(rows) == 0)
		return 0;
	SCOPED(pg_result_freep) PGresult *result = pg_query(conn, dump_sequences_sql, err);
	if (result == NULL)
		return -1;
	for (size_t at = 0; expected_get(rows, at, &expected); at++) {
		int side = 1;

		while (row < libpq.PQntuples(result) && side > 0) {
			side = order(&expected, libpq.PQgetvalue(result, row, 0),
			    libpq.PQgetvalue(result, row, 1));
			row += side > 0 ? 1 : 0;
		}
		compare_sequence(to, &expected,
		    side == 0 ? libpq.PQgetvalue(result, row, 2) : NULL);
	}

	return 0;
}

static int
compare_large_objects(PGconn *conn, const struct dump_database *database,
    struct dump_comparison *to, struct err *err)
{
	const json_t *expected = json_object_get(database->entry, "large_objects");
	int64_t count = 0;

	if (!json_is_integer(expected))
		return 0;
	SCOPED(freep)
	char *text = pg_query_value(conn, "SELECT count(*) FROM pg_largeobject_metadata", err);
	if (text == NULL || parse_i64(text, 0, INT64_MAX, &count, err) < 0)
		return -1;
	if (count != json_integer_value(expected))
		add_difference(to,
		    xasprintf("%lld large objects, the manifest has %lld", (long long)count,
			(long long)json_integer_value(expected)));

	return 0;
}

static int
compare_all(struct count *count, const struct dump_database *database, struct dump_comparison *to,
    struct err *err)
{
	const json_t *entry = database->entry;

	if (count_begin(count, count->conn, false, err) < 0 || count_finish(count, err) < 0)
		return -1;
	compare_tables(to, count, COUNT_TABLE, database->tables);
	compare_tables(to, count, COUNT_EXTENSION_TABLE,
	    json_object_get(entry, "extension_tables"));
	compare_tables(to, count, COUNT_MATVIEW, json_object_get(entry, "materialized_views"));
	if (compare_sequences(count->conn, database, to, err) < 0)
		return -1;

	return compare_large_objects(count->conn, database, to, err);
}

int
dump_compare(PGconn *conn, const struct dump_database *database, struct dump_comparison *ret,
    struct err *err)
{
	SCOPED(count_done) struct count count = { .conn = conn };

	*ret = (struct dump_comparison){ .tables = 0 };
	if (pg_execute(conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err) < 0 ||
	    compare_all(&count, database, ret, err) < 0) {
		dump_comparison_done(ret);
		return err_wrap(err, "cannot compare database '%s'", database->name);
	}

	return pg_execute(conn, "ROLLBACK", err);
}
