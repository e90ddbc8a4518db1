/*
 * Who did what through the page: logins, and whatever was started or changed.  Rows are only ever
 * added.  Failures as in catalog.h.
 */
#ifndef CATALOG_CATALOG_AUDIT_H
#define CATALOG_CATALOG_AUDIT_H

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"

struct catalog;
struct err;

/* Texts are owned by the row. */
struct audit_row {
	struct wall_time at;
	char *who;     /* as they called themselves, and from where */
	char *action;  /* "login", "login refused", "acknowledge", "shelve", "run" */
	char *subject; /* the job or alarm; NULL: none */
	char *detail;  /* why, or what came of it; NULL: nothing to say */
};
struct audit_rows {
	VEC(struct audit_row) rows;
};
void audit_rows_done(struct audit_rows *rows);

int catalog_audit_add(struct catalog *catalog, const struct audit_row *row, struct err *err)
    MUST_CHECK;

/* The newest first. */
int catalog_audit_list(struct catalog *catalog, unsigned limit, struct audit_rows *ret_rows,
    struct err *err) MUST_CHECK;

#endif
