#include "engine/alarm_desk.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "catalog/catalog_alarm.h"

/* false: an alarm of a newer version, which this one leaves alone. */
static bool
take_row(struct alarm_row *row, struct alarm_state *state)
{
	enum alarm_rule rule;

	if (!alarm_rule_find(row->rule, &rule) || row->severity < ALARM_WELL ||
	    row->severity > ALARM_CRITICAL)
		return false;
	*state = (struct alarm_state){
		.rule = rule,
		.subject = TAKE(row->subject),
		.severity = (enum alarm_severity)row->severity,
		.peak = (enum alarm_severity)row->peak,
		.since = row->since,
		.raised_at = row->raised_at,
		.changed_at = row->changed_at,
		.cleared_at = row->cleared_at,
		.told_at = row->told_at,
		.is_acknowledged = row->is_acknowledged,
		.shelved_until = row->shelved_until,
		.text = TAKE(row->text),
		.cause = TAKE(row->cause),
		.next_command = TAKE(row->next_command),
	};

	return true;
}

int
alarm_desk_list(struct catalog *catalog, struct alarm_states *ret_states, struct err *err)
{
	SCOPED(alarm_rows_done) struct alarm_rows rows = { .rows = { .count = 0 } };
	struct alarm_states states = { .items = { .count = 0 } };

	if (catalog_alarm_list(catalog, &rows, err) < 0)
		return -1;
	for (size_t i = 0; i < rows.rows.count; i++) {
		struct alarm_state state;

		if (take_row(&rows.rows.items[i], &state))
			vec_push(&states.items, state);
	}
	*ret_states = states;

	return 0;
}

/* The row borrows the texts of the state, so it is not freed. */
int
alarm_desk_put(struct catalog *catalog, const struct alarm_state *state, struct err *err)
{
	SCOPED(freep) char *rule = xstrdup(alarm_rule_name(state->rule));
	const struct alarm_row row = {
		.rule = rule,
		.subject = state->subject,
		.severity = (int)state->severity,
		.peak = (int)state->peak,
		.since = state->since,
		.raised_at = state->raised_at,
		.changed_at = state->changed_at,
		.cleared_at = state->cleared_at,
		.told_at = state->told_at,
		.is_acknowledged = state->is_acknowledged,
		.shelved_until = state->shelved_until,
		.text = state->text,
		.cause = state->cause,
		.next_command = state->next_command,
	};

	return catalog_alarm_put(catalog, &row, err);
}

/* ---- what people do ------------------------------------------------------------------------ */

struct handling {
	const char *event;
	void (*change)(struct alarm_state *state, struct wall_time until);
	struct wall_time until;
	bool needs_standing;
};

static int
find(const struct alarm_states *states, const char *alarm, bool needs_standing,
    struct alarm_state **ret_state, struct err *err)
{
	for (size_t i = 0; i < states->items.count; i++) {
		struct alarm_state *state = &states->items.items[i];
		SCOPED(freep)
		char *name = xasprintf("%s/%s", alarm_rule_name(state->rule), state->subject);

		if (!str_equals(name, alarm) || (needs_standing && !alarm_is_standing(state)))
			continue;
		*ret_state = state;
		return 0;
	}
	(void)err_set(err, ERR_NOT_FOUND, "no alarm '%s' stands", alarm);

	return err_hint(err, "'blackstart alert list' shows those that do.");
}

static int
record(struct catalog *catalog, const struct alarm_order *order, const struct handling *handling,
    const struct alarm_state *state, struct err *err)
{
	SCOPED(freep) char *rule = xstrdup(alarm_rule_name(state->rule));
	SCOPED(freep) char *event = xstrdup(handling->event);
	SCOPED(freep) char *who = xstrdup(order->who);
	SCOPED(freep) char *why = xstrdup(order->why);
	const struct alarm_change_row row = {
		.rule = rule,
		.subject = state->subject,
		.at = order->now,
		.event = event,
		.severity = (int)state->severity,
		.who = who,
		.why = why,
	};

	if (alarm_desk_put(catalog, state, err) < 0)
		return -1;

	return catalog_alarm_change_add(catalog, &row, err);
}

static int
handle_inside(struct catalog *catalog, const struct alarm_order *order,
    const struct handling *handling, struct err *err)
{
	SCOPED(alarm_states_done) struct alarm_states states = { .items = { .count = 0 } };
	struct alarm_state *state = NULL;

	if (alarm_desk_list(catalog, &states, err) < 0 ||
	    find(&states, order->alarm, handling->needs_standing, &state, err) < 0)
		return -1;
	handling->change(state, handling->until);

	return record(catalog, order, handling, state, err);
}

/* Read and written in one transaction: the watch may be changing the same alarm just now. */
static int
handle(struct catalog *catalog, const struct alarm_order *order, const struct handling *handling,
    struct err *err)
{
	if (catalog_begin(catalog, err) < 0)
		return -1;
	if (handle_inside(catalog, order, handling, err) < 0 || catalog_commit(catalog, err) < 0) {
		catalog_rollback(catalog);
		return -1;
	}

	return 0;
}

static void
acknowledge(struct alarm_state *state, struct wall_time until)
{
	(void)until;
	state->is_acknowledged = true;
}

static void
shelve(struct alarm_state *state, struct wall_time until)
{
	state->shelved_until = until;
}

int
alarm_desk_acknowledge(struct catalog *catalog, const struct alarm_order *order, struct err *err)
{
	const struct handling handling = {
		.event = "acknowledged",
		.change = acknowledge,
		.needs_standing = true,
	};

	return handle(catalog, order, &handling, err);
}

int
alarm_desk_shelve(struct catalog *catalog, const struct alarm_order *order, struct wall_time until,
    struct err *err)
{
	const struct handling handling = {
		.event = "shelved",
		.change = shelve,
		.until = until,
		.needs_standing = true,
	};

	return handle(catalog, order, &handling, err);
}

/* The watch tells of one that is shelved no more at its next tick, unless it is acknowledged. */
int
alarm_desk_unshelve(struct catalog *catalog, const struct alarm_order *order, struct err *err)
{
	const struct handling handling = {
		.event = "unshelved",
		.change = shelve,
		.until = order->now,
	};

	return handle(catalog, order, &handling, err);
}
