#include "sched/alarm_rules.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "base/zone.h"

enum { AGE_PATIENCE = 8 }; /* a run may take this part of the limit */

struct applying {
	const struct alarm_limits *limits;
	const struct zone *zone;
	struct wall_time now;
	struct alarm_conditions *conditions;
};

/* What a rule says of a subject when nothing is wrong; NULL when the rule is off. */
static struct alarm_condition *
add(const struct applying *applying, enum alarm_rule rule, const char *subject)
{
	struct alarm_condition *condition;

	if (applying->limits->is_off[rule])
		return NULL;
	condition = vec_add(&applying->conditions->items);
	condition->rule = rule;
	condition->subject = xstrdup(subject);

	return condition;
}

static const char *
time_text(const struct applying *applying, struct wall_time time, char *text)
{
	return zone_format(applying->zone, time, text);
}

/* ---- jobs ---------------------------------------------------------------------------------- */

static char *
log_command(const char *run)
{
	return run != NULL ? xasprintf("blackstart log %s", run) : xstrdup("blackstart status");
}

static char *
join_cause(const char *failure, const char *hint)
{
	if (failure == NULL)
		return xstrdup("no message was left");

	return hint != NULL ? xasprintf("%s (%s)", failure, hint) : xstrdup(failure);
}

/* A lost run is a failed one too: the second in a row is critical whatever ended it. */
static void
apply_failed(const struct applying *applying, const struct job_facts *job)
{
	bool is_lost = job->is_last_lost;
	struct alarm_condition *failed = add(applying, ALARM_JOB_FAILED, job->job);
	struct alarm_condition *lost;

	if (failed != NULL && job->failures_in_a_row > 0 &&
	    !(is_lost && job->failures_in_a_row == 1)) {
		failed->severity = job->failures_in_a_row >= ALARM_FAILURES_CRITICAL
		    ? ALARM_CRITICAL
		    : ALARM_WARNING;
		failed->since = job->failed_at;
		failed->text = job->failures_in_a_row == 1
		    ? xstrdup("the last run failed")
		    : xasprintf("the last %u runs failed", job->failures_in_a_row);
		failed->cause = join_cause(job->failure, job->failure_hint);
		failed->next_command = log_command(job->failed_run);
	}
	lost = add(applying, ALARM_LOST, job->job);
	if (lost != NULL && job->failures_in_a_row > 0 && is_lost) {
		lost->severity = ALARM_WARNING;
		lost->since = job->failed_at;
		lost->text = xstrdup("the last run was lost");
		lost->cause = xstrdup("its process ended without a word: killed, or the machine "
				      "went down");
		lost->next_command = log_command(job->failed_run);
	}
}

/*
 * The run that will end it goes on: twice the interval is over just when the second run begins,
 * and an alarm that is over when that ends says nothing.  What stands already stays, and a run that
 * takes too long counts for nothing.
 */
static bool
is_being_cured(const struct applying *applying, const struct job_facts *job)
{
	return job->running_since.us != 0 &&
	    applying->now.us - job->running_since.us <= job->max_age_us / AGE_PATIENCE;
}

static void
apply_age(const struct applying *applying, const struct job_facts *job)
{
	struct wall_time from = job->last_good.us != 0 ? job->last_good : job->known_since;
	struct alarm_condition *condition;
	char when[CLOCK_TEXT_SIZE], limit[CLOCK_TEXT_SIZE];

	if (job->max_age_us <= 0)
		return;
	condition = add(applying, ALARM_TOO_OLD, job->job);
	if (condition == NULL || applying->now.us - from.us <= job->max_age_us)
		return;
	condition->severity = is_being_cured(applying, job) ? ALARM_WELL : ALARM_CRITICAL;
	condition->held = ALARM_CRITICAL;
	condition->since.us = from.us + job->max_age_us;
	(void)clock_format_duration(job->max_age_us, limit);
	condition->text = job->last_good.us != 0
	    ? xasprintf("the last good backup is of %s, the limit is %s",
		  time_text(applying, job->last_good, when), limit)
	    : xasprintf("there is no good backup yet, the limit is %s", limit);
	condition->cause = job->failure != NULL ? join_cause(job->failure, job->failure_hint)
						: xstrdup("no run ended well since then");
	condition->next_command = xasprintf("blackstart run %s", job->job);
}

