/* The routes that show what the catalog and the store hold. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "app/cli/out.h"
#include "app/cli/rows_json.h"
#include "app/web/app_internal.h"
#include "app/web/route.h"
#include "app/wire.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "catalog/catalog_audit.h"
#include "store/store.h"

enum {
	LIST_DEFAULT = 100,
	LIST_MAX = 1000,
	MANIFEST_SHOWN_MAX = 1024 * 1024,
};

/* ---- asking ------------------------------------------------------------------------------------- */

/* `limit` of the query; false: the reply says what is wrong with it. */
static bool
read_limit(struct web_call *call, unsigned *ret_limit)
{
	const char *text = request_query(call->request, "limit");
	struct err err = ERR_INIT;

	*ret_limit = LIST_DEFAULT;
	if (text == NULL || parse_unsigned(text, 1, LIST_MAX, ret_limit, &err) == 0)
		return true;
	(void)err_wrap(&err, "limit");
	reply_error(call->reply, 400, &err);

	return false;
}

static bool
read_before(struct web_call *call, struct wall_time *ret_before)
{
	const char *text = request_query(call->request, "before");
	struct err err = ERR_INIT;

	ret_before->us = 0;
	if (text == NULL || clock_parse(text, ret_before, &err) == 0)
		return true;
	(void)err_wrap(&err, "before");
	reply_error(call->reply, 400, &err);

	return false;
}

/* A query parameter that was left empty in a form is none. */
static const char *
query_text(struct web_call *call, const char *name)
{
	const char *text = request_query(call->request, name);

	return text != NULL && text[0] != '\0' ? text : NULL;
}

/* ---- runs --------------------------------------------------------------------------------------- */

void
web_get_runs(struct web_call *call)
{
	const char *state_name = query_text(call, "state");
	enum run_state state = state_name != NULL ? run_state_of(state_name) : RUN_OK;
	struct run_filter filter = {
		.job = query_text(call, "job"),
		.source = query_text(call, "source"),
		.verb = query_text(call, "verb"),
		.state = state_name != NULL ? &state : NULL,
	};
	SCOPED(run_rows_done) struct run_rows rows = { .rows = { .count = 0 } };
	struct err err = ERR_INIT;
	json_t *runs;

	if (!read_limit(call, &filter.limit) || !read_before(call, &filter.before))
		return;
	if (state_name != NULL && !str_equals(run_state_name(state), state_name)) {
		reply_refuse(call->reply, 400, NULL, "'%.60s' is no state of a run", state_name);
		return;
	}
	if (catalog_run_list(call->app->host->wire->engine.catalog, &filter, &rows, &err) < 0) {
		reply_error(call->reply, 0, &err);
		return;
	}
	runs = json_array();
	for (size_t i = 0; i < rows.rows.count; i++)
		(void)json_array_append_new(runs, run_row_json(&rows.rows.items[i]));
	reply_json(call->reply, "blackstart.runs/1", json_pack("{s:o}", "runs", runs));
}

/* What one would type to do the same again. */
static char *
command_of(const struct run_row *run)
{
	if (str_equals(run->verb, "backup") || str_equals(run->verb, "wal"))
		return xasprintf("blackstart run %s", run->job);
	if (str_equals(run->verb, "verify"))
		return xasprintf("blackstart verify %s",
		    run->backup_id != NULL ? run->backup_id : "latest");
	if (str_equals(run->verb, "restore"))
		return xasprintf("blackstart plan restore %s",
		    run->backup_id != NULL ? run->backup_id : run->source);
	if (str_equals(run->verb, "prune"))
		return xasprintf("blackstart prune %s", run->job);

	return NULL;
}

void
web_get_run(struct web_call *call)
{
	SCOPED(run_row_done) struct run_row row = { .id = NULL };
	SCOPED(freep) char *command = NULL;
	struct err err = ERR_INIT;
	json_t *root;

	if (catalog_run_get(call->app->host->wire->engine.catalog, call->id, &row, &err) < 0) {
		reply_error(call->reply, 0, &err);
		return;
	}
	command = command_of(&row);
	root = json_pack("{s:o, s:o, s:o}", "run", run_row_json(&row), "command",
	    out_json_text(command), "log_command", json_null());
	(void)json_object_set_new(root, "log_command", json_sprintf("blackstart log %s", row.id));
	reply_json(call->reply, "blackstart.run/1", root);
}

/* ---- backups ------------------------------------------------------------------------------------ */

void
web_get_backups(struct web_call *call)
{
	struct backup_filter filter = {
		.job = query_text(call, "job"),
		.source = query_text(call, "source"),
		.kind = query_text(call, "kind"),
	};
	SCOPED(backup_rows_done) struct backup_rows rows = { .rows = { .count = 0 } };
	struct err err = ERR_INIT;
	json_t *backups;

	if (!read_limit(call, &filter.limit))
		return;
	if (catalog_backup_list(call->app->host->wire->engine.catalog, &filter, &rows, &err) < 0) {
		reply_error(call->reply, 0, &err);
		return;
	}
	backups = json_array();
	for (size_t i = 0; i < rows.rows.count; i++)
		(void)json_array_append_new(backups, backup_row_json(&rows.rows.items[i]));
	reply_json(call->reply, "blackstart.list/1", json_pack("{s:o}", "backups", backups));
}

