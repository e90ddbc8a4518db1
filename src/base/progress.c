#include "base/progress.h"

#include <stddef.h>

#include "base/log.h"

enum { REPORT_INTERVAL_MS = 200 };

void
progress_flush(struct progress *progress)
{
	if (progress == NULL || progress->listener == NULL)
		return;
	progress->reported = clock_mono();
	progress->listener(progress, progress->context);
}

static void
maybe_report(struct progress *progress)
{
	if (clock_elapsed_us(progress->reported) >= REPORT_INTERVAL_MS * US_PER_MS)
		progress_flush(progress);
}

void
progress_phase(struct progress *progress, const char *phase, uint64_t total_bytes)
{
	if (progress == NULL)
		return;
	progress->phase = phase;
	progress->done_bytes = 0;
	progress->total_bytes = total_bytes;
	progress->began = clock_mono();
	if (phase != NULL)
		log_debug("phase: %s", phase);
	progress_flush(progress);
}

void
progress_add(struct progress *progress, uint64_t bytes)
{
	if (progress == NULL)
		return;
	progress->done_bytes += bytes;
	maybe_report(progress);
}

void
progress_set(struct progress *progress, uint64_t done_bytes)
{
	if (progress == NULL)
		return;
	progress->done_bytes = done_bytes;
	maybe_report(progress);
}
