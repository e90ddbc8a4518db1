#include "source/postgres/dump/target_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "source/postgres/postgres_internal.h"

enum { NAME_MAX_BYTES = 63 };

/* "blackstart: restored from database 'web' of pg-daily-20251125-020000-7f3a" */
static const char incomplete_mark[] = "blackstart: restore not complete from database '";
static const char complete_mark[] = "blackstart: restored from database '";
static const char origin_end[] = "' of ";

/* ---- names --------------------------------------------------------------------------------------- */

char *
target_stamped(const char *database, const char *word)
{
	struct civil now = civil_from_unix_s(clock_wall().us / US_PER_S);
	SCOPED(freep)
	char *suffix = xasprintf("_%s_%04d%02d%02d_%02d%02d%02d", word, now.year, now.month,
	    now.day, now.hour, now.minute, now.second);
	size_t size = strlen(database);
	size_t room = NAME_MAX_BYTES - strlen(suffix);

	if (size > room) {
		size = room;
		/* Not in the middle of a UTF-8 character. */
		while (size > 0 && ((unsigned char)database[size] & 0xc0) == 0x80)
			size--;
	}

	return xasprintf("%.*s%s", (int)size, database, suffix);
}

char *
target_name(const char *database, const char *new_name)
{
	return new_name != NULL ? xstrdup(new_name) : target_stamped(database, "restored");
}

char *
target_word(const char *text)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789_.-/:@+,";
	struct str word = STR_INIT;

	if (text[0] != '\0' && text[strspn(text, plain)] == '\0')
		return xstrdup(text);
	str_add_char(&word, '\'');
	for (const char *c = text; *c != '\0'; c++) {
		if (*c == '\'')
			str_add(&word, "'\\'");
		str_add_char(&word, *c);
	}
	str_add_char(&word, '\'');

	return str_take(&word);
}

/* ---- the administration connection ------------------------------------------------------------------ */

PGconn *
target_admin(const struct postgres *pg, const char *avoid, const char *avoid_too, struct err *err)
{
	const char *const candidates[] = { pg->maintenance_database, "postgres", "template1" };
	struct err first = ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(candidates); i++) {
		struct err failure = ERR_INIT;
		PGconn *conn;

		if (str_equals(candidates[i], avoid) || str_equals(candidates[i], avoid_too))
			continue;
		conn = pg_connect(pg, candidates[i], PG_SQL, &failure);
		if (conn != NULL)
			return conn;
		if (first.kind == ERR_NONE)
			first = failure;
		if (failure.kind == ERR_CANCELLED)
			break;
	}
	*err = first;

	return NULL;
}

/* ---- the database ------------------------------------------------------------------------------------- */

int
target_exists(PGconn *conn, const char *name, bool *ret_exists, struct err *err)
{
	const char *params[] = { name };

	SCOPED(pg_result_freep)
	PGresult *result = pg_query_params(conn, "SELECT 1 FROM pg_database WHERE datname = $1",
	    params, 1, err);
	if (result == NULL)
		return -1;
	*ret_exists = libpq.PQntuples(result) > 0;

	return 0;
}

int
target_comment(PGconn *conn, const char *name, const char *text, struct err *err)
{
	SCOPED(str_done) struct str sql = STR_INIT;

	str_add(&sql, "COMMENT ON DATABASE ");
	pg_add_identifier(&sql, name);
	str_add(&sql, " IS ");
	if (text != NULL)
		pg_add_literal(&sql, text);
	else
		str_add(&sql, "NULL");

	return pg_execute(conn, str_text(&sql), err);
}

int
target_open_up(PGconn *conn, const char *name, struct err *err)
{
	SCOPED(str_done) struct str sql = STR_INIT;

	str_add(&sql, "ALTER DATABASE ");
	pg_add_identifier(&sql, name);
	str_add(&sql, " ALLOW_CONNECTIONS true CONNECTION LIMIT -1");

	return pg_execute(conn, str_text(&sql), err);
}

int
target_mark_write(PGconn *conn, const char *name, enum target_state state, const char *origin,
    const char *backup_id, struct err *err)
{
	SCOPED(freep)
	char *text = xasprintf("%s%s%s%s",
	    state == TARGET_COMPLETE ? complete_mark : incomplete_mark, origin, origin_end,
	    backup_id != NULL ? backup_id : "a dump");

	return target_comment(conn, name, text, err);
}

void
target_mark_done(struct target_mark *mark)
{
	free(TAKE(mark->origin));
}

/* Behind the mark stands the name in quotes; the last "' of " ends it, whatever the name has. */
static void
parse_mark(const char *text, struct target_mark *ret)
{
	size_t size = 0;

	*ret = (struct target_mark){ .state = TARGET_FOREIGN };
	if (str_starts_with(text, complete_mark)) {
		ret->state = TARGET_COMPLETE;
		size = sizeof(complete_mark) - 1;
	} else if (str_starts_with(text, incomplete_mark)) {
		ret->state = TARGET_INCOMPLETE;
		size = sizeof(incomplete_mark) - 1;
	} else {
		return;
	}
	text += size;
	size = strlen(text);
	for (const char *at = text; (at = strstr(at, origin_end)) != NULL; at++)
		size = (size_t)(at - text);
	ret->origin = xstrndup(text, size);
}

int
target_mark_read(PGconn *conn, const char *name, struct target_mark *ret, struct err *err)
{
	const char *params[] = { name };

	SCOPED(pg_result_freep)
	PGresult *result = pg_query_params(conn,
	    "SELECT shobj_description(oid, 'pg_database'), "
	    "NOT datallowconn AND datconnlimit = 0 AND NOT datistemplate "
	    "FROM pg_database WHERE datname = $1",
	    params, 1, err);
	if (result == NULL)
		return -1;
	if (libpq.PQntuples(result) == 0)
		return err_set(err, ERR_NOT_FOUND, "there is no database '%s'", name);
	parse_mark(libpq.PQgetvalue(result, 0, 0), ret);
	if (ret->state == TARGET_FOREIGN && libpq.PQgetvalue(result, 0, 1)[0] == 't')
		ret->state = TARGET_BEGUN;

	return 0;
}

bool
target_drop(PGconn *conn, const char *name, struct err *err)
{
	SCOPED(str_done) struct str sql = STR_INIT;
	ExecStatusType status;

	str_add(&sql, "DROP DATABASE IF EXISTS ");
	pg_add_identifier(&sql, name);
	str_add(&sql, " WITH (FORCE)");
	/* Not by pg_query: that would refuse when a stop is what brought us here. */
	if (libpq.PQstatus(conn) != CONNECTION_OK ||
	    libpq.PQtransactionStatus(conn) != PQTRANS_IDLE)
		libpq.PQreset(conn);
	SCOPED(pg_result_freep) PGresult *result = libpq.PQexec(conn, str_text(&sql));
	status = libpq.PQresultStatus(result);
	if (status == PGRES_COMMAND_OK)
		return true;
	(void)err_hint(err,
	    "The new database could not be dropped; when the server is well again: "
	    "DROP DATABASE \"%s\";",
	    name);

	return false;
}
