/* list, show, log: what there is and what happened. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/cli/args.h"
#include "app/cli/cli.h"
#include "app/cli/out.h"
#include "app/cli/rows_json.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "config/config.h"
#include "os/file.h"
#include "repo/manifest.h"
#include "store/store.h"

enum { LOG_MAX_BYTES = 64 * 1024 * 1024 };

/* ---- list ---------------------------------------------------------------------------------------- */

static const char *
remark(const struct backup_row *row)
{
	if (row->is_damaged)
		return row->check_message != NULL ? row->check_message : "damaged";
	if (row->is_unproven)
		return "there before us: 'verify' writes its manifest";
	if (row->is_pinned)
		return row->pin_reason != NULL ? row->pin_reason : "pinned";

	return row->warnings_count > 0 ? "has warnings: see 'show'" : "";
}

static void
print_list(const struct cli *cli, const struct backup_rows *rows)
{
	static const char *const headers[] = {
		"BACKUP",
		"KIND",
		"STATE OF",
		"SIZE",
		"PROVED",
		"REMARK",
		NULL,
	};
	SCOPED(table_freep) struct table *table = table_new(headers);

	for (size_t i = 0; i < rows->rows.count; i++) {
		const struct backup_row *row = &rows->rows.items[i];
		char when[CLOCK_TEXT_SIZE], size[32];

		table_cell(table, "%s", row->id);
		table_cell(table, "%s", row->kind);
		table_cell(table, "%s", out_time(cli, row->consistent_at, when));
		table_cell(table, "%s", format_bytes(row->stored_bytes, size));
		table_cell(table, "%s", out_proof(row));
		table_cell(table, "%s", remark(row));
	}
	table_print(table);
}

/* The word of `list` is a source or a job; a job's name wins. */
static struct backup_filter
filter_of(struct cli *cli)
{
	struct backup_filter filter = {
		.kind = args_text(cli->args, "kind"),
		.limit = args_number(cli->args, "limit", 0),
	};
	const char *word = args_word(cli->args, 0);

	if (word == NULL)
		return filter;
	if (cli->wire.config != NULL && config_find_job(cli->wire.config, word) != NULL)
		filter.job = word;
	else
		filter.source = word;

	return filter;
}

static int
list_json(const struct backup_rows *rows, struct err *err)
{
	json_t *root = json_object();
	json_t *backups = json_array();

	for (size_t i = 0; i < rows->rows.count; i++)
		(void)json_array_append_new(backups, backup_row_json(&rows->rows.items[i]));
	(void)json_object_set_new(root, "backups", backups);

	return out_json(root, "blackstart.list/1", err);
}

static int
cmd_list(struct cli *cli, struct err *err)
{
	SCOPED(backup_rows_done) struct backup_rows rows = { .rows = { .count = 0 } };
	struct backup_filter filter;

	if (wire_open_store(&cli->wire, cli->args, WIRE_READ, err) < 0)
		return -1;
	filter = filter_of(cli);
	if (catalog_backup_list(cli->wire.engine.catalog, &filter, &rows, err) < 0)
		return -1;
	if (rows.rows.count == 0 && filter.source != NULL) {
		/* Without a config a job is known only by its backups. */
		filter.job = TAKE(filter.source);
		if (catalog_backup_list(cli->wire.engine.catalog, &filter, &rows, err) < 0)
			return -1;
	}
	if (cli->is_json)
		return list_json(&rows, err);
	if (rows.rows.count == 0)
		out_line("no backups in '%s'", cli->wire.engine.store->location);
	else
		print_list(cli, &rows);

	return EXIT_OK;
}

/* ---- show ---------------------------------------------------------------------------------------- */

static void
show_field(const char *name, const char *text)
{
	if (text != NULL && text[0] != '\0')
		out_line("%-14s %s", name, text);
}

static void
show_row(const struct cli *cli, const struct backup_row *row)
{
	char text[CLOCK_TEXT_SIZE], size[32], content[32], sizes[80], source[256];

	show_field("backup", row->id);
	(void)snprintf(source, sizeof(source), "%s (%s %s)", row->source, row->source_type,
	    row->version);
	show_field("source", source);
	show_field("identity", row->identity);
	show_field("job", row->job);
	show_field("kind", row->kind);
	show_field("state of", out_time(cli, row->consistent_at, text));
	show_field("started", out_time(cli, row->started, text));
	show_field("finished", out_time(cli, row->finished, text));
	(void)snprintf(sizes, sizeof(sizes), "%s stored, %s before compression",
	    format_bytes(row->stored_bytes, size), format_bytes(row->content_bytes, content));
	show_field("size", sizes);
	show_field("proved", out_proof(row));
	show_field("proved at", row->level >= 0 ? out_time(cli, row->level_at, text) : NULL);
	show_field("last check",
	    row->checked_at.us != 0 ? out_time(cli, row->checked_at, text) : NULL);
	show_field("damage", row->check_message);
	show_field("pinned",
	    row->is_pinned ? (row->pin_reason != NULL ? row->pin_reason : "yes") : NULL);
	show_field("manifest", row->manifest_name);
}

