/* How we come to the server: encryption, password, version, rights. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "source/redis/check/check_internal.h"
#include "source/redis/ready.h"

enum { MAJOR_MIN = 5 };

void
check_link(struct checking *checking)
{
	const struct redis *redis = checking->redis;

	checking->is_local = redis->host[0] == '/' || str_equals(redis->host, "localhost") ||
	    str_starts_with(redis->host, "127.") || str_equals(redis->host, "::1");
	if (redis->security != CHANNEL_PLAIN)
		checking_add(checking, CHECK_OK, "encryption", NULL, "TLS");
	else if (!checking->is_local)
		checking_add(checking, CHECK_NOTE, "encryption",
		    "Set sslmode: verify-full if the server has a TLS port.",
		    "data and password cross the network in the clear");
	if (redis->password != NULL)
		checking_add(checking, CHECK_OK, "auth", NULL, "logged in as '%s'",
		    redis->user != NULL ? redis->user : "default");
	else
		checking_add(checking, checking->is_local ? CHECK_NOTE : CHECK_WARNING, "auth",
		    "redis-cli CONFIG SET requirepass PASSWORD",
		    "no password is asked: whoever reaches the port reads and changes all data");
}

void
check_version(struct checking *checking)
{
	const char *family;
	SCOPED(freep) char *version = redis_info_version(&checking->info, &family);
	bool is_old = str_equals(family, "redis") && strtol(version, NULL, 10) < MAJOR_MIN;

	checking_add(checking, is_old ? CHECK_WARNING : CHECK_OK, "version",
	    is_old ? "Upgrade the server: its files are not tested." : NULL, "%s %s", family,
	    version);
}

static void
check_replication_right(struct checking *checking)
{
	struct err err = ERR_INIT;

	if (redis_may_copy(checking->redis, &err) == 0)
		checking_add(checking, CHECK_OK, "replication_right", NULL,
		    "the user may ask for a copy of the data, as a replica does");
	else if (err.kind == ERR_UNSUPPORTED)
		checking_add(checking, CHECK_FAILED, "replication_right",
		    "Take rename-command for PSYNC and REPLCONF out of the server's "
		    "configuration; if it is a managed service, use the service's own export.",
		    "the server hides the commands of replication: %s", err.msg);
	else if (err.kind == ERR_BUSY)
		checking_add(checking, CHECK_WARNING, "replication_right",
		    "redis-cli INFO replication", "no copy can be had now: %s", err.msg);
	else
		checking_add(checking, CHECK_FAILED, "replication_right",
		    err.kind == ERR_AUTH ? checking->sql : NULL, "%s", err.msg);
}

void
check_rights(struct checking *checking)
{
	struct err missing = ERR_INIT;

	check_replication_right(checking);
	SCOPED(freep) char *dir = redis_setting(checking->conn, "dir", &missing);
	if (dir == NULL)
		checking_add(checking, CHECK_WARNING, "settings_right", checking->sql,
		    "settings cannot be looked at, nor saved with the backup: %s", missing.msg);
	else
		checking_add(checking, CHECK_OK, "settings_right", NULL,
		    "settings can be saved with the backup");
}