static void
apply_missed(const struct applying *applying, const struct job_facts *job)
{
	struct alarm_condition *condition = add(applying, ALARM_MISSED_RUN, job->job);
	char when[CLOCK_TEXT_SIZE];

	if (condition == NULL || job->missed_at.us == 0)
		return;
	condition->severity = ALARM_WARNING;
	condition->since = job->missed_at;
	condition->text = xasprintf("the run due at %s did not start in its deadline",
	    time_text(applying, job->missed_at, when));
	condition->cause = xstrdup("the machine or the daemon was off, or another run of the "
				   "source took too long");
	condition->next_command = xasprintf("blackstart run %s", job->job);
}

static void
apply_stalled(const struct applying *applying, const struct job_facts *job)
{
	struct alarm_condition *condition = add(applying, ALARM_STALLED, job->job);
	char when[CLOCK_TEXT_SIZE];

	if (condition == NULL)
		return;
	condition->is_unknown = job->is_stall_unknown;
	if (job->stalled_at.us == 0)
		return;
	condition->severity = ALARM_WARNING;
	condition->since = job->stalled_at;
	condition->text = xasprintf("the run that goes on has said nothing since %s",
	    time_text(applying, job->stalled_at, when));
	condition->cause = xstrdup("it waits: for a lock, the network or a disk");
	condition->next_command = log_command(job->stalled_run);
}

static void
apply_suspicious(const struct applying *applying, const struct job_facts *job)
{
	struct alarm_condition *condition = add(applying, ALARM_SUSPICIOUS, job->job);
	unsigned percent = applying->limits->suspicious_percent;
	char size[32], median[32];
	bool is_small = job->median_bytes > 0 && percent > 0 &&
	    (double)job->newest_bytes * 100 < (double)job->median_bytes * percent;

	if (condition == NULL || job->newest_id == NULL || (!is_small && job->emptied == NULL))
		return;
	condition->severity = ALARM_WARNING;
	condition->since = job->last_good;
	if (job->emptied != NULL)
		condition->text = xstrdup(job->emptied);
	else
		condition->text = xasprintf("the newest backup holds %s, those before it %s",
		    format_bytes(job->newest_bytes, size), format_bytes(job->median_bytes, median));
	condition->cause = xstrdup("the source lost data, or the job sees only a part of it");
	condition->next_command = xasprintf("blackstart show %s", job->newest_id);
}

static void
apply_verify(const struct applying *applying, const struct job_facts *job)
{
	struct wall_time from = job->verified_at.us != 0 ? job->verified_at : job->unverified_since;
	struct alarm_condition *condition;
	char when[CLOCK_TEXT_SIZE], limit[CLOCK_TEXT_SIZE];

	if (job->verify_level < 0 || job->verify_max_age_us <= 0)
		return;
	condition = add(applying, ALARM_VERIFY_OVERDUE, job->job);
	if (condition == NULL || from.us == 0 || job->newest_id == NULL ||
	    applying->now.us - from.us <= job->verify_max_age_us)
		return;
	condition->severity = ALARM_WARNING;
	condition->since.us = from.us + job->verify_max_age_us;
	(void)clock_format_duration(job->verify_max_age_us, limit);
	condition->text = job->verified_at.us != 0
	    ? xasprintf("the last proof of level %d is of %s, the limit is %s", job->verify_level,
		  time_text(applying, job->verified_at, when), limit)
	    : xasprintf("none of its backups was ever proved to level %d, the limit is %s",
		  job->verify_level, limit);
	condition->cause = xstrdup("no verification reached that level since then");
	condition->next_command = xasprintf("blackstart verify %s --level %d", job->newest_id,
	    job->verify_level);
}