static void
show_files(const struct manifest *manifest)
{
	static const char *const headers[] = { "FILE", "BYTES", "SHA-256", NULL };
	SCOPED(table_freep) struct table *table = table_new(headers);

	for (size_t i = 0; i < manifest->files.count; i++) {
		const struct manifest_file *file = &manifest->files.items[i];

		table_cell(table, "%s", file->name);
		table_cell(table, "%llu", (unsigned long long)file->bytes);
		table_cell(table, "%s", file->sha256);
	}
	(void)putchar('\n');
	table_print(table);
	for (size_t i = 0; i < manifest->warnings.count; i++)
		out_line("warning (%s): %s", manifest->warnings.items[i].code,
		    manifest->warnings.items[i].text);
}

/* The manifest as it is in the store, inside the object. */
static int
show_json(const struct backup_row *row, const struct str *text, struct err *err)
{
	json_t *root = json_object();

	(void)json_object_set_new(root, "backup", backup_row_json(row));
	(void)json_object_set_new(root, "manifest",
	    row->is_unproven ? json_null() : json_loadb(str_text(text), text->size, 0, NULL));

	return out_json(root, "blackstart.show/1", err);
}

static int
cmd_show(struct cli *cli, struct err *err)
{
	SCOPED(backup_row_done) struct backup_row row = { .id = NULL };
	SCOPED(str_done) struct str text = STR_INIT_MAX(MANIFEST_MAX_BYTES);
	SCOPED(manifest_freep) struct manifest *manifest = NULL;
	const struct backup_choice choice = { .word = args_word(cli->args, 0) };

	if (wire_open_store(&cli->wire, cli->args, WIRE_READ, err) < 0 ||
	    cli_choose_backup(cli, &choice, &row, err) < 0)
		return -1;
	if (!row.is_unproven &&
	    store_get_text(cli->wire.engine.store, row.manifest_name, MANIFEST_MAX_BYTES, &text,
		err) < 0)
		return -1;
	if (cli->is_json)
		return show_json(&row, &text, err);
	show_row(cli, &row);
	if (row.is_unproven) {
		(void)putchar(10);
		out_line(
		    "It was there before us and has no manifest: 'blackstart verify %s' reads it and writes one.",
		    row.id);
		return EXIT_OK;
	}
	manifest = manifest_parse(str_text(&text), text.size, err);
	if (manifest == NULL)
		return err_wrap(err, "manifest '%s'", row.manifest_name);
	str_done(&text);
	show_files(manifest);

	return EXIT_OK;
}

/* ---- log ----------------------------------------------------------------------------------------- */

static int
cmd_log(struct cli *cli, struct err *err)
{
	SCOPED(run_row_done) struct run_row row = { .id = NULL };
	SCOPED(str_done) struct str text = STR_INIT_MAX(LOG_MAX_BYTES);
	const char *id = args_word(cli->args, 0);

	if (wire_open_store(&cli->wire, cli->args, WIRE_READ, err) < 0)
		return -1;
	if (catalog_run_get(cli->wire.engine.catalog, id, &row, err) < 0)
		return err->kind == ERR_NOT_FOUND
		    ? err_hint(err, "'blackstart status' names the last run of each job.")
		    : -1;
	if (file_read_all(row.log_path, LOG_MAX_BYTES, &text, err) < 0)
		return -1;
	if (cli->is_json) {
		json_t *root = json_object();

		(void)json_object_set_new(root, "run", out_json_text(row.id));
		(void)json_object_set_new(root, "job", out_json_text(row.job));
		(void)json_object_set_new(root, "verb", out_json_text(row.verb));
		(void)json_object_set_new(root, "state", json_string(run_state_name(row.state)));
		(void)json_object_set_new(root, "started", out_json_time(row.started));
		(void)json_object_set_new(root, "finished", out_json_time(row.finished));
		(void)json_object_set_new(root, "message", out_json_text(row.message));
		(void)json_object_set_new(root, "log", out_json_text(str_text(&text)));
		return out_json(root, "blackstart.log/1", err);
	}
	(void)fwrite(str_text(&text), 1, text.size, stdout); /* made visible when it was written */
	if (row.message != NULL)
		out_line("%s: %s", run_state_name(row.state), row.message);

	return EXIT_OK;
}

const struct command_entry cmd_look_entries[] = {
	{ .verb = "list", .run = cmd_list },
	{ .verb = "show", .run = cmd_show },
	{ .verb = "log", .run = cmd_log },
	{ .verb = NULL },
};
