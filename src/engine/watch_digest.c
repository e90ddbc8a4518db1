#include <stdio.h>

#include "base/parse.h"
#include "base/str.h"
#include "base/zone.h"
#include "engine/watch_internal.h"

static const char *
ago(struct wall_time at, struct wall_time now, char *text)
{
	return clock_format_duration(now.us > at.us ? now.us - at.us : 0, text);
}

static void
add_alarms(struct str *to, const struct alarm_states *states, struct wall_time now)
{
	unsigned count = 0;

	for (size_t i = 0; i < states->items.count; i++) {
		const struct alarm_state *state = &states->items.items[i];
		char since[CLOCK_TEXT_SIZE];

		if (!alarm_is_standing(state))
			continue;
		str_addf(to, "%s %s: %s (for %s, %s)\n    next: %s\n",
		    state->severity == ALARM_CRITICAL ? "CRITICAL" : "warning ", state->subject,
		    state->text, ago(state->since, now, since), alarm_state_name(state, now),
		    state->next_command);
		count++;
	}
	str_add(to, count == 0 ? "No alarm stands.\n\n" : "\n");
}

static void
add_job(struct str *to, const struct seen_job *job, const struct zone *zone, struct wall_time now)
{
	struct wall_time good = job->of->stream != NULL ? job->window_to
							: job->newest.consistent_at;
	char when[CLOCK_TEXT_SIZE], age[CLOCK_TEXT_SIZE], size[32];
	int level = -1;

	for (int i = 0; i < BACKUP_LEVELS_COUNT; i++)
		level = job->proofs.at[i].us != 0 ? i : level;
	str_addf(to, "%-20s ", job->of->job);
	if (job->running.id != NULL)
		str_addf(to, "running since %s ago, ", ago(job->running.started, now, age));
	str_addf(to, "last run %s, ",
	    job->last.id != NULL ? run_state_name(job->last.state) : "none");
	if (good.us == 0)
		str_add(to, "nothing to come back to");
	else
		str_addf(to, "good up to %.16s (%s ago)", zone_format(zone, good, when),
		    ago(good, now, age));
	if (job->newest.id != NULL)
		str_addf(to, ", %s", format_bytes(job->newest.content_bytes, size));
	if (level >= 0)
		str_addf(to, ", proved to level %d", level);
	str_add_char(to, '\n');
}

char *
watch_digest_text(const struct watch_seen *seen, const struct alarm_states *states,
    const struct zone *zone, struct wall_time now)
{
	struct str text = STR_INIT_MAX(256 * 1024);
	char used[32], capacity[32], when[CLOCK_TEXT_SIZE];

	add_alarms(&text, states, now);
	for (size_t i = 0; i < seen->jobs.count; i++)
		add_job(&text, &seen->jobs.items[i], zone, now);
	if (seen->store_failure != NULL)
		str_addf(&text, "\nThe store cannot be used: %s\n", seen->store_failure);
	else
		str_addf(&text, "\nstore: %s used of %s",
		    format_bytes(seen->space.used_bytes, used),
		    format_bytes(seen->space.capacity_bytes, capacity));
	if (seen->full_at.us != 0)
		str_addf(&text, ", full about %.10s", zone_format(zone, seen->full_at, when));
	if (seen->store_failure == NULL)
		str_add_char(&text, '\n');

	return str_take(&text);
}
