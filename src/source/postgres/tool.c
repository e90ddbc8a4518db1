#include "source/postgres/tool_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/cores.h"
#include "os/process.h"
#include "os/stop.h"
#include "repo/manifest.h"
#include "source/postgres/postgres_internal.h"
#include "stream/sink.h"

enum {
	MESSAGE_MAX = 300,
	WARNINGS_MAX = 20,
	FEED_WAIT_MS = 20,
	JOBS_MAX = 8, /* more of them only take turns, and each locks and connects */
};

/* ---- the command line ------------------------------------------------------------------------ */

/*
 * A bare name takes the variable away from the child.  libpq lets some of these win over the
 * host that we name (PGHOSTADDR), and the others change what a dump contains.
 */
static const char *const clean_env[] = {
	"LC_ALL=C",
	"PGAPPNAME=blackstart",
	"PGCLIENTENCODING",
	"PGCHANNELBINDING",
	"PGCONNECT_TIMEOUT=10",
	"PGDATABASE",
	"PGDATESTYLE",
	"PGGEQO",
	"PGHOST",
	"PGHOSTADDR",
	"PGLOADBALANCEHOSTS",
	"PGOPTIONS",
	"PGPASSWORD",
	"PGPORT",
	"PGREQUIREAUTH",
	"PGREQUIREPEER",
	"PGSERVICE",
	"PGSERVICEFILE",
	"PGSSLMODE",
	"PGSSLNEGOTIATION",
	"PGTARGETSESSIONATTRS",
	"PGTZ",
	"PGUSER",
	"PG_COLOR=never",
};

void
tool_init(struct tool *tool, const char *path)
{
	*tool = (struct tool){ .passfile_fd = -1 };
	vec_push(&tool->argv, xstrdup(path));
	for (size_t i = 0; i < ARRAY_SIZE(clean_env); i++)
		vec_push(&tool->env, xstrdup(clean_env[i]));
}

void
tool_done(struct tool *tool)
{
	for (size_t i = 0; i < tool->argv.count; i++)
		free(tool->argv.items[i]);
	for (size_t i = 0; i < tool->env.count; i++)
		free(tool->env.items[i]);
	vec_done(&tool->argv);
	vec_done(&tool->env);
	closep(&tool->passfile_fd);
	tool->passfile_fd = -1;
}

void
tool_arg(struct tool *tool, const char *format, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		abort();
	va_end(args);
	vec_push(&tool->argv, text);
}

void
tool_env(struct tool *tool, const char *assignment)
{
	vec_push(&tool->env, xstrdup(assignment));
}

/* "key='value' " with what a connection string asks to be escaped. */
static void
conninfo_add(struct str *to, const char *key, const char *value)
{
	if (value == NULL)
		return;
	str_addf(to, "%s%s='", to->size > 0 ? " " : "", key);
	for (const char *c = value; *c != '\0'; c++) {
		if (*c == '\'' || *c == '\\')
			str_add_char(to, '\\');
		str_add_char(to, *c);
	}
	str_add_char(to, '\'');
}

int
tool_connect(struct tool *tool, const struct postgres *server, const char *option,
    const char *database, struct err *err)
{
	struct str conninfo = STR_INIT;
	char port[16];

	if (pg_passfile_open(server, &tool->passfile_fd, err) < 0)
		return -1;
	if (tool->passfile_fd >= 0)
		vec_push(&tool->env, xasprintf("PGPASSFILE=/proc/self/fd/%d", tool->passfile_fd));
	(void)snprintf(port, sizeof(port), "%u", server->port);
	conninfo_add(&conninfo, "host", server->host);
	conninfo_add(&conninfo, "port", port);
	conninfo_add(&conninfo, "user", server->user);
	conninfo_add(&conninfo, "dbname", database);
	conninfo_add(&conninfo, "sslmode", server->sslmode);
	conninfo_add(&conninfo, "sslrootcert", server->sslrootcert);
	tool_arg(tool, "%s=%s", option, str_text(&conninfo));
	str_done(&conninfo);

	return 0;
}

struct process *
tool_start(struct tool *tool, const struct tool_pipes *pipes, struct err *err)
{
	struct process_options options = {
		.inherit_fds = &tool->passfile_fd,
		.inherit_fds_count = tool->passfile_fd >= 0 ? 1 : 0,
		.wants_stdin = pipes->wants_stdin,
		.wants_stdout = pipes->wants_stdout,
	};

	vec_push(&tool->argv, (char *)NULL);
	vec_push(&tool->env, (char *)NULL);
	options.argv = (const char *const *)tool->argv.items;
	options.env = (const char *const *)tool->env.items;

	return process_start(&options, err);
}

unsigned
tool_jobs(unsigned wanted)
{
	unsigned cores = cores_available();

	if (wanted > 0)
		return wanted;

	return cores > JOBS_MAX ? JOBS_MAX : cores;
}

/* ---- what it said ----------------------------------------------------------------------------- */

/* The line that the program itself calls its error; else the last one that says anything. */
static void
find_error(const char *text, char *ret_line, size_t size)
{
	const char *found = "";
	size_t found_size = 0;

	while (*text != '\0') {
		size_t line_size = strcspn(text, "\n");
		const char *mark = memmem(text, line_size, "error: ", 7);

		if (line_size > 0) {
			found = mark != NULL ? mark + 7 : text;
			found_size = line_size - (size_t)(found - text);
		}
		if (mark != NULL)
			break;
		text += line_size + (text[line_size] == '\n' ? 1 : 0);
	}
	(void)snprintf(ret_line, size, "%.*s", (int)found_size, found);
}

