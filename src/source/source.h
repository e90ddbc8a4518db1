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

struct archive;
struct blob;
struct err;
struct json_t;
struct link_teller;
struct manifest;
struct manifest_file;
struct progress;
struct sink;
struct source;
struct zone;

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
	struct archive
	    *archive; /* a stream that runs covers it: need not be self-contained; or NULL */
	int64_t archive_wait_us; /* for what the stream has still to deliver; 0: a minute */
	const char *spool_dir;   /* for files on their way, exists; NULL: $TMPDIR, /var/tmp */
	void *attached; /* what the driver gave to base_taker.take; NULL: an ordinary backup */
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

/* ---- continuous streams ------------------------------------------------------------------ */

/* How a source's continuous stream lies in the store. */
struct stream_kind {
	const char *name;   /* "wal": what the key `do` of its job says */
	const char *folder; /* in the source's folder: "wal" */
	const char *base;   /* kind of the backups that its own job takes, or NULL */
	bool counts_bytes;  /* positions are plain numbers of bytes, not LSNs */
	const char *target; /* how a server that recovers names the piece it wants, or NULL */
};

/*
 * A stream that begins with a copy of all data is given to the driver together with the way to
 * keep that copy: `take` makes a backup of it, with a run and a manifest of its own, by calling
 * the driver's backup with `attached`.
 */
struct base_taker {
	int (*take)(struct base_taker *taker, const char *kind, void *attached, struct err *err);
	void (*tick)(struct base_taker
		*taker); /* about once a second: later ones are due by time */
};

struct follow_request {
	const char *run_id;
	struct base_taker *bases;
	int64_t piece_age_us;    /* a piece is closed when it is as old, where its kind has such */
	const char *slot;        /* replication slot, made when it is missing */
	const char *client_name; /* application_name, as in synchronous_standby_names */
	int64_t heartbeat_us;    /* a commit of our own when the source is quiet; 0: none */
	const char *const *settler; /* argv of a child that settles when told; NULL: do it here */
	bool is_once;               /* do not try again when the connection ends (tests) */
	struct link_teller *link;   /* told how the connection is */
	uint64_t stop_position;     /* end when this much is durable; 0: only when stopped */
};

/* What lies in an archive's folder: looked at, compressed, indexed. */
struct settle_report {
	bool is_index_only; /* in: only what the index needs: notes, and files that have none */
	bool is_again;      /* in: read again what is known, sound or not, and nothing else */
	/*
	 * in, of that: this part of `parts`, at least one piece, and only what is new about it is
	 * said; 0 parts: all of it.  Without effect where a stream has few pieces.
	 */
	unsigned part, parts;
	uint64_t check_max;        /* in: read at most so many record by record; 0: all */
	unsigned workers;          /* in, of what is read again: so many threads; 0: none */
	struct progress *progress; /* in: of what is read again; NULL: nobody looks */

	uint64_t settled_count; /* tails that became compressed pieces */
	uint64_t adopted_count; /* the user's own files that are in the index now */
	uint64_t indexed_count; /* pieces of ours that the index did not know */
	uint64_t checked_count; /* read record by record */
	uint64_t damaged_count; /* all that are, also those that were known to be */
	uint64_t left_count;    /* not read yet: check_max, or still being copied */
	VEC(char *) warnings;
};
void settle_report_done(struct settle_report *report);

/* Which pieces of the stream may go. */
struct expire_request {
	const struct manifest *const *kept; /* the bases there are */
	size_t kept_count;
	size_t good_count; /* the first so many are not known to be damaged: a window needs one */
	struct wall_time since; /* every second from here on stays recoverable */
	bool is_dry_run;
};
struct expire_report {
	uint64_t count; /* removed, or would be */
	uint64_t bytes;
};

/* A span of time to any second of which the source can be brought back. */
struct window_span {
	uint32_t branch; /* timeline it ends on */
	bool is_current; /* the newest one, still growing */
	char *backup_id; /* the base it begins with */
	uint64_t from_position;
	uint64_t to_position;
	struct wall_time from; /* the base's consistent_at */
	struct wall_time to;   /* last commit known */
	char *ends;            /* why it ends: "segment 0000000100000000000000A3 is missing" */
};
/* What is missing, and so cannot be passed by recovery. */
struct window_gap {
	uint32_t branch;
	uint64_t from_position;
	uint64_t to_position;
	struct wall_time from; /* last commit before it, 0: not known */
	struct wall_time to;   /* first commit after it */
	char *text;            /* "3 segments from 0000000100000000000000A3" */
};
/* A timeline, where it left its parent, and what the archive has of it. */
struct window_branch {
	uint32_t branch;
	uint32_t parent; /* 0: none */
	uint64_t fork_position;
	char *reason;    /* as its history file says; NULL: none */
	bool is_on_main; /* an ancestor of the newest, or the newest itself */
};
struct window_report {
	VEC(struct window_span) spans; /* oldest first */
	VEC(struct window_gap) gaps;
	VEC(struct window_branch) branches;
	uint64_t pieces_count;
	uint64_t stored_bytes;
	uint64_t not_sound_count; /* pieces not read to their end yet */
	VEC(char *) warnings;
};
void window_report_done(struct window_report *report);

/* To which point a source is brought back. */
enum target_kind {
	TARGET_BACKUP, /* the instant the backup stands for */
	TARGET_LATEST, /* as far as the archive goes */
	TARGET_TIME,
	TARGET_POSITION, /* LSN */
	TARGET_XID,
	TARGET_MARK, /* restore point */
};
struct restore_target {
	enum target_kind kind;
	struct wall_time time;
	uint64_t position;
	const char *text;        /* the mark's name, the xid; for messages otherwise */
	bool is_exclusive;       /* stop before it, not behind it */
	uint32_t branch;         /* timeline; 0: the one that is main */
	const struct zone *zone; /* for times in messages; NULL: UTC */
};

