#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "source/postgres/check/check_internal.h"

/* A program of the vendor, and what does not work without it. */
struct needed {
	const char *item;
	const char *program;
	enum check_result result; /* when it is missing */
	const char *use;
};

static const struct needed needed[] = {
	{ "pg_dump", "pg_dump", CHECK_FAILED, "dumps" },
	{ "pg_dumpall", "pg_dumpall", CHECK_FAILED, "roles and tablespaces beside a dump" },
	{ "pg_restore", "pg_restore", CHECK_FAILED, "verifying and restoring dumps" },
	{ "initdb", "initdb", CHECK_WARNING, "verifying by a trial restore (levels 2 to 4)" },
	{ "postgres", "postgres", CHECK_WARNING, "verifying by a trial restore (levels 2 to 4)" },
};

static void
check_program(struct checking *checking, const struct needed *want)
{
	struct pg_program program = { .path = NULL };
	struct err failure = ERR_INIT;
	SCOPED(freep) char *version = NULL;

	if (pg_program_find(checking->pg, want->program, checking->version / 10000, false, &program,
		&failure) < 0) {
		check_report_add(checking->report, want->result, want->item, failure.hint,
		    "%s; needed for %s", failure.msg, want->use);
		return;
	}
	version = pg_version_text(program.version);
	if (program.version / 10000 != checking->version / 10000 &&
	    strcmp(want->program, "pg_dump") == 0)
		check_report_add(checking->report, CHECK_NOTE, "pg_dump_major",
		    "Install the client programs of the server's own major.",
		    "pg_dump is of another major than the server; it works, and its dumps need a "
		    "pg_restore as new as it");
	check_report_add(checking->report, CHECK_OK, want->item, NULL, "%s (%s)", version,
	    program.path);
	pg_program_done(&program);
}

static const char config_sql[] =
    "SELECT current_setting('data_directory', true), s.name, s.setting FROM pg_settings s "
    "WHERE s.name IN ('config_file', 'hba_file', 'ident_file') ORDER BY s.name";

/* Files outside are read through the server; that takes a right of its own. */
static int
check_config_readable(struct checking *checking, struct err *err)
{
	bool is_cancelled;

	SCOPED(pg_result_freep)
	PGresult *result = check_ask(checking, "config_readable",
	    "SELECT has_function_privilege('pg_read_file(text)', 'EXECUTE') "
	    " AND pg_has_role(current_user, 'pg_read_server_files', 'USAGE')",
	    &is_cancelled, err);
	if (result == NULL)
		return is_cancelled ? -1 : 0;
	if (checking->is_superuser || libpq.PQgetvalue(result, 0, 0)[0] == 't')
		check_report_add(checking->report, CHECK_OK, "config_readable", NULL,
		    "the role may read them, so they are saved with a base backup");
	else
		check_report_add(checking->report, CHECK_WARNING, "config_readable",
		    "GRANT pg_read_server_files TO the role ('blackstart check --sql' prints it).",
		    "the role may not read them: only the settings in force are saved");

	return 0;
}

/* Without the right to see settings the rows are simply not there. */
static int
check_config_files(struct checking *checking, struct err *err)
{
	bool is_cancelled;
	SCOPED(str_done) struct str outside = STR_INIT;

	SCOPED(pg_result_freep)
	PGresult *result = check_ask(checking, "config_files", config_sql, &is_cancelled, err);
	if (result == NULL)
		return is_cancelled ? -1 : 0;
	if (libpq.PQntuples(result) == 0) {
		check_report_add(checking->report, CHECK_WARNING, "config_files",
		    "GRANT pg_monitor TO the role ('blackstart check --sql' prints it).",
		    "the role may not see where the server's configuration is, so it is not saved");
		return 0;
	}
	for (int row = 0; row < libpq.PQntuples(result); row++) {
		const char *dir = libpq.PQgetvalue(result, row, 0);
		const char *file = libpq.PQgetvalue(result, row, 2);

		if (!str_starts_with(file, dir) || file[strlen(dir)] != '/')
			str_addf(&outside, "%s%s", outside.size > 0 ? ", " : "", file);
	}
	if (outside.size == 0)
		check_report_add(checking->report, CHECK_OK, "config_files", NULL,
		    "in the data directory, so a base backup has them");
	else
		check_report_add(checking->report, CHECK_NOTE, "config_files", NULL,
		    "outside the data directory: %s", str_text(&outside));

	return outside.size == 0 ? 0 : check_config_readable(checking, err);
}

int
check_tools(struct checking *checking, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		check_program(checking, &needed[i]);

	return check_config_files(checking, err);
}
