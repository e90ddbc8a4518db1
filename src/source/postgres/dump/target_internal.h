/*
 * The database that a restore makes: its name, the mark it carries while it is not complete, and
 * the server's administration connection that makes and drops it.
 */
#ifndef SOURCE_POSTGRES_DUMP_TARGET_INTERNAL_H
#define SOURCE_POSTGRES_DUMP_TARGET_INTERNAL_H

#include <stdbool.h>

#include "base/scope.h"
#include "source/postgres/libpq_internal.h"

struct err;
struct postgres;

/* "web_restored_20251125_020000", cut to what PostgreSQL takes as a name; yours. */
char *target_name(const char *database, const char *new_name) MUST_CHECK;

/* "web" with "_broken_20251125_020000" behind it, cut as above; yours. */
char *target_stamped(const char *database, const char *word) MUST_CHECK;

/* The text as one word of a command line to type, quoted where it must be; yours. */
char *target_word(const char *text) MUST_CHECK;

/*
 * A connection to a database that is none of the two (NULL: any will do): the maintenance
 * database, "postgres" or "template1".
 */
PGconn *target_admin(const struct postgres *pg, const char *avoid, const char *avoid_too,
    struct err *err) MUST_CHECK;

int target_exists(PGconn *conn, const char *name, bool *ret_exists, struct err *err) MUST_CHECK;

/* What the comment of a database says about how it came to be. */
enum target_state {
	TARGET_FOREIGN, /* not made by a restore of ours */
	TARGET_BEGUN,   /* made by a restore that did not come to its mark: nobody can enter it */
	TARGET_INCOMPLETE,
	TARGET_COMPLETE,
};
struct target_mark {
	enum target_state state;
	char *origin; /* the name of the database that was dumped; NULL when there is no mark */
};
int target_mark_read(PGconn *conn, const char *name, struct target_mark *ret, struct err *err)
    MUST_CHECK;
void target_mark_done(struct target_mark *mark);
int target_mark_write(PGconn *conn, const char *name, enum target_state state, const char *origin,
    const char *backup_id, struct err *err) MUST_CHECK;

/* What was made shut (dump_create_database) can be entered from here on. */
int target_open_up(PGconn *conn, const char *name, struct err *err) MUST_CHECK;

/* Give the database a comment; NULL takes it away. */
int target_comment(PGconn *conn, const char *name, const char *text, struct err *err) MUST_CHECK;

/* Drop it, also while a stop is asked for.  On failure `err` gets a hint that names it. */
bool target_drop(PGconn *conn, const char *name, struct err *err);

#endif
