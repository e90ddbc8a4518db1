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
#include "base/hash.h"
#include "base/mem.h"
#include "base/version.h"
#include "base/zone.h"
#include "catalog/catalog_watch.h"
#include "config/config.h"
#include "engine/alarm_desk.h"
#include "engine/lane.h"
#include "engine/state.h"
#include "sched/alarm.h"
#include "sched/alarm_forecast.h"
#include "store/store.h"

/* Ages and windows move by themselves; what the catalog holds says so when it changes. */
#define MOVES_US (15 * US_PER_S)
#define CHANGES_US (US_PER_S)
#define RUNNING_US (2 * US_PER_S)

enum {
	SPACE_DAYS = 30,
	LAG_SLOTS = 288, /* a day */
};
#define LAG_SLOT_US (5 * 60 * US_PER_S)

struct lag_point {
	int64_t slot; /* since 1970 */
	int64_t behind_s;
};

/* How far the newest second that comes back was behind, lately. */
struct lag {
	char *source;
	struct lag_point points[LAG_SLOTS];
};

struct page_state {
	const struct web_host *host;
	struct state_keeper *keeper;
	struct lanes lanes;
	struct expectations expected; /* made when there was first need of them */
	bool has_expected;
	VEC(struct lag) lags;
	int64_t lag_slot; /* the newest */
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
	for (size_t i = 0; i < state->lags.count; i++)
		free(state->lags.items[i].source);
	vec_done(&state->lags);
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

static json_t *
alarm_json(const struct alarm_state *alarm, struct wall_time now)
{
	json_t *item = json_object();

	(void)json_object_set_new(item, "rule", json_string(alarm_rule_name(alarm->rule)));
	(void)json_object_set_new(item, "subject", out_json_text(alarm->subject));
	(void)json_object_set_new(item, "severity",
	    json_string(alarm_severity_name(alarm->severity)));
	(void)json_object_set_new(item, "since", out_json_time(alarm->since));
	(void)json_object_set_new(item, "text", out_json_text(alarm->text));
	(void)json_object_set_new(item, "cause", out_json_text(alarm->cause));
	(void)json_object_set_new(item, "next_command", out_json_text(alarm->next_command));
	(void)json_object_set_new(item, "acknowledged", json_boolean(alarm->is_acknowledged));
	(void)json_object_set_new(item, "shelved_until",
	    alarm_is_shelved(alarm, now) ? out_json_time(alarm->shelved_until) : json_null());

	return item;
}

/* What the overview finds itself, where no alarm stands for the job (yet, or by the config). */
static json_t *
finding_json(const struct overview_job *job)
{
	return json_pack("{s:n, s:o, s:s, s:n, s:o, s:n, s:o, s:b, s:n}", "rule", "subject",
	    out_json_text(job->job), "severity", "warning", "since", "text",
	    out_json_text(job->abnormal), "cause", "next_command", out_json_text(job->next_command),
	    "acknowledged", 0, "shelved_until");
}

/* Above everything else: while it lasts, what stands below it may be old. */
static void
add_trouble(json_t *abnormal, const struct web_host *host)
{
	struct web_trouble trouble;
	SCOPED(freep) char *next = NULL;

	if (host->trouble == NULL || !host->trouble(host->context, &trouble))
		return;
	next = trouble.full_folder != NULL ? xasprintf("df -h %s", trouble.full_folder)
					   : xstrdup("blackstart doctor");
	(void)json_array_append_new(abnormal,
	    json_pack("{s:n, s:s, s:s, s:o, s:s, s:o, s:o, s:b, s:n}", "rule", "subject",
		"blackstart", "severity", "critical", "since", out_json_time(trouble.since), "text",
		trouble.text, "cause", out_json_text(trouble.cause), "next_command",
		out_json_text(next), "acknowledged", 0, "shelved_until"));
}

static bool
has_alarm(const struct alarm_states *alarms, const char *subject)
{
	for (size_t i = 0; i < alarms->items.count; i++) {
		if (alarm_is_standing(&alarms->items.items[i]) &&
		    str_equals(alarms->items.items[i].subject, subject))
			return true;
	}

	return false;
}

/* The worst first; what somebody has seen to comes last. */
static json_t *
abnormal_json(const struct web_host *host, const struct alarm_states *alarms,
    const struct overview *overview, struct wall_time now)
{
	json_t *abnormal = json_array();

	add_trouble(abnormal, host);
	for (int seen_to = 0; seen_to < 2; seen_to++) {
		for (size_t i = 0; i < alarms->items.count; i++) {
			const struct alarm_state *alarm = &alarms->items.items[i];
			bool is_seen_to = alarm->is_acknowledged || alarm_is_shelved(alarm, now);

			if (alarm_is_standing(alarm) && is_seen_to == (seen_to == 1))
				(void)json_array_append_new(abnormal, alarm_json(alarm, now));
		}
		for (size_t i = 0; i < overview->jobs.count && seen_to == 0; i++) {
			const struct overview_job *job = &overview->jobs.items[i];

			if (job->abnormal != NULL && !has_alarm(alarms, job->job))
				(void)json_array_append_new(abnormal, finding_json(job));
		}
	}

	return abnormal;
}

/* ---- space -------------------------------------------------------------------------------------- */

/* "at used_bytes" of the last days, and when the store reaches its limit if it goes on like that. */
static int
add_space(json_t *root, const struct web_host *host, const struct overview *overview,
    struct wall_time now, struct err *err)
{
	const struct config *config = host->wire->config;
	unsigned percent = config != NULL ? config->store.critical_percent : 100;
	const struct wall_time since = { .us = now.us - SPACE_DAYS * 86400 * US_PER_S };
	SCOPED(space_rows_done) struct space_rows rows = { .rows = { .count = 0 } };
	SCOPED(freep) struct space_sample *samples = NULL;
	SCOPED(str_done) struct str series = STR_INIT;
	struct wall_time full_at = { .us = 0 };

