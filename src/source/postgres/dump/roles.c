#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "repo/manifest.h"
#include "source/postgres/dump/dump_internal.h"
#include "source/postgres/dump/roles_internal.h"
#include "stream/links.h"
#include "stream/sink.h"

enum { ROLES_MAX = 100000 };

int
dump_globals_read(const struct backup_view *view, struct str *to, bool *ret_has_globals,
    struct err *err)
{
	const struct manifest_file *file = dump_find_part(view->manifest, "globals.sql");

	*ret_has_globals = file != NULL;
	if (file == NULL)
		return 0;
	SCOPED(sink_freep) struct sink *sink = str_sink_new(to);
	if (view->read(view, file, sink, err) < 0 || sink_finish(sink, err) < 0)
		return err_wrap(err, "roles of the backup");

	return 0;
}

/* ---- which are missing --------------------------------------------------------------------------- */

static bool
role_exists(PGconn *conn, const char *name, bool *ret_exists, struct err *err)
{
	const char *params[] = { name };

	SCOPED(pg_result_freep)
	PGresult *result = pg_query_params(conn, "SELECT 1 FROM pg_roles WHERE rolname = $1",
	    params, 1, err);
	if (result == NULL)
		return false;
	*ret_exists = libpq.PQntuples(result) > 0;

	return true;
}

static int
note_missing(PGconn *conn, struct dump_roles *roles, const char *name, struct err *err)
{
	bool exists = false;

	if (roles->missing.count >= ROLES_MAX)
		return err_set(err, ERR_LIMIT, "the backup has more than %d roles", ROLES_MAX);
	if (!role_exists(conn, name, &exists, err))
		return -1;
	if (!exists)
		vec_push(&roles->missing, xstrdup(name));

	return 0;
}

int
dump_roles_missing(PGconn *conn, const char *sql, struct dump_roles *roles, struct err *err)
{
	const char *at = sql;
	const char *text;
	size_t size;

	*roles = (struct dump_roles){ .created = 0 };
	while (roles_next_statement(&at, &text, &size)) {
		SCOPED(str_done) struct str name = STR_INIT;

		if (roles_classify(text, size, &name) == ROLES_CREATE &&
		    note_missing(conn, roles, str_text(&name), err) < 0)
			return -1;
	}

	return 0;
}

/* ---- making them ------------------------------------------------------------------------------------ */

static bool
is_missing(const struct dump_roles *roles, const char *name)
{
	for (size_t i = 0; i < roles->missing.count; i++) {
		if (strcmp(roles->missing.items[i], name) == 0)
			return true;
	}

	return false;
}

static int
run_statement(PGconn *conn, const char *text, size_t size, struct err *err)
{
	SCOPED(freep) char *sql = xstrndup(text, size);

	return pg_execute(conn, sql, err);
}

/* One failure does not stop the others: settings may name what this server does not have. */
static int
apply(PGconn *conn, struct dump_roles *roles, enum roles_statement kind, const char *text,
    size_t size, struct err *err)
{
	struct err failure = ERR_INIT;

	if (run_statement(conn, text, size, &failure) == 0) {
		roles->created += kind == ROLES_CREATE ? 1 : 0;
		return 0;
	}
	if (kind == ROLES_GRANT) {
		size_t shorter = roles_without_grantor(text, size);

		if (shorter < size && run_statement(conn, text, shorter, &failure) == 0)
			return 0;
	}
	if (failure.kind == ERR_CANCELLED || failure.kind == ERR_NET || kind == ROLES_CREATE) {
		*err = failure;
		return err_wrap(err, "cannot make the roles of the backup");
	}
	if (roles->failed++ == 0)
		(void)snprintf(roles->first_failure, sizeof(roles->first_failure), "%s",
		    failure.msg);

	return 0;
}

int
dump_roles_create(PGconn *conn, const char *sql, struct dump_roles *roles, struct err *err)
{
	const char *at = sql;
	const char *text;
	size_t size;

	while (roles_next_statement(&at, &text, &size)) {
		SCOPED(str_done) struct str name = STR_INIT;
		enum roles_statement kind = roles_classify(text, size, &name);

		if (kind == ROLES_OTHER || !is_missing(roles, str_text(&name)))
			continue;
		if (apply(conn, roles, kind, text, size, err) < 0)
			return -1;
	}

	return 0;
}

void
dump_roles_done(struct dump_roles *roles)
{
	for (size_t i = 0; i < roles->missing.count; i++)
		free(roles->missing.items[i]);
	vec_done(&roles->missing);
}
