/*
 * Everything that is known, as numbers in the text format of Prometheus 0.0.4: for the page's
 * /metrics, and for `blackstart metrics` where a textfile collector is used.  Made of the same
 * look as the alarms.  Timestamps, not ages; base units; the job is in the label `name`, because
 * `job` is a label that Prometheus sets itself.
 */
#ifndef APP_WEB_METRICS_H
#define APP_WEB_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct catalog;
struct err;
struct link_state;
struct str;
struct watch_seen;

/* What only the process that supervises the runs knows of them. */
struct metrics_live {
	const char *job;
	double progress_ratio;         /* 0 to 1; below 0: not known */
	int64_t lag_bytes;             /* of a stream behind its server; below 0: not known */
	const struct link_state *link; /* of a stream, or NULL */
};

struct metrics_input {
	struct catalog *catalog;
	const struct watch_seen *seen;
	const char *site;
	const struct metrics_live *live;
	size_t live_count;
};

int metrics_write(const struct metrics_input *input, struct str *to, struct err *err) MUST_CHECK;

#endif
