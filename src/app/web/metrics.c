#include "app/web/metrics.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/link.h"
#include "base/str.h"
#include "base/version.h"
#include "catalog/catalog_outbox.h"
#include "catalog/catalog_watch.h"
#include "engine/alarm_desk.h"
#include "engine/watch_seen.h"
#include "sched/alarm.h"

struct metrics {
	const struct metrics_input *input;
	struct run_counts counts;
	struct alarm_states alarms;
	struct wall_time now;
	struct str *to;
	const char *family; /* the name of the samples that are being written */
};

/* ---- the format ---------------------------------------------------------------------------- */

/* A label's value; bytes that are no ASCII stay as they are, the format is UTF-8. */
static void
add_label(const struct metrics *metrics, const char *name, const char *value)
{
	str_addf(metrics->to, "%s=\"", name);
	for (const char *c = value; *c != '\0'; c++) {
		if (*c == '\n')
			str_add(metrics->to, "\\n");
		else if (*c == '"' || *c == '\\')
			str_addf(metrics->to, "\\%c", *c);
		else
			str_add_char(metrics->to, *c);
	}
	str_add_char(metrics->to, '"');
}

/* The sample's name and the labels of its job, left open for more. */
static void
begin_of_job(const struct metrics *metrics, const struct seen_job *job)
{
	str_addf(metrics->to, "%s{", metrics->family);
	add_label(metrics, "name", job->of->job);
	str_add_char(metrics->to, ',');
	add_label(metrics, "source", job->of->source);
}

static void
end_number(const struct metrics *metrics, double value)
{
	str_addf(metrics->to, "} %.17g\n", value);
}

static void
end_bytes(const struct metrics *metrics, uint64_t bytes)
{
	str_addf(metrics->to, "} %llu\n", (unsigned long long)bytes);
}

/* Seconds, to the millisecond: as a clock's reading is worth. */
static void
end_seconds(const struct metrics *metrics, int64_t us)
{
	str_addf(metrics->to, "} %lld.%03lld\n", (long long)(us / US_PER_S),
	    (long long)(us % US_PER_S / US_PER_MS));
}

static void
of_job_seconds(const struct metrics *metrics, const struct seen_job *job, int64_t us)
{
	if (us <= 0)
		return; /* not known: no sample, rather than 1970 */
	begin_of_job(metrics, job);
	end_seconds(metrics, us);
}

static void
of_job_number(const struct metrics *metrics, const struct seen_job *job, double value)
{
	begin_of_job(metrics, job);
	end_number(metrics, value);
}

/* ---- jobs ---------------------------------------------------------------------------------- */

static void
last_run(const struct metrics *metrics, const struct seen_job *job)
{
	of_job_seconds(metrics, job,
	    job->last.id != NULL && job->last.finished.us != 0 ? job->last.finished.us
							       : job->last.started.us);
}

static void
last_success(const struct metrics *metrics, const struct seen_job *job)
{
	of_job_seconds(metrics, job, job->newest.finished.us);
}

static void
known_since(const struct metrics *metrics, const struct seen_job *job)
{
	of_job_seconds(metrics, job, job->known_since.us);
}

static void
last_status(const struct metrics *metrics, const struct seen_job *job)
{
	if (job->outcome.failures_in_a_row > 0)
		of_job_number(metrics, job, 0);
	else if (job->last.id != NULL)
		of_job_number(metrics, job, job->last.state == RUN_WARNING ? 0.5 : 1);
}

static void
failures_in_a_row(const struct metrics *metrics, const struct seen_job *job)
{
	of_job_number(metrics, job, job->outcome.failures_in_a_row);
}

static void
duration(const struct metrics *metrics, const struct seen_job *job)
{
	if (job->last.id != NULL && job->last.finished.us > job->last.started.us)
		of_job_seconds(metrics, job, job->last.finished.us - job->last.started.us);
}

static void
running_since(const struct metrics *metrics, const struct seen_job *job)
{
	if (job->running.id != NULL)
		of_job_seconds(metrics, job, job->running.started.us);
}

static void
progress(const struct metrics *metrics, const struct seen_job *job)
{
	for (size_t i = 0; i < metrics->input->live_count; i++) {
		const struct metrics_live *live = &metrics->input->live[i];

		if (str_equals(live->job, job->of->job) && live->progress_ratio >= 0)
			of_job_number(metrics, job, live->progress_ratio);
	}
}