struct push_request {
	const char *path; /* the file to take */
	const char *name; /* its name in the archive */
	const char *run_id;
	int compression_level; /* 0: none */
	unsigned workers;
};

/* To give pieces to one server that asks for them one after the other. */
struct feed_request {
	const char *socket_path;  /* where it asks (source/feed.h) */
	int64_t idle_us;          /* end when nobody has asked for so long */
	const char *delivered;    /* it has this one already: make ready what follows */
	uint64_t delivered_bytes; /* as large as that one was */
};

/* What archive-get found. */
enum fetch_result {
	FETCH_DELIVERED,
	FETCH_ABSENT, /* provably: the whole archive was seen, and nothing later is there */
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
	struct archive *archive; /* where the backup's stream is, or NULL */
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

/* What becomes of times at which data ends by itself, where a kind of source has such. */
enum restore_ttl {
	RESTORE_TTL_AUTO,    /* keep; shift for a chosen instant */
	RESTORE_TTL_KEEP,    /* as they were: what is over now goes */
	RESTORE_TTL_SHIFT,   /* as far ahead as they were then */
	RESTORE_TTL_PERSIST, /* none */
};

/*
 * A copy of what is live at the target, as a backup of that kind in the store: asked for by the
 * driver when all else is ready, and before it changes anything.
 */
struct keeper {
	int (*keep)(struct keeper *keeper, const char *kind, struct err *err);
	const char *id; /* of the backup, afterwards */
};

struct restore_request {
	const char *to;       /* NULL: beside the source; a URL or a folder */
	const char *database; /* the one database of a dump to restore; NULL: all */
	const char *new_name; /* NULL: "<database>_restored_<stamp>" */
	bool wants_start;     /* start a restored server for inspection */
	unsigned port;        /* its port; 0: chosen */
	unsigned parallel;
	bool wants_globals;      /* roles that are missing at the target are made first */
	const char *owner;       /* user that owns restored files; NULL: by the rules in docs */
	struct archive *archive; /* NULL: there is none */
	struct restore_target target;
	enum restore_ttl ttl;
	const char *keys; /* only keys of this pattern, into a server that runs; NULL: all of it */
	bool is_one_db;   /* of keys: only those of this numbered database */
	unsigned db;
	const char *listen; /* the address of ours that a server reaches, where it connects to us */
	const char *confirm;   /* the name of what is replaced, typed by the operator */
	struct keeper *keeper; /* keeps a copy of live data that gives way; NULL: it must not */
	bool replaces;         /* of keys: those that are there already, too */
	const char *const *fetcher; /* argv that fetches from the archive: "... archive-get" */
	const char *bin_dir;        /* NULL: auto */
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
	char
	    *replaces; /* live data that gives way, by the name typed to confirm; NULL: none does */
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
	const struct stream_kind *stream; /* NULL: it has no continuous stream */

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
	 * The continuous stream; all NULL where `stream` is.
	 *
	 * follow: keep the stream's tail durable in the archive until a stop (then 0) or, with
	 * is_once, the end of the connection.  Position and state go to the log.
	 * settle: look at what the folder holds: compress finished tails, adopt the user's files,
	 * check records, fill the index.  May be run beside follow and beside itself.
	 * push, fetch: one file for archive_command and restore_command.  fetch: any error is a
	 * doubt, never an absence.
	 * asking: the identity of the server that gave fetch this path, yours; NULL: not known.
	 * feed: answer who asks at a socket, the next pieces made ready ahead; returns when idle.
	 * window: what can be brought back, from the bases (manifests, any order) and the archive.
	 * choose: the base that the target needs; *ret_index into `bases`.  The target is resolved in
	 * place: its branch is filled in, and what lies behind the last commit becomes TARGET_LATEST.
	 * ERR_REFUSED says why there is none and names the nearest possible target.
	 * expire: remove pieces that neither a kept base nor the window needs; the report is filled
	 * as far as it got.
	 */
	int (*follow)(struct source *source, const struct follow_request *request,
	    struct archive *archive, struct err *err);
	int (*settle)(struct source *source, struct archive *archive, struct settle_report *report,
	    struct err *err);
	int (*push)(struct source *source, struct archive *archive,
	    const struct push_request *request, struct err *err);
	int (*fetch)(struct source *source, struct archive *archive, const char *name,
	    const char *to_path, enum fetch_result *ret_result, struct err *err);
	char *(*asking)(const char *to_path);
	int (*feed)(struct source *source, struct archive *archive,
	    const struct feed_request *request, struct err *err);
	int (*window)(struct source *source, struct archive *archive,
	    const struct manifest *const *bases, size_t bases_count, struct window_report *report,
	    struct err *err);
	int (*choose)(struct source *source, struct archive *archive,
	    const struct manifest *const *bases, size_t bases_count, struct restore_target *target,
	    size_t *ret_index, struct err *err);
	int (*expire)(struct source *source, struct archive *archive,
	    const struct expire_request *request, struct expire_report *report, struct err *err);

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

/* How far `verify` climbs when nothing is said: what is usual for the kind, 4 with queries to ask. */
int source_usual_level(const struct source_ops *ops, const char *kind, bool has_smoke);

void source_free(struct source *source); /* NULL is ok */
SCOPED_FREE(struct source, source_free)

#endif
