/* What the watch does by the clock: state for Alertmanagers, pings, the digest, samples. */
#include "engine/watch_internal.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "catalog/catalog_watch.h"
#include "engine/engine.h"
#include "sched/calendar.h"

#define STATE_EVERY_US (60 * US_PER_S)
#define STATE_AFTER_CLEARING_US (5 * 60 * US_PER_S)
#define STATE_LASTS_US (5 * 60 * US_PER_S)
#define BEAT_LASTS_US (10 * 60 * US_PER_S)
#define PING_LASTS_US (6 * 3600 * US_PER_S)
#define DIGEST_LASTS_US (20 * 3600 * US_PER_S)
#define SAMPLE_EVERY_US (3600 * US_PER_S)
#define TRIM_EVERY_US (24 * 3600 * US_PER_S)

static int
mark_of(const struct watch_plan *plan, const char *what, const char *name, char **ret_mark,
    struct wall_time *ret_at, char **ret_value, struct err *err)
{
	SCOPED(freep) char *mark = name != NULL ? xasprintf("%s:%s", what, name) : xstrdup(what);

	if (catalog_mark_get(plan->watch->engine->catalog, mark, ret_at, ret_value, err) < 0)
		return -1;
	*ret_mark = TAKE(mark);

	return 0;
}

/* A clock that was set back counts as elapsed, or nothing would happen until it has caught up. */
static bool
has_elapsed(const struct watch_plan *plan, struct wall_time since, int64_t us)
{
	return plan->now.us - since.us >= us || since.us > plan->now.us;
}

/* ---- the whole state, for those who want it again and again -------------------------------- */

static bool
has_something_to_say(const struct watch_plan *plan)
{
	for (size_t i = 0; i < plan->states.items.count; i++) {
		const struct alarm_state *state = &plan->states.items.items[i];

		if (alarm_is_standing(state) ||
		    plan->now.us - state->cleared_at.us < STATE_AFTER_CLEARING_US)
			return true;
	}

	return false;
}

static int
plan_state(struct watch_plan *plan, const struct watch_channel *channel, struct err *err)
{
	SCOPED(freep) char *mark = NULL;
	SCOPED(freep) char *value = NULL;
	struct wall_time at;

	if (mark_of(plan, "state", channel->name, &mark, &at, &value, err) < 0)
		return -1;
	if (plan->changes.items.count == 0 &&
	    (!has_something_to_say(plan) || !has_elapsed(plan, at, STATE_EVERY_US)))
		return 0;
	(void)watch_plan_message(plan, channel, "state", STATE_LASTS_US, true);
	watch_plan_mark(plan, mark, plan->now, NULL);

	return 0;
}

/* ---- heartbeats ---------------------------------------------------------------------------- */

static int
plan_daemon_beat(struct watch_plan *plan, const struct watch_channel *channel, struct err *err)
{
	SCOPED(freep) char *mark = NULL;
	SCOPED(freep) char *value = NULL;
	struct wall_time at;

	if (mark_of(plan, "beat", channel->name, &mark, &at, &value, err) < 0)
		return -1;
	if (!has_elapsed(plan, at, plan->watch->settings->beat_us))
		return 0;
	watch_plan_message(plan, channel, "beat", BEAT_LASTS_US, true)
	    ->severity = plan->criticals_count > 0 ? ALARM_CRITICAL : ALARM_WELL;
	watch_plan_mark(plan, mark, plan->now, NULL);

	return 0;
}

/* One ping for the run `run`, unless it was the last one pinged; the first ever seen is not news. */
static int
plan_ping(struct watch_plan *plan, const struct watch_channel *channel, const char *what,
    const char *event, const struct run_row *run, struct err *err)
{
	SCOPED(freep) char *mark = NULL;
	SCOPED(freep) char *value = NULL;
	struct outbox_row *message;
	struct wall_time at;

	if (mark_of(plan, what, channel->name, &mark, &at, &value, err) < 0)
		return -1;
	if (at.us != 0 && str_equals(value, run->id != NULL ? run->id : ""))
		return 0;
	watch_plan_mark(plan, mark, plan->now, run->id != NULL ? run->id : "");
	if (at.us == 0 || run->id == NULL || event == NULL)
		return 0;
	message = watch_plan_message(plan, channel, event, PING_LASTS_US, false);
	message->subject = xstrdup(run->job);
	message->text = xstrdup(run->id);
	message->cause = xstrdup(run->message);

	return 0;
}