static void
apply_upload(const struct applying *applying, const struct job_facts *job)
{
	struct alarm_condition *condition = add(applying, ALARM_UPLOAD_FAILED, job->job);

	if (condition == NULL || job->upload_failure == NULL)
		return;
	condition->severity = ALARM_CRITICAL;
	condition->since = job->upload_failed_at;
	condition->text = xstrdup("its backups do not reach the other site");
	condition->cause = xstrdup(job->upload_failure);
	condition->next_command = xstrdup("blackstart status");
}

static void
apply_job(const struct applying *applying, const struct job_facts *job)
{
	apply_failed(applying, job);
	apply_age(applying, job);
	apply_missed(applying, job);
	apply_stalled(applying, job);
	apply_suspicious(applying, job);
	apply_verify(applying, job);
	apply_upload(applying, job);
}

/* ---- streams ------------------------------------------------------------------------------- */

/* Raised beyond the limit, cleared below half of it: a receiver that only just keeps up flaps. */
static void
apply_wal_stalled(const struct applying *applying, const struct stream_facts *stream)
{
	struct wall_time from = stream->newest.us != 0 ? stream->newest : stream->known_since;
	int64_t age_us = applying->now.us - from.us;
	struct alarm_condition *condition;
	char when[CLOCK_TEXT_SIZE], limit[CLOCK_TEXT_SIZE];

	if (stream->max_age_us <= 0)
		return;
	condition = add(applying, ALARM_WAL_STALLED, stream->source);
	if (condition == NULL)
		return;
	condition->is_unknown = stream->is_unknown;
	condition->severity = age_us > stream->max_age_us ? ALARM_CRITICAL : ALARM_WELL;
	condition->held = age_us > stream->max_age_us / 2 ? ALARM_CRITICAL : ALARM_WELL;
	condition->since.us = from.us + stream->max_age_us;
	(void)clock_format_duration(stream->max_age_us, limit);
	condition->text = stream->newest.us != 0
	    ? xasprintf("the log stands still: its last commit here is of %s, the limit is %s",
		  time_text(applying, stream->newest, when), limit)
	    : xasprintf("nothing of the log has arrived yet, the limit is %s", limit);
	condition->cause = xstrdup(stream->is_receiving
		? "the receiver runs but gets nothing: the server or the way to it"
		: "no receiver runs");
	condition->next_command = stream->is_receiving
	    ? xasprintf("blackstart check %s", stream->source)
	    : xasprintf("blackstart run %s", stream->job);
}

static void
apply_wal_gap(const struct applying *applying, const struct stream_facts *stream)
{
	struct alarm_condition *condition = add(applying, ALARM_WAL_GAP, stream->source);

	if (condition == NULL)
		return;
	condition->is_unknown = stream->is_unknown;
	if (stream->gaps_count == 0)
		return;
	condition->severity = ALARM_CRITICAL;
	condition->text = xasprintf("the log has %u %s", stream->gaps_count,
	    stream->gaps_count == 1 ? "hole" : "holes");
	condition->cause = xstrdup(stream->gap);
	condition->next_command = xasprintf("blackstart window %s", stream->source);
}

/* ---- the rest ------------------------------------------------------------------------------ */

static unsigned
percent_of(uint64_t used_bytes, uint64_t capacity_bytes)
{
	return capacity_bytes > 0 ? (unsigned)((double)used_bytes * 100 / (double)capacity_bytes)
				  : 0;
}

