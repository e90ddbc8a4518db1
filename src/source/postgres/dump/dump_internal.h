/*
 * What the files of logical dumps share: one database while it is dumped, and a database as the
 * manifest describes it when it is read back.
 */
#ifndef SOURCE_POSTGRES_DUMP_DUMP_INTERNAL_H
#define SOURCE_POSTGRES_DUMP_DUMP_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "source/postgres/count_internal.h"
#include "source/postgres/libpq_internal.h"
#include "source/postgres/postgres_internal.h"
#include "source/postgres/spool_internal.h"

struct backup_request;
struct backup_view;
struct err;
struct intake;
struct json_t;
struct manifest;
struct manifest_file;
struct process;
struct sink;
struct str;

/* ---- dump_session.c: one database held still ------------------------------------------------ */

/* A transaction whose snapshot is exported, and what it sees. */
struct dump_session {
	PGconn *conn;
	char *snapshot;       /* for pg_dump --snapshot */
	struct wall_time at;  /* of the server's clock */
	struct json_t *facts; /* the database's entry in the manifest, owned */
	bool is_standby;
};
int dump_session_open(struct dump_session *session, const struct postgres *pg, const char *database,
    struct err *err) MUST_CHECK;
void dump_session_done(struct dump_session *session);

/*
 * Schema, name and last value of the sequences whose value is compared, sorted bytewise.
 * Sequences stand outside transactions: the value now is the least that the dump will have.
 */
extern const char dump_sequences_sql[];

/* ---- dump_count.c: counting while pg_dump runs ---------------------------------------------- */

/* As count, but a failure to count never fails the dump: it is kept and told at the end. */
struct dump_count {
	struct count count;
	bool has_begun;
	bool is_lost;     /* counting failed as a whole ... */
	char reason[200]; /* ... because of this */
};
/* To be called whenever there is a moment; begins by itself.  Fails only on a stop. */
int dump_count_step(struct dump_count *counting, struct dump_session *session, struct err *err)
    MUST_CHECK;
/* Count the rest and put all into the session's facts; what is missing becomes a warning. */
int dump_count_finish(struct dump_count *counting, struct dump_session *session,
    struct manifest *draft, struct err *err) MUST_CHECK;
void dump_count_done(struct dump_count *counting);

/* ---- dump_run.c, dump_directory.c, dump_globals.c: what is pushed into the intake ------------- */

struct dump_job {
	const struct postgres *pg;
	const struct backup_request *request;
	struct intake *intake;
	struct manifest *draft;
	struct pg_program program; /* pg_dump */
	const char *compress;      /* "--compress=zstd:1" or "-Z1" */
	int server_version;
};
/* One database into one part, or into the files of a folder; counted meanwhile. */
int dump_custom(const struct dump_job *job, const char *database, const char *part,
    struct dump_session *session, struct err *err) MUST_CHECK;
int dump_directory(const struct dump_job *job, const char *database, const char *part,
    struct dump_session *session, struct err *err) MUST_CHECK;
/* Roles and tablespaces into "globals.sql". */
int dump_globals(const struct dump_job *job, const char *database, struct err *err) MUST_CHECK;

/* ---- dump_content.c: the manifest read back ---------------------------------------------------- */

/* One database of a backup.  Texts and JSON are loans from the manifest; NULL where not known. */
struct dump_database {
	const char *name;
	const char *part; /* "dump", "a.dump", "a.dir" */
	bool is_directory;
	bool is_counted; /* rows of its tables are known */
	const char *encoding;
	const char *collate;
	const char *ctype;
	const char *provider; /* "libc", "icu", "builtin" */
	const char *locale;   /* of icu and builtin */
	const char *icu_rules;
	const char *owner;
	uint64_t bytes; /* 0: not known */
	const struct json_t *tables;
	const struct json_t *entry;
};

size_t dump_databases_count(const struct manifest *manifest);
int dump_database_get(const struct manifest *manifest, size_t at, struct dump_database *ret,
    struct err *err) MUST_CHECK;
/* By name; ERR_NOT_FOUND names those there are. */
int dump_database_find(const struct manifest *manifest, const char *name, struct dump_database *ret,
    struct err *err) MUST_CHECK;

/* 150004 of the server that was dumped and of the pg_dump that wrote it; 0: not known. */
int dump_server_version(const struct manifest *manifest);
int dump_tool_version(const struct manifest *manifest);

/* The stored file of a part, or NULL.  The file has the backup's stem in front. */
const struct manifest_file *dump_find_part(const struct manifest *manifest, const char *part);
/* The bytes of all files of a database. */
uint64_t dump_database_stored_bytes(const struct manifest *manifest,
    const struct dump_database *database);
bool dump_is_in_directory(const struct manifest_file *file, const char *part);

/* ---- dump_archive.c: an archive as pg_restore can read it -------------------------------------- */

