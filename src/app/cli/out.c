#include "app/cli/out.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/cli/args.h"
#include "app/cli/cli.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "base/zone.h"
#include "catalog/catalog.h"

enum {
	CELL_MAX = 512,
	EXIT_READER_GONE = 141, /* as a shell counts death by SIGPIPE */
};

struct table {
	size_t columns;
	VEC(char *) cells;
};

/* Names come from servers and files: nothing in them may steer a terminal. */
static void
put_visible(const char *text)
{
	for (const char *c = text; *c != '\0'; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			(void)printf("\\x%02x", (unsigned char)*c);
		else
			(void)putchar(*c);
	}
}

void
out_line(const char *format, ...)
{
	SCOPED(freep) char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	put_visible(text != NULL ? text : "");
	(void)putchar('\n');
}

struct table *
table_new(const char *const *headers)
{
	struct table *table = xcalloc(1, sizeof(*table));

	for (; headers[table->columns] != NULL; table->columns++)
		vec_push(&table->cells, xstrdup(headers[table->columns]));

	return table;
}

void
table_cell(struct table *table, const char *format, ...)
{
	char text[CELL_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	vec_push(&table->cells, xstrdup(text));
}

/* Columns a text takes: code points, which is right for the scripts names are written in here. */
static size_t
width_of(const char *text)
{
	size_t width = 0;

	for (const char *c = text; *c != '\0'; c++)
		width += ((unsigned char)*c & 0xc0) != 0x80 ? 1 : 0;

	return width;
}

static size_t
column_width(const struct table *table, size_t column)
{
	size_t widest = 0;

	for (size_t i = column; i < table->cells.count; i += table->columns) {
		size_t width = width_of(table->cells.items[i]);

		widest = width > widest ? width : widest;
	}

	return widest;
}

void
table_print(const struct table *table)
{
	SCOPED(freep) size_t *widths = xcalloc(table->columns, sizeof(*widths));

	for (size_t i = 0; i < table->columns; i++)
		widths[i] = column_width(table, i);
	for (size_t i = 0; i < table->cells.count; i++) {
		const char *cell = table->cells.items[i];
		bool is_last = (i + 1) % table->columns == 0;

		put_visible(cell);
		if (is_last)
			(void)putchar('\n');
		else
			(void)printf("%*s", (int)(widths[i % table->columns] - width_of(cell) + 2),
			    "");
	}
}

void
table_free(struct table *table)
{
	if (table == NULL)
		return;
	for (size_t i = 0; i < table->cells.count; i++)
		free(table->cells.items[i]);
	vec_done(&table->cells);
	free(table);
}

int
out_json(struct json_t *root, const char *schema, struct err *err)
{
	json_t *whole = json_object();
	int result;

	(void)json_object_set_new(whole, "schema", json_string(schema));
	(void)json_object_update_missing(whole, root);
	json_decref(root);
	result = json_dumpf(whole, stdout, JSON_INDENT(2));
	json_decref(whole);
	(void)putchar('\n');
	if (result < 0)
		return err_sys(err, "cannot write to stdout");

	return 0;
}

struct json_t *
out_json_text(const char *text)
{
	json_t *value = text != NULL ? json_string(text) : json_null();

	if (value == NULL) {
		SCOPED(str_done) struct str clean = STR_INIT;

		for (const char *c = text; *c != '\0'; c++)
			str_add_char(&clean, (unsigned char)*c < 0x80 ? *c : '?');
		value = json_string(str_text(&clean));
	}

	return value;
}

struct json_t *
out_json_time(struct wall_time time)
{
	char text[CLOCK_TEXT_SIZE];

	return time.us != 0 ? json_string(clock_format(time, text)) : json_null();
}

int
out_flush(struct err *err)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	if (errno == EPIPE)
		_exit(EXIT_READER_GONE); /* "list | head": nobody is left to tell */

	return err_sys(err, "cannot write to stdout");
}

const char *
out_time(const struct cli *cli, struct wall_time time, char *text)
{
	if (time.us == 0)
		(void)snprintf(text, CLOCK_TEXT_SIZE, "-");
	else
		(void)zone_format(cli->wire.engine.zone, time, text);

	return text;
}

const char *
out_ago(struct wall_time time, char *text)
{
	int64_t us = clock_wall().us - time.us;
	char span[CLOCK_TEXT_SIZE];

	if (time.us == 0)
		(void)snprintf(text, CLOCK_TEXT_SIZE, "never");
	else if (us >= 0)
		(void)snprintf(text, 2 * CLOCK_TEXT_SIZE, "%s ago",
		    clock_format_duration(us, span));
	else
		(void)snprintf(text, 2 * CLOCK_TEXT_SIZE, "in %s",
		    clock_format_duration(-us, span));

	return text;
}

void
out_next(const struct cli *cli, const char *command)
{
	const char *store = args_text(cli->args, "store");
	const char *config = args_text(cli->args, "config");

	out_line("next: %s%s%s%s%s", command, config != NULL ? " -c " : "",
	    config != NULL ? config : "", store != NULL ? " --store " : "",
	    store != NULL ? store : "");
}

const char *
out_proof(const struct backup_row *row)
{
	static const char *const levels[] = {
		"L0 unchanged",
		"L1 sound",
		"L2 restored",
		"L3 counted",
		"L4 works",
		"L5 plant",
	};

	if (row->is_damaged)
		return "DAMAGED";
	if (row->is_unproven)
		return "unproven";
	if (row->level < 0 || (size_t)row->level >= ARRAY_SIZE(levels))
		return "not proved";

	return levels[row->level];
}
