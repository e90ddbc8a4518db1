/*
 * The catalog: an SQLite index of runs and backups.  For the backups it is only a cache of the
 * store and can be made again; the runs are its own.  Nobody else writes SQL.
 *
 * Opened in WAL mode with synchronous=FULL and a busy timeout of 10 s; several processes may use
 * it at once, one thread may use one catalog.  A write that returned 0 outside of begin and commit
 * is durable, one inside is with the commit.
 *
 * Every function may fail with: ERR_DATA, a damaged database or none at all, found when the bad
 * page is touched (the caller sets it aside with catalog_set_aside and opens again); ERR_BUSY,
 * another process held it for longer than the timeout; ERR_SPACE, the disk is full;
 * ERR_PERMISSION, it cannot be written; ERR_IO.  After a failure inside begin and commit only
 * rollback is of use.
 */
#ifndef CATALOG_CATALOG_H
#define CATALOG_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"

struct catalog;
struct err;

enum run_state {
	RUN_RUNNING,
	RUN_OK,
	RUN_WARNING,
	RUN_FAILED,
	RUN_MISSED,
	RUN_SKIPPED,
	RUN_CANCELLED,
	RUN_LOST,
};
const char *run_state_name(enum run_state state); /* "running", "ok", ...: as in the database */
/* The other way; a state of a newer version is taken for lost: not running, and not good. */
enum run_state run_state_of(const char *name);

/* One execution of a job.  Texts are owned by the row; id, job, source and verb are never NULL. */
struct run_row {
	char *id;
	char *job;
	char *source;
	char *verb; /* "backup", "verify", "restore", "prune" */
	enum run_state state;
	struct wall_time started;
	struct wall_time finished; /* 0 while running */
	char *backup_id;           /* NULL: none */
	uint64_t source_bytes;
	uint64_t stored_bytes;
	char *message; /* the error or the first warning, NULL: none */
	char *hint;
	bool may_pass; /* failed by what may pass by itself */
	char *log_path;
	char *lock_path;           /* held by the process while it lives */
	struct wall_time due;      /* the due time it was begun for, or the first; 0: none */
	struct wall_time due_last; /* of a note about several: the last */
	uint64_t due_count;        /* of a note: how many */
	unsigned attempt;          /* from 1; 0: by hand, or a note */
};

/* One backup in the store.  Texts are owned by the row; id and manifest_name are never NULL. */
struct backup_row {
	char *id;
	char *job;
	char *source;
	char *source_type;
	char *kind;
	char *manifest_name; /* object name of the manifest; for an unproven file: its own name */
	uint64_t manifest_bytes; /* with manifest_modified: to see that the object is the same */
	struct wall_time manifest_modified;
	char *identity;
	char *version;
	struct wall_time started;
	struct wall_time finished;
	struct wall_time consistent_at;
	uint64_t content_bytes;
	uint64_t stored_bytes;
	unsigned warnings_count;
	bool is_unproven; /* a file of the user's without a manifest */
	bool is_damaged;  /* the last verification found it damaged, or damaged at source */
	bool is_pinned;
	char *pin_reason;
	int level; /* highest level proved, -1: none */
	struct wall_time level_at;
	struct wall_time checked_at; /* the last verification, good or not; 0: never */
	char *check_message; /* what the last failed verification said, NULL when it was good */
};

struct run_rows {
	VEC(struct run_row) rows;
};
struct backup_rows {
	VEC(struct backup_row) rows;
};

/*
 * Open or create the database file (mode 0600, whatever the umask; its folder exists) and bring
 * it to the newest schema.  Safe when several processes do it at once.  ERR_UNSUPPORTED: a newer
 * blackstart wrote it; ERR_DATA also for another program's database, which is left as it is.
 */
struct catalog *catalog_open(const char *path, struct err *err) MUST_CHECK;
void catalog_close(struct catalog *catalog);
SCOPED_FREE(struct catalog, catalog_close)

