/*
 * The configuration file as one plain struct.  Only app/ includes this: everything below is given
 * its options by app/wire.c.  The keys, their types, defaults and explanations are declared in
 * schema/config.yaml.  Nothing here connects anywhere, and no secret is read: a password is only
 * the name of a file.
 *
 * Reading is strict and reports everything at once: unknown keys, wrong types and broken
 * references are errors with line and column.  What belongs to a later version is a warning, and
 * the job or source concerned is kept with is_supported = false.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"
#include "base/vec.h"

struct err;
struct zone;

/* ---- what is wrong with a file ------------------------------------------------------------ */

enum { CONFIG_PROBLEMS_MAX = 100 };

struct config_problem {
	bool is_warning;
	unsigned line;   /* from 1; 0: the file as a whole */
	unsigned column; /* from 1; 0: the line as a whole */
	char *text;      /* "unknown key 'prot' in source 'pg'" */
	char *hint;      /* "Did you mean 'port'?", or NULL */
};

/* At most CONFIG_PROBLEMS_MAX are kept, all are counted. */
struct config_problems {
	VEC(struct config_problem) items;
	size_t errors_count;
	size_t warnings_count;
	bool is_without_warnings; /* they are not even looked for, where that takes time */
};

struct config_place {
	unsigned line;
	unsigned column;
};

void config_problems_error(struct config_problems *problems, struct config_place place,
    const char *hint, const char *format, ...) PRINTF_LIKE(4, 5); /* hint may be NULL */
void config_problems_warning(struct config_problems *problems, struct config_place place,
    const char *hint, const char *format, ...) PRINTF_LIKE(4, 5);
void config_problems_sort(struct config_problems *problems); /* by line and column */
void config_problems_done(struct config_problems *problems);

/* "FILE:LINE:COLUMN: error: TEXT", without the hint; yours. */
char *config_problem_format(const struct config_problem *problem, const char *path) MUST_CHECK;

/* ---- the settings ------------------------------------------------------------------------- */

/* NULL-terminated, also when empty; cast to (const char *const *) for options structs. */
struct config_list {
	char **items;
	size_t count;
};

struct config_store {
	char *path;
	unsigned warn_percent;
	unsigned critical_percent;
	bool require_mount;
	char *group; /* NULL: nobody else */
};

struct config_web {
	char *listen; /* "127.0.0.1:8480"; NULL: no page */
	char *token_file;
	char *tls_cert;
	char *tls_key;
	bool is_insecure;
	struct config_list names;
};

struct config_source {
	char *name;
	struct config_place place;
	bool is_supported; /* false: only name and type are set */
	bool is_broken;    /* it has errors, or the file is not to be used anyway */
	char *type;        /* "postgres", "redis" */
	char *host;        /* a name, an address, or the folder of a socket */
	unsigned port;
	char *user;
	struct config_list databases; /* empty: all that allow connections */
	char *maintenance_database;   /* NULL: the first of databases, else "postgres" */
	char *password_file; /* as written, see config_secret_path; NULL: libpq's own ways */
	char *sslmode;
	char *sslrootcert; /* NULL: libpq's default */
	char *sslcert;     /* NULL: none */
	char *sslkey;
	struct config_list bin_dirs; /* empty: found by themselves */
	char *scratch_user;          /* NULL: by the driver's rule */
	bool prefers_replica;
	char *transfer; /* "auto", "diskless", "disk" */
	char *aof_dir;  /* NULL: as the server says */
	int64_t wait_us;
};

/* How long backups are kept; nothing set: is_unlimited. */
struct config_keep {
	bool is_unlimited;
	int64_t keep_us; /* 0: not by age */
	unsigned last;
	unsigned daily;
	unsigned weekly;
	unsigned monthly;
	unsigned yearly;
};

struct config_smoke {
	char *database; /* NULL: the first of the backup */
	char *sql;
	char *expect; /* NULL: any answer that is not empty and not zero */
};

struct config_verify {
	bool is_wanted;   /* the job says something about it */
	int level;        /* -1: the kind's own default */
	int64_t every_us; /* 0: after each backup only */
	VEC(struct config_smoke) smoke;
};

enum config_schedule {
	CONFIG_MANUAL, /* only when somebody runs it */
	CONFIG_AT,
	CONFIG_EVERY,
	CONFIG_CRON,
	CONFIG_CONTINUOUS,
	CONFIG_ON_CHANGE,
};

struct config_job {
	char *name;
	struct config_place place;
	bool is_supported; /* false: this version cannot run it; schedule and keep are set */
	bool is_broken;
	char *source;
	char *kind; /* the key `do`: "dump", "base", ... */

	enum config_schedule schedule;
	struct config_list at; /* "02:00", "Sun 04:00"; sched/calendar reads them */
	int64_t every_us;
	char *cron;
	bool is_continuous;
	bool is_on_change;
	char *slot;            /* of a wal job: replication slot */
	char *standby_name;    /* its application_name */
	int64_t heartbeat_us;  /* 0: none */
	int64_t piece_age_us;  /* of a stream job */
	int64_t base_every_us; /* of one, 0: never by itself */

