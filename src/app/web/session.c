#include "app/web/session.h"

#include <stdio.h>
#include <string.h>

#include "os/random.h"

enum {
	TRIES_OF_ONE = 5,
	TRIES_OF_ALL = 20,
	SECONDS_PER_TRY = 6,
};
#define SESSION_US (SESSION_HOURS * 3600 * US_PER_S)

static void
fill(struct session_bucket *bucket, unsigned most, struct mono_time now)
{
	int64_t earned = (now.us - bucket->filled.us) / (SECONDS_PER_TRY * US_PER_S);

	if (bucket->tries_left + earned >= most) {
		bucket->tries_left = most;
		bucket->filled = now;
		return;
	}
	bucket->tries_left += (unsigned)earned;
	bucket->filled.us += earned * SECONDS_PER_TRY * US_PER_S;
}

void
sessions_init(struct sessions *sessions, struct mono_time now)
{
	*sessions = (struct sessions){ .all = { .tries_left = TRIES_OF_ALL, .filled = now } };
}

/* The bucket of this address; a new address takes the place of the one that was quiet longest. */
static struct session_bucket *
bucket_of(struct sessions *sessions, const char *client, struct mono_time now)
{
	struct session_bucket *oldest = &sessions->buckets[0];

	for (size_t i = 0; i < SESSIONS_MAX; i++) {
		struct session_bucket *bucket = &sessions->buckets[i];

		if (strcmp(bucket->client, client) == 0)
			return bucket;
		if (bucket->filled.us < oldest->filled.us)
			oldest = bucket;
	}
	(void)snprintf(oldest->client, sizeof(oldest->client), "%s", client);
	oldest->tries_left = TRIES_OF_ONE;
	oldest->filled = now;

	return oldest;
}

bool
sessions_may_try(struct sessions *sessions, const char *client, struct mono_time now,
    unsigned *ret_wait_s)
{
	struct session_bucket *own = bucket_of(sessions, client, now);
	const struct session_bucket *empty;

	fill(own, TRIES_OF_ONE, now);
	fill(&sessions->all, TRIES_OF_ALL, now);
	if (own->tries_left > 0 && sessions->all.tries_left > 0) {
		own->tries_left--;
		sessions->all.tries_left--;
		return true;
	}
	empty = own->tries_left == 0 ? own : &sessions->all;
	*ret_wait_s = 1 + (unsigned)(SECONDS_PER_TRY - (now.us - empty->filled.us) / US_PER_S);

	return false;
}

struct session *
sessions_begin(struct sessions *sessions, const char *client, const char *who, struct mono_time now)
{
	struct session *session = &sessions->items[0];

	for (size_t i = 0; i < SESSIONS_MAX && session->id[0] != '\0'; i++) {
		struct session *other = &sessions->items[i];

		if (other->id[0] == '\0' || other->used.us < session->used.us)
			session = other;
	}
	random_hex(session->id, SESSION_ID_SIZE - 1);
	random_hex(session->csrf, SESSION_ID_SIZE - 1);
	(void)snprintf(session->who, sizeof(session->who), "%s", who);
	session->began = session->used = now;
	bucket_of(sessions, client, now)->tries_left++;
	sessions->all.tries_left++;

	return session;
}

struct session *
sessions_find(struct sessions *sessions, const char *id, struct mono_time now)
{
	struct session *found = NULL;

	for (size_t i = 0; i < SESSIONS_MAX && id != NULL && id[0] != '\0'; i++) {
		struct session *session = &sessions->items[i];

		if (session->id[0] != '\0' && session_text_equals(session->id, id))
			found = session;
	}
	if (found != NULL && now.us - found->began.us > SESSION_US) {
		sessions_end(found);
		return NULL;
	}
	if (found != NULL)
		found->used = now;

	return found;
}

void
sessions_end(struct session *session)
{
	explicit_bzero(session, sizeof(*session));
}

bool
session_text_equals(const char *a, const char *b)
{
	size_t size = strlen(a);
	size_t other = strlen(b);
	volatile unsigned char difference = size == other ? 0 : 1;

	for (size_t i = 0; i < size; i++)
		difference = (unsigned char)(difference |
		    ((unsigned char)a[i] ^ (unsigned char)b[other > 0 ? i % other : 0]));

	return difference == 0;
}
