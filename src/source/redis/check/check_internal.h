/* What the files of `check` for a Redis server share. */
#ifndef SOURCE_REDIS_CHECK_CHECK_INTERNAL_H
#define SOURCE_REDIS_CHECK_CHECK_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "source/redis/redis_internal.h"

/* One server that is being looked at. */
struct checking {
	const struct redis *redis;
	struct redis_conn *conn;
	struct check_report *report;
	struct str info; /* its INFO */
	bool is_local;   /* it runs on this machine */
	char *sql;       /* "blackstart check cache --sql" */
	/* Bytes of commands that change data, over one second. */
	uint64_t writes_bytes_per_s;
	bool is_writes_exact; /* else all that clients have sent: not more than that */
};

/* An item without words to print into its fix: `fix` may be NULL. */
#define checking_add(checking, result, name, fix, ...)                                             \
	check_report_add((checking)->report, (result), (name), (fix), __VA_ARGS__)

/* access.c: encryption, password, version, rights. */
void check_link(struct checking *checking);
void check_version(struct checking *checking);
void check_rights(struct checking *checking);

/* company.c: who else speaks with it: master, replicas, cluster, Sentinel, users of WAIT. */
void check_role(struct checking *checking);
void check_company(struct checking *checking);

/* capacity.c: memory for the fork, backlog and buffers against the rate of writes, time limits. */
void check_memory(struct checking *checking);
void check_replication_limits(struct checking *checking);

/* keeping.c: what the server itself keeps on its disk. */
void check_keeping(struct checking *checking);

#endif
