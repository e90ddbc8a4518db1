/*
 * A source: a system to protect, and how one kind of it is read and rebuilt.
 *
 * The engine asks, the driver answers.  A driver never sees the store: for a backup it is given
 * an intake that opens a sink for each part, for everything else a view of one backup that
 * delivers parts, hashed and expanded.  A new kind of source is one folder with a struct
 * source_ops and one line in app/wire.c.
 */
#ifndef SOURCE_SOURCE_H
#define SOURCE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"
#include "repo/names.h"

struct blob;
struct err;
struct json_t;
struct manifest;
struct manifest_file;
struct progress;
struct sink;
struct source;

/* ---- backup ---------------------------------------------------------------------------- */

enum part_compression {
	PART_STORED,     /* as it is: it is compressed already, or tiny */
	PART_COMPRESSED, /* by us, with the job's setting; the name gets ".zst" */
};

struct part {
	const char *name; /* "dump", "globals.sql", "base.tar"; for a folder format "dir/toc.dat" */
	enum part_compression compression;
	uint64_t size_hint_bytes; /* 0: not known */
};

/*
 * Where a source puts its parts, given by the engine.  Several parts may be open at once, each
 * its own chain.  A part counts when its sink was finished; the sink is yours to free.
 */
struct intake {
	struct sink *(*open)(struct intake *intake, const struct part *part, struct err *err);
};

/* One way of backing up a kind of source. */
struct backup_kind {
	const char *name; /* "dump", "base" */
	struct layout layout;
	const char *adopts;  /* extension of the user's own files of this kind ("dump"), or NULL */
	bool is_window_base; /* continuous recovery starts from it */
	int default_level;   /* what `verify` climbs to when nothing is said */
};

struct source_identity {
	char *identity; /* PostgreSQL system identifier, ...; yours */
	char *version;  /* "16.4" */
};
void source_identity_done(struct source_identity *identity);

struct backup_request {
	const char *kind; /* one of the driver's kinds */
	const char *run_id;
	uint64_t rate_limit_bytes_per_s; /* 0: none */
	unsigned parallel;               /* workers where the kind can use them; 0: by cores */
	const char *format;              /* kind-specific ("custom", "directory"), or NULL */
	bool is_wal_covered;             /* a WAL job covers it: need not be self-contained */
	const char *spool_dir; /* for files on their way, exists; NULL: $TMPDIR, /var/tmp */
	struct progress *progress;
};

/* ---- reading a backup back --------------------------------------------------------------- */

/*
 * One backup, for verify, plan and restore; given by the engine.
 * read: stored bytes > hash > expand > `to` (not finished).  The stored bytes are compared with
 * the manifest on the way: ERR_MISMATCH names the file and the place of the damage.
 * local_path: the stored file's path on this machine, or NULL; yours.
 */
struct backup_view {
	const struct manifest *manifest;
	int (*read)(const struct backup_view *view, const struct manifest_file *file,
	    struct sink *to, struct err *err);
	char *(*local_path)(const struct backup_view *view, const struct manifest_file *file);
};

struct smoke_query {
	const char *database; /* NULL: the first of the backup */
	const char *sql;
	const char *expect; /* NULL: any non-empty, non-zero answer */
};

struct verify_request {
	int level;               /* 1..4; the engine itself did level 0 or lets 1 do both */
	const char *scratch_dir; /* exists, ours, removed by the engine afterwards */
	const struct smoke_query *smoke;
	size_t smoke_count;
	struct progress *progress;
};

/* What was found, for people (lines) and programs (JSON in the proof). */
struct verify_report {
	int level;              /* reached */
	struct json_t *details; /* an object, owned */
	VEC(char *) notes;      /* "12 tables, 3 000 000 rows equal to the manifest" */
	VEC(char *) warnings;
};
void verify_report_done(struct verify_report *report);

struct restore_request {
	const char *to;       /* NULL: beside the source; a URL or a folder */
	const char *database; /* the one database of a dump to restore; NULL: all */
	const char *new_name; /* NULL: "<database>_restored_<stamp>" */
	bool wants_start;     /* start a restored server for inspection */
	unsigned port;        /* its port; 0: chosen */
	unsigned parallel;
	bool wants_globals;  /* roles that are missing at the target are made first */
	const char *owner;   /* user that owns restored files; NULL: by the rules in docs */
	const char *bin_dir; /* NULL: auto */
	struct progress *progress;
};

