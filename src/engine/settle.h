/*
 * The continuous streams of the store put in order, source by source: the driver's settle with
 * its archive, one at a time for each source.
 */
#ifndef ENGINE_SETTLE_H
#define ENGINE_SETTLE_H

#include "base/scope.h"
#include "base/vec.h"

struct engine;
struct err;
struct progress;
struct settle_report;
struct source;

/*
 * ERR_BUSY: another process settles this source now; ERR_UNSUPPORTED: it has no stream.  What is
 * damaged is in the report, which is the caller's to end also after a failure.
 */
int settle_run(struct engine *engine, struct source *source, struct settle_report *report,
    struct err *err) MUST_CHECK;

/* The same as a run of a job, with its row and its log. */
int settle_job(struct engine *engine, struct source *source, const char *job,
    struct settle_report *report, struct err *err) MUST_CHECK;

/* Forget the index of the source's stream and make it again from its files, changing none. */
int settle_reindex(struct engine *engine, struct source *source, struct settle_report *report,
    struct err *err) MUST_CHECK;

/*
 * Read what the index knows of the source's stream again: what has become damaged since, and what
 * was made good.  All of it on all processors, or a part (report->part) at leisure.  May run beside
 * a settle, a receiver and a prune.  `progress` may be NULL.
 */
int settle_again(struct engine *engine, struct source *source, struct progress *progress,
    struct settle_report *report, struct err *err) MUST_CHECK;

void settle_log_warnings(const struct settle_report *report);

/* ERR_MISMATCH when something of the source's stream is damaged. */
int settle_judge(const struct settle_report *report, const char *source, struct err *err)
    MUST_CHECK;

/* A source of which something of a stream is in the store. */
struct streamed_source {
	char *name;
	const char *type; /* a constant */
};
struct streamed_sources {
	VEC(struct streamed_source) items;
};
int settle_find_sources(struct engine *engine, struct streamed_sources *ret_sources,
    struct err *err) MUST_CHECK;
void streamed_sources_done(struct streamed_sources *sources);

#endif
