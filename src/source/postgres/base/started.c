#include "source/postgres/base/started.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/str.h"
#include "os/file.h"
#include "os/stop.h"
#include "source/postgres/base/content.h"
#include "source/postgres/base/fed.h"
#include "source/postgres/base/recover.h"
#include "source/postgres/base/target.h"
#include "source/postgres/count_internal.h"
#include "source/postgres/postgres_internal.h"
#include "source/postgres/wal/recovery.h"

char *
started_command(const struct started_options *options, const char *verb)
{
	SCOPED(pg_program_done) struct pg_program program = { .path = NULL };
	int major = options->content->server_version / 10000;
	const char *dir = options->target->data_dir;
	const char *user = options->request->owner != NULL ? options->request->owner
							   : options->pg->scratch_user;
	SCOPED(freep)
	char *as_user = geteuid() == 0 ? xasprintf("runuser -u %s -- ", user) : xstrdup("");
	struct err ignored = ERR_INIT;

	if (pg_program_find(options->pg, "pg_ctl", major, true, &program, &ignored) < 0)
		program.path = xstrdup("pg_ctl");
	if (str_equals(verb, "stop"))
		return xasprintf("%s%s -D '%s' stop", as_user, program.path, dir);

	return xasprintf("%s%s -D '%s' -l '%s/server.log' start", as_user, program.path, dir, dir);
}

/* ---- what is in it --------------------------------------------------------------------------------- */

static int
count_database(const struct postgres *server, const char *database, json_t *databases,
    struct restore_report *report, struct err *err)
{
	SCOPED(pg_conn_freep) PGconn *conn = pg_connect(server, database, PG_SQL, err);
	SCOPED(count_done) struct count count = { .conn = NULL };

	if (conn == NULL ||
	    pg_execute(conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err) < 0 ||
	    count_begin(&count, conn, false, err) < 0 || count_finish(&count, err) < 0)
		return err_wrap(err, "restored database '%s'", database);
	vec_push(&report->notes,
	    xasprintf("database '%s': %zu tables, %llu rows", database, count.tables.count,
		(unsigned long long)count_rows_total(&count)));
	for (size_t i = 0; i < count.tables.count; i++) {
		const struct count_table *table = &count.tables.items[i];

		if (table->is_unlogged)
			vec_push(&report->notes,
			    xasprintf("table '%s.%s' of database '%s' is unlogged: it comes back "
				      "empty",
				count_schema(&count, table), count_name(&count, table), database));
	}
	(void)json_array_append_new(databases,
	    json_pack("{s:o, s:I, s:I, s:o}", "name", json_text(database), "tables",
		(json_int_t)count.tables.count, "rows", (json_int_t)count_rows_total(&count),
		"unlogged", count_json_unlogged(&count)));

	return 0;
}

static int
count_all(const struct started_options *options, const struct postgres *server,
    struct restore_report *report, struct err *err)
{
	SCOPED(pg_conn_freep) PGconn *conn = pg_connect(server, NULL, PG_SQL, err);
	json_t *databases = json_array();

	(void)json_object_set_new(report->details, "databases", databases);
	if (conn == NULL)
		return -1;
	SCOPED(pg_result_freep)
	PGresult *result = pg_query(conn,
	    "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY oid",
	    err);
	if (result == NULL)
		return -1;
	progress_phase(options->request->progress, "counting rows", 0);
	for (int row = 0; row < libpq.PQntuples(result); row++) {
		if (stop_check(err) < 0 ||
		    count_database(server, libpq.PQgetvalue(result, row, 0), databases, report,
			err) < 0)
			return -1;
	}

	return 0;
}

static int
describe_running(const struct started_options *options, const struct postgres *server,
    struct restore_report *report, struct err *err)
{
	const struct base_target *target = options->target;
	SCOPED(pg_conn_freep) PGconn *conn = pg_connect(server, NULL, PG_SQL, err);
	SCOPED(freep) char *version = NULL;
	SCOPED(freep) char *lsn = NULL;
	SCOPED(freep) char *stop = started_command(options, "stop");
	json_t *details = report->details;