static void
interval(const struct metrics *metrics, const struct seen_job *job)
{
	of_job_seconds(metrics, job, job->of->interval_us);
}

static void
max_age(const struct metrics *metrics, const struct seen_job *job)
{
	of_job_seconds(metrics, job,
	    job->of->stream != NULL ? job->of->stream_max_age_us : job->of->max_age_us);
}

static void
source_bytes(const struct metrics *metrics, const struct seen_job *job)
{
	if (job->newest.id == NULL)
		return;
	begin_of_job(metrics, job);
	end_bytes(metrics, job->newest.content_bytes);
}

static void
stored_bytes(const struct metrics *metrics, const struct seen_job *job)
{
	if (job->newest.id == NULL)
		return;
	begin_of_job(metrics, job);
	end_bytes(metrics, job->newest.stored_bytes);
}

static void
backups(const struct metrics *metrics, const struct seen_job *job)
{
	if (job->of->stream == NULL)
		of_job_number(metrics, job, job->proofs.backups_count);
}

static void
runs_total(const struct metrics *metrics, const struct seen_job *job)
{
	for (size_t i = 0; i < metrics->counts.rows.count; i++) {
		const struct run_count *count = &metrics->counts.rows.items[i];

		if (!str_equals(count->job, job->of->job) || count->state == RUN_RUNNING)
			continue;
		begin_of_job(metrics, job);
		str_add_char(metrics->to, ',');
		add_label(metrics, "result", run_state_name(count->state));
		end_bytes(metrics, count->count);
	}
}

static void
verified(const struct metrics *metrics, const struct seen_job *job)
{
	for (int level = 0; level < BACKUP_LEVELS_COUNT; level++) {
		char text[8];

		if (job->proofs.at[level].us == 0)
			continue;
		(void)snprintf(text, sizeof(text), "%d", level);
		begin_of_job(metrics, job);
		str_add_char(metrics->to, ',');
		add_label(metrics, "level", text);
		end_seconds(metrics, job->proofs.at[level].us);
	}
}

/* ---- streams ------------------------------------------------------------------------------- */

static void
window_oldest(const struct metrics *metrics, const struct seen_job *job)
{
	of_job_seconds(metrics, job, job->window_from.us);
}

static void
window_newest(const struct metrics *metrics, const struct seen_job *job)
{
	of_job_seconds(metrics, job, job->window_to.us);
}

static void
wal_lag(const struct metrics *metrics, const struct seen_job *job)
{
	for (size_t i = 0; i < metrics->input->live_count; i++) {
		const struct metrics_live *live = &metrics->input->live[i];

		if (!str_equals(live->job, job->of->job) || live->lag_bytes < 0)
			continue;
		begin_of_job(metrics, job);
		end_bytes(metrics, (uint64_t)live->lag_bytes);
	}
}

/* NULL: nothing supervises it here. */
static const struct link_state *
link_of(const struct metrics *metrics, const struct seen_job *job)
{
	for (size_t i = 0; i < metrics->input->live_count; i++) {
		const struct metrics_live *live = &metrics->input->live[i];

		if (live->link != NULL && str_equals(live->job, job->of->job))
			return live->link;
	}

	return NULL;
}

static bool
is_linked(const struct link_state *link)
{
	return link->phase == LINK_CONNECTED || link->phase == LINK_CATCHING_UP;
}

static void
wal_lag_seconds(const struct metrics *metrics, const struct seen_job *job)
{
	const struct link_state *link = link_of(metrics, job);

	if (link != NULL && is_linked(link))
		of_job_number(metrics, job, (double)link->behind_us / US_PER_S);
}

static void
wal_connected(const struct metrics *metrics, const struct seen_job *job)
{
	const struct link_state *link = link_of(metrics, job);

	if (link != NULL)
		of_job_number(metrics, job, is_linked(link));
}

static void
wal_gaps(const struct metrics *metrics, const struct seen_job *job)
{
	if (job->of->stream != NULL && !job->is_window_unknown)
		of_job_number(metrics, job, job->gaps_count);
}

static void
wal_receiving(const struct metrics *metrics, const struct seen_job *job)
{
	if (job->of->stream != NULL)
		of_job_number(metrics, job, job->is_receiving);
}

/* ---- the rest ------------------------------------------------------------------------------ */

