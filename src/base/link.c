#include "base/link.h"

#include <stdbool.h>
#include <stdio.h>

#define TELL_EVERY_US US_PER_S

/* It is behind from here on, and is not any more below there. */
#define BEHIND_BYTES (UINT64_C(16) << 20)
#define CAUGHT_UP_BYTES (UINT64_C(1) << 20)
#define BEHIND_US (5 * US_PER_S)

static const char *const names[] = {
	[LINK_UNKNOWN] = "unknown",
	[LINK_CONNECTING] = "connecting",
	[LINK_COPYING] = "copying",
	[LINK_CATCHING_UP] = "catching_up",
	[LINK_CONNECTED] = "connected",
	[LINK_WAITING] = "waiting",
};

const char *
link_phase_name(enum link_phase phase)
{
	return names[phase];
}

static void
tell(struct link_teller *teller, enum link_phase phase, struct wall_time now)
{
	struct link_state *state = &teller->state;
	bool is_new = state->phase != phase;
	int64_t silent_us = now.us - teller->told.us;

	if (is_new) {
		state->phase = phase;
		state->since = now;
	}
	if (phase != LINK_WAITING) {
		state->next_try.us = 0;
		teller->why[0] = '\0';
	}
	state->why = teller->why;
	/* A clock that was set back must not silence it. */
	if (teller->listener == NULL || (!is_new && silent_us >= 0 && silent_us < TELL_EVERY_US))
		return;
	teller->told = now;
	teller->listener(state, teller->context);
}

void
link_connecting(struct link_teller *teller, struct wall_time now)
{
	if (teller != NULL && teller->state.phase == LINK_UNKNOWN)
		tell(teller, LINK_CONNECTING, now);
}

void
link_copying(struct link_teller *teller, struct wall_time now)
{
	if (teller == NULL)
		return;
	teller->state.behind_bytes = 0;
	teller->state.behind_us = 0;
	tell(teller, LINK_COPYING, now);
}

static bool
is_behind(const struct link_state *state)
{
	uint64_t limit = state->phase == LINK_CATCHING_UP ? CAUGHT_UP_BYTES : BEHIND_BYTES;

	return state->behind_bytes >= limit || state->behind_us >= BEHIND_US;
}

/*
 * What is missing came after the last moment whose end is durable: a mark that is passed makes its
 * moment that, and the present end the next mark.  Over an outage the moment stays as it was.
 */
static void
move_mark(struct link_teller *teller, uint64_t durable, uint64_t end, struct wall_time now)
{
	if (teller->caught.us == 0)
		teller->caught = now;
	if (teller->marked.us != 0 && durable < teller->mark)
		return;
	if (teller->marked.us != 0)
		teller->caught = teller->marked;
	teller->mark = end;
	teller->marked = now;
}

void
link_moved(struct link_teller *teller, uint64_t durable, uint64_t end, struct wall_time now)
{
	struct link_state *state;

	if (teller == NULL)
		return;
	move_mark(teller, durable, end, now);
	state = &teller->state;
	state->behind_bytes = end > durable ? end - durable : 0;
	state->behind_us = state->behind_bytes > 0 && now.us > teller->caught.us
	    ? now.us - teller->caught.us
	    : 0;
	tell(teller, is_behind(state) ? LINK_CATCHING_UP : LINK_CONNECTED, now);
}

void
link_waits(struct link_teller *teller, const char *why, struct wall_time next_try,
    struct wall_time now)
{
	if (teller == NULL)
		return;
	if (teller->marked.us != 0 && teller->state.behind_bytes == 0)
		teller->caught = now;
	teller->marked.us = 0;
	(void)snprintf(teller->why, sizeof(teller->why), "%s", why);
	teller->state.next_try = next_try;
	teller->told.us = 0;
	tell(teller, LINK_WAITING, now);
}
