#include "app/cli/rows_json.h"

#include <jansson.h>

#include "app/cli/out.h"
#include "catalog/catalog.h"

struct json_t *
backup_row_json(const struct backup_row *row)
{
	json_t *root = json_object();

	(void)json_object_set_new(root, "id", out_json_text(row->id));
	(void)json_object_set_new(root, "job", out_json_text(row->job));
	(void)json_object_set_new(root, "source", out_json_text(row->source));
	(void)json_object_set_new(root, "type", out_json_text(row->source_type));
	(void)json_object_set_new(root, "kind", out_json_text(row->kind));
	(void)json_object_set_new(root, "identity", out_json_text(row->identity));
	(void)json_object_set_new(root, "version", out_json_text(row->version));
	(void)json_object_set_new(root, "manifest", out_json_text(row->manifest_name));
	(void)json_object_set_new(root, "started", out_json_time(row->started));
	(void)json_object_set_new(root, "finished", out_json_time(row->finished));
	(void)json_object_set_new(root, "consistent_at", out_json_time(row->consistent_at));
	(void)json_object_set_new(root, "content_bytes",
	    json_integer((json_int_t)row->content_bytes));
	(void)json_object_set_new(root, "stored_bytes",
	    json_integer((json_int_t)row->stored_bytes));
	(void)json_object_set_new(root, "warnings_count", json_integer(row->warnings_count));
	(void)json_object_set_new(root, "proved", json_boolean(!row->is_unproven));
	(void)json_object_set_new(root, "damaged", json_boolean(row->is_damaged));
	(void)json_object_set_new(root, "level",
	    row->level >= 0 ? json_integer(row->level) : json_null());
	(void)json_object_set_new(root, "level_at", out_json_time(row->level_at));
	(void)json_object_set_new(root, "checked_at", out_json_time(row->checked_at));
	(void)json_object_set_new(root, "check_message", out_json_text(row->check_message));
	(void)json_object_set_new(root, "pinned", json_boolean(row->is_pinned));
	(void)json_object_set_new(root, "pin_reason", out_json_text(row->pin_reason));

	return root;
}

struct json_t *
run_row_json(const struct run_row *row)
{
	json_t *root = json_object();

	(void)json_object_set_new(root, "id", out_json_text(row->id));
	(void)json_object_set_new(root, "job", out_json_text(row->job));
	(void)json_object_set_new(root, "source", out_json_text(row->source));
	(void)json_object_set_new(root, "verb", out_json_text(row->verb));
	(void)json_object_set_new(root, "state", json_string(run_state_name(row->state)));
	(void)json_object_set_new(root, "started", out_json_time(row->started));
	(void)json_object_set_new(root, "finished", out_json_time(row->finished));
	(void)json_object_set_new(root, "backup", out_json_text(row->backup_id));
	(void)json_object_set_new(root, "source_bytes",
	    json_integer((json_int_t)row->source_bytes));
	(void)json_object_set_new(root, "stored_bytes",
	    json_integer((json_int_t)row->stored_bytes));
	(void)json_object_set_new(root, "message", out_json_text(row->message));
	(void)json_object_set_new(root, "hint", out_json_text(row->hint));

	return root;
}
