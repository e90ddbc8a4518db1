#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/str.h"
#include "os/file.h"
#include "os/process.h"
#include "os/stop.h"
#include "repo/manifest.h"
#include "source/postgres/dump/dump_internal.h"
#include "source/postgres/spool_internal.h"
#include "source/postgres/tool_internal.h"
#include "stream/sink.h"

enum {
	COPY_BYTES = 256 * 1024,
	EVENTS_BYTES = 16 * 1024,
	WAIT_MS = 50,
	FILES_MAX = 10 * 1000 * 1000,
};

static const char toc_name[] = "toc.dat";

/*
 * pg_dump can only write a folder of this machine.  Every file is pushed on and removed as soon
 * as it is closed, so that the space needed is that of the files being written; the table of
 * contents comes last.
 */
struct folder_flow {
	const struct dump_job *job;
	const char *part;
	const char *dir;
	int watch_fd;
	char *buffer;    /* COPY_BYTES */
	bool has_output; /* pg_dump has locked its tables */
};

static int
copy_file(const struct folder_flow *flow, const char *path, struct sink *to, struct err *err)
{
	ssize_t got;

	SCOPED(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "cannot open '%s'", path);
	while ((got = read(fd, flow->buffer, COPY_BYTES)) > 0) {
		if (sink_write(to, flow->buffer, (size_t)got, err) < 0)
			return -1;
	}

	return got < 0 ? err_sys(err, "cannot read '%s'", path) : 0;
}

static int
push_file(const struct folder_flow *flow, const char *name, struct err *err)
{
	SCOPED(freep) char *path = path_join(flow->dir, name);
	SCOPED(freep) char *part_name = xasprintf("%s/%s", flow->part, name);
	const struct part part = { .name = part_name, .compression = PART_STORED };

	SCOPED(sink_freep) struct sink *to = flow->job->intake->open(flow->job->intake, &part, err);
	if (to == NULL || copy_file(flow, path, to, err) < 0 || sink_finish(to, err) < 0)
		return -1;
	if (unlink(path) < 0)
		return err_sys(err, "cannot remove '%s'", path);

	return 0;
}

/* Push what was closed since the last look. */
static int
push_closed(struct folder_flow *flow, struct err *err)
{
	_Alignas(struct inotify_event) char events[EVENTS_BYTES];
	ssize_t got = read(flow->watch_fd, events, sizeof(events));

	if (got < 0)
		return errno == EAGAIN || errno == EINTR
		    ? 0
		    : err_sys(err, "cannot watch '%s'", flow->dir);
	for (ssize_t at = 0; at < got;) {
		struct inotify_event event;
		const char *name = events + at + sizeof(event);

		memcpy(&event, events + at, sizeof(event));
		at += (ssize_t)(sizeof(event) + event.len);
		flow->has_output = true;
		/* A lost event (overflow) is no harm: the last look takes every file. */
		if ((event.mask & IN_CLOSE_WRITE) == 0 || strcmp(name, toc_name) == 0)
			continue;
		if (push_file(flow, name, err) < 0)
			return -1;
	}

	return 0;
}

static int
push_rest(struct folder_flow *flow, struct err *err)
{
	struct dir_listing listing = { .names = NULL };
	int result = 0;

	if (dir_list(flow->dir, FILES_MAX, &listing, err) < 0)
		return -1;
	for (size_t i = 0; i < listing.count && result == 0; i++) {
		if (strcmp(listing.names[i], toc_name) != 0)
			result = push_file(flow, listing.names[i], err);
	}
	dir_listing_done(&listing);

	return result < 0 ? -1 : push_file(flow, toc_name, err);
}

static struct process *
start(const struct folder_flow *flow, const char *database, const struct dump_session *session,
    struct err *err)
{
	const struct tool_pipes pipes = { .wants_stdout = false };
	SCOPED(tool_done) struct tool tool = { .passfile_fd = -1 };

	tool_init(&tool, flow->job->program.path);
	tool_arg(&tool, "--format=directory");
	tool_arg(&tool, "--file=%s", flow->dir);
	tool_arg(&tool, "--jobs=%u", tool_jobs(flow->job->request->parallel));
	tool_arg(&tool, "%s", flow->job->compress);
	/* Its fsync would open every file for writing once more, which looks like a file just closed. */
	tool_arg(&tool, "--no-sync");
	tool_arg(&tool, "--snapshot=%s", session->snapshot);
	tool_arg(&tool, "--no-password");
	if (tool_connect(&tool, flow->job->pg, "--dbname", database, err) < 0)
		return NULL;

	return tool_start(&tool, &pipes, err);
}

/* Take files and count until pg_dump has ended. */
static int
follow(struct folder_flow *flow, struct process *process, struct dump_count *counting,
    struct dump_session *session, struct err *err)
{
	for (;;) {
		struct err late = ERR_INIT;
		struct process_exit end;

		if (process_wait(process, WAIT_MS, &end, &late) == 0)
			return tool_run(process, "pg_dump", NULL, err);
		if (stop_check(err) < 0 || push_closed(flow, err) < 0)
			return -1;
		if (flow->has_output && dump_count_step(counting, session, err) < 0)
			return -1;
	}
}

static int
run(struct folder_flow *flow, const char *database, struct dump_session *session, struct err *err)
{
	SCOPED(dump_count_done) struct dump_count counting = { .has_begun = false };

	SCOPED(process_freep) struct process *process = start(flow, database, session, err);
	if (process == NULL || follow(flow, process, &counting, session, err) < 0)
		return -1;
	tool_warnings(process, flow->job->draft);
	progress_phase(flow->job->request->progress, "counting rows", 0);
	if (dump_count_finish(&counting, session, flow->job->draft, err) < 0)
		return -1;

	return push_rest(flow, err);
}

int
dump_directory(const struct dump_job *job, const char *database, const char *part,
    struct dump_session *session, struct err *err)
{
	SCOPED(freep) char *buffer = xmalloc(COPY_BYTES);
	SCOPED(spool_done) struct spool spool = { .path = NULL };
	struct folder_flow flow = { .job = job, .part = part, .buffer = buffer };

	progress_phase(job->request->progress, "dumping", 0);
	if (spool_make(&spool, job->request->spool_dir, err) < 0)
		return -1;
	flow.dir = spool.path;
	SCOPED(closep) int watch_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (watch_fd < 0 || inotify_add_watch(watch_fd, spool.path, IN_CREATE | IN_CLOSE_WRITE) < 0)
		return err_sys(err, "cannot watch '%s'", spool.path);
	flow.watch_fd = watch_fd;
	if (run(&flow, database, session, err) < 0)
		return err_wrap(err, "database '%s'", database);

	return 0;
}