/* Each level is left only well below where it was entered. */
static void
judge_space(const struct applying *applying, uint64_t used_bytes, uint64_t capacity_bytes,
    struct alarm_condition *condition)
{
	const struct alarm_limits *limits = applying->limits;
	unsigned percent = percent_of(used_bytes, capacity_bytes);
	unsigned margin = limits->storage_warn_percent > limits->storage_clear_percent
	    ? limits->storage_warn_percent - limits->storage_clear_percent
	    : 0;
	char used[32], capacity[32];

	if (percent >= limits->storage_critical_percent)
		condition->severity = ALARM_CRITICAL;
	else if (percent >= limits->storage_warn_percent)
		condition->severity = ALARM_WARNING;
	if (percent + margin >= limits->storage_critical_percent)
		condition->held = ALARM_CRITICAL;
	else if (percent >= limits->storage_clear_percent)
		condition->held = ALARM_WARNING;
	condition->text = xasprintf("%u%% is used: %s of %s", percent,
	    format_bytes(used_bytes, used), format_bytes(capacity_bytes, capacity));
}

static void
judge_store(const struct applying *applying, const struct store_facts *store,
    struct alarm_condition *condition)
{
	char when[CLOCK_TEXT_SIZE];

	judge_space(applying, store->used_bytes, store->capacity_bytes, condition);
	if (store->full_at.us != 0)
		condition->cause = xasprintf("as it fills now, it is full about %.10s",
		    time_text(applying, store->full_at, when));
	else
		condition->cause = xstrdup("when it will be full cannot be said yet");
	condition->next_command = xstrdup("blackstart prune");
}

static void
apply_store(const struct applying *applying, const struct store_facts *store)
{
	struct alarm_condition *condition = add(applying, ALARM_STORAGE_ABOVE, store->name);

	if (condition == NULL)
		return;
	if (store->failure == NULL) {
		judge_store(applying, store, condition);
		return;
	}
	condition->severity = ALARM_CRITICAL;
	condition->text = xstrdup("the store cannot be used");
	condition->cause = xstrdup(store->failure);
	condition->next_command = xstrdup("blackstart check");
}

/* A full disk there stops the records of runs and the alarms themselves: it is told before. */
static void
apply_state(const struct applying *applying, const struct state_facts *state)
{
	struct alarm_condition *space = NULL;
	struct alarm_condition *catalog;

	if (state->capacity_bytes > 0)
		space = add(applying, ALARM_STORAGE_ABOVE, "state_dir");
	if (space != NULL) {
		judge_space(applying, state->used_bytes, state->capacity_bytes, space);
		space->cause =
		    xstrdup("when it is full, no run can be recorded and no alarm be raised");
		space->next_command = xasprintf("df -h %s", state->folder);
	}
	catalog = add(applying, ALARM_CATALOG_DAMAGED, "catalog");
	if (catalog == NULL || state->catalog_aside == NULL)
		return;
	catalog->severity = ALARM_WARNING;
	catalog->text = xstrdup("the catalog was damaged, and made again from the store");
	catalog->cause = xasprintf(
	    "a disk or a crash: runs and alarms from before are only in '%s', until that is removed",
	    state->catalog_aside);
	catalog->next_command = xasprintf("rm %s", state->catalog_aside);
}

static void
apply_drill(const struct applying *applying, const struct drill_facts *drill)
{
	struct wall_time from = drill->last.us != 0 ? drill->last : drill->known_since;
	struct alarm_condition *condition;
	char when[CLOCK_TEXT_SIZE], limit[CLOCK_TEXT_SIZE];

	if (drill->max_age_us <= 0)
		return;
	condition = add(applying, ALARM_DRILL_OVERDUE, drill->source);
	if (condition == NULL || applying->now.us - from.us <= drill->max_age_us)
		return;
	condition->severity = ALARM_WARNING;
	condition->since.us = from.us + drill->max_age_us;
	(void)clock_format_duration(drill->max_age_us, limit);
	condition->text = drill->last.us != 0
	    ? xasprintf("it was last restored at %s, the limit is %s",
		  time_text(applying, drill->last, when), limit)
	    : xasprintf("it was never restored, the limit is %s", limit);
	condition->cause = xstrdup("nobody has practised bringing it back since then");
	condition->next_command = xasprintf("blackstart plan restore %s", drill->source);
}

