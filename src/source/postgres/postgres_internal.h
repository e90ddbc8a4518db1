/*
 * What the files of the PostgreSQL driver share: the driver object, connections, the client
 * programs found on this machine, and scratch servers.
 */
#ifndef SOURCE_POSTGRES_POSTGRES_INTERNAL_H
#define SOURCE_POSTGRES_POSTGRES_INTERNAL_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/scope.h"
#include "source/postgres/libpq_internal.h"
#include "source/source.h"

struct err;
struct secret;
struct wal_survey;

struct postgres {
	struct source base;
	char *label;
	char *host;
	unsigned port;
	char *user;
	char **databases; /* NULL-terminated */
	char *maintenance_database;
	const struct secret *password; /* a loan */
	char *sslmode;
	char *sslrootcert;
	char **bin_dirs;
	char *scratch_user;
	char *dump_format;
	struct wal_survey
	    *known; /* what the last choice of a base has read, or NULL: for its plan */
};

static inline struct postgres *
postgres_of(struct source *source)
{
	return (struct postgres *)source;
}

/* ---- conn.c: connections ------------------------------------------------------------------ */

enum pg_mode {
	PG_SQL,
	PG_REPLICATION, /* replication=true: walsender, simple protocol, no SQL */
};

/* NULL: nothing to do, and perhaps no libpq either. */
static inline void
pg_close(PGconn *conn)
{
	if (conn != NULL)
		libpq.PQfinish(conn);
}

static inline void
pg_conn_freep(PGconn **conn)
{
	pg_close(*conn);
}

/* The same for a result. */
static inline void
pg_clear(PGresult *result)
{
	if (result != NULL)
		libpq.PQclear(result);
}

static inline void
pg_result_freep(PGresult **result)
{
	pg_clear(*result);
}

/*
 * Connect to `database` (NULL: the maintenance database; ignored for replication).  Interruptible
 * by a stop.  Sets application_name 'blackstart', client_encoding UTF8 and, for SQL, search_path
 * to pg_catalog only and every timeout to 0.  The error says what to check: ERR_AUTH for 28xxx,
 * ERR_NET for connection failures, else ERR_PEER.
 */
PGconn *pg_connect(const struct postgres *pg, const char *database, enum pg_mode mode,
    struct err *err) MUST_CHECK;

/* The same with another application_name. */
PGconn *pg_connect_named(const struct postgres *pg, const char *database, enum pg_mode mode,
    const char *client_name, struct err *err) MUST_CHECK;

/*
 * Begin a connection to the maintenance database and leave PQconnectPoll to the caller, who must
 * not wait; nothing is set in the session.  `address` saves the look-up of the host's name, NULL:
 * look it up.  NULL only without libpq or memory.
 */
PGconn *pg_connect_begin(const struct postgres *pg, const char *client_name, const char *address,
    struct err *err) MUST_CHECK;

/* Run one statement; NULL and ERR_* unless it succeeded (rows or command). Stops on a stop. */
PGresult *pg_query(PGconn *conn, const char *sql, struct err *err) MUST_CHECK;

/* With text parameters (SQL connections only). */
PGresult *pg_query_params(PGconn *conn, const char *sql, const char *const *params, int count,
    struct err *err) MUST_CHECK;

/* The first column of the first row, yours; ERR_DATA when there is no row. NULL gives "". */
char *pg_query_value(PGconn *conn, const char *sql, struct err *err) MUST_CHECK;

/* Run a statement for its effect. */
int pg_execute(PGconn *conn, const char *sql, struct err *err) MUST_CHECK;

