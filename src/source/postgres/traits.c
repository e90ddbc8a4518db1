#include "source/postgres/traits_internal.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "source/postgres/count_internal.h"
#include "source/postgres/postgres_internal.h"

enum { REMARKS_MAX = 20 };

/* ---- reading -------------------------------------------------------------------------------------- */

int
traits_set_rows(PGconn *conn, json_t *to, const char *field, const char *sql, struct err *err)
{
	SCOPED(pg_result_freep) PGresult *result = pg_query(conn, sql, err);
	json_t *rows;

	if (result == NULL)
		return -1;
	rows = json_array();
	for (int row = 0; row < libpq.PQntuples(result); row++) {
		json_t *fields = json_array();

		for (int column = 0; column < libpq.PQnfields(result); column++)
			(void)json_array_append_new(fields,
			    libpq.PQgetisnull(result, row, column)
				? json_null()
				: json_text(libpq.PQgetvalue(result, row, column)));
		(void)json_array_append_new(rows, fields);
	}
	(void)json_object_set_new(to, field, rows);

	return 0;
}

static int
read_rows(PGconn *conn, const char *name, json_t *to, const char *field, const char *sql,
    struct err *err)
{
	SCOPED(str_done) struct str text = STR_INIT;

	str_add(&text, sql);
	pg_add_literal(&text, name);

	return traits_set_rows(conn, to, field, str_text(&text), err);
}

int
traits_read(PGconn *conn, const char *name, json_t *to, struct err *err)
{
	const char *params[] = { name };
	int64_t limit = -1;

	SCOPED(pg_result_freep)
	PGresult *result = pg_query_params(conn,
	    "SELECT pg_get_userbyid(datdba), datconnlimit FROM pg_database WHERE datname = $1",
	    params, 1, err);
	if (result == NULL)
		return -1;
	if (libpq.PQntuples(result) == 0)
		return err_set(err, ERR_NOT_FOUND, "there is no database '%s'", name);
	(void)json_object_set_new(to, "owner", json_text(libpq.PQgetvalue(result, 0, 0)));
	if (parse_i64(libpq.PQgetvalue(result, 0, 1), -2, INT32_MAX, &limit, err) < 0)
		return -1;
	if (limit >= 0)
		(void)json_object_set_new(to, "connection_limit", json_integer(limit));
	if (read_rows(conn, name, to, "settings",
		"SELECT CASE WHEN s.setrole <> 0 THEN pg_get_userbyid(s.setrole) END, "
		" unnest(s.setconfig) FROM pg_db_role_setting s "
		"JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = ",
		err) < 0)
		return -1;

	return read_rows(conn, name, to, "grants",
	    "SELECT CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee) END, "
	    " a.privilege_type, a.is_grantable::text "
	    "FROM pg_database d, aclexplode(d.datacl) a WHERE d.datname = ",
	    err);
}

/* ---- applying ---------------------------------------------------------------------------------------- */

void
traits_remarks_done(struct traits_remarks *remarks)
{
	for (size_t i = 0; i < remarks->texts.count; i++)
		free(remarks->texts.items[i]);
	vec_done(&remarks->texts);
}

/* One statement that may fail without harm to what comes after it. */
static int
attempt(PGconn *conn, const struct str *sql, struct traits_remarks *remarks, struct err *err)
{
	bool is_inside = libpq.PQtransactionStatus(conn) == PQTRANS_INTRANS;
	struct err failure = ERR_INIT;

	if (is_inside && pg_execute(conn, "SAVEPOINT blackstart_trait", err) < 0)
		return -1;
	if (pg_execute(conn, str_text(sql), &failure) == 0)
		return is_inside ? pg_execute(conn, "RELEASE blackstart_trait", err) : 0;
	if (failure.kind == ERR_CANCELLED || libpq.PQstatus(conn) == CONNECTION_BAD) {
		*err = failure;
		return -1;
	}
	if (remarks->texts.count < REMARKS_MAX)
		vec_push(&remarks->texts, xstrdup(failure.msg));

	return is_inside ? pg_execute(conn, "ROLLBACK TO blackstart_trait", err) : 0;
}

/* These hold lists of names, stored as the server would print them: each element by itself. */
static bool
is_list_setting(const char *name)
{
	static const char *const lists[] = { "search_path", "temp_tablespaces",
		"session_preload_libraries", "local_preload_libraries", "shared_preload_libraries",
		"unix_socket_directories" };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		if (strcmp(lists[i], name) == 0)
			return true;
	}

	return false;
}

/* `"$user", public` to `'$user', 'public'`. */
static void
add_list(struct str *sql, const char *value)
{
	bool is_first = true;

	while (*value != '\0') {
		SCOPED(str_done) struct str element = STR_INIT;
		bool is_quoted = false;

		while (isspace((unsigned char)*value))
			value++;
		for (; *value != '\0' && (is_quoted || *value != ','); value++) {
			if (*value != '"')
				str_add_char(&element, *value);
			else if (is_quoted && value[1] == '"')
				str_add_char(&element, *value++);
			else
				is_quoted = !is_quoted;
		}
		value += *value == ',' ? 1 : 0;
		str_add(sql, is_first ? "" : ", ");
		pg_add_literal(sql, str_text(&element));
		is_first = false;
	}
	if (is_first)
		str_add(sql, "''");
}