static void
apply_channel(const struct applying *applying, const struct channel_facts *channel)
{
	struct alarm_condition *condition = add(applying, ALARM_NOTIFY_FAILING, channel->name);

	if (condition == NULL || channel->failures_in_a_row < ALARM_CHANNEL_FAILURES_MAX)
		return;
	condition->severity = ALARM_WARNING;
	condition->since = channel->failing_since;
	condition->text = xstrdup("messages do not get through this channel");
	condition->cause = xstrdup(channel->failure);
	condition->next_command = xasprintf("blackstart alert test %s", channel->name);
}

static void
apply_daemon(const struct applying *applying, const struct daemon_facts *daemon)
{
	struct alarm_condition *config = add(applying, ALARM_CONFIG_RELOAD_FAILED, "daemon");
	struct alarm_condition *jump;
	char by[CLOCK_TEXT_SIZE];

	if (config != NULL && daemon->config_failure != NULL) {
		config->severity = ALARM_WARNING;
		config->since = daemon->config_failed_at;
		config->text = xstrdup("the configuration could not be reloaded, the old one is "
				       "in force");
		config->cause = xstrdup(daemon->config_failure);
		config->next_command = xasprintf("blackstart config check -c %s",
		    daemon->config_path);
	}
	jump = add(applying, ALARM_CLOCK_JUMP, "daemon");
	if (jump == NULL)
		return;
	if (daemon->clock_jump_us == 0)
		return;
	jump->severity = ALARM_WARNING;
	jump->text = xasprintf("the clock was set %s by %s",
	    daemon->clock_jump_us > 0 ? "forward" : "back",
	    clock_format_duration(daemon->clock_jump_us > 0 ? daemon->clock_jump_us
							    : -daemon->clock_jump_us,
		by));
	jump->cause = xstrdup("time synchronisation, a hand, or a machine that was asleep");
	jump->next_command = xstrdup("timedatectl");
}

/* A command that is no daemon knows nothing of its reloads and clock: they stay as they are. */
static void
leave_daemon(const struct applying *applying)
{
	static const enum alarm_rule owned[] = { ALARM_CONFIG_RELOAD_FAILED, ALARM_CLOCK_JUMP };

	for (size_t i = 0; i < ARRAY_SIZE(owned); i++) {
		struct alarm_condition *condition = add(applying, owned[i], "daemon");

		if (condition != NULL)
			condition->is_unknown = true;
	}
}

void
alarm_rules_apply(const struct alarm_facts *facts, const struct alarm_limits *limits,
    const struct zone *zone, struct wall_time now, struct alarm_conditions *ret_conditions)
{
	struct alarm_conditions conditions = { .items = { .count = 0 } };
	const struct applying applying = {
		.limits = limits,
		.zone = zone,
		.now = now,
		.conditions = &conditions,
	};

	for (size_t i = 0; i < facts->jobs_count; i++)
		apply_job(&applying, &facts->jobs[i]);
	for (size_t i = 0; i < facts->streams_count; i++) {
		apply_wal_stalled(&applying, &facts->streams[i]);
		apply_wal_gap(&applying, &facts->streams[i]);
	}
	for (size_t i = 0; i < facts->drills_count; i++)
		apply_drill(&applying, &facts->drills[i]);
	for (size_t i = 0; i < facts->channels_count; i++)
		apply_channel(&applying, &facts->channels[i]);
	if (facts->store != NULL)
		apply_store(&applying, facts->store);
	if (facts->state != NULL)
		apply_state(&applying, facts->state);
	if (facts->daemon != NULL)
		apply_daemon(&applying, facts->daemon);
	else
		leave_daemon(&applying);
	*ret_conditions = conditions;
}
