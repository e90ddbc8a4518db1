/*
 * The engine's intake: opens the chain  meter > [zstd >] digest > store  for each part of a
 * backup and writes down what was finished in the draft of its manifest.
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

struct engine_intake {
	struct intake base;
	struct engine *engine;
	const struct place *place;
	const char *run_id;
	struct manifest *draft;
	struct progress *progress;
	int compression_level;              /* 0: parts are stored as they come */
	uint64_t rate_limit_bytes_per_s;
	VEC(char *) finished;               /* objects that exist in the store */
	VEC(struct digest *) digests;       /* one for each part opened */
};

void intake_init(struct engine_intake *intake);

/* Remove what was finished: the backup failed. */
void intake_abandon(struct engine_intake *intake);
void intake_done(struct engine_intake *intake);

#endif