	if (catalog_space_list(host->wire->engine.catalog, since, &rows, err) < 0)
		return -1;
	samples = xcalloc(rows.rows.count + 1, sizeof(*samples));
	for (size_t i = 0; i < rows.rows.count; i++) {
		const struct space_row *row = &rows.rows.items[i];

		samples[i] = (struct space_sample){ .at = row->at, .used_bytes = row->used_bytes };
		str_addf(&series, "%s%" PRId64 " %" PRIu64, i > 0 ? "," : "", row->at.us / US_PER_S,
		    row->used_bytes);
	}
	if (!alarm_forecast(samples, rows.rows.count,
		overview->space.capacity_bytes / 100 * percent, now, &full_at))
		full_at.us = 0;
	(void)json_object_set_new(root, "space", json_string(str_text(&series)));
	(void)json_object_set_new(root, "full_at", out_json_time(full_at));

	return 0;
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

/* ---- how far behind the log is ------------------------------------------------------------------ */

static struct lag *
lag_of(struct page_state *state, const char *source)
{
	struct lag *lag;

	for (size_t i = 0; i < state->lags.count; i++) {
		if (str_equals(state->lags.items[i].source, source))
			return &state->lags.items[i];
	}
	lag = vec_add(&state->lags);
	lag->source = xstrdup(source);

	return lag;
}

/* Each span of five minutes keeps the worst that was seen in it, for a day, since the start. */
static void
note_lags(struct page_state *state, const struct overview *overview, struct wall_time now)
{
	int64_t slot = now.us / LAG_SLOT_US;

	for (size_t i = 0; i < overview->jobs.count; i++) {
		const struct overview_job *job = &overview->jobs.items[i];
		struct lag_point *point;
		int64_t behind_s = (now.us - job->window_to.us) / US_PER_S;

		if (job->window_to.us == 0)
			continue;
		point = &lag_of(state, job->source)->points[slot % LAG_SLOTS];
		if (point->slot != slot || behind_s > point->behind_s)
			*point = (struct lag_point){ .slot = slot, .behind_s = behind_s };
	}
	state->lag_slot = slot;
}

static json_t *
lags_json(const struct page_state *state)
{
	json_t *lags = json_array();

	for (size_t i = 0; i < state->lags.count; i++) {
		SCOPED(str_done) struct str series = STR_INIT;

		for (int64_t slot = state->lag_slot - LAG_SLOTS + 1; slot <= state->lag_slot;
		     slot++) {
			const struct lag_point *point = &state->lags.items[i]
							     .points[slot % LAG_SLOTS];

			if (point->slot == slot)
				str_addf(&series, "%s%" PRId64 " %" PRId64,
				    series.size > 0 ? "," : "", slot * LAG_SLOT_US / US_PER_S,
				    point->behind_s);
		}
		(void)json_array_append_new(lags,
		    json_pack("{s:o, s:s}", "source", out_json_text(state->lags.items[i].source),
			"points", str_text(&series)));
	}

	return lags;
}

/* ---- making it ---------------------------------------------------------------------------------- */

static int
add_piece(const char *data, size_t size, void *to)
{
	str_add_bytes(to, data, size);

	return 0;
}

/* Of its content, so that what was made again and is the same need not be sent again. */
static void
name_version(struct page_body *body)
{
	(void)snprintf(body->etag, sizeof(body->etag), "\"%016" PRIx64 "\"",
	    hash_short(body->json.data, body->json.size));
}

static int
fill(struct page_state *state, const struct state *from, struct wall_time now, json_t *root,
    struct err *err)
{
	const struct web_host *host = state->host;
	struct alarm_states alarms = { .items = { .count = 0 } };
	json_t *running = running_json(host, &from->overview);

