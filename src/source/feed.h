/*
 * Asking a feeder for a file of a continuous stream, over a Unix socket: the one that delivers may
 * be another user than the one that has the store.
 *
 *   request   the name, '\n'; with its first byte may come spares: empty files without a name
 *             (O_TMPFILE) that the one who asks made where he wants what he will ask for later
 *   answer    one byte of enum feed_status, then text for the log (may be empty) up to the end of
 *             the connection; with FEED_DELIVERED's byte comes a descriptor (SCM_RIGHTS) that is
 *             read from offset 0: memory, or one of the spares, which needs a name and no copy
 *
 * Anything else, an early end too, is a failure to ask and says nothing about the file.
 */
#ifndef SOURCE_FEED_H
#define SOURCE_FEED_H

#include <stddef.h>

#include "base/scope.h"

struct err;

enum feed_status {
	FEED_DELIVERED = 'D',
	FEED_ABSENT = 'A', /* provably */
	FEED_DOUBT = '?',
};

enum {
	FEED_NAME_MAX = 64,
	FEED_TEXT_SIZE = 800,
	FEED_PATH_MAX = 107, /* sockaddr_un */
	FEED_SPARES = 2,     /* with each request: one is used up, one lets the feeder get ahead */
};

struct feed_question {
	char name[FEED_NAME_MAX + 1];
	int spares[FEED_SPARES];
	size_t spares_count;
};
void feed_question_done(struct feed_question *question);

struct feed_answer {
	enum feed_status status;
	int fd; /* FEED_DELIVERED: yours; else -1 */
	char text[FEED_TEXT_SIZE];
};
void feed_answer_done(struct feed_answer *answer);

/*
 * Ask the feeder at `socket_path` for what feed_save puts into `path`, with spares beside it where
 * the file system can make them; waits for the answer until the feeder ends the connection.
 * ERR_NET: there is no feeder, or it went away.
 */
int feed_ask(const char *socket_path, const char *name, const char *path,
    struct feed_answer *ret_answer, struct err *err) MUST_CHECK;

/* What was delivered becomes `path`, which is replaced when all is there: renamed, or copied. */
int feed_save(const struct feed_answer *answer, const char *path, struct err *err) MUST_CHECK;

/*
 * The feeder's side.  feed_listen: a listening socket at `socket_path`, which is replaced.
 * feed_read_question: the request on an accepted connection, within a second.
 */
int feed_listen(const char *socket_path, int *ret_fd, struct err *err) MUST_CHECK;
int feed_read_question(int connection, struct feed_question *ret_question, struct err *err)
    MUST_CHECK;
int feed_send(int connection, const struct feed_answer *answer, struct err *err) MUST_CHECK;

#endif
