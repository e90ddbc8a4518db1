#include <string.h>

#include "base/err.h"
#include "os/process.h"
#include "repo/manifest.h"
#include "source/postgres/dump/dump_internal.h"
#include "source/postgres/tool_internal.h"
#include "stream/sink.h"

static int
push(void *context, const void *data, size_t size, struct err *err)
{
	return sink_write(context, data, size, err);
}

/* ret_is_denied: it failed because the role may not read passwords. */
static int
run(const struct dump_job *job, const struct pg_program *program, const char *database,
    bool has_passwords, bool *ret_is_denied, struct err *err)
{
	const struct part part = { .name = "globals.sql", .compression = PART_STORED };
	const struct tool_pipes pipes = { .wants_stdout = true };
	SCOPED(tool_done) struct tool tool = { .passfile_fd = -1 };

	tool_init(&tool, program->path);
	tool_arg(&tool, "--globals-only");
	tool_arg(&tool, "--no-password");
	if (!has_passwords)
		tool_arg(&tool, "--no-role-passwords");
	/* It would take such a name for a connection string; then it chooses one itself. */
	if (strchr(database, '=') == NULL && strstr(database, "://") == NULL)
		tool_arg(&tool, "--database=%s", database);
	if (tool_connect(&tool, job->pg, "--dbname", database, err) < 0)
		return -1;

	SCOPED(sink_freep) struct sink *to = job->intake->open(job->intake, &part, err);
	if (to == NULL)
		return -1;
	const struct process_flow flow = { .on_stdout = push, .context = to };
	SCOPED(process_freep) struct process *process = tool_start(&tool, &pipes, err);
	if (process == NULL)
		return -1;
	if (tool_run(process, "pg_dumpall", &flow, err) < 0) {
		*ret_is_denied = strstr(process_stderr(process), "pg_authid") != NULL;
		return err_wrap(err, "roles and tablespaces");
	}
	tool_warnings(process, job->draft);

	return sink_finish(to, err);
}

int
dump_globals(const struct dump_job *job, const char *database, struct err *err)
{
	struct pg_program program = { .path = NULL };
	bool is_denied = false;
	int result;

	if (pg_program_find(job->pg, "pg_dumpall", job->server_version / 10000, false, &program,
		err) < 0)
		return -1;
	result = run(job, &program, database, true, &is_denied, err);
	if (result < 0 && is_denied) {
		manifest_add_warning(job->draft, "no_role_passwords",
		    "the role '%s' may not read passwords, so roles are saved without; after a "
		    "restore they must be set again",
		    job->pg->user);
		result = run(job, &program, database, false, &is_denied, err);
	}
	pg_program_done(&program);

	return result;
}
