/*
 * The manifest of an AOF that is kept in parts (Redis 7.0 and later): which files make it up, in
 * which order.  Pure.  From aofLoadManifestFromFile in src/aof.c of Redis:
 *
 *   file appendonly.aof.1.base.rdb seq 1 type b      the base, at most one
 *   file appendonly.aof.2.incr.aof seq 2 type i      what followed, with growing numbers
 *   file appendonly.aof.1.incr.aof seq 1 type h      history, soon to be removed: not loaded
 */
#ifndef SOURCE_REDIS_AOF_MANIFEST_H
#define SOURCE_REDIS_AOF_MANIFEST_H

#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"
#include "base/vec.h"

struct err;

enum {
	AOF_MANIFEST_MAX_BYTES = 1024 * 1024,
	AOF_LINE_MAX_BYTES = 1024,
	AOF_FILES_MAX = 10000,
};

enum aof_file_type {
	AOF_BASE = 'b',
	AOF_HISTORY = 'h',
	AOF_INCREMENT = 'i',
};

struct aof_file {
	char *name; /* no path */
	uint64_t seq;
	enum aof_file_type type;
};

struct aof_manifest {
	VEC(struct aof_file) files; /* as they stand there */
};

/* ERR_DATA names the line that a server would not take either. */
int aof_manifest_parse(const char *text, size_t size, struct aof_manifest *ret_manifest,
    struct err *err) MUST_CHECK;
void aof_manifest_done(struct aof_manifest *manifest);

/* The same without history: what a server loads.  Yours. */
char *aof_manifest_format(const struct aof_manifest *manifest) MUST_CHECK;

#endif
