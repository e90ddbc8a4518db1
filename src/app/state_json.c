#include "app/state_json.h"

#include <inttypes.h>
#include <jansson.h>

#include "app/cli/out.h"
#include "app/cli/rows_json.h"
#include "base/str.h"
#include "engine/lane.h"
#include "engine/state.h"

enum {
	TICKS_MAX = 150, /* of a lane, the newest */
	GAPS_MAX = 50,
};

/*
 * Series of numbers are told as one text, "1763863200 2100000000 160,...": thousands of numbers,
 * each a node of its own, would take longer to make than everything else.  Times are whole seconds.
 */
static json_t *
series_json(const struct str *text)
{
	return json_stringn_nocheck(str_text(text), text->size);
}

static void
begin_item(struct str *text)
{
	if (text->size > 0)
		str_add_char(text, ',');
}

static json_t *
answer_json(const struct answer *answer)
{
	json_t *root = json_object();
	json_t *sources = json_array();

	for (size_t i = 0; i < answer->sources.count; i++) {
		const struct answer_source *source = &answer->sources.items[i];

		(void)json_array_append_new(sources,
		    json_pack("{s:o, s:s, s:o, s:o, s:o, s:o}", "source",
			out_json_text(source->source), "verdict",
			answer_verdict_name(source->verdict), "from", out_json_time(source->from),
			"to", out_json_time(source->to), "text", out_json_text(source->text), "why",
			out_json_text(source->why)));
	}
	(void)json_object_set_new(root, "verdict",
	    json_string(answer_verdict_name(answer->verdict)));
	(void)json_object_set_new(root, "word", json_string(answer_verdict_word(answer->verdict)));
	(void)json_object_set_new(root, "text", out_json_text(answer->text));
	(void)json_object_set_new(root, "sources", sources);

	return root;
}

static void
add_history(json_t *to, const struct state_job *job)
{
	char strip[STATE_STRIP_CELLS + 1];
	SCOPED(str_done) struct str due = STR_INIT;
	SCOPED(str_done) struct str days = STR_INIT;

	for (size_t i = 0; i < STATE_STRIP_CELLS; i++) {
		strip[i] = state_cell_letter(job->cells[i]);
		begin_item(&due);
		str_addf(&due, "%" PRId64, job->due[i].us / US_PER_S);
	}
	strip[STATE_STRIP_CELLS] = '\0';
	for (size_t i = 0; i < STATE_DAYS; i++) {
		const struct state_day *day = &job->days[i];

		if (day->started.us == 0)
			continue;
		begin_item(&days);
		str_addf(&days, "%" PRId64 " %" PRIu64 " %" PRId64, day->started.us / US_PER_S,
		    day->stored_bytes, day->took_us / US_PER_S);
	}
	(void)json_object_set_new(to, "strip", json_string(strip));
	(void)json_object_set_new(to, "due", series_json(&due));
	(void)json_object_set_new(to, "days", series_json(&days));
}

static json_t *
link_json(const struct link_row *link)
{
	if (link->told.us == 0)
		return json_null();

	return json_pack("{s:s, s:o, s:I, s:I, s:o, s:o, s:o}", "state",
	    link_phase_name(link->state.phase), "since", out_json_time(link->state.since),
	    "behind_bytes", (json_int_t)link->state.behind_bytes, "behind_us",
	    (json_int_t)link->state.behind_us, "why",
	    out_json_text(link->state.why[0] != '\0' ? link->state.why : NULL), "next_try",
	    out_json_time(link->state.next_try), "told", out_json_time(link->told));
}

static json_t *
job_json(const struct overview_job *job, const struct state_job *history)
{
	json_t *root = json_object();

	(void)json_object_set_new(root, "job", out_json_text(job->job));
	(void)json_object_set_new(root, "source", out_json_text(job->source));
	(void)json_object_set_new(root, "kind", out_json_text(job->kind));
	(void)json_object_set_new(root, "running", json_boolean(job->is_running));
	(void)json_object_set_new(root, "last_run",
	    job->last.id != NULL ? run_row_json(&job->last) : json_null());
	(void)json_object_set_new(root, "newest_backup",
	    job->newest.id != NULL ? backup_row_json(&job->newest) : json_null());
	(void)json_object_set_new(root, "backups_count", json_integer(job->backups_count));
	(void)json_object_set_new(root, "stored_bytes",
	    json_integer((json_int_t)job->stored_bytes));
	(void)json_object_set_new(root, "proved_level",
	    job->proved_level >= 0 ? json_integer(job->proved_level) : json_null());
	(void)json_object_set_new(root, "proved_at", out_json_time(job->proved_at));
	(void)json_object_set_new(root, "max_age_us", json_integer(job->max_age_us));
	(void)json_object_set_new(root, "next_run", out_json_time(job->next_run));
	(void)json_object_set_new(root, "continuous", json_boolean(job->is_continuous));
	(void)json_object_set_new(root, "link", link_json(&job->link));
	(void)json_object_set_new(root, "window_from", out_json_time(job->window_from));
	(void)json_object_set_new(root, "window_to", out_json_time(job->window_to));
	(void)json_object_set_new(root, "abnormal", out_json_text(job->abnormal));
	(void)json_object_set_new(root, "next_command", out_json_text(job->next_command));
	add_history(root, history);

	return root;
}

