#include "engine/answer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/zone.h"
#include "engine/overview.h"

enum {
	WHEN_TEXT_SIZE = 64,
	SAME_YEAR_DAYS = 300,
};
#define US_PER_DAY (86400 * US_PER_S)
/* A window that ends so short before now, or before a backup, is as good as one up to it. */
#define NEAR_US (5 * 60 * US_PER_S)

const char *
answer_verdict_name(enum answer_verdict verdict)
{
	static const char *const names[] = {
		[ANSWER_YES] = "yes",
		[ANSWER_BUT] = "but",
		[ANSWER_NO] = "no",
	};

	return names[verdict];
}

const char *
answer_verdict_word(enum answer_verdict verdict)
{
	static const char *const words[] = {
		[ANSWER_YES] = "Yes",
		[ANSWER_BUT] = "Yes, but",
		[ANSWER_NO] = "NO",
	};

	return words[verdict];
}

void
answer_done(struct answer *answer)
{
	for (size_t i = 0; i < answer->sources.count; i++) {
		free(answer->sources.items[i].state);
		free(answer->sources.items[i].text);
		free(answer->sources.items[i].why);
	}
	vec_done(&answer->sources);
	free(answer->text);
	*answer = (struct answer){ .text = NULL };
}

/* ---- words -------------------------------------------------------------------------------------- */

/* "15 Nov 00:30", with the year when it is not clear which; the minute rounded up or down. */
static const char *
when_text(const struct zone *zone, struct wall_time time, bool rounds_up, struct wall_time now,
    char *text)
{
	static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul",
		"Aug", "Sep", "Oct", "Nov", "Dec" };
	struct wall_time at = { .us = time.us + (rounds_up ? 60 * US_PER_S - 1 : 0) };
	struct civil civil = zone_civil(zone, at);
	int64_t age_us = now.us - time.us;
	char year[8] = "";

	if (age_us > SAME_YEAR_DAYS * US_PER_DAY || age_us < -SAME_YEAR_DAYS * US_PER_DAY)
		(void)snprintf(year, sizeof(year), " %d", civil.year);
	(void)snprintf(text, WHEN_TEXT_SIZE, "%d %s%s %02d:%02d", civil.day,
	    months[civil.month - 1], year, civil.hour, civil.minute);

	return text;
}

/* "9 min", "3 h", "2 d": nobody at three in the morning wants seconds. */
static const char *
about(int64_t us, char *text)
{
	long long minutes = (us + 30 * US_PER_S) / (60 * US_PER_S);

	if (us < 60 * US_PER_S)
		(void)snprintf(text, WHEN_TEXT_SIZE, "%lld s",
		    (long long)((us + US_PER_S - 1) / US_PER_S));
	else if (minutes < 90)
		(void)snprintf(text, WHEN_TEXT_SIZE, "%lld min", minutes);
	else if (minutes < 48 * 60)
		(void)snprintf(text, WHEN_TEXT_SIZE, "%lld h", (minutes + 30) / 60);
	else
		(void)snprintf(text, WHEN_TEXT_SIZE, "%lld d", (minutes + 12 * 60) / (24 * 60));

	return text;
}

/* ", in about 9 min (restored 3 d ago)": how long it took is known only from having done it. */
static void
add_proof(struct str *to, const struct overview *overview, const char *source, struct wall_time now)
{
	const struct overview_restore *restore = overview_restore_of(overview, source);
	char took[WHEN_TEXT_SIZE], ago[WHEN_TEXT_SIZE];

	if (restore == NULL) {
		str_add(to, " (never restored yet)");
		return;
	}
	if (restore->took_us > 0)
		str_addf(to, ", in about %s", about(restore->took_us, took));
	str_addf(to, " (restored %s ago)",
	    about(now.us > restore->at.us ? now.us - restore->at.us : 0, ago));
}

/* ---- one source --------------------------------------------------------------------------------- */

/* What the source's jobs have together. */
struct gathered {
	struct wall_time from;
	struct wall_time to;
	int64_t max_age_us; /* the strictest; 0: none */
	bool is_expected;   /* the configuration names it */
};

static struct gathered
gather(const struct overview *overview, const char *source)
{
	struct gathered all = { .max_age_us = 0 };
	struct wall_time backup = { .us = 0 };

	for (size_t i = 0; i < overview->jobs.count; i++) {
		const struct overview_job *job = &overview->jobs.items[i];

		if (!str_equals(job->source, source))
			continue;
		if (job->max_age_us > 0 &&
		    (all.max_age_us == 0 || job->max_age_us < all.max_age_us))
			all.max_age_us = job->max_age_us;
		all.is_expected = all.is_expected || job->is_expected;
		if (job->window_to.us > all.to.us) {
			all.from = job->window_from;
			all.to = job->window_to;
		}
		if (job->newest.id != NULL && job->newest.consistent_at.us > backup.us)
			backup = job->newest.consistent_at;
	}
	if (backup.us > all.to.us + NEAR_US || all.to.us == 0) {
		all.from.us = 0;
		all.to = backup;
	}

	return all;
}

