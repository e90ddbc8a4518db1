#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/process.h"
#include "repo/manifest.h"
#include "repo/names.h"
#include "source/postgres/dump/dump_internal.h"
#include "source/postgres/tool_internal.h"

enum {
	VERSION_ZSTD = 160000, /* the first pg_dump that has it */
};

/* ---- what is to be dumped ---------------------------------------------------------------------- */

struct names {
	VEC(char *) items;
};

static void
names_done(struct names *names)
{
	for (size_t i = 0; i < names->items.count; i++)
		free(names->items.items[i]);
	vec_done(&names->items);
}

/* The configured databases, or all that can be connected to. */
static int
list_databases(const struct postgres *pg, PGconn *conn, struct names *names, struct err *err)
{
	for (size_t i = 0; pg->databases != NULL && pg->databases[i] != NULL; i++)
		vec_push(&names->items, xstrdup(pg->databases[i]));
	if (names->items.count > 0)
		return 0;

	SCOPED(pg_result_freep)
	PGresult *result = pg_query(conn,
	    "SELECT datname FROM pg_database "
	    "WHERE datallowconn AND NOT datistemplate ORDER BY datname COLLATE \"C\"",
	    err);
	if (result == NULL)
		return -1;
	for (int row = 0; row < libpq.PQntuples(result); row++)
		vec_push(&names->items, xstrdup(libpq.PQgetvalue(result, row, 0)));
	if (names->items.count == 0)
		return err_set(err, ERR_NOT_FOUND, "the server has no database to dump");

	return 0;
}

/*
 * Does this pg_dump have zstd built in.  It says so before it connects, so an address where
 * nothing listens answers in a moment.
 */
static bool
has_zstd(const struct pg_program *program)
{
	const struct tool_pipes pipes = { .wants_stdout = false };
	struct err ignored = ERR_INIT;
	SCOPED(tool_done) struct tool tool = { .passfile_fd = -1 };

	if (program->version < VERSION_ZSTD)
		return false;
	tool_init(&tool, program->path);
	tool_arg(&tool, "--format=custom");
	tool_arg(&tool, "--compress=zstd:1");
	tool_arg(&tool, "--dbname=host=/nonexistent dbname=none");
	SCOPED(process_freep) struct process *process = tool_start(&tool, &pipes, &ignored);
	if (process == NULL)
		return false;
	if (tool_run(process, "pg_dump", NULL, &ignored) == 0)
		return false;

	return strstr(process_stderr(process), "connection to server") != NULL;
}

/* ---- the draft ------------------------------------------------------------------------------------ */

static void
replace(char **text, char *with)
{
	free(*text);
	*text = with;
}

/* The identity is a plain function call that every role may make, unless somebody revoked it. */
static void
draft_identity(PGconn *conn, struct manifest *draft)
{
	struct err cause = ERR_INIT;
	char *identity = pg_query_value(conn, "SELECT system_identifier FROM pg_control_system()",
	    &cause);

	if (identity == NULL)
		manifest_add_warning(draft, "no_identity",
		    "the cluster's system identifier cannot be read: %s", cause.msg);
	replace(&draft->source_identity, identity != NULL ? identity : xstrdup(""));
	replace(&draft->source_version, pg_version_text(pg_server_version(conn)));
}

static void
draft_begin(const struct dump_job *job, struct manifest *draft)
{
	SCOPED(freep) char *tool_version = pg_version_text(job->program.version);

	(void)json_object_set_new(draft->content, "server_version_num",
	    json_integer(job->server_version));
	(void)json_object_set_new(draft->content, "pg_dump", json_string(tool_version));
	(void)json_object_set_new(draft->content, "pg_dump_version_num",
	    json_integer(job->program.version));
	(void)json_object_set_new(draft->content, "is_counted", json_true());
	(void)json_object_set_new(draft->content, "databases", json_array());
	(void)json_object_set_new(draft->content, "globals", json_string("globals.sql"));
}

