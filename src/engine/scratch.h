/*
 * A private folder for one verification, locked while its run lives, so that a later run can
 * tell what a killed one left behind and remove it.
 */
#ifndef ENGINE_SCRATCH_H
#define ENGINE_SCRATCH_H

#include "base/scope.h"

struct engine;
struct err;

struct scratch_dir {
	char *path;
	int lock_fd;
};

int scratch_dir_make(struct engine *engine, const char *run_id, struct scratch_dir *ret_dir,
    struct err *err) MUST_CHECK;

/* Remove it and all in it; a failure is logged, the next sweep tries again. */
void scratch_dir_done(struct scratch_dir *dir);

/* Remove the folders of dead runs, after the drivers have stopped what runs in them. */
int scratch_dir_sweep(struct engine *engine, struct err *err) MUST_CHECK;

#endif
