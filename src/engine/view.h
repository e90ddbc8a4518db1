/*
 * One backup of the store, as a source driver reads it: parts are hashed against the manifest
 * while they are delivered, and expanded.  Remembers which files were proved whole.
 */
#ifndef ENGINE_VIEW_H
#define ENGINE_VIEW_H

#include <stdbool.h>

#include "base/scope.h"
#include "base/vec.h"
#include "source/source.h"

struct engine;
struct err;
struct manifest;
struct progress;

struct view {
	struct backup_view base;
	struct engine *engine;
	struct manifest *manifest; /* owned */
	char *folder;              /* of the manifest, with a '/' at its end, or "" */
	struct progress *progress; /* counts stored bytes; may be NULL */
	VEC(bool) whole;           /* per file of the manifest: read to its end and equal */
};

/* Read and parse the manifest `manifest_name` of the store. */
int view_open(struct engine *engine, const char *manifest_name, struct view *ret_view,
    struct err *err) MUST_CHECK;
void view_done(struct view *view);

/*
 * Level 0 for every file that was not yet proved whole: size and SHA-256 against the manifest.
 * ERR_MISMATCH names the file and, where block checksums are known, the bytes that differ.
 */
int view_check_rest(struct view *view, struct err *err) MUST_CHECK;

/* The object's name of a file of this backup; yours. */
char *view_object_name(const struct view *view, const struct manifest_file *file) MUST_CHECK;

#endif
