#include "engine/watch.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "catalog/catalog_alarm.h"
#include "catalog/catalog_watch.h"
#include "engine/alarm_desk.h"
#include "engine/engine.h"
#include "engine/watch_internal.h"

#define LOOK_AGAIN_US (60 * US_PER_S)
#define MESSAGE_LASTS_US (48 * 3600 * US_PER_S)
#define CHANGES_KEPT_US (INT64_C(400) * 24 * 3600 * US_PER_S)
#define MESSAGES_KEPT_US (INT64_C(30) * 24 * 3600 * US_PER_S)
#define SAMPLES_KEPT_US (INT64_C(60) * 24 * 3600 * US_PER_S)

struct watch *
watch_new(struct engine *engine, const struct watch_settings *settings, const char *store_failure)
{
	struct watch *watch = xcalloc(1, sizeof(*watch));

	watch->engine = engine;
	watch->settings = settings;
	watch->store_failure = xstrdup(store_failure);

	return watch;
}

void
watch_free(struct watch *watch)
{
	if (watch == NULL)
		return;
	if (watch->has_seen)
		watch_seen_done(&watch->seen);
	watch_memory_done(&watch->memory);
	free(watch->store_failure);
	free(watch);
}

const struct watch_seen *
watch_last_seen(const struct watch *watch)
{
	return watch->has_seen ? &watch->seen : NULL;
}

/* ---- looking ------------------------------------------------------------------------------- */

static int
look(struct watch *watch, struct wall_time now, struct err *err)
{
	const struct watch_look wanted = {
		.jobs = watch->settings->jobs,
		.jobs_count = watch->settings->jobs_count,
		.wants_drills = watch->settings->drill_max_age_us > 0,
		.wants_manifests = true,
		.memory = &watch->memory,
	};
	struct watch_seen seen;
	uint64_t stamp;

	if (catalog_stamp(watch->engine->catalog, &stamp, err) < 0)
		return -1;
	if (watch->has_seen && stamp == watch->seen_stamp && now.us >= watch->seen.at.us &&
	    now.us - watch->seen.at.us < LOOK_AGAIN_US)
		return 0;
	if (watch_see(watch->engine, &wanted, watch->store_failure, now, &seen, err) < 0)
		return -1;
	if (watch->has_seen)
		watch_seen_done(&watch->seen);
	watch->seen = seen;
	watch->has_seen = true;
	watch->seen_stamp = stamp;

	return 0;
}

/* ---- facts for the rules ------------------------------------------------------------------- */

struct facts {
	VEC(struct job_facts) jobs;
	VEC(struct stream_facts) streams;
	VEC(struct drill_facts) drills;
	VEC(struct channel_facts) channels;
};

static void
facts_done(struct facts *facts)
{
	vec_done(&facts->jobs);
	vec_done(&facts->streams);
	vec_done(&facts->drills);
	vec_done(&facts->channels);
}

static void
add_runs(struct job_facts *facts, const struct seen_job *seen)
{
	const struct run_row *failure = &seen->outcome.last_failure;

	facts->missed_at = seen->outcome.missed_at;
	if (seen->running.id != NULL)
		facts->running_since = seen->running.started;
	if (failure->id == NULL)
		return;
	facts->failures_in_a_row = seen->outcome.failures_in_a_row;
	facts->is_last_lost = failure->state == RUN_LOST;
	facts->failed_at = failure->finished.us != 0 ? failure->finished : failure->started;
	facts->failed_run = failure->id;
	facts->failure = failure->message;
	facts->failure_hint = failure->hint;
}

static void
add_job(struct facts *facts, const struct seen_job *seen, const struct watch_news *news)
{
	struct job_facts *job = vec_add(&facts->jobs);
	int level = seen->of->verify_level;

	job->job = seen->of->job;
	job->known_since = seen->known_since;
	job->max_age_us = seen->of->stream == NULL ? seen->of->max_age_us : 0;
	job->verify_level = level;
	add_runs(job, seen);
	if (seen->newest.id != NULL) {
		job->newest_id = seen->newest.id;
		job->last_good = seen->newest.consistent_at;
		job->newest_bytes = seen->newest.content_bytes;
		job->median_bytes = seen->median_bytes;
		job->emptied = seen->emptied;
		job->verify_max_age_us = seen->of->verify_max_age_us;
		job->unverified_since = seen->proofs.oldest_finished;
		if (level >= 0 && level < BACKUP_LEVELS_COUNT)
			job->verified_at = seen->proofs.at[level];
	}
	job->is_stall_unknown = news == NULL;
	for (size_t i = 0; news != NULL && i < news->stalls_count; i++) {
		if (!str_equals(news->stalls[i].job, job->job))
			continue;
		job->stalled_at = news->stalls[i].since;
		job->stalled_run = news->stalls[i].run_id;
	}
}

