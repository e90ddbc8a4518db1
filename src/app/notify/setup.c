#include "app/notify/setup.h"

#include <stdlib.h>
#include <string.h>

#include "app/expect.h"
#include "app/policy.h"
#include "app/wire.h"
#include "base/err.h"
#include "base/str.h"
#include "config/config.h"
#include "sched/calendar.h"

enum { LIMIT_IN_INTERVALS = 2, BEATS_IN_STREAM_LIMIT = 3 };

void
notify_setup_done(struct notify_setup *setup)
{
	vec_done(&setup->jobs);
	vec_done(&setup->channels);
	calendar_free(setup->digest);
	*setup = (struct notify_setup){ .digest = NULL };
}

/* Proofs are asked for where the configuration says anything about them. */
static void
expect_proofs(const struct wire *wire, const struct config_job *from, struct watch_job *job)
{
	int64_t limit_us = wire->config->alerts.rules.verify_max_age_us;
	int64_t every_us = from->verify.every_us != 0 ? from->verify.every_us : job->interval_us;
	bool is_asked = from->verify.is_wanted || (limit_us != 0 && !config_job_is_stream(from));

	job->verify_level = is_asked ? policy_verify_level(wire, from) : -1;
	job->verify_max_age_us = limit_us != 0 ? limit_us : LIMIT_IN_INTERVALS * every_us;
}

/* Without a heartbeat in it a quiet server's log stands still rightly. */
static int64_t
stream_limit_us(const struct config *config, const struct config_job *from)
{
	int64_t least_us = BEATS_IN_STREAM_LIMIT * from->heartbeat_us;

	if (from->max_age_us != 0)
		return from->max_age_us;
	if (!from->is_continuous || from->heartbeat_us == 0)
		return 0;

	return config->alerts.rules.wal_max_age_us > least_us ? config->alerts.rules.wal_max_age_us
							      : least_us;
}

static int
add_job(struct wire *wire, const struct config_job *from, struct wall_time now,
    struct notify_setup *setup, struct err *err)
{
	const struct config_source *source = config_find_source(wire->config, from->source);
	struct watch_job job = { .job = from->name,
		.source = from->source,
		.max_age_us = from->max_age_us,
		.verify_level = -1 };

	if (expect_interval(from, now, &job.interval_us, err) < 0)
		return -1;
	if (job.max_age_us == 0)
		job.max_age_us = LIMIT_IN_INTERVALS * job.interval_us;
	if (config_job_is_stream(from)) {
		job.stream_max_age_us = stream_limit_us(wire->config, from);
		job.stream = wire_source_offline(wire, from->source, source->type, err);
		if (job.stream == NULL)
			return -1;
	} else {
		expect_proofs(wire, from, &job);
	}
	vec_push(&setup->jobs, job);

	return 0;
}

static void
add_channel(const struct config_channel *from, struct notify_setup *setup)
{
	struct watch_channel channel = { .name = from->name, .beat_job = from->job };

	if (str_equals(from->type, "alertmanager"))
		channel.kind = WATCH_CHANNEL_STATE;
	else if (str_equals(from->type, "heartbeat"))
		channel.kind = WATCH_CHANNEL_BEAT;
	channel.least = str_equals(from->severity, "critical") ? ALARM_CRITICAL : ALARM_WARNING;
	channel.wants_digest = str_equals(from->type, "email");
	vec_push(&setup->channels, channel);
}

static void
fill_settings(const struct config *config, struct notify_setup *setup)
{
	const struct config_alert_rules *rules = &config->alerts.rules;
	enum alarm_rule rule;

	setup->settings = (struct watch_settings){
		.jobs = setup->jobs.items,
		.jobs_count = setup->jobs.count,
		.channels = setup->channels.items,
		.channels_count = setup->channels.count,
		.limits = {
			.storage_warn_percent = config->store.warn_percent,
			.storage_critical_percent = config->store.critical_percent,
			.storage_clear_percent = rules->storage_clear_percent,
			.suspicious_percent = rules->suspicious_percent,
		},
		.policy = { .repeat_us = config->alerts.repeat_us },
		.drill_max_age_us = rules->drill_max_age_us,
		.digest = setup->digest,
		.beat_us = config->alerts.heartbeat_us,
	};
	for (size_t i = 0; i < rules->disable.count; i++) {
		if (alarm_rule_find(rules->disable.items[i], &rule))
			setup->settings.limits.is_off[rule] = true;
	}
}

static int
make(struct wire *wire, struct wall_time now, struct notify_setup *setup, struct err *err)
{
	const struct config *config = wire->config;
	const char *digest = config->alerts.digest;

	for (size_t i = 0; i < config->jobs.count; i++) {
		if (config->jobs.items[i].is_supported &&
		    add_job(wire, &config->jobs.items[i], now, setup, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < config->alerts.channels.count; i++)
		add_channel(&config->alerts.channels.items[i], setup);
	if (digest != NULL) {
		setup->digest = calendar_at(&digest, 1, err);
		if (setup->digest == NULL)
			return err_wrap(err, "alerts: digest");
	}

	return 0;
}

int
notify_setup_make(struct wire *wire, struct wall_time now, struct notify_setup *ret_setup,
    struct err *err)
{
	struct notify_setup setup = { .digest = NULL };

	if (make(wire, now, &setup, err) < 0) {
		notify_setup_done(&setup);
		return -1;
	}
	fill_settings(wire->config, &setup);
	*ret_setup = setup;

	return 0;
}
