#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "os/process.h"
#include "repo/manifest.h"
#include "source/postgres/dump/dump_internal.h"
#include "source/postgres/tool_internal.h"

/*
 * A dump made by cron has no manifest.  What it is, its own table of contents tells: pg_restore
 * prints it with a header of "; name: value" lines, and the statement that would create the
 * database.
 */

enum {
	LIST_MAX_BYTES = 64 * 1024 * 1024,
	CREATE_MAX_BYTES = 256 * 1024,
	HEADER_LINES_MAX = 20,
	VERSION_MIN = 130000,
};

/* ---- the first bytes --------------------------------------------------------------------------------- */

/*
 * "PGDMP", then the format's version: 1.14 is written by pg_dump 12 to 15, 1.15 by 16, 1.16 by
 * 17 and 18.  It decides which pg_restore can read on.
 */
static int
oldest_reader(const char *path, int *ret_major, struct err *err)
{
	static const char magic[] = "PGDMP";
	unsigned char head[8] = { 0 };

	SCOPED(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "cannot open '%s'", path);
	if (read(fd, head, sizeof(head)) < (ssize_t)sizeof(head) ||
	    memcmp(head, magic, sizeof(magic) - 1) != 0) {
		(void)err_set(err, ERR_DATA, "'%s' is no dump in custom format", path);
		return err_hint(err,
		    "Dumps are made with pg_dump -Fc; plain SQL files are not handled.");
	}
	*ret_major = head[5] > 1 || head[6] > 15 ? 17 : head[6] == 15 ? 16 : 13;

	return 0;
}

/* ---- pg_restore's answers ------------------------------------------------------------------------------ */

static int
keep(void *context, const void *data, size_t size, struct err *err)
{
	struct str *text = context;

	str_add_bytes(text, data, size);
	if (str_is_full(text))
		return err_set(err, ERR_LIMIT, "what pg_restore tells is larger than %zu bytes",
		    text->max);

	return 0;
}

static int
ask_pg_restore(const struct pg_program *program, const char *const *options, const char *path,
    struct str *to, struct err *err)
{
	const struct tool_pipes pipes = { .wants_stdout = true };
	const struct process_flow flow = { .on_stdout = keep, .context = to };
	SCOPED(tool_done) struct tool tool = { .passfile_fd = -1 };

	tool_init(&tool, program->path);
	/* The dump keeps the civil time of the machine that made it, without its zone. */
	tool_env(&tool, "TZ=UTC");
	for (size_t i = 0; options[i] != NULL; i++)
		tool_arg(&tool, "%s", options[i]);
	tool_arg(&tool, "%s", path);
	SCOPED(process_freep) struct process *process = tool_start(&tool, &pipes, err);
	if (process == NULL)
		return -1;

	return tool_run(process, "pg_restore", &flow, err);
}

/* ---- the header ------------------------------------------------------------------------------------------ */

/* The value of "; ... name: value" among the first lines; yours, or NULL. */
static char *
header_value(const char *list, const char *name)
{
	for (int line = 0; line < HEADER_LINES_MAX && *list != '\0'; line++) {
		size_t size = strcspn(list, "\n");
		const char *at = memmem(list, size, name, strlen(name));

		if (list[0] == ';' && at != NULL) {
			at += strlen(name);
			at += strspn(at, ": ");
			return xstrndup(at, size - (size_t)(at - list));
		}
		list += size + (list[size] == '\n' ? 1 : 0);
	}

	return NULL;
}

/* "15.20 (Debian ...)" to 150020. */
static int
version_number(const char *text)
{
	unsigned major = 0;
	unsigned minor = 0;
	struct err ignored = ERR_INIT;
	size_t size = text != NULL ? strspn(text, "0123456789") : 0;
	SCOPED(freep) char *major_text = xstrndup(text != NULL ? text : "", size);
	SCOPED(freep) char *minor_text = NULL;

	if (parse_unsigned(major_text, 1, 999, &major, &ignored) < 0)
		return 0;
	if (text[size] == '.') {
		minor_text = xstrndup(text + size + 1, strspn(text + size + 1, "0123456789"));
		if (parse_unsigned(minor_text, 0, 999, &minor, &ignored) < 0)
			minor = 0;
	}

	return (int)(major * 10000 + minor);
}

/* "2025-11-25 02:00:03 UTC" */
static void
set_time(struct manifest *draft, const char *text)
{
	SCOPED(freep) char *stamp = NULL;
	struct err ignored = ERR_INIT;

	if (text == NULL || strlen(text) < 19)
		return;
	stamp = xasprintf("%.10sT%.8sZ", text, text + 11);
	if (clock_parse(stamp, &draft->consistent_at, &ignored) < 0)
		draft->consistent_at.us = 0;
	(void)json_object_set_new(draft->content, "created_at_zone", json_string("assumed UTC"));
}

/* ---- the database ----------------------------------------------------------------------------------------- */

/* "3; 3079 16385 EXTENSION - pg_trgm " */
static json_t *
list_extensions(const char *list)
{
	static const char mark[] = " EXTENSION - ";
	json_t *extensions = json_array();

	while (*list != '\0') {
		size_t size = strcspn(list, "\n");
		const char *at = memmem(list, size, mark, sizeof(mark) - 1);
		bool is_comment = memmem(list, size, " COMMENT - ", 11) != NULL;

		if (list[0] != ';' && at != NULL && !is_comment) {
			SCOPED(freep) char *name = NULL;
			json_t *row = json_array();

			at += sizeof(mark) - 1;
			name = xstrndup(at, strcspn(at, " \n"));
			(void)json_array_append_new(row, json_text(name));
			(void)json_array_append_new(row, json_null());
			(void)json_array_append_new(extensions, row);
		}
		list += size + (list[size] == '\n' ? 1 : 0);
	}

	return extensions;
}