static void
add_stream(struct facts *facts, const struct seen_job *seen)
{
	struct stream_facts *stream = vec_add(&facts->streams);

	stream->source = seen->of->source;
	stream->job = seen->of->job;
	stream->is_unknown = seen->is_window_unknown;
	stream->max_age_us = seen->of->stream_max_age_us;
	stream->newest = seen->window_to;
	stream->known_since = seen->known_since;
	stream->is_receiving = seen->is_receiving;
	stream->gap = seen->gap;
	stream->gaps_count = seen->gaps_count;
}

static bool
is_configured(const struct watch *watch, const char *channel)
{
	for (size_t i = 0; i < watch->settings->channels_count; i++) {
		if (str_equals(watch->settings->channels[i].name, channel))
			return true;
	}

	return false;
}

static void
add_others(struct facts *facts, const struct watch *watch)
{
	const struct watch_seen *seen = &watch->seen;

	for (size_t i = 0; i < seen->drills.count; i++)
		vec_push(&facts->drills,
		    ((struct drill_facts){ .source = seen->drills.items[i].source,
			.max_age_us = watch->settings->drill_max_age_us,
			.last = seen->drills.items[i].last,
			.known_since = seen->drills.items[i].known_since }));
	for (size_t i = 0; i < seen->channels.rows.count; i++) {
		const struct channel_row *row = &seen->channels.rows.items[i];

		if (is_configured(watch, row->name))
			vec_push(&facts->channels,
			    ((struct channel_facts){ .name = row->name,
				.failures_in_a_row = row->failures_in_a_row,
				.failing_since = row->failing_since,
				.failure = row->failure }));
	}
}

static void
judge(const struct watch *watch, const struct watch_news *news, struct watch_plan *plan)
{
	SCOPED(facts_done) struct facts facts = { .jobs = { .count = 0 } };
	SCOPED(alarm_conditions_done) struct alarm_conditions conditions;
	const struct watch_seen *seen = &watch->seen;
	const struct store_facts store = {
		.name = "store",
		.failure = seen->store_failure,
		.used_bytes = seen->space.used_bytes,
		.capacity_bytes = seen->space.capacity_bytes,
		.full_at = seen->full_at,
	};
	const struct state_facts state = {
		.folder = watch->engine->state_dir,
		.used_bytes = seen->state_space.used_bytes,
		.capacity_bytes = seen->state_space.capacity_bytes,
		.catalog_aside = seen->catalog_aside,
	};

	for (size_t i = 0; i < seen->jobs.count; i++) {
		add_job(&facts, &seen->jobs.items[i], news);
		if (seen->jobs.items[i].of->stream != NULL)
			add_stream(&facts, &seen->jobs.items[i]);
	}
	add_others(&facts, watch);
	alarm_rules_apply(
	    &(struct alarm_facts){
		.jobs = facts.jobs.items,
		.jobs_count = facts.jobs.count,
		.streams = facts.streams.items,
		.streams_count = facts.streams.count,
		.drills = facts.drills.items,
		.drills_count = facts.drills.count,
		.channels = facts.channels.items,
		.channels_count = facts.channels.count,
		.store = &store,
		.state = &state,
		.daemon = news != NULL ? &news->daemon : NULL,
	    },
	    &watch->settings->limits, watch->engine->zone, plan->now, &conditions);
	alarm_judge(&conditions, &plan->states, &watch->settings->policy, plan->now,
	    &plan->changes);
}

/* ---- the plan ------------------------------------------------------------------------------ */

