#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "os/process.h"
#include "source/postgres/dump/dump_internal.h"
#include "source/postgres/tool_internal.h"

enum {
	VERSION_17 = 170000,
};

/*
 * pg_restore of 17 sets a parameter that older servers do not know.  It then cannot be told to
 * end at the first error; instead, errors are counted afterwards, and only that one is accepted.
 */
static bool
is_newer_tool(const struct dump_load *load)
{
	return load->pg_restore->version >= VERSION_17 && load->server_version < VERSION_17;
}

static int
make_arguments(struct tool *tool, const struct dump_archive *archive, const struct dump_load *load,
    struct err *err)
{
	tool_init(tool, load->pg_restore->path);
	tool_arg(tool, "--no-password");
	if (!is_newer_tool(load))
		tool_arg(tool, "--exit-on-error");
	if (!load->has_tablespaces)
		tool_arg(tool, "--no-tablespaces");
	if (!load->has_owners) {
		tool_arg(tool, "--no-owner");
		tool_arg(tool, "--no-privileges");
	}
	if (tool_connect(tool, load->server, "--dbname", load->database, err) < 0)
		return -1;
	if (archive->path != NULL) {
		tool_arg(tool, "--jobs=%u", tool_jobs(load->parallel));
		tool_arg(tool, "%s", archive->path);
	}

	return 0;
}

/* How often `part` occurs. */
static unsigned
occurrences(const char *text, const char *part)
{
	unsigned found = 0;

	for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
		found++;

	return found;
}

/*
 * Is the one unknown parameter all that went wrong.  pg_restore's own total does not have those
 * of its parallel workers; where a part of what it said is lost, nothing is sure.
 */
static bool
has_only_known_errors(const struct process *process)
{
	const char *text = process_stderr(process);
	unsigned known = occurrences(text,
	    "unrecognized configuration parameter \"transaction_timeout\"");

	return known > 0 && known == occurrences(text, "error: ") &&
	    strstr(text, "errors ignored on restore: ") != NULL &&
	    strstr(text, "\n[...]\n") == NULL;
}

int
dump_load(const struct dump_archive *archive, const struct dump_load *load, struct err *err)
{
	const struct tool_pipes pipes = { .wants_stdin = archive->path == NULL };
	SCOPED(tool_done) struct tool tool = { .passfile_fd = -1 };

	if (make_arguments(&tool, archive, load, err) < 0)
		return -1;
	SCOPED(process_freep) struct process *process = tool_start(&tool, &pipes, err);
	if (process == NULL ||
	    (archive->path == NULL && dump_archive_feed(archive, process, err) < 0))
		return -1;
	if (tool_run(process, "pg_restore", NULL, err) == 0)
		return 0;

	return is_newer_tool(load) && has_only_known_errors(process) ? 0 : -1;
}