/* ---- lanes -------------------------------------------------------------------------------------- */

static json_t *
spans_json(const struct window_report *report)
{
	json_t *spans = json_array();

	for (size_t i = 0; i < report->spans.count; i++) {
		const struct window_span *span = &report->spans.items[i];

		(void)json_array_append_new(spans,
		    json_pack("{s:I, s:b, s:o, s:o, s:o}", "timeline", (json_int_t)span->branch,
			"current", span->is_current, "from", out_json_time(span->from), "to",
			out_json_time(span->to), "ends", out_json_text(span->ends)));
	}

	return spans;
}

static json_t *
gaps_json(const struct window_report *report)
{
	json_t *gaps = json_array();

	for (size_t i = 0; i < report->gaps.count && i < GAPS_MAX; i++) {
		const struct window_gap *gap = &report->gaps.items[i];

		(void)json_array_append_new(gaps,
		    json_pack("{s:I, s:o, s:o, s:o}", "timeline", (json_int_t)gap->branch, "from",
			out_json_time(gap->from), "to", out_json_time(gap->to), "text",
			out_json_text(gap->text)));
	}

	return gaps;
}

/* "started_s consistent_s level job": level -1 is not proved, -2 not good; job is its place in jobs. */
static json_t *
ticks_json(const struct state *state, const char *source)
{
	const struct overview *overview = &state->overview;
	SCOPED(str_done) struct str ticks = STR_INIT;
	unsigned count = 0;

	for (size_t i = 0; i < overview->points.count && count < TICKS_MAX; i++) {
		const struct overview_point *point = &overview->points.items[i];

		if (!str_equals(overview->jobs.items[point->job].source, source))
			continue;
		begin_item(&ticks);
		str_addf(&ticks, "%" PRId64 " %" PRId64 " %d %zu", point->started.us / US_PER_S,
		    point->consistent_at.us / US_PER_S, point->is_good ? point->level : -2,
		    point->job);
		count++;
	}

	return series_json(&ticks);
}

static const struct lane *
stream_of(const struct overview *overview, const char *source)
{
	for (size_t i = 0; i < overview->jobs.count; i++) {
		const struct overview_job *job = &overview->jobs.items[i];

		if (job->stream != NULL && str_equals(job->source, source))
			return job->stream;
	}

	return NULL;
}

static json_t *
lanes_json(const struct state *state)
{
	json_t *lanes = json_array();

	for (size_t i = 0; i < state->answer.sources.count; i++) {
		const char *source = state->answer.sources.items[i].source;
		const struct lane *stream = stream_of(&state->overview, source);
		json_t *lane = json_object();

		(void)json_object_set_new(lane, "source", out_json_text(source));
		(void)json_object_set_new(lane, "backups", ticks_json(state, source));
		(void)json_object_set_new(lane, "spans",
		    stream != NULL ? spans_json(&stream->report) : json_array());
		(void)json_object_set_new(lane, "gaps",
		    stream != NULL ? gaps_json(&stream->report) : json_array());
		(void)json_object_set_new(lane, "failure",
		    out_json_text(stream != NULL ? stream->failure : NULL));
		(void)json_array_append_new(lanes, lane);
	}

	return lanes;
}

json_t *
state_json(const struct state *state, const char *store, const char *site)
{
	const struct overview *overview = &state->overview;
	json_t *root = json_object();
	json_t *jobs = json_array();

	for (size_t i = 0; i < overview->jobs.count; i++)
		(void)json_array_append_new(jobs,
		    job_json(&overview->jobs.items[i], &state->jobs.items[i]));
	(void)json_object_set_new(root, "site", out_json_text(site));
	(void)json_object_set_new(root, "answer", answer_json(&state->answer));
	(void)json_object_set_new(root, "store", out_json_text(store));
	(void)json_object_set_new(root, "used_bytes",
	    json_integer((json_int_t)overview->space.used_bytes));
	(void)json_object_set_new(root, "capacity_bytes",
	    json_integer((json_int_t)overview->space.capacity_bytes));
	(void)json_object_set_new(root, "jobs", jobs);
	(void)json_object_set_new(root, "lanes", lanes_json(state));
	(void)json_object_set_new(root, "unproven_count", json_integer(overview->unproven_count));
	(void)json_object_set_new(root, "damaged_count", json_integer(overview->damaged_count));
	(void)json_object_set_new(root, "abnormal_count", json_integer(overview->abnormal_count));

	return root;
}