/*
 * Move a damaged database (with -wal and -shm) to "<path>.damaged-<UTC>"; *ret_moved is yours.
 * Nothing there is overwritten.  The log goes first, so that it can never be taken for the log of
 * the database that is made next.  No process may have it open.
 */
int catalog_set_aside(const char *path, char **ret_moved, struct err *err) MUST_CHECK;

/* The newest of those that catalog_set_aside has moved and that still lie there; yours, or NULL. */
char *catalog_find_aside(const struct catalog *catalog) MUST_CHECK;

/*
 * Several writes as one: between begin and commit; rolled back by catalog_close or rollback.
 * Begin waits for the one other writer there may be; they do not nest.  Rollback without begin
 * does nothing.
 */
int catalog_begin(struct catalog *catalog, struct err *err) MUST_CHECK;
int catalog_commit(struct catalog *catalog, struct err *err) MUST_CHECK;
void catalog_rollback(struct catalog *catalog);

/* ERR_EXISTS: there is a run with this id, or of this due time at this attempt. */
int catalog_run_insert(struct catalog *catalog, const struct run_row *run, struct err *err)
    MUST_CHECK;

/*
 * Update state, finished, backup_id, bytes, message, hint and may_pass of the run with this id.
 * ERR_NOT_FOUND: there is none.
 */
int catalog_run_update(struct catalog *catalog, const struct run_row *run, struct err *err)
    MUST_CHECK;

/* The run with this id; run_row_done frees it.  ERR_NOT_FOUND. */
int catalog_run_get(struct catalog *catalog, const char *id, struct run_row *ret_run,
    struct err *err) MUST_CHECK;

struct run_filter {
	const char *job; /* NULL: any */
	const char *source;
	const char *verb;
	const enum run_state *state; /* NULL: any */
	struct wall_time before;     /* started before it; 0: any */
	unsigned limit;              /* 0: all */
};

/* Newest (by started) first; read through an index, without sorting. */
int catalog_run_list(struct catalog *catalog, const struct run_filter *filter,
    struct run_rows *ret_rows, struct err *err) MUST_CHECK;

/* Per job, the last finished backup run and the last good one, in one indexed query. */
struct job_summary {
	char *job;
	char *source;             /* of the newest of these runs */
	struct run_row last;      /* ended in any way, also missed or skipped; id NULL: none */
	struct run_row last_good; /* ended ok or with warnings */
	struct run_row running;
};
struct job_summaries {
	VEC(struct job_summary) rows;
};

/* Every job that has a backup run, by name. */
int catalog_job_summaries(struct catalog *catalog, struct job_summaries *ret_rows, struct err *err)
    MUST_CHECK;
void job_summaries_done(struct job_summaries *summaries);

/* Insert or replace; level, pin and check fields are part of the row. */
int catalog_backup_put(struct catalog *catalog, const struct backup_row *backup, struct err *err)
    MUST_CHECK;

/* Forget it; one that is not there is ok. */
int catalog_backup_remove(struct catalog *catalog, const char *id, struct err *err) MUST_CHECK;
int catalog_backup_clear(struct catalog *catalog, struct err *err) MUST_CHECK;

/*
 * The backup with this id; a unique prefix of an id is enough.  ERR_NOT_FOUND; ERR_USAGE names
 * two candidates when a prefix stands for several.
 */
int catalog_backup_get(struct catalog *catalog, const char *id, struct backup_row *ret_backup,
    struct err *err) MUST_CHECK;

struct backup_filter {
	const char *job;
	const char *source;
	const char *kind;
	bool is_good; /* only those with a manifest that are not damaged */
	unsigned limit;
};

/* Newest (by consistent_at) first; by job or source read through an index, without sorting. */
int catalog_backup_list(struct catalog *catalog, const struct backup_filter *filter,
    struct backup_rows *ret_rows, struct err *err) MUST_CHECK;

void run_row_done(struct run_row *run);
void run_rows_done(struct run_rows *rows);
void backup_row_done(struct backup_row *backup);
void backup_rows_done(struct backup_rows *rows);

#endif
