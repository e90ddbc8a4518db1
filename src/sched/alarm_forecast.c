#include "sched/alarm_forecast.h"

enum { SAMPLES_MIN = 8 };
#define SPAN_MIN_US (24 * 3600 * US_PER_S)
#define AHEAD_MAX_US (INT64_C(3653) * 24 * 3600 * US_PER_S)

struct line {
	double bytes_per_us;
	double bytes_at_now;
};

/* Both axes are taken from their means: the sums of 1e15 microseconds would lose the digits. */
static bool
fit(const struct space_sample *samples, size_t count, struct wall_time now, struct line *ret_line)
{
	double mean_x = 0, mean_y = 0, xx = 0, xy = 0;

	for (size_t i = 0; i < count; i++) {
		mean_x += (double)(samples[i].at.us - now.us) / (double)count;
		mean_y += (double)samples[i].used_bytes / (double)count;
	}
	for (size_t i = 0; i < count; i++) {
		double x = (double)(samples[i].at.us - now.us) - mean_x;

		xx += x * x;
		xy += x * ((double)samples[i].used_bytes - mean_y);
	}
	if (xx <= 0)
		return false;
	ret_line->bytes_per_us = xy / xx;
	ret_line->bytes_at_now = mean_y - ret_line->bytes_per_us * mean_x;

	return true;
}

static int64_t
span_us(const struct space_sample *samples, size_t count)
{
	int64_t first = samples[0].at.us;
	int64_t last = first;

	for (size_t i = 1; i < count; i++) {
		first = samples[i].at.us < first ? samples[i].at.us : first;
		last = samples[i].at.us > last ? samples[i].at.us : last;
	}

	return last - first;
}

bool
alarm_forecast(const struct space_sample *samples, size_t count, uint64_t target_bytes,
    struct wall_time now, struct wall_time *ret_at)
{
	struct line line;
	double ahead_us;

	if (count < SAMPLES_MIN || span_us(samples, count) < SPAN_MIN_US ||
	    !fit(samples, count, now, &line) || line.bytes_per_us <= 0)
		return false;
	ahead_us = ((double)target_bytes - line.bytes_at_now) / line.bytes_per_us;
	if (ahead_us > (double)AHEAD_MAX_US)
		return false;
	ret_at->us = now.us + (ahead_us > 0 ? (int64_t)ahead_us : 0);

	return true;
}
