/*
 * The small records that stand beside the manifests, under ".blackstart/": what was proved, what
 * is pinned, what a prune is about to remove, and which identities a source's folder takes.
 * Each is written once, under a name that already says what must be quick to know.  Pure.
 *
 *   .blackstart/proof/<backup-id>/L3-2025-11-25T020000Z.json     reached level 3
 *   .blackstart/proof/<backup-id>/bad-2025-11-25T020000Z.json    found damaged
 *   .blackstart/pin/<backup-id>.json
 *   .blackstart/prune/<backup-id>.json                           gone when the removal is done
 *   .blackstart/source/<source>/<identity>.json
 *   .blackstart/event/<source>/2025-11-25T020000.123456Z-gap.json
 * Ids in names are percent-encoded (name_encode).
 */
#ifndef REPO_RECORD_H
#define REPO_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"

struct err;
struct json_t;

#define RECORD_PREFIX ".blackstart/"
#define RECORD_PROOF_PREFIX ".blackstart/proof"
#define RECORD_PIN_PREFIX ".blackstart/pin"
#define RECORD_PRUNE_PREFIX ".blackstart/prune"
#define RECORD_SOURCE_PREFIX ".blackstart/source"
#define RECORD_EVENT_PREFIX ".blackstart/event"

enum { RECORD_MAX_BYTES = 16 * 1024 * 1024 };

/* One climb of the ladder. All pointers are loans. */
struct proof {
	const char *backup_id;
	bool is_good;
	int level; /* reached; with !is_good the level below the one that failed */
	struct wall_time at;
	int64_t duration_us;
	const char *message; /* what was wrong, NULL when good */
	const char *const *notes;
	size_t notes_count;
	const struct json_t *details; /* an object or NULL */
};
char *proof_name(const struct proof *proof) MUST_CHECK;
char *proof_format(const struct proof *proof) MUST_CHECK;

/* What the name of a proof says. */
struct proof_mark {
	char *backup_id; /* yours */
	bool is_good;
	int level; /* -1 when not good */
	struct wall_time at;
};
bool proof_mark_parse(const char *object_name, struct proof_mark *ret_mark);

/* The "message" of a proof's text, yours, or NULL. */
char *proof_message(const char *text, size_t size) MUST_CHECK;

char *pin_name(const char *backup_id) MUST_CHECK;
char *pin_format(const char *backup_id, struct wall_time at, const char *reason) MUST_CHECK;
bool pin_name_parse(const char *object_name, char **ret_backup_id);
char *pin_reason(const char *text, size_t size) MUST_CHECK; /* NULL when there is none */

/* A prune's intent: the objects to remove, the manifest first. */
struct name_list {
	VEC(char *) names;
};
void name_list_done(struct name_list *list);
char *prune_name(const char *backup_id) MUST_CHECK;
char *prune_format(const char *backup_id, const struct name_list *objects) MUST_CHECK;
/* ERR_DATA also when it names what is no part of that one backup. */
int prune_parse(const char *text, size_t size, struct name_list *ret_objects, struct err *err)
    MUST_CHECK;

char *source_record_name(const char *source, const char *identity) MUST_CHECK;
char *source_record_format(const char *source, const char *identity, const char *version,
    struct wall_time at) MUST_CHECK;
/* The identity in such a name, yours, or NULL. */
char *source_record_identity(const char *object_name) MUST_CHECK;

/* Something that happened to a continuous stream and must not be forgotten.  All loans. */
struct stream_event {
	const char *source;
	const char *kind; /* "gap", "diverged" */
	struct wall_time at;
	uint32_t branch;
	uint64_t from_position;
	uint64_t to_position; /* 0: not known */
	const char *text;
};
char *event_name(const struct stream_event *event) MUST_CHECK;
char *event_format(const struct stream_event *event) MUST_CHECK;

#endif
