#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "source/postgres/check/check_internal.h"

enum {
	OLDEST_MAJOR = 13,
	NEWEST_MAJOR = 18,
	CLOCK_SKEW_MAX_US = 2 * 1000 * 1000,
	VERSION_READ_ALL = 140000, /* pg_read_all_data */
};

static void
check_tls(struct checking *checking)
{
	const char *host = checking->pg->host;

	if (libpq.PQsslInUse(checking->conn) != 0)
		check_report_add(checking->report, CHECK_OK, "tls", NULL, "%s",
		    libpq.PQsslAttribute(checking->conn, "protocol"));
	else if (host[0] == '/')
		check_report_add(checking->report, CHECK_OK, "tls", NULL,
		    "not needed on a local socket");
	else if (strcmp(host, "localhost") == 0 || str_starts_with(host, "127.") ||
	    strcmp(host, "::1") == 0)
		check_report_add(checking->report, CHECK_NOTE, "tls", NULL,
		    "off, on this machine's own interface");
	else
		check_report_add(checking->report, CHECK_WARNING, "tls",
		    "Set 'ssl = on' with a certificate on the server and 'sslmode: verify-full' here.",
		    "the connection is not encrypted: data and the password's proof cross the network");
}

static void
check_version(struct checking *checking)
{
	int major = checking->version / 10000;
	SCOPED(freep) char *text = pg_version_text(checking->version);

	if (major < OLDEST_MAJOR)
		check_report_add(checking->report, CHECK_FAILED, "server_version",
		    "Upgrade the server: the oldest supported is PostgreSQL 13.", "PostgreSQL %s",
		    text);
	else if (major > NEWEST_MAJOR)
		check_report_add(checking->report, CHECK_WARNING, "server_version",
		    "Look for a newer blackstart, and verify every backup.",
		    "PostgreSQL %s is newer than this program has been tested with (%d)", text,
		    NEWEST_MAJOR);
	else
		check_report_add(checking->report, CHECK_OK, "server_version", NULL,
		    "PostgreSQL %s", text);
}

/* A pooler makes up its own process number for the client. */
static int
check_pooler(struct checking *checking, struct err *err)
{
	bool is_cancelled;
	uint64_t pid = 0;

	SCOPED(pg_result_freep)
	PGresult *result = check_ask(checking, "pooler", "SELECT pg_backend_pid()", &is_cancelled,
	    err);
	if (result == NULL)
		return is_cancelled ? -1 : 0;
	if (parse_u64(libpq.PQgetvalue(result, 0, 0), 0, UINT32_MAX, &pid, err) < 0)
		return -1;
	if ((uint64_t)libpq.PQbackendPID(checking->conn) == pid)
		check_report_add(checking->report, CHECK_OK, "pooler", NULL, "connected directly");
	else
		check_report_add(checking->report, CHECK_FAILED, "pooler",
		    "Set host and port to the server itself, not to the pooler.",
		    "a connection pooler stands in between; snapshots and replication do not pass it");

	return 0;
}

static int
check_clock(struct checking *checking, struct err *err)
{
	struct wall_time before = clock_wall();
	int64_t server_us = 0;
	int64_t skew_us;
	bool is_cancelled;
	char text[CLOCK_TEXT_SIZE];

	SCOPED(pg_result_freep)
	PGresult *result = check_ask(checking, "clock",
	    "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint", &is_cancelled, err);
	if (result == NULL)
		return is_cancelled ? -1 : 0;
	if (parse_i64(libpq.PQgetvalue(result, 0, 0), 0, INT64_MAX, &server_us, err) < 0)
		return -1;
	skew_us = server_us - before.us / 2 - clock_wall().us / 2;
	if (skew_us < 0)
		skew_us = -skew_us;
	(void)clock_format_duration(skew_us, text);
	if (skew_us > CLOCK_SKEW_MAX_US)
		check_report_add(checking->report, CHECK_WARNING, "clock",
		    "Let both machines take their time from the same source: timedatectl set-ntp true",
		    "the server's clock and ours are %s apart; recovery to a point in time goes by the "
		    "server's",
		    text);
	else
		check_report_add(checking->report, CHECK_OK, "clock", NULL, "%s apart", text);

	return 0;
}

/* ---- the role --------------------------------------------------------------------------------------- */

static const char role_sql[] = "SELECT rolsuper, rolreplication, rolbypassrls, "
			       " pg_has_role(current_user, 'pg_monitor', 'USAGE') "
			       "FROM pg_roles WHERE rolname = current_user";

static const char read_all_sql[] = "SELECT pg_has_role(current_user, 'pg_read_all_data', 'USAGE')";

static bool
is_true(const PGresult *result, int column)
{
	return libpq.PQntuples(result) > 0 && libpq.PQgetvalue(result, 0, column)[0] == 't';
}

static int
check_reading(struct checking *checking, struct err *err)
{
	bool is_cancelled;

	if (checking->is_superuser || checking->version < VERSION_READ_ALL)
		return 0;
	SCOPED(pg_result_freep)
	PGresult *result = check_ask(checking, "role_reads_all", read_all_sql, &is_cancelled, err);
	if (result == NULL)
		return is_cancelled ? -1 : 0;
	if (is_true(result, 0))
		check_report_add(checking->report, CHECK_OK, "role_reads_all", NULL,
		    "the role may read every table");
	else
		check_report_add(checking->report, CHECK_WARNING, "role_reads_all",
		    "blackstart check --sql prints: GRANT pg_read_all_data TO the role.",
		    "the role is not in pg_read_all_data: a dump fails at the first table it may not read");

	return 0;
}

static int
check_role(struct checking *checking, struct err *err)
{
	bool is_cancelled;

	SCOPED(pg_result_freep)
	PGresult *result = check_ask(checking, "role", role_sql, &is_cancelled, err);
	if (result == NULL)
		return is_cancelled ? -1 : 0;
	checking->is_superuser = is_true(result, 0);
	checking->has_replication = checking->is_superuser || is_true(result, 1);
	if (checking->is_superuser)
		check_report_add(checking->report, CHECK_NOTE, "role",
		    "blackstart check --sql prints the statements for roles with fewer rights.",
		    "'%s' is a superuser: everything works, and its password opens everything",
		    checking->pg->user);
	else
		check_report_add(checking->report, CHECK_OK, "role", NULL, "'%s':%s%s%s",
		    checking->pg->user, is_true(result, 1) ? " REPLICATION" : "",
		    is_true(result, 2) ? " BYPASSRLS" : "",
		    is_true(result, 3) ? " pg_monitor" : "");
	if (!checking->has_replication)
		check_report_add(checking->report, CHECK_WARNING, "role_replication",
		    "blackstart check --sql prints: ALTER ROLE ... REPLICATION.",
		    "the role may not replicate: dumps only, no base backups");

	return check_reading(checking, err);
}

int
check_session(struct checking *checking, struct err *err)
{
	check_tls(checking);
	check_version(checking);
	if (check_pooler(checking, err) < 0 || check_clock(checking, err) < 0)
		return -1;

	return check_role(checking, err);
}
