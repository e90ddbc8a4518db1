#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "source/postgres/check/check_internal.h"

enum { SENDERS_WANTED = 2 /* a base backup and a stream */ };

/* A setting with two good or bad values, and what to do about the bad ones. */
struct rule {
	const char *setting;
	const char *bad;
	enum check_result result;
	const char *text; /* of the bad value */
	const char *fix;
};

static const struct rule rules[] = {
	{ "wal_level", "minimal", CHECK_FAILED,
	    "'minimal' allows dumps only, no base backups and no recovery to a point in time",
	    "ALTER SYSTEM SET wal_level = 'replica'; then restart the server." },
	{ "fsync", "off", CHECK_FAILED, "'off': a crash of the server's machine destroys the data",
	    "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf();" },
	{ "full_page_writes", "off", CHECK_FAILED,
	    "'off': base backups may hold torn pages, and a crash may destroy data",
	    "ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf();" },
	{ "data_checksums", "off", CHECK_NOTE,
	    "'off': a disk that silently changes bits is not noticed",
	    "In a maintenance window, server stopped: pg_checksums --enable -D DATADIR" },
};

static int
check_rule(struct checking *checking, const struct rule *rule, struct err *err)
{
	SCOPED(freep) char *sql = xasprintf("SHOW %s", rule->setting);
	bool is_cancelled;

	SCOPED(pg_result_freep)
	PGresult *result = check_ask(checking, rule->setting, sql, &is_cancelled, err);
	if (result == NULL)
		return is_cancelled ? -1 : 0;
	if (strcmp(libpq.PQgetvalue(result, 0, 0), rule->bad) == 0)
		check_report_add(checking->report, rule->result, rule->setting, rule->fix, "%s",
		    rule->text);
	else
		check_report_add(checking->report, CHECK_OK, rule->setting, NULL, "%s",
		    libpq.PQgetvalue(result, 0, 0));

	return 0;
}

static int
check_senders(struct checking *checking, struct err *err)
{
	int64_t free_senders = 0;
	bool is_cancelled;

	SCOPED(pg_result_freep)
	PGresult *result = check_ask(checking, "max_wal_senders",
	    "SELECT current_setting('max_wal_senders')::int - (SELECT count(*) "
	    " FROM pg_stat_activity WHERE backend_type = 'walsender')",
	    &is_cancelled, err);
	if (result == NULL)
		return is_cancelled ? -1 : 0;
	if (parse_i64(libpq.PQgetvalue(result, 0, 0), INT32_MIN, INT32_MAX, &free_senders, err) < 0)
		return -1;
	if (free_senders < SENDERS_WANTED)
		check_report_add(checking->report, free_senders < 1 ? CHECK_FAILED : CHECK_WARNING,
		    "max_wal_senders",
		    "ALTER SYSTEM SET max_wal_senders = 10; then restart the server.",
		    "%lld free; a base backup and a WAL stream need %d", (long long)free_senders,
		    SENDERS_WANTED);
	else
		check_report_add(checking->report, CHECK_OK, "max_wal_senders", NULL, "%lld free",
		    (long long)free_senders);

	return 0;
}

static const char archiving_sql[] =
    "SELECT current_setting('archive_mode'), s.failed_count, "
    " coalesce(s.last_failed_time > coalesce(s.last_archived_time, '-infinity'), false), "
    " coalesce(s.last_failed_wal, '') FROM pg_stat_archiver s";

static int
check_archiving(struct checking *checking, struct err *err)
{
	bool is_cancelled;

	SCOPED(pg_result_freep)
	PGresult *result = check_ask(checking, "archiving", archiving_sql, &is_cancelled, err);
	if (result == NULL)
		return is_cancelled ? -1 : 0;
	if (strcmp(libpq.PQgetvalue(result, 0, 0), "off") == 0)
		check_report_add(checking->report, CHECK_NOTE, "archiving", NULL,
		    "archive_mode is off; base backups carry the WAL they need themselves");
	else if (libpq.PQgetvalue(result, 0, 2)[0] == 't')
		check_report_add(checking->report, CHECK_FAILED, "archiving",
		    "Look into the server's log for the archive_command; pg_wal grows until it works.",
		    "archiving fails since segment %s (%s failures)",
		    libpq.PQgetvalue(result, 0, 3), libpq.PQgetvalue(result, 0, 1));
	else
		check_report_add(checking->report, CHECK_OK, "archiving", NULL,
		    "on, no failure is open");

	return 0;
}

static int
check_standbys(struct checking *checking, struct err *err)
{
	bool is_cancelled;

	SCOPED(pg_result_freep)
	PGresult *result = check_ask(checking, "sync_standbys",
	    "SELECT current_setting('synchronous_standby_names'), "
	    " current_setting('wal_sender_timeout'), pg_is_in_recovery()",
	    &is_cancelled, err);
	if (result == NULL)
		return is_cancelled ? -1 : 0;
	if (libpq.PQgetvalue(result, 0, 0)[0] != '\0')
		check_report_add(checking->report, CHECK_NOTE, "sync_standbys", NULL,
		    "synchronous_standby_names is '%s'; a restored server is started without it",
		    libpq.PQgetvalue(result, 0, 0));
	if (strcmp(libpq.PQgetvalue(result, 0, 1), "0") == 0)
		check_report_add(checking->report, CHECK_NOTE, "wal_sender_timeout",
		    "ALTER SYSTEM SET wal_sender_timeout = '60s'; SELECT pg_reload_conf();",
		    "0: the server never notices a receiver that is gone");
	else
		check_report_add(checking->report, CHECK_OK, "wal_sender_timeout", NULL, "%s",
		    libpq.PQgetvalue(result, 0, 1));
	if (libpq.PQgetvalue(result, 0, 2)[0] == 't')
		check_report_add(checking->report, CHECK_WARNING, "standby",
		    "Name the primary as host.",
		    "the server is a standby: unlogged tables are dumped empty, and a promotion breaks a "
		    "backup that runs");

	return 0;
}

int
check_settings(struct checking *checking, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		if (check_rule(checking, &rules[i], err) < 0)
			return -1;
	}
	if (check_senders(checking, err) < 0 || check_archiving(checking, err) < 0)
		return -1;

	return check_standbys(checking, err);
}