/* " ENCODING = 'UTF8'" in the CREATE DATABASE statement. */
static void
set_option(json_t *entry, const char *field, const char *statement, const char *option)
{
	SCOPED(freep) char *mark = xasprintf(" %s = '", option);
	const char *at = strstr(statement, mark);
	SCOPED(freep) char *value = NULL;

	if (at == NULL)
		return;
	at += strlen(mark);
	value = xstrndup(at, strcspn(at, "'"));
	(void)json_object_set_new(entry, field, json_text(value));
}

static void
set_locale(json_t *entry, const char *statement)
{
	set_option(entry, "encoding", statement, "ENCODING");
	/* One LOCALE stands for both, and is overruled by what follows it. */
	set_option(entry, "collate", statement, "LOCALE");
	set_option(entry, "ctype", statement, "LOCALE");
	set_option(entry, "collate", statement, "LC_COLLATE");
	set_option(entry, "ctype", statement, "LC_CTYPE");
	set_option(entry, "locale", statement, "ICU_LOCALE");
	set_option(entry, "locale", statement, "BUILTIN_LOCALE");
	if (strstr(statement, "LOCALE_PROVIDER = icu") != NULL)
		(void)json_object_set_new(entry, "provider", json_string("icu"));
	else if (strstr(statement, "LOCALE_PROVIDER = builtin") != NULL)
		(void)json_object_set_new(entry, "provider", json_string("builtin"));
	else
		(void)json_object_set_new(entry, "provider", json_string("libc"));
}

/* Stops pg_restore as soon as the statement is complete. */
static int
keep_create(void *context, const void *data, size_t size, struct err *err)
{
	struct str *text = context;
	const char *create;

	str_add_bytes(text, data, size);
	create = strstr(str_text(text), "\nCREATE DATABASE ");
	if ((create != NULL && strchr(create, ';') != NULL) || str_is_full(text))
		return err_set(err, ERR_LIMIT, "enough");

	return 0;
}

static void
find_locale(const struct pg_program *program, const char *path, json_t *entry)
{
	const struct tool_pipes pipes = { .wants_stdout = true };
	struct err ignored = ERR_INIT;
	SCOPED(str_done) struct str text = STR_INIT_MAX(CREATE_MAX_BYTES);
	const struct process_flow flow = { .on_stdout = keep_create, .context = &text };
	SCOPED(tool_done) struct tool tool = { .passfile_fd = -1 };
	SCOPED(freep) char *statement = NULL;
	const char *at;

	tool_init(&tool, program->path);
	tool_arg(&tool, "--create");
	tool_arg(&tool, "--schema-only");
	tool_arg(&tool, "--file=-");
	tool_arg(&tool, "%s", path);
	SCOPED(process_freep) struct process *process = tool_start(&tool, &pipes, &ignored);
	if (process == NULL || process_pump(process, &flow, &ignored) == 0)
		return;
	at = strstr(str_text(&text), "\nCREATE DATABASE ");
	if (at == NULL)
		return;
	statement = xstrndup(at, strcspn(at + 1, "\n") + 1);
	set_locale(entry, statement);
}

static int
describe(const struct pg_program *program, const char *path, const char *list,
    struct manifest *draft, struct err *err)
{
	SCOPED(freep) char *name = header_value(list, "    dbname");
	SCOPED(freep) char *server = header_value(list, "Dumped from database version");
	SCOPED(freep) char *tool = header_value(list, "Dumped by pg_dump version");
	SCOPED(freep) char *created = header_value(list, "Archive created at");
	SCOPED(freep) char *compression = header_value(list, "    Compression");
	json_t *databases = json_array();
	json_t *entry = json_object();

	(void)json_array_append_new(databases, entry);
	(void)json_object_set_new(draft->content, "databases", databases);
	(void)json_object_set_new(draft->content, "is_counted", json_false());
	if (name == NULL || server == NULL)
		return err_set(err, ERR_DATA, "pg_restore does not tell what '%s' is a dump of",
		    path);
	(void)json_object_set_new(draft->content, "server_version_num",
	    json_integer(version_number(server)));
	(void)json_object_set_new(draft->content, "pg_dump_version_num",
	    json_integer(version_number(tool)));
	if (compression != NULL)
		(void)json_object_set_new(draft->content, "compression", json_text(compression));
	(void)json_object_set_new(entry, "name", json_text(name));
	(void)json_object_set_new(entry, "file", json_string("dump"));
	(void)json_object_set_new(entry, "format", json_string("custom"));
	(void)json_object_set_new(entry, "extensions", list_extensions(list));
	find_locale(program, path, entry);
	set_time(draft, created);
	free(draft->source_version);
	draft->source_version = pg_version_text(version_number(server));

	return 0;
}

int
pg_dump_adopt(struct postgres *pg, const char *path, struct manifest *draft, struct err *err)
{
	static const char *const list_options[] = { "--list", NULL };
	struct pg_program program = { .path = NULL };
	SCOPED(str_done) struct str list = STR_INIT_MAX(LIST_MAX_BYTES);
	int major = VERSION_MIN / 10000;
	int result;

	if (oldest_reader(path, &major, err) < 0 ||
	    pg_program_find(pg, "pg_restore", major, false, &program, err) < 0)
		return -1;
	result = ask_pg_restore(&program, list_options, path, &list, err);
	if (result == 0)
		result = describe(&program, path, str_text(&list), draft, err);
	else if (err->kind == ERR_PEER)
		err->kind = ERR_DATA;
	pg_program_done(&program);

	return result;
}
