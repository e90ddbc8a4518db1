/*
 * How a job that never ends is connected with its server, told to whoever shows it: connecting,
 * taking a copy, catching up (how far behind), connected, or waiting to connect again (since when,
 * why, until when).  Fed by the receiver's one thread; the listener is called when the phase
 * changes and otherwise at most once a second, and must be quick: while it lasts nothing is
 * received.
 */
#ifndef BASE_LINK_H
#define BASE_LINK_H

#include <stdint.h>

#include "base/clock.h"

enum link_phase {
	LINK_UNKNOWN,
	LINK_CONNECTING,  /* for the first time */
	LINK_COPYING,     /* a full copy, behind which the stream begins */
	LINK_CATCHING_UP, /* what is not durable yet is much, or old */
	LINK_CONNECTED,
	LINK_WAITING, /* the connection is lost, or cannot be made; it is tried again */
};

struct link_state {
	enum link_phase phase;
	struct wall_time since;    /* when the phase began */
	struct wall_time next_try; /* waiting; 0 otherwise */
	uint64_t behind_bytes;     /* of what the server says it has, not durable here */
	int64_t behind_us;         /* so old is the oldest of that at most; 0: nothing is missing */
	const char *why;           /* waiting: the failure; "" otherwise */
};

struct link_teller {
	void (*listener)(const struct link_state *state, void *context); /* NULL: nobody looks */
	void *context;

	struct link_state state;
	char why[480];
	struct wall_time told;
	struct wall_time caught; /* what the server had then is durable, all of it */
	uint64_t mark;           /* the server's end ... */
	struct wall_time marked; /* ... as it was then; 0: no mark on this connection */
};

/* "connected", "catching_up", ...: stable, programs read it. */
const char *link_phase_name(enum link_phase phase);

/* NULL teller is accepted everywhere: nobody wants to know.  `now` is the clock. */
void link_connecting(struct link_teller *teller, struct wall_time now);
void link_copying(struct link_teller *teller, struct wall_time now);

/* Everything before `durable` is durable here; the server said that it has all before `end`. */
void link_moved(struct link_teller *teller, uint64_t durable, uint64_t end, struct wall_time now);

/* It ended, or could not be made; a failure after a failure goes on waiting since the first. */
void link_waits(struct link_teller *teller, const char *why, struct wall_time next_try,
    struct wall_time now);

#endif
