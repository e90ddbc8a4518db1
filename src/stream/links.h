/*
 * The links a chain is made of.  Each constructor takes over `next` (also when it fails) and
 * returns the new front of the chain, yours.
 */
#ifndef STREAM_LINKS_H
#define STREAM_LINKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct digest;
struct err;
struct progress;
struct sink;

/* Throws bytes away. */
struct sink *null_sink_new(void) MUST_CHECK;

/* Writes to a descriptor (a loan, named `name` in errors). */
struct sink *fd_sink_new(int fd, const char *name) MUST_CHECK;

/* Adds to a str (a loan); ERR_LIMIT beyond the str's maximum. */
struct str;
struct sink *str_sink_new(struct str *to) MUST_CHECK;

/*
 * Hashes what passes; *ret_digest (a loan) is complete after finish. `next` may be NULL.  Fails only
 * where libcrypto is missing.
 */
struct sink *digest_sink_new(struct sink *next, struct digest *ret_digest, struct err *err)
    MUST_CHECK;

struct meter_options {
	struct progress *progress;       /* may be NULL */
	uint64_t rate_limit_bytes_per_s; /* 0: none */
	uint64_t *ret_bytes;             /* counted here as they pass; may be NULL */
};
/* Counts, limits the rate (token bucket, 100 ms of burst) and stops when a stop is asked for. */
struct sink *meter_sink_new(struct sink *next, const struct meter_options *options) MUST_CHECK;

struct str;
struct zstd_options {
	int level;              /* 1..19 */
	unsigned workers;       /* threads that compress frames; 0: in the caller's thread */
	const struct str *note; /* a loan, read when the sink is finished; NULL or empty: none */
	size_t frame_bytes;     /* of input; 0: ZSTD_FRAME_BYTES */
	unsigned hash_log;      /* of the table of matches, see ZSTD_c_hashLog; 0: the level's */
};
/*
 * Independent frames of `frame_bytes` input, then the note (stream/blob_note.h), then the seek
 * table.  A note of more than BLOB_NOTE_MAX_BYTES is ERR_LIMIT.
 *
 * A file of a few frames is made by a process that lives for some milliseconds: the smaller its
 * frames, the sooner its workers begin, and the less memory it must be given page by page.
 */
#define ZSTD_FRAME_BYTES (4u * 1024 * 1024)
struct sink *zstd_sink_new(struct sink *next, const struct zstd_options *options, struct err *err)
    MUST_CHECK;

/*
 * Passes bounded buffers to the rest of the chain on another thread, so that reading and
 * writing overlap.  An error behind it is returned by the next write or by finish.
 */
struct sink *handoff_sink_new(struct sink *next, struct err *err) MUST_CHECK;

/* Into two chains; both are taken over.  A failure of either is a failure. */
struct sink *tee_sink_new(struct sink *first, struct sink *second) MUST_CHECK;

struct file_sink_options {
	const char *folder; /* must exist */
	const char *name;   /* final name in it */
	const char *run_id; /* the temporary name is ".tmp-<run-id>-<name>" */
	unsigned mode;      /* 0600 */
	int gid;            /* group to give the file to; -1: none */
};
/*
 * A durable file, write-once: the temporary file is locked (flock) while it is being written, so
 * that a sweep can tell a dead run's leftovers; finish is fsync, rename that never replaces
 * (ERR_EXISTS), fsync of the folder.  A failed fsync is final: the file is removed.
 */
struct sink *file_sink_new(const struct file_sink_options *options, struct err *err) MUST_CHECK;

#endif
