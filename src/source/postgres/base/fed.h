/*
 * The archive's side of a server that recovers here: the feeder that answers its restore_command
 * while we wait for it.
 */
#ifndef SOURCE_POSTGRES_BASE_FED_H
#define SOURCE_POSTGRES_BASE_FED_H

#include <stdint.h>
#include <sys/types.h>

#include "base/scope.h"

struct archive;
struct base_content;
struct err;
struct fed;
struct progress;

struct fed_options {
	struct archive *archive; /* a loan */
	const struct base_content *content;
	const char *socket_path; /* in a folder that only the server's user can enter */
	uid_t uid;               /* that user */
	uint64_t stored_bytes;   /* about how much of it there is to replay, for the progress */
	uint64_t segments_count;
	struct progress *progress;
};

struct fed *fed_open(const struct fed_options *options, struct err *err) MUST_CHECK;

/*
 * A copy of our own program for the server's user, who need not be able to enter the folder that
 * it lies in: root's home, say.  `to` is removed by whoever asked for it.
 */
int fed_lend_program(const char *from, const char *to, uid_t uid, gid_t gid, struct err *err)
    MUST_CHECK;

/* Serve for a moment; as scratch_options.idle, with the struct fed as context. */
int fed_idle(void *fed, struct err *err) MUST_CHECK;

/* The server failed: put what the feeder could not give in front of what the server says. */
int fed_explain(const struct fed *fed, struct err *err);

void fed_free(struct fed *fed); /* NULL is ok; takes the socket away */
SCOPED_FREE(struct fed, fed_free)

#endif
