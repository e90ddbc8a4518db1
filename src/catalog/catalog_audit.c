#include "catalog/catalog_audit.h"

#include <stdlib.h>

#include "base/err.h"
#include "catalog/sql_internal.h"

void
audit_rows_done(struct audit_rows *rows)
{
	for (size_t i = 0; i < rows->rows.count; i++) {
		struct audit_row *row = &rows->rows.items[i];

		free(row->who);
		free(row->action);
		free(row->subject);
		free(row->detail);
	}
	vec_done(&rows->rows);
}

int
catalog_audit_add(struct catalog *catalog, const struct audit_row *row, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "INSERT INTO audit (at, who, action, subject, detail) VALUES (?, ?, ?, ?, ?)", err);
	struct sql_binder to = { .statement = statement };

	if (statement == NULL)
		return -1;
	sql_bind_time(&to, row->at);
	sql_bind_text(&to, row->who);
	sql_bind_text(&to, row->action);
	sql_bind_text(&to, row->subject);
	sql_bind_text(&to, row->detail);

	return sql_run(catalog, statement, "write the audit", err);
}

int
catalog_audit_list(struct catalog *catalog, unsigned limit, struct audit_rows *ret_rows,
    struct err *err)
{
	SCOPED(audit_rows_done) struct audit_rows rows = { .rows = { .count = 0 } };
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "SELECT at, who, action, subject, detail FROM audit ORDER BY seq DESC LIMIT ?", err);
	struct sql_binder to = { .statement = statement };
	int got;

	if (statement == NULL)
		return -1;
	sql_bind_int(&to, limit);
	while ((got = sql_step(catalog, statement, "read the audit", err)) > 0) {
		struct sql_reader from = { .statement = statement };
		struct audit_row *row = vec_add(&rows.rows);

		row->at = sql_read_time(&from);
		row->who = sql_read_text(&from);
		row->action = sql_read_text(&from);
		row->subject = sql_read_text(&from);
		row->detail = sql_read_text(&from);
	}
	if (got < 0)
		return -1;
	*ret_rows = rows;
	rows = (struct audit_rows){ .rows = { .count = 0 } };

	return 0;
}