/* Fill err from a failed result or connection: kind by SQLSTATE, the server's own text. */
int pg_error(PGconn *conn, const PGresult *result, struct err *err, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* Quoting for statements where parameters cannot go. Appends to `to`. */
struct str;
void pg_add_identifier(struct str *to, const char *name);
void pg_add_literal(struct str *to, const char *text);

/* 150004 for 15.4; of the connected server. */
int pg_server_version(const PGconn *conn);

/* The size of its WAL segments: 1 MiB to 1 GiB. */
int pg_wal_segment_bytes(PGconn *conn, uint64_t *ret_bytes, struct err *err) MUST_CHECK;

/* "15.4" for 150004; yours. */
char *pg_version_text(int version) MUST_CHECK;

/* The pieces pg_query is made of, for the long conversations of a base backup. */
int pg_wait_readable(PGconn *conn, struct err *err) MUST_CHECK; /* or a stop, which cancels */
int pg_next_result(PGconn *conn, PGresult **ret_result, struct err *err) MUST_CHECK; /* NULL: end */
void pg_cancel(PGconn *conn);

/*
 * How client programs are told the password: a passfile in memory (memfd, 0600) that is passed on
 * as an open descriptor, PGPASSFILE=/proc/self/fd/N.  Never argv, never the environment, nothing
 * on disk.  *ret_fd -1 when there is no password.
 */
int pg_passfile_open(const struct postgres *pg, int *ret_fd, struct err *err) MUST_CHECK;

/* ---- bins.c: the vendor's programs on this machine ------------------------------------------ */

struct pg_program {
	char *path;  /* "/usr/lib/postgresql/15/bin/pg_dump" */
	int version; /* 150020: of this program itself, by --version */
};
void pg_program_done(struct pg_program *program);

/*
 * The program `name` that suits a server or archive of `major` (15): the same major first, else
 * the smallest newer one; with `is_exact` only the same.  ERR_UNSUPPORTED names what was found
 * and the package to install.  Searched: bin_dirs, or for "auto" /usr/lib/postgresql/N/bin,
 * /usr/pgsql-N/bin, /usr/local/pgsql/bin, PATH.
 */
int pg_program_find(const struct postgres *pg, const char *name, int major, bool is_exact,
    struct pg_program *ret_program, struct err *err) MUST_CHECK;

/* ---- scratch.c: servers that we start and stop --------------------------------------------- */

struct scratch;

struct scratch_options {
	const char
	    *data_dir; /* a data directory, owned by the right user; NULL: initdb a new one */
	const char *work_dir; /* exists, ours: socket, log and a new data directory go here */
	int major;
	bool is_exact;               /* the same major is needed (physical) */
	unsigned port;               /* 0: private socket only; else also on 127.0.0.1 */
	bool is_kept;                /* leave it running after scratch_free (restore --start) */
	const char *const *settings; /* "name=value", NULL-terminated, after our own safe ones */
	const char *encoding;        /* for initdb, NULL: UTF8 */
	const char *superuser;       /* to connect as; NULL: "postgres", or one that lets us in */
	const char *owner;           /* OS user to run as when we are root; NULL: scratch_user */
	const char *socket_dir;      /* for is_kept: where its own settings put the socket */
	/*
	 * Called over and over until the server has ended its recovery, each time for a moment; an
	 * error ends the wait.  NULL: there is nothing to do meanwhile.
	 */
	int (*idle)(void *context, struct err *err);
	void *idle_context;
};

/*
 * Start a server on a private socket in work_dir with safe settings: no archiving, no standbys,
 * no replication workers, no TLS, logging to work_dir.  As root it runs as pg->scratch_user.
 * Waits until it accepts connections; ERR_PEER quotes its log otherwise.
 */
struct scratch *scratch_start(const struct postgres *pg, const struct scratch_options *options,
    struct err *err) MUST_CHECK;

/* A driver object that connects to the scratch server as its superuser; a loan. */
const struct postgres *scratch_postgres(const struct scratch *scratch);
const char *scratch_socket_dir(const struct scratch *scratch);

/* Stop it in an orderly way (fast shutdown, then immediate after 60 s). */
int scratch_stop(struct scratch *scratch, struct err *err) MUST_CHECK;

/* Stop at once if it still runs (unless is_kept) and forget it; files stay. NULL is ok. */
void scratch_free(struct scratch *scratch);
SCOPED_FREE(struct scratch, scratch_free)

/*
 * Stop whatever server a killed run left running below `work_dir`, so that it can be removed.
 * Only processes named postgres whose data directory lies there are touched.
 */
int pg_scratch_sweep(const char *work_dir, struct err *err) MUST_CHECK;

/* Does a PostgreSQL server run in this data directory, as far as this machine can see. */
int pg_server_runs_in(const char *data_dir, bool *ret_is_running, struct err *err) MUST_CHECK;

/* The OS user that scratch servers and restored data directories belong to, when we are root. */
int pg_server_user(const struct postgres *pg, const char *owner, uid_t *ret_uid, gid_t *ret_gid,
    struct err *err) MUST_CHECK;

/* ---- one function per verb and kind; postgres.c dispatches ----------------------------------- */

int pg_dump_backup(struct postgres *pg, const struct backup_request *request, struct intake *intake,
    struct manifest *draft, struct err *err) MUST_CHECK;
int pg_dump_verify(struct postgres *pg, const struct backup_view *view,
    const struct verify_request *request, struct verify_report *report, struct err *err) MUST_CHECK;
int pg_dump_adopt(struct postgres *pg, const char *path, struct manifest *draft, struct err *err)
    MUST_CHECK;
int pg_dump_plan(struct postgres *pg, const struct backup_view *view,
    const struct restore_request *request, struct restore_plan *plan, struct err *err) MUST_CHECK;
int pg_dump_restore(struct postgres *pg, const struct backup_view *view,
    const struct restore_request *request, struct restore_report *report, struct err *err)
    MUST_CHECK;
int pg_promote(struct postgres *pg, const struct promote_request *request,
    struct restore_report *report, struct err *err) MUST_CHECK;

int pg_base_backup(struct postgres *pg, const struct backup_request *request, struct intake *intake,
    struct manifest *draft, struct err *err) MUST_CHECK;
int pg_base_verify(struct postgres *pg, const struct backup_view *view,
    const struct verify_request *request, struct verify_report *report, struct err *err) MUST_CHECK;
int pg_base_plan(struct postgres *pg, const struct backup_view *view,
    const struct restore_request *request, struct restore_plan *plan, struct err *err) MUST_CHECK;
int pg_base_restore(struct postgres *pg, const struct backup_view *view,
    const struct restore_request *request, struct restore_report *report, struct err *err)
    MUST_CHECK;

/* `request->name` is a restored data directory, `request->confirm` the live one. */
int pg_base_promote(const struct promote_request *request, struct restore_report *report,
    struct err *err) MUST_CHECK;

int pg_check(struct postgres *pg, struct check_report *report, struct err *err) MUST_CHECK;
char *pg_setup_sql(const struct postgres *pg) MUST_CHECK;

/* Smoke queries (level 4) against a running server; each answer becomes a note. */
int pg_smoke_run(const struct postgres *server, const struct verify_request *request,
    const char *default_database, struct verify_report *report, struct err *err) MUST_CHECK;

#endif