	if (conn == NULL)
		return -1;
	version = pg_query_value(conn, "SHOW server_version", err);
	if (version == NULL)
		return -1;
	lsn = pg_query_value(conn, "SELECT pg_current_wal_insert_lsn()", err);
	if (lsn == NULL)
		return -1;
	vec_push(&report->notes,
	    xasprintf("PostgreSQL %s runs on port %u of this machine, WAL position %s", version,
		target->port, lsn));
	vec_push(&report->notes, xasprintf("to stop it: %s", stop));
	(void)json_object_set_new(details, "port", json_integer(target->port));
	(void)json_object_set_new(details, "socket_dir", json_string(target->socket_dir));
	(void)json_object_set_new(details, "running_version", json_string(version));
	(void)json_object_set_new(details, "lsn", json_string(lsn));
	report->next = xasprintf("psql -h '%s' -p %u -U '%s' -l", target->socket_dir, target->port,
	    server->user);

	return 0;
}

/* ---- starting -------------------------------------------------------------------------------------- */

static struct fed *
open_feeder(const struct started_options *options, struct err *err)
{
	SCOPED(freep) char *path = path_join(options->target->data_dir, STARTED_SOCKET);
	const struct fed_options fed = {
		.archive = options->request->archive,
		.content = options->content,
		.socket_path = path,
		.uid = options->target->uid,
		.segments_count = options->need->segments_count,
		.progress = options->request->progress,
	};

	return fed_open(&fed, err);
}

/* Gone again when the server has ended its recovery. */
static void
unlend(const struct started_options *options)
{
	if (options->lent != NULL)
		(void)unlink(options->lent);
}

static int
fail(const struct started_options *options, struct err *err)
{
	(void)err_wrap(err, "the files are restored in '%s', but the server does not run",
	    options->target->data_dir);

	return err_hint(err, "Its log: %s/server.log.", options->target->data_dir);
}

static int
tell_reached(const struct started_options *options, const struct postgres *server,
    struct restore_report *report, struct err *err)
{
	struct base_reached reached;

	if (options->need == NULL)
		return 0;
	if (base_recovery_reached(server, options->target->data_dir, &reached, err) < 0 ||
	    base_recovery_judge(&reached, &options->request->target, options->need->expected_lsn,
		report, err) < 0)
		return err_wrap(err, "the copy in '%s' runs", options->target->data_dir);

	return 0;
}

int
started_run(const struct started_options *options, struct restore_report *report, struct err *err)
{
	const struct base_target *target = options->target;
	SCOPED(fed_freep) struct fed *fed = NULL;
	SCOPED(scratch_freep) struct scratch *scratch = NULL;
	struct scratch_options start = {
		.data_dir = options->target->data_dir,
		.work_dir = options->target->data_dir,
		.major = options->content->server_version / 10000,
		.is_exact = true,
		.port = options->target->port,
		.is_kept = true,
		.superuser = options->content->superuser,
		.owner = options->request->owner,
		.socket_dir = options->target->socket_dir,
	};

	progress_phase(options->request->progress, "starting the restored server", 0);
	if (options->lent != NULL &&
	    fed_lend_program(options->request->fetcher[0], options->lent, target->uid, target->gid,
		err) < 0)
		return -1;
	if (options->need != NULL) {
		fed = open_feeder(options, err);
		if (fed == NULL)
			return -1;
		start.idle = fed_idle;
		start.idle_context = fed;
	}
	base_target_yield_port(options->target);
	scratch = scratch_start(options->pg, &start, err);
	unlend(options);
	if (scratch == NULL) {
		if (fed != NULL)
			(void)fed_explain(fed, err);
		return fail(options, err);
	}
	if (tell_reached(options, scratch_postgres(scratch), report, err) < 0 ||
	    count_all(options, scratch_postgres(scratch), report, err) < 0)
		return -1;

	return describe_running(options, scratch_postgres(scratch), report, err);
}