static void
plain(const struct metrics *metrics, const char *value)
{
	str_addf(metrics->to, "%s %s\n", metrics->family, value);
}

static void
store_usable(const struct metrics *metrics)
{
	plain(metrics, metrics->input->seen->store_failure == NULL ? "1" : "0");
}

static void
store_bytes(const struct metrics *metrics, uint64_t bytes)
{
	if (metrics->input->seen->store_failure == NULL)
		str_addf(metrics->to, "%s %llu\n", metrics->family, (unsigned long long)bytes);
}

static void
store_used(const struct metrics *metrics)
{
	store_bytes(metrics, metrics->input->seen->space.used_bytes);
}

static void
store_capacity(const struct metrics *metrics)
{
	if (metrics->input->seen->space.capacity_bytes > 0)
		store_bytes(metrics, metrics->input->seen->space.capacity_bytes);
}

/* Every combination, so that a rule sees a zero and not an absence. */
static void
alarms(const struct metrics *metrics)
{
	static const char *const state_names[] = { "raised", "acknowledged", "shelved" };

	for (int severity = ALARM_WARNING; severity <= ALARM_CRITICAL; severity++) {
		for (size_t i = 0; i < ARRAY_SIZE(state_names); i++) {
			unsigned count = 0;

			for (size_t j = 0; j < metrics->alarms.items.count; j++) {
				const struct alarm_state *alarm = &metrics->alarms.items.items[j];

				count += (int)alarm->severity == severity &&
				    str_equals(alarm_state_name(alarm, metrics->now),
					state_names[i]);
			}
			str_addf(metrics->to, "%s{severity=\"%s\",state=\"%s\"} %u\n",
			    metrics->family, alarm_severity_name((enum alarm_severity)severity),
			    state_names[i], count);
		}
	}
}

static void
alarm_since(const struct metrics *metrics)
{
	for (size_t i = 0; i < metrics->alarms.items.count; i++) {
		const struct alarm_state *alarm = &metrics->alarms.items.items[i];

		if (!alarm_is_standing(alarm))
			continue;
		str_addf(metrics->to, "%s{rule=\"%s\",", metrics->family,
		    alarm_rule_name(alarm->rule));
		add_label(metrics, "name", alarm->subject);
		str_addf(metrics->to, ",severity=\"%s\",state=\"%s\"",
		    alarm_severity_name(alarm->severity), alarm_state_name(alarm, metrics->now));
		end_seconds(metrics, alarm->since.us);
	}
}

static void
of_channels(const struct metrics *metrics, bool is_failures)
{
	const struct channel_rows *channels = &metrics->input->seen->channels;

	for (size_t i = 0; i < channels->rows.count; i++) {
		const struct channel_row *row = &channels->rows.items[i];

		str_addf(metrics->to, "%s{", metrics->family);
		add_label(metrics, "channel", row->name);
		end_bytes(metrics, is_failures ? row->failures_total : row->sent_total);
	}
}

static void
notify_failures(const struct metrics *metrics)
{
	of_channels(metrics, true);
}

static void
notify_sent(const struct metrics *metrics)
{
	of_channels(metrics, false);
}

static void
build_info(const struct metrics *metrics)
{
	str_addf(metrics->to, "%s{", metrics->family);
	add_label(metrics, "version", BLACKSTART_VERSION);
	str_add_char(metrics->to, ',');
	add_label(metrics, "site", metrics->input->site);
	end_number(metrics, 1);
}

/* ---- all ----------------------------------------------------------------------------------- */

