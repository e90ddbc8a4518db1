/*
 * The engine's intake: opens the chain  meter > [zstd >] digest > store  for each part of a
 * backup and writes down what was finished in the draft of its manifest.
 *
 * A finished part is held under its temporary name until intake_commit, so that a run that is
 * killed before leaves nothing with a final name.  Only the first INTAKE_HELD_MAX are held: a
 * dump in directory format may have thousands of files.
 */
#ifndef ENGINE_INTAKE_H
#define ENGINE_INTAKE_H

#include <stdint.h>

#include "base/scope.h"
#include "base/vec.h"
#include "source/source.h"

struct digest;
struct engine;
struct manifest;
struct place;
struct progress;
struct sink;

enum { INTAKE_HELD_MAX = 16 };

/* A part whose bytes are all written, but not yet committed. */
struct held_part {
	struct sink *sink;
	char *object_name;
};

struct engine_intake {
	struct intake base;
	struct engine *engine;
	const struct place *place;
	const char *run_id;
	struct manifest *draft;
	struct progress *progress;
	int compression_level; /* 0: parts are stored as they come */
	uint64_t rate_limit_bytes_per_s;
	VEC(struct held_part) held;
	VEC(char *) finished;         /* objects that exist in the store */
	VEC(struct digest *) digests; /* one for each part opened */
};

void intake_init(struct engine_intake *intake);

/* Make every held part durable under its final name, in the order they were finished. */
int intake_commit(struct engine_intake *intake, struct err *err) MUST_CHECK;

/* Remove what was finished: the backup failed. */
void intake_abandon(struct engine_intake *intake);
void intake_done(struct engine_intake *intake);

#endif