	state->is_running = json_array_size(running) > 0;
	(void)json_object_set_new(root, "schema", json_string("blackstart.state/1"));
	(void)json_object_set_new(root, "running", running);
	(void)json_object_set_new(root, "lags", lags_json(state));
	add_settings(root, host);
	if (add_space(root, host, &from->overview, now, err) < 0 ||
	    alarm_desk_list(host->wire->engine.catalog, &alarms, err) < 0)
		return -1;
	(void)json_object_set_new(root, "abnormal",
	    abnormal_json(host, &alarms, &from->overview, now));
	alarm_states_done(&alarms);

	return 0;
}

static int
write_body(struct page_state *state, const struct state *from, struct wall_time now,
    struct err *err)
{
	const struct wire *wire = state->host->wire;
	SCOPED(json_decrefp)
	json_t *root = state_json(from, wire->engine.store->location,
	    wire->config != NULL ? wire->config->site : NULL);

	if (fill(state, from, now, root, err) < 0)
		return -1;
	str_cut(&state->body.json, 0);
	str_cut(&state->body.gzip, 0);
	(void)json_dump_callback(root, add_piece, &state->body.json, JSON_COMPACT);
	gzip_add(&state->body.gzip, state->body.json.data, state->body.json.size);
	name_version(&state->body);
	if (str_is_full(&state->body.json) || str_is_full(&state->body.gzip))
		return err_set(err, ERR_LIMIT, "there are too many jobs for one page");

	return 0;
}

static int
expect(struct page_state *state, struct wall_time now, struct err *err)
{
	struct wire *wire = state->host->wire;

	if (!state->has_expected && expectations_make(wire->config, now, &state->expected, err) < 0)
		return -1;
	state->has_expected = true;
	expectations_move_on(&state->expected, wire->config, now);
	for (size_t i = 0; i < state->expected.rows.count && state->host->next_run != NULL; i++) {
		struct overview_expectation *row = &state->expected.rows.items[i];

		(void)state->host->next_run(state->host->context, row->job, &row->next_run);
	}

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
	note_lags(state, &made.overview, request.now);

	return write_body(state, &made, request.now, err);
}

int
page_state_get(struct page_state *state, const struct page_body **ret_body, struct err *err)
{
	int64_t age_us = clock_elapsed_us(state->made_at);
	bool is_old = state->made_at.us == 0 || age_us >= MOVES_US ||
	    (state->is_running && age_us >= RUNNING_US);
	uint64_t mark;

	if (catalog_stamp(state->host->wire->engine.catalog, &mark, err) < 0)
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
