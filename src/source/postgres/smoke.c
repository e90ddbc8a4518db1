#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "source/postgres/postgres_internal.h"

enum { SQL_SHOWN = 60 };

/* Does the answer say yes: something that is not nothing. */
static bool
is_positive(const char *value)
{
	static const char *const nothings[] = { "", "0", "f", "false" };

	for (size_t i = 0; i < ARRAY_SIZE(nothings); i++) {
		if (strcmp(value, nothings[i]) == 0)
			return false;
	}

	return true;
}

static int
judge(const struct smoke_query *query, const PGresult *result, struct verify_report *report,
    struct err *err)
{
	bool has_row = libpq.PQntuples(result) > 0 && libpq.PQnfields(result) > 0;
	const char *value = has_row ? libpq.PQgetvalue(result, 0, 0) : "";
	bool is_good = query->expect != NULL ? has_row && strcmp(value, query->expect) == 0
					     : is_positive(value);

	if (!is_good)
		return err_set(err, ERR_MISMATCH, "smoke query '%.*s' gives '%.80s'%s%.80s%s",
		    SQL_SHOWN, query->sql, has_row ? value : "no row",
		    query->expect != NULL ? ", expected '" : "",
		    query->expect != NULL ? query->expect : "", query->expect != NULL ? "'" : "");
	vec_push(&report->notes,
	    xasprintf("smoke query '%.*s': %.80s", SQL_SHOWN, query->sql, value));

	return 0;
}

static int
run_query(const struct postgres *server, const struct smoke_query *query,
    const char *default_database, struct verify_report *report, struct err *err)
{
	const char *database = query->database != NULL ? query->database : default_database;

	SCOPED(pg_conn_freep) PGconn *conn = pg_connect(server, database, PG_SQL, err);
	if (conn == NULL)
		return -1;
	/* As the application would see it, but without leave to change anything. */
	if (pg_execute(conn, "RESET search_path; SET default_transaction_read_only = on", err) < 0)
		return -1;
	SCOPED(pg_result_freep) PGresult *result = pg_query(conn, query->sql, err);
	if (result != NULL)
		return judge(query, result, report, err);

	/* A query that the restored database cannot answer is the finding we are here for. */
	if (err->kind == ERR_PEER || err->kind == ERR_DATA || err->kind == ERR_NOT_FOUND)
		err->kind = ERR_MISMATCH;

	return err_wrap(err, "smoke query");
}

int
pg_smoke_run(const struct postgres *server, const struct verify_request *request,
    const char *default_database, struct verify_report *report, struct err *err)
{
	for (size_t i = 0; i < request->smoke_count; i++) {
		if (run_query(server, &request->smoke[i], default_database, report, err) < 0)
			return -1;
	}

	return 0;
}
