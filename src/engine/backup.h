/*
 * One backup, from the lock to the manifest: identify the source, find a free place, let the
 * driver push its parts, write the manifest last, record the run.
 */
#ifndef ENGINE_BACKUP_H
#define ENGINE_BACKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/scope.h"
#include "repo/retention.h"

struct archive;
struct engine;
struct err;
struct progress;
struct source;

struct backup_job {
	const char *name; /* "pg-daily" */
	struct source *source;
	const char *kind;
	const char *subfolder; /* NULL: the kind's own */
	const char *format;
	int compression_level; /* 0: none */
	uint64_t rate_limit_bytes_per_s;
	unsigned parallel;
	struct archive *archive; /* a stream that runs covers it, or NULL */
	void *attached;          /* for the driver: a stream of this job brings it (base_taker) */
	bool is_of_stream;       /* the stream that it is a base of has the job's lock */
	struct progress *progress;
};

struct backup_outcome {
	char *id;
	char *folder;
	uint64_t content_bytes;
	uint64_t stored_bytes;
	int64_t duration_us;
	unsigned warnings_count;
	char *first_warning; /* NULL: none */
};
void backup_outcome_done(struct backup_outcome *outcome);

/*
 * Run it.  Success with warnings_count > 0 is exit 3.  On failure nothing of it is left in the
 * store, and the run is recorded as failed or cancelled.
 */
int backup_run(struct engine *engine, const struct backup_job *job,
    struct backup_outcome *ret_outcome, struct err *err) MUST_CHECK;

/*
 * The source is the system from now on that its live server is (`source adopt`).  Yours: its
 * identity, and that of the one before whose stream was set aside, or NULL (engine/systems.h).
 */
int backup_adopt_identity(struct engine *engine, struct source *source, char **ret_identity,
    char **ret_aside, struct err *err) MUST_CHECK;

#endif