/* What the end of a run is for a heartbeat; NULL: nothing, it did not take place. */
static const char *
ping_of(const struct run_row *run)
{
	switch (run->state) {
	case RUN_OK:
	case RUN_WARNING:
		return "success";
	case RUN_FAILED:
	case RUN_LOST:
		return "fail";
	default:
		return NULL;
	}
}

static int
plan_job_beat(struct watch_plan *plan, const struct watch_channel *channel, struct err *err)
{
	const struct watch_seen *seen = &plan->watch->seen;

	for (size_t i = 0; i < seen->jobs.count; i++) {
		const struct seen_job *job = &seen->jobs.items[i];

		if (!str_equals(job->of->job, channel->beat_job))
			continue;
		if (plan_ping(plan, channel, "start", "start", &job->running, err) < 0)
			return -1;
		return plan_ping(plan, channel, "end", ping_of(&job->last), &job->last, err);
	}

	return 0;
}

/* ---- the digest, and what is kept in order ------------------------------------------------- */

/* Due ones that were slept through are not sent late in the day: the next one says the same. */
static int
plan_digest(struct watch_plan *plan, struct err *err)
{
	const struct watch *watch = plan->watch;
	SCOPED(freep) char *mark = NULL;
	SCOPED(freep) char *value = NULL;
	SCOPED(freep) char *text = NULL;
	struct wall_time at, due;

	if (watch->settings->digest == NULL ||
	    !calendar_previous(watch->settings->digest, watch->engine->zone, plan->now, &due))
		return 0;
	if (mark_of(plan, "digest", NULL, &mark, &at, &value, err) < 0)
		return -1;
	if (at.us == due.us)
		return 0;
	watch_plan_mark(plan, mark, due, NULL);
	if (at.us == 0 || plan->now.us - due.us > DIGEST_LASTS_US / 2)
		return 0;
	text = watch_digest_text(&watch->seen, &plan->states, watch->engine->zone, plan->now);
	for (size_t i = 0; i < watch->settings->channels_count; i++) {
		const struct watch_channel *channel = &watch->settings->channels[i];

		if (channel->wants_digest)
			watch_plan_message(plan, channel, "digest", DIGEST_LASTS_US, true)
			    ->text = xstrdup(text);
	}

	return 0;
}

static int
plan_housekeeping(struct watch_plan *plan, struct err *err)
{
	SCOPED(freep) char *sample_mark = NULL;
	SCOPED(freep) char *trim_mark = NULL;
	SCOPED(freep) char *sample_value = NULL;
	SCOPED(freep) char *trim_value = NULL;
	struct wall_time sampled_at, trimmed_at;

	if (mark_of(plan, "sample", NULL, &sample_mark, &sampled_at, &sample_value, err) < 0 ||
	    mark_of(plan, "trim", NULL, &trim_mark, &trimmed_at, &trim_value, err) < 0)
		return -1;
	if (plan->watch->seen.store_failure == NULL &&
	    has_elapsed(plan, sampled_at, SAMPLE_EVERY_US)) {
		plan->wants_sample = true;
		watch_plan_mark(plan, sample_mark, plan->now, NULL);
	}
	if (has_elapsed(plan, trimmed_at, TRIM_EVERY_US)) {
		plan->wants_trim = true;
		watch_plan_mark(plan, trim_mark, plan->now, NULL);
	}

	return 0;
}

static int
plan_channel(struct watch_plan *plan, const struct watch_channel *channel, struct err *err)
{
	if (channel->kind == WATCH_CHANNEL_STATE)
		return plan_state(plan, channel, err);
	if (channel->kind != WATCH_CHANNEL_BEAT)
		return 0;

	return channel->beat_job == NULL ? plan_daemon_beat(plan, channel, err)
					 : plan_job_beat(plan, channel, err);
}

int
watch_plan_regular(struct watch_plan *plan, struct err *err)
{
	const struct watch_settings *settings = plan->watch->settings;

	for (size_t i = 0; i < settings->channels_count; i++) {
		if (plan_channel(plan, &settings->channels[i], err) < 0)
			return -1;
	}
	if (plan_digest(plan, err) < 0)
		return -1;

	return plan_housekeeping(plan, err);
}
