/*
 * Who may do more than look: logins with the token, and the sessions they begin.  Held in memory
 * only, so a restart ends them all.  The clock is a parameter.
 */
#ifndef APP_WEB_SESSION_H
#define APP_WEB_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"

enum {
	SESSION_ID_SIZE = 64 + 1, /* hex digits: 256 bits */
	SESSION_WHO_SIZE = 96,
	SESSION_HOURS = 8,
	SESSIONS_MAX = 32,
};

struct session {
	char id[SESSION_ID_SIZE];
	char csrf[SESSION_ID_SIZE]; /* to be sent back with every write */
	char who[SESSION_WHO_SIZE]; /* as they called themselves, and from where */
	struct mono_time began;
	struct mono_time used;
};

/*
 * A bucket of tries for each address, and one for all: a wrong token costs one, and one comes back
 * every few seconds.
 */
struct session_bucket {
	char client[64];
	unsigned tries_left;
	struct mono_time filled;
};

struct sessions {
	struct session items[SESSIONS_MAX]; /* id "": free */
	struct session_bucket buckets[SESSIONS_MAX];
	struct session_bucket all;
};

void sessions_init(struct sessions *sessions, struct mono_time now);

/* May this address try a token now?  Takes one of its tries; *ret_wait_s tells when the next is. */
bool sessions_may_try(struct sessions *sessions, const char *client, struct mono_time now,
    unsigned *ret_wait_s);

/* The token was right: its try is given back, and a session begins in the place of the oldest. */
struct session *sessions_begin(struct sessions *sessions, const char *client, const char *who,
    struct mono_time now);

/* The living session of this id (NULL: none was sent), or NULL. */
struct session *sessions_find(struct sessions *sessions, const char *id, struct mono_time now);
void sessions_end(struct session *session);

/* Compare in a time that depends on the sizes alone. */
bool session_text_equals(const char *a, const char *b);

#endif
