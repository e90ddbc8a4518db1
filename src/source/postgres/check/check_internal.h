/* What the files share that test a live server for `check`. */
#ifndef SOURCE_POSTGRES_CHECK_CHECK_INTERNAL_H
#define SOURCE_POSTGRES_CHECK_CHECK_INTERNAL_H

#include <stdbool.h>

#include "source/postgres/libpq_internal.h"
#include "source/postgres/postgres_internal.h"

struct checking {
	const struct postgres *pg;
	PGconn *conn;
	int version; /* 150004 */
	bool is_superuser;
	bool has_replication; /* the role may */
	struct check_report *report;
};

/*
 * Each group of tests.  A test that cannot be made says so in its item; -1 only when we were told
 * to stop.
 */
int check_session(struct checking *checking, struct err *err) MUST_CHECK; /* and the role */
int check_settings(struct checking *checking, struct err *err) MUST_CHECK;
int check_replication(struct checking *checking, struct err *err) MUST_CHECK;
int check_stream(struct checking *checking, struct err *err) MUST_CHECK;
int check_content(struct checking *checking, struct err *err) MUST_CHECK;
int check_tools(struct checking *checking, struct err *err) MUST_CHECK;

/*
 * One row of an answer, or NULL: then the item `name` says that it could not be looked at, and
 * *ret_is_cancelled whether that is because of a stop.
 */
PGresult *check_ask(struct checking *checking, const char *name, const char *sql,
    bool *ret_is_cancelled, struct err *err) MUST_CHECK;

#endif
