#include <string.h>

#include "base/err.h"
#include "base/progress.h"
#include "os/process.h"
#include "repo/manifest.h"
#include "source/postgres/dump/dump_internal.h"
#include "source/postgres/tool_internal.h"
#include "stream/sink.h"

/* What goes on while pg_dump writes. */
struct dump_flow {
	struct sink *to;
	struct dump_count *counting;
	struct dump_session *session;
};

/*
 * The first bytes come when pg_dump has locked its tables.  Counting takes locks too, so it waits
 * for that: whoever queues for a table between the two would block us both for ever.
 */
static int
take_output(void *context, const void *data, size_t size, struct err *err)
{
	struct dump_flow *flow = context;

	if (sink_write(flow->to, data, size, err) < 0)
		return -1;

	return dump_count_step(flow->counting, flow->session, err);
}

static struct process *
start(const struct dump_job *job, const char *database, const struct dump_session *session,
    struct err *err)
{
	const struct tool_pipes pipes = { .wants_stdout = true };
	SCOPED(tool_done) struct tool tool = { .passfile_fd = -1 };

	tool_init(&tool, job->program.path);
	tool_arg(&tool, "--format=custom");
	tool_arg(&tool, "%s", job->compress);
	tool_arg(&tool, "--snapshot=%s", session->snapshot);
	tool_arg(&tool, "--no-password");
	if (tool_connect(&tool, job->pg, "--dbname", database, err) < 0)
		return NULL;

	return tool_start(&tool, &pipes, err);
}

static int
run(const struct dump_job *job, const char *database, struct dump_flow *flow, struct err *err)
{
	const struct process_flow pump = { .on_stdout = take_output, .context = flow };

	SCOPED(process_freep) struct process *process = start(job, database, flow->session, err);
	if (process == NULL || tool_run(process, "pg_dump", &pump, err) < 0)
		return err_wrap(err, "database '%s'", database);
	tool_warnings(process, job->draft);
	progress_phase(job->request->progress, "counting rows", 0);

	return dump_count_finish(flow->counting, flow->session, job->draft, err);
}

int
dump_custom(const struct dump_job *job, const char *database, const char *part_name,
    struct dump_session *session, struct err *err)
{
	const struct part part = { .name = part_name, .compression = PART_STORED };
	SCOPED(dump_count_done) struct dump_count counting = { .has_begun = false };
	struct dump_flow flow = { .counting = &counting, .session = session };

	progress_phase(job->request->progress, "dumping", 0);
	SCOPED(sink_freep) struct sink *to = job->intake->open(job->intake, &part, err);
	flow.to = to;
	if (to == NULL || run(job, database, &flow, err) < 0)
		return -1;

	return sink_finish(to, err);
}