/* "app.name" is two identifiers. */
static void
add_setting_name(struct str *sql, const char *name)
{
	for (;;) {
		size_t size = strcspn(name, ".");
		SCOPED(freep) char *part = xstrndup(name, size);

		pg_add_identifier(sql, part);
		if (name[size] == '\0')
			return;
		str_add_char(sql, '.');
		name += size + 1;
	}
}

static int
apply_setting(PGconn *conn, const char *database, const json_t *row, struct traits_remarks *remarks,
    struct err *err)
{
	const char *role = json_string_value(json_array_get(row, 0));
	const char *text = json_string_value(json_array_get(row, 1));
	const char *value = text != NULL ? strchr(text, '=') : NULL;
	SCOPED(str_done) struct str sql = STR_INIT;
	SCOPED(freep) char *name = NULL;

	if (value == NULL)
		return 0;
	name = xstrndup(text, (size_t)(value - text));
	if (role != NULL) {
		str_add(&sql, "ALTER ROLE ");
		pg_add_identifier(&sql, role);
		str_add(&sql, " IN DATABASE ");
	} else {
		str_add(&sql, "ALTER DATABASE ");
	}
	pg_add_identifier(&sql, database);
	str_add(&sql, " SET ");
	add_setting_name(&sql, name);
	str_add(&sql, " TO ");
	if (is_list_setting(name))
		add_list(&sql, value + 1);
	else
		pg_add_literal(&sql, value + 1);

	return attempt(conn, &sql, remarks, err);
}

static int
apply_grant(PGconn *conn, const char *database, const json_t *row, struct traits_remarks *remarks,
    struct err *err)
{
	const char *role = json_string_value(json_array_get(row, 0));
	const char *privilege = json_string_value(json_array_get(row, 1));
	SCOPED(str_done) struct str sql = STR_INIT;

	if (!str_equals(privilege, "CONNECT") && !str_equals(privilege, "CREATE") &&
	    !str_equals(privilege, "TEMPORARY"))
		return 0;
	str_addf(&sql, "GRANT %s ON DATABASE ", privilege);
	pg_add_identifier(&sql, database);
	str_add(&sql, " TO ");
	if (role != NULL)
		pg_add_identifier(&sql, role);
	else
		str_add(&sql, "PUBLIC");
	if (str_equals(json_string_value(json_array_get(row, 2)), "true"))
		str_add(&sql, " WITH GRANT OPTION");

	return attempt(conn, &sql, remarks, err);
}

static int
apply_owner(PGconn *conn, const char *database, const json_t *traits,
    struct traits_remarks *remarks, struct err *err)
{
	const char *owner = json_string_value(json_object_get(traits, "owner"));
	const json_t *limit = json_object_get(traits, "connection_limit");
	SCOPED(str_done) struct str sql = STR_INIT;

	if (owner != NULL) {
		str_add(&sql, "ALTER DATABASE ");
		pg_add_identifier(&sql, database);
		str_add(&sql, " OWNER TO ");
		pg_add_identifier(&sql, owner);
		if (attempt(conn, &sql, remarks, err) < 0)
			return -1;
	}
	if (!json_is_integer(limit))
		return 0;
	str_cut(&sql, 0);
	str_add(&sql, "ALTER DATABASE ");
	pg_add_identifier(&sql, database);
	str_addf(&sql, " CONNECTION LIMIT %lld", (long long)json_integer_value(limit));

	return attempt(conn, &sql, remarks, err);
}

int
traits_apply(PGconn *conn, const char *name, const json_t *traits, struct traits_remarks *remarks,
    struct err *err)
{
	const json_t *settings = json_object_get(traits, "settings");
	const json_t *grants = json_object_get(traits, "grants");

	if (apply_owner(conn, name, traits, remarks, err) < 0)
		return -1;
	for (size_t i = 0; i < json_array_size(settings); i++) {
		if (apply_setting(conn, name, json_array_get(settings, i), remarks, err) < 0)
			return -1;
	}
	if (json_array_size(grants) > 0) {
		SCOPED(str_done) struct str sql = STR_INIT;

		/* There were grants, so what PUBLIC has by default may have been taken away. */
		str_add(&sql, "REVOKE ALL ON DATABASE ");
		pg_add_identifier(&sql, name);
		str_add(&sql, " FROM PUBLIC");
		if (attempt(conn, &sql, remarks, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < json_array_size(grants); i++) {
		if (apply_grant(conn, name, json_array_get(grants, i), remarks, err) < 0)
			return -1;
	}

	return 0;
}
