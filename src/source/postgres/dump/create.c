#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "source/postgres/dump/dump_internal.h"

enum {
	VERSION_ICU = 150000, /* the first with a locale provider per database */
	VERSION_ICU_RULES = 160000,
	VERSION_BUILTIN = 170000,
};

static void
add_option(struct str *sql, const char *option, const char *value)
{
	if (value == NULL)
		return;
	str_addf(sql, " %s ", option);
	pg_add_literal(sql, value);
}

static void
add_locale(struct str *sql, const struct dump_database *like, int version)
{
	add_option(sql, "LC_COLLATE", like->collate);
	add_option(sql, "LC_CTYPE", like->ctype);
	if (str_equals(like->provider, "icu") && version >= VERSION_ICU) {
		str_add(sql, " LOCALE_PROVIDER icu");
		add_option(sql, "ICU_LOCALE", like->locale);
		if (version >= VERSION_ICU_RULES)
			add_option(sql, "ICU_RULES", like->icu_rules);
	} else if (str_equals(like->provider, "builtin") && version >= VERSION_BUILTIN) {
		str_add(sql, " LOCALE_PROVIDER builtin");
		add_option(sql, "BUILTIN_LOCALE", like->locale);
	} else if (version >= VERSION_ICU) {
		/* template0 may have another one, which would be taken over. */
		str_add(sql, " LOCALE_PROVIDER libc");
	}
}

static int
has_tablespace(PGconn *conn, const char *name, bool *ret_has, struct err *err)
{
	const char *params[] = { name };

	SCOPED(pg_result_freep)
	PGresult *result = pg_query_params(conn, "SELECT 1 FROM pg_tablespace WHERE spcname = $1",
	    params, 1, err);
	if (result == NULL)
		return -1;
	*ret_has = libpq.PQntuples(result) > 0;

	return 0;
}

int
dump_has_tablespaces(PGconn *conn, const struct dump_database *database, bool *ret_has,
    struct err *err)
{
	const json_t *names = json_object_get(database->entry, "tablespaces");
	bool has_all = true;

	for (size_t i = 0; i < json_array_size(names) && has_all; i++) {
		const char *name = json_string_value(json_array_get(json_array_get(names, i), 0));

		if (name != NULL && has_tablespace(conn, name, &has_all, err) < 0)
			return -1;
	}
	*ret_has = has_all;

	return 0;
}

static int
try_create(PGconn *conn, const struct dump_database *like, const char *name, bool is_shut,
    struct err *err)
{
	const char *tablespace = json_string_value(json_object_get(like->entry, "tablespace"));
	SCOPED(str_done) struct str sql = STR_INIT;
	bool has = false;

	if (tablespace != NULL && has_tablespace(conn, tablespace, &has, err) < 0)
		return -1;

	str_add(&sql, "CREATE DATABASE ");
	pg_add_identifier(&sql, name);
	str_add(&sql, " TEMPLATE template0");
	add_option(&sql, "ENCODING", like->encoding);
	if (like->collate != NULL)
		add_locale(&sql, like, pg_server_version(conn));
	if (has) {
		str_add(&sql, " TABLESPACE ");
		pg_add_identifier(&sql, tablespace);
	}
	if (is_shut)
		str_add(&sql, " " DUMP_SHUT);

	return pg_execute(conn, str_text(&sql), err);
}

int
dump_create_database(PGconn *conn, const struct dump_database *like, const char *name, bool is_shut,
    char **ret_note, struct err *err)
{
	struct dump_database plain = *like;
	struct err first = ERR_INIT;

	*ret_note = NULL;
	if (try_create(conn, like, name, is_shut, &first) == 0)
		return 0;
	*err = first;
	if (like->collate == NULL || first.kind != ERR_PEER)
		return err_wrap(err, "cannot create database '%s'", name);

	/* Whatever is wrong with the locale, the data does not depend on it; sorting does. */
	plain.collate = "C";
	plain.ctype = "C";
	plain.provider = "libc";
	if (try_create(conn, &plain, name, is_shut, err) < 0) {
		*err = first;
		return err_wrap(err, "cannot create database '%s'", name);
	}
	*ret_note =
	    xasprintf("the locale '%s' is not available there, so the database has 'C': text "
		      "sorts and folds case differently",
		like->locale != NULL ? like->locale : like->collate);

	return 0;
}

int
dump_check_extensions(PGconn *conn, const struct dump_database *database, struct err *err)
{
	const json_t *extensions = json_object_get(database->entry, "extensions");
	int major = pg_server_version(conn) / 10000;

	for (size_t i = 0; i < json_array_size(extensions); i++) {
		const char *name = json_string_value(json_array_get(json_array_get(extensions, i),
		    0));
		const char *params[] = { name };

		if (name == NULL)
			continue;
		SCOPED(pg_result_freep)
		PGresult *result = pg_query_params(conn,
		    "SELECT 1 FROM pg_available_extensions WHERE name = $1", params, 1, err);
		if (result == NULL)
			return -1;
		if (libpq.PQntuples(result) > 0)
			continue;
		(void)err_set(err, ERR_UNSUPPORTED,
		    "database '%s' needs the extension '%s', which the PostgreSQL %d server does not have",
		    database->name, name, major);
		return err_hint(err,
		    "Install the package that provides it (for example "
		    "postgresql-%d-%s), then run again.",
		    major, name);
	}

	return 0;
}
