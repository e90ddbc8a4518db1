/*
 * A running server that is to become our replica: what it is, what stands against that, and its
 * settings while it lasts.
 */
#ifndef SOURCE_REDIS_MASTER_TARGET_H
#define SOURCE_REDIS_MASTER_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/scope.h"
#include "base/str.h"
#include "base/vec.h"
#include "net/channel.h"

struct err;
struct manifest;
struct redis;
struct redis_conn;
struct restore_plan;
struct restore_request;

struct target {
	char *name; /* "10.0.0.5:6379": what the operator types to confirm */
	char *family;
	char *version;
	char *role;
	char *master; /* of a replica: "10.0.0.4:6379" */
	bool is_cluster;
	bool is_loading;
	bool has_aof;
	bool deletes_files; /* what came from a master, when it keeps nothing itself */
	bool wants_tls;     /* of a connection to its master */
	uint64_t keys;      /* of all databases */
	uint64_t functions;
	uint64_t databases;
	uint64_t memory_used;
	uint64_t memory_total; /* of the machine; 0: not told */
	uint64_t memory_limit; /* maxmemory; 0: none */
	uint64_t replicas;
	int64_t sentinels;
	VEC(char *) modules;
	char own[CHANNEL_ADDRESS_SIZE];  /* how it sees us; "": over a unix socket */
	char peer[CHANNEL_ADDRESS_SIZE]; /* and we it */

	/* Its settings as they were. */
	char *masterauth;
	char *diskless_load;
	/*
	 * A run of ours died while it was the master of this server.  Its settings as they were before
	 * that are known from the token it left.
	 */
	bool is_left_behind;
};
void target_done(struct target *target);

/* ERR_AUTH when what must be asked may not be. */
int target_look(const struct redis *redis, struct redis_conn *conn, struct target *ret_target,
    struct err *err) MUST_CHECK;

/* Would anything be lost if its data were replaced. */
bool target_has_data(const struct target *target);

/* Obstacles and warnings into the plan: can it take what the backup holds, and be our replica. */
void target_weigh(const struct target *target, const struct redis *redis,
    const struct manifest *manifest, const struct restore_request *request,
    struct restore_plan *plan);

/*
 * Can old and new data be in its memory at once: then the old is kept until the new is loaded
 * whole, whatever happens ("swapdb").
 */
bool target_holds_both(const struct target *target, const struct manifest *manifest);

/*
 * The token for the replica to say; yours.  Its own masterauth if it has one, else one that tells a
 * later run what the settings were.
 */
char *target_token(const struct target *target) MUST_CHECK;

/* Set what we need, and set it back. */
int target_prepare(const struct target *target, struct redis_conn *conn, const char *token,
    bool keeps_both, struct err *err) MUST_CHECK;
int target_settle(const struct target *target, struct redis_conn *conn, struct err *err) MUST_CHECK;

#endif
