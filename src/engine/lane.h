/*
 * What can be brought back along the stream of each source, kept for a while: to find it out the
 * index of the archive and the manifests of the bases are read, which is too dear for a page that
 * asks every few seconds.
 */
#ifndef ENGINE_LANE_H
#define ENGINE_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"
#include "source/source.h"

struct engine;

struct lane {
	const struct source *source; /* a loan */
	bool has_arrived;            /* something was ever received for it */
	struct window_report report;
	char *failure; /* why it cannot be told, NULL: it can */
	struct mono_time read_at;
	int64_t took_us;
};

struct lanes {
	VEC(struct lane) items;
};

/*
 * The lane of `source`, read again when it is older than `max_age_us` (0: in any case), but so
 * seldom that reading takes no more than a hundredth of the time.  Never fails: see `failure`.
 * A loan until the next call.
 */
const struct lane *lanes_get(struct lanes *lanes, struct engine *engine, struct source *source,
    int64_t max_age_us);
void lanes_done(struct lanes *lanes);

#endif
