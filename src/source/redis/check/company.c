/* Who else speaks with the server, and whom a backup could be taken for. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "source/redis/check/check_internal.h"

void
check_role(struct checking *checking)
{
	const struct str *info = &checking->info;
	SCOPED(freep) char *role = redis_info_get(info, "role");
	SCOPED(freep) char *link = redis_info_get(info, "master_link_status");
	uint64_t replicas = redis_info_number(info, "connected_slaves");

	if (!str_equals(role, "slave"))
		checking_add(checking, CHECK_OK, "role", NULL,
		    "a master with %" PRIu64 " replica%s", replicas, replicas == 1 ? "" : "s");
	else if (str_equals(link, "up"))
		checking_add(checking, CHECK_OK, "role", NULL,
		    "a replica, in touch with its master");
	else
		checking_add(checking, CHECK_FAILED, "role", "redis-cli INFO replication",
		    "a replica that has lost its master: it gives no copy of its data");
	if (redis_info_number(info, "loading") != 0)
		checking_add(checking, CHECK_FAILED, "loading", "redis-cli INFO persistence",
		    "the server is loading its data");
}

static void
check_sentinel(struct checking *checking)
{
	struct err err = ERR_INIT;
	int64_t count;

	if (redis_sentinels(checking->conn, &count, &err) < 0) {
		checking_add(checking, CHECK_NOTE, "sentinel", checking->sql,
		    "cannot tell whether a Sentinel watches: %s", err.msg);
		return;
	}
	if (count > 0)
		checking_add(checking, CHECK_NOTE, "sentinel",
		    "Before a restore over the network: redis-cli -p 26379 SENTINEL REMOVE MASTER, "
		    "and afterwards SENTINEL MONITOR MASTER HOST PORT QUORUM",
		    "%lld Sentinels watch it: they elect another master when it looks away for "
		    "long",
		    (long long)count);
}

/* "calls=12,usec=..." */
static uint64_t
calls_of(const struct str *stats, const char *field)
{
	SCOPED(freep) char *text = redis_info_get(stats, field);
	uint64_t calls = 0;

	if (str_starts_with(text != NULL ? text : "", "calls="))
		calls = strtoull(text + 6, NULL, 10);

	return calls;
}

static void
check_wait(struct checking *checking)
{
	const char *const words[] = { "INFO", "commandstats", NULL };
	SCOPED(str_done) struct str stats = STR_INIT;
	struct err ignored = ERR_INIT;
	struct resp_value value;
	uint64_t calls;

	if (redis_command(checking->conn, words, &value, &ignored) < 0)
		return;
	if (value.text != NULL)
		str_add_bytes(&stats, value.text, value.size);
	resp_value_done(&value);
	calls = calls_of(&stats, "cmdstat_wait");
	if (calls > 0)
		checking_add(checking, CHECK_NOTE, "wait_users", NULL,
		    "clients have called WAIT %" PRIu64 " times: it counts replicas, and never a "
		    "backup",
		    calls);
}

static void
check_min_replicas(struct checking *checking)
{
	struct err ignored = ERR_INIT;
	SCOPED(freep)
	char *wanted = redis_setting(checking->conn, "min-replicas-to-write", &ignored);
	uint64_t count = 0;

	if (wanted == NULL || parse_u64(wanted, 1, UINT32_MAX, &count, &ignored) < 0)
		return;
	checking_add(checking, CHECK_WARNING, "min_replicas",
	    "redis-cli CONFIG SET min-replicas-to-write 0, or one more than replicas must be there",
	    "writes need %" PRIu64 " replicas, and a backup that stays attached would be counted "
	    "as one although it serves nobody",
	    count);
}

void
check_company(struct checking *checking)
{
	if (redis_info_number(&checking->info, "cluster_enabled") != 0)
		checking_add(checking, CHECK_NOTE, "cluster",
		    "redis-cli CLUSTER NODES, then a source for each master",
		    "a node of a cluster: it holds a part of the data");
	check_sentinel(checking);
	check_wait(checking);
	check_min_replicas(checking);
}