struct known_message {
	const char *part;
	enum err_kind kind;
	const char *hint;
};

static const struct known_message known_messages[] = {
	/* A column option of the releases of November 2026, which only pg_dump of these leaves out. */
	{ "unrecognized parameter \"pg_attver\"", ERR_UNSUPPORTED,
	    "The dump is of a newer minor release than this server: update PostgreSQL here, or dump "
	    "with a pg_dump of the source's own release." },
	{ "permission denied", ERR_AUTH,
	    "Give the role the missing right; 'blackstart check --sql' prints what a dump needs." },
	{ "row-level security policy", ERR_AUTH,
	    "Give the role BYPASSRLS: a dump without it would silently leave rows out." },
	{ "password authentication failed", ERR_AUTH, "Check password_file of this source." },
	{ "no password supplied", ERR_AUTH, "Set password_file for this source." },
	{ "no pg_hba.conf entry", ERR_AUTH, "Add a line for this role to pg_hba.conf and reload." },
	{ "out of shared memory", ERR_PEER,
	    "Raise max_locks_per_transaction on the server: a dump locks every table." },
	{ "role \"", ERR_PEER,
	    "If a role is missing, make the backup's roles as well: add --globals." },
	{ "connection to server", ERR_NET, "Check that the server runs and can be reached." },
	{ "server closed the connection", ERR_NET, "Look into the server's log, then run again." },
	{ "terminating connection", ERR_NET, "Look into the server's log, then run again." },
	{ "No space left on device", ERR_SPACE, "Free space there, then run again." },
	{ "is not available", ERR_UNSUPPORTED,
	    "Install the package that provides this extension for the server's major." },
	{ "extension control file", ERR_UNSUPPORTED,
	    "Install the package that provides this extension for the server's major." },
};

int
tool_failed(const struct process *process, const char *name, struct err *err)
{
	const char *text = process_stderr(process);
	char line[MESSAGE_MAX];

	find_error(text, line, sizeof(line));
	(void)err_set(err, ERR_PEER, "'%s' failed: %s", name,
	    line[0] != '\0' ? line : "it said nothing");
	for (size_t i = 0; i < ARRAY_SIZE(known_messages); i++) {
		if (strstr(text, known_messages[i].part) == NULL)
			continue;
		err->kind = known_messages[i].kind;
		return err_hint(err, "%s", known_messages[i].hint);
	}

	return -1;
}

int
tool_run(struct process *process, const char *name, const struct process_flow *flow,
    struct err *err)
{
	struct process_exit end;
	struct err plain = ERR_INIT;

	if (process_pump(process, flow, err) < 0 || process_wait(process, -1, &end, err) < 0)
		return -1;
	if (!end.was_signalled && end.code == 0)
		return 0;
	if (process_run(process, NULL, &plain) == 0 || end.was_signalled) {
		*err = plain;
		return -1;
	}

	return tool_failed(process, name, err);
}

void
tool_warnings(const struct process *process, struct manifest *draft)
{
	const char *text = process_stderr(process);
	unsigned count = 0;

	while (*text != '\0') {
		size_t size = strcspn(text, "\n");

		if (size > 0 && count < WARNINGS_MAX)
			manifest_add_warning(draft, "tool_message", "%.*s",
			    size > MESSAGE_MAX ? MESSAGE_MAX : (int)size, text);
		count += size > 0 ? 1 : 0;
		text += size + (text[size] == '\n' ? 1 : 0);
	}
	if (count > WARNINGS_MAX)
		manifest_add_warning(draft, "tool_message", "and %u more lines",
		    count - WARNINGS_MAX);
}

/* ---- into its stdin ---------------------------------------------------------------------------- */

struct tool_sink {
	struct sink base;
	struct process *process;
	bool is_closed; /* by the program */
};

/* The pipe is full: empty stderr meanwhile, which the program may be waiting for. */
static int
feed_wait(struct tool_sink *feed, struct err *err)
{
	struct pollfd fd = { .fd = process_stdin_fd(feed->process), .events = POLLOUT };
	struct err late = ERR_INIT;
	struct process_exit end;

	if (stop_check(err) < 0)
		return -1;
	if (poll(&fd, 1, FEED_WAIT_MS) > 0)
		return 0;
	if (process_wait(feed->process, 1, &end, &late) == 0)
		feed->is_closed = true;

	return 0;
}

static int
feed_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	struct tool_sink *feed = (struct tool_sink *)sink;
	const char *at = data;

	while (size > 0 && !feed->is_closed) {
		ssize_t written = write(process_stdin_fd(feed->process), at, size);

		if (written >= 0) {
			at += written;
			size -= (size_t)written;
		} else if (errno == EPIPE) {
			feed->is_closed = true;
		} else if (errno != EAGAIN && errno != EINTR) {
			return err_sys(err, "cannot write to the program");
		} else if (feed_wait(feed, err) < 0) {
			return -1;
		}
	}

	return 0;
}

static int
feed_finish(struct sink *sink, struct err *err)
{
	(void)sink;
	(void)err;

	return 0;
}

static void
feed_free(struct sink *sink)
{
	free(sink);
}

static const struct sink_ops feed_ops = {
	.name = "program",
	.write = feed_write,
	.finish = feed_finish,
	.free = feed_free,
};

struct sink *
tool_sink_new(struct process *process)
{
	struct tool_sink *feed = xcalloc(1, sizeof(*feed));

	feed->base.ops = &feed_ops;
	feed->process = process;
	/* Or a program that waits for its stderr to be emptied would never be heard. */
	(void)fcntl(process_stdin_fd(process), F_SETFL, O_NONBLOCK);

	return &feed->base;
}
