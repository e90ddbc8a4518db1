#include "app/notify/alert_lint.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/str.h"
#include "config/config.h"
#include "os/file.h"
#include "sched/alarm.h"
#include "sched/calendar.h"

struct lint {
	const struct config *config;
	struct config_problems *problems;
};

/* Where a key of `alerts` stands in the file, or the whole file if it cannot be found. */
static struct config_place
place_of(const struct lint *lint, const char *key)
{
	bool is_inside = false;

	for (size_t i = 0; i < lint->config->entries.count; i++) {
		const struct config_entry *entry = &lint->config->entries.items[i];

		if (entry->depth == 0)
			is_inside = str_equals(entry->key, "alerts");
		else if (is_inside && str_equals(entry->key, key) && entry->place.line != 0)
			return entry->place;
	}

	return (struct config_place){ .line = 0 };
}

static void
lint_digest(const struct lint *lint)
{
	const char *at = lint->config->alerts.digest;
	struct err err = ERR_INIT;
	SCOPED(calendar_freep) struct calendar *calendar = NULL;

	if (at == NULL)
		return;
	calendar = calendar_at(&at, 1, &err);
	if (calendar == NULL)
		config_problems_error(lint->problems, place_of(lint, "digest"),
		    err.hint[0] != '\0' ? err.hint : NULL, "alerts: digest: %s", err.msg);
	for (size_t i = 0; i < lint->config->alerts.channels.count; i++) {
		if (str_equals(lint->config->alerts.channels.items[i].type, "email"))
			return;
	}
	config_problems_warning(lint->problems, place_of(lint, "digest"),
	    "Add a channel of type email.",
	    "alerts: there is no e-mail channel to send the digest to");
}

static void
lint_disable(const struct lint *lint)
{
	const struct config_list *list = &lint->config->alerts.rules.disable;
	const char *names[ALARM_RULES_COUNT];
	enum alarm_rule rule;

	for (size_t i = 0; i < ALARM_RULES_COUNT; i++)
		names[i] = alarm_rule_name((enum alarm_rule)i);
	for (size_t i = 0; i < list->count; i++) {
		SCOPED(str_done) struct str hint = STR_INIT;
		const char *nearest;

		if (alarm_rule_find(list->items[i], &rule))
			continue;
		nearest = str_nearest(list->items[i], names, ALARM_RULES_COUNT);
		if (nearest != NULL)
			str_addf(&hint, "Did you mean '%s'?", nearest);
		config_problems_error(lint->problems, place_of(lint, "disable"),
		    nearest != NULL ? str_text(&hint) : NULL, "alerts: there is no rule '%.80s'",
		    list->items[i]);
	}
}

static void
lint_levels(const struct lint *lint)
{
	const struct config *config = lint->config;

	if (config->alerts.rules.storage_clear_percent > config->store.warn_percent)
		config_problems_warning(lint->problems, place_of(lint, "storage_clear"),
		    "Set it some percent below, so that the alarm does not come and go.",
		    "alerts: storage_clear (%u%%) is above the store's warn (%u%%)",
		    config->alerts.rules.storage_clear_percent, config->store.warn_percent);
}

/* Not there yet is a warning: a secret may be mounted later, or only where the program runs. */
static void
lint_secret(const struct lint *lint, const struct config_channel *channel, const char *name)
{
	SCOPED(freep) char *path = NULL;

	if (name == NULL)
		return;
	path = config_secret_path(lint->config, name);
	if (!file_exists(path))
		config_problems_warning(lint->problems, channel->place, NULL,
		    "channel '%s': the file '%s' is not there", channel->name, path);
}

static void
lint_channel(const struct lint *lint, const struct config_channel *channel)
{
	const struct config_job *job = channel->job != NULL
	    ? config_find_job(lint->config, channel->job)
	    : NULL;

	if (channel->job != NULL && job == NULL)
		config_problems_error(lint->problems, channel->place,
		    "Name one of 'jobs', or leave it away to tell that the watch itself goes on.",
		    "channel '%s': there is no job '%s'", channel->name, channel->job);
	if (job != NULL && config_job_is_stream(job))
		config_problems_error(lint->problems, channel->place,
		    "The rules wal_stalled and wal_gap watch it.",
		    "channel '%s': '%s' runs all the time, so that it has no runs to tell of",
		    channel->name, channel->job);
	if (channel->token_file != NULL && channel->url != NULL &&
	    str_starts_with(channel->url, "http://"))
		config_problems_warning(lint->problems, channel->place, "Use https://.",
		    "channel '%s': its token goes over a plain connection", channel->name);
	lint_secret(lint, channel, channel->password_file);
	lint_secret(lint, channel, channel->url_file);
	lint_secret(lint, channel, channel->token_file);
	lint_secret(lint, channel, channel->ca_file);
}

void
alert_lint(const struct config *config, struct config_problems *problems)
{
	const struct lint lint = { .config = config, .problems = problems };

	lint_digest(&lint);
	lint_disable(&lint);
	lint_levels(&lint);
	for (size_t i = 0; i < config->alerts.channels.count; i++) {
		if (!config->alerts.channels.items[i].is_broken)
			lint_channel(&lint, &config->alerts.channels.items[i]);
	}
}
