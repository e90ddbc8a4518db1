#include <jansson.h>
#include <string.h>

#include "source/postgres/count_internal.h"

json_t *
json_text(const char *text)
{
	json_t *plain = json_string(text);
	struct str wide = STR_INIT;

	if (plain != NULL)
		return plain;
	for (const char *c = text; *c != '\0'; c++) {
		unsigned char byte = (unsigned char)*c;

		if (byte < 0x80) {
			str_add_char(&wide, *c);
			continue;
		}
		str_add_char(&wide, (char)(0xc0 | (byte >> 6)));
		str_add_char(&wide, (char)(0x80 | (byte & 0x3f)));
	}
	plain = json_string(str_text(&wide));
	str_done(&wide);

	return plain;
}

/* Neighbours share the text of their schema: with 100,000 tables that is a third of the memory. */
static json_t *
schema_text(const struct count *count, const struct count_table *table, json_t *last)
{
	json_t *text;

	if (last != NULL && strcmp(json_string_value(last), count_schema(count, table)) == 0)
		return json_incref(last);
	text = json_text(count_schema(count, table));

	return text;
}

static void
add_row(json_t *to, const struct count *count, const struct count_table *table, json_t *rows)
{
	size_t size = json_array_size(to);
	json_t *last = size > 0 ? json_array_get(json_array_get(to, size - 1), 0) : NULL;
	json_t *row = json_array();

	(void)json_array_append_new(row, schema_text(count, table, last));
	(void)json_array_append_new(row, json_text(count_name(count, table)));
	if (rows != NULL)
		(void)json_array_append_new(row, rows);
	(void)json_array_append_new(to, row);
}

json_t *
count_json(const struct count *count, enum count_kind kind)
{
	json_t *to = json_array();

	for (size_t i = 0; i < count->tables.count; i++) {
		const struct count_table *table = &count->tables.items[i];

		if (table->kind == kind)
			add_row(to, count, table,
			    table->rows < 0 ? json_null() : json_integer(table->rows));
	}

	return to;
}

json_t *
count_json_unlogged(const struct count *count)
{
	json_t *to = json_array();

	for (size_t i = 0; i < count->tables.count; i++) {
		if (count->tables.items[i].is_unlogged)
			add_row(to, count, &count->tables.items[i], NULL);
	}

	return to;
}

json_t *
count_json_rls(const struct count *count)
{
	json_t *to = json_array();

	for (size_t i = 0; i < count->tables.count; i++) {
		if (count->tables.items[i].has_rls)
			add_row(to, count, &count->tables.items[i], NULL);
	}

	return to;
}
