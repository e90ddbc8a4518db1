#include "repo/emptied.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"
#include "repo/manifest.h"

struct emptied {
	json_t *full; /* an object whose keys are the tables that held rows */
};

struct table_visit {
	void (*visit)(struct table_visit *visit, const char *name, json_int_t rows);
	const struct emptied *emptied;
	unsigned count;
	char *first;
};

struct emptied *
emptied_new(void)
{
	struct emptied *emptied = xcalloc(1, sizeof(*emptied));

	emptied->full = json_object();

	return emptied;
}

void
emptied_free(struct emptied *emptied)
{
	if (emptied == NULL)
		return;
	json_decref(emptied->full);
	free(emptied);
}

/* A row is [schema, name, rows]; rows is null where it could not be counted. */
static void
visit_table(struct table_visit *visit, const char *database, const json_t *row)
{
	const char *schema = json_string_value(json_array_get(row, 0));
	const char *table = json_string_value(json_array_get(row, 1));
	const json_t *rows = json_array_get(row, 2);
	SCOPED(freep) char *name = NULL;

	if (schema == NULL || table == NULL || !json_is_integer(rows))
		return;
	name = xasprintf("%s: %s.%s", database, schema, table);
	visit->visit(visit, name, json_integer_value(rows));
}

static void
visit_tables(struct table_visit *visit, const struct manifest *manifest)
{
	const json_t *databases = json_object_get(manifest->content, "databases");

	for (size_t i = 0; i < json_array_size(databases); i++) {
		const json_t *database = json_array_get(databases, i);
		const char *name = json_string_value(json_object_get(database, "name"));
		const json_t *tables = json_object_get(database, "tables");

		for (size_t j = 0; name != NULL && j < json_array_size(tables); j++)
			visit_table(visit, name, json_array_get(tables, j));
	}
}

static void
remember(struct table_visit *visit, const char *name, json_int_t rows)
{
	if (rows > 0)
		(void)json_object_set_new(visit->emptied->full, name, json_true());
}

void
emptied_remember(struct emptied *emptied, const struct manifest *earlier)
{
	struct table_visit visit = { .visit = remember, .emptied = emptied };

	visit_tables(&visit, earlier);
}

static void
compare(struct table_visit *visit, const char *name, json_int_t rows)
{
	if (rows > 0 || json_object_get(visit->emptied->full, name) == NULL)
		return;
	if (visit->count++ == 0)
		visit->first = xstrdup(name);
}

char *
emptied_find(const struct emptied *emptied, const struct manifest *newest)
{
	struct table_visit visit = { .visit = compare, .emptied = emptied };
	char *text = NULL;

	visit_tables(&visit, newest);
	if (visit.count == 1)
		text = xasprintf("a table is empty now: %s", visit.first);
	else if (visit.count > 1)
		text = xasprintf("%u tables are empty now, the first: %s", visit.count,
		    visit.first);
	free(visit.first);

	return text;
}
