/* What the files share that climb the ladder with a dump. */
#ifndef SOURCE_POSTGRES_DUMP_VERIFY_INTERNAL_H
#define SOURCE_POSTGRES_DUMP_VERIFY_INTERNAL_H

#include "source/postgres/postgres_internal.h"

struct dump_climb {
	const struct postgres *pg;
	const struct backup_view *view;
	const struct verify_request *request;
	struct verify_report *report;
	struct pg_program pg_restore;
};

/* Levels 2 to 4: into a scratch server that is stopped and forgotten whatever happens. */
int dump_climb_scratch(struct dump_climb *climb, struct err *err) MUST_CHECK;

#endif