	struct config_keep keep;
	char *folder;                    /* NULL: the kind's own subfolder */
	char *format;                    /* "custom", "directory" */
	unsigned parallel;               /* 0: by cores */
	uint64_t rate_limit_bytes_per_s; /* 0: none */
	unsigned compression;            /* zstd level 1..19, 0: stored as it is */
	int64_t start_deadline_us;       /* 0: half the interval */
	struct config_list after;        /* names of jobs */
	int64_t timeout_us;              /* 0: none */
	bool may_retry;
	bool is_paused;
	unsigned nice;
	char *io;           /* "normal", "idle" */
	int64_t max_age_us; /* 0: twice the interval */
	struct config_verify verify;
};

/* What counts as wrong. */
struct config_alert_rules {
	unsigned storage_clear_percent;
	unsigned suspicious_percent;
	int64_t wal_max_age_us;
	int64_t verify_max_age_us; /* 0: twice the time between two proofs */
	int64_t drill_max_age_us;  /* 0: drills are not asked for */
	struct config_list disable;
};

/* One way to reach somebody.  Secrets are names of files, see config_secret_path. */
struct config_channel {
	char *name;
	struct config_place place;
	bool is_broken;
	char *type;     /* "email", "webhook", "alertmanager", "ntfy", "heartbeat" */
	char *severity; /* "warning", "critical" */
	char *host;     /* of email, down to password_file */
	unsigned port;
	char *security; /* "starttls", "tls", "none" */
	char *from;
	struct config_list to;
	char *user;
	char *password_file;
	char *url; /* of the others; NULL: in url_file */
	char *url_file;
	char *token_file;
	char *ca_file;
	char *job; /* of a heartbeat; NULL: the watch itself */
};

struct config_blackout {
	char *name;
	struct config_place place;
	struct config_list at;
	int64_t lasts_us;
	struct config_list jobs; /* empty: all */
};

struct config_alerts {
	int64_t repeat_us; /* 0: no reminders */
	char *digest;      /* "07:00"; NULL: none */
	int64_t heartbeat_us;
	struct config_alert_rules rules;
	VEC(struct config_channel) channels;
};

/* One line of `config show`: sections and values in the order of the schema. */
enum config_entry_kind {
	CONFIG_ENTRY_SECTION, /* its children follow, one deeper */
	CONFIG_ENTRY_LIST,    /* its items follow, one deeper, without a key */
	CONFIG_ENTRY_VALUE,
};

struct config_entry {
	enum config_entry_kind kind;
	unsigned depth;
	char *key;                 /* NULL: an item of a list */
	char *value;               /* as written, or the default; NULL: not a value */
	struct config_place place; /* line 0: a default */
	bool is_ignored;           /* belongs to what this version does not support */
};

struct config {
	char *path; /* of the file */
	char *site;
	char *timezone;
	struct zone *zone; /* of timezone; NULL only if the file has errors */
	char *state_dir;
	struct config_store store;
	struct config_web web;
	VEC(struct config_source) sources;
	VEC(struct config_job) jobs;
	unsigned parallel_jobs;
	VEC(struct config_blackout) blackouts;
	struct config_alerts alerts;
	VEC(struct config_entry) entries;
};

#define CONFIG_DEFAULT_PATH "/etc/blackstart/blackstart.yaml"

/*
 * Read the file at `path`.  NULL with `err` set when it cannot be read or is not YAML that we
 * accept; else a config, to be used only if problems->errors_count is 0: with errors it is
 * incomplete and good only for looking for more of them (app/config_open does all that).
 */
struct config *config_read(const char *path, struct config_problems *problems, struct err *err)
    MUST_CHECK;

/* The same from memory; `path` is the name to show. */
struct config *config_parse(const char *data, size_t size, const char *path,
    struct config_problems *problems, struct err *err) MUST_CHECK;
void config_free(struct config *config);
SCOPED_FREE(struct config, config_free)

const struct config_source *config_find_source(const struct config *config, const char *name);
const struct config_job *config_find_job(const struct config *config, const char *name);

/* Does it keep a continuous stream (wal, stream), and make no backups by a calendar. */
bool config_job_is_stream(const struct config_job *job);

/* Where a job's key stands in the file ("keep"), or the job itself if the key is not there. */
struct config_place config_job_place(const struct config *config, const struct config_job *job,
    const char *key);

/*
 * Where the secret file `name` of the config is: absolute as it is, else under
 * $CREDENTIALS_DIRECTORY when it is there, else beside the config file.  Yours.
 */
char *config_secret_path(const struct config *config, const char *name) MUST_CHECK;

/* For `config schema` and `config init`; made from schema/config.yaml. */
const char *config_schema_text(void);
const char *config_example_text(void);

#endif
