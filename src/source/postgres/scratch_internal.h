/* What the files of a scratch server share. */
#ifndef SOURCE_POSTGRES_SCRATCH_INTERNAL_H
#define SOURCE_POSTGRES_SCRATCH_INTERNAL_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/scope.h"

struct err;

/* Socket paths of the system end at 107 bytes: where work_dir is too long for one, a folder here. */
#define SCRATCH_SOCKET_PREFIX "/tmp/blackstart-socket-"

/* Can the user reach `path`: ERR_PERMISSION names the folder that is closed to it. */
int scratch_user_can_enter(const char *path, uid_t uid, gid_t gid, struct err *err) MUST_CHECK;

/*
 * How far a server is, by what it writes into its pid file for pg_ctl.  Asking over its socket
 * would fill its log with refusals while it recovers.
 */
enum scratch_state {
	SCRATCH_GONE,
	SCRATCH_STARTING,
	SCRATCH_READY, /* recovery has ended */
};
enum scratch_state scratch_state_read(const char *data_dir);

#endif