/* The manifest as it is in the store; NULL with `err` for one that is too large to be shown. */
static json_t *
read_manifest(struct web_call *call, const struct backup_row *row, struct err *err)
{
	SCOPED(str_done) struct str text = STR_INIT_MAX(MANIFEST_SHOWN_MAX);
	json_t *manifest;

	if (row->is_unproven)
		return json_null();
	if (store_get_text(call->app->host->wire->engine.store, row->manifest_name,
		MANIFEST_SHOWN_MAX, &text, err) < 0)
		return NULL;
	manifest = json_loadb(str_text(&text), text.size, 0, NULL);
	if (manifest == NULL)
		(void)err_set(err, ERR_DATA, "manifest '%s' is no JSON", row->manifest_name);

	return manifest;
}

void
web_get_backup(struct web_call *call)
{
	SCOPED(backup_row_done) struct backup_row row = { .id = NULL };
	struct err err = ERR_INIT;
	json_t *manifest, *root;

	if (catalog_backup_get(call->app->host->wire->engine.catalog, call->id, &row, &err) < 0) {
		reply_error(call->reply, 0, &err);
		return;
	}
	manifest = read_manifest(call, &row, &err);
	root = json_object();
	(void)json_object_set_new(root, "backup", backup_row_json(&row));
	(void)json_object_set_new(root, "manifest", manifest != NULL ? manifest : json_null());
	(void)json_object_set_new(root, "manifest_failure",
	    out_json_text(manifest != NULL ? NULL : err.msg));
	(void)json_object_set_new(root, "command", json_sprintf("blackstart show %s", row.id));
	reply_json(call->reply, "blackstart.show/1", root);
}

/* ---- audit -------------------------------------------------------------------------------------- */

void
web_get_audit(struct web_call *call)
{
	SCOPED(audit_rows_done) struct audit_rows rows = { .rows = { .count = 0 } };
	struct err err = ERR_INIT;
	json_t *entries;
	unsigned limit;

	if (!read_limit(call, &limit))
		return;
	if (catalog_audit_list(call->app->host->wire->engine.catalog, limit, &rows, &err) < 0) {
		reply_error(call->reply, 0, &err);
		return;
	}
	entries = json_array();
	for (size_t i = 0; i < rows.rows.count; i++) {
		const struct audit_row *row = &rows.rows.items[i];

		(void)json_array_append_new(entries,
		    json_pack("{s:o, s:o, s:o, s:o, s:o}", "at", out_json_time(row->at), "who",
			out_json_text(row->who), "action", out_json_text(row->action), "subject",
			out_json_text(row->subject), "detail", out_json_text(row->detail)));
	}
	reply_json(call->reply, "blackstart.audit/1", json_pack("{s:o}", "entries", entries));
}

/* ---- the rest ----------------------------------------------------------------------------------- */

void
web_get_routes(struct web_call *call)
{
	json_t *list = json_array();

	for (size_t i = 0; route_at(i) != NULL; i++) {
		const struct route *route = route_at(i);

		(void)json_array_append_new(list,
		    json_pack("{s:s, s:s, s:s}", "method",
			route->method == METHOD_POST ? "POST" : "GET", "path", route->pattern,
			"doc", route->doc));
	}
	reply_json(call->reply, "blackstart.routes/1", json_pack("{s:o}", "routes", list));
}

void
web_get_health(struct web_call *call)
{
	call->reply->type = "text/plain; charset=utf-8";
	str_add(&call->reply->body, "ok\n");
}

void
web_get_ready(struct web_call *call)
{
	const struct web_host *host = call->app->host;
	struct job_summaries ignored = { .rows = { .count = 0 } };
	struct store_space space;
	struct err err = ERR_INIT;

	call->reply->type = "text/plain; charset=utf-8";
	if (host->is_ready != NULL && !host->is_ready(host->context, &call->reply->body)) {
		call->reply->status = 503;
	} else if (catalog_job_summaries(host->wire->engine.catalog, &ignored, &err) < 0 ||
	    store_space(host->wire->engine.store, &space, &err) < 0) {
		call->reply->status = 503;
		str_add(&call->reply->body, err.msg);
	} else {
		str_add(&call->reply->body, "ready");
	}
	str_add(&call->reply->body, "\n");
	job_summaries_done(&ignored);
}

void
web_get_metrics(struct web_call *call)
{
	const struct web_host *host = call->app->host;
	struct err err = ERR_INIT;

	if (host->metrics == NULL) {
		reply_refuse(call->reply, 501, NULL, "this server has no metrics");
		return;
	}
	if (host->metrics(host->context, &call->reply->body, &err) < 0) {
		reply_error(call->reply, 503, &err);
		return;
	}
	call->reply->type = "text/plain; version=0.0.4; charset=utf-8";
}
