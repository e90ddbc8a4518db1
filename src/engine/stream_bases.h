/*
 * The bases of a continuous stream that are taken by the stream's own job: the copy that it begins
 * with, in the middle of the stream, and later ones beside it, by a child, so that what would have
 * to be replayed stays bounded.
 */
#ifndef ENGINE_STREAM_BASES_H
#define ENGINE_STREAM_BASES_H

#include <stdbool.h>

#include "base/clock.h"
#include "source/source.h"

struct engine;
struct follow_job;
struct process;

struct stream_bases {
	struct base_taker base; /* first: the driver is given this */
	struct engine *engine;
	const struct follow_job *job;
	struct process *child;
	struct mono_time looked;  /* for the newest base */
	struct mono_time started; /* the child that failed last */
	bool has_failed;
};

void stream_bases_init(struct stream_bases *bases, struct engine *engine,
    const struct follow_job *job);
void stream_bases_done(struct stream_bases *bases); /* ends the child */

#endif
