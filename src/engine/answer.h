/*
 * "Can we recover?": the one line that `status` and the page begin with, and what stands behind
 * it for each source.  Pure: made from an overview.
 */
#ifndef ENGINE_ANSWER_H
#define ENGINE_ANSWER_H

#include <stdbool.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"

struct overview;
struct zone;

enum answer_verdict {
	ANSWER_YES,
	ANSWER_BUT, /* yes, but a source is missing, or too old */
	ANSWER_NO,
};
const char *answer_verdict_name(enum answer_verdict verdict); /* "yes", "but", "no" */
const char *answer_verdict_word(enum answer_verdict verdict); /* "Yes", "Yes, but", "NO" */

struct answer_source {
	const char *source; /* a loan from the overview */
	enum answer_verdict verdict;
	struct wall_time from; /* any second from here to `to`; 0: only as it was at `to` */
	struct wall_time to;   /* the newest state that comes back; 0: none does */
	char *state;           /* "to any second since 15 Nov 00:30", "as it was at 15 Nov 00:30" */
	char *text;            /* with how long it takes and how that is known */
	char *why;             /* what is wrong, NULL: nothing */
};

struct answer {
	enum answer_verdict verdict;
	char *text; /* without the verdict's word */
	VEC(struct answer_source) sources;
};

/* `store` is where the backups are, for the text; the overview must outlive the answer. */
void answer_make(const struct overview *overview, const struct zone *zone, const char *store,
    struct wall_time now, struct answer *ret_answer);
void answer_done(struct answer *answer);

#endif
