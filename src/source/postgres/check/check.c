#include "base/err.h"
#include "base/mem.h"
#include "source/postgres/check/check_internal.h"

PGresult *
check_ask(struct checking *checking, const char *name, const char *sql, bool *ret_is_cancelled,
    struct err *err)
{
	struct err failure = ERR_INIT;
	PGresult *result = pg_query(checking->conn, sql, &failure);

	*ret_is_cancelled = false;
	if (result != NULL)
		return result;
	if (failure.kind == ERR_CANCELLED) {
		*ret_is_cancelled = true;
		*err = failure;
		return NULL;
	}
	check_report_add(checking->report, CHECK_WARNING, name,
	    failure.hint[0] != '\0' ? failure.hint : NULL, "could not be looked at: %s",
	    failure.msg);

	return NULL;
}

static int
check_all(struct checking *checking, struct err *err)
{
	if (check_session(checking, err) < 0 || check_settings(checking, err) < 0 ||
	    check_replication(checking, err) < 0 || check_stream(checking, err) < 0 ||
	    check_content(checking, err) < 0)
		return -1;

	return check_tools(checking, err);
}

int
pg_check(struct postgres *pg, struct check_report *report, struct err *err)
{
	struct checking checking = { .pg = pg, .report = report };
	struct err failure = ERR_INIT;

	SCOPED(pg_conn_freep) PGconn *conn = pg_connect(pg, NULL, PG_SQL, &failure);
	if (conn == NULL) {
		if (failure.kind == ERR_CANCELLED) {
			*err = failure;
			return -1;
		}
		check_report_add(report, CHECK_FAILED, "reachable",
		    failure.hint[0] != '\0' ? failure.hint : NULL, "%s", failure.msg);
		return 0;
	}
	checking.conn = conn;
	checking.version = pg_server_version(conn);
	check_report_add(report, CHECK_OK, "reachable", NULL, "%s:%u as '%s'", pg->host, pg->port,
	    pg->user);

	return check_all(&checking, err);
}
