#include "app/policy.h"

#include "app/wire.h"
#include "base/str.h"
#include "config/config.h"
#include "engine/engine.h"
#include "source/source.h"

static const struct source_ops *
driver_of(const struct wire *wire, const struct config_job *job)
{
	const struct config_source *source = config_find_source(wire->config, job->source);

	return source != NULL ? engine_driver(&wire->engine, source->type) : NULL;
}

bool
policy_is_stream(const struct wire *wire, const struct config_job *job)
{
	const struct source_ops *driver = driver_of(wire, job);

	return job->is_supported && driver != NULL && driver->stream != NULL &&
	    str_equals(driver->stream->name, job->kind);
}

const char *
policy_backup_kind(const struct wire *wire, const struct config_job *job)
{
	return policy_is_stream(wire, job) ? driver_of(wire, job)->stream->base : job->kind;
}

int
policy_verify_level(const struct wire *wire, const struct config_job *job)
{
	const struct source_ops *driver = driver_of(wire, job);

	if (job->verify.level >= 0 || driver == NULL)
		return job->verify.level;

	return source_usual_level(driver, job->kind, job->verify.smoke.count > 0);
}

bool
policy_is_window_base(const struct wire *wire, const struct config_job *job)
{
	const struct source_ops *driver = driver_of(wire, job);
	const char *kind = policy_backup_kind(wire, job);

	for (size_t i = 0; driver != NULL && i < driver->kinds_count; i++) {
		if (str_equals(driver->kinds[i].name, kind))
			return driver->kinds[i].is_window_base;
	}

	return false;
}

/* How far back the stream of this source is kept: its bases must reach so far. */
static int64_t
window_of(const struct wire *wire, const char *source)
{
	int64_t window_us = 0;

	for (size_t i = 0; i < wire->config->jobs.count; i++) {
		const struct config_job *job = &wire->config->jobs.items[i];

		if (policy_is_stream(wire, job) && str_equals(job->source, source) &&
		    job->keep.keep_us > window_us)
			window_us = job->keep.keep_us;
	}

	return window_us;
}

struct retention_policy
policy_of_job(const struct wire *wire, const struct config_job *job)
{
	const struct config_keep *keep = &job->keep;

	return (struct retention_policy){
		.keep_us = keep->keep_us,
		.window_us = window_of(wire, job->source),
		.last = keep->last,
		.daily = keep->daily,
		.weekly = keep->weekly,
		.monthly = keep->monthly,
		.yearly = keep->yearly,
		.is_unlimited = keep->is_unlimited,
	};
}
