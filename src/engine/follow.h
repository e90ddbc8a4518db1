/*
 * A job that looks after a continuous stream: a run like others, with a lock, a log and a row in
 * the catalog, but no backup at its end.
 */
#ifndef ENGINE_FOLLOW_H
#define ENGINE_FOLLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/scope.h"

struct engine;
struct err;
struct link_teller;
struct source;

struct follow_job {
	const char *name; /* of the job */
	struct source *source;
	const char *slot;
	const char *client_name;
	int64_t heartbeat_us;  /* 0: none */
	int64_t piece_age_us;  /* of a stream that is kept in pieces by age */
	int64_t base_every_us; /* a new base when the newest is as old; 0: never by itself */
	const char *const *base_maker; /* argv of what takes it, or NULL */
	struct link_teller *link;      /* told how the connection is, or NULL */
	const char *const *settler;    /* argv of `settle --follow` for this source, or NULL */
};

/*
 * Keep the stream durable until a stop (0), or what cannot pass by itself.  ERR_BUSY: the job
 * runs already, ERR_UNSUPPORTED: this kind of source has no stream.
 */
int follow_run(struct engine *engine, const struct follow_job *job, struct err *err) MUST_CHECK;

#endif
