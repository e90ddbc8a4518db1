/* Taking the text of pg_dumpall --globals-only apart.  Pure. */
#ifndef SOURCE_POSTGRES_DUMP_ROLES_INTERNAL_H
#define SOURCE_POSTGRES_DUMP_ROLES_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

struct str;

/* The next statement, without its ';', and *at behind it; false at the end. */
bool roles_next_statement(const char **at, const char **ret_text, size_t *ret_size);

enum roles_statement {
	ROLES_CREATE,
	ROLES_ALTER, /* also comments and labels */
	ROLES_GRANT, /* membership of the role in another */
	ROLES_OTHER,
};
/* What a statement does, and to which role (appended to ret_role). */
enum roles_statement roles_classify(const char *text, size_t size, struct str *ret_role);

/* The size of a GRANT without its "GRANTED BY ...", which the server may not accept. */
size_t roles_without_grantor(const char *text, size_t size);

#endif
