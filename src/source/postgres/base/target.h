/* Where a base backup is restored to: the folders, the user, the port, and whether that can be. */
#ifndef SOURCE_POSTGRES_BASE_TARGET_H
#define SOURCE_POSTGRES_BASE_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/scope.h"

struct base_content;
struct err;
struct postgres;
struct restore_request;

/* In a data directory that is not complete yet; says that what is there may be removed. */
#define BASE_TARGET_MARKER ".blackstart-unfinished-restore"

struct base_target {
	char *data_dir;   /* absolute */
	char *spaces_dir; /* "DIR.tablespaces": each tablespace in a folder named by its OID */
	char *existing;   /* the nearest folder above that exists */
	char *socket_dir; /* NULL: the path is too long for a socket */
	unsigned port;
	int port_fd;    /* listens there until the server does; -1 */
	bool has_owner; /* files are given to uid and gid */
	uid_t uid;
	gid_t gid;
};

/*
 * Work out the target; nothing is made.  ERR_USAGE when `to` is missing or no folder,
 * ERR_NOT_FOUND when the owner is no user of this machine.
 */
int base_target_init(struct base_target *target, const struct postgres *pg,
    const struct restore_request *request, struct err *err) MUST_CHECK;
void base_target_done(struct base_target *target);

/* The server is about to listen there itself. */
void base_target_yield_port(struct base_target *target);

/* What stands in the way of making it, as an error with its hint; 0 when nothing does. */
int base_target_check(const struct base_target *target, const struct base_content *content,
    struct err *err) MUST_CHECK;

char *base_target_space(const struct base_target *target, const char *oid) MUST_CHECK;

/* Make the folders, with the marker in the first.  Remove all that was made in them. */
int base_target_make(const struct base_target *target, const struct base_content *content,
    struct err *err) MUST_CHECK;
void base_target_undo(const struct base_target *target);

#endif
