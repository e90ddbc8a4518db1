/*
 * The files of an AOF in a server's folder, opened together so that what is read of them belongs
 * together although the server goes on: it only ever adds to the last one, and a rewrite removes
 * names, not what an open file holds.
 */
#ifndef SOURCE_REDIS_AOF_FILES_H
#define SOURCE_REDIS_AOF_FILES_H

#include <stdint.h>

#include "base/scope.h"
#include "base/vec.h"

struct err;

struct aof_open_file {
	char *name; /* in the server's folder: "appendonlydir/appendonly.aof.1.base.rdb" */
	int fd;
	uint64_t bytes; /* it had when all were opened: what is behind is not looked at */
};

struct aof_files {
	VEC(struct aof_open_file) files; /* in the order in which they are loaded */
	char *manifest_name; /* "appendonlydir/appendonly.aof.manifest"; NULL: one file */
	char *manifest_text; /* without history */
};

struct aof_names {
	const char *folder;     /* the server's `dir` */
	const char *aof_name;   /* "appendonly.aof" */
	const char *aof_folder; /* "appendonlydir" */
};

/*
 * Open them.  The manifest is read again when they are open, and all is done anew when a rewrite
 * has changed it meanwhile (ERR_BUSY when it does so again and again).  ERR_NOT_FOUND: there is no
 * AOF in this folder.
 */
int aof_files_open(const struct aof_names *names, struct aof_files *ret_files, struct err *err)
    MUST_CHECK;
void aof_files_done(struct aof_files *files);

#endif
