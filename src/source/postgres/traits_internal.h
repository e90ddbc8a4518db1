/*
 * What belongs to a database itself and stands in no archive that is restored under another name:
 * owner, connection limit, ALTER DATABASE SET, GRANT ON DATABASE.  Kept as JSON, as in the
 * manifest: "owner", "connection_limit", "settings" [[role or null, "name=value"]], "grants"
 * [[role or null (public), privilege, "true" or "false" (may be granted on)]].
 */
#ifndef SOURCE_POSTGRES_TRAITS_INTERNAL_H
#define SOURCE_POSTGRES_TRAITS_INTERNAL_H

#include "base/scope.h"
#include "base/vec.h"
#include "source/postgres/libpq_internal.h"

struct err;
struct json_t;

/* Add the traits of the database `name` to the object `to`. */
int traits_read(PGconn *conn, const char *name, struct json_t *to, struct err *err) MUST_CHECK;

struct traits_remarks {
	VEC(char *) texts; /* what the server did not accept */
};
void traits_remarks_done(struct traits_remarks *remarks);

/*
 * Give them to the database `name`.  What fails by itself (a role that does not exist) becomes a
 * remark; -1 only when the connection failed.  Inside a transaction each step is a savepoint.
 */
int traits_apply(PGconn *conn, const char *name, const struct json_t *traits,
    struct traits_remarks *remarks, struct err *err) MUST_CHECK;

/* Rows of texts as an array of arrays (null for NULL), into the field of `to`. */
int traits_set_rows(PGconn *conn, struct json_t *to, const char *field, const char *sql,
    struct err *err) MUST_CHECK;

#endif