void
watch_plan_done(struct watch_plan *plan)
{
	alarm_states_done(&plan->states);
	alarm_changes_done(&plan->changes);
	for (size_t i = 0; i < plan->messages.count; i++)
		outbox_row_done(&plan->messages.items[i].row);
	vec_done(&plan->messages);
	for (size_t i = 0; i < plan->marks.count; i++) {
		free(plan->marks.items[i].name);
		free(plan->marks.items[i].value);
	}
	vec_done(&plan->marks);
}

struct outbox_row *
watch_plan_message(struct watch_plan *plan, const struct watch_channel *channel, const char *event,
    int64_t lasts_us, bool replaces)
{
	struct plan_message *planned = vec_add(&plan->messages);
	struct outbox_row *message = &planned->row;

	planned->replaces = replaces;
	message->channel = xstrdup(channel->name);
	message->event = xstrdup(event);
	message->at = plan->now;
	message->due_at = plan->now;
	message->expires_at.us = plan->now.us + lasts_us;
	message->criticals_count = plan->criticals_count;
	message->warnings_count = plan->warnings_count;

	return message;
}

void
watch_plan_mark(struct watch_plan *plan, const char *name, struct wall_time at, const char *value)
{
	vec_push(&plan->marks,
	    ((struct plan_mark){ .name = xstrdup(name), .at = at, .value = xstrdup(value) }));
}

/* A channel is not told that it fails itself. */
static bool
is_told_in(const struct watch_channel *channel, const struct alarm_state *state)
{
	return channel->kind == WATCH_CHANNEL_MESSAGES && state->peak >= channel->least &&
	    !(state->rule == ALARM_NOTIFY_FAILING && str_equals(state->subject, channel->name));
}

static void
plan_messages(struct watch_plan *plan, const struct alarm_change *change)
{
	const struct watch_settings *settings = plan->watch->settings;
	const struct alarm_state *state = &change->state;

	for (size_t i = 0; i < settings->channels_count && change->is_told; i++) {
		struct outbox_row *message;

		if (!is_told_in(&settings->channels[i], state))
			continue;
		message = watch_plan_message(plan, &settings->channels[i],
		    alarm_event_name(change->event), MESSAGE_LASTS_US, false);
		message->rule = xstrdup(alarm_rule_name(state->rule));
		message->subject = xstrdup(state->subject);
		message->severity = (int)(change->event == ALARM_CLEARED ? state->peak
									 : state->severity);
		message->since = state->since;
		message->raised_at = state->raised_at;
		message->text = xstrdup(state->text);
		message->cause = xstrdup(state->cause);
		message->next_command = xstrdup(state->next_command);
	}
}

/* How many stand when the changes are made. */
static void
count_standing(struct watch_plan *plan)
{
	unsigned counts[ALARM_CRITICAL + 1] = { 0 };

	for (size_t i = 0; i < plan->states.items.count; i++)
		counts[plan->states.items.items[i].severity]++;
	for (size_t i = 0; i < plan->changes.items.count; i++) {
		const struct alarm_state *after = &plan->changes.items.items[i].state;
		const struct alarm_state *before = alarm_state_find(&plan->states, after->rule,
		    after->subject);

		if (before != NULL)
			counts[before->severity]--;
		counts[after->severity]++;
	}
	plan->criticals_count = counts[ALARM_CRITICAL];
	plan->warnings_count = counts[ALARM_WARNING];
}

static int
make_plan(const struct watch *watch, const struct watch_news *news, struct wall_time now,
    struct watch_plan *ret_plan, struct err *err)
{
	SCOPED(watch_plan_done) struct watch_plan plan = { .watch = watch, .now = now };

	if (alarm_desk_list(watch->engine->catalog, &plan.states, err) < 0)
		return -1;
	judge(watch, news, &plan);
	count_standing(&plan);
	for (size_t i = 0; i < plan.changes.items.count; i++)
		plan_messages(&plan, &plan.changes.items.items[i]);
	if (watch_plan_regular(&plan, err) < 0)
		return -1;
	*ret_plan = plan;
	plan = (struct watch_plan){ .watch = NULL };

	return 0;
}

static bool
is_empty(const struct watch_plan *plan)
{
	return plan->changes.items.count == 0 && plan->messages.count == 0 &&
	    plan->marks.count == 0 && !plan->wants_sample && !plan->wants_trim;
}

