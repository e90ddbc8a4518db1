/* When a store will be full, from how it filled so far.  Pure. */
#ifndef SCHED_ALARM_FORECAST_H
#define SCHED_ALARM_FORECAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

struct space_sample {
	struct wall_time at;
	uint64_t used_bytes;
};

/*
 * The instant at which the line of least squares through the samples (in any order) reaches
 * `target_bytes`.  false: too few of them (under eight, or over less than a day), it does not
 * grow, or that is more than ten years away.  A target that is reached already is now.
 */
bool alarm_forecast(const struct space_sample *samples, size_t count, uint64_t target_bytes,
    struct wall_time now, struct wall_time *ret_at);

#endif
