/*
 * Everything the page shows, in one piece: the overview and the answer, and per job how the last
 * due runs went and how size and duration went over the last days.
 *
 * A keeper holds what is dear to find out between two askings: the windows of the streams, and
 * the days that are over.
 */
#ifndef ENGINE_STATE_H
#define ENGINE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"
#include "engine/answer.h"
#include "engine/overview.h"

struct engine;
struct err;

enum {
	STATE_STRIP_CELLS = 30,
	STATE_DAYS = 30,
};

/* One due run: the letter of state_cell_letter, and when it was due. */
enum state_cell {
	STATE_CELL_NONE, /* nothing was due: before the job's first run */
	STATE_CELL_OK,
	STATE_CELL_WARNING,
	STATE_CELL_FAILED, /* or lost */
	STATE_CELL_MISSED, /* it was due, and there is no run */
	STATE_CELL_SKIPPED,
	STATE_CELL_CANCELLED,
	STATE_CELL_RUNNING,
};
char state_cell_letter(enum state_cell cell); /* one of "-owfmscr" */

/* The last good run of a day; started 0: there was none. */
struct state_day {
	struct wall_time started;
	uint64_t stored_bytes;
	int64_t took_us;
};

struct state_job {
	enum state_cell cells[STATE_STRIP_CELLS]; /* oldest first */
	struct wall_time due[STATE_STRIP_CELLS];  /* 0: none due */
	struct state_day days[STATE_DAYS];        /* oldest first, today is the last */
};

struct state {
	struct overview overview;
	struct answer answer;
	VEC(struct state_job) jobs; /* as many as the overview has, in its order */
	struct wall_time days_from; /* when the first of the days began */
};

struct state_keeper;
struct state_keeper *state_keeper_new(void) MUST_CHECK;
void state_keeper_free(struct state_keeper *keeper);
SCOPED_FREE(struct state_keeper, state_keeper_free)

struct state_request {
	const struct overview_expectation *expected;
	size_t expected_count;
	struct wall_time now;
};

int state_make(struct state_keeper *keeper, struct engine *engine,
    const struct state_request *request, struct state *ret_state, struct err *err) MUST_CHECK;
void state_done(struct state *state);

#endif
