/* What a receiver of WAL needs of the server, and what it does to it while it is away. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "source/postgres/check/check_internal.h"

static const char slots_sql[] =
    "SELECT slot_name, active, coalesce(wal_status, ''), "
    " coalesce(pg_size_pretty(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() "
    "  THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END, restart_lsn)), 'no WAL') "
    "FROM pg_replication_slots WHERE slot_type = 'physical' ORDER BY slot_name LIMIT 20";

static void
report_slot(struct checking *checking, const char *name, bool is_active, const char *status,
    const char *held)
{
	SCOPED(freep)
	char *drop = xasprintf(
	    "Start what uses it ('blackstart run JOB'); if nothing does: SELECT pg_drop_replication_slot('%s');",
	    name);

	if (str_equals(status, "lost"))
		check_report_add(checking->report, CHECK_FAILED, "replication_slot",
		    "The receiver makes it again when it connects; then make a base backup, since WAL is missing.",
		    "slot '%s' is lost: the server removed WAL that it was to hold back", name);
	else if (str_equals(status, "unreserved"))
		check_report_add(checking->report, CHECK_WARNING, "replication_slot", drop,
		    "slot '%s' is about to be lost: it is %s behind, more than max_slot_wal_keep_size",
		    name, held);
	else if (!is_active)
		check_report_add(checking->report, CHECK_WARNING, "replication_slot", drop,
		    "slot '%s' holds back %s, and nobody receives it: pg_wal grows", name, held);
	else
		check_report_add(checking->report, CHECK_OK, "replication_slot", NULL,
		    "slot '%s' is in use, %s behind", name, held);
}

static int
check_slots(struct checking *checking, int *ret_count, struct err *err)
{
	bool is_cancelled;

	SCOPED(pg_result_freep)
	PGresult *result = check_ask(checking, "replication_slot", slots_sql, &is_cancelled, err);
	if (result == NULL)
		return is_cancelled ? -1 : 0;
	*ret_count = libpq.PQntuples(result);
	for (int i = 0; i < *ret_count; i++)
		report_slot(checking, libpq.PQgetvalue(result, i, 0),
		    libpq.PQgetvalue(result, i, 1)[0] == 't', libpq.PQgetvalue(result, i, 2),
		    libpq.PQgetvalue(result, i, 3));

	return 0;
}

/* Both ways are dangerous, and only the operator can choose. */
static int
check_slot_limit(struct checking *checking, int slots, struct err *err)
{
	bool is_cancelled;

	SCOPED(pg_result_freep)
	PGresult *result = check_ask(checking, "max_slot_wal_keep_size",
	    "SHOW max_slot_wal_keep_size", &is_cancelled, err);
	if (result == NULL)
		return is_cancelled ? -1 : 0;
	if (strcmp(libpq.PQgetvalue(result, 0, 0), "-1") == 0)
		check_report_add(checking->report, slots > 0 ? CHECK_WARNING : CHECK_NOTE,
		    "max_slot_wal_keep_size",
		    "ALTER SYSTEM SET max_slot_wal_keep_size = '20GB'; SELECT pg_reload_conf(); (less than is free for pg_wal)",
		    "no limit: while the receiver is away, WAL fills the server's disk until it stops");
	else
		check_report_add(checking->report, CHECK_OK, "max_slot_wal_keep_size", NULL,
		    "%s: a receiver that is away for longer than that lasts loses WAL",
		    libpq.PQgetvalue(result, 0, 0));

	return 0;
}

static int
check_free_slots(struct checking *checking, int slots, struct err *err)
{
	bool is_cancelled;

	if (slots > 0)
		return 0;
	SCOPED(pg_result_freep)
	PGresult *result = check_ask(checking, "max_replication_slots",
	    "SELECT current_setting('max_replication_slots')::int - count(*) "
	    "FROM pg_replication_slots",
	    &is_cancelled, err);
	if (result == NULL)
		return is_cancelled ? -1 : 0;
	if (libpq.PQgetvalue(result, 0, 0)[0] == '0' || libpq.PQgetvalue(result, 0, 0)[0] == '-')
		check_report_add(checking->report, CHECK_NOTE, "max_replication_slots",
		    "ALTER SYSTEM SET max_replication_slots = 10; then restart the server.",
		    "none is free: WAL cannot be streamed");

	return 0;
}

/* Who waits for whom: sync_state is shown to those who may read all statistics. */
static const char sync_sql[] =
    "SELECT current_setting('synchronous_standby_names'), "
    " current_setting('synchronous_commit'), "
    " pg_has_role(current_user, 'pg_read_all_stats', 'MEMBER') AND NOT pg_is_in_recovery(), "
    " (SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')), "
    " (SELECT string_agg(coalesce(d.datname, 'all databases') || ' / ' "
    "   || coalesce(r.rolname, 'all roles'), ', ') FROM pg_db_role_setting s "
    "  LEFT JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole "
    "  WHERE EXISTS (SELECT FROM unnest(s.setconfig) c WHERE c IN ('synchronous_commit=off', "
    "   'synchronous_commit=local')))";

static int
check_synchronous(struct checking *checking, struct err *err)
{
	bool is_cancelled;

	SCOPED(pg_result_freep)
	PGresult *result = check_ask(checking, "synchronous_commit", sync_sql, &is_cancelled, err);
	if (result == NULL)
		return is_cancelled ? -1 : 0;
	if (libpq.PQgetvalue(result, 0, 0)[0] == '\0') {
		check_report_add(checking->report, CHECK_NOTE, "synchronous_commit", NULL,
		    "commits wait for nobody: what was not yet sent is lost with the server (see 'Losing nothing' in docs/operations.md)");
		return 0;
	}
	if (libpq.PQgetvalue(result, 0, 2)[0] == 't' &&
	    strcmp(libpq.PQgetvalue(result, 0, 3), "0") == 0)
		check_report_add(checking->report, CHECK_FAILED, "synchronous_commit",
		    "Start the receiver ('blackstart run JOB'), or: ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf();",
		    "every commit waits: none of synchronous_standby_names ('%s') is connected",
		    libpq.PQgetvalue(result, 0, 0));
	else if (strcmp(libpq.PQgetvalue(result, 0, 1), "remote_apply") == 0)
		check_report_add(checking->report, CHECK_WARNING, "synchronous_commit",
		    "ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf();",
		    "'remote_apply': a commit that waits for blackstart never returns, because it applies nothing");
	else if (!libpq.PQgetisnull(result, 0, 4))
		check_report_add(checking->report, CHECK_NOTE, "synchronous_commit", NULL,
		    "commits of these wait for nobody: %s", libpq.PQgetvalue(result, 0, 4));
	else
		check_report_add(checking->report, CHECK_OK, "synchronous_commit", NULL,
		    "'%s', commits wait for '%s'", libpq.PQgetvalue(result, 0, 1),
		    libpq.PQgetvalue(result, 0, 0));

	return 0;
}

int
check_stream(struct checking *checking, struct err *err)
{
	int slots = 0;

	if (check_slots(checking, &slots, err) < 0 || check_slot_limit(checking, slots, err) < 0 ||
	    check_free_slots(checking, slots, err) < 0)
		return -1;

	return check_synchronous(checking, err);
}