/* What a restore would do, or why it cannot.  Texts are owned by the plan. */
struct restore_plan {
	char *what;           /* "database webscada" */
	char *target;         /* "database webscada_restored_... on postgresql:5432" */
	uint64_t read_bytes;  /* from the store */
	uint64_t write_bytes; /* at the target */
	uint64_t free_bytes;  /* at the target, 0: not known */
	int64_t expected_us;  /* 0: not known */
	VEC(char *) steps;    /* in order, for people */
	VEC(char *) warnings;
	VEC(char *) obstacles; /* empty: it can be done */
	char *hint;            /* the way out of the first obstacle, or NULL */
};
void restore_plan_done(struct restore_plan *plan);

struct restore_report {
	char *target;      /* what exists now */
	char *next;        /* the next command to type, or NULL */
	VEC(char *) notes; /* "24 tables, 3 000 000 rows" */
	VEC(char *) warnings;
	struct json_t *details; /* owned */
};
void restore_report_done(struct restore_report *report);

struct promote_request {
	const char *name;    /* what restore made: a database name */
	const char *confirm; /* the live name it takes the place of, typed by the operator */
	const char *to;      /* URL of the server, NULL: the source itself */
	bool is_dry_run;
};

/* ---- check ------------------------------------------------------------------------------- */

enum check_result {
	CHECK_OK,
	CHECK_NOTE, /* worth knowing, nothing to do */
	CHECK_WARNING,
	CHECK_FAILED,
};

struct check_item {
	enum check_result result;
	char *name; /* "wal_level", stable: programs read it */
	char *text; /* what was found */
	char *fix;  /* what to type, or NULL */
};

struct check_report {
	VEC(struct check_item) items;
};
void check_report_add(struct check_report *report, enum check_result result, const char *name,
    const char *fix, const char *format, ...) PRINTF_LIKE(5, 6); /* fix may be NULL */
void check_report_done(struct check_report *report);
enum check_result check_report_worst(const struct check_report *report);

/* ---- the driver -------------------------------------------------------------------------- */

struct source_ops {
	const char *type; /* "postgres" */
	const struct backup_kind *kinds;
	size_t kinds_count;
	bool has_pitr;

	/* Ask the live system who it is. */
	int (*identify)(struct source *source, struct source_identity *ret_identity,
	    struct err *err);

	/* End-to-end tests of the live system; fails only when nothing could be tested. */
	int (*check)(struct source *source, struct check_report *report, struct err *err);

	/* Statements that set the source up with least privilege, for `check --sql`; yours. */
	char *(*setup_sql)(struct source *source);

	/*
	 * Push the parts into the intake and fill in the draft: source identity and version,
	 * consistent_at, content, warnings.  The engine adds the rest.
	 */
	int (*backup)(struct source *source, const struct backup_request *request,
	    struct intake *intake, struct manifest *draft, struct err *err);

	/*
	 * Climb to request->level and say how far it got: report->level is set also on failure
	 * (-1: not even level 0).  ERR_MISMATCH or ERR_DATA: the backup is bad; any other kind:
	 * it could not be tested (a missing program, no space).
	 */
	int (*verify)(struct source *source, const struct backup_view *view,
	    const struct verify_request *request, struct verify_report *report, struct err *err);

	/*
	 * A manifest for a file of the user's own: fill in kind, content, versions, consistent_at
	 * as far as the file tells.  `path` is local.
	 */
	int (*adopt)(struct source *source, const char *kind, const char *path,
	    struct manifest *draft, struct err *err);

	int (*plan)(struct source *source, const struct backup_view *view,
	    const struct restore_request *request, struct restore_plan *plan, struct err *err);
	int (*restore)(struct source *source, const struct backup_view *view,
	    const struct restore_request *request, struct restore_report *report, struct err *err);
	int (*promote)(struct source *source, const struct promote_request *request,
	    struct restore_report *report, struct err *err);

	/*
	 * A scratch folder that a killed run left behind: stop what still runs in it, so that the
	 * engine can remove it.  May be NULL.
	 */
	int (*sweep_scratch)(const char *scratch_dir, struct err *err);

	void (*free)(struct source *source);
};

struct source {
	const struct source_ops *ops;
	const char *label; /* the name in the config: "postgresql" */
};

const struct backup_kind *source_kind(const struct source *source, const char *name); /* or NULL */
void source_free(struct source *source); /* NULL is ok */
SCOPED_FREE(struct source, source_free)

#endif
