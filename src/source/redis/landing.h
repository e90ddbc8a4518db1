/* Where restored files go in a Redis server's folder, and what becomes of those that are there. */
#ifndef SOURCE_REDIS_LANDING_H
#define SOURCE_REDIS_LANDING_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/scope.h"

struct err;
struct manifest;
struct restore_request;

struct landing {
	char *folder;     /* the server's */
	char *staging;    /* in it: new files until all of them are on the disk */
	char *aside;      /* in it: the old ones afterwards */
	char *dump_name;  /* "dump.rdb" */
	char *aof_name;   /* "appendonly.aof" */
	char *aof_folder; /* "appendonlydir" */
	bool
	    is_aof_only; /* no dump is written, and the AOF's files with their manifest are there */
	bool has_increment; /* commands stand behind the base */
	bool lacks_dump;    /* and no server was there to write dump.rdb of that state */
	bool has_parts;     /* the server keeps its AOF in parts, with a manifest (7.0 and later) */
	bool gives_files;   /* to this user: */
	uid_t uid;
	gid_t gid;
};

/* From the manifest's server and the request; nothing is looked at but users.  ERR_USAGE. */
int landing_init(struct landing *landing, const struct manifest *manifest,
    const struct restore_request *request, struct err *err) MUST_CHECK;
void landing_done(struct landing *landing);

/* ERR_REFUSED when a server works in the folder; *ret_is_blind: some cannot be seen. */
int landing_check(const struct landing *landing, bool *ret_is_blind, struct err *err) MUST_CHECK;

/* The files' paths while they are being written: the dump's folder, and the AOF's. */
int landing_begin(struct landing *landing, struct err *err) MUST_CHECK;
char *landing_aof_folder(const struct landing *landing) MUST_CHECK; /* where its base goes */
char *landing_aof_base(const struct landing *landing) MUST_CHECK;   /* its name */

/* Where the AOF is in parts: which files make it up, beside them. */
int landing_write_manifest(const struct landing *landing, struct err *err) MUST_CHECK;

/* All is written: move the old files aside and the new ones in.  *ret_moved: how many old ones. */
int landing_commit(struct landing *landing, unsigned *ret_moved, struct err *err) MUST_CHECK;

#endif