static void
judge_source(struct answer_source *source, int64_t max_age_us, struct wall_time now)
{
	char age[WHEN_TEXT_SIZE], limit[WHEN_TEXT_SIZE];
	int64_t age_us = now.us - source->to.us;

	if (source->to.us == 0) {
		source->verdict = ANSWER_NO;
		source->why = xstrdup("there is no good backup");
	} else if (max_age_us > 0 && age_us > max_age_us) {
		source->verdict = ANSWER_BUT;
		source->why = xasprintf("that is %s ago, the limit is %s", about(age_us, age),
		    about(max_age_us, limit));
	}
}

/* A source that nobody expects and that left nothing is a mistyped name, no loss. */
static void
add_source(struct answer *answer, const struct overview *overview, const struct zone *zone,
    const char *name, struct wall_time now)
{
	struct gathered all = gather(overview, name);
	struct answer_source *source;
	SCOPED(str_done) struct str text = STR_INIT;
	SCOPED(str_done) struct str proof = STR_INIT;
	char from[WHEN_TEXT_SIZE], to[WHEN_TEXT_SIZE];

	if (all.to.us == 0 && !all.is_expected)
		return;
	source = vec_add(&answer->sources);
	source->source = name;
	source->from = all.from;
	source->to = all.to;
	judge_source(source, all.max_age_us, now);
	if (source->to.us == 0) {
		source->text = xstrdup("cannot be brought back");
		return;
	}
	if (source->from.us != 0 && now.us - source->to.us < NEAR_US)
		str_addf(&text, "to any second since %s",
		    when_text(zone, all.from, true, now, from));
	else if (source->from.us != 0)
		str_addf(&text, "to any second from %s to %s",
		    when_text(zone, all.from, true, now, from),
		    when_text(zone, all.to, false, now, to));
	else
		str_addf(&text, "as it was at %s", when_text(zone, all.to, false, now, to));
	add_proof(&proof, overview, name, now);
	source->text = xasprintf("%s%s", str_text(&text), str_text(&proof));
	source->state = str_take(&text);
}

/* ---- all ---------------------------------------------------------------------------------------- */

static bool
is_known(const struct answer *answer, const char *source)
{
	for (size_t i = 0; i < answer->sources.count; i++) {
		if (str_equals(answer->sources.items[i].source, source))
			return true;
	}

	return false;
}

/* The worst source if it is not well, else the one whose newest state is the newest. */
static const struct answer_source *
spokesman(const struct answer *answer)
{
	const struct answer_source *chosen = NULL;

	for (size_t i = 0; i < answer->sources.count; i++) {
		const struct answer_source *source = &answer->sources.items[i];

		if (chosen == NULL || source->verdict > chosen->verdict ||
		    (source->verdict == chosen->verdict && source->to.us > chosen->to.us))
			chosen = source;
	}

	return chosen;
}

static void
conclude(struct answer *answer, const char *store)
{
	const struct answer_source *speaks = spokesman(answer);
	size_t lost = 0;

	for (size_t i = 0; i < answer->sources.count; i++)
		lost += answer->sources.items[i].verdict == ANSWER_NO ? 1 : 0;
	if (lost == answer->sources.count) {
		answer->verdict = ANSWER_NO;
		answer->text = xasprintf("there is no good backup in '%s'", store);
		return;
	}
	if (speaks->verdict == ANSWER_YES) {
		answer->verdict = ANSWER_YES;
		answer->text = xasprintf("'%s' %s", speaks->source, speaks->text);
		return;
	}
	answer->verdict = ANSWER_BUT;
	answer->text = speaks->verdict == ANSWER_NO
	    ? xasprintf("not '%s': %s", speaks->source, speaks->why)
	    : xasprintf("'%s' only %s: %s", speaks->source, speaks->state, speaks->why);
}

void
answer_make(const struct overview *overview, const struct zone *zone, const char *store,
    struct wall_time now, struct answer *ret_answer)
{
	struct answer answer = { .text = NULL };

	for (size_t i = 0; i < overview->jobs.count; i++) {
		const struct overview_job *job = &overview->jobs.items[i];

		if (job->source != NULL && job->source[0] != '\0' &&
		    !is_known(&answer, job->source))
			add_source(&answer, overview, zone, job->source, now);
	}
	conclude(&answer, store);
	*ret_answer = answer;
}