/* ---- writing ------------------------------------------------------------------------------- */

static int
write_change(struct catalog *catalog, const struct alarm_change *change, struct wall_time now,
    struct err *err)
{
	SCOPED(freep) char *rule = xstrdup(alarm_rule_name(change->state.rule));
	SCOPED(freep) char *event = xstrdup(alarm_event_name(change->event));
	const struct alarm_change_row row = {
		.rule = rule,
		.subject = change->state.subject,
		.at = now,
		.event = event,
		.severity = (int)change->state.severity,
		.why = change->state.text,
	};

	if (alarm_desk_put(catalog, &change->state, err) < 0)
		return -1;

	return change->event == ALARM_REWORDED ? 0 : catalog_alarm_change_add(catalog, &row, err);
}

static int
write_messages(struct catalog *catalog, const struct watch_plan *plan, struct err *err)
{
	for (size_t i = 0; i < plan->messages.count; i++) {
		const struct outbox_row *message = &plan->messages.items[i].row;

		if (plan->messages.items[i].replaces &&
		    catalog_outbox_withdraw(catalog, message->channel, message->event, err) < 0)
			return -1;
		if (catalog_outbox_add(catalog, message, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < plan->marks.count; i++) {
		const struct plan_mark *mark = &plan->marks.items[i];

		if (catalog_mark_put(catalog, mark->name, mark->at, mark->value, err) < 0)
			return -1;
	}

	return 0;
}

static int
write_housekeeping(struct catalog *catalog, const struct watch_plan *plan, struct err *err)
{
	const struct store_space *space = &plan->watch->seen.space;
	const struct space_row sample = {
		.at = plan->now,
		.used_bytes = space->used_bytes,
		.capacity_bytes = space->capacity_bytes,
	};
	int64_t now_us = plan->now.us;

	if (plan->wants_sample && catalog_space_add(catalog, &sample, err) < 0)
		return -1;
	if (!plan->wants_trim)
		return 0;
	if (catalog_alarm_trim(catalog, (struct wall_time){ now_us - CHANGES_KEPT_US }, err) < 0 ||
	    catalog_outbox_trim(catalog, (struct wall_time){ now_us - MESSAGES_KEPT_US }, err) < 0)
		return -1;

	return catalog_space_trim(catalog, (struct wall_time){ now_us - SAMPLES_KEPT_US }, err);
}

static int
write_plan(struct catalog *catalog, const struct watch_plan *plan, struct err *err)
{
	for (size_t i = 0; i < plan->changes.items.count; i++) {
		if (write_change(catalog, &plan->changes.items.items[i], plan->now, err) < 0)
			return -1;
	}
	if (write_messages(catalog, plan, err) < 0)
		return -1;

	return write_housekeeping(catalog, plan, err);
}

/* Planned anew inside the transaction: somebody may have acknowledged, or ticked, since. */
static int
carry_out(struct watch *watch, const struct watch_news *news, struct wall_time now,
    struct watch_result *result, struct err *err)
{
	SCOPED(watch_plan_done) struct watch_plan plan = { .watch = NULL };
	struct catalog *catalog = watch->engine->catalog;

	if (catalog_begin(catalog, err) < 0)
		return -1;
	if (make_plan(watch, news, now, &plan, err) < 0 || write_plan(catalog, &plan, err) < 0 ||
	    catalog_commit(catalog, err) < 0) {
		catalog_rollback(catalog);
		return -1;
	}
	for (size_t i = 0; i < plan.changes.items.count; i++)
		result->changes_count += plan.changes.items.items[i].event != ALARM_REWORDED;

	return 0;
}

int
watch_tick(struct watch *watch, const struct watch_news *news, struct wall_time now,
    struct watch_result *ret_result, struct err *err)
{
	SCOPED(watch_plan_done) struct watch_plan plan = { .watch = NULL };
	struct watch_result result = { .changes_count = 0 };

	if (look(watch, now, err) < 0 || make_plan(watch, news, now, &plan, err) < 0)
		return -1;
	if (!is_empty(&plan) && carry_out(watch, news, now, &result, err) < 0)
		return -1;
	if (catalog_outbox_has_due(watch->engine->catalog, now, &result.has_due, err) < 0)
		return -1;
	*ret_result = result;

	return 0;
}