/*
 * Where pg_restore finds an archive: a path on this machine, or a stream.  A dump in directory
 * format without a local path is copied into `work_dir` first.
 */
struct dump_archive {
	const struct backup_view *view;
	const struct manifest_file *file; /* of a custom archive */
	char *path;                       /* NULL: must be streamed */
	struct spool spool;               /* of a copied folder */
};
/* So that dump_archive_done is safe before, and after a failed, dump_archive_open. */
#define DUMP_ARCHIVE_INIT                                                                          \
	{                                                                                          \
		.spool = {.lock_fd = -1 }                                                          \
	}
int dump_archive_open(struct dump_archive *archive, const struct backup_view *view,
    const struct dump_database *database, const char *work_dir, struct err *err) MUST_CHECK;
void dump_archive_done(struct dump_archive *archive);

/* pg_restore that reads archives of this manifest. */
int dump_find_pg_restore(const struct postgres *pg, const struct manifest *manifest,
    struct pg_program *ret_program, struct err *err) MUST_CHECK;

/* Push a custom archive into the stdin of a pg_restore; tool_run must follow. */
int dump_archive_feed(const struct dump_archive *archive, struct process *process, struct err *err)
    MUST_CHECK;

/* Read it to its last byte with pg_restore, to nowhere. */
int dump_archive_read(const struct dump_archive *archive, const struct pg_program *pg_restore,
    struct err *err) MUST_CHECK;

/* ---- dump_load.c: an archive into a database ---------------------------------------------------- */

struct dump_load {
	const struct postgres *server;
	const char *database; /* exists and is empty */
	const struct pg_program *pg_restore;
	int server_version;
	unsigned parallel; /* where the archive has a path; 0: by cores */
	bool has_owners;   /* the roles exist; otherwise without owners and rights */
	bool has_tablespaces;
};
int dump_load(const struct dump_archive *archive, const struct dump_load *load, struct err *err)
    MUST_CHECK;

/*
 * CREATE DATABASE `name` from template0 with the encoding and locale of `like`; where the machine
 * does not know the locale, with C, which *ret_note tells (else NULL; yours).  `is_shut`: in a
 * state in which nobody can take it for a whole one, DUMP_SHUT, until target_open_up.
 */
#define DUMP_SHUT "ALLOW_CONNECTIONS false CONNECTION LIMIT 0"
int dump_create_database(PGconn *conn, const struct dump_database *like, const char *name,
    bool is_shut, char **ret_note, struct err *err) MUST_CHECK;

/* Does the server have every tablespace that tables of the dump are in. */
int dump_has_tablespaces(PGconn *conn, const struct dump_database *database, bool *ret_has,
    struct err *err) MUST_CHECK;

/* ERR_UNSUPPORTED, with the package, for an extension of the dump that the server cannot make. */
int dump_check_extensions(PGconn *conn, const struct dump_database *database, struct err *err)
    MUST_CHECK;

/* ---- dump_roles.c: globals.sql ------------------------------------------------------------------- */

struct dump_roles {
	VEC(char *) missing; /* roles of the globals that the server does not have */
	unsigned created;
	unsigned failed; /* statements */
	char first_failure[200];
};
/* Read the globals of a backup into `to`; false when it has none. */
int dump_globals_read(const struct backup_view *view, struct str *to, bool *ret_has_globals,
    struct err *err) MUST_CHECK;
/* Which roles of the text are missing on the server. */
int dump_roles_missing(PGconn *conn, const char *sql, struct dump_roles *roles, struct err *err)
    MUST_CHECK;
/* Make the missing ones with their settings and memberships; others stay as they are. */
int dump_roles_create(PGconn *conn, const char *sql, struct dump_roles *roles, struct err *err)
    MUST_CHECK;
void dump_roles_done(struct dump_roles *roles);

/* ---- dump_compare.c: what was restored against the manifest -------------------------------------- */

struct dump_comparison {
	size_t tables;
	uint64_t rows;
	size_t not_compared; /* tables that the manifest has no count for */
	size_t differences;
	VEC(char *) texts;   /* the first of them */
	VEC(char *) remarks; /* no proof of a bad backup, but worth telling */
};
/* Count all of the connected database.  Fails when it cannot be compared, not when it differs. */
int dump_compare(PGconn *conn, const struct dump_database *database, struct dump_comparison *ret,
    struct err *err) MUST_CHECK;
/* ERR_MISMATCH that lists the differences, or 0. */
int dump_comparison_verdict(const struct dump_comparison *comparison, const char *database,
    struct err *err) MUST_CHECK;
void dump_comparison_done(struct dump_comparison *comparison);

/* ---- dump_structure.c --------------------------------------------------------------------------- */

/* Indexes and tables of a scratch database with amcheck, where the server has it. */
int dump_check_structure(PGconn *conn, struct verify_report *report, struct err *err) MUST_CHECK;

#endif
