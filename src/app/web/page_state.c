#include "app/web/page_state.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/cli/out.h"
#include "app/expect.h"
#include "app/state_json.h"
#include "app/web/app_internal.h"
#include "app/web/gzip.h"
#include "app/wire.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/version.h"
#include "base/zone.h"
#include "catalog/catalog_history.h"
#include "config/config.h"
#include "engine/lane.h"
#include "engine/state.h"
#include "store/store.h"

/* Ages and windows move by themselves; what the catalog holds says so when it changes. */
#define MOVES_US (15 * US_PER_S)
#define CHANGES_US (US_PER_S)
#define RUNNING_US (2 * US_PER_S)

struct page_state {
	const struct web_host *host;
	struct state_keeper *keeper;
	struct lanes lanes;
	struct expectations expected; /* made when there was first need of them */
	bool has_expected;
	struct page_body body;
	struct mono_time made_at; /* 0: never */
	uint64_t mark;
	bool is_running; /* some job was, then */
};

struct page_state *
page_state_new(const struct web_host *host)
{
	struct page_state *state = xcalloc(1, sizeof(*state));

	state->host = host;
	state->keeper = state_keeper_new();
	state->body.json = (struct str)STR_INIT_MAX(REPLY_MAX);
	state->body.gzip = (struct str)STR_INIT_MAX(REPLY_MAX);

	return state;
}

void
page_state_free(struct page_state *state)
{
	if (state == NULL)
		return;
	state_keeper_free(state->keeper);
	lanes_done(&state->lanes);
	expectations_done(&state->expected);
	str_done(&state->body.json);
	str_done(&state->body.gzip);
	free(state);
}

/* ---- what only the page shows ------------------------------------------------------------------- */

/* [{job, phase, percent}]; a job that runs takes nothing away from what is said of its last run. */
static json_t *
running_json(const struct web_host *host, const struct overview *overview)
{
	json_t *running = json_array();

	for (size_t i = 0; i < overview->jobs.count; i++) {
		const struct overview_job *job = &overview->jobs.items[i];
		struct web_progress progress = { .ratio = -1 };
		json_t *item;

		if (!job->is_running || job->stream != NULL)
			continue;
		if (host->progress != NULL)
			(void)host->progress(host->context, job->job, &progress);
		item = json_pack("{s:o, s:o}", "job", out_json_text(job->job), "phase",
		    out_json_text(progress.phase));
		(void)json_object_set_new(item, "percent",
		    progress.ratio >= 0 ? json_integer((json_int_t)(progress.ratio * 100))
					: json_null());
		(void)json_array_append_new(running, item);
	}

	return running;
}

/*
 * [{rule, subject, severity, since, text, cause, next_command, acknowledged, shelved_until}]: what
 * the overview itself finds, before any alarm was raised for it.
 */
static json_t *
abnormal_json(const struct overview *overview)
{
	json_t *abnormal = json_array();

	for (size_t i = 0; i < overview->jobs.count; i++) {
		const struct overview_job *job = &overview->jobs.items[i];
		json_t *item;

		if (job->abnormal == NULL)
			continue;
		item = json_pack("{s:n, s:o, s:s, s:n, s:o, s:n, s:o, s:b, s:n}", "rule", "subject",
		    out_json_text(job->job), "severity", "warning", "since", "text",
		    out_json_text(job->abnormal), "cause", "next_command",
		    out_json_text(job->next_command), "acknowledged", 0, "shelved_until");
		(void)json_array_append_new(abnormal, item);
	}

	return abnormal;
}

static void
add_settings(json_t *root, const struct web_host *host)
{
	const struct config *config = host->wire->config;

	(void)json_object_set_new(root, "version", json_string(BLACKSTART_VERSION));
	(void)json_object_set_new(root, "timezone",
	    out_json_text(zone_name(host->wire->engine.zone)));
	(void)json_object_set_new(root, "warn_percent",
	    json_integer(config != NULL ? config->store.warn_percent : 0));
	(void)json_object_set_new(root, "critical_percent",
	    json_integer(config != NULL ? config->store.critical_percent : 0));
}