static const struct family {
	const char *name;
	const char *type;
	const char *help;
	void (*of_job)(const struct metrics *metrics, const struct seen_job *job);
	void (*once)(const struct metrics *metrics);
} families[] = {
	{ "blackstart_run_last_timestamp_seconds", "gauge", "When the last run of a job ended.",
	    .of_job = last_run },
	{ "blackstart_run_last_success_timestamp_seconds", "gauge",
	    "When the newest good backup of a job was finished.", .of_job = last_success },
	{ "blackstart_run_last_status", "gauge",
	    "How the last run that says something ended: 1 ok, 0.5 with warnings, 0 failed or lost.",
	    .of_job = last_status },
	{ "blackstart_run_failures_in_a_row", "gauge",
	    "Failed or lost runs since the last good one.", .of_job = failures_in_a_row },
	{ "blackstart_runs_total", "counter", "Runs by how they ended.", .of_job = runs_total },
	{ "blackstart_run_duration_seconds", "gauge", "How long the last run took.",
	    .of_job = duration },
	{ "blackstart_run_running_since_timestamp_seconds", "gauge",
	    "When the run that goes on began.", .of_job = running_since },
	{ "blackstart_run_progress_ratio", "gauge", "How far the run that goes on is.",
	    .of_job = progress },
	{ "blackstart_known_since_timestamp_seconds", "gauge",
	    "When a backup of this job began to be expected.", .of_job = known_since },
	{ "blackstart_expected_interval_seconds", "gauge",
	    "The longest usual time between two runs.", .of_job = interval },
	{ "blackstart_max_age_seconds", "gauge",
	    "How old the last good backup, or the last commit of a stream, may become.",
	    .of_job = max_age },
	{ "blackstart_backup_source_bytes", "gauge", "What the newest good backup holds.",
	    .of_job = source_bytes },
	{ "blackstart_backup_stored_bytes", "gauge", "What it takes in the store.",
	    .of_job = stored_bytes },
	{ "blackstart_backups", "gauge", "Backups of this job in the store that are not damaged.",
	    .of_job = backups },
	{ "blackstart_verify_last_success_timestamp_seconds", "gauge",
	    "When a backup of this job was last proved to this level or a higher one.",
	    .of_job = verified },
	{ "blackstart_recovery_window_oldest_timestamp_seconds", "gauge",
	    "The first second that the source can be brought back to.", .of_job = window_oldest },
	{ "blackstart_recovery_window_newest_timestamp_seconds", "gauge",
	    "The last second that the source can be brought back to.", .of_job = window_newest },
	{ "blackstart_wal_last_received_timestamp_seconds", "gauge",
	    "The time of the last commit of the log that is safe.", .of_job = window_newest },
	{ "blackstart_wal_lag_bytes", "gauge", "How far the receiver is behind its server.",
	    .of_job = wal_lag },
	{ "blackstart_wal_lag_seconds", "gauge", "How old the oldest of that is at most.",
	    .of_job = wal_lag_seconds },
	{ "blackstart_wal_connected", "gauge", "1: the receiver is connected with its server.",
	    .of_job = wal_connected },
	{ "blackstart_wal_gaps", "gauge", "Holes in the log.", .of_job = wal_gaps },
	{ "blackstart_wal_receiving", "gauge", "1: a receiver runs.", .of_job = wal_receiving },
	{ "blackstart_store_usable", "gauge", "1: the store can be used.", .once = store_usable },
	{ "blackstart_store_used_bytes", "gauge", "What is used of the store's file system.",
	    .once = store_used },
	{ "blackstart_store_capacity_bytes", "gauge", "How large it is.", .once = store_capacity },
	{ "blackstart_alarms", "gauge", "Alarms that stand.", .once = alarms },
	{ "blackstart_alarm_since_timestamp_seconds", "gauge",
	    "Since when what each standing alarm is about has been so.", .once = alarm_since },
	{ "blackstart_notify_failures_total", "counter", "Messages that a channel did not take.",
	    .once = notify_failures },
	{ "blackstart_notify_sent_total", "counter", "Messages that it took.",
	    .once = notify_sent },
	{ "blackstart_build_info", "gauge", "The version of this program; always 1.",
	    .once = build_info },
};

static void
write_family(struct metrics *metrics, const struct family *family)
{
	const struct watch_seen *seen = metrics->input->seen;

	metrics->family = family->name;
	str_addf(metrics->to, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help,
	    family->name, family->type);
	if (family->once != NULL)
		family->once(metrics);
	for (size_t i = 0; i < seen->jobs.count && family->of_job != NULL; i++)
		family->of_job(metrics, &seen->jobs.items[i]);
}

int
metrics_write(const struct metrics_input *input, struct str *to, struct err *err)
{
	struct metrics metrics = { .input = input, .now = clock_wall(), .to = to };
	int result = -1;

	if (catalog_run_counts(input->catalog, &metrics.counts, err) == 0 &&
	    alarm_desk_list(input->catalog, &metrics.alarms, err) == 0) {
		for (size_t i = 0; i < ARRAY_SIZE(families); i++)
			write_family(&metrics, &families[i]);
		result = 0;
	}
	run_counts_done(&metrics.counts);
	alarm_states_done(&metrics.alarms);

	return result;
}