static void
draft_add_database(struct manifest *draft, const struct dump_session *session, const char *part,
    const char *format)
{
	json_t *databases = json_object_get(draft->content, "databases");

	(void)json_object_set_new(session->facts, "file", json_text(part));
	(void)json_object_set_new(session->facts, "format", json_string(format));
	if (json_object_get(session->facts, "tables") == NULL)
		(void)json_object_set_new(draft->content, "is_counted", json_false());
	if (json_array_size(databases) == 0)
		draft->consistent_at = session->at;
	(void)json_array_append(databases, session->facts);
}

static void
draft_remarks(struct manifest *draft, const struct dump_session *session)
{
	json_int_t subscriptions = json_integer_value(json_object_get(session->facts,
	    "subscriptions"));

	if (subscriptions > 0)
		manifest_add_warning(draft, "subscriptions",
		    "database '%s' has %lld subscriptions; they are restored switched off",
		    json_string_value(json_object_get(session->facts, "name")),
		    (long long)subscriptions);
	if (session->is_standby)
		manifest_add_warning(draft, "standby",
		    "the server is a standby: unlogged tables are dumped empty");
}

/* ---- one database after the other -------------------------------------------------------------------- */

static int
backup_database(const struct dump_job *job, const char *database, bool is_only,
    struct manifest *draft, struct err *err)
{
	const char *format = job->request->format != NULL ? job->request->format
	    : job->pg->dump_format != NULL                ? job->pg->dump_format
							  : "custom";
	SCOPED(freep) char *encoded = name_encode(database);
	SCOPED(freep) char *part = NULL;
	SCOPED(dump_session_done) struct dump_session session = { .conn = NULL };
	bool is_directory = str_equals(format, "directory");
	int result;

	if (!is_directory && !str_equals(format, "custom")) {
		(void)err_set(err, ERR_USAGE, "'%.40s' is no format of a dump", format);
		return err_hint(err, "The formats are 'custom' and 'directory'.");
	}
	part = is_directory ? xasprintf("%s.dir", encoded)
	    : is_only       ? xstrdup("dump")
			    : xasprintf("%s.dump", encoded);
	if (dump_session_open(&session, job->pg, database, err) < 0)
		return -1;
	result = is_directory ? dump_directory(job, database, part, &session, err)
			      : dump_custom(job, database, part, &session, err);
	if (result < 0)
		return -1;
	draft_add_database(draft, &session, part, format);
	draft_remarks(draft, &session);

	return 0;
}

static int
backup_all(struct dump_job *job, const struct names *databases, struct err *err)
{
	job->compress = has_zstd(&job->program) ? "--compress=zstd:1" : "--compress=1";
	draft_begin(job, job->draft);

	/* The small part first and the dump last: a crash in between leaves no pair that looks whole. */
	if (dump_globals(job, databases->items.items[0], err) < 0)
		return -1;
	for (size_t i = 0; i < databases->items.count; i++) {
		if (backup_database(job, databases->items.items[i], databases->items.count == 1,
			job->draft, err) < 0)
			return -1;
	}

	return 0;
}

int
pg_dump_backup(struct postgres *pg, const struct backup_request *request, struct intake *intake,
    struct manifest *draft, struct err *err)
{
	struct dump_job job = {
		.pg = pg,
		.request = request,
		.intake = intake,
		.draft = draft,
	};
	SCOPED(names_done) struct names databases = { .items = { .count = 0 } };
	int result;

	SCOPED(pg_conn_freep) PGconn *conn = pg_connect(pg, NULL, PG_SQL, err);
	if (conn == NULL)
		return -1;
	job.server_version = pg_server_version(conn);
	draft_identity(conn, draft);
	if (list_databases(pg, conn, &databases, err) < 0)
		return err_wrap(err, "postgres '%s'", pg->label);
	pg_close(TAKE(conn));

	/* A pg_dump older than the server refuses, so that is known before anything is written. */
	if (pg_program_find(pg, "pg_dump", job.server_version / 10000, false, &job.program, err) <
	    0)
		return err_wrap(err, "postgres '%s'", pg->label);
	result = backup_all(&job, &databases, err);
	pg_program_done(&job.program);

	return result < 0 ? err_wrap(err, "postgres '%s'", pg->label) : 0;
}
