/* `check` of a Redis server, and the rule that gives a user what a backup needs. */
#include <poll.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/stop.h"
#include "source/redis/check/check_internal.h"

enum { SAMPLE_MS = 1000 };

static const char rule[] = "resetkeys -@all +ping +replconf +psync +info +config|get +acl|list "
			   "+module|list +pubsub|numsub +time";

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
checking_done(struct checking *checking)
{
	redis_conn_free(checking->conn);
	str_done(&checking->info);
	free(checking->sql);
}

/*
 * What clients write in a second.  The offset of replication counts it exactly, but stands still
 * while there never was a replica; then all that clients send is the best we know.
 */
static int
measure_writes(struct checking *checking, struct err *err)
{
	struct pollfd stop = { .fd = stop_fd(), .events = POLLIN };
	SCOPED(str_done) struct str later = STR_INIT;
	const char *field;
	uint64_t before, after;
	struct mono_time began = clock_mono();
	int64_t took_us;

	(void)poll(&stop, stop.fd >= 0 ? 1 : 0, SAMPLE_MS);
	if (stop_check(err) < 0 || redis_info(checking->conn, &later, err) < 0)
		return -1;
	took_us = clock_elapsed_us(began);
	checking->is_writes_exact = redis_info_number(&later, "repl_backlog_active") != 0;
	field = checking->is_writes_exact ? "master_repl_offset" : "total_net_input_bytes";
	before = redis_info_number(&checking->info, field);
	after = redis_info_number(&later, field);
	if (after > before && took_us > 0)
		checking->writes_bytes_per_s = (uint64_t)((double)(after - before) *
		    (double)US_PER_S / (double)took_us);

	return 0;
}

static int
begin(struct checking *checking, struct err *err)
{
	struct err failure = ERR_INIT;
	bool is_refused;

	checking->conn = redis_conn_open(checking->redis, &failure);
	if (checking->conn != NULL) {
		checking_add(checking, CHECK_OK, "reachable", NULL, "%s:%u answers",
		    checking->redis->host, checking->redis->port);
		return 0;
	}
	if (failure.kind == ERR_CANCELLED) {
		*err = failure;
		return -1;
	}
	is_refused = failure.kind == ERR_AUTH;
	if (is_refused)
		checking_add(checking, CHECK_OK, "reachable", NULL, "%s:%u answers",
		    checking->redis->host, checking->redis->port);
	checking_add(checking, CHECK_FAILED, is_refused ? "auth" : "reachable",
	    failure.hint[0] != '\0' ? failure.hint : NULL, "%s", failure.msg);

	return 0;
}

int
redis_check(struct redis *redis, struct check_report *report, struct err *err)
{
	SCOPED(checking_done)
	struct checking checking = {
		.redis = redis,
		.report = report,
		.info = STR_INIT,
		.sql = xasprintf("blackstart check %s --sql", redis->label),
	};

	if (begin(&checking, err) < 0)
		return -1;
	if (checking.conn == NULL)
		return 0;
	check_link(&checking);
	if (redis_info(checking.conn, &checking.info, err) < 0) {
		checking_add(&checking, CHECK_FAILED, "info_right", checking.sql, "%s", err->msg);
		return 0;
	}
	check_version(&checking);
	check_rights(&checking);
	check_role(&checking);
	check_company(&checking);
	check_keeping(&checking);
	if (measure_writes(&checking, err) < 0)
		return -1;
	check_memory(&checking);
	check_replication_limits(&checking);

	return 0;
}
