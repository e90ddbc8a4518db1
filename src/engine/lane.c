#include "engine/lane.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/archive.h"
#include "engine/engine.h"
#include "engine/recovery.h"

enum { REST_PER_READING = 100 };

static void
forget(struct lane *lane)
{
	window_report_done(&lane->report);
	lane->report = (struct window_report){ .pieces_count = 0 };
	free(TAKE(lane->failure));
	lane->has_arrived = false;
}

void
lanes_done(struct lanes *lanes)
{
	for (size_t i = 0; i < lanes->items.count; i++)
		forget(&lanes->items.items[i]);
	vec_done(&lanes->items);
}

static void
read_lane(struct lane *lane, struct engine *engine, struct source *source)
{
	struct mono_time began = clock_mono();
	struct err err = ERR_INIT;

	forget(lane);
	lane->source = source;
	lane->has_arrived = engine_archive_exists(engine, source->ops, source->label);
	if (lane->has_arrived && recovery_window(engine, source, &lane->report, &err) < 0) {
		forget(lane);
		lane->has_arrived = true;
		lane->failure = xstrdup(err.msg);
	}
	lane->read_at = clock_mono();
	lane->took_us = clock_elapsed_us(began);
}

static struct lane *
lane_of(struct lanes *lanes, const struct source *source, bool *ret_is_new)
{
	for (size_t i = 0; i < lanes->items.count; i++) {
		*ret_is_new = false;
		if (str_equals(lanes->items.items[i].source->label, source->label))
			return &lanes->items.items[i];
	}
	*ret_is_new = true;

	return vec_add(&lanes->items);
}

const struct lane *
lanes_get(struct lanes *lanes, struct engine *engine, struct source *source, int64_t max_age_us)
{
	bool is_new;
	struct lane *lane = lane_of(lanes, source, &is_new);
	int64_t rest_us = lane->took_us * REST_PER_READING;

	if (max_age_us == 0 || rest_us < max_age_us)
		rest_us = max_age_us;
	if (is_new || clock_elapsed_us(lane->read_at) >= rest_us)
		read_lane(lane, engine, source);

	return lane;
}