/* ---- making it ---------------------------------------------------------------------------------- */

static int
add_piece(const char *data, size_t size, void *to)
{
	str_add_bytes(to, data, size);

	return 0;
}

/* Of its content, so that what was made again and is the same need not be sent again (FNV-1a). */
static void
name_version(struct page_body *body)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < body->json.size; i++)
		hash = (hash ^ (unsigned char)body->json.data[i]) * UINT64_C(0x100000001b3);
	(void)snprintf(body->etag, sizeof(body->etag), "\"%016" PRIx64 "\"", hash);
}

static void
write_body(struct page_state *state, const struct state *from)
{
	const struct wire *wire = state->host->wire;
	json_t *root = state_json(from, wire->engine.store->location,
	    wire->config != NULL ? wire->config->site : NULL);

	(void)json_object_set_new(root, "schema", json_string("blackstart.state/1"));
	(void)json_object_set_new(root, "running", running_json(state->host, &from->overview));
	(void)json_object_set_new(root, "abnormal", abnormal_json(&from->overview));
	(void)json_object_set_new(root, "lags", json_array());
	(void)json_object_set_new(root, "space", json_string(""));
	add_settings(root, state->host);
	state->is_running = json_array_size(json_object_get(root, "running")) > 0;
	str_cut(&state->body.json, 0);
	str_cut(&state->body.gzip, 0);
	(void)json_dump_callback(root, add_piece, &state->body.json, JSON_COMPACT);
	json_decref(root);
	gzip_add(&state->body.gzip, state->body.json.data, state->body.json.size);
	name_version(&state->body);
}

static int
expect(struct page_state *state, struct wall_time now, struct err *err)
{
	struct wire *wire = state->host->wire;

	if (!state->has_expected && expectations_make(wire->config, now, &state->expected, err) < 0)
		return -1;
	state->has_expected = true;
	expectations_move_on(&state->expected, wire->config, now);

	return expectations_find_streams(&state->expected, wire, &state->lanes, MOVES_US, err);
}

static int
make(struct page_state *state, struct err *err)
{
	SCOPED(state_done) struct state made = { .days_from = { .us = 0 } };
	struct state_request request = { .now = clock_wall() };

	if (expect(state, request.now, err) < 0)
		return -1;
	request.expected = state->expected.rows.items;
	request.expected_count = state->expected.rows.count;
	if (state_make(state->keeper, &state->host->wire->engine, &request, &made, err) < 0)
		return -1;
	write_body(state, &made);
	if (str_is_full(&state->body.json) || str_is_full(&state->body.gzip))
		return err_set(err, ERR_LIMIT, "there are too many jobs for one page");

	return 0;
}

int
page_state_get(struct page_state *state, const struct page_body **ret_body, struct err *err)
{
	int64_t age_us = clock_elapsed_us(state->made_at);
	bool is_old = state->made_at.us == 0 || age_us >= MOVES_US ||
	    (state->is_running && age_us >= RUNNING_US);
	uint64_t mark;

	if (catalog_change_mark(state->host->wire->engine.catalog, &mark, err) < 0)
		return -1;
	if (is_old || (mark != state->mark && age_us >= CHANGES_US)) {
		state->made_at.us = 0;
		if (make(state, err) < 0)
			return -1;
		state->made_at = clock_mono();
		state->mark = mark;
	}
	*ret_body = &state->body;

	return 0;
}

void
web_get_state(struct web_call *call)
{
	const struct page_body *body;
	struct err err = ERR_INIT;

	if (page_state_get(call->app->state, &body, &err) < 0) {
		reply_error(call->reply, 503, &err);
		return;
	}
	call->reply->cache = "no-cache";
	call->reply->type = "application/json";
	reply_add_header(call->reply, "Vary", "Accept-Encoding");
	if (reply_is_known(call->request, call->reply, body->etag))
		return;
	if (request_takes_gzip(call->request)) {
		reply_add_header(call->reply, "Content-Encoding", "gzip");
		str_add_bytes(&call->reply->body, body->gzip.data, body->gzip.size);
	} else {
		str_add_bytes(&call->reply->body, body->json.data, body->json.size);
	}
}
