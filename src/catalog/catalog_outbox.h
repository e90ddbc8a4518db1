/*
 * Messages on their way: written in the same transaction as the change that they tell of, taken
 * by whoever delivers, tried again until they are done or too old to be of use.  A message holds
 * facts, no secret and no address: those are the channel's, in the configuration.
 * Errors are those of catalog/catalog.h.
 */
#ifndef CATALOG_CATALOG_OUTBOX_H
#define CATALOG_CATALOG_OUTBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"

struct catalog;
struct err;

/* Texts are owned by the row; channel and event are never NULL. */
struct outbox_row {
	int64_t id;
	char *channel;
	char *event; /* "raised", "cleared", "digest", ...: what kind of message */
	char *rule;  /* of which alarm; NULL: of none */
	char *subject;
	int severity;
	struct wall_time since;
	struct wall_time raised_at;
	struct wall_time at; /* what happened then; the message's own date */
	char *text;          /* of a digest: all of it */
	char *cause;
	char *next_command;
	unsigned criticals_count; /* all alarms that stood then, for the subject line */
	unsigned warnings_count;
	unsigned attempts;
	struct wall_time due_at;     /* not to be tried before */
	struct wall_time expires_at; /* of no use after */
	struct wall_time done_at;    /* 0: waiting */
	bool is_given_up;
	char *failure; /* of the last attempt */
};
struct outbox_rows {
	VEC(struct outbox_row) rows;
};

/* `id`, attempts, done_at and failure of `row` do not count. */
int catalog_outbox_add(struct catalog *catalog, const struct outbox_row *row, struct err *err)
    MUST_CHECK;

/* Take back what waits of this channel and event: something newer stands in its place. */
int catalog_outbox_withdraw(struct catalog *catalog, const char *channel, const char *event,
    struct err *err) MUST_CHECK;

/*
 * What waits and is due at `now`, the oldest first; what was tried in vain often comes last, so
 * that a message which is always refused does not block those behind it.
 */
int catalog_outbox_due(struct catalog *catalog, struct wall_time now, struct outbox_rows *ret_rows,
    struct err *err) MUST_CHECK;

/* Is anything due at `now`. */
int catalog_outbox_has_due(struct catalog *catalog, struct wall_time now, bool *ret_has_due,
    struct err *err) MUST_CHECK;

/* The newest first, also what is done. */
int catalog_outbox_list(struct catalog *catalog, unsigned limit, struct outbox_rows *ret_rows,
    struct err *err) MUST_CHECK;

/*
 * An attempt begins: count it, and say when the next one may be, so that one that is killed in
 * the middle is not begun again at once.
 */
int catalog_outbox_begin(struct catalog *catalog, int64_t id, struct wall_time next_due,
    struct err *err) MUST_CHECK;

/* It got through. */
int catalog_outbox_done(struct catalog *catalog, int64_t id, struct wall_time now, struct err *err)
    MUST_CHECK;

/* It did not; with is_given_up it is not tried again. */
int catalog_outbox_failed(struct catalog *catalog, int64_t id, const char *failure,
    bool is_given_up, struct wall_time now, struct err *err) MUST_CHECK;

/* Nothing that waits for this channel is tried before `until`. */
int catalog_outbox_postpone(struct catalog *catalog, const char *channel, struct wall_time until,
    struct err *err) MUST_CHECK;

/* Forget what was done before `before`. */
int catalog_outbox_trim(struct catalog *catalog, struct wall_time before, struct err *err)
    MUST_CHECK;

/* How a channel does.  Texts are owned by the row. */
struct channel_row {
	char *name;
	unsigned failures_in_a_row;
	struct wall_time failing_since;
	uint64_t failures_total;
	uint64_t sent_total;
	struct wall_time sent_at; /* the last that got through */
	char *failure;            /* the last, also after it got better */
};
struct channel_rows {
	VEC(struct channel_row) rows;
};
int catalog_channel_list(struct catalog *catalog, struct channel_rows *ret_rows, struct err *err)
    MUST_CHECK;

/* Count one attempt that got through, or one that did not, with its failure. */
int catalog_channel_count(struct catalog *catalog, const char *name, const char *failure,
    struct wall_time now, struct err *err) MUST_CHECK;

void outbox_row_done(struct outbox_row *row);
void outbox_rows_done(struct outbox_rows *rows);
void channel_rows_done(struct channel_rows *rows);

#endif
