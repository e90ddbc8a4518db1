/* `check` of a Redis server, and the rule that gives a user what a backup needs. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "source/redis/redis_internal.h"

enum { MAJOR_MIN = 5, REPL_TIMEOUT_MIN_S = 30 };

static const char rule[] = "resetkeys -@all +ping +replconf +psync +info +time +config|get "
			   "+acl|list +module|list";

/* A user of its own reads everything all the same: a copy of the data passes key patterns by. */
char *
redis_setup_acl(const struct redis *redis)
{
	return xasprintf("# Type this in redis-cli, with a password of your own, then ACL SAVE "
			 "or CONFIG REWRITE.\n"
			 "# The user can read all data, as a replica does, and change none.\n"
			 "ACL SETUSER %s on '>PASSWORD' %s\n",
	    redis->user != NULL ? redis->user : "blackstart", rule);
}

static void
check_version(const struct str *info, struct check_report *report)
{
	const char *family;
	SCOPED(freep) char *version = redis_info_version(info, &family);
	bool is_old = str_equals(family, "redis") && strtol(version, NULL, 10) < MAJOR_MIN;

	check_report_add(report, is_old ? CHECK_WARNING : CHECK_OK, "version",
	    is_old ? "Upgrade the server: its files are not tested." : NULL, "%s %s", family,
	    version);
}

/* PSYNC itself would make the server fork, so only its beginning is tried. */
static void
check_rights(struct redis_conn *conn, struct check_report *report)
{
	struct err err = ERR_INIT;
	struct err missing = ERR_INIT;

	if (redis_execute(conn, (const char *const[]){ "REPLCONF", "capa", "eof", NULL }, &err) < 0)
		check_report_add(report, CHECK_FAILED, "replication_right",
		    "blackstart check SOURCE --sql", "%s", err.msg);
	else
		check_report_add(report, CHECK_OK, "replication_right", NULL,
		    "the user may speak as a replica");
	SCOPED(freep) char *dir = redis_setting(conn, "dir", &missing);
	if (dir == NULL)
		check_report_add(report, CHECK_WARNING, "settings_right",
		    "blackstart check SOURCE --sql", "settings cannot be saved with the backup: %s",
		    missing.msg);
}

static void
check_role(const struct str *info, struct check_report *report)
{
	SCOPED(freep) char *role = redis_info_get(info, "role");
	SCOPED(freep) char *link = redis_info_get(info, "master_link_status");

	if (!str_equals(role, "slave"))
		check_report_add(report, CHECK_OK, "role", NULL,
		    "a master with %" PRIu64 " replicas",
		    redis_info_number(info, "connected_slaves"));
	else if (str_equals(link, "up"))
		check_report_add(report, CHECK_OK, "role", NULL,
		    "a replica, in touch with its master");
	else
		check_report_add(report, CHECK_FAILED, "role", "redis-cli INFO replication",
		    "a replica that has lost its master: it gives no copy of its data");
	if (redis_info_number(info, "loading") != 0)
		check_report_add(report, CHECK_FAILED, "loading", NULL,
		    "the server is loading its data");
	if (redis_info_number(info, "cluster_enabled") != 0)
		check_report_add(report, CHECK_NOTE, "cluster", NULL,
		    "a node of a cluster: each master needs a source of its own");
}

static void
check_persistence(const struct str *info, struct check_report *report)
{
	SCOPED(freep) char *saved = redis_info_get(info, "rdb_last_bgsave_status");
	SCOPED(freep) char *written = redis_info_get(info, "aof_last_write_status");
	bool is_good = !str_equals(saved, "err") && !str_equals(written, "err");

	check_report_add(report, is_good ? CHECK_OK : CHECK_WARNING, "persistence",
	    is_good ? NULL : "Look into the server's log: it cannot write its own files.",
	    "appendonly %s, last save %s, last AOF write %s",
	    redis_info_number(info, "aof_enabled") != 0 ? "yes" : "no",
	    saved != NULL ? saved : "not known", written != NULL ? written : "not known");
}

/* The picture is taken by a fork: pages that change meanwhile exist twice. */
static void
check_memory(const struct str *info, struct check_report *report)
{
	uint64_t used = redis_info_number(info, "used_memory");
	uint64_t total = redis_info_number(info, "total_system_memory");
	char used_text[32], total_text[32];
	bool is_tight = total > 0 && used > total / 2;

	if (total == 0)
		return;
	check_report_add(report, is_tight ? CHECK_WARNING : CHECK_OK, "memory",
	    is_tight ? "sysctl vm.overcommit_memory=1" : NULL, "%s of data on a machine with %s%s",
	    format_bytes(used, used_text), format_bytes(total, total_text),
	    is_tight ? ": while a backup is taken, up to twice that may be needed" : "");
}

static void
check_settings(struct redis_conn *conn, struct check_report *report)
{
	struct err ignored = ERR_INIT;
	SCOPED(freep) char *timeout = redis_setting(conn, "repl-timeout", &ignored);
	SCOPED(freep) char *replicas = redis_setting(conn, "min-replicas-to-write", &ignored);
	SCOPED(freep) char *backlog = redis_setting(conn, "repl-backlog-size", &ignored);
	unsigned seconds;

	if (timeout != NULL && parse_unsigned(timeout, 0, 1000000, &seconds, &ignored) == 0)
		check_report_add(report, seconds < REPL_TIMEOUT_MIN_S ? CHECK_WARNING : CHECK_OK,
		    "repl_timeout",
		    seconds < REPL_TIMEOUT_MIN_S ? "redis-cli CONFIG SET repl-timeout 60" : NULL,
		    "a copy may be still for %u s", seconds);
	if (replicas != NULL && replicas[0] != '\0' && !str_equals(replicas, "0"))
		check_report_add(report, CHECK_NOTE, "min_replicas", NULL,
		    "writes need %s replicas; a backup does not count as one", replicas);
	if (backlog != NULL && backlog[0] != '\0')
		check_report_add(report, CHECK_NOTE, "backlog", NULL, "%s bytes", backlog);
}

static void
check_link(const struct redis *redis, struct check_report *report)
{
	bool is_local = redis->host[0] == '/' || str_equals(redis->host, "localhost") ||
	    str_starts_with(redis->host, "127.") || str_equals(redis->host, "::1");

	if (redis->security != CHANNEL_PLAIN)
		check_report_add(report, CHECK_OK, "encryption", NULL, "TLS");
	else if (!is_local)
		check_report_add(report, CHECK_NOTE, "encryption",
		    "Set sslmode: verify-full if the server has a TLS port.",
		    "data and password cross the network in the clear");
}

int
redis_check(struct redis *redis, struct check_report *report, struct err *err)
{
	SCOPED(str_done) struct str info = STR_INIT;

	SCOPED(redis_conn_freep) struct redis_conn *conn = redis_conn_open(redis, err);
	if (conn == NULL)
		return -1;
	check_report_add(report, CHECK_OK, "reachable", NULL, "%s:%u answers", redis->host,
	    redis->port);
	check_link(redis, report);
	if (redis_info(conn, &info, err) < 0) {
		check_report_add(report, CHECK_FAILED, "info_right",
		    "blackstart check SOURCE --sql", "%s", err->msg);
		return 0;
	}
	check_version(&info, report);
	check_rights(conn, report);
	check_role(&info, report);
	check_persistence(&info, report);
	check_memory(&info, report);
	check_settings(conn, report);

	return 0;
}
