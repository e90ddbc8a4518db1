/*
 * What the commands share.  A command prints its data on stdout, messages go to stderr through
 * base/log, and it returns its exit code, or -1 with `err` set: main prints the error and turns
 * its kind into the exit code.  A report that says what is wrong ends so too: a code of failure
 * without an error line does not exist (but for the plugin's codes of check --nagios).
 */
#ifndef APP_CLI_CLI_H
#define APP_CLI_CLI_H

#include <stdbool.h>

#include "app/wire.h"
#include "base/clock.h"
#include "base/link.h"
#include "base/progress.h"
#include "base/scope.h"
#include "work/order.h"

struct args;
struct backup_row;
struct err;
struct json_t;

enum exit_code {
	EXIT_OK = 0,
	EXIT_WARNINGS = 3,
};

struct cli {
	struct args *args;
	struct wire wire;
	bool is_json;
	bool is_quiet;
	bool is_dry_run;
	bool has_answered;  /* its one object is on stdout, though it fails: no second one */
	struct order order; /* fd -1: no daemon started us */
	struct run_order run_order;
	struct progress progress;
	struct link_teller link;           /* of a stream */
	struct mono_time progress_line_at; /* of the last line where there is no terminal */
	unsigned progress_tenth;
};

/* One command: `run` after wire_init unless is_bare. */
struct command_entry {
	const char *verb; /* "list", "config check" */
	bool is_bare;
	int (*run)(struct cli *cli, struct err *err);
};

/* The tables of commands, one per file, ended by a NULL verb. */
extern const struct command_entry cmd_backup_entries[];
extern const struct command_entry cmd_look_entries[];
extern const struct command_entry cmd_status_entries[];
extern const struct command_entry cmd_check_entries[];
extern const struct command_entry cmd_serve_entries[];
extern const struct command_entry cmd_verify_entries[];
extern const struct command_entry cmd_archive_entries[];
extern const struct command_entry cmd_settle_entries[];
extern const struct command_entry cmd_window_entries[];
extern const struct command_entry cmd_restore_entries[];
extern const struct command_entry cmd_keep_entries[];
extern const struct command_entry cmd_config_entries[];
extern const struct command_entry cmd_doctor_entries[];
extern const struct command_entry cmd_alert_entries[];
extern const struct command_entry cmd_metrics_entries[];

/*
 * One backup by what was typed: an id or a unique beginning of one, or "latest" (the newest good
 * one) narrowed by source, job and kind (each may be NULL).
 */
struct backup_choice {
	const char *word;
	const char *source;
	const char *job;
	const char *kind;
};
int cli_choose_backup(struct cli *cli, const struct backup_choice *choice,
    struct backup_row *ret_row, struct err *err) MUST_CHECK;

/*
 * The source that a word names; with NULL the only one of the config, else the only one of the
 * store.  One that only the store knows will do.  `open` says whether its password is needed.
 * "postgresql@7312045211837912345" is a system that the source was before: *ret_identity, yours,
 * NULL for the present one.  *ret_source is a loan.
 */
struct source;
int cli_find_source(struct cli *cli, const char *word, wire_opener *open,
    struct source **ret_source, char **ret_identity, struct err *err) MUST_CHECK;

/* Who types: the login behind sudo, too, for "root" says nothing about who it was.  A loan. */
const char *cli_who(void);

#endif
